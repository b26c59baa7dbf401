/* tcp_fast.c - the one segment that most messages are: built whole, in one pass over its bytes */
#include <endian.h>
#include <string.h>

#include "nic/inet/checksum.h"
#include "nic/inet/tcp.h"

#define TTL 64

/* IP and TCP without options, in pieces that are written at once; a wire aligns the IP header to 16. */
struct headers {
	uint64_t first; /* version, TOS, length; id, fragment */
	uint32_t life;  /* TTL, protocol; checksum */
	uint64_t addresses;
	uint32_t ports;
	uint64_t numbers;   /* seq, ack */
	uint32_t flags;     /* offset, flags; window */
	uint32_t check;     /* checksum; urgent pointer */
	uint32_t stamps[3]; /* only with timestamps */
} __attribute__((packed, aligned(2), may_alias));

static_assert(sizeof(struct headers) == VLY_IPV4_BYTES + VLY_TCP_BYTES + VLY_TCP_TS_BYTES,
	      "no padding");

/* Ours first, where the record has the other's first. */
static inline uint64_t addresses_of(const struct vly_tcp *tcp)
{
	uint64_t word = vly_checksum_load((const uint8_t *)tcp + offsetof(struct vly_tcp, raddr));

	return word << 32 | word >> 32;
}

static inline uint32_t ports_of(const struct vly_tcp *tcp)
{
	uint32_t word;

	memcpy(&word, (const uint8_t *)tcp + offsetof(struct vly_tcp, rport), sizeof(word));
	return word << 16 | word >> 16;
}

/* snd_nxt, then rcv_nxt, in network order. */
static inline uint64_t numbers_of(const struct vly_tcp *tcp)
{
	uint64_t word = vly_checksum_load((const uint8_t *)tcp + offsetof(struct vly_tcp, snd_nxt));

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	word = word << 32 | word >> 32;
#endif
	return htobe64(word);
}

/*
 * Established, nothing in flight, one buffer that fits into one segment and the windows, no options but
 * timestamps, and a neighbour whose address is known.
 */
static inline bool fits(const struct vly_inet *inet, const struct vly_tcp *tcp)
{
	const struct vly_conn_head *head = &tcp->head;
	uint32_t len = head->tx_bytes;

	return vly_conn_plain(head, VLY_F_SHUT) && vly_tcp_plain(tcp) &&
	       tcp->snd_una == tcp->snd_nxt && len && len <= tcp->mss && len <= tcp->snd_wnd &&
	       len <= tcp->cwnd && (head->flags & VLY_F_TX_PLAIN || !head->tx_head->next) &&
	       inet->hops.table[tcp->hop].state >= VLY_HOP_READY;
}

/* Timestamps behind the header; returns their sum. */
static uint64_t write_stamps(const struct vly_inet *inet, const struct vly_tcp *tcp,
			     struct headers *headers)
{
	uint32_t form = htonl(VLY_TCP_OPT_NOP << 24 | VLY_TCP_OPT_NOP << 16 |
			      VLY_TCP_OPT_TIMESTAMPS << 8 | 10);
	uint32_t value = htonl(vly_tcp_ts_now(inet)), echo = htonl(tcp->ts_recent);

	headers->stamps[0] = form;
	headers->stamps[1] = value;
	headers->stamps[2] = echo;
	return (uint64_t)form + value + echo;
}

/* As they lie in memory. */
static inline uint32_t two(uint16_t first, uint16_t second)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	return first | (uint32_t)second << 16;
#else
	return second | (uint32_t)first << 16;
#endif
}

/* Headers, `tcp_len` of TCP's with options; `sum` is that of options and payload. */
static inline __attribute__((always_inline)) void
write_headers(const struct vly_inet *inet, const struct vly_tcp *tcp, struct headers *headers,
	      uint32_t tcp_len, uint32_t len, uint64_t sum, bool offloaded)
{
	uint64_t first =
		htobe64((uint64_t)0x4500 << 48 | (uint64_t)(VLY_IPV4_BYTES + tcp_len + len) << 32 |
			VLY_IPV4_DONT_FRAGMENT);
	uint16_t life = htons(TTL << 8 | VLY_IP_TCP);
	uint64_t addresses = addresses_of(tcp), numbers = numbers_of(tcp);
	uint32_t ports = ports_of(tcp);
	uint16_t flags = htons((uint16_t)(tcp_len << 10 | VLY_TCP_ACK | VLY_TCP_PSH));
	uint16_t window = inet->tcp->window_fields[tcp->wscale >> 4];
	uint64_t both = (addresses & UINT32_MAX) + (addresses >> 32);
	uint64_t pseudo = both + htons(VLY_IP_TCP) + htons((uint16_t)(tcp_len + len));
	uint16_t ip_check = 0, tcp_check;

	if (offloaded) {
		tcp_check = vly_checksum_fold(pseudo);
	} else {
		ip_check = vly_checksum_finish(both + (first & UINT32_MAX) + (first >> 32) + life);
		sum = vly_checksum_plus(sum, numbers);
		tcp_check = vly_checksum_finish(
			vly_checksum_plus(sum, pseudo + ports + two(flags, window)));
	}
	headers->first = first;
	headers->life = two(life, ip_check);
	headers->addresses = addresses;
	headers->ports = ports;
	headers->numbers = numbers;
	headers->flags = two(flags, window);
	headers->check = two(tcp_check, 0);
}

