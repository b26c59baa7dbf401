/* arp_header.h - ARP for IPv4 over Ethernet (RFC 826): what a received one must be, how one is written */
#ifndef VLY_NIC_INET_ARP_HEADER_H
#define VLY_NIC_INET_ARP_HEADER_H

#include "nic/inet/drop.h"
#include "nic/inet/eth.h"

#define VLY_ARP_BYTES 28
#define VLY_ARP_REQUEST 1
#define VLY_ARP_REPLY 2

struct vly_arp_header {
	uint16_t hardware, protocol;
	uint8_t hardware_bytes, protocol_bytes;
	uint16_t operation;
	uint8_t sender_mac[VLY_MAC_BYTES];
	uint32_t sender_ip;
	uint8_t target_mac[VLY_MAC_BYTES];
	uint32_t target_ip;
} VLY_IN_FRAME;

static_assert(sizeof(struct vly_arp_header) == VLY_ARP_BYTES, "no padding");

/*
 * Checks a whole frame, Ethernet header included: our kind of ARP, and a sender that can be one and
 * is the frame's own source. `*arp` points into the frame.
 */
enum vly_inet_drop vly_arp_parse(const uint8_t *frame, uint32_t len_bytes,
				 const struct vly_arp_header **arp);

struct vly_arp_opts {
	uint16_t operation;
	const uint8_t *sender_mac, *target_mac; /* target NULL: a request, to everybody */
	uint32_t sender_ip, target_ip;          /* network order */
};

/* Writes a whole frame of 60 bytes, padding included. */
#define VLY_ARP_FRAME_BYTES (VLY_ETH_BYTES + VLY_ETH_PAYLOAD_MIN)
void vly_arp_write(uint8_t to[VLY_ARP_FRAME_BYTES], const struct vly_arp_opts *opts);

#endif
