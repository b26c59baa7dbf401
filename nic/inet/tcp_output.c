/* tcp_output.c - what is sent when: new data, what was lost, FIN, ACKs owed */
#include "nic/inet/cc.h"
#include "nic/inet/tcp.h"

/* --- those whom the wire was too full for --- */

void vly_tcp_tx_later(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_tcp_core *core = inet->tcp;

	if (tcp->bits & VLY_TCP_B_TX_LISTED)
		return;
	tcp->bits |= VLY_TCP_B_TX_LISTED;
	tcp->next = VLY_NO_SLOT;
	if (core->tx_tail == VLY_NO_SLOT)
		core->tx_head = vly_conn_index(&tcp->head);
	else
		vly_tcp_at(inet, core->tx_tail)->next = vly_conn_index(&tcp->head);
	core->tx_tail = vly_conn_index(&tcp->head);
}

void vly_tcp_tx_unlist(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_tcp_core *core = inet->tcp;
	uint32_t prev = VLY_NO_SLOT, at = core->tx_head;

	if (!(tcp->bits & VLY_TCP_B_TX_LISTED))
		return;
	tcp->bits &= (uint16_t)~VLY_TCP_B_TX_LISTED;
	/* singly linked: only the end of a connection takes one out of the middle */
	while (at != vly_conn_index(&tcp->head)) {
		prev = at;
		at = vly_tcp_at(inet, at)->next;
	}
	if (prev == VLY_NO_SLOT)
		core->tx_head = tcp->next;
	else
		vly_tcp_at(inet, prev)->next = tcp->next;
	if (core->tx_tail == at)
		core->tx_tail = prev;
}

/* Takes the first of the FIFO, whose next one will be looked at soon. */
static struct vly_tcp *tx_pop(struct vly_inet *inet)
{
	struct vly_tcp_core *core = inet->tcp;
	struct vly_tcp *tcp = vly_tcp_at(inet, core->tx_head);

	core->tx_head = tcp->next;
	if (core->tx_head == VLY_NO_SLOT) {
		core->tx_tail = VLY_NO_SLOT;
	} else {
		struct vly_tcp *next = vly_tcp_at(inet, core->tx_head);

		vly_prefetch_write(next);
		vly_prefetch_write(&next->ssthresh);
		vly_prefetch_write(&next->raddr);
	}
	tcp->bits &= (uint16_t)~VLY_TCP_B_TX_LISTED;
	return tcp;
}

/* In front of the others again. */
static void tx_back(struct vly_inet *inet, struct vly_conn_head **heads, uint32_t count)
{
	struct vly_tcp_core *core = inet->tcp;

	while (count) {
		struct vly_tcp *tcp = vly_tcp_of(heads[--count]);

		/* an ACK that somebody before it had to send first has listed it meanwhile */
		if (tcp->bits & VLY_TCP_B_TX_LISTED)
			continue;
		tcp->bits |= VLY_TCP_B_TX_LISTED;
		tcp->next = core->tx_head;
		core->tx_head = vly_conn_index(&tcp->head);
		if (core->tx_tail == VLY_NO_SLOT)
			core->tx_tail = core->tx_head;
	}
}

static void send_waiting(struct vly_inet *inet, struct vly_tcp *tcp)
{
	if (tcp->state == VLY_TCP_SYN_SENT || tcp->state == VLY_TCP_SYN_RECEIVED)
		vly_tcp_send_syn(inet, tcp);
	else
		vly_tcp_output(inet, tcp);
	if (tcp->bits & VLY_TCP_B_TX_LISTED || !(tcp->bits & VLY_TCP_B_ACK_DUE))
		return;
	if (tcp->bits & VLY_TCP_B_ACK_NOW)
		vly_tcp_send_ack(inet, tcp);
	else if (!(tcp->bits & VLY_TCP_B_DELACK))
		vly_tcp_owe_ack(inet, tcp, 0); /* nothing has carried it: time does */
}

