/* icmp_header.h - ICMP: what a received message must be, echo replies, the errors that TCP wants to know */
#ifndef VLY_NIC_INET_ICMP_HEADER_H
#define VLY_NIC_INET_ICMP_HEADER_H

#include "nic/inet/ipv4.h"

#define VLY_ICMP_BYTES 8
#define VLY_ICMP_ECHO_REPLY 0
#define VLY_ICMP_UNREACHABLE 3
#define VLY_ICMP_ECHO 8
#define VLY_ICMP_TIME_EXCEEDED 11
#define VLY_ICMP_PARAMETER 12

/* Codes of VLY_ICMP_UNREACHABLE. */
#define VLY_ICMP_UNREACHABLE_PORT 3
#define VLY_ICMP_FRAG_NEEDED 4

struct vly_icmp_header {
	uint8_t type, code;
	uint16_t check;
	uint16_t id;  /* of an error: unused */
	uint16_t seq; /* of "fragmentation needed": the next hop's MTU */
} VLY_IN_FRAME;

static_assert(sizeof(struct vly_icmp_header) == VLY_ICMP_BYTES, "no padding");

struct vly_icmp_view {
	uint8_t type, code;
	/* of VLY_ICMP_FRAG_NEEDED: the next hop's MTU, 0 from a router that does not tell */
	uint16_t mtu;
	/* of errors: the datagram they are about, as its receiver would have seen it */
	uint8_t quoted_protocol;
	uint32_t quoted_src, quoted_dst;           /* network order */
	uint16_t quoted_src_port, quoted_dst_port; /* host order */
	uint32_t quoted_seq;                       /* TCP's, host order */
};

/*
 * Checks lengths and checksum; of errors the quotation too: an unfragmented TCP or UDP datagram, 8
 * bytes of it at least (RFC 792). Types besides echoes and errors are VLY_DROP_ICMP_TYPE.
 */
enum vly_inet_drop vly_icmp_parse(const struct vly_ipv4_view *ip, bool check_sum,
				  struct vly_icmp_view *view);

/* Copies an echo request of `len_bytes` (8 at least, checksum intact) to `to`, as its reply. */
void vly_icmp_write_reply(uint8_t *to, const uint8_t *request, uint32_t len_bytes);

#endif
