/* tcp_loss.c - the scoreboard, loss detection by RACK, recovery: RFC 6675, 8985, 6937, 6582 */
#include "nic/inet/cc.h"
#include "nic/inet/tcp.h"

#define DUPACKS 3

static uint32_t seg_len(const struct vly_seg *seg)
{
	return seg->end - seg->seq;
}

void vly_tcp_mark_lost(struct vly_inet *inet, struct vly_side *side, struct vly_seg *seg)
{
	if (seg->flags & (VLY_SEG_LOST | VLY_SEG_SACKED))
		return;
	vly_seg_lost(&inet->tcp->sides, side, seg);
	side->lost += seg_len(seg);
}

/* --- what was delivered --- */

/* Whether the ACK echoes a time from before the segment was last sent. */
static bool echoes_before(const struct vly_inet *inet, const struct vly_seg *seg,
			  const struct vly_tcp_acked *acked)
{
	uint64_t sent = (inet->now_ns >> 10) - (uint32_t)(inet->now - seg->sent); /* a whole tick */

	return acked->echoes && vly_seq_before(acked->echo, (uint32_t)(sent >> 10));
}

/* RFC 8985, 6.2, steps 1 to 3. */
static void rack_update(const struct vly_inet *inet, struct vly_side *side,
			const struct vly_seg *seg, struct vly_tcp_acked *acked)
{
	uint32_t rtt = VLY_MAX(inet->now - seg->sent, 1u);

	if (seg->flags & VLY_SEG_REXMIT) {
		/*
		 * The first one was answered: too soon for the second, or by the time echoed. Taken for an
		 * answer to the second, everything sent between the two would be lost.
		 */
		if (rtt < side->min_rtt || echoes_before(inet, seg, acked))
			return;
	} else {
		if (!side->min_rtt || rtt < side->min_rtt)
			side->min_rtt = rtt;
		acked->rtt = acked->rtt ? VLY_MIN(acked->rtt, rtt) : rtt;
		/* sent once, and something sent after it had come before it */
		if (side->rack_rtt && vly_seq_before(seg->end, side->rack_end))
			side->reordered = true;
	}
	if (!side->rack_rtt || vly_tick_before(side->rack_sent, seg->sent) ||
	    (side->rack_sent == seg->sent && vly_seq_before(side->rack_end, seg->end))) {
		side->rack_sent = seg->sent;
		side->rack_end = seg->end;
		side->rack_rtt = rtt;
	}
}

static void uncount(struct vly_side *side, struct vly_seg *seg, uint32_t len)
{
	if (seg->flags & VLY_SEG_SACKED)
		side->sacked -= len;
	if (seg->flags & VLY_SEG_LOST)
		side->lost -= len;
}

void vly_tcp_scoreboard_ack(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
			    uint32_t ack, struct vly_tcp_acked *acked)
{
	struct vly_sides *sides = &inet->tcp->sides;

	while (side->seg_head != VLY_NO_SEG) {
		struct vly_seg *seg = vly_seg_at(sides, side->seg_head);

		if (vly_seq_after(seg->end, ack)) {
			if (vly_seq_before(seg->seq, ack)) {
				uncount(side, seg, ack - seg->seq);
				seg->seq = ack;
			}
			return;
		}
		if (seg->flags & VLY_SEG_SACKED)
			acked->delivered -= seg_len(seg);
		else
			rack_update(inet, side, seg, acked);
		uncount(side, seg, seg_len(seg));
		vly_seg_remove(sides, side, seg);
	}
	/* One segment in flight, made before there was a scoreboard, has none. */
	if (!side->rack_rtt && !(tcp->bits & VLY_TCP_B_REXMIT) && ack == tcp->snd_nxt)
		acked->rtt = VLY_MAX(inet->now - tcp->rtx_base, 1u);
}

/* RFC 2883, 4: the first block is about what was acknowledged already, or lies in the second. */
static bool is_dsack(const struct vly_tcp_segment *segment)
{
	const struct vly_tcp_block *first = &segment->options.sack[0], *second = first + 1;

	return !vly_seq_after(first->to, segment->view.ack) ||
	       (segment->options.sack_count > 1 && !vly_seq_before(first->from, second->from) &&
		!vly_seq_after(first->to, second->to));
}

/* Something has come twice: it was late, not lost. RFC 8985, 6.2, step 4: once in a round trip. */
static void dsack_in(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
		     uint32_t from)
{
	/* dsack_round counts as long as reo_persist does: 0 is a number like any */
	bool first = !side->reo_persist;

	inet->stats.tcp_spurious++;
	side->reordered = true;
	side->reo_persist = 16;
	if (first || !vly_seq_before(tcp->snd_una, side->dsack_round)) {
		side->dsack_round = tcp->snd_nxt;
		side->reo_mult = (uint8_t)VLY_MIN(side->reo_mult + 1, 16);
	}
	if (side->undo && side->undo_rexmits && !vly_seq_before(from, side->undo_una))
		side->undo_rexmits--;
}

