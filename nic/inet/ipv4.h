/* ipv4.h - the IPv4 header: what a received one must be, how one is written */
#ifndef VLY_NIC_INET_IPV4_H
#define VLY_NIC_INET_IPV4_H

#include <stdbool.h>
#include <stdint.h>

#include "nic/inet/drop.h"
#include "nic/inet/eth.h"

#define VLY_IPV4_BYTES 20
#define VLY_IPV4_BYTES_MAX 60

#define VLY_IP_ICMP 1
#define VLY_IP_TCP 6
#define VLY_IP_UDP 17

/* Of `fragment`, in host order. */
#define VLY_IPV4_DONT_FRAGMENT 0x4000
#define VLY_IPV4_MORE_FRAGMENTS 0x2000
#define VLY_IPV4_OFFSET_MASK 0x1fff

struct vly_ipv4 {
	uint8_t version_ihl;
	uint8_t tos; /* DSCP and ECN */
	uint16_t total_len;
	uint16_t id;
	uint16_t fragment;
	uint8_t ttl;
	uint8_t protocol;
	uint16_t check;
	uint32_t src;
	uint32_t dst;
} VLY_IN_FRAME;

static_assert(sizeof(struct vly_ipv4) == VLY_IPV4_BYTES, "no padding");

/* What a datagram says; points into the frame. */
struct vly_ipv4_view {
	uint32_t src, dst; /* network order */
	uint8_t protocol, ttl, tos;
	uint8_t header_bytes;
	uint16_t payload_bytes; /* without the frame's padding */
	const uint8_t *payload;
};

/*
 * Checks everything that the header alone tells: lengths, version, checksum (unless the wire has
 * done so), no fragment, a source that can be one. Options are skipped. `data` is what follows the
 * Ethernet header, padding included. Whom it is for is the caller's question.
 */
enum vly_inet_drop vly_ipv4_parse(const uint8_t *data, uint32_t len_bytes, bool check_sum,
				  struct vly_ipv4_view *view);

/* A source that no datagram can have: group, loopback, "this network", class E (RFC 1122, 1812). */
static inline bool vly_ipv4_is_martian(uint32_t addr_net)
{
	uint32_t addr = ntohl(addr_net);

	return addr >> 28 >= 0xe || addr >> 24 == 127 || addr >> 24 == 0;
}

struct vly_ipv4_opts {
	uint32_t src, dst; /* network order */
	uint16_t payload_bytes;
	uint16_t id; /* host order; 0 is fine with "don't fragment" (RFC 6864) */
	uint8_t protocol;
	uint8_t ttl, tos;
};

/* Writes 20 bytes, "don't fragment" set, the checksum made. */
void vly_ipv4_write(uint8_t *to, const struct vly_ipv4_opts *opts);

#endif
