/* tcp_input.c - a received segment, whatever it is: RFC 9293, 3.10.7, in its order */
#include "nic/inet/tcp.h"

#include <errno.h>

#include "nic/inet/handover.h"

/* --- options of the handshake --- */

/* What the peer's SYN offers, held against what we offer. */
static void negotiate(struct vly_inet *inet, struct vly_tcp *tcp,
		      const struct vly_tcp_options *options)
{
	const struct vly_tcp_conf *conf = &inet->tcp->conf;
	uint32_t mss = options->has & VLY_TCP_HAS_MSS ? options->mss : VLY_TCP_MSS_DEFAULT;

	tcp->wscale = 0;
	if (options->has & VLY_TCP_HAS_WSCALE)
		tcp->wscale = (uint8_t)(conf->wscale << 4 | options->wscale);
	if (options->has & VLY_TCP_HAS_SACK_PERMITTED && conf->sack)
		tcp->bits |= VLY_TCP_B_SACK;
	vly_tcp_set_mss(inet, tcp, mss);
	if (options->has & VLY_TCP_HAS_TIMESTAMPS && conf->timestamps) {
		tcp->bits |= VLY_TCP_B_TS;
		tcp->ts_recent = options->ts_value;
		tcp->mss = (uint16_t)(tcp->mss - VLY_TCP_TS_BYTES);
	}
}

void vly_tcp_set_mss(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t mss)
{
	mss = VLY_MAX(mss, VLY_TCP_MSS_MIN);
	if (inet->wire->tso_mss)
		mss = VLY_MIN(mss, (uint32_t)inet->wire->tso_mss);
	tcp->mss = (uint16_t)VLY_MIN(mss, vly_tcp_own_mss(inet, tcp->hop));
}

void vly_tcp_established(struct vly_inet *inet, struct vly_tcp *tcp)
{
	tcp->state = VLY_TCP_ESTABLISHED;
	tcp->retries = 0;
	tcp->cwnd = inet->tcp->conf.cwnd_init * tcp->mss;
	tcp->ssthresh = UINT32_MAX;
	vly_wheel_cancel(&inet->nic.env->wheel, &tcp->head.alarm.node);
	tcp->bits &= (uint16_t) ~(VLY_TCP_B_REXMIT | VLY_TCP_B_ARMED);
	if (inet->tcp->conf.keepalive) {
		tcp->close_due = tcp->rcv_nxt;
		tcp->rtx_base = inet->now;
		vly_tcp_arm(inet, tcp, inet->now + inet->tcp->conf.keepalive);
	}
}

static void connected(struct vly_inet *inet, struct vly_tcp *tcp)
{
	struct vly_env *env = inet->nic.env;

	if (!(tcp->bits & VLY_TCP_B_REXMIT))
		vly_tcp_rtt(tcp, inet->now - tcp->rtx_base);
	vly_tcp_established(inet, tcp);
	tcp->head.state = VLY_OPENED;
	vly_count(&env->stats->connected, 1);
	vly_batch_add_conn(&env->batch, &tcp->head, VLY_OPEN);
}

/* 3.10.7.3 */
static void syn_sent_in(struct vly_inet *inet, struct vly_tcp *tcp,
			const struct vly_tcp_segment *segment)
{
	const struct vly_tcp_view *view = &segment->view;
	bool ack = view->flags & VLY_TCP_ACK;

	if (ack && view->ack != tcp->snd_nxt) {
		vly_tcp_reset(inet, segment);
		return;
	}
	if (view->flags & VLY_TCP_RST) {
		if (ack)
			vly_tcp_let_go(inet, tcp, -ECONNREFUSED, false);
		return;
	}
	if (!(view->flags & VLY_TCP_SYN))
		return;
	tcp->rcv_nxt = view->seq + 1;
	negotiate(inet, tcp, &segment->options);
	tcp->snd_wnd = view->window; /* of a SYN: not scaled */
	if (!ack) {
		/* simultaneous open */
		tcp->state = VLY_TCP_SYN_RECEIVED;
		vly_tcp_send_syn(inet, tcp);
		return;
	}
	tcp->snd_una = view->ack;
	connected(inet, tcp);
	/* at once: the peer's retransmission timer is running */
	vly_tcp_send_ack(inet, tcp);
}

