/* tcp_rig.h - one inet core on a wire of the test's own, its clock standing still: segments by hand */
#ifndef VLY_TESTS_TCP_RIG_H
#define VLY_TESTS_TCP_RIG_H

#include <criterion/criterion.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "engine/core.h"
#include "engine/engine.h"
#include "mempool/asan_compat.h"
#include "nic/inet/arp_header.h"
#include "nic/inet/checksum.h"
#include "nic/inet/tcp.h"
#include "nic/inet/wire_options.h"
#include "tests/support/cutter.h"
#include "tests/support/leak.h"
#include "volley/volley.h"

#define HAND_FRAMES 1024
#define HAND_BYTES 2048
#define MS 1000000ull

/* A frame in either direction. */
struct hand_frame {
	uint32_t len;
	uint8_t data[HAND_BYTES];
};

/* The wire: what the test puts in, and what the stack has sent. */
struct hand {
	struct vly_wire wire;
	struct hand_frame *in, *out; /* rings of HAND_FRAMES */
	uint32_t in_head, in_tail, in_lent, out_head, out_tail;
	uint32_t room;  /* frames that tx_take lends at most */
	uint32_t asked; /* calls of tx_take */
	int fd;         /* what it says, -1 */
	bool arms;
	bool answers_arp;
	bool moved; /* the peer has another address, which is the last one's but for its end */
	uint64_t slow_ns;  /* the clock moves on by so much while a burst is received */
	uint16_t rx_flags; /* of what is received: what the wire says of its checksums */
	struct cutter *cutter;
	uint32_t cut, pieces; /* long segments so far, and the frames they were made of */
};

static struct hand hand;

static const uint8_t hand_peer_mac[6] = {2, 0, 0, 0, 0, 99};

static inline void hand_put(const uint8_t *data, uint32_t len)
{
	struct hand_frame *frame = &hand.in[hand.in_tail++ % HAND_FRAMES];

	cr_assert_leq(hand.in_tail - hand.in_head, HAND_FRAMES);
	frame->len = len;
	vly_unpoison(frame->data, HAND_BYTES);
	memcpy(frame->data, data, len);
}

static inline int hand_check(const struct vly_nic_spec *spec,
			     const struct vly_wire_ops *const *stack, char *why, size_t why_bytes)
{
	(void)spec, (void)stack, (void)why, (void)why_bytes;
	return 0;
}

static inline size_t hand_region_bytes(const struct vly_config *config,
				       const struct vly_nic_spec *spec,
				       const struct vly_wire_ops *const *stack)
{
	(void)config, (void)spec, (void)stack;
	return 0;
}

static inline uint32_t hand_rx_burst(struct vly_wire *wire, uint64_t now_ns,
				     struct vly_frame *frames, uint32_t max)
{
	uint32_t count = 0;

	(void)wire, (void)now_ns;
	if (hand.slow_ns)
		vly_clock_freeze(vly_clock_ns() + hand.slow_ns);
	while (count < max && hand.in_head + hand.in_lent != hand.in_tail) {
		struct hand_frame *frame = &hand.in[(hand.in_head + hand.in_lent++) % HAND_FRAMES];

		/* nobody reads behind the end of a frame */
		vly_poison(frame->data + frame->len, HAND_BYTES - frame->len);
		frames[count++] = (struct vly_frame){
			.data = frame->data, .len = frame->len, .flags = hand.rx_flags};
	}
	return count;
}

static inline void hand_rx_done(struct vly_wire *wire, uint64_t now_ns)
{
	(void)wire, (void)now_ns;
	hand.in_head += hand.in_lent;
	hand.in_lent = 0;
}

static inline uint32_t hand_tx_take(struct vly_wire *wire, uint64_t now_ns,
				    struct vly_frame *frames, uint32_t max)
{
	(void)wire, (void)now_ns;
	hand.asked++;
	max = VLY_MIN(max, hand.room);
	for (uint32_t i = 0; i < max; i++)
		frames[i] = (struct vly_frame){
			.data = hand.out[(hand.out_tail + i) % HAND_FRAMES].data,
			.len = HAND_BYTES,
		};
	return max;
}

