/* tcp_ack.c - acceptable ACKs: round trips, windows, what is taken off the queue */
#include "nic/inet/tcp.h"

uint32_t vly_tcp_rto(const struct vly_inet *inet, const struct vly_tcp *tcp)
{
	const struct vly_tcp_conf *conf = &inet->tcp->conf;
	uint64_t rto = conf->rto_init;

	if (tcp->srtt)
		rto = (tcp->srtt >> 3) + VLY_MAX(tcp->rttvar, conf->rto_min);
	rto <<= VLY_MIN(tcp->retries, 16);
	return (uint32_t)VLY_MIN(rto, (uint64_t)conf->rto_max);
}

/* RFC 5961, 5: an ACK far in the past, or of the future, is answered and dropped. */
static bool acceptable(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t ack)
{
	/* MAX.SND.WND, or above: no window of the peer's was larger */
	uint32_t behind = tcp->snd_una - ack, behind_max = 65535u << (tcp->wscale & 15);

	if (!vly_seq_after(ack, tcp->snd_nxt) &&
	    (!vly_seq_before(ack, tcp->snd_una) || behind <= behind_max))
		return true;
	inet->stats.tcp_bad_ack++;
	if (vly_tcp_may_challenge(inet))
		vly_tcp_send_ack(inet, tcp);
	return false;
}

/*
 * The peer's window. An ACK of old may come late: it is believed if it acknowledges more, brings data in
 * order, or opens the window (wl1 and wl2 of RFC 9293 without the fields).
 */
static void window_in(struct vly_inet *inet, struct vly_tcp *tcp,
		      const struct vly_tcp_segment *segment)
{
	const struct vly_tcp_view *view = &segment->view;
	uint32_t window = (uint32_t)view->window << (tcp->wscale & 15);

	if (vly_seq_before(view->ack, tcp->snd_una))
		return;
	if (view->ack == tcp->snd_una && window < tcp->snd_wnd &&
	    (!segment->len || segment->seq != tcp->rcv_nxt))
		return;
	tcp->snd_wnd = window;
	if (window && tcp->bits & VLY_TCP_B_PERSIST) {
		tcp->bits &= (uint16_t)~VLY_TCP_B_PERSIST;
		tcp->retries = 0;
	}
	(void)inet;
}

/* Our FIN was acknowledged. False: the record is gone. */
static bool fin_acked(struct vly_inet *inet, struct vly_tcp *tcp)
{
	switch (tcp->state) {
	case VLY_TCP_FIN_WAIT_1:
		tcp->state = VLY_TCP_FIN_WAIT_2;
		return true;
	case VLY_TCP_CLOSING:
	case VLY_TCP_LAST_ACK:
		/* the peer's FIN may have come in this very burst: its ACK is owed, and the record goes now */
		if (tcp->bits & VLY_TCP_B_ACK_DUE)
			vly_tcp_send_ack(inet, tcp);
		vly_tcp_finish(inet, tcp);
		return tcp->head.state != VLY_DEAD;
	default:
		return true;
	}
}

static bool is_duplicate(const struct vly_tcp *tcp, const struct vly_tcp_segment *segment,
			 uint32_t old_wnd)
{
	return segment->view.ack == tcp->snd_una && vly_tcp_flight(tcp) && !segment->len &&
	       !segment->fin && tcp->snd_wnd == old_wnd;
}

/* By the time that it echoes (RFC 3522): of the first ACK that moves the window in a recovery. */
static bool answers_original(const struct vly_tcp *tcp, const struct vly_side *side,
			     const struct vly_tcp_options *options)
{
	return tcp->bits & VLY_TCP_B_TS && options->has & VLY_TCP_HAS_TIMESTAMPS &&
	       side->recovery != VLY_OPEN_WINDOW && side->undo_sent &&
	       vly_seq_before(options->ts_echo, side->undo_ts);
}

