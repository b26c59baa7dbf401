/* tcp_accept.c - passive opens: half-open minis, SYN cookies, waiting for a record, TIME-WAIT */
#include "nic/inet/tcp.h"

#include <string.h>

#include "nic/inet/handover.h"
#include "nic/inet/isn.h"

static uint32_t name_of(const struct vly_minis *minis, const struct vly_mini *mini)
{
	return VLY_FLOW_MINI | (1 + vly_mini_index(minis, mini));
}

static struct vly_tcp *listener_of(const struct vly_inet *inet, const struct vly_mini *mini)
{
	return vly_tcp_at(inet, mini->listener);
}

static void count_out(struct vly_inet *inet, const struct vly_mini *mini)
{
	if (mini->list < VLY_MINI_WAITING)
		listener_of(inet, mini)->lst_half--;
	else if (mini->list == VLY_MINI_WAITING)
		listener_of(inet, mini)->lst_full--;
}

void vly_tcp_mini_end(struct vly_inet *inet, struct vly_mini *mini)
{
	struct vly_minis *minis = &inet->tcp->minis;

	if (!mini)
		return;
	count_out(inet, mini);
	vly_flow_remove(&inet->flows, mini->hash, name_of(minis, mini));
	vly_hand_flow(inet, &mini->key, -1);
	if (mini->hop != VLY_NO_HOP)
		vly_hop_put(inet, mini->hop);
	vly_mini_put(minis, mini);
}

void vly_tcp_minis_drop(struct vly_inet *inet, struct vly_tcp *listener)
{
	struct vly_minis *minis = &inet->tcp->minis;

	for (unsigned list = 0; list < VLY_MINI_TIME_WAIT; list++) {
		uint32_t at = minis->lists[list].head;

		while (at != VLY_NO_MINI) {
			struct vly_mini *mini = vly_mini_at(minis, at);

			at = mini->next;
			if (mini->listener != vly_conn_index(&listener->head))
				continue;
			/* nobody is forgotten: who was let into the backlog is turned away */
			vly_tcp_reply_send(inet, &(struct vly_tcp_reply){
							 .key = mini->key,
							 .hop = mini->hop,
							 .seq = mini->iss + 1,
							 .ack = mini->rcv_nxt,
							 .flags = VLY_TCP_RST | VLY_TCP_ACK,
						 });
			inet->stats.tcp_reset_sent++;
			vly_tcp_mini_end(inet, mini);
		}
	}
}

/* --- SYN-ACKs --- */

static bool send_syn_ack(struct vly_inet *inet, const struct vly_mini *mini)
{
	const struct vly_tcp_conf *conf = &inet->tcp->conf;
	uint8_t options[VLY_TCP_OPTIONS_BYTES_MAX];
	struct vly_tcp_offer offer = {
		.mss = vly_tcp_own_mss(inet, mini->hop),
		.wscale_on = mini->wscale != VLY_MINI_NO_WSCALE,
		.wscale = conf->wscale,
		.sack = mini->sack,
		.ts = mini->ts,
		.ts_value = vly_tcp_ts_now(inet),
		.ts_echo = mini->ts_recent,
	};

	return vly_tcp_reply_send(inet, &(struct vly_tcp_reply){
						.key = mini->key,
						.hop = mini->hop,
						.seq = mini->iss,
						.ack = mini->rcv_nxt,
						.window = (uint16_t)VLY_MIN(conf->window, 65535u),
						.flags = VLY_TCP_SYN | VLY_TCP_ACK,
						.options = options,
						.options_len = vly_tcp_offer_write(options, &offer),
					});
}

/*
 * The first one, of a mini that is in no list. If it cannot go, it is as good as lost, and would be sent a second
 * later: rather it goes as soon as it can.
 */
static void first_syn_ack(struct vly_inet *inet, struct vly_mini *mini)
{
	struct vly_tcp_core *core = inet->tcp;
	bool sent = send_syn_ack(inet, mini);

	if (!sent && inet->hops.table[mini->hop].state != VLY_HOP_ASKING)
		core->minis_blocked = true;
	mini->sent = inet->now ? inet->now : 1;
	mini->due = inet->now + core->conf.rto_init;
	vly_mini_list(&core->minis, mini, sent ? VLY_MINI_SYN : VLY_MINI_UNSENT);
	vly_tcp_minis_watch(inet, mini->due);
}