/* Who asks by ARP is answered, so that the tests see TCP only. */
static inline bool hand_arp(const struct vly_frame *frame)
{
	const struct vly_arp_header *arp;
	uint8_t reply[VLY_ARP_FRAME_BYTES], mac[6];

	memcpy(mac, hand_peer_mac, sizeof(mac));
	mac[5] ^= hand.moved;
	if (((const struct vly_eth *)frame->data)->type != htons(VLY_ETH_ARP))
		return false;
	bool hears = vly_mac_is_broadcast(frame->data) || vly_mac_equal(frame->data, mac);

	if (hand.answers_arp && hears && !vly_arp_parse(frame->data, frame->len, &arp)) {
		vly_arp_write(reply, &(struct vly_arp_opts){.operation = VLY_ARP_REPLY,
							    .sender_mac = mac,
							    .target_mac = hand.wire.mac,
							    .sender_ip = arp->target_ip,
							    .target_ip = arp->sender_ip});
		hand_put(reply, sizeof(reply));
	}
	return true;
}

static inline void hand_out(const uint8_t *data, uint32_t len, uint16_t flags)
{
	struct hand_frame *to = &hand.out[hand.out_tail++ % HAND_FRAMES];

	memmove(to->data, data, len);
	to->len = len;
	vly_wire_complete(&(struct vly_frame){.data = to->data, .len = len, .flags = flags});
	cr_assert_leq(hand.out_tail - hand.out_head, HAND_FRAMES - VLY_OUT_BURST);
}

/* As a port does: how many frames made one segment. */
static inline uint32_t hand_cut(const struct vly_frame *frames, uint32_t count)
{
	uint32_t pieces = cutter_take(hand.cutter, &hand.wire, frames, count);

	while (cutter_next(hand.cutter))
		hand_out(hand.cutter->segment, hand.cutter->segment_bytes, VLY_FRAME_COMPLETE);
	hand.cut++;
	hand.pieces += pieces;
	return pieces;
}

static inline void hand_tx_send(struct vly_wire *wire, uint64_t now_ns,
				const struct vly_frame *frames, uint32_t count)
{
	(void)wire, (void)now_ns;
	for (uint32_t i = 0; i < count; i++) {
		cr_assert(!(frames[i].flags & VLY_FRAME_MORE));
		if (frames[i].mss)
			i += hand_cut(frames + i, count - i) - 1;
		else if (!hand_arp(&frames[i]))
			hand_out(frames[i].data, frames[i].len, frames[i].flags);
	}
}

static inline bool hand_has_work(struct vly_wire *wire, uint64_t now_ns)
{
	(void)wire, (void)now_ns;
	return hand.in_head + hand.in_lent != hand.in_tail;
}

static inline int hand_fd(struct vly_wire *wire)
{
	(void)wire;
	return hand.fd;
}

static inline bool hand_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted)
{
	(void)wire, (void)now_ns, (void)tx_wanted;
	return hand.arms;
}

static inline void hand_disarm(struct vly_wire *wire)
{
	(void)wire;
}

static inline void hand_close(struct vly_wire *wire)
{
	(void)wire;
	free(hand.in);
	free(hand.out);
	free(hand.cutter);
}

static const struct vly_wire_ops hand_ops;

static inline int hand_open(const struct vly_wire_setup *setup, struct vly_wire **wire)
{
	(void)setup;
	hand = (struct hand){
		.wire = {.ops = &hand_ops, .mtu = 1500, .queues = 1, .link_up = true},
		.in = calloc(HAND_FRAMES, sizeof(*hand.in)),
		.out = calloc(HAND_FRAMES, sizeof(*hand.out)),
		.cutter = calloc(1, sizeof(*hand.cutter)),
		.room = VLY_OUT_BURST,
		.fd = -1,
		.answers_arp = true,
	};
	hand.wire.mac[0] = 2;
	hand.wire.mac[5] = 1;
	*wire = &hand.wire;
	return 0;
}

static const char *const hand_keys[] = {NULL};

static const struct vly_wire_ops hand_ops = {
	.name = "hand",
	.keys = hand_keys,
	.check = hand_check,
	.region_bytes = hand_region_bytes,
	.open = hand_open,
	.close = hand_close,
	.rx_burst = hand_rx_burst,
	.rx_done = hand_rx_done,
	.tx_take = hand_tx_take,
	.tx_send = hand_tx_send,
	.has_work = hand_has_work,
	.fd = hand_fd,
	.arm = hand_arm,
	.disarm = hand_disarm,
};

