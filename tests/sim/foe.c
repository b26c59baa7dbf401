/* foe.c - somebody on the network who means no good: blind frames, spoofed frames, broken frames, old frames */
#include "tests/sim/foe.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/compiler.h"

#define ETH 14u
#define TCP_AT (ETH + 20)
#define NOBODYS_IP 0x0a000096u /* 10.0.0.150 */

struct forged {
	uint8_t data[NET_ROOM];
	uint32_t len;
};

static void put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static void put32(uint8_t *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p + 2, value);
}

static void forge_eth(struct foe *foe, struct forged *f, unsigned to, uint32_t type)
{
	memset(f->data, 0, sizeof(f->data));
	f->data[0] = 2;
	f->data[5] = (uint8_t)to;
	f->data[6] = 2;
	f->data[10] = 0xee;
	f->data[11] = (uint8_t)rng_next(&foe->rng);
	put16(f->data + 12, type);
	f->len = ETH;
}

/* Sums of a frame whose lengths are right, made as a wire makes them. */
static void forge_sums(struct forged *f)
{
	uint8_t *ip = f->data + ETH;
	uint32_t l4_bytes = f->len - TCP_AT, total = 0;
	unsigned check_at = ip[9] == 6 ? 16 : 6;

	put16(ip + 10, 0);
	if (ip[9] != 6 && ip[9] != 17) {
		wirecheck_complete(f->data, f->len);
		return;
	}
	for (unsigned i = 12; i < 20; i += 2)
		total += (uint32_t)ip[i] << 8 | ip[i + 1];
	total += ip[9] + l4_bytes;
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	put16(f->data + TCP_AT + check_at, total);
	wirecheck_complete(f->data, f->len);
}

static void forge_ip(struct forged *f, uint32_t src, uint32_t dst, uint8_t protocol,
		     uint32_t l4_bytes)
{
	uint8_t *ip = f->data + ETH;

	ip[0] = 0x45;
	put16(ip + 2, 20 + l4_bytes);
	put16(ip + 6, 0x4000);
	ip[8] = 64;
	ip[9] = protocol;
	put32(ip + 12, src);
	put32(ip + 16, dst);
	f->len = TCP_AT + l4_bytes;
}

struct lie {
	uint32_t seq, ack;
	uint8_t flags;
	uint32_t payload_bytes;
	bool ts; /* with timestamps: this one */
	uint32_t ts_value;
};

/* A segment of flow `flow` towards its side `victim`, as if from the other. */
static void forge_tcp(struct foe *foe, struct forged *f, const struct watch_flow *flow,
		      unsigned victim, const struct lie *lie)
{
	uint8_t *tcp = f->data + TCP_AT;
	uint32_t options = lie->ts ? 12 : 0;

	forge_eth(foe, f, (unsigned)watch_host(foe->watch, flow->ip[victim]), 0x800);
	forge_ip(f, flow->ip[!victim], flow->ip[victim], 6, 20 + options + lie->payload_bytes);
	put16(tcp, flow->port[!victim]);
	put16(tcp + 2, flow->port[victim]);
	put32(tcp + 4, lie->seq);
	put32(tcp + 8, lie->ack);
	tcp[12] = (uint8_t)((20 + options) / 4 << 4);
	tcp[13] = lie->flags;
	put16(tcp + 14, (uint32_t)rng_below(&foe->rng, 65536));
	if (lie->ts) {
		put32(tcp + 20, 0x0101080a);
		put32(tcp + 24, lie->ts_value);
	}
	memset(tcp + 20 + options, 0xbd, lie->payload_bytes);
	forge_sums(f);
}

/*
 * Lies about a connection: what RFC 5961 is about. Never what a receiver has to believe: a reset in
 * the very place, or data in the window with a credible acknowledgement.
 */
