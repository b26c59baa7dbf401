/* ip.h - IPv4: packets in, packets out */
#ifndef VLY_NIC_INET_IP_H
#define VLY_NIC_INET_IP_H

#include <stdbool.h>
#include <stdint.h>

#include "nic/inet/ipv4.h"
#include "nic/inet/wire.h"

struct vly_inet;

/*
 * Any frame that the TCP fast path does not take: ARP; IPv4 with validation, options skipped,
 * fragments dropped; then ICMP, UDP, or vly_tcp_packet().
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
