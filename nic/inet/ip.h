/* ip.h - IPv4: packets in, packets out */
#ifndef VLY_NIC_INET_IP_H
#define VLY_NIC_INET_IP_H

#include <stdbool.h>
#include <stdint.h>

#include "nic/inet/wire.h"

struct vly_inet;

#define VLY_ETH_BYTES 14u
#define VLY_IP_BYTES 20u

enum {
	VLY_PROTO_ICMP = 1,
	VLY_PROTO_TCP = 6,
	VLY_PROTO_UDP = 17
};

/* A received packet whose IP header was validated. */
struct vly_packet {
	uint8_t *ip;
	uint8_t *l4;
	uint32_t l4_len;   /* as the IP header says; padding cut off */
	uint32_t src, dst; /* network order */
	uint16_t flags;    /* of the frame: enum vly_frame_flag */
	uint8_t protocol;
	bool broadcast; /* to many: answers nothing */
};

/*
 * Any frame that the TCP fast path does not take: ARP; IPv4 with validation, options skipped,
 * fragments dropped; then ICMP, UDP, or vly_tcp_packet(). The stage of a burst: called once per
 * frame, in order.
 */
void vly_ip_input(struct vly_inet *inet, const struct vly_frame *frame);

/*
 * Begins a packet of `l4_len` bytes from own address `src` to `dst` (network order) by way of `hop`.
 * Returns where the l4 part is to be built; NULL: the wire is full, or the pending queue of a hop
 * that is being asked for (counted), nothing is begun. One at a time; ended by vly_ip_end().
 */
uint8_t *vly_ip_begin(struct vly_inet *inet, uint16_t hop, uint8_t protocol, uint32_t src,
		      uint32_t dst, uint32_t l4_len);

/*
 * Ends it. `check` is where in the l4 part the checksum of TCP or UDP lies: it is computed, or left
 * to the wire; -1: there is none to compute (ICMP has made its own).
 */
void vly_ip_end(struct vly_inet *inet, int check);

#endif
