/* test_arp_header.c - ARP packets: whole ones, and each way of being wrong */
#include "nic/inet/arp_header.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/support/leak.h"

TestSuite(arp_header, .fini = vly_leak_gate);

static const uint8_t mine[6] = {2, 0, 0, 0, 0, 1}, yours[6] = {2, 0, 0, 0, 0, 2};

static struct vly_arp_header *make(uint8_t frame[VLY_ARP_FRAME_BYTES], uint16_t operation)
{
	vly_arp_write(frame, &(struct vly_arp_opts){
				     .operation = operation,
				     .sender_mac = yours,
				     .target_mac = operation == VLY_ARP_REPLY ? mine : NULL,
				     .sender_ip = htonl(0x0a000002),
				     .target_ip = htonl(0x0a000001),
			     });
	return (struct vly_arp_header *)(frame + VLY_ETH_BYTES);
}

static enum vly_inet_drop verdict(const uint8_t *frame)
{
	const struct vly_arp_header *arp;

	return vly_arp_parse(frame, VLY_ARP_FRAME_BYTES, &arp);
}

Test(arp_header, what_was_written_is_read)
{
	uint8_t frame[VLY_ARP_FRAME_BYTES];
	const struct vly_arp_header *arp;

	make(frame, VLY_ARP_REQUEST);
	cr_assert(vly_mac_is_broadcast(frame));
	cr_assert_eq(vly_arp_parse(frame, sizeof(frame), &arp), VLY_DROP_NONE);
	cr_assert_eq(arp->sender_ip, htonl(0x0a000002));
	cr_assert_eq(arp->target_ip, htonl(0x0a000001));
	cr_assert(vly_mac_equal(arp->sender_mac, yours));
	cr_assert(vly_mac_is_zero(arp->target_mac));

	make(frame, VLY_ARP_REPLY);
	cr_assert(vly_mac_equal(frame, mine));
	cr_assert_eq(vly_arp_parse(frame, sizeof(frame), &arp), VLY_DROP_NONE);
	cr_assert(vly_mac_equal(arp->target_mac, mine));
}

Test(arp_header, a_truncated_packet_is_dropped_at_every_length)
{
	uint8_t frame[VLY_ARP_FRAME_BYTES];
	const struct vly_arp_header *arp;

	make(frame, VLY_ARP_REQUEST);
	for (uint32_t len = VLY_ETH_BYTES; len < VLY_ETH_BYTES + VLY_ARP_BYTES; len++) {
		uint8_t *copy = malloc(len); /* a sanitizer sees a read behind it */

		memcpy(copy, frame, len);
		cr_assert_eq(vly_arp_parse(copy, len, &arp), VLY_DROP_ARP_SHORT);
		free(copy);
	}
	cr_assert_eq(vly_arp_parse(frame, VLY_ETH_BYTES + VLY_ARP_BYTES, &arp), VLY_DROP_NONE);
}

Test(arp_header, other_kinds_of_arp_are_dropped)
{
	uint8_t frame[VLY_ARP_FRAME_BYTES];

	make(frame, VLY_ARP_REQUEST)->hardware = htons(6);
	cr_assert_eq(verdict(frame), VLY_DROP_ARP_FORMAT);
	make(frame, VLY_ARP_REQUEST)->protocol = htons(0x86dd);
	cr_assert_eq(verdict(frame), VLY_DROP_ARP_FORMAT);
	make(frame, VLY_ARP_REQUEST)->hardware_bytes = 8;
	cr_assert_eq(verdict(frame), VLY_DROP_ARP_FORMAT);
	make(frame, VLY_ARP_REQUEST)->protocol_bytes = 16;
	cr_assert_eq(verdict(frame), VLY_DROP_ARP_FORMAT);
	for (unsigned operation = 0; operation < 16; operation++) {
		make(frame, VLY_ARP_REQUEST)->operation = htons((uint16_t)operation);
		cr_assert_eq(verdict(frame), operation == 1 || operation == 2
						     ? VLY_DROP_NONE
						     : VLY_DROP_ARP_FORMAT);
	}
}

Test(arp_header, senders_that_cannot_be_are_dropped)
{
	static const uint32_t martians[] = {0x7f000001, 0xe0000001, 0xffffffff, 0x00000001};
	uint8_t frame[VLY_ARP_FRAME_BYTES];

	for (size_t i = 0; i < sizeof(martians) / sizeof(martians[0]); i++) {
		make(frame, VLY_ARP_REPLY)->sender_ip = htonl(martians[i]);
		cr_assert_eq(verdict(frame), VLY_DROP_ARP_ADDRESS);
	}
	memset(make(frame, VLY_ARP_REPLY)->sender_mac, 0xff, 6);
	cr_assert_eq(verdict(frame), VLY_DROP_ARP_ADDRESS);
	memset(make(frame, VLY_ARP_REPLY)->sender_mac, 0, 6);
	cr_assert_eq(verdict(frame), VLY_DROP_ARP_ADDRESS);
	make(frame, VLY_ARP_REPLY)->sender_mac[5] = 3; /* the frame came from another */
	cr_assert_eq(verdict(frame), VLY_DROP_ARP_ADDRESS);
}

Test(arp_header, a_probe_for_a_free_address_may_ask_and_not_answer)
{
	uint8_t frame[VLY_ARP_FRAME_BYTES];

	make(frame, VLY_ARP_REQUEST)->sender_ip = 0;
	cr_assert_eq(verdict(frame), VLY_DROP_NONE);
	make(frame, VLY_ARP_REPLY)->sender_ip = 0;
	cr_assert_eq(verdict(frame), VLY_DROP_ARP_ADDRESS);
}
