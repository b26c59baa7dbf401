/* test_sockname.c - addresses as the system's calls take them */
#include "bench/sockname.h"

#include <netinet/in.h>
#include <string.h>

#include "tests/support/leak.h"

TestSuite(sockname, .fini = vly_leak_gate);

Test(sockname, ip4_keeps_its_bytes_and_takes_the_port_given)
{
	struct vly_addr addr = {.family = VLY_IP4, .port = 7, .ip4 = {192, 0, 2, 9}};
	struct sockaddr_storage name;
	struct sockaddr_in ip4;

	cr_assert_eq(sockname_of(&addr, 8, &name), sizeof(ip4));
	memcpy(&ip4, &name, sizeof(ip4));
	cr_assert_eq(ip4.sin_family, AF_INET);
	cr_assert_eq(ip4.sin_port, htons(8));
	cr_assert_eq(ip4.sin_addr.s_addr, htonl(0xc0000209));
}

Test(sockname, ip6_keeps_its_scope)
{
	struct vly_addr addr = {.family = VLY_IP6, .scope_id = 3, .ip6 = {0xfe, 0x80, [15] = 1}};
	struct sockaddr_storage name;
	struct sockaddr_in6 ip6;

	cr_assert_eq(sockname_of(&addr, 65535, &name), sizeof(ip6));
	memcpy(&ip6, &name, sizeof(ip6));
	cr_assert_eq(ip6.sin6_family, AF_INET6);
	cr_assert_eq(ip6.sin6_port, htons(65535));
	cr_assert_eq(ip6.sin6_scope_id, 3);
	cr_assert(!memcmp(&ip6.sin6_addr, addr.ip6, 16));
}

Test(sockname, a_path_has_no_port_and_no_name)
{
	struct vly_addr addr = {.family = VLY_UNIX};
	struct sockaddr_storage name;

	cr_assert_eq(sockname_of(&addr, 8, &name), 0);
}
