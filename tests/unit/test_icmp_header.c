/* test_icmp_header.c - ICMP messages: echoes, errors and what they quote, each way of being wrong */
#include "nic/inet/icmp_header.h"

#include <stdlib.h>

#include <criterion/criterion.h>

#include "tests/support/frames.h"
#include "tests/support/leak.h"

TestSuite(icmp_header, .fini = vly_leak_gate);

static enum vly_inet_drop verdict(const struct packet *p, struct vly_icmp_view *view)
{
	struct vly_ipv4_view ip;

	cr_assert_eq(packet_verdict(p, p->len, &ip), VLY_DROP_NONE);
	return vly_icmp_parse(&ip, true, view);
}

Test(icmp_header, the_reply_to_an_echo_is_its_copy_with_an_intact_checksum)
{
	struct packet p, reply;
	struct vly_icmp_view view;
	uint8_t payload[57];

	for (uint32_t len = 0; len <= sizeof(payload); len++) {
		memset(payload, (int)len, sizeof(payload));
		struct vly_icmp_header *icmp = packet_icmp(&p, VLY_ICMP_ECHO, 0, payload, len);

		icmp->id = htons(77);
		icmp->seq = htons((uint16_t)len);
		packet_sum_icmp(&p);
		cr_assert_eq(verdict(&p, &view), VLY_DROP_NONE);
		cr_assert_eq(view.type, VLY_ICMP_ECHO);
		packet_ip(&reply, VLY_IP_ICMP, 8 + len);
		vly_icmp_write_reply(reply.data + 20, p.data + 20, 8 + len);
		cr_assert_eq(verdict(&reply, &view), VLY_DROP_NONE);
		cr_assert_eq(view.type, VLY_ICMP_ECHO_REPLY);
		cr_assert_eq(memcmp(reply.data + 24, p.data + 24, 4 + len), 0);
	}
}

Test(icmp_header, the_reply_to_an_echo_of_zeros_has_a_checksum)
{
	struct packet p, reply;
	struct vly_icmp_view view;

	packet_icmp(&p, VLY_ICMP_ECHO, 0, NULL, 0);
	packet_ip(&reply, VLY_IP_ICMP, 8);
	vly_icmp_write_reply(reply.data + 20, p.data + 20, 8);
	cr_assert_eq(verdict(&reply, &view), VLY_DROP_NONE);
}

Test(icmp_header, truncated_and_spoilt_messages_are_dropped)
{
	struct packet p;
	struct vly_icmp_view view;

	for (uint32_t len = 0; len < VLY_ICMP_BYTES; len++) {
		packet_ip(&p, VLY_IP_ICMP, len);
		cr_assert_eq(verdict(&p, &view), VLY_DROP_ICMP_SHORT);
	}
	packet_icmp(&p, VLY_ICMP_ECHO, 0, (const uint8_t *)"abc", 3);
	p.data[30] ^= 1;
	cr_assert_eq(verdict(&p, &view), VLY_DROP_ICMP_CHECKSUM);
}

Test(icmp_header, other_types_are_dropped)
{
	struct packet p;
	struct vly_icmp_view view;

	for (unsigned type = 0; type < 256; type++) {
		if (type == VLY_ICMP_ECHO || type == VLY_ICMP_ECHO_REPLY ||
		    type == VLY_ICMP_UNREACHABLE || type == VLY_ICMP_TIME_EXCEEDED ||
		    type == VLY_ICMP_PARAMETER)
			continue;
		packet_icmp(&p, (uint8_t)type, 0, NULL, 0);
		cr_assert_eq(verdict(&p, &view), VLY_DROP_ICMP_TYPE, "%u", type);
	}
}

Test(icmp_header, fragmentation_needed_tells_mtu_and_segment)
{
	struct packet p, inner;
	struct vly_icmp_view view;

	packet_tcp(&inner, VLY_TCP_ACK, NULL, 0, 1000);
	struct vly_icmp_header *icmp =
		packet_icmp(&p, VLY_ICMP_UNREACHABLE, VLY_ICMP_FRAG_NEEDED, inner.data, 28);
	icmp->seq = htons(1280);
	packet_sum_icmp(&p);
	cr_assert_eq(verdict(&p, &view), VLY_DROP_NONE);
	cr_assert_eq(view.mtu, 1280);
	cr_assert_eq(view.quoted_protocol, VLY_IP_TCP);
	cr_assert_eq(view.quoted_src, htonl(FRAME_SRC_IP));
	cr_assert_eq(view.quoted_dst, htonl(FRAME_DST_IP));
	cr_assert_eq(view.quoted_src_port, 1000);
	cr_assert_eq(view.quoted_dst_port, 2000);
	cr_assert_eq(view.quoted_seq, 0x01020304);
}

Test(icmp_header, only_fragmentation_needed_tells_an_mtu)
{
	struct packet p, inner;
	struct vly_icmp_view view;

	packet_udp(&inner, 10);
	packet_icmp(&p, VLY_ICMP_UNREACHABLE, VLY_ICMP_UNREACHABLE_PORT, inner.data, 28)->seq =
		htons(68);
	packet_sum_icmp(&p);
	cr_assert_eq(verdict(&p, &view), VLY_DROP_NONE);
	cr_assert_eq(view.mtu, 0);
	cr_assert_eq(view.quoted_protocol, VLY_IP_UDP);
	cr_assert_eq(view.quoted_dst_port, 2000);
	cr_assert_eq(view.quoted_seq, 0);
}

Test(icmp_header, a_quotation_cut_short_is_dropped_at_every_length)
{
	struct packet p, inner;
	struct vly_icmp_view view;

	packet_tcp(&inner, VLY_TCP_ACK, NULL, 0, 0);
	for (uint32_t len = 0; len < 28; len++) {
		packet_icmp(&p, VLY_ICMP_UNREACHABLE, VLY_ICMP_FRAG_NEEDED, inner.data, len);
		uint8_t *copy = malloc(p.len); /* a sanitizer sees a read behind it */
		struct vly_ipv4_view ip;

		memcpy(copy, p.data, p.len);
		cr_assert_eq(vly_ipv4_parse(copy, p.len, true, &ip), VLY_DROP_NONE);
		cr_assert_eq(vly_icmp_parse(&ip, true, &view), VLY_DROP_ICMP_QUOTE, "%u", len);
		free(copy);
	}
}

Test(icmp_header, quotations_of_what_we_never_send_are_dropped)
{
	struct packet p, inner;
	struct vly_icmp_view view;
	struct vly_ipv4 *ip = (struct vly_ipv4 *)inner.data;

	for (int wrong = 0; wrong < 5; wrong++) {
		packet_tcp(&inner, VLY_TCP_ACK, NULL, 0, 0);
		if (wrong == 0)
			ip->version_ihl = 0x65;
		if (wrong == 1)
			ip->version_ihl = 0x44;
		if (wrong == 2)
			ip->version_ihl = 0x4f; /* a header longer than the quotation */
		if (wrong == 3)
			ip->fragment = htons(100);
		if (wrong == 4)
			ip->protocol = 47;
		packet_icmp(&p, VLY_ICMP_UNREACHABLE, VLY_ICMP_FRAG_NEEDED, inner.data, 28);
		cr_assert_eq(verdict(&p, &view), VLY_DROP_ICMP_QUOTE, "case %d", wrong);
	}
}