/* All in [from, to) that is not known yet. What is known is one segment however long, and soon passed. */
static void block_in(struct vly_inet *inet, struct vly_side *side, uint32_t from, uint32_t to,
		     struct vly_tcp_acked *acked)
{
	struct vly_sides *sides = &inet->tcp->sides;

	for (uint32_t at = vly_seg_from(sides, side, from); at != VLY_NO_SEG;) {
		struct vly_seg *seg = vly_seg_at(sides, at);

		if (!vly_seq_before(seg->seq, to))
			return;
		if (!(seg->flags & VLY_SEG_SACKED) && !vly_seq_after(seg->end, to)) {
			uncount(side, seg, seg_len(seg));
			side->sacked += seg_len(seg);
			acked->delivered += seg_len(seg);
			rack_update(inet, side, seg, acked);
			seg = vly_seg_sacked(sides, side, seg);
		}
		side->sack_near = vly_slab_index(&sides->segs, seg);
		at = seg->next;
	}
}

void vly_tcp_scoreboard_sack(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
			     const struct vly_tcp_segment *segment, struct vly_tcp_acked *acked)
{
	const struct vly_tcp_options *options = &segment->options;

	for (unsigned i = 0; i < options->sack_count; i++) {
		uint32_t from = options->sack[i].from, to = options->sack[i].to;

		/* within what is in flight, or of an ACK that was overtaken */
		if (!vly_seq_before(from, to) || vly_seq_after(to, tcp->snd_nxt))
			continue;
		if (i == 0 && is_dsack(segment)) {
			dsack_in(inet, tcp, side, from);
			continue;
		}
		if (vly_seq_after(to, tcp->snd_una))
			block_in(inet, side, from, to, acked);
	}
}

/* --- what was lost --- */

/* RFC 8985, 6.2, step 4. */
static uint32_t reo_window(const struct vly_tcp *tcp, const struct vly_side *side)
{
	if (!side->reordered &&
	    (side->recovery != VLY_OPEN_WINDOW || side->sacked >= DUPACKS * (uint32_t)tcp->mss))
		return 0;
	return VLY_MIN(side->min_rtt / 4 * side->reo_mult, tcp->srtt >> 3);
}

/* Step 5. By time of sending: who was sent before the last that came, and no further than those who are lost. */
uint32_t vly_tcp_rack_detect(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side)
{
	uint32_t window = reo_window(tcp, side);

	if (!side->rack_rtt)
		return 0;
	for (uint32_t at = side->time_head; at != VLY_NO_SEG;) {
		struct vly_seg *seg = vly_seg_at(&inet->tcp->sides, at);
		uint32_t limit = seg->sent + side->rack_rtt + window;

		if (vly_tick_before(side->rack_sent, seg->sent))
			break;
		at = seg->later;
		if (seg->sent == side->rack_sent && !vly_seq_before(seg->end, side->rack_end))
			continue;
		/* all behind were sent later, and have as long */
		if (vly_tick_before(inet->now, limit))
			return limit ? limit : 1;
		vly_tcp_mark_lost(inet, side, seg);
	}
	return 0;
}

/* Without SACK: the first segment, when enough duplicates or a partial ACK tell. */
static void newreno_detect(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
			   const struct vly_tcp_acked *acked)
{
	struct vly_seg *first;

	if (side->seg_head == VLY_NO_SEG)
		return;
	first = vly_seg_at(&inet->tcp->sides, side->seg_head);
	if (acked->duplicate && side->dupacks < UINT8_MAX)
		side->dupacks++;
	else if (acked->bytes)
		side->dupacks = 0;
	if (side->recovery == VLY_OPEN_WINDOW && side->dupacks == DUPACKS)
		vly_tcp_mark_lost(inet, side, first);
	else if (side->recovery != VLY_OPEN_WINDOW && acked->bytes &&
		 vly_seq_before(tcp->snd_una, side->recover) && !(first->flags & VLY_SEG_REXMIT))
		vly_tcp_mark_lost(inet, side, first);
}

/* --- recovery --- */

void vly_tcp_enter_recovery(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
			    enum vly_side_recovery how)
{
	if (side->recovery == VLY_OPEN_WINDOW) {
		side->undo = true;
		side->undo_sent = false;
		/* a tail-loss probe that is under way is the first that was sent again */
		side->undo_rexmits = side->tlp_out && side->tlp_rexmit;
		side->undo_ts = side->tlp_ts;
		side->undo_una = tcp->snd_una;
		side->undo_cwnd = tcp->cwnd;
		side->undo_ssthresh = tcp->ssthresh;
		side->undo_cc = side->cc;
		tcp->ssthresh = inet->tcp->conf.cc->cut(
			tcp, side, VLY_MIN(tcp->cwnd, VLY_MAX(vly_tcp_flight(tcp), 2u * tcp->mss)),
			inet->now);
	}
	side->recovery = (uint8_t)how;
	side->recover = tcp->snd_nxt;
	side->prr_delivered = side->prr_out = 0;
	side->recover_flight = VLY_MAX(vly_tcp_flight(tcp), 1u);
	side->tlp_out = false;
	if (how == VLY_FAST_RECOVERY)
		inet->stats.tcp_fast_retransmit++;
	else
		tcp->cwnd = tcp->mss;
}

