/* test_udp_header.c - UDP headers: whole ones, and each way of being wrong */
#include "nic/inet/udp_header.h"

#include <criterion/criterion.h>

#include "tests/support/frames.h"
#include "tests/support/leak.h"

TestSuite(udp_header, .fini = vly_leak_gate);

static enum vly_inet_drop verdict(const struct packet *p, struct vly_udp_view *view)
{
	struct vly_ipv4_view ip;

	cr_assert_eq(packet_verdict(p, p->len, &ip), VLY_DROP_NONE);
	return vly_udp_parse(&ip, true, view);
}

Test(udp_header, what_was_written_is_read)
{
	struct packet p;
	struct vly_udp_view view;

	for (uint32_t len = 0; len < 100; len++) {
		struct vly_ipv4_opts ip = {.src = htonl(FRAME_SRC_IP),
					   .dst = htonl(FRAME_DST_IP),
					   .payload_bytes = (uint16_t)(VLY_UDP_BYTES + len),
					   .protocol = VLY_IP_UDP};

		packet_udp(&p, len);
		memset(p.data + 20, 0, 8);
		vly_udp_write(p.data + 20, &ip, 1000, 2000, vly_checksum_add(0, p.data + 28, len),
			      true);
		cr_assert_eq(verdict(&p, &view), VLY_DROP_NONE);
		cr_assert_eq(view.src_port, 1000);
		cr_assert_eq(view.dst_port, 2000);
		cr_assert_eq(view.payload_bytes, len);
		cr_assert_eq(view.payload, p.data + 28);
	}
}

Test(udp_header, a_sum_left_to_the_wire_is_that_of_the_pseudo_header)
{
	struct packet p;
	struct vly_ipv4_opts ip = {.src = htonl(FRAME_SRC_IP),
				   .dst = htonl(FRAME_DST_IP),
				   .payload_bytes = 12,
				   .protocol = VLY_IP_UDP};
	struct vly_udp_view view;

	packet_udp(&p, 4);
	vly_udp_write(p.data + 20, &ip, 1000, 2000, 0, false);
	/* what a wire does: the sum over everything, the seed in its place */
	struct vly_udp_header *udp = (struct vly_udp_header *)(p.data + 20);
	udp->check = vly_checksum_finish(vly_checksum_add(0, p.data + 20, 12));
	cr_assert_eq(verdict(&p, &view), VLY_DROP_NONE);
}

Test(udp_header, a_truncated_header_is_dropped)
{
	struct packet p;
	struct vly_udp_view view;

	for (uint32_t len = 0; len < VLY_UDP_BYTES; len++) {
		packet_ip(&p, VLY_IP_UDP, len);
		cr_assert_eq(verdict(&p, &view), VLY_DROP_UDP_SHORT);
	}
}

Test(udp_header, lengths_that_cannot_be_are_dropped)
{
	struct packet p;
	struct vly_udp_view view;
	struct vly_udp_header *udp = packet_udp(&p, 10);

	for (unsigned len = 0; len < 40; len++) {
		udp->len = htons((uint16_t)len);
		udp->check = 0;
		cr_assert_eq(verdict(&p, &view),
			     len >= 8 && len <= 18 ? VLY_DROP_NONE : VLY_DROP_UDP_LEN, "%u", len);
	}
}

Test(udp_header, a_wrong_checksum_is_dropped_and_none_is_fine)
{
	struct packet p;
	struct vly_udp_view view;
	struct vly_udp_header *udp = packet_udp(&p, 11);

	udp->check ^= 0x100;
	cr_assert_eq(verdict(&p, &view), VLY_DROP_UDP_CHECKSUM);
	udp->check = 0;
	cr_assert_eq(verdict(&p, &view), VLY_DROP_NONE);
	packet_udp(&p, 11);
	p.data[38] ^= 1; /* the last byte, an odd one */
	cr_assert_eq(verdict(&p, &view), VLY_DROP_UDP_CHECKSUM);
}

Test(udp_header, a_sum_of_zero_is_written_as_ones)
{
	uint8_t room[8];

	/* Choose the payload's sum so that the whole comes to ones. */
	struct vly_ipv4_opts ip = {.src = htonl(FRAME_SRC_IP),
				   .dst = htonl(FRAME_DST_IP),
				   .payload_bytes = 10,
				   .protocol = VLY_IP_UDP};
	struct vly_udp_header *udp = (struct vly_udp_header *)room;

	vly_udp_write(room, &ip, 1000, 2000, 0, true);
	uint16_t missing = udp->check;
	vly_udp_write(room, &ip, 1000, 2000, missing, true);
	cr_assert_eq(udp->check, 0xffff);
}
