/* tcp_data.c - received data: to the application at once, or by way of the side record */
#include <string.h>

#include "nic/inet/tcp.h"

/* --- the window --- */

uint32_t vly_tcp_rcv_wnd(const struct vly_inet *inet, const struct vly_tcp *tcp)
{
	const struct vly_side *side = vly_tcp_side(inet, tcp);
	uint32_t window = vly_tcp_window(inet, tcp);

	if (vly_likely(!side))
		return window;
	uint32_t waiting = tcp->rcv_nxt - side->rcv_read;
	uint32_t shown = vly_seq_before(tcp->rcv_nxt, side->rcv_adv) ? side->rcv_adv - tcp->rcv_nxt
								     : 0;
	uint32_t room = window > waiting ? window - waiting : 0;

	/* Never back, and forward only by steps worth a segment (RFC 9293, 3.8.6.2.2). */
	if (room < shown + VLY_MIN(window / 2, (uint32_t)tcp->mss) && waiting)
		room = shown;
	return VLY_MAX(room, shown);
}

/* Something was read: the peer is told if that opens the window much. */
static void window_opened(struct vly_inet *inet, struct vly_tcp *tcp, const struct vly_side *side)
{
	uint32_t edge = tcp->rcv_nxt + vly_tcp_rcv_wnd(inet, tcp);
	uint32_t step = VLY_MIN(vly_tcp_window(inet, tcp) / 2, 2u * tcp->mss);

	if (vly_seq_after(edge, side->rcv_adv) && edge - side->rcv_adv >= step &&
	    tcp->state >= VLY_TCP_ESTABLISHED)
		vly_tcp_owe_ack(inet, tcp, VLY_TCP_B_ACK_NOW);
}

/* --- events --- */

/* What this batch may still show of the connection, in bytes; 0: nothing. */
static uint32_t share_left(const struct vly_inet *inet, const struct vly_tcp *tcp)
{
	const struct vly_env *env = inet->nic.env;
	const struct vly_batch *batch = &env->batch;
	uint32_t events = 0, bytes = 0;

	if (batch->count + 1 >= batch->max)
		return 0;
	if (tcp->head.batch_seq != batch->seq)
		return env->config->burst_bytes;
	for (uint32_t i = tcp->head.last_event; i != VLY_NO_EVENT; i = batch->chain[i]) {
		if (batch->events[i].kind == VLY_OPEN)
			return 0; /* the last event of its connection in a batch */
		events += batch->events[i].kind == VLY_DATA;
		bytes += batch->events[i].kind == VLY_DATA ? batch->events[i].len : 0;
	}
	if (events >= env->config->burst_max || bytes >= env->config->burst_bytes) {
		vly_count(&env->stats->rx_capped, 1);
		return 0;
	}
	return env->config->burst_bytes - bytes;
}

static bool wants_input(const struct vly_tcp *tcp)
{
	return tcp->head.state == VLY_OPENED && !(tcp->head.flags & VLY_F_PAUSED);
}

void vly_tcp_add_data(struct vly_inet *inet, struct vly_tcp *tcp, uint8_t *data, uint32_t len,
		      uint32_t buf)
{
	struct vly_env *env = inet->nic.env;
	struct vly_event *event = vly_batch_add_conn(&env->batch, &tcp->head, VLY_DATA);

	event->data = data;
	event->len = len;
	event->buf = buf;
	vly_count(&env->stats->rx_events, 1);
	vly_count(&env->stats->rx_bytes, len);
}

/* Copies into the core's receive buffer, so that it can be held and forwarded. False: none is home. */
static bool add_copy(struct vly_inet *inet, struct vly_tcp *tcp, const uint8_t *data, uint32_t len)
{
	struct vly_env *env = inet->nic.env;

	while (len) {
		uint32_t room;
		uint8_t *span =
			vly_rx_span(&env->rx, VLY_MIN(len, env->config->rx_buf_bytes), &room);

		if (!span) {
			vly_count(&env->stats->rx_starved, 1);
			return false;
		}
		room = VLY_MIN(room, env->config->rx_buf_bytes);
		if (len > room)
			return false; /* longer than a receive buffer: by way of the side record */
		memcpy(span, data, len);
		vly_tcp_add_data(inet, tcp, span, len, env->rx.current->index);
		vly_rx_commit(&env->rx, len);
		len = 0;
	}
	return true;
}

