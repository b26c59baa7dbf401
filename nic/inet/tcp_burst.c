/* tcp_burst.c - a burst of received frames, staged; the fast path of TCP */
#include <endian.h>
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
	uint32_t hash, home; /* its flow's, and where that is looked for first */
	uint32_t l4_len;     /* of the TCP segment; 0: the slow path */
};

/* Where things lie in a frame whose IP header has no options. */
#define AT_TYPE 12u
#define AT_IP VLY_ETH_BYTES
#define AT_FRAGMENT (AT_IP + 6u)
#define AT_ADDRESSES (AT_IP + 12u)
#define AT_TCP (AT_IP + VLY_IPV4_BYTES)
#define AT_SEQ (AT_TCP + 4u)
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

/* Eight bytes as they lie in memory, written as they are read. */
static inline uint64_t bytes8(uint64_t value)
{
	return be64toh(value);
}

/* Four. */
static inline uint32_t bytes4(uint32_t value)
{
	return be32toh(value);
}

/*
 * Stage 1: what the fast path takes as far as the IP header tells: for us, IPv4 without options, TCP,
 * whole, its checksum right. Eight bytes at a time; everything else is looked at again by
 * vly_ip_input(), which counts. The length of the segment, or 0.
 */
static inline uint32_t plain_len(const struct vly_frame *frame, uint64_t mac)
{
	const uint8_t *data = frame->data;

	if (frame->len < AT_TCP + VLY_TCP_BYTES)
		return 0;
	/* six bytes of address; type, version and length of the header, not TOS; no fragment of any kind, protocol */
	uint64_t to = (vly_checksum_load(data) ^ mac) & bytes8(0xffffffffffff0000);
	uint64_t type = vly_checksum_load(data + AT_TYPE);
	uint64_t kind = vly_checksum_load(data + AT_FRAGMENT) & bytes8(0x3fff00ff00000000);

	if (to | ((type & bytes8(0xffffff0000000000)) ^ bytes8(0x0800450000000000)) |
	    (kind ^ bytes8((uint64_t)VLY_IP_TCP << 32)))
		return 0;
	uint32_t total_len = (uint16_t)(be64toh(type) >> 16);

	if (total_len > frame->len - AT_IP || total_len < VLY_IPV4_BYTES + VLY_TCP_BYTES ||
	    frame->flags & VLY_FRAME_BAD)
		return 0;
	if (!(frame->flags & VLY_FRAME_CHECKED) &&
	    !vly_checksum_intact(vly_checksum_add(0, data + AT_IP, VLY_IPV4_BYTES)))
		return 0;
	return total_len - VLY_IPV4_BYTES;
}

static void stage_hash(const struct vly_inet *inet, const struct vly_frame *frames,
		       struct item *items, uint32_t count)
{
	const struct vly_flow_table flows = inet->flows; /* a copy: registers */
	uint64_t mac = 0;

	memcpy(&mac, inet->wire->mac, sizeof(inet->wire->mac));

	for (uint32_t i = 0; i < count; i++) {
		struct item *item = &items[i];
		uint8_t *data = frames[i].data;

		item->data = data;
		item->l4_len = plain_len(&frames[i], mac);
		if (vly_unlikely(!item->l4_len))
			continue;
		item->hash = vly_flow_hash(&flows, load32(data + AT_ADDRESSES),
					   load32(data + AT_ADDRESSES + 4), load32(data + AT_TCP));
		item->home = vly_flow_home(&flows, item->hash);
		vly_prefetch(&flows.entries[item->home]);
	}
}

/* The name of the first entry of that hash; 0: there is none. */
static inline uint32_t name_of(const struct vly_flow_table *flows, const struct item *item)
{
	const struct vly_flow_entry *first = &flows->entries[item->home];
	uint32_t at = item->home;

	if (vly_likely(first->hash == item->hash))
		return first->name;
	return vly_flow_next(flows, item->hash, &at);
}

/* Stage 2: where the first record of that hash lies; whether it is the right one is seen when it has come. */
static void stage_find(struct vly_inet *inet, struct item *items, uint32_t count)
{
	const struct vly_flow_table flows = inet->flows;

	for (uint32_t i = 0; i < count; i++) {
		struct item *item = &items[i];

		item->tcp = NULL;
		if (vly_unlikely(!item->l4_len))
			continue;
		/* of another type, or none: past all slots */
		uint32_t slot = name_of(&flows, item) - 1;

		if (vly_unlikely(slot >= inet->nic.env->conns.count))
			continue;
		item->tcp = vly_tcp_at(inet, slot);
	}
}

