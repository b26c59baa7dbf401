/* tcp_burst.c - a burst of received frames, staged; the fast path of TCP */
#include <string.h>

#include "nic/inet/checksum.h"
#include "nic/inet/ip.h"
#include "nic/inet/tcp.h"

#define BURST 32u

/*
 * Half of it, unless so many bursts in a row had no room for more. With few messages under way one burst would have
 * all of them, and each end would wait while the other works through it; in halves both work at once.
 */
#define FULL_IN_A_ROW 4u

/* A frame on its way through the stages. */
struct item {
	struct vly_tcp *tcp; /* NULL: the slow path */
	uint8_t *data;       /* the frame */
	uint32_t hash;
	uint32_t l4_len; /* of the TCP segment; 0: the slow path */
};

/* Where things lie in a frame whose IP header has no options. */
#define AT_TYPE 12u
#define AT_IP VLY_ETH_BYTES
#define AT_TOTAL (AT_IP + 2u)
#define AT_FRAGMENT (AT_IP + 6u)
#define AT_ADDRESSES (AT_IP + 12u)
#define AT_TCP (AT_IP + VLY_IPV4_BYTES)
#define AT_TCP_OFFSET (AT_TCP + 12u)

static inline uint16_t load16(const uint8_t *p)
{
	uint16_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static inline uint32_t load32(const uint8_t *p)
{
	uint32_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

/* Four bytes as they lie in memory. */
static inline uint32_t bytes4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	const uint8_t bytes[4] = {a, b, c, d};

	return load32(bytes);
}

/*
 * Stage 1: what the fast path takes as far as the IP header tells: for us, IPv4 without options, TCP,
 * whole, its checksum right. Several fields at a time; everything else is looked at again by
 * vly_ip_input(), which counts. The length of the segment, or 0.
 */
static inline uint32_t plain_len(const struct vly_frame *frame, uint32_t mac_first,
				 uint16_t mac_last)
{
	const uint8_t *data = frame->data;

	if (frame->len < AT_TCP + VLY_TCP_BYTES)
		return 0;
	/* the type, the version and the length of the header; not TOS */
	uint32_t type = load32(data + AT_TYPE) & bytes4(0xff, 0xff, 0xff, 0);
	/* fragment, TTL, protocol: neither more fragments nor an offset, any TTL */
	uint32_t kind = load32(data + AT_FRAGMENT) & bytes4(0x3f, 0xff, 0, 0xff);

	if ((load32(data) ^ mac_first) | (load16(data + 4) ^ mac_last) |
	    (type ^ bytes4(0x08, 0x00, 0x45, 0)) | (kind ^ bytes4(0, 0, 0, VLY_IP_TCP)))
		return 0;
	uint32_t total_len = ntohs(load16(data + AT_TOTAL));

	if (total_len > frame->len - AT_IP || total_len < VLY_IPV4_BYTES + VLY_TCP_BYTES ||
	    frame->flags & VLY_FRAME_BAD)
		return 0;
	if (!(frame->flags & VLY_FRAME_CHECKED) &&
	    vly_checksum_fold(vly_checksum_add(0, data + AT_IP, VLY_IPV4_BYTES)) != 0xffff)
		return 0;
	return total_len - VLY_IPV4_BYTES;
}

static void stage_hash(const struct vly_inet *inet, const struct vly_frame *frames,
		       struct item *items, uint32_t count)
{
	const struct vly_flow_table flows = inet->flows; /* a copy: registers */
	uint32_t mac_first = load32(inet->wire->mac);
	uint16_t mac_last = load16(inet->wire->mac + 4);

	for (uint32_t i = 0; i < count; i++) {
		struct item *item = &items[i];
		uint8_t *data = frames[i].data;

		item->data = data;
		item->l4_len = plain_len(&frames[i], mac_first, mac_last);
		if (vly_unlikely(!item->l4_len))
			continue;
		item->hash = vly_flow_hash(
			&flows, load32(data + AT_ADDRESSES), load32(data + AT_ADDRESSES + 4),
			(uint32_t)load16(data + AT_TCP) << 16 | load16(data + AT_TCP + 2));
		vly_prefetch(&flows.entries[vly_flow_home(&flows, item->hash)]);
	}
}

/* Stage 2: the first record of that hash; whether it is the right one is seen when it has come. */
static void stage_find(struct vly_inet *inet, struct item *items, uint32_t count)
{
	const struct vly_flow_table flows = inet->flows;

	for (uint32_t i = 0; i < count; i++) {
		struct item *item = &items[i];

		item->tcp = NULL;
		if (vly_unlikely(!item->l4_len))
			continue;
		uint32_t at = vly_flow_home(&flows, item->hash);
		uint32_t name = vly_flow_next(&flows, item->hash, &at);

		if (!name || (name & VLY_FLOW_TYPE) != VLY_FLOW_CONN)
			continue;
		item->tcp = vly_tcp_at(inet, VLY_FLOW_SLOT(name));
		vly_prefetch_write(item->tcp);
		vly_prefetch_write(&item->tcp->raddr);
	}
}

/* Stage 3: the buffers that will be acknowledged, which are also the next to be filled. */
static void stage_buffers(struct item *items, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		const struct vly_tcp *tcp = items[i].tcp;

		if (!tcp || !tcp->head.tx_head)
			continue;
		vly_prefetch_write(tcp->head.tx_head + 1);
	}
}