/* At once, if the application wants it and its share of the batch allows. */
static bool deliver(struct vly_inet *inet, struct vly_tcp *tcp, const uint8_t *data, uint32_t len)
{
	const struct vly_config *config = inet->nic.env->config;

	if (!wants_input(tcp) || share_left(inet, tcp) < len)
		return false;
	if (len <= VLY_MIN(config->hold_bytes, VLY_TCP_IN_PLACE)) {
		vly_tcp_add_data(inet, tcp, (uint8_t *)(uintptr_t)data, len, VLY_NO_BUF);
		return true;
	}
	return add_copy(inet, tcp, data, len);
}

static void add_eof(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_env *env = inet->nic.env;

	tcp->bits &= (uint16_t)~VLY_TCP_B_EOF_DUE;
	tcp->head.flags |= VLY_F_EOF;
	vly_batch_add_conn(&env->batch, &tcp->head, VLY_EOF);
}

static bool may_tell_eof(const struct vly_inet *inet, const struct vly_tcp *tcp)
{
	const struct vly_batch *batch = &inet->nic.env->batch;

	return wants_input(tcp) && !vly_batch_full(batch) &&
	       (tcp->head.batch_seq != batch->seq ||
		batch->events[tcp->head.last_event].kind != VLY_OPEN);
}

/* --- waiting for its turn --- */

static void drop_chunks(struct vly_inet *inet, struct vly_side *side, uint32_t upto)
{
	struct vly_sides *sides = &inet->tcp->sides;

	while (side->chunk_head != VLY_NO_CHUNK) {
		const struct vly_chunk *chunk = vly_chunk_at(sides, side->chunk_head);

		if (vly_seq_after(chunk->seq + chunk->len, upto))
			return;
		vly_chunk_pop(sides, side);
	}
}

/*
 * One event of what waits: as many chunks as a receive buffer and the share take. False: no more
 * now.
 */
static bool deliver_chunks(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
			   uint32_t upto)
{
	struct vly_env *env = inet->nic.env;
	struct vly_sides *sides = &inet->tcp->sides;
	uint32_t share = share_left(inet, tcp), room, done = 0;

	if (!share)
		return false;
	uint32_t want = VLY_MIN(upto - side->rcv_read, share);
	uint8_t *span = vly_rx_span(
		&env->rx, VLY_MIN(want, VLY_MAX(env->config->rx_buf_bytes / 4, 1u)), &room);

	if (!span) {
		vly_count(&env->stats->rx_starved, 1);
		return false;
	}
	want = VLY_MIN(want, VLY_MIN(room, env->config->rx_buf_bytes));
	while (done < want) {
		struct vly_chunk *chunk = vly_chunk_at(sides, side->chunk_head);
		uint32_t skip = side->rcv_read + done - chunk->seq; /* delivered already */
		uint32_t part = VLY_MIN(chunk->len - skip, want - done);

		memcpy(span + done, vly_chunk_bytes(chunk) + skip, part);
		done += part;
		drop_chunks(inet, side, side->rcv_read + done);
	}
	side->rcv_read += done;
	vly_tcp_add_data(inet, tcp, span, done, env->rx.current->index);
	vly_rx_commit(&env->rx, done);
	return true;
}

/* True: something is left, and another turn is wanted. */
static bool take_turn(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side)
{
	/* FIN is one sequence number, and no byte */
	uint32_t upto = tcp->rcv_nxt - !!(tcp->bits & VLY_TCP_B_EOF_DUE);
	bool more = true;

	if (!wants_input(tcp))
		return false; /* resuming asks again */
	while (more && side->rcv_read != upto)
		more = deliver_chunks(inet, tcp, side, upto);
	if (!more)
		return true;
	if (tcp->bits & VLY_TCP_B_EOF_DUE) {
		if (!may_tell_eof(inet, tcp))
			return true;
		side->rcv_read = tcp->rcv_nxt;
		add_eof(inet, tcp);
	}
	return false;
}

