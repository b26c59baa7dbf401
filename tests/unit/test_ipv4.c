/* test_ipv4.c - IPv4 headers: whole ones, and each way of being wrong */
#include "nic/inet/ipv4.h"

#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/hash.h"
#include "tests/support/frames.h"
#include "tests/support/leak.h"

TestSuite(ipv4, .fini = vly_leak_gate);

static struct vly_ipv4 *header(struct packet *p)
{
	return (struct vly_ipv4 *)p->data;
}

static enum vly_inet_drop verdict(const struct packet *p)
{
	struct vly_ipv4_view view;

	return packet_verdict(p, p->len, &view);
}

Test(ipv4, what_was_written_is_read)
{
	struct packet p;
	struct vly_ipv4_view view;

	packet_udp(&p, 10);
	cr_assert_eq(packet_verdict(&p, p.len, &view), VLY_DROP_NONE);
	cr_assert_eq(view.src, htonl(FRAME_SRC_IP));
	cr_assert_eq(view.dst, htonl(FRAME_DST_IP));
	cr_assert_eq(view.protocol, VLY_IP_UDP);
	cr_assert_eq(view.ttl, 64);
	cr_assert_eq(view.header_bytes, 20);
	cr_assert_eq(view.payload_bytes, 18);
	cr_assert_eq(view.payload, p.data + 20);
}

Test(ipv4, the_frames_padding_is_no_payload)
{
	struct packet p;
	struct vly_ipv4_view view;

	packet_udp(&p, 1);
	cr_assert_eq(packet_verdict(&p, 46, &view), VLY_DROP_NONE);
	cr_assert_eq(view.payload_bytes, 9);
}

Test(ipv4, a_truncated_header_or_packet_is_dropped_at_every_length)
{
	struct packet p;
	struct vly_ipv4_view view;

	packet_udp(&p, 30);
	for (uint32_t len = 0; len < p.len; len++) {
		/* of its own allocation, so that a sanitizer sees a read behind the end */
		uint8_t *copy = malloc(len ? len : 1);

		memcpy(copy, p.data, len);
		cr_assert_eq(vly_ipv4_parse(copy, len, true, &view),
			     len < 20 ? VLY_DROP_IP_SHORT : VLY_DROP_IP_TOTAL_LEN, "%u bytes", len);
		free(copy);
	}
}

Test(ipv4, another_version_is_dropped)
{
	struct packet p;

	for (unsigned version = 0; version < 16; version++) {
		packet_udp(&p, 4);
		header(&p)->version_ihl = (uint8_t)(version << 4 | 5);
		packet_sum(&p);
		cr_assert_eq(verdict(&p), version == 4 ? VLY_DROP_NONE : VLY_DROP_IP_VERSION);
	}
}

Test(ipv4, header_lengths_that_cannot_be_are_dropped)
{
	struct packet p;

	for (unsigned words = 0; words < 5; words++) {
		packet_udp(&p, 4);
		header(&p)->version_ihl = (uint8_t)(4 << 4 | words);
		cr_assert_eq(verdict(&p), VLY_DROP_IP_HEADER_LEN);
	}
	packet_udp(&p, 4); /* 32 bytes in all: a header of 36 is too long */
	header(&p)->version_ihl = 4 << 4 | 9;
	cr_assert_eq(verdict(&p), VLY_DROP_IP_HEADER_LEN);
}

Test(ipv4, total_lengths_that_cannot_be_are_dropped)
{
	struct packet p;

	packet_udp(&p, 4);
	header(&p)->total_len = htons(19);
	packet_sum(&p);
	cr_assert_eq(verdict(&p), VLY_DROP_IP_TOTAL_LEN);
	header(&p)->total_len = htons((uint16_t)(p.len + 1));
	packet_sum(&p);
	cr_assert_eq(verdict(&p), VLY_DROP_IP_TOTAL_LEN);
	header(&p)->total_len = 0;
	packet_sum(&p);
	cr_assert_eq(verdict(&p), VLY_DROP_IP_TOTAL_LEN);
}