void vly_tcp_send_syn_acks(struct vly_inet *inet)
{
	struct vly_tcp_core *core = inet->tcp;
	uint32_t at = core->minis.lists[VLY_MINI_UNSENT].head;
	uint32_t last = core->minis.lists[VLY_MINI_UNSENT].tail;

	if (!core->minis_blocked && core->minis_learned == inet->hops.learned)
		return;
	core->minis_blocked = false;
	core->minis_learned = inet->hops.learned;
	for (bool more = at != VLY_NO_MINI; more;) {
		struct vly_mini *mini = vly_mini_at(&core->minis, at);

		more = at != last; /* who comes back waits for the next time */
		at = mini->next;
		if (inet->hops.table[mini->hop].state == VLY_HOP_ASKING)
			continue;
		if (!vly_out_frame(inet)) {
			core->minis_blocked = true;
			return;
		}
		vly_mini_unlist(&core->minis, mini);
		first_syn_ack(inet, mini);
	}
}

/* What a SYN says, into a mini that is in no table. */
static void mini_fill(struct vly_inet *inet, struct vly_mini *mini,
		      const struct vly_tcp_segment *segment)
{
	const struct vly_tcp_conf *conf = &inet->tcp->conf;
	const struct vly_tcp_options *options = &segment->options;
	const struct vly_tcp_view *view = &segment->view;

	mini->key = (struct vly_flow_key){segment->ip->src, segment->ip->dst, htons(view->src_port),
					  htons(view->dst_port)};
	mini->hash = vly_flow_hash_tcp(inet, &mini->key);
	mini->rcv_nxt = view->seq + 1;
	mini->snd_wnd = view->window;
	mini->mss = options->has & VLY_TCP_HAS_MSS ? options->mss : (uint16_t)VLY_TCP_MSS_DEFAULT;
	mini->wscale = options->has & VLY_TCP_HAS_WSCALE ? options->wscale : VLY_MINI_NO_WSCALE;
	mini->sack = options->has & VLY_TCP_HAS_SACK_PERMITTED && conf->sack;
	mini->ts = options->has & VLY_TCP_HAS_TIMESTAMPS && conf->timestamps;
	mini->ts_recent = options->ts_value;
	mini->hop = VLY_NO_HOP;
}

/* --- cookies --- */

/*
 * The classic scheme (D. J. Bernstein; RFC 4987, 3.6): a keyed hash of the addresses, the peer's number
 * and a counter of 64 s in the upper bits, 3 bits for the MSS. With timestamps the lowest 6 bits of
 * ours remember window scale and SACK, else the connection does without.
 */
static const uint16_t cookie_mss[8] = {88, 536, 1220, 1400, 1440, 1452, 1460, 8960};

#define COOKIE_MSS_BITS 3
#define COOKIE_AGE_MAX 2 /* counters: 128 s at most */

static uint32_t cookie_count(const struct vly_inet *inet)
{
	return (uint32_t)(inet->now_ns >> 36); /* 68.7 s */
}

static uint32_t cookie_hash(const struct vly_inet *inet, const struct vly_flow_key *key,
			    uint32_t irs, uint32_t count, uint32_t mss_index)
{
	struct {
		struct vly_flow_key key;
		uint32_t irs, count, mss_index;
	} input = {*key, irs, count, mss_index};

	return (uint32_t)vly_siphash24(&inet->secret, &input, sizeof(input));
}

static uint32_t cookie_make(const struct vly_inet *inet, const struct vly_mini *mini)
{
	uint32_t index = 7;

	while (index && cookie_mss[index] > mini->mss)
		index--;
	uint32_t hash = cookie_hash(inet, &mini->key, mini->rcv_nxt, cookie_count(inet), index);

	return hash << COOKIE_MSS_BITS | index;
}

