/* test_ip.c - packets in and out: whom they are for, where they come from, what their checksums are */
#include "nic/inet/ip.h"

#include "base/hash.h"
#include "tests/support/inet_rig.h"
#include "tests/support/leak.h"

TestSuite(ip, .fini = vly_leak_gate);

/* Everything that a frame can end in. */
static uint64_t all_ends(const struct inet_rig *rig)
{
	uint64_t sum = rig->inet.stats.icmp_echo + rig->inet.stats.icmp_unreachable +
		       rig->inet.stats.icmp_frag_needed;

	for (unsigned i = 0; i < VLY_DROP_COUNT; i++)
		sum += rig->inet.drops[i];
	return sum;
}

Test(ip, frames_for_others_are_counted)
{
	struct inet_rig *rig = inet_rig_open();
	struct packet p;

	packet_udp(&p, 4);
	rig_packet(rig, &p); /* to have a frame */
	rig->in[5] = 9;
	rig_input(rig, VLY_ETH_BYTES + p.len);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ETH_NOT_OURS], 1);
	memset(rig->in, 0xff, 6); /* IP by broadcast */
	rig_input(rig, VLY_ETH_BYTES + p.len);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ETH_NOT_OURS], 2);
	rig->in[0] = 1;
	rig_input(rig, VLY_ETH_BYTES + p.len);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ETH_NOT_OURS], 3);
	inet_rig_close(rig);
}

Test(ip, frames_from_nobody_and_of_other_types_are_counted)
{
	struct inet_rig *rig = inet_rig_open();
	struct packet p;

	packet_udp(&p, 4);
	rig_packet(rig, &p);
	memset(rig->in + 6, 0xff, 6);
	rig_input(rig, VLY_ETH_BYTES + p.len);
	memcpy(rig->in + 6, rig_mac, 6);
	rig_input(rig, VLY_ETH_BYTES + p.len);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ETH_SOURCE], 2);
	memcpy(rig->in + 6, rig_peer_mac, 6);
	rig->in[12] = 0x86;
	rig->in[13] = 0xdd;
	rig_input(rig, VLY_ETH_BYTES + p.len);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ETH_TYPE], 1);
	for (uint32_t len = 0; len < VLY_ETH_BYTES; len++)
		rig_input(rig, len);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ETH_SHORT], VLY_ETH_BYTES);
	inet_rig_close(rig);
}

Test(ip, packets_for_other_addresses_are_counted)
{
	static const uint32_t others[] = {FRAME_DST_IP + 1, 0x0a0000ff, 0xffffffff, 0xe0000001, 0};
	struct inet_rig *rig = inet_rig_open();
	struct packet p;

	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		packet_udp(&p, 4);
		((struct vly_ipv4 *)p.data)->dst = htonl(others[i]);
		packet_sum(&p);
		rig_packet(rig, &p);
		cr_assert_eq(rig->inet.drops[VLY_DROP_IP_NOT_OURS], i + 1);
	}
	inet_rig_close(rig);
}

Test(ip, martians_are_counted)
{
	static const uint32_t martians[] = {FRAME_DST_IP, 0x0a0000ff, 0x0a000000,
					    0x7f000001,   0xe0000001, 0};
	struct inet_rig *rig = inet_rig_open();
	struct packet p;

	for (size_t i = 0; i < sizeof(martians) / sizeof(martians[0]); i++) {
		packet_udp(&p, 4);
		((struct vly_ipv4 *)p.data)->src = htonl(martians[i]);
		packet_sum(&p);
		rig_packet(rig, &p);
		cr_assert_eq(rig->inet.drops[VLY_DROP_IP_MARTIAN], i + 1, "%08x", martians[i]);
	}
	inet_rig_close(rig);
}

Test(ip, fragments_and_unknown_protocols_are_counted)
{
	struct inet_rig *rig = inet_rig_open();
	struct packet p;

	packet_udp(&p, 4);
	((struct vly_ipv4 *)p.data)->fragment = htons(VLY_IPV4_MORE_FRAGMENTS);
	packet_sum(&p);
	rig_packet(rig, &p);
	cr_assert_eq(rig->inet.drops[VLY_DROP_IP_FRAGMENT], 1);
	packet_ip(&p, 47, 30);
	rig_packet(rig, &p);
	cr_assert_eq(rig->inet.drops[VLY_DROP_IP_PROTOCOL], 1);
	inet_rig_close(rig);
}

Test(ip, what_the_wire_has_verified_is_not_verified_again)
{
	struct inet_rig *rig = inet_rig_open();
	struct packet p;

	packet_udp(&p, 4)->check = htons(1);
	((struct vly_ipv4 *)p.data)->check = 0;
	rig_packet(rig, &p);
	cr_assert_eq(rig->inet.drops[VLY_DROP_IP_CHECKSUM], 1);
	vly_ip_input(&rig->inet, &(struct vly_frame){.data = rig->in,
						     .len = VLY_ETH_BYTES + p.len,
						     .flags = VLY_FRAME_CHECKED});
	cr_assert_eq(rig->inet.drops[VLY_DROP_UDP_PORT], 1);
	inet_rig_close(rig);
}

