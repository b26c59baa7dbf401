/* test_isn.c - initial sequence numbers rise within a flow and tell nothing about others */
#include "nic/inet/isn.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>

#include "tests/support/leak.h"

TestSuite(isn, .fini = vly_leak_gate);

static const struct vly_siphash_key secret = {0x123456789abcdef0u, 0x0fedcba987654321u};

static struct vly_flow_key key_of(uint32_t raddr, uint16_t rport)
{
	return (struct vly_flow_key){.raddr = htonl(raddr),
				     .laddr = htonl(0x0a000001),
				     .rport = htons(rport),
				     .lport = htons(80)};
}

Test(isn, of_one_flow_rise_by_one_every_four_microseconds)
{
	struct vly_flow_key key = key_of(0x0a000002, 5000);
	uint32_t first = vly_isn(&secret, &key, 1000000000);

	cr_assert_eq(vly_isn(&secret, &key, 1000000000), first);
	cr_assert_eq(vly_isn(&secret, &key, 1000003999), first);
	cr_assert_eq(vly_isn(&secret, &key, 1000004000), first + 1);
	cr_assert_eq(vly_isn(&secret, &key, 2000000000), first + 250000);
}

Test(isn, of_neighbouring_flows_are_far_apart)
{
	uint32_t near = 0;

	for (uint16_t port = 1; port < 10000; port++) {
		struct vly_flow_key a = key_of(0x0a000002, port);
		struct vly_flow_key b = key_of(0x0a000002, (uint16_t)(port + 1));
		uint32_t distance = vly_isn(&secret, &a, 0) - vly_isn(&secret, &b, 0);

		near += distance + (1u << 20) < 2u << 20;
	}
	/* by chance 2^21 of 2^32: 5 of 10,000 */
	cr_assert_lt(near, 25, "%u", near);
}

Test(isn, depends_on_every_part_of_the_flow_and_on_the_secret)
{
	struct vly_flow_key key = key_of(0x0a000002, 5000), other = key;
	struct vly_siphash_key second = secret;
	uint32_t isn = vly_isn(&secret, &key, 0);

	other.raddr ^= 1;
	cr_assert_neq(vly_isn(&secret, &other, 0), isn);
	other = key;
	other.laddr ^= 1;
	cr_assert_neq(vly_isn(&secret, &other, 0), isn);
	other = key;
	other.rport ^= 1;
	cr_assert_neq(vly_isn(&secret, &other, 0), isn);
	other = key;
	other.lport ^= 1;
	cr_assert_neq(vly_isn(&secret, &other, 0), isn);
	second.k1 ^= 1;
	cr_assert_neq(vly_isn(&second, &key, 0), isn);
}
