/* test_placement.c - whose a flow is, and what a port's frames say about its RSS */
#include "nic/inet/placement.h"

#include <arpa/inet.h>
#include <string.h>

#include "nic/inet/eth.h"
#include "nic/inet/ipv4.h"
#include "tests/support/leak.h"

#include <criterion/criterion.h>

TestSuite(placement, .fini = vly_leak_gate, .timeout = 60);

static const uint16_t table[8] = {0, 1, 2, 3, 3, 2, 1, 0};

static struct vly_wire good_port(void)
{
	return (struct vly_wire){.caps = VLY_WIRE_RSS,
				 .queues = 4,
				 .rss_key = vly_toeplitz_key_default,
				 .rss_table = table,
				 .rss_table_count = 8};
}

static struct vly_place_key key_of(uint32_t number)
{
	return (struct vly_place_key){.src = htonl(0x0a000002 + number / 60000),
				      .dst = htonl(0x0a000001),
				      .src_port = htons((uint16_t)(1024 + number % 60000)),
				      .dst_port = htons(80)};
}

static uint32_t frame_of(uint8_t *data, uint8_t protocol, uint16_t fragment, uint8_t ihl)
{
	struct vly_eth *eth = (struct vly_eth *)data;
	struct vly_ipv4 *ip = (struct vly_ipv4 *)(data + VLY_ETH_BYTES);
	uint16_t ports[2] = {htons(1234), htons(80)};

	memset(data, 0, 128);
	eth->type = htons(VLY_ETH_IPV4);
	*ip = (struct vly_ipv4){.version_ihl = (uint8_t)(0x40 | ihl),
				.protocol = protocol,
				.fragment = htons(fragment),
				.src = htonl(0x0a000002),
				.dst = htonl(0x0a000001)};
	memcpy(data + VLY_ETH_BYTES + ihl * 4, ports, sizeof(ports));
	return 128;
}

Test(placement, a_place_is_told_by_addresses_and_ports_behind_options_too)
{
	_Alignas(8) uint8_t data[130];
	struct vly_place_key key;
	uint32_t len = frame_of(data + 2, VLY_IP_TCP, 0, 5);

	cr_assert_eq(vly_place_parse(data + 2, len, &key), VLY_PLACE_TCP);
	cr_assert_eq(key.src, htonl(0x0a000002));
	cr_assert_eq(key.dst, htonl(0x0a000001));
	cr_assert_eq(key.src_port, htons(1234));
	cr_assert_eq(key.dst_port, htons(80));
	len = frame_of(data + 2, VLY_IP_UDP, VLY_IPV4_DONT_FRAGMENT, 15);
	cr_assert_eq(vly_place_parse(data + 2, len, &key), VLY_PLACE_UDP);
	cr_assert_eq(key.dst_port, htons(80));
}

Test(placement, fragments_other_protocols_and_what_is_cut_have_no_ports)
{
	_Alignas(8) uint8_t data[130];
	struct vly_place_key key;
	uint32_t len = frame_of(data + 2, VLY_IP_TCP, VLY_IPV4_MORE_FRAGMENTS, 5);

	cr_assert_eq(vly_place_parse(data + 2, len, &key), VLY_PLACE_IP);
	len = frame_of(data + 2, VLY_IP_TCP, 3, 5);
	cr_assert_eq(vly_place_parse(data + 2, len, &key), VLY_PLACE_IP);
	len = frame_of(data + 2, 1, 0, 5);
	cr_assert_eq(vly_place_parse(data + 2, len, &key), VLY_PLACE_IP);
	len = frame_of(data + 2, VLY_IP_TCP, 0, 4);
	cr_assert_eq(vly_place_parse(data + 2, len, &key), VLY_PLACE_IP);
	frame_of(data + 2, VLY_IP_TCP, 0, 5);
	cr_assert_eq(vly_place_parse(data + 2, 37, &key), VLY_PLACE_IP);
	cr_assert_eq(vly_place_parse(data + 2, 38, &key), VLY_PLACE_TCP);
	cr_assert_eq(vly_place_parse(data + 2, 33, &key), VLY_PLACE_NONE);
	((struct vly_eth *)(data + 2))->type = htons(VLY_ETH_ARP);
	cr_assert_eq(vly_place_parse(data + 2, 128, &key), VLY_PLACE_NONE);
}