/* --- the window --- */

/* 3.10.7.4, first: whether any of it lies in the window. */
static bool in_window(const struct vly_tcp *tcp, uint32_t window, const struct vly_tcp_view *view)
{
	uint32_t len =
		view->payload_bytes + !!(view->flags & VLY_TCP_FIN) + !!(view->flags & VLY_TCP_SYN);
	uint32_t edge = tcp->rcv_nxt + window;

	if (!len)
		return view->seq == tcp->rcv_nxt || (!vly_seq_before(view->seq, tcp->rcv_nxt) &&
						     vly_seq_before(view->seq, edge));
	return vly_seq_before(view->seq, edge) && vly_seq_after(view->seq + len, tcp->rcv_nxt) &&
	       (window || view->seq == tcp->rcv_nxt);
}

static void challenge(struct vly_inet *inet, struct vly_tcp *tcp)
{
	if (vly_tcp_may_challenge(inet))
		vly_tcp_send_ack(inet, tcp);
}

/* RFC 5961, 3.2: only the exact number resets; the rest of the window is asked to prove itself. */
static void reset_in(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t window,
		     const struct vly_tcp_view *view)
{
	if (view->seq == tcp->rcv_nxt) {
		vly_tcp_let_go(inet, tcp,
			       tcp->head.state == VLY_CONNECTING ? -ECONNREFUSED : -ECONNRESET,
			       false);
		return;
	}
	inet->stats.tcp_reset_bad++;
	if (in_window(tcp, window, view))
		challenge(inet, tcp);
}

/* RFC 7323, 5.3, R1. False: older than what was seen. */
static bool is_recent(struct vly_inet *inet, const struct vly_tcp *tcp,
		      const struct vly_tcp_segment *segment)
{
	if (!(tcp->bits & VLY_TCP_B_TS) || !(segment->options.has & VLY_TCP_HAS_TIMESTAMPS) ||
	    !vly_seq_before(segment->options.ts_value, tcp->ts_recent))
		return true;
	inet->stats.tcp_paws++;
	return false;
}

/* R3: after the window's test (R2), or anybody could write a time that makes all others old. */
static void keep_time(struct vly_tcp *tcp, const struct vly_tcp_segment *segment)
{
	if (tcp->bits & VLY_TCP_B_TS && segment->options.has & VLY_TCP_HAS_TIMESTAMPS &&
	    !vly_seq_after(segment->view.seq, tcp->rcv_nxt))
		tcp->ts_recent = segment->options.ts_value;
}

/* Cuts off what was received before, and what the window does not reach. */
static void trim(const struct vly_tcp *tcp, uint32_t window, struct vly_tcp_segment *segment)
{
	const struct vly_tcp_view *view = &segment->view;
	uint32_t edge = tcp->rcv_nxt + window;

	segment->seq = view->seq;
	segment->len = view->payload_bytes;
	segment->data = view->payload;
	segment->fin = view->flags & VLY_TCP_FIN;
	if (vly_seq_before(segment->seq, tcp->rcv_nxt)) {
		uint32_t old = VLY_MIN(tcp->rcv_nxt - segment->seq, segment->len);

		segment->seq += old;
		segment->data += old;
		segment->len -= old;
	}
	if (segment->len && vly_seq_after(segment->seq + segment->len, edge)) {
		segment->len = vly_seq_before(segment->seq, edge) ? edge - segment->seq : 0;
		segment->fin = false;
	}
}

/* Data that was received before: not so old that nobody can have sent it again. */
static bool is_repeated(const struct vly_inet *inet, const struct vly_tcp *tcp,
			const struct vly_tcp_view *view)
{
	uint32_t end = view->seq + view->payload_bytes;

	return !vly_seq_after(end, tcp->rcv_nxt) &&
	       tcp->rcv_nxt - view->seq <= inet->tcp->conf.window;
}