/* The lines that a message touches; so many messages before they are. */
#define AHEAD 8u

static inline void fetch_record(const struct item *item)
{
	if (vly_unlikely(!item->tcp))
		return;
	vly_prefetch_write(item->tcp);
	vly_prefetch_write(&item->tcp->raddr);
}

static_assert(VLY_FLOW_CONN == 0, "a name of a record is 1 + slot");

/* Source and destination of what it receives. */
static inline bool key_is(const struct vly_tcp *tcp, const uint8_t *data)
{
	const uint8_t *key = (const uint8_t *)tcp + offsetof(struct vly_tcp, raddr);

	return vly_checksum_load(key) == vly_checksum_load(data + AT_ADDRESSES) &&
	       load32(key + 8) == load32(data + AT_TCP);
}

/* Options apart, so that each length is known where the caller knows it. */
static inline __attribute__((always_inline)) bool checksum_right(const uint8_t *data,
								 uint32_t header_len, uint32_t len)
{
	const uint8_t *segment = data + AT_TCP;
	uint64_t sum = vly_checksum_pseudo(load32(data + AT_ADDRESSES),
					   load32(data + AT_ADDRESSES + 4), VLY_IP_TCP,
					   header_len + len);

	sum = vly_checksum_add(sum, segment, VLY_TCP_BYTES);
	if (header_len != VLY_TCP_BYTES)
		sum = vly_checksum_add(sum, segment + VLY_TCP_BYTES, VLY_TCP_TS_BYTES);
	sum = vly_checksum_add(sum, segment + header_len, len);
	return vly_checksum_intact(sum);
}

/* The form of RFC 7323, appendix A, and not older than what was seen. Its value in `*stamp`. */
static inline bool only_timestamps(const struct vly_tcp *tcp, const uint8_t *options,
				   uint32_t *stamp)
{
	if (load32(options) != bytes4(VLY_TCP_OPT_NOP << 24 | VLY_TCP_OPT_NOP << 16 |
				      VLY_TCP_OPT_TIMESTAMPS << 8 | 10))
		return false;
	*stamp = ntohl(load32(options + 4));
	return !vly_seq_before(*stamp, tcp->ts_recent);
}

/* What is next in either direction. */
static inline bool next_is(const struct vly_tcp *tcp, uint32_t seq, uint32_t ack)
{
	return seq == tcp->rcv_nxt && ack == tcp->snd_nxt;
}

/* Everything in flight was acknowledged: one plain buffer, as good as always. */
static inline __attribute__((always_inline)) void all_acked(struct vly_inet *inet,
							    struct vly_tcp *tcp, uint32_t flight)
{
	struct vly_conn_head *head = &tcp->head;

	if (vly_likely(!(tcp->bits & VLY_TCP_B_REXMIT)))
		vly_tcp_rtt(tcp, inet->now - tcp->rtx_base);
	tcp->snd_una = tcp->snd_nxt;
	tcp->retries = 0;
	if (vly_likely(head->flags & VLY_F_TX_PLAIN))
		vly_env_tx_plain_done(inet->nic.env, head);
	else
		vly_env_tx_done(inet->nic.env, head, flight);
}

/* What a fast segment looks like at the 12th byte of its header: offset, flags but for PSH; the window may be any. */
#define WHAT_MASK 0xfff70000u
#define WHAT(header_bytes) ((uint32_t)(header_bytes) << 26 | VLY_TCP_ACK << 16)

/* What keeps a connection off the fast path. */
#define SLOW_FLAGS (VLY_F_PAUSED | VLY_F_SHUT | VLY_F_TX_BLOCKED)

/* `len` bytes behind a header of `header_len`, which is as it should be. False: nothing was done. */
static inline __attribute__((always_inline)) bool take(struct vly_inet *inet,
						       const struct item *item, uint32_t header_len,
						       uint32_t len, bool checked)
{
	struct vly_tcp *tcp = item->tcp;
	const uint8_t *data = item->data;
	struct vly_batch *batch = &inet->nic.env->batch;
	uint32_t flight = tcp->snd_nxt - tcp->snd_una;

	/* not the first of this batch, or not all that is queued is in flight */
	if (tcp->head.batch_seq == batch->seq || (flight && flight != tcp->head.tx_bytes))
		return false;
	if (vly_likely(!checked) && !checksum_right(data, header_len, len))
		return false;
	if (vly_likely(flight))
		all_acked(inet, tcp, flight);
	tcp->snd_wnd = (uint32_t)ntohs(load16(data + AT_TCP_OFFSET + 2)) << (tcp->wscale & 15);
	tcp->rcv_nxt += len;
	vly_batch_add_first(batch, &tcp->head, VLY_DATA, item->data + AT_TCP + header_len, len);
	vly_tcp_owe_ack(inet, tcp, vly_tcp_second(tcp));
	return true;
}