static void send_cookie(struct vly_inet *inet, const struct vly_tcp_segment *segment)
{
	const struct vly_tcp_conf *conf = &inet->tcp->conf;
	uint8_t options[VLY_TCP_OPTIONS_BYTES_MAX];
	struct vly_mini mini = {0};

	mini_fill(inet, &mini, segment);
	/* what cannot be remembered is not offered */
	bool all = mini.ts;
	uint32_t memory = (mini.wscale & 15) | (uint32_t)mini.sack << 4;
	struct vly_tcp_offer offer = {
		.mss = vly_tcp_own_mss(inet, VLY_NO_HOP),
		.wscale_on = all && mini.wscale != VLY_MINI_NO_WSCALE,
		.wscale = conf->wscale,
		.sack = all && mini.sack,
		.ts = mini.ts,
		/* never of the future: the peer would hold our first data for older (PAWS) */
		.ts_value = ((vly_tcp_ts_now(inet) - memory) & ~63u) | memory,
		.ts_echo = mini.ts_recent,
	};

	inet->stats.tcp_cookie_sent++;
	vly_tcp_reply_send(inet, &(struct vly_tcp_reply){
					 .key = mini.key,
					 .hop = VLY_NO_HOP,
					 .seq = cookie_make(inet, &mini),
					 .ack = mini.rcv_nxt,
					 .window = (uint16_t)VLY_MIN(conf->window, 65535u),
					 .flags = VLY_TCP_SYN | VLY_TCP_ACK,
					 .options = options,
					 .options_len = vly_tcp_offer_write(options, &offer),
				 });
}

/* Fills `mini` from an ACK that proves a cookie of ours. */
static bool cookie_check(struct vly_inet *inet, struct vly_mini *mini,
			 const struct vly_tcp_segment *segment)
{
	uint32_t cookie = segment->view.ack - 1, irs = segment->view.seq;
	uint32_t index = cookie & ((1u << COOKIE_MSS_BITS) - 1);

	mini_fill(inet, mini, segment);
	mini->rcv_nxt = irs;
	for (uint32_t age = 0; age < COOKIE_AGE_MAX; age++) {
		uint32_t hash = cookie_hash(inet, &mini->key, irs, cookie_count(inet) - age, index);

		if ((hash << COOKIE_MSS_BITS | index) != cookie)
			continue;
		uint32_t memory = segment->options.ts_echo;

		mini->mss = cookie_mss[index];
		mini->iss = cookie;
		mini->sack = mini->ts && memory >> 4 & 1;
		mini->wscale = mini->ts && (memory & 15) <= VLY_TCP_WSCALE_MAX ? memory & 15
									       : VLY_MINI_NO_WSCALE;
		return true;
	}
	return false;
}

/* --- becoming a connection --- */

/* Takes a record for what a mini says; NULL: none is free. The mini is the caller's. */
static struct vly_tcp *promote(struct vly_inet *inet, struct vly_mini *mini,
			       struct vly_tcp *listener)
{
	struct vly_env *env = inet->nic.env;
	struct vly_conn_head *head = vly_conn_take(&env->conns, VLY_STREAM, VLY_OPENED,
						   listener->head.user, listener->head.tx_budget);
	if (!head)
		return NULL;
	struct vly_tcp *tcp = vly_tcp_of(head);
	bool scaled = mini->wscale != VLY_MINI_NO_WSCALE;

	tcp->raddr = mini->key.raddr;
	tcp->laddr = mini->key.laddr;
	tcp->rport = mini->key.rport;
	tcp->lport = mini->key.lport;
	tcp->hop = mini->hop;
	mini->hop = VLY_NO_HOP;
	tcp->snd_una = tcp->snd_nxt = mini->iss + 1;
	tcp->rcv_nxt = mini->rcv_nxt;
	tcp->snd_wnd = mini->snd_wnd;
	tcp->wscale = (uint8_t)(scaled ? inet->tcp->conf.wscale << 4 | mini->wscale : 0);
	tcp->ts_recent = mini->ts_recent;
	vly_tcp_set_mss(inet, tcp, mini->mss);
	if (mini->ts) {
		tcp->bits |= VLY_TCP_B_TS;
		tcp->mss = (uint16_t)(tcp->mss - VLY_TCP_TS_BYTES);
	}
	if (mini->sack)
		tcp->bits |= VLY_TCP_B_SACK;
	if (mini->list == VLY_MINI_SYN && mini->sent)
		vly_tcp_rtt(tcp, inet->now - mini->sent);
	vly_tcp_established(inet, tcp);
	return tcp;
}