/* Not acceptable: answered, unless that could go on for ever. */
static void answer_old(struct vly_inet *inet, struct vly_tcp *tcp, const struct vly_tcp_view *view)
{
	inet->stats.tcp_out_of_window++;
	if (view->payload_bytes && is_repeated(inet, tcp, view))
		vly_tcp_send_dup_ack(inet, tcp, view->seq, view->seq + view->payload_bytes);
	else if (view->payload_bytes || view->flags & (VLY_TCP_FIN | VLY_TCP_SYN) ||
		 view->seq == tcp->rcv_nxt - 1)
		vly_tcp_send_ack(inet, tcp);
	else
		challenge(inet, tcp);
}

/* --- all other states --- */

/*
 * A shut window takes nothing, but ACKs count (RFC 9293, 3.10.7.4): a peer that has sent into the
 * window before it shut goes on from there.
 */
static bool only_acks(const struct vly_inet *inet, const struct vly_tcp *tcp, uint32_t window,
		      struct vly_tcp_segment *segment)
{
	const struct vly_tcp_view *view = &segment->view;

	if (window || (view->flags & (VLY_TCP_ACK | VLY_TCP_SYN)) != VLY_TCP_ACK ||
	    view->seq - tcp->rcv_nxt > inet->tcp->conf.window)
		return false;
	segment->seq = tcp->rcv_nxt;
	segment->len = 0;
	segment->fin = false;
	return true;
}

/* The checks before the ACK is looked at. False: that was all. */
static bool checks(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_tcp_segment *segment)
{
	const struct vly_tcp_view *view = &segment->view;
	uint32_t window = vly_tcp_rcv_wnd(inet, tcp);

	if (view->flags & VLY_TCP_RST) {
		reset_in(inet, tcp, window, view);
		return false;
	}
	if (!is_recent(inet, tcp, segment)) {
		answer_old(inet, tcp, view);
		return false;
	}
	if (!in_window(tcp, window, view)) {
		answer_old(inet, tcp, view);
		return only_acks(inet, tcp, window, segment);
	}
	if (view->flags & VLY_TCP_SYN) {
		/* RFC 5961, 4: a peer that has restarted answers the challenge by a reset */
		challenge(inet, tcp);
		return false;
	}
	if (!(view->flags & VLY_TCP_ACK))
		return false;
	keep_time(tcp, segment);
	trim(tcp, window, segment);
	return true;
}

static bool takes_data(const struct vly_tcp *tcp)
{
	return tcp->state == VLY_TCP_ESTABLISHED || tcp->state == VLY_TCP_FIN_WAIT_1 ||
	       tcp->state == VLY_TCP_FIN_WAIT_2;
}

void vly_tcp_segment_in(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_tcp_segment *segment)
{
	if (tcp->state == VLY_TCP_SYN_SENT) {
		syn_sent_in(inet, tcp, segment);
		return;
	}
	if (!checks(inet, tcp, segment))
		return;
	if (tcp->state == VLY_TCP_SYN_RECEIVED) {
		if (segment->view.ack != tcp->snd_nxt) {
			vly_tcp_reset(inet, segment);
			return;
		}
		tcp->snd_una = segment->view.ack;
		tcp->snd_wnd = (uint32_t)segment->view.window << (tcp->wscale & 15);
		connected(inet, tcp);
	}
	if (!vly_tcp_ack_in(inet, tcp, segment))
		return;
	if ((segment->len || segment->fin) && takes_data(tcp)) {
		vly_tcp_data_in(inet, tcp, segment);
		if (tcp->head.state == VLY_DEAD)
			return;
	}
	if (tcp->head.tx_bytes || tcp->head.flags & VLY_F_SHUT || tcp->bits & VLY_TCP_B_SIDE)
		vly_tcp_output(inet, tcp);
	vly_tcp_drop_side(inet, tcp);
}

/* --- whom it is for --- */

static void no_flow(struct vly_inet *inet, const struct vly_flow_key *key,
		    struct vly_tcp_segment *segment)
{
	const struct vly_tcp_view *view = &segment->view;
	struct vly_tcp *listener =
		vly_tcp_find_listener(inet, segment->ip->dst, htons(view->dst_port));