void vly_tcp_deliver_ready(struct vly_inet *inet)
{
	struct vly_sides *sides = &inet->tcp->sides;

	for (uint32_t left = sides->ready_count; left > 0 && sides->ready_count; left--) {
		uint32_t index = sides->ready_head;
		struct vly_side *side = vly_side_at(sides, index);
		struct vly_tcp *tcp = vly_tcp_at(inet, side->slot);

		vly_side_unready(sides, index);
		if (take_turn(inet, tcp, side))
			vly_side_ready(sides, index);
		window_opened(inet, tcp, side);
		vly_tcp_drop_side(inet, tcp);
	}
}

void vly_tcp_wants_reading(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);

	if (side && wants_input(tcp) &&
	    (side->rcv_read != tcp->rcv_nxt || tcp->bits & VLY_TCP_B_EOF_DUE))
		vly_side_ready(&inet->tcp->sides, tcp->side);
}

void vly_tcp_discard(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);

	if (!side)
		return;
	vly_side_unready(&inet->tcp->sides, tcp->side);
	side->rcv_read = tcp->rcv_nxt;
	drop_chunks(inet, side, tcp->rcv_nxt);
	window_opened(inet, tcp, side);
	vly_tcp_drop_side(inet, tcp);
}

/* --- arrivals --- */

/* Keeps [seq, seq + len) for later. False: no memory; the peer sends it again. */
static bool keep(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t seq, const uint8_t *data,
		 uint32_t len)
{
	struct vly_side *side = vly_tcp_need_side(inet, tcp);

	if (side && vly_chunk_insert(&inet->tcp->sides, side, seq, data, len))
		return true;
	inet->stats.tcp_ooo_dropped++;
	return false;
}

static void peer_has_finished(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_side *side;

	tcp->rcv_nxt++;
	vly_tcp_owe_ack(inet, tcp, VLY_TCP_B_ACK_NOW);
	side = vly_tcp_side(inet, tcp);
	if (tcp->head.state == VLY_CLOSING) {
		tcp->head.flags |= VLY_F_EOF;
		if (side)
			side->rcv_read = tcp->rcv_nxt;
	} else if ((!side || side->rcv_read == tcp->rcv_nxt - 1) && may_tell_eof(inet, tcp)) {
		if (side)
			side->rcv_read = tcp->rcv_nxt;
		add_eof(inet, tcp);
	} else {
		tcp->bits |= VLY_TCP_B_EOF_DUE;
		side = vly_tcp_need_side(inet, tcp);
		/* Without memory the FIN has not come: the peer repeats it. */
		if (!side) {
			tcp->bits &= (uint16_t)~VLY_TCP_B_EOF_DUE;
			tcp->rcv_nxt--;
			return;
		}
		if (side->rcv_read == tcp->rcv_nxt)
			side->rcv_read--; /* the FIN itself waits */
		if (wants_input(tcp))
			vly_side_ready(&inet->tcp->sides, tcp->side);
	}
	switch (tcp->state) {
	case VLY_TCP_SYN_RECEIVED:
	case VLY_TCP_ESTABLISHED:
		tcp->state = VLY_TCP_CLOSE_WAIT;
		break;
	case VLY_TCP_FIN_WAIT_1:
		tcp->state = VLY_TCP_CLOSING;
		break;
	case VLY_TCP_FIN_WAIT_2:
		vly_tcp_send_ack(inet, tcp); /* the record may go now */
		vly_tcp_finish(inet, tcp);
		break;
	default:
		break;
	}
}

/* In order. False: it could not be taken. */
static bool take_data(struct vly_inet *inet, struct vly_tcp *tcp,
		      const struct vly_tcp_segment *segment)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);
	bool waits = side && side->rcv_read != tcp->rcv_nxt;

	if (tcp->head.state == VLY_CLOSING) {
		tcp->rcv_nxt += segment->len;
		if (side)
			side->rcv_read = tcp->rcv_nxt;
		return true;
	}
	if (!waits && deliver(inet, tcp, segment->data, segment->len)) {
		tcp->rcv_nxt += segment->len;
		if (side)
			side->rcv_read = tcp->rcv_nxt;
		return true;
	}
	if (!keep(inet, tcp, segment->seq, segment->data, segment->len))
		return false;
	tcp->rcv_nxt += segment->len;
	vly_tcp_wants_reading(inet, tcp);
	return true;
}

