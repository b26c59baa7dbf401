/* watch.c - what every TCP conversation on the network has said, and the rules that each segment obeys */
#include "tests/sim/watch.h"

#include <string.h>

#include "tests/sim/stream.h"
#include "tests/sim/violation.h"

void watch_init(struct watch *watch, const struct watch_opts *opts)
{
	memset(watch, 0, sizeof(*watch));
	watch->ip = opts->ip;
	watch->ips = opts->ips;
	watch->hosts = opts->hosts;
	watch->mtu = opts->mtu;
	watch->quiet = opts->quiet;
	watch->foes = opts->foes;
	watch->harsh = opts->harsh;
	watch->any_bytes = opts->any_bytes;
}

int watch_host(const struct watch *watch, uint32_t ip)
{
	uint32_t index = (ip - watch->ip) / watch->ips;

	return ip >= watch->ip && index < watch->hosts ? (int)index : -1;
}

/* The flow of a segment, made if it is new, and which of its directions this is. */
static struct watch_flow *flow_of(struct watch *watch, const struct wirecheck *seg, unsigned *side)
{
	uint64_t src = (uint64_t)seg->src_ip << 16 | seg->src_port;
	uint64_t dst = (uint64_t)seg->dst_ip << 16 | seg->dst_port;
	uint64_t low = src < dst ? src : dst, high = src < dst ? dst : src;
	uint64_t hash = (low * 0x9e3779b97f4a7c15u ^ high) * 0xbf58476d1ce4e5b9u;

	*side = src != low;
	for (uint32_t at = (uint32_t)(hash >> 40) % WATCH_FLOWS;; at = (at + 1) % WATCH_FLOWS) {
		struct watch_flow *flow = &watch->flows[at];

		if (flow->port[0] && flow->ip[0] == (uint32_t)(low >> 16) &&
		    flow->port[0] == (uint16_t)low && flow->ip[1] == (uint32_t)(high >> 16) &&
		    flow->port[1] == (uint16_t)high)
			return flow;
		if (flow->port[0])
			continue;
		if (watch->used >= WATCH_FLOWS * 3 / 4)
			return NULL; /* more than it can hold: the rest goes unwatched */
		watch->used++;
		flow->ip[0] = (uint32_t)(low >> 16);
		flow->ip[1] = (uint32_t)(high >> 16);
		flow->port[0] = (uint16_t)low;
		flow->port[1] = (uint16_t)high;
		return flow;
	}
}

/* The 64-bit place of a 32-bit number that is near `near`. */
static uint64_t unwrap(uint32_t number, uint32_t isn, uint64_t near)
{
	return near + (uint64_t)(int64_t)(int32_t)(number - isn - (uint32_t)near);
}

struct view {
	struct watch *watch;
	struct watch_flow *flow;
	struct watch_dir *me, *peer;
	const struct wirecheck *seg;
	unsigned from;
};

#define rule(v, cond, format, ...)                                                                 \
	do {                                                                                       \
		if (!(cond))                                                                       \
			violated("host %u, port %u to %u: " format, (v)->from, (v)->seg->src_port, \
				 (v)->seg->dst_port __VA_OPT__(, ) __VA_ARGS__);                   \
	} while (0)

static void learn_syn(struct view *v)
{
	const struct wirecheck *seg = v->seg;
	struct watch_dir *me = v->me;
	bool is_first = !(seg->flags & WIRECHECK_ACK);

	rule(v, seg->payload_bytes == 0, "SYN with data");
	rule(v, seg->has_mss && seg->mss == v->watch->mtu - 40, "SYN offers MSS %u at MTU %u",
	     seg->mss, v->watch->mtu);
	rule(v, !is_first || (seg->has_ts ? seg->ts_echo == 0 : true),
	     "the first SYN echoes a time");
	/* The ports are used again; an old SYN came late; a foe uses them; a reset could not be sent. */
	bool may_restart = is_first || v->flow->dead || v->watch->foes || v->watch->harsh;

	if (me->syn && seg->seq != me->isn && may_restart) {
		memset(v->flow->dir, 0, sizeof(v->flow->dir));
		v->flow->dead = false;
	}
	if (me->syn && seg->seq == me->isn) {
		/* In a simultaneous open SYN-ACK follows the SYN. */
		rule(v, !v->watch->quiet || (!is_first && !me->syn_ack),
		     "SYN sent again, and nothing was lost");
		v->watch->again++;
		me->syn_ack |= !is_first;
		me->answers = seg->ack - 1;
		me->ts_value = seg->ts_value;
		return;
	}
	rule(v, !me->syn || me->sent <= 1, "another SYN in the middle of a connection");
	*me = (struct watch_dir){
		.syn = true,
		.syn_ack = !is_first,
		.isn = seg->seq,
		.answers = seg->ack - 1,
		.sent = 1,
		.mss = seg->mss,
		.scales = seg->has_wscale,
		.wscale = seg->wscale,
		.ts = seg->has_ts,
		.ts_value = seg->ts_value,
		.sack = seg->has_sack_permitted,
		.edge = 1u + seg->window,
	};
	if (!is_first && v->peer->syn) {
		rule(v, !seg->has_ts || v->peer->ts, "timestamps, and the peer did not offer them");
		rule(v, !seg->has_sack_permitted || v->peer->sack, "SACK, and it was not offered");
	}
}