	bool syn = (view->flags & (VLY_TCP_SYN | VLY_TCP_ACK | VLY_TCP_RST)) == VLY_TCP_SYN;
	bool ack = (view->flags & (VLY_TCP_ACK | VLY_TCP_RST)) == VLY_TCP_ACK;

	if (listener && ack && vly_tcp_cookie_in(inet, listener, segment))
		return;
	/* With several cores: it may be another's. */
	if (vly_hand_tcp(inet, key, syn, listener))
		return;
	if (listener && syn) {
		vly_tcp_syn_in(inet, listener, segment);
		return;
	}
	/* 3.10.7.1 and 3.10.7.2 */
	inet->stats.tcp_no_flow += !listener;
	if (!listener || ack)
		vly_tcp_reset(inet, segment);
}

void vly_tcp_packet(struct vly_inet *inet, const struct vly_ipv4_view *ip, uint16_t frame_flags)
{
	struct vly_tcp_segment segment = {.ip = ip};
	enum vly_inet_drop drop =
		frame_flags & VLY_FRAME_BAD
			? VLY_DROP_TCP_CHECKSUM
			: vly_tcp_parse(ip, !(frame_flags & VLY_FRAME_CHECKED), &segment.view);

	if (!drop)
		drop = vly_tcp_options_parse(segment.view.options,
					     segment.view.header_bytes - VLY_TCP_BYTES,
					     segment.view.flags & VLY_TCP_SYN, &segment.options);
	if (drop) {
		inet->drops[drop]++;
		return;
	}
	struct vly_flow_key key = {ip->src, ip->dst, htons(segment.view.src_port),
				   htons(segment.view.dst_port)};
	struct vly_mini *mini;
	struct vly_tcp *tcp = vly_tcp_find(inet, &key, &mini);

	inet->stats.tcp_slow++;
	if (tcp)
		vly_tcp_segment_in(inet, tcp, &segment);
	else if (mini)
		vly_tcp_mini_in(inet, mini, &segment);
	else
		no_flow(inet, &key, &segment);
}

/* --- what ICMP tells --- */

/* A connection whose segment `seq` the message can be about; anybody can write such messages. */
static struct vly_tcp *quoted(struct vly_inet *inet, const struct vly_flow_key *key, uint32_t seq)
{
	struct vly_mini *mini;
	struct vly_tcp *tcp = vly_tcp_find(inet, key, &mini);

	if (!tcp || tcp->head.type != VLY_STREAM || seq - tcp->snd_una >= vly_tcp_flight(tcp))
		return NULL;
	return tcp;
}

void vly_tcp_frag_needed(struct vly_inet *inet, const struct vly_flow_key *key, uint32_t seq,
			 uint32_t mtu)
{
	struct vly_tcp *tcp = quoted(inet, key, seq);
	uint32_t headers = VLY_IPV4_BYTES + VLY_TCP_BYTES;

	if (!tcp || tcp->state < VLY_TCP_ESTABLISHED)
		return;
	headers += tcp->bits & VLY_TCP_B_TS ? VLY_TCP_TS_BYTES : 0;
	uint32_t mss = VLY_MAX(mtu, headers + VLY_TCP_MSS_MIN) - headers;

	if (mss >= tcp->mss)
		return;
	tcp->mss = (uint16_t)mss;
	struct vly_side *side = vly_tcp_begin_scoreboard(inet, tcp);

	if (!side)
		return; /* the retransmission timer sends smaller ones */
	for (uint32_t at = side->seg_head; at != VLY_NO_SEG;) {
		struct vly_seg *seg = vly_seg_at(&inet->tcp->sides, at);

		at = seg->next;
		if (seg->end - seg->seq > mss)
			vly_tcp_mark_lost(inet, side, seg);
	}
	/* too large is not too much: the congestion window stays */
	vly_tcp_output(inet, tcp);
}

void vly_tcp_unreachable(struct vly_inet *inet, const struct vly_flow_key *key, uint32_t seq,
			 int error)
{
	struct vly_tcp *tcp = quoted(inet, key, seq);

	/* an established one may outlive it (RFC 9293, 3.9.2.2) */
	if (tcp && tcp->state == VLY_TCP_SYN_SENT)
		vly_tcp_let_go(inet, tcp, error, false);
}
