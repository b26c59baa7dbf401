/* test_route.c - own addresses, the network, the way out of it */
#include "nic/inet/route.h"

#include <criterion/criterion.h>
#include <errno.h>

#include "tests/support/leak.h"

TestSuite(route, .fini = vly_leak_gate);

static int parse(struct vly_route *route, const char *text, const struct vly_wire *wire)
{
	struct vly_nic_spec spec;
	char why[256] = "";

	cr_assert_eq(vly_spec_parse(&spec, text, why, sizeof(why)), 0, "%s", why);
	int error = vly_route_parse(route, &spec, wire, why, sizeof(why));

	cr_assert_eq(error != 0, why[0] != '\0', "a refusal says why");
	return error;
}

Test(route, an_address_with_its_network_is_read)
{
	struct vly_route route;

	cr_assert_eq(parse(&route, "inet:ip=10.1.2.3/16", NULL), 0);
	cr_assert_eq(route.ip, htonl(0x0a010203));
	cr_assert_eq(route.mask, htonl(0xffff0000));
	cr_assert_eq(route.ips, 1);
	cr_assert_eq(route.gateway, 0);
	cr_assert(vly_route_own(&route, htonl(0x0a010203)));
	cr_assert_not(vly_route_own(&route, htonl(0x0a010204)));
	cr_assert_not(vly_route_own(&route, htonl(0x0a010202)));
}

Test(route, ips_owns_addresses_from_the_first_on)
{
	struct vly_route route;

	cr_assert_eq(parse(&route, "inet:ip=10.0.0.1/24,ips=32", NULL), 0);
	cr_assert(vly_route_own(&route, htonl(0x0a000001)));
	cr_assert(vly_route_own(&route, htonl(0x0a000020)));
	cr_assert_not(vly_route_own(&route, htonl(0x0a000021)));
	cr_assert_not(vly_route_own(&route, htonl(0x0a000000)));
}

Test(route, each_host_of_a_hub_has_its_own_addresses)
{
	struct vly_wire wire = {.caps = VLY_WIRE_HOST_PER_CORE, .queue = 3, .queues = 4};
	struct vly_route route;

	cr_assert_eq(parse(&route, "inet:ip=10.0.0.1/24,ips=10", &wire), 0);
	cr_assert_eq(route.ip, htonl(0x0a000001 + 30));
	wire.caps = 0;
	cr_assert_eq(parse(&route, "inet:ip=10.0.0.1/24,ips=10", &wire), 0);
	cr_assert_eq(route.ip, htonl(0x0a000001));
}

Test(route, what_is_near_goes_straight_and_what_is_far_by_the_gateway)
{
	struct vly_route route;

	cr_assert_eq(parse(&route, "inet:ip=10.0.0.1/24,gw=10.0.0.254", NULL), 0);
	cr_assert_eq(vly_route_next(&route, htonl(0x0a000005)), htonl(0x0a000005));
	cr_assert_eq(vly_route_next(&route, htonl(0x0b000005)), htonl(0x0a0000fe));
	cr_assert_eq(vly_route_next(&route, htonl(0x0a0000ff)), 0, "its broadcast address");
	cr_assert_eq(vly_route_next(&route, htonl(0x0a000000)), 0);
	cr_assert_eq(vly_route_next(&route, htonl(0xffffffff)), 0);
	cr_assert_eq(vly_route_next(&route, htonl(0xe0000001)), 0);
	cr_assert_eq(parse(&route, "inet:ip=10.0.0.1/24", NULL), 0);
	cr_assert_eq(vly_route_next(&route, htonl(0x0b000005)), 0);
}

Test(route, both_addresses_of_a_31_are_hosts)
{
	struct vly_route route;

	cr_assert_eq(parse(&route, "inet:ip=10.0.0.0/31", NULL), 0);
	cr_assert_eq(vly_route_next(&route, htonl(0x0a000001)), htonl(0x0a000001));
	cr_assert_eq(parse(&route, "inet:ip=10.0.0.1/31", NULL), 0);
	cr_assert_eq(vly_route_next(&route, htonl(0x0a000000)), htonl(0x0a000000));
}

Test(route, what_cannot_be_is_refused)
{
	static const char *const wrong[] = {
		"inet:loop",
		"inet:ip=",
		"inet:ip=10.0.0",
		"inet:ip=10.0.0.1/",
		"inet:ip=10.0.0.1/33",
		"inet:ip=10.0.0.1/0",
		"inet:ip=10.0.0.1/32",
		"inet:ip=10.0.0.1/-1",
		"inet:ip=10.0.0.1/24x",
		"inet:ip=300.0.0.1/24",
		"inet:ip=127.0.0.1/8",
		"inet:ip=224.0.0.1/24",
		"inet:ip=0.0.0.1/8",
		"inet:ip=10.0.0.0/24",
		"inet:ip=10.0.0.255/24",
		"inet:ip=10.0.0.1/24,ips=0",
		"inet:ip=10.0.0.1/24,ips=255",
		"inet:ip=10.0.0.1/24,ips=99999",
		"inet:ip=10.0.0.1/24,gw=10.0.1.1",
		"inet:ip=10.0.0.1/24,gw=10.0.0.1",
		"inet:ip=10.0.0.1/24,gw=10.0.0.255",
		"inet:ip=10.0.0.1/24,gw=x",
		"inet:ip=1234567890.1234567890.1234567890.1234567890/24"};
	struct vly_route route;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_assert_eq(parse(&route, wrong[i], NULL), -EINVAL, "%s", wrong[i]);
	cr_assert_eq(parse(&route, "inet:ip=10.0.0.1/24,ips=254", NULL), 0);
}