/* The record's key lies as the addresses and ports of what it receives do. */
static_assert(offsetof(struct vly_tcp, laddr) == offsetof(struct vly_tcp, raddr) + 4 &&
		      offsetof(struct vly_tcp, rport) == offsetof(struct vly_tcp, raddr) + 8 &&
		      offsetof(struct vly_tcp, lport) == offsetof(struct vly_tcp, raddr) + 10,
	      "source and destination, in that order");

static inline bool key_is(const struct vly_tcp *tcp, const uint8_t *data)
{
	const uint8_t *key = (const uint8_t *)tcp + offsetof(struct vly_tcp, raddr);

	return load64(key) == load64(data + AT_ADDRESSES) &&
	       load32(key + 8) == load32(data + AT_TCP);
}

/* A segment with 64 bytes of payload is what it is for. */
static inline bool checksum_right(const struct item *item)
{
	const uint8_t *segment = item->data + AT_TCP;
	uint32_t len = item->l4_len;
	uint64_t sum = vly_checksum_pseudo(load32(item->data + AT_ADDRESSES),
					   load32(item->data + AT_ADDRESSES + 4), VLY_IP_TCP, len);

	sum = vly_checksum_add(sum, segment, VLY_TCP_BYTES);
	sum = vly_checksum_add(sum, segment + VLY_TCP_BYTES, len - VLY_TCP_BYTES);
	return vly_checksum_fold(sum) == 0xffff;
}

/* The form of RFC 7323, appendix A, and not older than what was seen: its value in `*stamp`. */
static inline bool only_timestamps(const struct vly_tcp *tcp, const uint8_t *options,
				   uint32_t *stamp)
{
	if (load32(options) != bytes4(VLY_TCP_OPT_NOP, VLY_TCP_OPT_NOP, VLY_TCP_OPT_TIMESTAMPS, 10))
		return false;
	*stamp = ntohl(load32(options + 4));
	return !vly_seq_before(*stamp, tcp->ts_recent);
}

/* Everything in flight was acknowledged: one plain buffer, as good as always. */
static inline void all_acked(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t ack)
{
	struct vly_conn_head *head = &tcp->head;
	const uint16_t want = VLY_F_TX_PLAIN | VLY_F_TX_BLOCKED;
	uint32_t bytes = ack - tcp->snd_una;

	if (vly_likely(!(tcp->bits & VLY_TCP_B_REXMIT)))
		vly_tcp_rtt(tcp, inet->now - tcp->rtx_base);
	tcp->snd_una = ack;
	tcp->retries = 0;
	if (vly_likely((head->flags & want) == VLY_F_TX_PLAIN && head->tx_bytes == bytes))
		vly_env_tx_plain_done(inet->nic.env, head);
	else
		vly_env_tx_done(inet->nic.env, head, bytes);
}

/*
 * The fast path: established, in order, no options (or timestamps alone), nothing lost, nothing
 * waiting, first data of its connection in this batch. False: the slow path takes it, nothing was done.
 */
