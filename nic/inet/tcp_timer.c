/* tcp_timer.c - the one alarm of a connection: retransmission, probes, delayed ACKs, its end */
#include "nic/inet/tcp.h"

#include <errno.h>

void vly_tcp_arm(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t due)
{
	struct vly_env *env = inet->nic.env;
	struct vly_wheel_node *node = &tcp->head.alarm.node;
	int64_t ticks = (int32_t)(due - inet->now);
	uint64_t due_ns = inet->now_ns + (ticks > 0 ? (uint64_t)ticks << 10 : 0);

	if (vly_wheel_armed(node)) {
		/* Lazily: one that rings early looks again. */
		if (node->deadline_ns <= due_ns)
			return;
		vly_wheel_cancel(&env->wheel, node);
	}
	tcp->head.alarm.kind = VLY_ALARM_NIC;
	vly_wheel_add(&env->wheel, node, due_ns);
}

void vly_tcp_arm_rto(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);
	uint32_t due = tcp->rtx_base + vly_tcp_rto(inet, tcp);

	if (side && side->timer != VLY_SIDE_REO) {
		/* RFC 8985, 7.2 */
		uint32_t pto = inet->now + 2 * (tcp->srtt >> 3) +
			       (side->seg_count <= 1 ? inet->tcp->conf.delack : 2000);

		side->timer = VLY_SIDE_RTO;
		if (tcp->bits & VLY_TCP_B_SACK && tcp->srtt && side->seg_count &&
		    side->recovery == VLY_OPEN_WINDOW && !side->tlp_out && !side->sacked &&
		    vly_tick_before(pto, due)) {
			side->timer = VLY_SIDE_TLP;
			side->reo_due = pto;
			due = pto;
		}
	}
	tcp->bits |= VLY_TCP_B_ARMED;
	vly_tcp_arm(inet, tcp, due);
}

/* --- what may have become due --- */

static uint8_t give_up_after(const struct vly_inet *inet, const struct vly_tcp *tcp)
{
	const struct vly_tcp_conf *conf = &inet->tcp->conf;

	return (uint8_t)(tcp->state <= VLY_TCP_SYN_RECEIVED ? conf->syn_retries : conf->retries);
}

/* One more retry. False: too many, the record is gone. */
static bool count_retry(struct vly_inet *inet, struct vly_tcp *tcp)
{
	if (tcp->retries++ < give_up_after(inet, tcp))
		return true;
	vly_tcp_abort(inet, tcp, -ETIMEDOUT);
	return false;
}

static void resend_only_segment(struct vly_inet *inet, struct vly_tcp *tcp)
{
	bool fin = tcp->head.flags & VLY_F_FIN_SENT;
	uint32_t len = vly_tcp_flight(tcp) - fin;

	if (len > tcp->mss) {
		len = tcp->mss; /* the rest when this was acknowledged */
		fin = false;
	}
	tcp->bits |= VLY_TCP_B_REXMIT;
	if (vly_tcp_emit(inet, tcp, tcp->snd_una, len,
			 (uint8_t)(VLY_TCP_ACK | (fin ? VLY_TCP_FIN : 0))))
		inet->stats.tcp_retransmit++;
	/* one segment was lost: the window of the next flight is small */
	tcp->ssthresh = VLY_MAX(tcp->cwnd / 2, 2u * tcp->mss);
	tcp->cwnd = tcp->mss;
}

/*
 * Whoever reported to have the first one, and did not move on, has given it up (RFC 2018, 8): then it is not
 * believed to have any.
 */
static void all_lost(struct vly_inet *inet, struct vly_side *side)
{
	struct vly_sides *sides = &inet->tcp->sides;
	bool reneged = vly_seg_at(sides, side->seg_head)->flags & VLY_SEG_SACKED;

	for (uint32_t at = side->seg_head; at != VLY_NO_SEG;) {
		struct vly_seg *seg = vly_seg_at(sides, at);

		at = seg->next;
		if (reneged && seg->flags & VLY_SEG_SACKED) {
			seg->flags ^= VLY_SEG_SACKED | VLY_SEG_LOST;
			side->sacked -= seg->end - seg->seq;
			side->lost += seg->end - seg->seq;
		} else {
			vly_tcp_mark_lost(inet, side, seg);
		}
	}
}

