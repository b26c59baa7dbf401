/* tcp_header.h - the TCP header and its options: what a received one must be */
#ifndef VLY_NIC_INET_TCP_HEADER_H
#define VLY_NIC_INET_TCP_HEADER_H

#include "nic/inet/ipv4.h"

#define VLY_TCP_BYTES 20
#define VLY_TCP_BYTES_MAX 60
#define VLY_TCP_OPTIONS_BYTES_MAX 40
#define VLY_TCP_WSCALE_MAX 14 /* RFC 7323, 2.3 */
#define VLY_TCP_SACKS_MAX 4

enum vly_tcp_flag {
	VLY_TCP_FIN = 0x01,
	VLY_TCP_SYN = 0x02,
	VLY_TCP_RST = 0x04,
	VLY_TCP_PSH = 0x08,
	VLY_TCP_ACK = 0x10,
	VLY_TCP_URG = 0x20,
	VLY_TCP_ECE = 0x40,
	VLY_TCP_CWR = 0x80,
};

enum vly_tcp_option_kind {
	VLY_TCP_OPT_END = 0,
	VLY_TCP_OPT_NOP = 1,
	VLY_TCP_OPT_MSS = 2,
	VLY_TCP_OPT_WSCALE = 3,
	VLY_TCP_OPT_SACK_PERMITTED = 4,
	VLY_TCP_OPT_SACK = 5,
	VLY_TCP_OPT_TIMESTAMPS = 8,
};

struct vly_tcp_header {
	uint16_t src_port, dst_port;
	uint32_t seq, ack;
	uint8_t offset; /* words of header, in the upper half */
	uint8_t flags;
	uint16_t window;
	uint16_t check;
	uint16_t urgent;
} VLY_IN_FRAME;

static_assert(sizeof(struct vly_tcp_header) == VLY_TCP_BYTES, "no padding");

/* A segment; host order but for the addresses, which the IPv4 view has. */
struct vly_tcp_view {
	uint16_t src_port, dst_port;
	uint32_t seq, ack;
	uint16_t window; /* not scaled */
	uint8_t flags;
	uint8_t header_bytes;
	uint16_t payload_bytes;
	const uint8_t *payload;
	const uint8_t *options; /* header_bytes - 20 of them */
};

/*
 * Lengths, flags and checksum (unless the wire has checked it). `ip` is what vly_ipv4_parse()
 * accepted. Options are not looked at.
 */
enum vly_inet_drop vly_tcp_parse(const struct vly_ipv4_view *ip, bool check_sum,
				 struct vly_tcp_view *view);

/* Which options were there. */
enum vly_tcp_has {
	VLY_TCP_HAS_MSS = 1 << 0,
	VLY_TCP_HAS_WSCALE = 1 << 1,
	VLY_TCP_HAS_SACK_PERMITTED = 1 << 2,
	VLY_TCP_HAS_TIMESTAMPS = 1 << 3,
};

/* A block of SACK: `to` is one past the last byte. */
struct vly_tcp_block {
	uint32_t from, to;
};

struct vly_tcp_options {
	uint8_t has;    /* of VLY_TCP_HAS_* */
	uint8_t wscale; /* at most VLY_TCP_WSCALE_MAX */
	uint16_t mss;   /* as the peer says: 0 is possible */
	uint32_t ts_value, ts_echo;
	uint8_t sack_count;
	struct vly_tcp_block sack[VLY_TCP_SACKS_MAX];
};

/*
 * Reads the options; unknown ones are skipped, a repeated one counts as last seen. Lengths that
 * contradict the header or the option's own kind: VLY_DROP_TCP_OPTIONS. MSS, window scale and "SACK
 * permitted" count on a SYN only.
 */
enum vly_inet_drop vly_tcp_options_parse(const uint8_t *data, uint32_t len_bytes, bool is_syn,
					 struct vly_tcp_options *options);

#endif