void vly_tcp_send_waiting(struct vly_inet *inet)
{
	struct vly_tcp_core *core = inet->tcp;
	struct vly_conn_head *heads[VLY_OUT_BURST];
	uint32_t last = core->tx_tail; /* who comes back waits for the next time */
	bool more = true;

	while (more && core->tx_head != VLY_NO_SLOT && vly_out_frame(inet)) {
		uint32_t room = inet->out_lent - inet->out_used, count = 0;

		/* a frame for each, so that nobody comes back behind those who came later */
		while (more && count < room && core->tx_head != VLY_NO_SLOT) {
			struct vly_tcp *tcp = tx_pop(inet);

			more = vly_conn_index(&tcp->head) != last;
			heads[count++] = &tcp->head;
		}
		/* behind a full wire most are what they always are: one segment */
		count = vly_tcp_flush_fast(inet, heads, count);
		uint32_t i = 0;

		for (; i < count && vly_out_frame(inet); i++)
			send_waiting(inet, vly_tcp_of(heads[i]));
		tx_back(inet, heads + i, count - i);
	}
}

/* --- the scoreboard --- */

/*
 * More than one segment is about to be in flight: each is kept account of. The first one's is made
 * from the record, which held it alone. False: no memory; sending goes on when it is acknowledged.
 */
struct vly_side *vly_tcp_begin_scoreboard(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_side *side = vly_tcp_need_side(inet, tcp);

	if (!side)
		return NULL;
	if (side->seg_head == VLY_NO_SEG && vly_tcp_flight(tcp)) {
		struct vly_seg *seg = vly_seg_append(&inet->tcp->sides, side, tcp->snd_una,
						     tcp->snd_nxt, tcp->rtx_base);

		if (!seg)
			return NULL;
		if (tcp->bits & VLY_TCP_B_REXMIT)
			seg->flags |= VLY_SEG_REXMIT;
		if (tcp->head.flags & VLY_F_FIN_SENT)
			seg->flags |= VLY_SEG_FIN;
	}
	return side;
}

struct vly_side *vly_tcp_need_side(struct vly_inet *inet, struct vly_tcp *tcp)
{
	if (!(tcp->bits & VLY_TCP_B_SIDE)) {
		uint32_t index = vly_side_take(&inet->tcp->sides, vly_conn_index(&tcp->head));

		if (index == VLY_NO_SIDE) {
			inet->stats.tcp_side_full++;
			return NULL;
		}
		tcp->side = index;
		tcp->bits |= VLY_TCP_B_SIDE;
		struct vly_side *side = vly_side_at(&inet->tcp->sides, index);

		side->rcv_read = tcp->rcv_nxt;
		side->rcv_adv = tcp->rcv_nxt + vly_tcp_window(inet, tcp);
	}
	return vly_tcp_side(inet, tcp);
}

void vly_tcp_drop_side(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);

	if (!side || side->seg_head != VLY_NO_SEG || side->chunk_head != VLY_NO_CHUNK ||
	    side->ready || side->fin_early || side->rcv_read != tcp->rcv_nxt ||
	    side->recovery != VLY_OPEN_WINDOW ||
	    vly_seq_before(tcp->rcv_nxt + vly_tcp_window(inet, tcp), side->rcv_adv) ||
	    vly_tcp_flight(tcp))
		return;
	vly_side_put(&inet->tcp->sides, tcp->side);
	tcp->bits &= (uint16_t)~VLY_TCP_B_SIDE;
}

/* Bytes believed to be in the network. */
static uint32_t pipe_of(const struct vly_tcp *tcp, const struct vly_side *side)
{
	return side ? vly_tcp_flight(tcp) - side->sacked - side->lost : vly_tcp_flight(tcp);
}

/* How many bytes congestion control lets go now. */
static uint32_t cwnd_room(const struct vly_tcp *tcp, const struct vly_side *side)
{
	uint32_t pipe = pipe_of(tcp, side);

	return tcp->cwnd > pipe ? tcp->cwnd - pipe : 0;
}

/* --- what was lost --- */

static bool resend(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
		   struct vly_seg *seg)
{
	bool fin = seg->flags & VLY_SEG_FIN;
	uint32_t len = seg->end - seg->seq - fin;