/* RFC 6937, with the slow-start reduction bound: cwnd = pipe + what may be sent now. */
static void prr(struct vly_tcp *tcp, struct vly_side *side, const struct vly_tcp_acked *acked)
{
	uint32_t pipe = vly_tcp_flight(tcp) - side->sacked - side->lost;
	int64_t count;

	side->prr_delivered += acked->delivered;
	if (pipe > tcp->ssthresh) {
		count = ((int64_t)side->prr_delivered * tcp->ssthresh + side->recover_flight - 1) /
				side->recover_flight -
			side->prr_out;
	} else {
		int64_t limit = VLY_MAX((int64_t)side->prr_delivered - side->prr_out,
					(int64_t)acked->delivered) +
				tcp->mss;

		count = VLY_MIN((int64_t)tcp->ssthresh - pipe, limit);
	}
	/* the fast retransmission itself may always go */
	if (!side->prr_out)
		count = VLY_MAX(count, (int64_t)tcp->mss);
	tcp->cwnd = pipe + (uint32_t)VLY_MAX(count, 0);
}

static void grow(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side, uint32_t bytes)
{
	uint32_t most = VLY_MAX(2 * tcp->snd_wnd, 10u * tcp->mss); /* no use for more */

	if (tcp->cwnd < tcp->ssthresh)
		tcp->cwnd += VLY_MIN(bytes, 2u * tcp->mss);
	else
		inet->tcp->conf.cc->acked(tcp, side, bytes, inet->now);
	tcp->cwnd = VLY_MIN(tcp->cwnd, most);
}

static void end_recovery(struct vly_tcp *tcp, struct vly_side *side)
{
	if (side->recovery == VLY_FAST_RECOVERY)
		tcp->cwnd = tcp->ssthresh;
	side->recovery = VLY_OPEN_WINDOW;
	side->dupacks = 0;
	if (side->reo_persist && --side->reo_persist == 0)
		side->reo_mult = 1;
}

/* The end of a tail-loss probe (RFC 8985, 7.4.2): the tail was lost, and the probe mended it. */
static void tlp_check(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side)
{
	if (side->tlp_out && !vly_seq_before(tcp->snd_una, side->tlp_end))
		side->tlp_out = false;
	(void)inet;
}

/*
 * Nothing was lost: the window is given back. Either all that was sent again has come twice (RFC 3708), or
 * what moved the window was sent before anything was sent again (Eifel, RFC 3522 and 4015).
 */
static void undo(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
		 const struct vly_tcp_acked *acked)
{
	if (!side->undo || !side->undo_sent || (side->undo_rexmits && !acked->is_original))
		return;
	vly_segs_found(&inet->tcp->sides, side);
	side->lost = 0;
	tcp->cwnd = VLY_MAX(tcp->cwnd, side->undo_cwnd);
	tcp->ssthresh = VLY_MAX(tcp->ssthresh, side->undo_ssthresh);
	side->cc = side->undo_cc;
	side->recovery = VLY_OPEN_WINDOW;
	side->dupacks = 0;
	side->undo = false;
	side->reordered = true; /* it was late: the next one is waited for */
	inet->stats.tcp_undo++;
}

void vly_tcp_recover(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
		     const struct vly_tcp_acked *acked, bool was_limited)
{
	uint32_t reo_due = 0;

	undo(inet, tcp, side, acked);
	tlp_check(inet, tcp, side);
	if (side->recovery != VLY_OPEN_WINDOW && !vly_seq_before(tcp->snd_una, side->recover))
		end_recovery(tcp, side);
	if (!(tcp->bits & VLY_TCP_B_SACK))
		newreno_detect(inet, tcp, side, acked);
	else if (side->sacked || side->recovery != VLY_OPEN_WINDOW)
		reo_due = vly_tcp_rack_detect(inet, tcp, side);
	if (side->recovery == VLY_OPEN_WINDOW && side->lost)
		vly_tcp_enter_recovery(inet, tcp, side, VLY_FAST_RECOVERY);
	if (side->recovery == VLY_FAST_RECOVERY)
		prr(tcp, side, acked);
	else if (acked->bytes && (was_limited || side->recovery == VLY_RTO_RECOVERY))
		grow(inet, tcp, side, acked->bytes);
	if (reo_due) {
		side->timer = VLY_SIDE_REO;
		side->reo_due = reo_due;
		vly_tcp_arm(inet, tcp, reo_due);
	} else if (side->timer == VLY_SIDE_REO) {
		side->timer = VLY_SIDE_RTO;
	}
}