static bool strike_flow(struct foe *foe, struct forged *f, unsigned kinds)
{
	const struct watch_flow *flow = watch_pick(foe->watch, rng_next(&foe->rng));
	unsigned victim = (unsigned)rng_below(&foe->rng, 2);
	struct lie lie = {.payload_bytes = (uint32_t)rng_below(&foe->rng, 100)};

	/* what is no longer watched may be hit by chance where it must believe it */
	if (!flow || !flow->dir[0].syn || !flow->dir[1].syn || !flow->dir[victim].acked ||
	    (flow->dead && !foe->harsh))
		return false;
	lie.ts = flow->dir[0].ts && flow->dir[1].ts && rng_chance(&foe->rng, 0.5);
	lie.ts_value = flow->dir[!victim].ts_value + (uint32_t)rng_below(&foe->rng, 1u << 31);
	const struct watch_dir *me = &flow->dir[victim], *peer = &flow->dir[!victim];
	uint64_t ahead = me->edge > peer->sent + 1 ? me->edge - peer->sent - 1 : 0;
	uint32_t inside = peer->isn + (uint32_t)(peer->sent + 1);

	lie.ack = me->isn + (uint32_t)me->sent;
	if (ahead)
		inside += (uint32_t)rng_below(&foe->rng, ahead);
	switch (rng_below(&foe->rng, kinds)) {
	case 0: /* a reset in the window, not in its place */
		lie = (struct lie){.seq = inside, .flags = WIRECHECK_RST};
		break;
	case 1: /* a reset of the past */
		lie = (struct lie){.seq = peer->isn + (uint32_t)me->ack - 1 -
					  (uint32_t)rng_below(&foe->rng, 100000),
				   .flags = WIRECHECK_RST};
		break;
	case 2: /* a reset of the future */
		lie = (struct lie){.seq = peer->isn + (uint32_t)me->edge +
					  (me->spoke ? 70000 : 1u << 30) +
					  (uint32_t)rng_below(&foe->rng, 1u << 29),
				   .flags = WIRECHECK_RST | WIRECHECK_ACK,
				   .ack = lie.ack};
		break;
	case 3: /* a SYN */
		lie.seq = rng_chance(&foe->rng, 0.5) ? inside : (uint32_t)rng_next(&foe->rng);
		lie.flags = WIRECHECK_SYN;
		lie.ack = 0;
		lie.payload_bytes = 0;
		lie.ts = false; /* a newer time may end a TIME-WAIT (RFC 6191), whoever writes it */
		break;
	case 4: /* acknowledges what was never sent, with data */
		lie.seq = inside;
		lie.ack += 1 + (uint32_t)rng_below(&foe->rng, 1u << 30);
		lie.flags = WIRECHECK_ACK;
		break;
	case 5: /* acknowledges what was long ago, with data */
		lie.seq = inside;
		lie.ack = me->isn + (uint32_t)peer->ack - (65536u << peer->wscale) -
			  (uint32_t)rng_below(&foe->rng, 1u << 29);
		lie.flags = WIRECHECK_ACK;
		break;
	case 6: /* data of the past, at a time of the future */
		lie.seq = peer->isn + (uint32_t)me->ack - lie.payload_bytes -
			  (uint32_t)rng_below(&foe->rng, 100000);
		lie.flags = WIRECHECK_ACK;
		break;
	default: /* data and FIN beyond the window */
		lie.seq = peer->isn + (uint32_t)me->edge + (me->spoke ? 70000 : 1u << 30) +
			  (uint32_t)rng_below(&foe->rng, 1u << 29);
		lie.flags = WIRECHECK_ACK | WIRECHECK_FIN;
		break;
	}
	forge_tcp(foe, f, flow, victim, &lie);
	return true;
}

/* Knocks from an address that is not there, at a port that may be. */
static void strike_syn(struct foe *foe, struct forged *f, unsigned to)
{
	static const uint8_t flags[] = {WIRECHECK_SYN,
					WIRECHECK_SYN,
					WIRECHECK_ACK,
					WIRECHECK_FIN,
					WIRECHECK_SYN | WIRECHECK_FIN,
					WIRECHECK_SYN | WIRECHECK_RST,
					0,
					0x3f};
	struct watch_flow flow = {
		.ip = {foe->watch->ip + to * foe->watch->ips,
		       NOBODYS_IP + (uint32_t)rng_below(&foe->rng, 4)},
		.port = {(uint16_t)(80 + rng_below(&foe->rng, 4)), (uint16_t)rng_next(&foe->rng)},
	};
	struct lie lie = {.seq = (uint32_t)rng_next(&foe->rng),
			  .ack = (uint32_t)rng_next(&foe->rng),
			  .flags = flags[rng_below(&foe->rng, sizeof(flags))]};

	forge_tcp(foe, f, &flow, 0, &lie);
}

