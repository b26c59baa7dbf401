/* sockname.c - addresses as the system's calls take them */
#include "bench/sockname.h"

#include <netinet/in.h>
#include <string.h>

socklen_t sockname_of(const struct vly_addr *addr, uint16_t port, struct sockaddr_storage *name)
{
	struct sockaddr_in ip4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 ip6 = {
		.sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_scope_id = addr->scope_id};

	memset(name, 0, sizeof(*name));
	if (addr->family == VLY_IP4) {
		memcpy(&ip4.sin_addr, addr->ip4, sizeof(ip4.sin_addr));
		memcpy(name, &ip4, sizeof(ip4));
		return sizeof(ip4);
	}
	if (addr->family == VLY_IP6) {
		memcpy(&ip6.sin6_addr, addr->ip6, sizeof(ip6.sin6_addr));
		memcpy(name, &ip6, sizeof(ip6));
		return sizeof(ip6);
	}
	return 0;
}