	if (len > tcp->mss) {
		/* the path has become narrower */
		if (!vly_seg_split(&inet->tcp->sides, side, seg, seg->seq + tcp->mss))
			return false;
		len = tcp->mss;
		fin = false;
	}
	if (!vly_tcp_emit(inet, tcp, seg->seq, len,
			  (uint8_t)(VLY_TCP_ACK | (fin ? VLY_TCP_FIN : 0)))) {
		vly_tcp_tx_later(inet, tcp);
		return false;
	}
	vly_seg_sent(&inet->tcp->sides, side, seg, inet->now);
	side->lost -= seg->end - seg->seq;
	side->prr_out += seg->end - seg->seq;
	inet->stats.tcp_retransmit++;
	if (side->undo) {
		if (!side->undo_sent && !side->undo_rexmits)
			side->undo_ts = vly_tcp_ts_now(inet);
		side->undo_sent = true;
		side->undo_rexmits++;
	}
	return true;
}

/* False: the wire is full, or the window. */
static bool send_lost(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side)
{
	uint32_t at = side->seg_head;

	while (side->lost && at != VLY_NO_SEG) {
		struct vly_seg *seg = vly_seg_at(&inet->tcp->sides, at);

		if (seg->flags & VLY_SEG_LOST) {
			/* one segment may always be in the network */
			if (pipe_of(tcp, side) &&
			    cwnd_room(tcp, side) < VLY_MIN(seg->end - seg->seq, tcp->mss))
				return false;
			if (!resend(inet, tcp, side, seg))
				return false;
		}
		at = seg->next;
	}
	return true;
}

/* --- new data and FIN --- */

static bool may_send_data(const struct vly_tcp *tcp)
{
	return tcp->state == VLY_TCP_ESTABLISHED || tcp->state == VLY_TCP_CLOSE_WAIT;
}

/*
 * How much the next segment may carry; 0: none now. A segment shorter than it could be is sent only
 * when nothing is in flight (silly window avoidance; there is no Nagle).
 */
static uint32_t next_len(const struct vly_tcp *tcp, const struct vly_side *side, uint32_t unsent)
{
	uint32_t flight = vly_tcp_flight(tcp);
	uint32_t window = tcp->snd_wnd > flight ? tcp->snd_wnd - flight : 0;
	uint32_t want = VLY_MIN(unsent, (uint32_t)tcp->mss);
	uint32_t len = VLY_MIN(want, window);

	if (len < want && flight)
		return 0;
	if (cwnd_room(tcp, side) < len && pipe_of(tcp, side))
		return 0;
	return len;
}

static void fin_was_sent(struct vly_tcp *tcp)
{
	tcp->head.flags |= VLY_F_FIN_SENT;
	tcp->state = tcp->state == VLY_TCP_CLOSE_WAIT ? VLY_TCP_LAST_ACK : VLY_TCP_FIN_WAIT_1;
}

/* One segment of new data, FIN, or both. False: not now. */
static bool send_next(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);
	uint32_t unsent = vly_tcp_unsent(tcp), flight = vly_tcp_flight(tcp);
	uint32_t len = unsent ? next_len(tcp, side, unsent) : 0;
	bool fin = len == unsent && tcp->head.flags & VLY_F_SHUT;

	if (!len && !(fin && !unsent))
		return false;
	struct vly_seg *seg = NULL;

	if (flight) {
		side = vly_tcp_begin_scoreboard(inet, tcp);
		if (!side)
			return false;
		seg = vly_seg_append(&inet->tcp->sides, side, tcp->snd_nxt,
				     tcp->snd_nxt + len + fin, inet->now);
		if (!seg)
			return false;
	}
	uint8_t flags = (uint8_t)(VLY_TCP_ACK | (len == unsent && len ? VLY_TCP_PSH : 0) |
				  (fin ? VLY_TCP_FIN : 0));

	if (!vly_tcp_large_emit(inet, tcp, tcp->snd_nxt, len, flags)) {
		if (seg)
			vly_seg_remove(&inet->tcp->sides, side, seg);
		vly_tcp_tx_later(inet, tcp);
		return false;
	}
	if (seg && fin)
		seg->flags |= VLY_SEG_FIN;
	if (!flight) {
		tcp->rtx_base = inet->now;
		tcp->bits &= (uint16_t)~VLY_TCP_B_REXMIT;
		tcp->retries = 0;
	}
	tcp->snd_nxt += len + fin;
	if (side)
		side->prr_out += len + fin;
	if (fin)
		fin_was_sent(tcp);
	vly_count(&inet->nic.env->stats->tx_bytes, len);
	vly_count(&inet->nic.env->stats->tx_calls, 1);
	return true;
}