static void strike_arp(struct foe *foe, struct forged *f, unsigned to)
{
	uint32_t ips = foe->watch->ips, mine = foe->watch->ip + to * ips;
	uint32_t other = foe->watch->ip + (uint32_t)rng_below(&foe->rng, foe->watch->hosts) * ips;
	uint8_t *arp = f->data + ETH;

	/* Whoever is being asked for may be anybody: only a harsh world has that lie. */
	if (!foe->harsh && other != mine)
		other = NOBODYS_IP + 4 + (uint32_t)rng_below(&foe->rng, 50);
	forge_eth(foe, f, to, 0x806);
	put16(arp, 1);
	put16(arp + 2, 0x800);
	arp[4] = 6;
	arp[5] = 4;
	put16(arp + 6, (uint32_t)rng_range(&foe->rng, 1, rng_chance(&foe->rng, 0.9) ? 2 : 65535));
	memcpy(arp + 8, f->data + 6, 6);
	put32(arp + 14, other);
	memcpy(arp + 18, f->data, 6);
	put32(arp + 24, rng_chance(&foe->rng, 0.8) ? mine : other);
	f->len = ETH + (rng_chance(&foe->rng, 0.9) ? 46 : (uint32_t)rng_below(&foe->rng, 28));
}

/* Errors about connections, with sequence numbers that were never in flight; echoes. */
static bool strike_icmp(struct foe *foe, struct forged *f)
{
	const struct watch_flow *flow = watch_pick(foe->watch, rng_next(&foe->rng));
	unsigned victim = (unsigned)rng_below(&foe->rng, 2);
	uint8_t *icmp = f->data + TCP_AT, *quoted = icmp + 8;
	bool echo = rng_chance(&foe->rng, 0.3);

	if (!flow || !flow->dir[victim].syn)
		return false;
	const struct watch_dir *me = &flow->dir[victim];

	forge_eth(foe, f, (unsigned)watch_host(foe->watch, flow->ip[victim]), 0x800);
	forge_ip(f, flow->ip[!victim], flow->ip[victim], 1, 8 + 28);
	icmp[0] = echo ? 8 : 3;
	icmp[1] = echo ? 0 : (uint8_t)rng_below(&foe->rng, 6);
	put16(icmp + 6, (uint32_t)rng_below(&foe->rng, 1500));
	quoted[0] = 0x45;
	put16(quoted + 2, 40);
	put16(quoted + 6, 0x4000);
	quoted[8] = 64;
	quoted[9] = 6;
	put32(quoted + 12, flow->ip[victim]);
	put32(quoted + 16, flow->ip[!victim]);
	put16(quoted + 20, flow->port[victim]);
	put16(quoted + 22, flow->port[!victim]);
	put32(quoted + 24,
	      me->isn + (uint32_t)me->sent + 1 + (uint32_t)rng_below(&foe->rng, 1u << 30));
	uint32_t total = 0;

	for (unsigned i = 0; i < 36; i += 2)
		total += (uint32_t)icmp[i] << 8 | icmp[i + 1];
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	put16(icmp + 2, ~total);
	uint8_t *ip = f->data + ETH;

	for (total = 0, ip[10] = ip[11] = 0; ip < icmp; ip += 2)
		total += (uint32_t)ip[0] << 8 | ip[1];
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	put16(f->data + ETH + 10, ~total);
	return true;
}

/*
 * A piece of the segment that was sent last, before it arrives itself: as a box on the way may cut
 * segments anew. No lie, but what comes then lies across what is there.
 */
static bool strike_piece(struct foe *foe, struct forged *f)
{
	uint8_t *tcp = f->data + TCP_AT;
	struct wirecheck seg;

	if (wirecheck_parse(foe->latest, foe->latest_len, NET_ROOM, &seg) ||
	    seg.kind != WIRECHECK_TCP || seg.payload_bytes < 2 ||
	    watch_host(foe->watch, seg.dst_ip) < 0)
		return false;
	uint32_t from = (uint32_t)rng_below(&foe->rng, 2) *
			(uint32_t)rng_below(&foe->rng, seg.payload_bytes);
	uint32_t bytes = 1 + (uint32_t)rng_below(&foe->rng, seg.payload_bytes - from);
	uint32_t header = 20 + seg.options_bytes;

	memcpy(f->data, foe->latest, TCP_AT + header);
	memcpy(tcp + header, seg.payload + from, bytes);
	f->len = TCP_AT + header + bytes;
	put16(f->data + ETH + 2, 20 + header + bytes);
	put32(tcp + 4, seg.seq + from);
	if (from + bytes < seg.payload_bytes)
		tcp[13] &= (uint8_t)~WIRECHECK_FIN;
	forge_sums(f);
	return true;
}