static void on_rto(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);

	inet->stats.tcp_rto++;
	if (!count_retry(inet, tcp))
		return;
	vly_hop_doubt(inet, tcp->hop);
	tcp->rtx_base = inet->now;
	if (!side || side->seg_head == VLY_NO_SEG) {
		resend_only_segment(inet, tcp);
	} else {
		all_lost(inet, side);
		vly_tcp_enter_recovery(inet, tcp, side, VLY_RTO_RECOVERY);
		side->timer = VLY_SIDE_RTO;
		vly_tcp_output(inet, tcp);
	}
	vly_tcp_arm_rto(inet, tcp);
}

/* RFC 8985, 7.3: new data if there is any, else the last segment once more. */
static void on_tlp(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side)
{
	uint32_t before = tcp->snd_nxt;

	side->timer = VLY_SIDE_RTO;
	side->tlp_out = true;
	side->tlp_rexmit = false;
	side->tlp_ts = vly_tcp_ts_now(inet);
	inet->stats.tcp_tlp++;
	vly_tcp_output(inet, tcp);
	struct vly_seg *last =
		side->seg_tail == VLY_NO_SEG ? NULL : vly_seg_at(&inet->tcp->sides, side->seg_tail);

	/* what the peer has meanwhile needs no probe, and what is lost goes as such */
	if (tcp->snd_nxt == before && last && !(last->flags & (VLY_SEG_SACKED | VLY_SEG_LOST))) {
		bool fin = last->flags & VLY_SEG_FIN;

		if (vly_tcp_emit(inet, tcp, last->seq, last->end - last->seq - fin,
				 (uint8_t)(VLY_TCP_ACK | (fin ? VLY_TCP_FIN : 0)))) {
			vly_seg_sent(&inet->tcp->sides, side, last, inet->now);
			side->tlp_rexmit = true;
			inet->stats.tcp_retransmit++;
		}
	}
	side->tlp_end = tcp->snd_nxt;
	vly_tcp_arm_rto(inet, tcp);
}

static void on_reo(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side)
{
	uint32_t due = vly_tcp_rack_detect(inet, tcp, side);

	side->timer = VLY_SIDE_RTO;
	if (side->lost && side->recovery == VLY_OPEN_WINDOW) {
		vly_tcp_enter_recovery(inet, tcp, side, VLY_FAST_RECOVERY);
		/* what left the network pays for the first retransmission */
		tcp->cwnd = vly_tcp_flight(tcp) - side->sacked - side->lost + tcp->mss;
	}
	vly_tcp_output(inet, tcp);
	if (due) {
		side->timer = VLY_SIDE_REO;
		side->reo_due = due;
		vly_tcp_arm(inet, tcp, due);
	} else {
		vly_tcp_arm_rto(inet, tcp);
	}
}

/* --- a shut window --- */

void vly_tcp_persist(struct vly_inet *inet, struct vly_tcp *tcp)
{
	tcp->bits |= VLY_TCP_B_PERSIST;
	tcp->bits &= (uint16_t)~VLY_TCP_B_PROBED;
	tcp->retries = 0;
	tcp->rtx_base = inet->now;
	vly_tcp_arm(inet, tcp, inet->now + vly_tcp_rto(inet, tcp));
}

/*
 * A probe is one byte that the window forbids: the answer tells the window. It is not in flight: the
 * byte is sent again with the rest. Answered probes go on for ever (RFC 9293, 3.8.6.1).
 */
static void on_persist(struct vly_inet *inet, struct vly_tcp *tcp)
{
	uint32_t limit = inet->tcp->conf.retries;

	inet->stats.tcp_persist++;
	if (tcp->bits & VLY_TCP_B_PROBED)
		vly_hop_doubt(inet, tcp->hop); /* the last probe was not answered */
	tcp->bits |= VLY_TCP_B_PROBED;
	tcp->retries = (uint8_t)VLY_MIN(tcp->retries + 1u, limit);
	tcp->rtx_base = inet->now;
	vly_tcp_emit(inet, tcp, tcp->snd_nxt - 1, 0, VLY_TCP_ACK);
	vly_tcp_arm(inet, tcp, inet->now + vly_tcp_rto(inet, tcp));
}

/* --- keep-alive --- */