/* By how much the window of this segment is shifted: not on a SYN, and only if both have offered it. */
static unsigned shift_of(const struct view *v)
{
	bool agreed = v->me->scales && v->peer->scales;

	return agreed && !(v->seg->flags & WIRECHECK_SYN) ? v->me->wscale : 0;
}

static void check_ack(struct view *v)
{
	const struct wirecheck *seg = v->seg;
	struct watch_dir *me = v->me, *peer = v->peer;
	uint64_t ack = unwrap(seg->ack, peer->isn, me->ack);
	uint64_t window = (uint64_t)seg->window << shift_of(v);
	uint64_t rounding = (1u << shift_of(v)) - 1;

	rule(v, ack <= peer->sent, "acknowledges place %llu, sent were %llu",
	     (unsigned long long)ack, (unsigned long long)peer->sent);
	rule(v, ack >= me->ack || !me->acked, "acknowledges place %llu after %llu",
	     (unsigned long long)ack, (unsigned long long)me->ack);
	me->ack = ack;
	me->acked = true;
	/* A SYN cannot say how large the window is, and after the last byte it says nothing. */
	bool over = peer->fin && ack == peer->sent;

	rule(v, seg->flags & WIRECHECK_SYN || over || ack + window + rounding >= me->edge,
	     "the window shrinks: from place %llu to %llu", (unsigned long long)me->edge,
	     (unsigned long long)(ack + window));
	if (ack + window > me->edge)
		me->edge = ack + window;
	for (unsigned i = 0; i < seg->sacks; i++) {
		uint64_t from = unwrap(seg->sack_from[i], peer->isn, ack);
		uint64_t to = unwrap(seg->sack_to[i], peer->isn, ack);

		rule(v, me->sack && peer->sack, "SACK that was not agreed upon");
		/* a foe's, from before the first byte, may have seemed to come twice */
		if (i == 0 && v->watch->foes && (int64_t)from < 0 && (int64_t)to <= (int64_t)ack)
			continue;
		rule(v, from < to && to <= peer->sent, "SACK of %llu to %llu, sent were %llu",
		     (unsigned long long)from, (unsigned long long)to,
		     (unsigned long long)peer->sent);
		/* RFC 2883: the first block may report what came twice. */
		rule(v, from > ack || i == 0, "SACK of %llu below the acknowledged %llu",
		     (unsigned long long)from, (unsigned long long)ack);
	}
}

static void check_times(struct view *v)
{
	const struct wirecheck *seg = v->seg;
	struct watch_dir *me = v->me, *peer = v->peer;
	bool agreed = me->ts && peer->ts;

	rule(v, seg->has_ts == agreed, "timestamps %s", agreed ? "left out" : "not agreed upon");
	if (!agreed)
		return;
	rule(v, (int32_t)(seg->ts_value - me->ts_value) >= 0, "its clock ran back from %u to %u",
	     me->ts_value, seg->ts_value);
	me->ts_value = seg->ts_value;
	rule(v, (int32_t)(peer->ts_value - seg->ts_echo) >= 0, "echoes time %u, sent was %u",
	     seg->ts_echo, peer->ts_value);
}

static void check_payload(struct view *v, uint64_t place)
{
	const struct wirecheck *seg = v->seg;
	struct stream stream = {seg->src_ip, seg->dst_ip, seg->src_port, seg->dst_port};
	uint64_t key = stream_key(&stream), right;

	rule(v, place >= 1, "data in the place of the SYN");
	right = v->watch->any_bytes
			? seg->payload_bytes
			: stream_matches(seg->payload, seg->payload_bytes, key, place - 1);
	rule(v, right == seg->payload_bytes, "wrong byte at %llu of its stream (%llu of %u right)",
	     (unsigned long long)(place - 1 + right), (unsigned long long)right,
	     seg->payload_bytes);
	rule(v, seg->payload_bytes + seg->options_bytes <= v->peer->mss,
	     "%u bytes and %u of options, the peer takes %u", seg->payload_bytes,
	     seg->options_bytes, v->peer->mss);
}