Test(placement, with_a_queue_for_each_core_home_is_where_the_port_says)
{
	static struct vly_placement place;
	struct vly_wire wire = good_port();

	vly_placement_init(&place, &wire, 1, 4);
	cr_assert_eq(place.mode, VLY_PLACE_CHECKED);
	for (uint32_t i = 0; i < 1000; i++) {
		struct vly_place_key key = key_of(i);
		uint8_t src[4], dst[4];

		memcpy(src, &key.src, 4);
		memcpy(dst, &key.dst, 4);
		uint32_t hash = vly_toeplitz_ipv4(vly_toeplitz_key_default, src, dst,
						  ntohs(key.src_port), ntohs(key.dst_port));

		cr_assert_eq(vly_place_home(&place, &key), table[hash % 8]);
	}
}

Test(placement, without_one_the_cores_divide_evenly_and_agree)
{
	static struct vly_placement place, other;
	struct vly_wire wire = good_port();
	uint32_t got[16] = {0};

	vly_placement_init(&place, &wire, 1, 16);
	vly_placement_init(&other, NULL, 9, 16);
	cr_assert_eq(place.mode, VLY_PLACE_BY_CORES);
	for (uint32_t i = 0; i < 160000; i++) {
		struct vly_place_key key = key_of(i);
		uint32_t home = vly_place_home(&place, &key);

		cr_assert_lt(home, 16);
		cr_assert_eq(vly_place_home(&other, &key), home);
		got[home]++;
	}
	for (unsigned i = 0; i < 16; i++)
		cr_assert(got[i] > 8000 && got[i] < 12000, "core %u has %u", i, got[i]);
}

Test(placement, a_table_that_names_queues_which_are_not_there_is_not_used)
{
	static struct vly_placement place;
	struct vly_wire wire = good_port();
	uint16_t wrong[8] = {0, 1, 2, 4, 0, 1, 2, 3};

	wire.rss_table = wrong;
	vly_placement_init(&place, &wire, 0, 4);
	cr_assert_eq(place.mode, VLY_PLACE_BY_CORES);
	wire.rss_table_count = 0;
	vly_placement_init(&place, &wire, 0, 4);
	cr_assert_eq(place.mode, VLY_PLACE_BY_CORES);
}

Test(placement, a_port_is_believed_after_enough_frames_and_not_before)
{
	static struct vly_placement place;
	struct vly_wire wire = good_port();

	vly_placement_init(&place, &wire, 0, 4);
	for (uint32_t i = 0; i < VLY_PLACE_RIGHT_ENOUGH; i++) {
		cr_assert_eq(place.mode, VLY_PLACE_CHECKED);
		cr_assert(vly_place_seen(&place, true, i));
	}
	cr_assert_eq(place.mode, VLY_PLACE_BY_PORT);
}

Test(placement, a_port_with_another_key_is_found_out_by_a_handful_of_frames)
{
	for (uint32_t seed = 0; seed < 200; seed++) {
		static struct vly_placement place;
		struct vly_wire wire = good_port();
		uint32_t frames = 0;
		bool believed = true;

		vly_placement_init(&place, &wire, 0, 4);
		/* one of two comes in right: the hardest case */
		while (believed && frames < 64) {
			bool right = vly_hash_u64(seed * 1000 + frames++) & 1;

			believed = vly_place_seen(&place, right, frames);
		}
		cr_assert_not(believed, "seed %u", seed);
		cr_assert_neq(place.mode, VLY_PLACE_BY_PORT);
	}
}

Test(placement, frames_that_were_changed_on_their_way_do_not_discredit_a_port)
{
	static struct vly_placement place;
	struct vly_wire wire = good_port();

	vly_placement_init(&place, &wire, 0, 4);
	for (uint32_t i = 1; i < 1000; i++)
		cr_assert(vly_place_seen(&place, i % 40 != 0, i * 1000000ull));
	cr_assert_eq(place.mode, VLY_PLACE_BY_PORT);
}

Test(placement, a_port_that_was_believed_and_strays_is_checked_again)
{
	static struct vly_placement place;
	struct vly_wire wire = good_port();
	uint64_t now_ns = 1;

	vly_placement_init(&place, &wire, 0, 4);
	for (uint32_t i = 0; i < VLY_PLACE_RIGHT_ENOUGH; i++)
		cr_assert(vly_place_seen(&place, true, now_ns));
	/* now and then is nothing */
	for (uint32_t i = 0; i < 100; i++)
		cr_assert(vly_place_seen(&place, false, now_ns += 50000000));
	cr_assert_eq(place.mode, VLY_PLACE_BY_PORT);
	for (uint32_t i = 0; i < 20 && place.mode == VLY_PLACE_BY_PORT; i++)
		cr_assert(vly_place_seen(&place, false, now_ns));
	cr_assert_eq(place.mode, VLY_PLACE_CHECKED);
	bool believed = true;

	for (uint32_t i = 0; i < 4; i++)
		believed = vly_place_seen(&place, false, now_ns);
	cr_assert_not(believed);
}