Test(ip, a_packet_out_has_its_headers_and_checksums)
{
	struct inet_rig *rig = inet_rig_open();
	struct vly_ipv4_view ip;
	struct vly_udp_view udp;

	rig_meet(rig);
	uint16_t hop = vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));
	uint8_t *to = vly_ip_begin(&rig->inet, hop, VLY_IP_UDP, rig->inet.route.ip,
				   htonl(FRAME_SRC_IP), 8 + 5);

	memset(to, 0, 13);
	to[1] = 7;
	to[3] = 9;
	to[5] = 13;
	memcpy(to + 8, "hello", 5);
	vly_ip_end(&rig->inet, offsetof(struct vly_udp_header, check));
	cr_assert_eq(rig_sent(rig), 1);
	cr_assert_eq(rig->out_len[0], 14 + 20 + 13);
	cr_assert(vly_mac_equal(rig->out[0], rig_peer_mac));
	cr_assert(vly_mac_equal(rig->out[0] + 6, rig_mac));
	cr_assert_eq(vly_ipv4_parse(rig->out[0] + 14, 33, true, &ip), VLY_DROP_NONE);
	cr_assert_eq(ip.src, rig->inet.route.ip);
	cr_assert_eq(ip.dst, htonl(FRAME_SRC_IP));
	cr_assert_eq(ip.ttl, 64);
	cr_assert_eq(vly_udp_parse(&ip, true, &udp), VLY_DROP_NONE);
	cr_assert_eq(udp.payload_bytes, 5);
	inet_rig_close(rig);
}

Test(ip, a_checksum_left_to_the_wire_is_completed_by_it)
{
	struct inet_rig *rig = inet_rig_open();
	struct vly_ipv4_view ip;
	struct vly_udp_view udp;

	rig->wire.caps = VLY_WIRE_TX_CHECKSUM;
	rig_meet(rig);
	uint16_t hop = vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));
	uint8_t *to = vly_ip_begin(&rig->inet, hop, VLY_IP_UDP, rig->inet.route.ip,
				   htonl(FRAME_SRC_IP), 8 + 5);

	memset(to, 0, 13);
	to[5] = 13;
	memcpy(to + 8, "hello", 5);
	vly_ip_end(&rig->inet, offsetof(struct vly_udp_header, check));
	struct vly_frame frame = rig->inet.out[rig->inet.out_used - 1];

	cr_assert_eq(frame.flags, VLY_FRAME_COMPLETE);
	cr_assert_eq(rig_sent(rig), 1);
	vly_wire_complete(&frame);
	cr_assert_eq(frame.flags, 0);
	cr_assert_eq(vly_ipv4_parse(frame.data + 14, frame.len - 14, true, &ip), VLY_DROP_NONE);
	cr_assert_eq(vly_udp_parse(&ip, true, &udp), VLY_DROP_NONE);
	inet_rig_close(rig);
}

Test(ip, a_full_wire_begins_nothing)
{
	struct inet_rig *rig = inet_rig_open();

	rig_meet(rig);
	uint16_t hop = vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));

	rig->out_room = 0;
	cr_assert_not(rig_send(rig, hop, 1));
	cr_assert(rig->inet.out_full);
	/* it is asked again when the burst is over, not before */
	rig->out_room = 1;
	cr_assert_not(rig_send(rig, hop, 1));
	cr_assert_eq(rig_sent(rig), 0);
	cr_assert(rig_send(rig, hop, 1));
	cr_assert_eq(rig_sent(rig), 1);
	cr_assert_not(rig->inet.out_full);
	inet_rig_close(rig);
}

/* Each frame ends in a counter: none is unaccounted for, none crashes. */
Test(ip, spoilt_frames_of_every_kind_are_counted_and_harm_nothing)
{
	struct inet_rig *rig = inet_rig_open();
	struct packet p;
	uint64_t random = 1;

	rig_meet(rig);
	for (uint32_t i = 0; i < 200000; i++) {
		uint64_t before = all_ends(rig);
		uint32_t len;

		random = vly_hash_u64(random + i);
		switch (random % 4) {
		case 0:
			packet_udp(&p, random / 4 % 64);
			break;
		case 1:
			packet_icmp(&p, (uint8_t)(random / 4 % 16), 4, p.data, 28);
			break;
		case 2:
			packet_tcp(&p, (uint8_t)(random / 4), NULL, 0, random / 1024 % 64);
			break;
		default:
			packet_ip(&p, (uint8_t)(random / 4), 20);
		}
		for (uint32_t flips = (uint32_t)(random >> 20) % 4; flips; flips--) {
			random = vly_hash_u64(random);
			p.data[random % p.len] ^= (uint8_t)(1 << (random >> 32) % 8);
		}
		/* Without its core TCP is not there: its segments have tests of their own. */
		if (p.data[9] == VLY_IP_TCP)
			p.data[9] = VLY_IP_UDP;
		if (random & 1 << 30)
			packet_sum(&p);
		len = random & 1 << 29 ? p.len : (uint32_t)(random >> 33) % (p.len + 1);
		uint32_t whole = p.len;

		p.len = len;
		rig_packet(rig, &p);
		p.len = whole;
		cr_assert_gt(all_ends(rig), before, "frame %u", i);
		rig_sent(rig);
		rig->out_room = RIG_FRAMES;
		rig_time(rig, 1000000);
	}
	cr_assert_eq(rig->inet.hops.begun, 0);
	cr_assert_null(rig->inet.begun);
	inet_rig_close(rig);
}