static void check_sequence(struct view *v)
{
	const struct wirecheck *seg = v->seg;
	struct watch_dir *me = v->me, *peer = v->peer;
	uint64_t place = unwrap(seg->seq, me->isn, me->sent);
	uint64_t end = place + seg->payload_bytes;
	bool fin = seg->flags & WIRECHECK_FIN;

	rule(v, place <= me->sent, "place %llu, but only %llu was reached",
	     (unsigned long long)place, (unsigned long long)me->sent);
	if (seg->payload_bytes)
		check_payload(v, place);
	/* A probe of a closed window is one byte, and a FIN may be where no data may. */
	rule(v, end <= peer->edge || seg->payload_bytes <= 1,
	     "data up to %llu, the window ends at %llu", (unsigned long long)end,
	     (unsigned long long)peer->edge);
	if (me->fin) {
		rule(v, end <= me->fin_at || !seg->payload_bytes,
		     "data up to %llu behind its FIN at %llu", (unsigned long long)end,
		     (unsigned long long)me->fin_at);
		rule(v, !fin || end == me->fin_at, "a second FIN at %llu, the first was at %llu",
		     (unsigned long long)end, (unsigned long long)me->fin_at);
	}
	if ((seg->payload_bytes || fin) && place < me->sent) {
		me->again++;
		me->again_bytes += seg->payload_bytes;
		v->watch->again++;
		rule(v, !v->watch->quiet || place >= peer->edge || seg->payload_bytes <= 1,
		     "place %llu sent again, and nothing was lost", (unsigned long long)place);
	}
	if (fin && !me->fin) {
		rule(v, end >= me->sent, "FIN at %llu, but %llu was reached",
		     (unsigned long long)end, (unsigned long long)me->sent);
		me->fin = true;
		me->fin_at = end;
	}
	if (end + fin > me->sent)
		me->sent = end + fin;
}

/* Whether `dir` has acknowledged all that `peer` had to say. */
static bool all_acked(const struct watch_dir *dir, const struct watch_dir *peer)
{
	return peer->fin && dir->ack == peer->sent;
}

/*
 * A reset that its peer may believe, at a place between what was acknowledged and what was sent; one that
 * answers a foe is at the foe's. One without a place answers what came without an ACK.
 */
static bool is_believable(const struct view *v)
{
	uint64_t place = unwrap(v->seg->seq, v->me->isn, v->me->sent);

	return !v->watch->foes || !v->me->syn || !v->peer->syn || v->seg->seq == 0 ||
	       (place + 1 >= v->peer->ack && place <= v->me->sent);
}

/* Whether one of them has answered a SYN that was not the other's. */
static bool are_strangers(const struct watch_dir *a, const struct watch_dir *b)
{
	return (a->syn_ack && a->answers != b->isn) || (b->syn_ack && b->answers != a->isn);
}

static void check_segment(struct watch *watch, unsigned from, uint64_t now_ns,
			  const struct wirecheck *seg)
{
	unsigned side;
	struct watch_flow *flow = flow_of(watch, seg, &side);

	if (!flow)
		return;
	struct view v = {watch, flow, &flow->dir[side], &flow->dir[!side], seg, from};

	flow->last_ns = now_ns;
	watch->segments++;
	if (seg->flags & WIRECHECK_RST) {
		rule(&v, seg->payload_bytes == 0, "RST with data");
		watch->resets++;
		flow->dead |= is_believable(&v);
		return;
	}
	if (seg->flags & WIRECHECK_SYN)
		learn_syn(&v);
	else
		v.me->spoke = true;
	/* What belongs to an earlier life of these ports, or to a foe's, is not known. */
	if (!v.me->syn || !v.peer->syn ||
	    (watch->foes && (flow->dead || are_strangers(v.me, v.peer))))
		return;
	if (seg->flags & WIRECHECK_ACK)
		check_ack(&v);
	if (seg->flags & WIRECHECK_SYN)
		return;
	check_times(&v);
	check_sequence(&v);
	flow->dead |= all_acked(v.me, v.peer) && all_acked(v.peer, v.me);
}

void watch_frame(struct watch *watch, unsigned from, uint64_t now_ns, const uint8_t *data,
		 uint32_t len)
{
	static const uint8_t mac[5] = {2, 0, 0, 0, 0};
	struct wirecheck seg;
	const char *fault = wirecheck_parse(data, len, watch->mtu, &seg);

	must(!fault, "host %u sends a bad frame of %u bytes: %s", from, len, fault);
	must(memcmp(data + 6, mac, 5) == 0 && data[11] == from,
	     "host %u sends from a MAC address that is not its own", from);
	must(watch_host(watch, seg.src_ip) == (int)from, "host %u sends from address %08x", from,
	     seg.src_ip);
	if (seg.kind == WIRECHECK_TCP && watch_host(watch, seg.dst_ip) >= 0)
		check_segment(watch, from, now_ns, &seg);
}

const struct watch_flow *watch_pick(const struct watch *watch, uint64_t pick)
{
	if (!watch->used)
		return NULL;
	for (uint32_t i = (uint32_t)(pick % WATCH_FLOWS);; i = (i + 1) % WATCH_FLOWS) {
		if (watch->flows[i].port[0])
			return &watch->flows[i];
	}
}