/* ---- the rig ---- */

#define RIG_EVENTS 256

struct rig {
	struct vly_engine *engine;
	struct vly_core *core;
	struct vly_inet *inet;
	uint64_t now_ns;
	struct vly_event events[RIG_EVENTS]; /* all since rig_clear() */
	unsigned count;
	uint8_t got[65536]; /* bytes of DATA since rig_clear() */
	uint32_t got_len;
};

static inline void rig_config(struct vly_config *config)
{
	vly_config_init(config);
	config->allow_overlap = true;
	config->pin = false;
	config->idle = VLY_IDLE_BUSY;
	config->conns_max = 64;
	config->timers_max = 16;
	config->events_max = 64;
	config->tx_bufs = 256;
	config->tx_refs = 16;
	config->tx_budget = 131072;
	config->rx_bufs = 16;
	config->rx_buf_bytes = 8192;
	config->hold_slots = 8;
	config->mail_slots = 16;
	config->ports_max = 1;
	config->backlog = 8;
	config->close_timeout_ns = 10000 * MS;
	config->huge_pages = false;
	config->lock_memory = false;
}

static inline void rig_open_config(struct rig *rig, struct vly_config *config, const char *extra)
{
	char nic[256];

	memset(rig, 0, sizeof(*rig));
	snprintf(nic, sizeof(nic), "inet:hand,ip=10.0.0.1/24,seed=7%s%s", extra[0] ? "," : "",
		 extra);
	config->nic = nic;
	rig->now_ns = 1000000 * MS;
	vly_clock_freeze(rig->now_ns);
	vly_wire_add(&hand_ops);
	cr_assert_eq(vly_engine_open(config, &rig->engine), 0);
	cr_assert_eq(vly_core_open(rig->engine, 0, &rig->core), 0);
	rig->inet = vly_inet_of(rig->core->nic);
}

static inline void rig_open(struct rig *rig, const char *extra)
{
	struct vly_config config;

	rig_config(&config);
	rig_open_config(rig, &config, extra);
}

static inline void rig_close(struct rig *rig)
{
	vly_core_close(rig->core);
	vly_engine_close(rig->engine);
	vly_wire_add(NULL);
}

static inline void rig_clear(struct rig *rig)
{
	rig->count = rig->got_len = 0;
}

/* One poll; its events and bytes are kept. */
static inline int rig_poll(struct rig *rig)
{
	struct vly_event *events;
	int count = vly_poll(rig->core, &events, 0);

	for (int i = 0; i < count; i++) {
		cr_assert_lt(rig->count, RIG_EVENTS);
		rig->events[rig->count++] = events[i];
		if (events[i].kind != VLY_DATA)
			continue;
		cr_assert_leq(rig->got_len + events[i].len, sizeof(rig->got));
		memcpy(rig->got + rig->got_len, events[i].data, events[i].len);
		rig->got_len += events[i].len;
	}
	return count;
}

/* Polls until it has nothing more to say. */
static inline void rig_settle(struct rig *rig)
{
	for (int i = 0; i < 6; i++)
		rig_poll(rig);
}

/* Lets time pass, in steps of 1 ms, polling after each. */
static inline void rig_pass(struct rig *rig, uint64_t ms)
{
	while (ms--) {
		rig->now_ns += MS;
		vly_clock_freeze(rig->now_ns);
		rig_poll(rig);
	}
}

/* The same for long times: in steps of `step_ms`. */
static inline void rig_pass_by(struct rig *rig, uint64_t ms, uint64_t step_ms)
{
	for (; ms; ms -= VLY_MIN(ms, step_ms)) {
		rig->now_ns += VLY_MIN(ms, step_ms) * MS;
		vly_clock_freeze(rig->now_ns);
		rig_poll(rig);
	}
}

static inline const struct vly_event *rig_event(struct rig *rig, enum vly_kind kind)
{
	for (unsigned i = 0; i < rig->count; i++) {
		if (rig->events[i].kind == kind)
			return &rig->events[i];
	}
	return NULL;
}

