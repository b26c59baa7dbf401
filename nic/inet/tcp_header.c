/* tcp_header.c - the TCP header and its options: what a received one must be */
#include "nic/inet/tcp_header.h"

#include "nic/inet/checksum.h"

/* What no stack sends: both ends at once, or nothing at all. */
static bool flags_lie(uint8_t flags)
{
	if ((flags & VLY_TCP_SYN) && (flags & (VLY_TCP_FIN | VLY_TCP_RST)))
		return true;
	return !(flags & (VLY_TCP_SYN | VLY_TCP_RST | VLY_TCP_ACK));
}

enum vly_inet_drop vly_tcp_parse(const struct vly_ipv4_view *ip, bool check_sum,
				 struct vly_tcp_view *view)
{
	const struct vly_tcp_header *tcp = (const struct vly_tcp_header *)ip->payload;

	if (ip->payload_bytes < VLY_TCP_BYTES)
		return VLY_DROP_TCP_SHORT;
	uint32_t header_bytes = (tcp->offset >> 4) * 4u;

	if (header_bytes < VLY_TCP_BYTES || header_bytes > ip->payload_bytes)
		return VLY_DROP_TCP_OFFSET;
	if (check_sum) {
		uint64_t sum = vly_checksum_pseudo(ip->src, ip->dst, VLY_IP_TCP, ip->payload_bytes);

		sum = vly_checksum_add(sum, ip->payload, ip->payload_bytes);
		if (!vly_checksum_intact(sum))
			return VLY_DROP_TCP_CHECKSUM;
	}
	if (flags_lie(tcp->flags) || tcp->src_port == 0 || tcp->dst_port == 0)
		return VLY_DROP_TCP_FLAGS;
	*view = (struct vly_tcp_view){
		.src_port = ntohs(tcp->src_port),
		.dst_port = ntohs(tcp->dst_port),
		.seq = ntohl(tcp->seq),
		.ack = ntohl(tcp->ack),
		.window = ntohs(tcp->window),
		.flags = tcp->flags,
		.header_bytes = (uint8_t)header_bytes,
		.payload_bytes = (uint16_t)(ip->payload_bytes - header_bytes),
		.payload = ip->payload + header_bytes,
		.options = ip->payload + VLY_TCP_BYTES,
	};
	return VLY_DROP_NONE;
}

static uint16_t load16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static uint32_t load32(const uint8_t *p)
{
	return (uint32_t)load16(p) << 16 | load16(p + 2);
}

/* `p` at the option's kind, `len` all of it: the length is within the header. False: it lies. */
static bool option_read(const uint8_t *p, uint8_t len, bool is_syn, struct vly_tcp_options *options)
{
	switch (p[0]) {
	case VLY_TCP_OPT_MSS:
		if (len != 4)
			return false;
		options->mss = load16(p + 2);
		options->has |= is_syn ? VLY_TCP_HAS_MSS : 0;
		return true;
	case VLY_TCP_OPT_WSCALE:
		if (len != 3)
			return false;
		options->wscale = VLY_MIN(p[2], VLY_TCP_WSCALE_MAX);
		options->has |= is_syn ? VLY_TCP_HAS_WSCALE : 0;
		return true;
	case VLY_TCP_OPT_SACK_PERMITTED:
		if (len != 2)
			return false;
		options->has |= is_syn ? VLY_TCP_HAS_SACK_PERMITTED : 0;
		return true;
	case VLY_TCP_OPT_SACK:
		if (len < 10 || (len - 2) % 8 != 0)
			return false;
		options->sack_count = (uint8_t)((len - 2) / 8); /* at most 4: 40 bytes of options */
		for (unsigned i = 0; i < options->sack_count; i++) {
			options->sack[i].from = load32(p + 2 + 8 * i);
			options->sack[i].to = load32(p + 6 + 8 * i);
		}
		return true;
	case VLY_TCP_OPT_TIMESTAMPS:
		if (len != 10)
			return false;
		options->ts_value = load32(p + 2);
		options->ts_echo = load32(p + 6);
		options->has |= VLY_TCP_HAS_TIMESTAMPS;
		return true;
	default:
		return true;
	}
}

enum vly_inet_drop vly_tcp_options_parse(const uint8_t *data, uint32_t len_bytes, bool is_syn,
					 struct vly_tcp_options *options)
{
	uint32_t at = 0;

	*options = (struct vly_tcp_options){0};
	if (len_bytes > VLY_TCP_OPTIONS_BYTES_MAX)
		return VLY_DROP_TCP_OPTIONS;
	while (at < len_bytes && data[at] != VLY_TCP_OPT_END) {
		if (data[at] == VLY_TCP_OPT_NOP) {
			at++;
			continue;
		}
		if (at + 2 > len_bytes)
			return VLY_DROP_TCP_OPTIONS;
		uint8_t len = data[at + 1];

		if (len < 2 || at + len > len_bytes)
			return VLY_DROP_TCP_OPTIONS;
		if (!option_read(data + at, len, is_syn, options))
			return VLY_DROP_TCP_OPTIONS;
		at += len;
	}
	return VLY_DROP_NONE;
}