/* Idle is who has received nothing since the last look: rcv_nxt stands where it stood. */
static void on_idle(struct vly_inet *inet, struct vly_tcp *tcp)
{
	const struct vly_tcp_conf *conf = &inet->tcp->conf;

	if (!conf->keepalive || tcp->bits & VLY_TCP_B_CLOSE_DUE || tcp->state < VLY_TCP_ESTABLISHED)
		return;
	if (tcp->close_due != tcp->rcv_nxt || vly_tcp_flight(tcp)) {
		tcp->close_due = tcp->rcv_nxt;
		tcp->bits &= (uint16_t)~VLY_TCP_B_PROBED;
		tcp->retries = vly_tcp_flight(tcp) ? tcp->retries : 0;
		tcp->rtx_base = vly_tcp_flight(tcp) ? tcp->rtx_base : inet->now;
		vly_tcp_arm(inet, tcp, inet->now + conf->keepalive);
		return;
	}
	if (vly_tick_before(inet->now,
			    tcp->rtx_base + (tcp->bits & VLY_TCP_B_PROBED ? conf->keepalive_interval
									  : conf->keepalive))) {
		vly_tcp_arm(inet, tcp, tcp->rtx_base + conf->keepalive);
		return;
	}
	if (tcp->bits & VLY_TCP_B_PROBED)
		vly_hop_doubt(inet, tcp->hop);
	tcp->bits |= VLY_TCP_B_PROBED;
	tcp->rtx_base = inet->now;
	if (tcp->retries++ == VLY_TCP_KEEPALIVE_PROBES) {
		vly_tcp_abort(inet, tcp, -ETIMEDOUT);
		return;
	}
	inet->stats.tcp_keepalive++;
	vly_tcp_emit(inet, tcp, tcp->snd_nxt - 1, 0, VLY_TCP_ACK);
	vly_tcp_arm(inet, tcp, inet->now + conf->keepalive_interval);
}

/* --- the alarm --- */

static void handshake_due(struct vly_inet *inet, struct vly_tcp *tcp)
{
	uint32_t due = tcp->rtx_base + vly_tcp_rto(inet, tcp);

	if (!vly_tick_before(inet->now, due)) {
		if (!count_retry(inet, tcp))
			return;
		vly_hop_doubt(inet, tcp->hop);
		tcp->rtx_base = inet->now;
		tcp->bits |= VLY_TCP_B_REXMIT;
		inet->stats.tcp_retransmit++;
		vly_tcp_send_syn(inet, tcp);
		due = inet->now + vly_tcp_rto(inet, tcp);
	}
	vly_tcp_arm(inet, tcp, due);
}

static void transmission_due(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_side *side = vly_tcp_side(inet, tcp);
	uint32_t due = tcp->rtx_base + vly_tcp_rto(inet, tcp);

	if (side && side->timer != VLY_SIDE_RTO && vly_tick_before(side->reo_due, due)) {
		due = side->reo_due;
		if (vly_tick_before(inet->now, due))
			vly_tcp_arm(inet, tcp, due);
		else if (side->timer == VLY_SIDE_TLP)
			on_tlp(inet, tcp, side);
		else
			on_reo(inet, tcp, side);
	} else if (vly_tick_before(inet->now, due)) {
		tcp->bits |= VLY_TCP_B_ARMED;
		vly_tcp_arm(inet, tcp, due);
	} else {
		on_rto(inet, tcp);
	}
}

void vly_tcp_alarm(struct vly_inet *inet, struct vly_tcp *tcp)
{
	tcp->bits &= (uint16_t)~VLY_TCP_B_ARMED;
	if (tcp->state == VLY_TCP_SYN_SENT || tcp->state == VLY_TCP_SYN_RECEIVED) {
		handshake_due(inet, tcp);
		return;
	}
	if (tcp->bits & VLY_TCP_B_CLOSE_DUE) {
		if (!vly_tick_before(inet->now, tcp->close_due)) {
			vly_tcp_abort(inet, tcp, -ETIMEDOUT);
			return;
		}
		vly_tcp_arm(inet, tcp, tcp->close_due);
	}
	/* Early is as good as in time. */
	if (tcp->bits & VLY_TCP_B_DELACK) {
		tcp->bits &= (uint16_t)~VLY_TCP_B_TALKS; /* it waited in vain */
		vly_tcp_send_ack(inet, tcp);
	}
	if (tcp->bits & VLY_TCP_B_PERSIST) {
		uint32_t due = tcp->rtx_base + vly_tcp_rto(inet, tcp);

		if (vly_tick_before(inet->now, due))
			vly_tcp_arm(inet, tcp, due);
		else
			on_persist(inet, tcp);
	} else if (vly_tcp_flight(tcp)) {
		transmission_due(inet, tcp);
	} else {
		on_idle(inet, tcp);
	}
}
