/* tcp_emit.c - building one segment of a connection */
#include <string.h>

#include "nic/inet/ip.h"
#include "nic/inet/tcp.h"

/* What a segment says, gathered before a byte of it is written. */
struct draft {
	uint32_t seq, len;
	uint8_t flags;
	uint8_t options_len;
	uint16_t window;
	uint8_t options[VLY_TCP_OPTIONS_BYTES_MAX];
};

static uint8_t *put32(uint8_t *to, uint32_t value)
{
	value = htonl(value);
	memcpy(to, &value, sizeof(value));
	return to + sizeof(value);
}

/* --- options --- */

static uint8_t *put_timestamps(const struct vly_inet *inet, const struct vly_tcp *tcp, uint8_t *to)
{
	*to++ = VLY_TCP_OPT_NOP;
	*to++ = VLY_TCP_OPT_NOP;
	*to++ = VLY_TCP_OPT_TIMESTAMPS;
	*to++ = 10;
	to = put32(to, vly_tcp_ts_now(inet));
	return put32(to, tcp->ts_recent);
}

struct block {
	uint32_t from, to;
};

/*
 * Ranges received out of order; that of the latest arrival goes first (RFC 2018, section 4). Returns
 * how many.
 */
static unsigned sack_blocks(const struct vly_inet *inet, const struct vly_tcp *tcp,
			    const struct vly_side *side, struct block *blocks, unsigned max)
{
	const struct vly_sides *sides = &inet->tcp->sides;
	unsigned count = 0;

	for (uint32_t at = side->chunk_head; at != VLY_NO_CHUNK;) {
		const struct vly_chunk *chunk = vly_chunk_at(sides, at);
		struct block block = {chunk->seq, chunk->seq};

		/* they do not overlap: the range goes on as long as the next begins where this ends */
		while (at != VLY_NO_CHUNK && vly_chunk_at(sides, at)->seq == block.to) {
			block.to += vly_chunk_at(sides, at)->len;
			at = vly_chunk_at(sides, at)->next;
		}
		if (!vly_seq_after(block.from, tcp->rcv_nxt))
			continue;
		bool latest = !vly_seq_after(block.from, side->sack_seq) &&
			      vly_seq_before(side->sack_seq, block.to);

		if (latest) {
			memmove(blocks + 1, blocks,
				(count < max ? count : max - 1) * sizeof(*blocks));
			blocks[0] = block;
			count = VLY_MIN(count + 1, max);
		} else if (count < max) {
			blocks[count++] = block;
		}
	}
	return count;
}

/* What came twice goes before the others (RFC 2883, section 4). */
static uint8_t *put_sacks(const struct vly_inet *inet, const struct vly_tcp *tcp,
			  const struct vly_side *side, uint8_t *to, unsigned max)
{
	struct vly_tcp_core *core = inet->tcp;
	struct block blocks[VLY_TCP_SACKS_MAX];
	unsigned count = core->dup_from != core->dup_to;

	blocks[0] = (struct block){core->dup_from, core->dup_to};
	core->dup_to = core->dup_from;
	if (side)
		count += sack_blocks(inet, tcp, side, blocks + count, max - count);
	if (!count)
		return to;
	*to++ = VLY_TCP_OPT_NOP;
	*to++ = VLY_TCP_OPT_NOP;
	*to++ = VLY_TCP_OPT_SACK;
	*to++ = (uint8_t)(2 + 8 * count);
	for (unsigned i = 0; i < count; i++) {
		to = put32(to, blocks[i].from);
		to = put32(to, blocks[i].to);
	}
	return to;
}

static void write_options(const struct vly_inet *inet, const struct vly_tcp *tcp,
			  struct draft *draft)
{
	const struct vly_side *side = vly_tcp_side(inet, tcp);
	uint8_t *at = draft->options;

	if (tcp->bits & VLY_TCP_B_TS)
		at = put_timestamps(inet, tcp, at);
	/* SACK rides on segments without data only: a full one has no room for it. */
	bool to_tell = (side && side->chunk_count) || inet->tcp->dup_from != inet->tcp->dup_to;

	if (to_tell && tcp->bits & VLY_TCP_B_SACK && !draft->len)
		at = put_sacks(inet, tcp, side, at, tcp->bits & VLY_TCP_B_TS ? 3 : 4);
	draft->options_len = (uint8_t)(at - draft->options);
}

/* --- the payload --- */

/* The buffer that holds `seq` of the queue, and how far into it. */
static struct vly_buf *locate(struct vly_tcp *tcp, struct vly_side *side, uint32_t seq,
			      uint32_t *offset)
{
	vly_env_tx_whole(&tcp->head);
	struct vly_buf *buf = tcp->head.tx_head;
	uint32_t base = tcp->snd_una;

	if (side && side->cursor && !vly_seq_before(seq, side->cursor_seq)) {
		buf = side->cursor;
		base = side->cursor_seq;
	}
	while (seq - base >= buf->len && buf->next) {
		base += buf->len;
		buf = buf->next;
	}
	if (side) {
		side->cursor = buf;
		side->cursor_seq = base;
	}
	*offset = seq - base;
	return buf;
}