/* Our data carries the ACK that was owed. It was sent once. */
static inline void pay_ack(struct vly_tcp_core *core, struct vly_tcp *tcp)
{
	uint16_t bits = tcp->bits;

	core->acks_paid += (bits & VLY_TCP_B_ACK_LISTED) != 0;
	if (bits & VLY_TCP_B_ACK_DUE)
		bits |= VLY_TCP_B_TALKS;
	tcp->bits = bits & (uint16_t) ~(VLY_TCP_B_ACK_DUE | VLY_TCP_B_ACK_NOW | VLY_TCP_B_DELACK |
					VLY_TCP_B_ACK_LISTED | VLY_TCP_B_REXMIT);
}

/* The frame: `len` bytes from `from`, behind headers of which TCP's has `tcp_len`. */
static inline __attribute__((always_inline)) void
build(const struct vly_inet *inet, const struct vly_tcp *tcp, struct vly_frame *frame,
      const uint8_t *from, uint32_t tcp_len, uint32_t len, bool offloaded)
{
	uint32_t bytes = VLY_ETH_BYTES + VLY_IPV4_BYTES + tcp_len;
	uint8_t *to = frame->data;
	struct headers *headers = (struct headers *)(to + VLY_ETH_BYTES);
	uint64_t sum = 0;

	memcpy(to, inet->hops.table[tcp->hop].eth, 16); /* the last two are overwritten */
	if (offloaded)
		memcpy(to + bytes, from, len);
	else
		sum = vly_checksum_copy(0, to + bytes, from, len);
	if (tcp_len != VLY_TCP_BYTES)
		sum = vly_checksum_plus(sum, write_stamps(inet, tcp, headers));
	write_headers(inet, tcp, headers, tcp_len, len, sum, offloaded);
	frame->len = bytes + len;
	frame->flags = offloaded ? VLY_FRAME_COMPLETE : 0;
	frame->mss = 0;
}

/* Sends the queue if it is one plain segment and nothing stands in its way. Its length; 0: it did not. */
static inline __attribute__((always_inline)) uint32_t send_fast(struct vly_inet *inet,
								struct vly_tcp *tcp, bool offloaded)
{
	if (!fits(inet, tcp))
		return 0;
	struct vly_frame *frame = vly_out_frame(inet);

	if (vly_unlikely(!frame))
		return 0;
	struct vly_buf *buf = tcp->head.tx_head;
	const uint8_t *from = tcp->head.flags & VLY_F_TX_PLAIN ? vly_env_tx_data(inet->nic.env, buf)
							       : buf->data;
	uint32_t len = tcp->head.tx_bytes, stamps = tcp->bits & VLY_TCP_B_TS ? VLY_TCP_TS_BYTES : 0;

	/* the same three times: of what most are the compiler knows all lengths */
	if (vly_likely(len == VLY_MESSAGE_BYTES && !stamps))
		build(inet, tcp, frame, from, VLY_TCP_BYTES, VLY_MESSAGE_BYTES, offloaded);
	else if (len == VLY_MESSAGE_BYTES)
		build(inet, tcp, frame, from, VLY_TCP_BYTES + VLY_TCP_TS_BYTES, VLY_MESSAGE_BYTES,
		      offloaded);
	else
		build(inet, tcp, frame, from, VLY_TCP_BYTES + stamps, len, offloaded);
	tcp->head.flags &= (uint16_t)~VLY_F_DIRTY;
	vly_out_done(inet);
	vly_wire_ahead(&inet->wire->tx_ahead, true);
	tcp->snd_nxt += len;
	tcp->rtx_base = inet->now;
	tcp->retries = 0;
	pay_ack(inet->tcp, tcp);
	if (vly_unlikely(!(tcp->bits & VLY_TCP_B_ARMED)))
		vly_tcp_arm_rto(inet, tcp);
	return len;
}

static inline __attribute__((always_inline)) uint32_t
flush(struct vly_inet *inet, struct vly_conn_head **conns, uint32_t count, bool offloaded)
{
	struct vly_stats *stats = inet->nic.env->stats;
	uint32_t left = 0;
	uint64_t bytes = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct vly_conn_head *head = conns[i];
		uint32_t len = send_fast(inet, vly_tcp_of(head), offloaded);

		if (vly_unlikely(!len))
			conns[left++] = head;
		bytes += len;
	}
	vly_count(&stats->tx_bytes, bytes);
	vly_count(&stats->tx_calls, count - left);
	return left;
}

uint32_t vly_tcp_flush_fast(struct vly_inet *inet, struct vly_conn_head **conns, uint32_t count)
{
	if (inet->wire->caps & VLY_WIRE_TX_CHECKSUM)
		return flush(inet, conns, count, true);
	return flush(inet, conns, count, false);
}