/* Moves snd_una to `ack`. */
static void advance(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t ack)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);
	uint32_t bytes = ack - tcp->snd_una;

	if (tcp->head.flags & VLY_F_FIN_SENT && ack == tcp->snd_nxt &&
	    tcp->state != VLY_TCP_FIN_WAIT_2)
		bytes--;
	tcp->snd_una = ack;
	vly_env_tx_done(inet->nic.env, &tcp->head, bytes);
	if (side && side->cursor && vly_seq_before(side->cursor_seq, ack))
		side->cursor = NULL;
	tcp->retries = 0;
	tcp->rtx_base = inet->now;
	tcp->bits &= (uint16_t)~VLY_TCP_B_PROBED;
}

/* The peer is there: of keep-alives only those in a row without an answer count. Probes of a window go on backing off. */
static void probe_answered(struct vly_tcp *tcp)
{
	tcp->bits &= (uint16_t)~VLY_TCP_B_PROBED;
	if (!(tcp->bits & VLY_TCP_B_PERSIST) && !vly_tcp_flight(tcp))
		tcp->retries = 0;
}

bool vly_tcp_ack_in(struct vly_inet *inet, struct vly_tcp *tcp,
		    const struct vly_tcp_segment *segment)
{
	uint32_t ack = segment->view.ack, old_wnd = tcp->snd_wnd;
	uint32_t flight = vly_tcp_flight(tcp);
	struct vly_side *side = vly_tcp_side(inet, tcp);
	struct vly_tcp_acked acked = {
		.echo = segment->options.ts_echo,
		.echoes = tcp->bits & VLY_TCP_B_TS && segment->options.has & VLY_TCP_HAS_TIMESTAMPS,
	};
	/* an ACK of all leaves an empty scoreboard, and counts no less */
	bool scored = side && (side->seg_head != VLY_NO_SEG || side->recovery != VLY_OPEN_WINDOW);
	/* a window that did not hold us back must not grow (RFC 9293, 3.8.3; RFC 7661) */
	bool was_limited = flight + tcp->mss > tcp->cwnd;

	if (!acceptable(inet, tcp, ack))
		return false;
	if (vly_unlikely(tcp->bits & VLY_TCP_B_PROBED) && !vly_seq_before(ack, tcp->snd_una))
		probe_answered(tcp);
	window_in(inet, tcp, segment);
	if (vly_seq_after(ack, tcp->snd_una)) {
		acked.bytes = acked.delivered = ack - tcp->snd_una;
		acked.is_original = side && answers_original(tcp, side, &segment->options);
		if (side)
			vly_tcp_scoreboard_ack(inet, tcp, side, ack, &acked);
		else if (!(tcp->bits & VLY_TCP_B_REXMIT) && ack == tcp->snd_nxt)
			acked.rtt = VLY_MAX(inet->now - tcp->rtx_base, 1u);
		if (acked.rtt)
			vly_tcp_rtt(tcp, acked.rtt);
		advance(inet, tcp, ack);
		if (!side && ack != tcp->snd_nxt)
			tcp->bits |= VLY_TCP_B_REXMIT; /* rtx_base is no time of sending now */
	} else if (is_duplicate(tcp, segment, old_wnd)) {
		acked.duplicate = true;
	}
	if (scored) {
		if (segment->options.sack_count && tcp->bits & VLY_TCP_B_SACK)
			vly_tcp_scoreboard_sack(inet, tcp, side, segment, &acked);
		vly_tcp_recover(inet, tcp, side, &acked, was_limited);
	} else if (acked.bytes && was_limited && tcp->cwnd < tcp->ssthresh) {
		tcp->cwnd += VLY_MIN(acked.bytes, (uint32_t)tcp->mss);
	}
	if (acked.bytes && vly_tcp_flight(tcp))
		vly_tcp_arm_rto(inet, tcp);
	if (acked.bytes && tcp->head.flags & VLY_F_FIN_SENT && !vly_tcp_flight(tcp))
		return fin_acked(inet, tcp);
	return true;
}