/* The record takes the mini's place in the table. */
static void replace(struct vly_inet *inet, struct vly_mini *mini, struct vly_tcp *tcp)
{
	struct vly_env *env = inet->nic.env;
	struct vly_flow_key key = mini->key;
	uint32_t hash = mini->hash;

	vly_tcp_mini_end(inet, mini);
	vly_flow_insert(&inet->flows, hash,
			1 + vly_conn_index(&tcp->head)); /* one has just left it */
	vly_hand_flow(inet, &key, 1);
	tcp->bits |= VLY_TCP_B_FLOW;
	vly_count(&env->stats->accepted, 1);
	vly_batch_add_conn(&env->batch, &tcp->head, VLY_OPEN)->flags = VLY_ACCEPTED;
}

void vly_tcp_accept_waiting(struct vly_inet *inet)
{
	struct vly_env *env = inet->nic.env;
	struct vly_minis *minis = &inet->tcp->minis;

	while (env->conns.slab.free_count && env->batch.count + 1 < env->batch.max) {
		struct vly_mini *mini = vly_mini_first(minis, VLY_MINI_WAITING);

		if (!mini)
			return;
		struct vly_tcp *tcp = promote(inet, mini, listener_of(inet, mini));

		replace(inet, mini, tcp);
		/* what it has sent meanwhile was dropped: it learns that we are ready */
		vly_tcp_owe_ack(inet, tcp, VLY_TCP_B_ACK_NOW);
	}
}

/* The third segment of a handshake. */
static void handshake_done(struct vly_inet *inet, struct vly_mini *mini,
			   struct vly_tcp_segment *segment)
{
	struct vly_minis *minis = &inet->tcp->minis;
	struct vly_tcp *listener = listener_of(inet, mini);
	uint32_t shift = mini->wscale == VLY_MINI_NO_WSCALE ? 0 : mini->wscale;

	mini->snd_wnd = (uint32_t)segment->view.window << shift;
	struct vly_tcp *tcp = promote(inet, mini, listener);

	if (tcp) {
		replace(inet, mini, tcp);
		vly_tcp_segment_in(inet, tcp, segment);
		return;
	}
	vly_count(&inet->nic.env->stats->accept_full, 1);
	if (listener->lst_full >= listener->lst_backlog)
		return; /* as if the ACK had been lost: it will be sent again */
	listener->lst_half--;
	listener->lst_full++;
	vly_mini_unlist(minis, mini);
	vly_mini_list(minis, mini, VLY_MINI_WAITING);
}

bool vly_tcp_cookie_in(struct vly_inet *inet, struct vly_tcp *listener,
		       struct vly_tcp_segment *segment)
{
	struct vly_mini mini = {.list = VLY_MINI_WAITING};

	if (!inet->tcp->conf.cookies || segment->view.flags & VLY_TCP_SYN)
		return false;
	if (!cookie_check(inet, &mini, segment)) {
		inet->stats.tcp_cookie_bad += inet->stats.tcp_cookie_sent > 0;
		return false;
	}
	uint32_t shift = mini.wscale == VLY_MINI_NO_WSCALE ? 0 : mini.wscale;

	mini.snd_wnd = (uint32_t)segment->view.window << shift;
	mini.hop = vly_hop_take(inet, mini.key.raddr);
	if (mini.hop == VLY_NO_HOP)
		return true;
	struct vly_env *env = inet->nic.env;
	struct vly_tcp *tcp = inet->flows.count < inet->flows.limit ? promote(inet, &mini, listener)
								    : NULL;

