/* udp_header.h - the UDP header: what a received one must be, how one is written */
#ifndef VLY_NIC_INET_UDP_HEADER_H
#define VLY_NIC_INET_UDP_HEADER_H

#include "nic/inet/ipv4.h"

#define VLY_UDP_BYTES 8

struct vly_udp_header {
	uint16_t src_port, dst_port;
	uint16_t len;
	uint16_t check; /* 0: none was made */
} VLY_IN_FRAME;

static_assert(sizeof(struct vly_udp_header) == VLY_UDP_BYTES, "no padding");

struct vly_udp_view {
	uint16_t src_port, dst_port; /* host order */
	uint16_t payload_bytes;
	const uint8_t *payload;
};

/* `ip` is what vly_ipv4_parse() accepted. */
enum vly_inet_drop vly_udp_parse(const struct vly_ipv4_view *ip, bool check_sum,
				 struct vly_udp_view *view);

/*
 * Writes 8 bytes in front of a payload whose sum in progress is `payload_sum`; ports in host order.
 * `make_sum` false leaves the checksum to the wire: the pseudo header's sum stands in its place.
 */
void vly_udp_write(uint8_t *to, const struct vly_ipv4_opts *ip, uint16_t src_port,
		   uint16_t dst_port, uint64_t payload_sum, bool make_sum);

#endif