static inline unsigned rig_count(struct rig *rig, enum vly_kind kind)
{
	unsigned count = 0;

	for (unsigned i = 0; i < rig->count; i++)
		count += rig->events[i].kind == kind;
	return count;
}

/* ---- the peer: 10.0.0.2, by hand ---- */

struct peer {
	uint16_t port, their_port;
	uint32_t seq, ack; /* its next number; what it has received */
	uint16_t window;
	bool ts;
	uint32_t ts_value, ts_echo;
	const uint8_t *options; /* instead of timestamps */
	uint32_t options_len;
};

/* A segment that the stack has sent. */
struct sent {
	struct vly_tcp_view view;
	struct vly_tcp_options options;
	uint8_t data[HAND_BYTES];
};

static inline uint32_t rig_ip(uint8_t last)
{
	return htonl(0x0a000000u | last);
}

static inline void peer_send_at(const struct peer *peer, uint32_t seq, uint8_t flags,
				const void *data, uint32_t len)
{
	uint8_t frame[HAND_BYTES] = {0};
	uint8_t *l4 = frame + VLY_ETH_BYTES + VLY_IPV4_BYTES;
	struct vly_tcp_header *tcp = (struct vly_tcp_header *)l4;
	uint32_t options_len = peer->options_len;

	memcpy(frame, hand.wire.mac, 6);
	memcpy(frame + 6, hand_peer_mac, 6);
	frame[12] = 8;
	if (options_len) {
		memcpy(l4 + 20, peer->options, options_len);
	} else if (peer->ts) {
		uint32_t stamps[2] = {htonl(peer->ts_value), htonl(peer->ts_echo)};

		memcpy(l4 + 20, "\1\1\10\12", 4);
		memcpy(l4 + 24, stamps, 8);
		options_len = 12;
	}
	uint32_t l4_len = 20 + options_len + len;

	*tcp = (struct vly_tcp_header){
		.src_port = htons(peer->port),
		.dst_port = htons(peer->their_port),
		.seq = htonl(seq),
		.ack = flags & VLY_TCP_ACK ? htonl(peer->ack) : 0,
		.offset = (uint8_t)((20 + options_len) / 4 << 4),
		.flags = flags,
		.window = htons(peer->window),
	};
	if (len)
		memcpy(l4 + 20 + options_len, data, len);
	vly_ipv4_write(frame + VLY_ETH_BYTES,
		       &(struct vly_ipv4_opts){.src = rig_ip(2),
					       .dst = rig_ip(1),
					       .payload_bytes = (uint16_t)l4_len,
					       .protocol = VLY_IP_TCP,
					       .ttl = 64});
	tcp->check = vly_checksum_finish(vly_checksum_add(
		vly_checksum_pseudo(rig_ip(2), rig_ip(1), VLY_IP_TCP, l4_len), l4, l4_len));
	hand_put(frame, VLY_ETH_BYTES + VLY_IPV4_BYTES + l4_len);
}

/* In order: its number moves on. */
static inline void peer_send(struct peer *peer, uint8_t flags, const void *data, uint32_t len)
{
	peer_send_at(peer, peer->seq, flags, data, len);
	peer->seq += len + !!(flags & VLY_TCP_SYN) + !!(flags & VLY_TCP_FIN);
}

/* The next segment that the stack has sent, its checksums right; false: there is none. */
static inline bool peer_take(struct sent *sent)
{
	struct vly_ipv4_view ip;

	if (hand.out_head == hand.out_tail)
		return false;
	const struct hand_frame *frame = &hand.out[hand.out_head++ % HAND_FRAMES];

	cr_assert_eq(vly_ipv4_parse(frame->data + 14, frame->len - 14, true, &ip), 0);
	cr_assert_eq(vly_tcp_parse(&ip, true, &sent->view), 0, "a bad segment was sent");
	cr_assert_eq(vly_tcp_options_parse(sent->view.options, sent->view.header_bytes - 20u,
					   sent->view.flags & VLY_TCP_SYN, &sent->options),
		     0);
	memcpy(sent->data, sent->view.payload, sent->view.payload_bytes);
	sent->view.payload = sent->data;
	return true;
}