	if (!tcp) {
		vly_count(&env->stats->accept_full, 1);
		vly_hop_put(inet, mini.hop);
		return true;
	}
	inet->stats.tcp_cookie_ok++;
	vly_flow_insert(&inet->flows, mini.hash, 1 + vly_conn_index(&tcp->head));
	vly_hand_flow(inet, &mini.key, 1);
	tcp->bits |= VLY_TCP_B_FLOW;
	vly_count(&env->stats->accepted, 1);
	vly_batch_add_conn(&env->batch, &tcp->head, VLY_OPEN)->flags = VLY_ACCEPTED;
	vly_tcp_segment_in(inet, tcp, segment);
	return true;
}

/* --- a SYN --- */

void vly_tcp_syn_in(struct vly_inet *inet, struct vly_tcp *listener,
		    const struct vly_tcp_segment *segment)
{
	const struct vly_tcp_conf *conf = &inet->tcp->conf;
	struct vly_minis *minis = &inet->tcp->minis;
	struct vly_mini *mini = NULL;

	inet->stats.tcp_syn++;
	if (conf->cookies < 2 && listener->lst_half < listener->lst_backlog)
		mini = vly_mini_take(minis, false);
	if (!mini) {
		inet->stats.tcp_syn_full++;
		if (conf->cookies)
			send_cookie(inet, segment);
		return;
	}
	mini_fill(inet, mini, segment);
	mini->listener = vly_conn_index(&listener->head);
	mini->hop = vly_hop_take(inet, mini->key.raddr);
	if (mini->hop == VLY_NO_HOP ||
	    !vly_flow_insert(&inet->flows, mini->hash, name_of(minis, mini))) {
		if (mini->hop != VLY_NO_HOP)
			vly_hop_put(inet, mini->hop);
		vly_mini_put(minis, mini);
		return;
	}
	vly_hand_flow(inet, &mini->key, 1);
	listener->lst_half++;
	mini->iss = vly_isn(&inet->secret, &mini->key, inet->now_ns);
	first_syn_ack(inet, mini);
}

/* --- segments for minis --- */

static void answer_mini(struct vly_inet *inet, const struct vly_mini *mini, uint32_t seq)
{
	uint8_t options[12] = {VLY_TCP_OPT_NOP, VLY_TCP_OPT_NOP, VLY_TCP_OPT_TIMESTAMPS, 10};
	uint32_t stamps[2] = {htonl(vly_tcp_ts_now(inet)), htonl(mini->ts_recent)};

	memcpy(options + 4, stamps, sizeof(stamps));
	vly_tcp_reply_send(inet, &(struct vly_tcp_reply){
					 .key = mini->key,
					 .hop = mini->hop,
					 .seq = seq,
					 .ack = mini->rcv_nxt,
					 .window = (uint16_t)(inet->tcp->conf.window >>
							      inet->tcp->conf.wscale),
					 .flags = VLY_TCP_ACK,
					 .options = options,
					 .options_len = mini->ts ? sizeof(options) : 0,
				 });
}

/* RFC 9293, 3.10.7.4, TIME-WAIT; RFC 6191; RFC 1337: a reset does not end it. */
static void lingering_in(struct vly_inet *inet, struct vly_mini *mini,
			 struct vly_tcp_segment *segment)
{
	const struct vly_tcp_view *view = &segment->view;
	bool newer = vly_seq_after(view->seq, mini->rcv_nxt) ||
		     (mini->ts && segment->options.has & VLY_TCP_HAS_TIMESTAMPS &&
		      vly_seq_after(segment->options.ts_value, mini->ts_recent));

	if (view->flags & VLY_TCP_RST)
		return;
	if ((view->flags & (VLY_TCP_SYN | VLY_TCP_ACK)) == VLY_TCP_SYN && newer) {
		struct vly_tcp *listener =
			vly_tcp_find_listener(inet, mini->key.laddr, mini->key.lport);

		if (!listener)
			return;
		inet->stats.tcp_time_wait_reused++;
		vly_tcp_mini_end(inet, mini);
		vly_tcp_syn_in(inet, listener, segment);
		return;
	}
	if (!(view->flags & VLY_TCP_FIN) && !view->payload_bytes && !(view->flags & VLY_TCP_SYN))
		return; /* nothing that could be answered by more than an echo of ours */
	answer_mini(inet, mini, mini->iss);
	if (view->flags & VLY_TCP_FIN) {
		vly_mini_unlist(&inet->tcp->minis, mini);
		mini->due = inet->now + inet->tcp->conf.time_wait;
		vly_mini_list(&inet->tcp->minis, mini, VLY_MINI_TIME_WAIT);
	}
}

