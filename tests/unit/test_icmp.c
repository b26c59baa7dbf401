/* test_icmp.c - echoes and errors: answered, limited, handed on or counted */
#include "nic/inet/icmp.h"

#include "tests/support/inet_rig.h"
#include "tests/support/leak.h"

TestSuite(icmp, .fini = vly_leak_gate);

Test(icmp, an_echo_is_answered_with_its_own_bytes)
{
	struct inet_rig *rig = inet_rig_open();
	struct packet p;
	struct vly_ipv4_view ip;
	struct vly_icmp_view icmp;

	rig_meet(rig);
	for (uint32_t len = 0; len <= 1472; len += 92) {
		uint8_t payload[1472];

		memset(payload, 0x33, sizeof(payload));
		packet_icmp(&p, VLY_ICMP_ECHO, 0, payload, len);
		rig_packet(rig, &p);
		cr_assert_eq(rig_sent(rig), 1);
		cr_assert_eq(vly_ipv4_parse(rig->out[0] + 14, rig->out_len[0] - 14, true, &ip),
			     VLY_DROP_NONE);
		cr_assert_eq(ip.src, htonl(FRAME_DST_IP));
		cr_assert_eq(ip.dst, htonl(FRAME_SRC_IP));
		cr_assert_eq(vly_icmp_parse(&ip, true, &icmp), VLY_DROP_NONE);
		cr_assert_eq(icmp.type, VLY_ICMP_ECHO_REPLY);
		cr_assert_eq(ip.payload_bytes, 8 + len);
		cr_assert_eq(memcmp(ip.payload + 8, payload, len), 0);
	}
	cr_assert_eq(rig->inet.stats.icmp_echo, 17);
	inet_rig_close(rig);
}

Test(icmp, echoes_are_answered_at_a_bounded_rate)
{
	struct inet_rig *rig = inet_rig_open();
	struct packet p;
	uint32_t answered = 0;

	rig_meet(rig);
	packet_icmp(&p, VLY_ICMP_ECHO, 0, NULL, 0);
	for (uint32_t i = 0; i < 100000; i++) {
		rig_packet(rig, &p);
		answered += rig_sent(rig);
		rig->out_room = RIG_FRAMES;
		rig->inet.now_ns += 10000;
	}
	cr_assert(answered >= 900 && answered <= 1200, "%u", answered);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ICMP_RATE], 100000 - answered);
	inet_rig_close(rig);
}

Test(icmp, echo_replies_nobody_asked_for_are_counted)
{
	struct inet_rig *rig = inet_rig_open();
	struct packet p;

	packet_icmp(&p, VLY_ICMP_ECHO_REPLY, 0, NULL, 0);
	rig_packet(rig, &p);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ICMP_TYPE], 1);
	inet_rig_close(rig);
}

Test(icmp, a_datagram_for_nobody_is_answered_by_port_unreachable)
{
	struct inet_rig *rig = inet_rig_open();
	struct packet p;
	struct vly_ipv4_view ip;
	struct vly_icmp_view icmp;

	rig_meet(rig);
	packet_udp(&p, 20);
	rig_packet(rig, &p);
	cr_assert_eq(rig->inet.drops[VLY_DROP_UDP_PORT], 1);
	cr_assert_eq(rig_sent(rig), 1);
	cr_assert_eq(vly_ipv4_parse(rig->out[0] + 14, rig->out_len[0] - 14, true, &ip),
		     VLY_DROP_NONE);
	cr_assert_eq(vly_icmp_parse(&ip, true, &icmp), VLY_DROP_NONE);
	cr_assert_eq(icmp.type, VLY_ICMP_UNREACHABLE);
	cr_assert_eq(icmp.code, VLY_ICMP_UNREACHABLE_PORT);
	cr_assert_eq(icmp.quoted_protocol, VLY_IP_UDP);
	cr_assert_eq(icmp.quoted_dst_port, 2000);
	inet_rig_close(rig);
}

Test(icmp, errors_about_what_is_not_ours_are_counted)
{
	struct inet_rig *rig = inet_rig_open();
	struct packet p, inner;

	packet_tcp(&inner, VLY_TCP_ACK, NULL, 0, 0);
	/* it quotes what 10.0.0.2 sent, not us */
	packet_icmp(&p, VLY_ICMP_UNREACHABLE, VLY_ICMP_FRAG_NEEDED, inner.data, 28);
	rig_packet(rig, &p);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ICMP_QUOTE], 1);
	cr_assert_eq(rig->inet.stats.icmp_frag_needed, 0);
	inet_rig_close(rig);
}

Test(icmp, errors_about_what_we_sent_are_told_apart)
{
	struct inet_rig *rig = inet_rig_open();
	struct packet p, inner;
	struct vly_ipv4 *ip = (struct vly_ipv4 *)inner.data;

	packet_tcp(&inner, VLY_TCP_ACK, NULL, 0, 0);
	ip->src = htonl(FRAME_DST_IP);
	ip->dst = htonl(FRAME_SRC_IP);
	packet_icmp(&p, VLY_ICMP_UNREACHABLE, VLY_ICMP_FRAG_NEEDED, inner.data, 28);
	rig_packet(rig, &p);
	cr_assert_eq(rig->inet.stats.icmp_frag_needed, 1);
	packet_icmp(&p, VLY_ICMP_UNREACHABLE, 1, inner.data, 28);
	rig_packet(rig, &p);
	packet_icmp(&p, VLY_ICMP_TIME_EXCEEDED, 0, inner.data, 28);
	rig_packet(rig, &p);
	cr_assert_eq(rig->inet.stats.icmp_unreachable, 2);
	cr_assert_eq(rig_sent(rig), 0, "errors are never answered");
	inet_rig_close(rig);
}