void vly_tcp_output(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);
	bool sent = false;

	if (tcp->state < VLY_TCP_ESTABLISHED)
		return;
	if (side && side->lost && !send_lost(inet, tcp, side))
		return;
	while (may_send_data(tcp) && send_next(inet, tcp))
		sent = true;
	vly_tcp_large_end(inet);
	if (sent)
		vly_tcp_arm_rto(inet, tcp);
	else if (may_send_data(tcp) && !vly_tcp_flight(tcp) && vly_tcp_unsent(tcp) &&
		 !tcp->snd_wnd && !(tcp->bits & VLY_TCP_B_PERSIST))
		vly_tcp_persist(inet, tcp);
}

/* --- flush --- */

/* The application closed it: input is no longer wanted, and time is limited. */
static void begin_closing(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_env *env = inet->nic.env;
	uint64_t timeout_ns = VLY_MIN(env->config->close_timeout_ns, 1800000000000u);

	tcp->bits |= VLY_TCP_B_CLOSE_DUE;
	tcp->bits &= (uint16_t)~VLY_TCP_B_EOF_DUE;
	tcp->close_due = inet->now + vly_tick_of(timeout_ns);
	vly_tcp_arm(inet, tcp, tcp->close_due);
	vly_tcp_discard(inet, tcp);
}

void vly_tcp_flush(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_conn_head *head = &tcp->head;

	if (vly_unlikely(head->state == VLY_CONNECTING))
		return;
	if (vly_unlikely(head->state == VLY_CLOSING)) {
		if (!(tcp->bits & VLY_TCP_B_CLOSE_DUE))
			begin_closing(inet, tcp);
		if (tcp->state == VLY_TCP_CLOSED) {
			vly_tcp_let_go(inet, tcp, 0, false);
			return;
		}
	}
	if (vly_unlikely(head->tx_head && !head->tx_bytes))
		vly_env_tx_done(inet->nic.env, head, 0); /* lent memory of no bytes */
	if (!(tcp->bits & VLY_TCP_B_TX_LISTED)) {
		if (inet->out_full)
			vly_tcp_tx_later(inet, tcp);
		else
			vly_tcp_output(inet, tcp);
	}
	if (vly_unlikely(tcp->bits & (VLY_TCP_B_SIDE | VLY_TCP_B_EOF_DUE)) &&
	    !(head->flags & VLY_F_PAUSED))
		vly_tcp_wants_reading(inet, tcp);
}

/* --- ACKs that are owed --- */

void vly_tcp_send_acks(struct vly_inet *inet)
{
	struct vly_tcp_core *core = inet->tcp;
	bool all_paid = core->acks_paid == core->acks_count;

	core->acks_paid = 0;
	if (vly_likely(all_paid)) {
		core->acks_count = 0;
		return;
	}
	for (uint32_t i = 0; i < core->acks_count; i++) {
		struct vly_tcp *tcp = vly_tcp_at(inet, core->acks[i]);

		if (tcp->head.type != VLY_STREAM || !(tcp->bits & VLY_TCP_B_ACK_LISTED))
			continue;
		tcp->bits &= (uint16_t)~VLY_TCP_B_ACK_LISTED;
		if (vly_likely(!(tcp->bits & VLY_TCP_B_ACK_DUE)) || tcp->head.state == VLY_DEAD ||
		    tcp->head.state == VLY_FREE)
			continue;
		/* It waits for the wire, as its data does: then it is looked at again. */
		if (tcp->bits & VLY_TCP_B_TX_LISTED)
			continue;
		/*
		 * Only who answers by data lets an ACK wait for it. A stream that runs one way is
		 * acknowledged at once: its sender may be waiting for room.
		 */
		if (tcp->bits & VLY_TCP_B_ACK_NOW || !(tcp->bits & VLY_TCP_B_TALKS) ||
		    !core->conf.delack) {
			vly_tcp_send_ack(inet, tcp);
		} else if (!(tcp->bits & VLY_TCP_B_DELACK)) {
			tcp->bits |= VLY_TCP_B_DELACK;
			inet->stats.tcp_delayed_ack++;
			vly_tcp_arm(inet, tcp, inet->now + core->conf.delack);
		}
	}
	core->acks_count = 0;
}