Test(ipv4, a_header_without_payload_is_a_packet)
{
	struct packet p;
	struct vly_ipv4_view view;

	packet_ip(&p, VLY_IP_TCP, 0);
	cr_assert_eq(packet_verdict(&p, p.len, &view), VLY_DROP_NONE);
	cr_assert_eq(view.payload_bytes, 0);
}

Test(ipv4, every_wrong_bit_spoils_the_checksum)
{
	struct packet p;

	for (unsigned bit = 0; bit < 20 * 8; bit++) {
		packet_udp(&p, 4);
		p.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_neq(verdict(&p), VLY_DROP_NONE, "bit %u", bit);
	}
	packet_udp(&p, 4);
	header(&p)->check ^= 1;
	cr_assert_eq(verdict(&p), VLY_DROP_IP_CHECKSUM);
}

Test(ipv4, a_checksum_that_the_wire_has_verified_is_not_looked_at)
{
	struct packet p;
	struct vly_ipv4_view view;

	packet_udp(&p, 4);
	header(&p)->check = 0;
	cr_assert_eq(vly_ipv4_parse(p.data, p.len, false, &view), VLY_DROP_NONE);
}

Test(ipv4, options_are_skipped)
{
	struct packet p;
	struct vly_ipv4_view view;

	for (unsigned words = 6; words <= 15; words++) {
		packet_ip(&p, VLY_IP_UDP, 100);
		header(&p)->version_ihl = (uint8_t)(4 << 4 | words);
		memset(p.data + 20, 1, (words - 5) * 4); /* no-operation */
		packet_sum(&p);
		cr_assert_eq(packet_verdict(&p, p.len, &view), VLY_DROP_NONE);
		cr_assert_eq(view.payload, p.data + words * 4);
		cr_assert_eq(view.payload_bytes, 120 - words * 4);
	}
}

Test(ipv4, fragments_are_dropped_and_dont_fragment_is_none)
{
	static const uint16_t fragments[] = {0x2000, 0x2001, 0x0001, 0x1fff, 0x6000, 0x4001};
	struct packet p;

	for (size_t i = 0; i < sizeof(fragments) / sizeof(fragments[0]); i++) {
		packet_udp(&p, 4);
		header(&p)->fragment = htons(fragments[i]);
		packet_sum(&p);
		cr_assert_eq(verdict(&p), VLY_DROP_IP_FRAGMENT, "%04x", fragments[i]);
	}
	packet_udp(&p, 4);
	header(&p)->fragment = htons(0x8000); /* the reserved bit says nothing */
	packet_sum(&p);
	cr_assert_eq(verdict(&p), VLY_DROP_NONE);
}

Test(ipv4, sources_that_cannot_be_are_martians)
{
	static const uint32_t martians[] = {0x00000000, 0x00010203, 0x7f000001, 0x7fffffff,
					    0xe0000001, 0xefffffff, 0xf0000001, 0xffffffff};
	static const uint32_t citizens[] = {0x01000000, 0x7effffff, 0x80000000,
					    0xdfffffff, 0x0a000001, 0xc0a80001};
	struct packet p;

	for (size_t i = 0; i < sizeof(martians) / sizeof(martians[0]); i++) {
		packet_udp(&p, 4);
		header(&p)->src = htonl(martians[i]);
		packet_sum(&p);
		cr_assert_eq(verdict(&p), VLY_DROP_IP_MARTIAN, "%08x", martians[i]);
	}
	for (size_t i = 0; i < sizeof(citizens) / sizeof(citizens[0]); i++) {
		packet_udp(&p, 4);
		header(&p)->src = htonl(citizens[i]);
		packet_sum(&p);
		cr_assert_eq(verdict(&p), VLY_DROP_NONE, "%08x", citizens[i]);
	}
}

Test(ipv4, each_reason_has_a_name_of_its_own)
{
	for (unsigned i = 0; i < VLY_DROP_COUNT; i++) {
		const char *name = vly_inet_drop_name(i);

		cr_assert(name);
		for (unsigned j = 0; j < i; j++)
			cr_assert_str_neq(name, vly_inet_drop_name(j));
	}
	cr_assert_null(vly_inet_drop_name(VLY_DROP_COUNT));
}