static inline bool fast(struct vly_inet *inet, const struct vly_frame *frame,
			const struct item *item, uint32_t in_place_max)
{
	struct vly_tcp *tcp = item->tcp;
	const struct vly_tcp_header *header = (const struct vly_tcp_header *)(item->data + AT_TCP);
	struct vly_batch *batch = &inet->nic.env->batch;
	uint32_t seq = ntohl(header->seq), ack = ntohl(header->ack);
	uint32_t header_len = VLY_TCP_BYTES + (tcp->bits & VLY_TCP_B_TS ? VLY_TCP_TS_BYTES : 0);
	uint32_t len = item->l4_len - header_len, stamp = tcp->ts_recent;
	/* offset, flags; the window behind them may be any */
	uint32_t what = load32(item->data + AT_TCP_OFFSET) &
			bytes4(0xff, (uint8_t)~VLY_TCP_PSH, 0, 0);

	if (!vly_tcp_plain(tcp) || !vly_conn_plain(&tcp->head, VLY_F_PAUSED | VLY_F_SHUT) ||
	    what != bytes4((uint8_t)(header_len << 2), VLY_TCP_ACK, 0, 0) || seq != tcp->rcv_nxt ||
	    !key_is(tcp, item->data))
		return false;
	/* no data (len wraps for less than none), or too much */
	if (len - 1 >= in_place_max)
		return false;
	if (tcp->head.batch_seq == batch->seq || batch->count + 1 >= batch->max)
		return false;
	/* all in flight is acknowledged, or nothing is: the rest is arithmetic for others */
	if (ack != tcp->snd_nxt || (ack != tcp->snd_una && vly_tcp_unsent(tcp)))
		return false;
	if (header_len != VLY_TCP_BYTES &&
	    !only_timestamps(tcp, (const uint8_t *)(header + 1), &stamp))
		return false;
	if (!(frame->flags & VLY_FRAME_CHECKED) && !checksum_right(item))
		return false;
	if (vly_likely(ack != tcp->snd_una))
		all_acked(inet, tcp, ack);
	tcp->snd_wnd = (uint32_t)ntohs(header->window) << (tcp->wscale & 15);
	tcp->rcv_nxt = seq + len;
	tcp->ts_recent = stamp;
	vly_batch_add_first(batch, &inet->nic.env->conns, &tcp->head, VLY_DATA,
			    item->data + AT_TCP + header_len, len);
	vly_tcp_owe_ack(inet, tcp, ++tcp->unacked >= 2 ? VLY_TCP_B_ACK_NOW : 0);
	return true;
}

/*
 * Frames that the next burst may have. Whole ones gets an application that asked for large batches, and a core that sorts
 * for others: what it hands on does not count.
 */
static inline uint32_t burst_most(const struct vly_inet *inet)
{
	const struct vly_tcp_core *tcp = inet->tcp;

	if (inet->relay || tcp->conf.burst > BURST || tcp->full_bursts >= FULL_IN_A_ROW)
		return BURST;
	return BURST / 2;
}

bool vly_tcp_burst(struct vly_inet *inet)
{
	struct vly_frame frames[BURST];
	struct item items[BURST];
	struct vly_env *env = inet->nic.env;
	uint32_t in_place_max = VLY_MIN(env->config->hold_bytes, VLY_TCP_IN_PLACE);
	/* a segment makes two events at most */
	uint32_t room = (env->batch.max - env->batch.count) / 2;
	uint32_t most = VLY_MIN(room, burst_most(inet));
	uint32_t count = inet->wire->ops->rx_burst(inet->wire, inet->now_ns, frames, most);

	inet->tcp->full_bursts = count == most ? inet->tcp->full_bursts + 1 : 0;
	if (!count)
		return false;
	/* what was sent in this very poll may have been answered: no round trip is measured too short */
	if (vly_unlikely(inet->tcp->sides.slab.free_count != inet->tcp->sides.slab.count))
		vly_inet_tick(inet);
	stage_hash(inet, frames, items, count);
	stage_find(inet, items, count);
	stage_buffers(items, count);
	struct vly_wire_slots *ahead = &inet->wire->rx_ahead;
	uint32_t quick = 0, bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		vly_wire_ahead(ahead, false);
		if (vly_likely(items[i].tcp && fast(inet, &frames[i], &items[i], in_place_max))) {
			quick++;
			bytes += items[i].l4_len - VLY_TCP_BYTES;
		} else {
			vly_ip_input(inet, &frames[i]);
		}
	}
	inet->stats.rx_frames += count;
	inet->stats.tcp_fast += quick;
	vly_count(&env->stats->rx_events, quick);
	vly_count(&env->stats->rx_bytes, bytes);
	return true;
}