/* A frame that was there before: as it was, or broken. */
static bool strike_old(struct foe *foe, struct forged *f)
{
	if (!foe->seen)
		return false;
	uint32_t index = (uint32_t)rng_below(&foe->rng, VLY_MIN(foe->seen, (uint32_t)FOE_MEMORY));

	memcpy(f->data, foe->memory[index].data, sizeof(f->data));
	f->len = foe->memory[index].len;
	uint8_t *ip = f->data + ETH;

	switch (rng_below(&foe->rng, 5)) {
	case 0: /* an old duplicate */
		break;
	case 1: /* cut off */
		f->len = (uint32_t)rng_below(&foe->rng, f->len + 1);
		break;
	case 2: /* some bits */
		if (f->data[12] != 8 || f->data[13] != 0)
			return false;
		ip[rng_below(&foe->rng, f->len - ETH)] ^= (uint8_t)rng_range(&foe->rng, 1, 255);
		break;
	case 3: /* its IP header, with a good checksum */
		if (f->data[12] != 8 || f->data[13] != 0 || f->len < TCP_AT + 20)
			return false;
		switch (rng_below(&foe->rng, 4)) {
		case 0:
			put16(ip + 6, (uint32_t)rng_range(&foe->rng, 1, 0x3fff));
			break;
		case 1:
			put16(ip + 2, (uint32_t)rng_below(&foe->rng, 20));
			break;
		case 2:
			put32(ip + 12, rng_chance(&foe->rng, 0.5) ? 0x7f000001u : 0xe0000001u);
			break;
		default:
			ip[0] = (uint8_t)(0x40 | rng_below(&foe->rng, 5));
			break;
		}
		forge_sums(f);
		break;
	default: /* nonsense behind a good address */
		for (uint32_t i = ETH; i < f->len; i++)
			f->data[i] = (uint8_t)rng_next(&foe->rng);
		if (f->data[12] == 8 && f->data[13] == 6)
			return false; /* an ARP that may even make sense */
		break;
	}
	return true;
}

void foe_see(struct foe *foe, const uint8_t *data, uint32_t len)
{
	uint32_t index = foe->seen++ % FOE_MEMORY;

	memcpy(foe->latest, data, len);
	foe->latest_len = len;
	if (foe->seen > FOE_MEMORY && !rng_chance(&foe->rng, 0.2))
		return; /* some stay for long */
	memcpy(foe->memory[index].data, data, len);
	foe->memory[index].len = len;
}

void foe_strike(struct foe *foe, uint64_t now_ns)
{
	unsigned to = (unsigned)rng_below(&foe->rng, foe->net->hosts);
	unsigned kind = (unsigned)rng_below(&foe->rng, 12);
	struct forged f;
	bool made = true;

	if (kind < 4)
		made = strike_flow(foe, &f, 8);
	else if (kind < 5)
		strike_syn(foe, &f, to);
	else if (kind < 6)
		strike_arp(foe, &f, to);
	else if (kind < 7)
		made = strike_icmp(foe, &f);
	else if (kind < 10)
		made = strike_old(foe, &f);
	else
		made = strike_piece(foe, &f);
	if (!made)
		return;
	foe->counts[kind]++;
	if (f.len >= 6 && f.data[0] == 2)
		to = f.data[5];
	if (to < foe->net->hosts)
		net_inject(foe->net, to, now_ns, f.data, f.len);
}

void foe_strike_reset(struct foe *foe, uint64_t now_ns)
{
	struct forged f;

	/* The first three kinds are resets. */
	if (strike_flow(foe, &f, 3))
		net_inject(foe->net, f.data[5], now_ns, f.data, f.len);
}

void foe_write_syn(uint8_t frame[60], const struct foe_syn *syn)
{
	static const uint8_t mss[4] = {2, 4, 5, 0xb4};
	struct forged f = {.data = {2, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 8, 0}};
	uint8_t *tcp = f.data + TCP_AT;

	forge_ip(&f, syn->src_ip, syn->dst_ip, 6, 24);
	put16(tcp, syn->src_port);
	put16(tcp + 2, syn->dst_port);
	put32(tcp + 4, syn->seq);
	tcp[12] = 0x60;
	tcp[13] = WIRECHECK_SYN;
	put16(tcp + 14, 65535);
	memcpy(tcp + 20, mss, sizeof(mss));
	forge_sums(&f);
	memcpy(frame, f.data, 60);
}