/* What came early may be in order now. True: it was. */
static bool close_gap(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);

	if (!side || side->chunk_head == VLY_NO_CHUNK)
		return false;
	uint32_t edge = vly_chunk_edge(&inet->tcp->sides, side, tcp->rcv_nxt);

	if (edge == tcp->rcv_nxt) {
		drop_chunks(inet, side, side->rcv_read);
		return false;
	}
	bool all_read = side->rcv_read == tcp->rcv_nxt;

	tcp->rcv_nxt = edge;
	if (tcp->head.state == VLY_CLOSING)
		side->rcv_read = edge;
	if (all_read)
		drop_chunks(inet, side, side->rcv_read);
	vly_tcp_wants_reading(inet, tcp);
	return true;
}

/* Whether all of an early segment is kept already. Most are behind all that is. */
static bool is_kept(const struct vly_inet *inet, const struct vly_tcp *tcp,
		    const struct vly_tcp_segment *segment)
{
	const struct vly_sides *sides = &inet->tcp->sides;
	const struct vly_side *side = vly_tcp_side(inet, tcp);

	if (!side || side->chunk_tail == VLY_NO_CHUNK || !segment->len)
		return false;
	const struct vly_chunk *last = vly_chunk_at(sides, side->chunk_tail);
	uint32_t end = segment->seq + segment->len;

	return !vly_seq_after(end, last->seq + last->len) &&
	       !vly_seq_before(vly_chunk_edge(sides, side, segment->seq), end);
}

/*
 * Each one is answered at once: the sender counts them (RFC 5681, 4.2). But one who understands SACK learns from one
 * answer about all that follow each other in a burst what it would have learned from one for each, as if the path
 * had joined them (as receive offloads do).
 */
static void answer_early(struct vly_inet *inet, struct vly_tcp *tcp,
			 const struct vly_tcp_segment *segment)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);

	if (!side || !(tcp->bits & VLY_TCP_B_SACK)) {
		vly_tcp_send_ack(inet, tcp);
		return;
	}
	side->early_owed = true;
	side->early_next = segment->seq + segment->len;
	vly_tcp_owe_ack(inet, tcp, VLY_TCP_B_ACK_NOW);
}

static void take_early(struct vly_inet *inet, struct vly_tcp *tcp,
		       const struct vly_tcp_segment *segment)
{
	bool repeated = is_kept(inet, tcp, segment);
	const struct vly_side *before = vly_tcp_side(inet, tcp);

	inet->stats.tcp_out_of_order++;
	/* each range has an answer of its own: three fit into one, and one is said first */
	if (before && before->early_owed && before->early_next != segment->seq)
		vly_tcp_send_ack(inet, tcp);
	if (tcp->head.state != VLY_CLOSING &&
	    (!segment->len || keep(inet, tcp, segment->seq, segment->data, segment->len))) {
		struct vly_side *side = vly_tcp_need_side(inet, tcp);

		if (side) {
			side->sack_seq = segment->seq;
			if (segment->fin) {
				side->fin_early = true;
				side->fin_seq = segment->seq + segment->len;
			}
		}
	}
	if (repeated)
		vly_tcp_send_dup_ack(inet, tcp, segment->seq, segment->seq + segment->len);
	else
		answer_early(inet, tcp, segment);
}

void vly_tcp_data_in(struct vly_inet *inet, struct vly_tcp *tcp,
		     const struct vly_tcp_segment *segment)
{
	bool fin = segment->fin;

	if (vly_unlikely(segment->seq != tcp->rcv_nxt)) {
		take_early(inet, tcp, segment);
		return;
	}
	if (segment->len && !take_data(inet, tcp, segment)) {
		vly_tcp_owe_ack(inet, tcp, VLY_TCP_B_ACK_NOW);
		return;
	}
	bool closed_gap = close_gap(inet, tcp);
	struct vly_side *side = vly_tcp_side(inet, tcp);

	if (side && side->fin_early && side->fin_seq == tcp->rcv_nxt) {
		side->fin_early = false;
		fin = true;
	} else if (closed_gap) {
		fin = false; /* what followed it was longer: the FIN lies before data, a lie */
	}
	/* short ones too: the peer's tail-loss probe would not wait for a delayed ACK of two */
	if (segment->len || closed_gap)
		vly_tcp_owe_ack(inet, tcp, closed_gap ? VLY_TCP_B_ACK_NOW : vly_tcp_second(tcp));
	if (fin)
		peer_has_finished(inet, tcp);
	else
		vly_tcp_drop_side(inet, tcp);
}