void vly_tcp_copy(struct vly_inet *inet, struct vly_tcp *tcp, uint8_t *to, uint32_t seq,
		  uint32_t len)
{
	uint32_t offset, done = 0;
	struct vly_buf *buf = locate(tcp, vly_tcp_side(inet, tcp), seq, &offset);

	while (done < len) {
		uint32_t part = VLY_MIN(buf->len - offset, len - done);

		memcpy(to + done, buf->data + offset, part);
		done += part;
		offset = 0;
		buf = buf->next;
	}
}

/* --- the frame --- */

/* Header, options and payload at `to`, with the checksum field 0. */
static void write_segment(struct vly_inet *inet, struct vly_tcp *tcp, uint8_t *to,
			  const struct draft *draft)
{
	struct vly_tcp_header *header = (struct vly_tcp_header *)to;
	uint32_t header_len = VLY_TCP_BYTES + draft->options_len;

	*header = (struct vly_tcp_header){
		.src_port = tcp->lport,
		.dst_port = tcp->rport,
		.seq = htonl(draft->seq),
		.ack = htonl(tcp->rcv_nxt),
		.offset = (uint8_t)(header_len / 4 << 4),
		.flags = draft->flags,
		.window = htons(draft->window),
	};
	memcpy(to + VLY_TCP_BYTES, draft->options, draft->options_len);
	if (draft->len)
		vly_tcp_copy(inet, tcp, to + header_len, draft->seq, draft->len);
}

static bool send_draft(struct vly_inet *inet, struct vly_tcp *tcp, const struct draft *draft)
{
	uint32_t len = VLY_TCP_BYTES + draft->options_len + draft->len;
	uint8_t *to = vly_ip_begin(inet, tcp->hop, VLY_IP_TCP, tcp->laddr, tcp->raddr, len);

	if (!to)
		return false;
	write_segment(inet, tcp, to, draft);
	vly_ip_end(inet, offsetof(struct vly_tcp_header, check));
	return true;
}

static void ack_is_paid(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t window)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);

	tcp->bits &= (uint16_t) ~(VLY_TCP_B_ACK_DUE | VLY_TCP_B_ACK_NOW | VLY_TCP_B_DELACK);
	if (side) {
		side->rcv_adv = tcp->rcv_nxt + window;
		side->early_owed = false;
	}
}

bool vly_tcp_emit(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t seq, uint32_t len,
		  uint8_t flags)
{
	struct draft draft = {.seq = seq, .len = len, .flags = flags};
	uint32_t shift = tcp->wscale >> 4;
	uint32_t window = vly_tcp_rcv_wnd(inet, tcp);

	/* rounded up: an edge once shown never moves back (RFC 7323, 2.4) */
	window = VLY_MIN(VLY_ALIGN_UP(window, 1u << shift), 65535u << shift);
	draft.window = (uint16_t)(window >> shift);
	if (tcp->bits & (VLY_TCP_B_TS | VLY_TCP_B_SIDE) || inet->tcp->dup_from != inet->tcp->dup_to)
		write_options(inet, tcp, &draft);
	if (!send_draft(inet, tcp, &draft))
		return false;
	if (len && tcp->bits & VLY_TCP_B_ACK_DUE)
		tcp->bits |= VLY_TCP_B_TALKS;
	ack_is_paid(inet, tcp, window);
	return true;
}

void vly_tcp_send_syn(struct vly_inet *inet, struct vly_tcp *tcp)
{
	const struct vly_tcp_conf *conf = &inet->tcp->conf;
	bool answers = tcp->state == VLY_TCP_SYN_RECEIVED;
	struct draft draft = {
		.seq = tcp->snd_una,
		.flags = answers ? VLY_TCP_SYN | VLY_TCP_ACK : VLY_TCP_SYN,
		.window = (uint16_t)VLY_MIN(conf->window, 65535u),
	};
	/* An answer may only offer what was offered. */
	struct vly_tcp_offer offer = {
		.mss = vly_tcp_own_mss(inet, tcp->hop),
		.wscale_on = !answers || tcp->wscale != 0,
		.wscale = conf->wscale,
		.sack = conf->sack && (!answers || tcp->bits & VLY_TCP_B_SACK),
		.ts = conf->timestamps && (!answers || tcp->bits & VLY_TCP_B_TS),
		.ts_value = vly_tcp_ts_now(inet),
		.ts_echo = tcp->ts_recent,
	};

	draft.options_len = vly_tcp_offer_write(draft.options, &offer);
	/* A full wire, or too many who wait for a neighbour to tell its address. */
	if (!send_draft(inet, tcp, &draft)) {
		vly_tcp_tx_later(inet, tcp);
		return;
	}
	ack_is_paid(inet, tcp, draft.window);
}

void vly_tcp_send_ack(struct vly_inet *inet, struct vly_tcp *tcp)
{
	if (!vly_tcp_emit(inet, tcp, tcp->snd_nxt, 0, VLY_TCP_ACK)) {
		tcp->bits |= VLY_TCP_B_ACK_DUE | VLY_TCP_B_ACK_NOW;
		vly_tcp_tx_later(inet, tcp);
	}
}

void vly_tcp_send_dup_ack(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t from, uint32_t to)
{
	struct vly_tcp_core *core = inet->tcp;

	core->dup_from = from;
	core->dup_to = to;
	vly_tcp_send_ack(inet, tcp);
	/* a full wire, or a peer that does not know of it: then it is not told */
	core->dup_to = core->dup_from;
}
