/* tcp_large.c - full segments that follow each other, sent as one that the wire cuts (TSO) */
#include "nic/inet/checksum.h"
#include "nic/inet/tcp.h"

/* It lies in a frame of the wire's, goes to another host, and more like it may follow. */
static bool may_grow(const struct vly_inet *inet, const struct vly_tcp *tcp, uint32_t len)
{
	const struct vly_hop *hop = &inet->hops.table[tcp->hop];

	return len == tcp->mss && hop->state >= VLY_HOP_READY &&
	       !vly_mac_equal(hop->eth, inet->wire->mac);
}

/* One more segment's payload in a frame of its own. False: there is no room. */
static bool grow(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t seq, uint32_t len,
		 uint8_t flags)
{
	struct vly_tcp_large *large = &inet->tcp->large;

	/* with the last frame that was lent the burst goes to the wire, and this would be cut in two */
	if (!len || large->pieces == inet->wire->tso_pieces ||
	    large->bytes + len > inet->wire->tso_bytes || inet->out_used == inet->out_lent)
		return false;
	struct vly_frame *frame = vly_out_frame(inet);

	vly_tcp_copy(inet, tcp, frame->data, seq, len);
	frame->len = len;
	frame->flags = VLY_FRAME_MORE;
	frame->mss = 0;
	vly_out_done(inet);
	large->bytes += len;
	large->pieces++;
	large->flags |= flags;
	return true;
}

bool vly_tcp_large_emit(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t seq, uint32_t len,
			uint8_t flags)
{
	struct vly_tcp_large *large = &inet->tcp->large;

	if (large->first) {
		if (grow(inet, tcp, seq, len, flags)) {
			if (len < tcp->mss)
				vly_tcp_large_end(inet);
			return true;
		}
		vly_tcp_large_end(inet);
	}
	if (!vly_tcp_emit(inet, tcp, seq, len, flags))
		return false;
	if (inet->wire->caps & VLY_WIRE_TSO && may_grow(inet, tcp, len)) {
		struct vly_frame *first = &inet->out[inet->out_used - 1];

		*large = (struct vly_tcp_large){.first = first,
						.bytes = first->len,
						.pieces = 1,
						.mss = tcp->mss,
						.flags = flags};
	}
	return true;
}

/* The first one's headers become those of the whole. */
void vly_tcp_large_end(struct vly_inet *inet)
{
	struct vly_tcp_large *large = &inet->tcp->large;
	struct vly_frame *first = large->first;

	large->first = NULL;
	if (!first || large->pieces == 1)
		return;
	struct vly_ipv4 *ip = (struct vly_ipv4 *)(first->data + VLY_ETH_BYTES);
	struct vly_tcp_header *header = (struct vly_tcp_header *)(ip + 1);
	uint32_t ip_bytes = large->bytes - VLY_ETH_BYTES;

	ip->total_len = htons((uint16_t)ip_bytes);
	header->flags = large->flags;
	header->check = vly_checksum_fold(
		vly_checksum_pseudo(ip->src, ip->dst, VLY_IP_TCP, ip_bytes - VLY_IPV4_BYTES));
	first->mss = large->mss;
	inet->stats.tcp_large++;
}