/* The same of a connection with timestamps: the header is 32 bytes long. */
static inline uint32_t take_stamped(struct vly_inet *inet, const struct item *item, uint32_t len,
				    bool checked)
{
	const uint32_t header_len = VLY_TCP_BYTES + VLY_TCP_TS_BYTES;
	struct vly_tcp *tcp = item->tcp;
	uint32_t stamp;

	if (!only_timestamps(tcp, item->data + AT_TCP + VLY_TCP_BYTES, &stamp))
		return 0;
	/* the same twice: of what most are the compiler knows all lengths */
	bool taken = len == VLY_MESSAGE_BYTES
			     ? take(inet, item, header_len, VLY_MESSAGE_BYTES, checked)
			     : take(inet, item, header_len, len, checked);

	if (!taken)
		return 0;
	tcp->ts_recent = stamp;
	return len;
}

/* What is not 64 bytes without timestamps; apart, so that those have all registers. */
static __attribute__((noinline)) uint32_t take_other(struct vly_inet *inet, const struct item *item,
						     uint32_t what, uint32_t in_place_max,
						     bool checked)
{
	bool stamped = item->tcp->bits & VLY_TCP_B_TS;
	uint32_t header_len = VLY_TCP_BYTES + (stamped ? VLY_TCP_TS_BYTES : 0);
	uint32_t len = item->l4_len - header_len;

	/* no data (len wraps for less than none), or too much */
	if (what != bytes4(WHAT(header_len)) || len - 1 >= in_place_max)
		return 0;
	if (stamped)
		return take_stamped(inet, item, len, checked);
	return take(inet, item, VLY_TCP_BYTES, len, checked) ? len : 0;
}

/*
 * The fast path: established, in order, no options (or timestamps alone), nothing lost, nothing
 * waiting, first data of its connection in this batch. Bytes of data; 0: the slow path takes it, nothing was done.
 */
static inline uint32_t fast(struct vly_inet *inet, const struct vly_frame *frame,
			    const struct item *item, uint32_t in_place_max)
{
	const struct vly_tcp *tcp = item->tcp;
	const uint8_t *data = item->data;
	uint64_t seq_ack = be64toh(vly_checksum_load(data + AT_SEQ));
	uint32_t what = load32(data + AT_TCP_OFFSET) & bytes4(WHAT_MASK);
	bool checked = frame->flags & VLY_FRAME_CHECKED;

	if (!vly_tcp_plain(tcp) || !vly_conn_plain(&tcp->head, SLOW_FLAGS) ||
	    !next_is(tcp, (uint32_t)(seq_ack >> 32), (uint32_t)seq_ack) || !key_is(tcp, data))
		return 0;
	/* all lengths are known to the compiler */
	if (vly_likely(what == bytes4(WHAT(VLY_TCP_BYTES)) && !(tcp->bits & VLY_TCP_B_TS) &&
		       item->l4_len == VLY_TCP_BYTES + VLY_MESSAGE_BYTES &&
		       VLY_MESSAGE_BYTES <= in_place_max))
		return take(inet, item, VLY_TCP_BYTES, VLY_MESSAGE_BYTES, checked)
			       ? VLY_MESSAGE_BYTES
			       : 0;
	return take_other(inet, item, what, in_place_max, checked);
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
	for (uint32_t i = 0; i < VLY_MIN(count, AHEAD); i++)
		fetch_record(&items[i]);
	struct vly_wire_lines *ahead = &inet->wire->rx_ahead;
	uint32_t quick = 0, bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		vly_wire_ahead(ahead, false);
		if (i + AHEAD < count)
			fetch_record(&items[i + AHEAD]);
		uint32_t len = items[i].tcp ? fast(inet, &frames[i], &items[i], in_place_max) : 0;

		if (vly_likely(len)) {
			quick++;
			bytes += len;
		} else {
			vly_ip_input(inet, &frames[i]);
			/* it may have taken more than its share of the batch: then nothing is fast any more */
			if (vly_unlikely(env->batch.max - env->batch.count < 2 * (count - i - 1)))
				in_place_max = 0;
		}
	}
	inet->stats.rx_frames += count;
	inet->stats.tcp_fast += quick;
	vly_count(&env->stats->rx_events, quick);
	vly_count(&env->stats->rx_bytes, bytes);
	return true;
}