void vly_tcp_mini_in(struct vly_inet *inet, struct vly_mini *mini, struct vly_tcp_segment *segment)
{
	const struct vly_tcp_view *view = &segment->view;

	if (mini->list == VLY_MINI_TIME_WAIT) {
		lingering_in(inet, mini, segment);
		return;
	}
	if (view->flags & VLY_TCP_RST) {
		if (view->seq == mini->rcv_nxt)
			vly_tcp_mini_end(inet, mini);
		return;
	}
	if (view->flags & VLY_TCP_SYN) {
		/* the SYN again: so the SYN-ACK may be lost */
		if (!(view->flags & VLY_TCP_ACK) && view->seq == mini->rcv_nxt - 1) {
			if (mini->list == VLY_MINI_UNSENT) {
				vly_mini_unlist(&inet->tcp->minis, mini);
				first_syn_ack(inet, mini);
				return;
			}
			mini->sent = 0;
			send_syn_ack(inet, mini);
		} else if (vly_tcp_may_challenge(inet)) {
			answer_mini(inet, mini, mini->iss + 1);
		}
		return;
	}
	if (!(view->flags & VLY_TCP_ACK))
		return;
	if (mini->ts && segment->options.has & VLY_TCP_HAS_TIMESTAMPS) {
		if (vly_seq_before(segment->options.ts_value, mini->ts_recent))
			return;
	}
	if (view->ack != mini->iss + 1) {
		vly_tcp_reset(inet, segment);
		return;
	}
	if (view->seq - mini->rcv_nxt > inet->tcp->conf.window) {
		if (vly_tcp_may_challenge(inet))
			answer_mini(inet, mini, mini->iss + 1);
		return;
	}
	if (mini->list != VLY_MINI_WAITING)
		handshake_done(inet, mini, segment);
}

/* --- time --- */

void vly_tcp_minis_watch(struct vly_inet *inet, uint32_t due)
{
	int64_t ticks = (int32_t)(due - inet->now);
	uint64_t due_ns = inet->now_ns + ((uint64_t)VLY_MAX(ticks, 0) << 10);

	if (due_ns < inet->tcp->minis_ns) {
		inet->tcp->minis_ns = due_ns;
		vly_inet_watch(inet, due_ns);
	}
}

static void age(struct vly_inet *inet, struct vly_mini *mini)
{
	struct vly_minis *minis = &inet->tcp->minis;
	bool unsent = mini->list == VLY_MINI_UNSENT;
	unsigned tries = unsent ? 1 : mini->list + 1u;

	if (mini->list == VLY_MINI_TIME_WAIT || tries >= VLY_MINI_UNSENT) {
		vly_tcp_mini_end(inet, mini);
		return;
	}
	vly_mini_unlist(minis, mini);
	mini->sent = 0;
	mini->due = inet->now + (inet->tcp->conf.rto_init << tries);
	vly_mini_list(minis, mini, tries);
	inet->stats.tcp_retransmit++;
	if (!unsent)
		vly_hop_doubt(inet, mini->hop);
	send_syn_ack(inet, mini);
}

void vly_tcp_minis_age(struct vly_inet *inet)
{
	struct vly_minis *minis = &inet->tcp->minis;
	uint64_t bound = 256; /* per poll: a flood's end must not stop the core */

	inet->tcp->minis_ns = UINT64_MAX;
	for (unsigned list = 0; list < VLY_MINI_LISTS; list++) {
		struct vly_mini *mini;

		if (list == VLY_MINI_WAITING)
			continue; /* as long as it takes */
		while ((mini = vly_mini_first(minis, list))) {
			if (vly_tick_before(inet->now, mini->due) || !bound) {
				vly_tcp_minis_watch(inet, mini->due);
				break;
			}
			bound--;
			age(inet, mini);
		}
	}
}
