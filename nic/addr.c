/* addr.c - addresses: text, sockets, comparison */
#include "nic/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static int parse_port(const char *text, uint16_t *port)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value > 65535)
		return -EINVAL;
	*port = (uint16_t)value;
	return 0;
}

static int parse_scope(const char *text, uint32_t *scope_id)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text < '0' || *text > '9' || *end || value < 1 || value > UINT32_MAX)
		return -EINVAL;
	*scope_id = (uint32_t)value;
	return 0;
}

static int parse_unix(const char *path, struct vly_addr *addr)
{
	size_t len = strlen(path);

	if (len == 0 || len >= sizeof(addr->path))
		return -EINVAL;
	addr->family = VLY_UNIX;
	addr->path_len = (uint8_t)len;
	memcpy(addr->path, path, len);
	if (addr->path[0] == '@')
		addr->path[0] = '\0';
	return 0;
}

static int parse_ip6(const char *text, struct vly_addr *addr)
{
	char host[INET6_ADDRSTRLEN + IF_NAMESIZE + 2];
	const char *end = strchr(text, ']');

	if (!end || end[1] != ':' || (size_t)(end - text) >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, (size_t)(end - text));
	host[end - text] = '\0';
	char *scope = strchr(host, '%');

	if (scope) {
		*scope++ = '\0';
		addr->scope_id = if_nametoindex(scope);
		if (!addr->scope_id && parse_scope(scope, &addr->scope_id))
			return -EINVAL;
	}
	addr->family = VLY_IP6;
	if (inet_pton(AF_INET6, host, addr->ip6) != 1)
		return -EINVAL;
	return parse_port(end + 2, &addr->port);
}

static int parse_ip4(const char *text, struct vly_addr *addr)
{
	char host[INET_ADDRSTRLEN];
	const char *end = strchr(text, ':');

	if (!end || (size_t)(end - text) >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, (size_t)(end - text));
	host[end - text] = '\0';
	addr->family = VLY_IP4;
	if (host[0] && inet_pton(AF_INET, host, addr->ip4) != 1)
		return -EINVAL;
	return parse_port(end + 1, &addr->port);
}

int vly_addr_parse(const char *text, struct vly_addr *addr)
{
	struct vly_addr parsed = {0};
	int error;

	if (strncmp(text, "unix:", 5) == 0)
		error = parse_unix(text + 5, &parsed);
	else if (text[0] == '[')
		error = parse_ip6(text + 1, &parsed);
	else
		error = parse_ip4(text, &parsed);
	*addr = error ? (struct vly_addr){0} : parsed;
	return error;
}

char *vly_addr_format(const struct vly_addr *addr, char *text, size_t size_bytes)
{
	char host[INET6_ADDRSTRLEN];
	char scope[IF_NAMESIZE + 12] = "";

	switch (addr->family) {
	case VLY_IP4:
		inet_ntop(AF_INET, addr->ip4, host, sizeof(host));
		snprintf(text, size_bytes, "%s:%u", host, addr->port);
		break;
	case VLY_IP6:
		inet_ntop(AF_INET6, addr->ip6, host, sizeof(host));
		if (addr->scope_id)
			snprintf(scope, sizeof(scope), "%%%u", addr->scope_id);
		snprintf(text, size_bytes, "[%s%s]:%u", host, scope, addr->port);
		break;
	case VLY_UNIX:
		if (addr->path_len && addr->path[0] == '\0')
			snprintf(text, size_bytes, "unix:@%.*s", addr->path_len - 1,
				 addr->path + 1);
		else
			snprintf(text, size_bytes, "unix:%.*s", addr->path_len, addr->path);
		break;
	default:
		snprintf(text, size_bytes, "none");
	}
	return text;
}

int vly_addr_equal(const struct vly_addr *a, const struct vly_addr *b)
{
	if (a->family != b->family)
		return 0;
	switch (a->family) {
	case VLY_IP4:
		return a->port == b->port && memcmp(a->ip4, b->ip4, sizeof(a->ip4)) == 0;
	case VLY_IP6:
		return a->port == b->port && a->scope_id == b->scope_id &&
		       memcmp(a->ip6, b->ip6, sizeof(a->ip6)) == 0;
	case VLY_UNIX:
		return a->path_len == b->path_len && memcmp(a->path, b->path, a->path_len) == 0;
	default:
		return 1;
	}
}

socklen_t vly_addr_to_sockaddr(const struct vly_addr *addr, struct sockaddr_storage *storage)
{
	struct sockaddr_in *in = (struct sockaddr_in *)storage;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)storage;
	struct sockaddr_un *un = (struct sockaddr_un *)storage;

	switch (addr->family) {
	case VLY_IP4:
		*in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(addr->port)};
		memcpy(&in->sin_addr, addr->ip4, sizeof(addr->ip4));
		return sizeof(*in);
	case VLY_IP6:
		*in6 = (struct sockaddr_in6){.sin6_family = AF_INET6,
					     .sin6_port = htons(addr->port),
					     .sin6_scope_id = addr->scope_id};
		memcpy(&in6->sin6_addr, addr->ip6, sizeof(addr->ip6));
		return sizeof(*in6);
	case VLY_UNIX:
		*un = (struct sockaddr_un){.sun_family = AF_UNIX};
		if (addr->path_len > sizeof(un->sun_path))
			return 0;
		memcpy(un->sun_path, addr->path, addr->path_len);
		/*
		 * An abstract name is as long as it is said to be; a path ends with its NUL, if
		 * there is room for one.
		 */
		return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + addr->path_len +
				   (addr->path[0] && addr->path_len < sizeof(un->sun_path) ? 1
											   : 0));
	default:
		return 0;
	}
}

static void from_unix(const struct sockaddr_un *un, socklen_t len, struct vly_addr *addr)
{
	size_t head = offsetof(struct sockaddr_un, sun_path);
	size_t path_len = len > head ? len - head : 0;

	if (path_len > sizeof(addr->path))
		path_len = sizeof(addr->path);
	if (path_len && un->sun_path[0])
		path_len = strnlen(un->sun_path, path_len);
	addr->family = VLY_UNIX;
	addr->path_len = (uint8_t)path_len;
	memcpy(addr->path, un->sun_path, path_len);
}

void vly_addr_from_sockaddr(const struct sockaddr_storage *storage, socklen_t len,
			    struct vly_addr *addr)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)storage;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)storage;

	*addr = (struct vly_addr){0};
	if (len < sizeof(sa_family_t))
		return;
	switch (storage->ss_family) {
	case AF_INET:
		addr->family = VLY_IP4;
		addr->port = ntohs(in->sin_port);
		memcpy(addr->ip4, &in->sin_addr, sizeof(addr->ip4));
		break;
	case AF_INET6:
		addr->family = VLY_IP6;
		addr->port = ntohs(in6->sin6_port);
		addr->scope_id = in6->sin6_scope_id;
		memcpy(addr->ip6, &in6->sin6_addr, sizeof(addr->ip6));
		break;
	case AF_UNIX:
		from_unix((const struct sockaddr_un *)storage, len, addr);
		break;
	default:
		break;
	}
}