static inline struct sent peer_expect(uint8_t flags)
{
	struct sent sent;

	cr_assert(peer_take(&sent), "nothing was sent");
	cr_assert_eq(sent.view.flags & ~VLY_TCP_PSH, flags, "flags %#x, not %#x", sent.view.flags,
		     flags);
	return sent;
}

static inline void peer_expect_nothing(void)
{
	struct sent sent;

	if (peer_take(&sent))
		cr_assert_fail("flags %#x, %u bytes were sent", sent.view.flags,
			       sent.view.payload_bytes);
}

/* MSS 1460, SACK, window scale 7: the SYN of most peers, without timestamps. */
static const uint8_t peer_syn_options[] = {2, 4, 5, 0xb4, 1, 3, 3, 7, 1, 1, 4, 2};

static inline void peer_init(struct peer *peer, uint16_t port, uint16_t their_port)
{
	*peer = (struct peer){.port = port, .their_port = their_port, .seq = 1000, .window = 65535};
}

/* Listens on port 80 and gets a SYN with these options, `len` bytes, from `seq`. What answers it. */
static inline struct sent rig_syn(struct rig *rig, struct peer *peer, uint32_t seq,
				  const uint8_t *options, unsigned len)
{
	struct vly_addr addr;
	vly_conn listener;

	cr_assert_eq(vly_addr_parse("10.0.0.1:80", &addr), 0);
	cr_assert_eq(vly_listen(rig->core, &addr, NULL, NULL, &listener), 0);
	peer_init(peer, 5000, 80);
	peer->seq = seq;
	peer->options = options;
	peer->options_len = len;
	peer_send(peer, VLY_TCP_SYN, NULL, 0);
	peer->options_len = 0;
	rig_settle(rig);
	struct sent sent = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK);

	peer->ack = sent.view.seq + 1;
	return sent;
}

/* An ACK of `peer->ack` with blocks of SACK: pairs of edges. */
static inline void peer_sack(struct rig *rig, struct peer *peer, const uint32_t *edges,
			     unsigned blocks)
{
	uint8_t options[40] = {1, 1, 5, (uint8_t)(2 + 8 * blocks)};

	for (unsigned i = 0; i < 2 * blocks; i++) {
		uint32_t edge = htonl(edges[i]);

		memcpy(options + 4 + 4 * i, &edge, 4);
	}
	peer->options = options;
	peer->options_len = 4 + 8 * blocks;
	peer_send(peer, VLY_TCP_ACK, NULL, 0);
	peer->options_len = 0;
	rig_settle(rig);
}

/* Listens on port 80 and takes one connection, without timestamps. Its handle. */
static inline vly_conn rig_accept_seq(struct rig *rig, struct peer *peer, uint32_t seq)
{
	struct sent sent = rig_syn(rig, peer, seq, peer_syn_options, sizeof(peer_syn_options));

	cr_assert_eq(sent.view.ack, peer->seq);
	peer->window = 8192; /* by 2^7: a megabyte */
	peer_send(peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(rig);
	const struct vly_event *open = rig_event(rig, VLY_OPEN);

	cr_assert_not_null(open);
	cr_assert_eq(open->status, 0);
	vly_conn conn = open->conn;

	peer_expect_nothing();
	rig_clear(rig);
	return conn;
}

static inline vly_conn rig_accept(struct rig *rig, struct peer *peer)
{
	return rig_accept_seq(rig, peer, 1000);
}

static inline struct vly_tcp *rig_tcp(struct rig *rig, vly_conn conn)
{
	struct vly_conn_head *head = vly_conn_find(&rig->core->env.conns, conn);

	cr_assert_not_null(head);
	return vly_tcp_of(head);
}

/* Queues `len` bytes that count up from their offset, and flushes. */
static inline void rig_send(struct rig *rig, vly_conn conn, uint32_t len)
{
	static uint8_t pattern[65536];

	for (uint32_t i = 0; i < len; i++)
		pattern[i] = (uint8_t)(i * 7 + i / 251);
	cr_assert_eq(vly_send(rig->core, conn, pattern, len), 0);
	rig_poll(rig);
}

static inline bool rig_pattern_is(const uint8_t *data, uint32_t offset, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		if (data[i] != (uint8_t)((offset + i) * 7 + (offset + i) / 251))
			return false;
	}
	return true;
}

#endif
