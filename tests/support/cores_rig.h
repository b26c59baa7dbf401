/* cores_rig.h - two engines of several cores on one wire, all polled by the test's thread; an echo server */
#ifndef VLY_TESTS_CORES_RIG_H
#define VLY_TESTS_CORES_RIG_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/hash.h"
#include "volley/volley.h"

#define RIG_CORES_MAX 16
#define RIG_FLOWS_MAX 512
#define RIG_PORT 80
#define RIG_PATIENCE_NS 40000000000ull

/* The sides of the loop: who serves, who connects. */
enum {
	SERVES = 0,
	CALLS = 1
};

struct rig_flow {
	vly_conn conn;
	unsigned core;
	int opened; /* 0: not yet; 1: open; -errno */
	unsigned echoed, closed;
};

struct cores_rig {
	int loop; /* -1: another wire */
	struct vly_loop_opts opts;
	char nic[2][512];
	struct vly_engine *engine[2];
	struct vly_core *core[2][RIG_CORES_MAX];
	unsigned cores[2];
	/* what the server has accepted, by core */
	unsigned accepted[RIG_CORES_MAX];
	unsigned strays; /* accepted by another core than that of the hash */
	bool no_word;    /* the port tells no table: homes are divided evenly */
	bool huge;       /* memory of huge pages, where there are some */
	struct rig_flow flows[RIG_FLOWS_MAX];
	unsigned count;
	unsigned dgrams[2][RIG_CORES_MAX];
	unsigned warnings;
};

static inline void rig_log(enum vly_log_level level, const char *line, void *arg)
{
	struct cores_rig *rig = arg;

	(void)line;
	rig->warnings += level <= VLY_LOG_WARN;
}

static inline struct vly_addr rig_addr(unsigned side, uint16_t port)
{
	return (struct vly_addr){
		.family = VLY_IP4, .port = port, .ip4 = {10, 0, 0, (uint8_t)(1 + 100 * side)}};
}

static inline void rig_start(struct cores_rig *rig, unsigned side)
{
	struct vly_config config;

	vly_config_init(&config);
	config.nic = rig->nic[side];
	config.cores = rig->cores[side];
	config.allow_overlap = true;
	config.pin = false;
	config.idle = VLY_IDLE_SLEEP;
	config.conns_max = RIG_FLOWS_MAX + 16;
	config.tx_bufs = 1024;
	config.rx_bufs = 64;
	config.rx_buf_bytes = 4096;
	config.huge_pages = rig->huge;
	config.lock_memory = false;
	cr_assert_eq(vly_engine_open(&config, &rig->engine[side]), 0);
	for (unsigned i = 0; i < rig->cores[side]; i++)
		cr_assert_eq(vly_core_open(rig->engine[side], i, &rig->core[side][i]), 0);
}

static inline void rig_stop(struct cores_rig *rig, unsigned side)
{
	for (unsigned i = 0; i < rig->cores[side]; i++)
		vly_core_close(rig->core[side][i]);
	vly_engine_close(rig->engine[side]);
	rig->engine[side] = NULL;
}

/* `more` is appended to the name of the server's nic, and of the caller's. */
static inline void rig_open_opts(struct cores_rig *rig, unsigned serving, unsigned calling,
				 const struct vly_loop_opts *opts, const char *more)
{
	memset(rig, 0, sizeof(*rig));
	rig->opts = *opts;
	rig->cores[SERVES] = serving;
	rig->cores[CALLS] = calling;
	rig->loop = vly_loop_make(opts);
	cr_assert_geq(rig->loop, 0);
	vly_log_set(rig_log, rig, VLY_LOG_WARN);
	for (unsigned side = 0; side < 2; side++) {
		snprintf(rig->nic[side], sizeof(rig->nic[side]),
			 "inet:loop,fd=%d,side=%u,ip=10.0.0.%u/24,profile=dc%s", rig->loop, side,
			 1 + 100 * side, more);
		rig_start(rig, side);
	}
}

/* Two engines whose nics are in `rig->nic` already. */
static inline void rig_open_nics(struct cores_rig *rig, unsigned serving, unsigned calling)
{
	rig->cores[SERVES] = serving;
	rig->cores[CALLS] = calling;
	rig->loop = -1;
	vly_log_set(rig_log, rig, VLY_LOG_WARN);
	rig_start(rig, SERVES);
	rig_start(rig, CALLS);
}

static inline void rig_close(struct cores_rig *rig)
{
	rig_stop(rig, SERVES);
	rig_stop(rig, CALLS);
	if (rig->loop >= 0)
		vly_loop_close(rig->loop);
	vly_log_set(NULL, NULL, VLY_LOG_WARN);
}

static inline struct vly_stats rig_stats(struct cores_rig *rig, unsigned side, unsigned core)
{
	struct vly_stats stats;

	cr_assert_eq(vly_stats(rig->engine[side], core, &stats), 0);
	return stats;
}

/* The queue of a good port that a segment from the calling side comes in at. */
static inline unsigned rig_queue(const struct cores_rig *rig, unsigned queues,
				 const struct vly_addr *src, const struct vly_addr *dst)
{
	uint32_t hash = vly_toeplitz_ipv4(vly_toeplitz_key_default, src->ip4, dst->ip4, src->port,
					  dst->port);

	return rig->no_word ? (unsigned)((uint64_t)hash * queues >> 32) : hash % 128 % queues;
}

static inline void rig_served(struct cores_rig *rig, unsigned core, struct vly_event *event)
{
	struct vly_core *c = rig->core[SERVES][core];
	struct vly_addr local, peer;

	switch (event->kind) {
	case VLY_OPEN:
		cr_assert_eq(event->status, 0);
		rig->accepted[core]++;
		cr_assert_eq(vly_name(c, event->conn, &local, &peer), 0);
		rig->strays += rig_queue(rig, rig->cores[SERVES], &peer, &local) != core;
		break;
	case VLY_DATA:
		cr_assert_eq(vly_send(c, event->conn, event->data, event->len), 0);
		break;
	case VLY_EOF:
		cr_assert_eq(vly_close(c, event->conn), 0);
		break;
	case VLY_DGRAM:
		rig->dgrams[SERVES][core]++;
		(void)vly_sendto(c, event->conn, (struct vly_addr *)(void *)event->data - 1,
				 event->data, event->len);
		break;
	default:
		break;
	}
}

static inline void rig_called(struct cores_rig *rig, unsigned core, struct vly_event *event)
{
	struct rig_flow *flow = event->user;

	if (event->kind == VLY_DGRAM)
		rig->dgrams[CALLS][core]++;
	if (!flow)
		return;
	cr_assert_eq(flow->core, core);
	if (event->kind == VLY_OPEN) {
		flow->opened = event->status ? event->status : 1;
	} else if (event->kind == VLY_DATA) {
		uint32_t number;

		cr_assert_eq(event->len, sizeof(number));
		memcpy(&number, event->data, sizeof(number));
		cr_assert_eq(number, (uint32_t)(flow - rig->flows) * 1000 + flow->echoed);
		flow->echoed++;
	} else if (event->kind == VLY_CLOSED) {
		flow->closed++;
	}
}

static inline int rig_round(struct cores_rig *rig)
{
	int total = 0;

	for (unsigned side = 0; side < 2; side++) {
		for (unsigned i = 0; rig->engine[side] && i < rig->cores[side]; i++) {
			struct vly_event *events;
			int count = vly_poll(rig->core[side][i], &events, 0);

			cr_assert_geq(count, 0);
			for (int k = 0; k < count; k++) {
				if (side == SERVES)
					rig_served(rig, i, &events[k]);
				else
					rig_called(rig, i, &events[k]);
			}
			total += count;
		}
	}
	return total;
}

#define rig_until(rig, cond)                                                                       \
	do {                                                                                       \
		uint64_t rig_end = vly_now_ns() + RIG_PATIENCE_NS;                                 \
		while (!(cond)) {                                                                  \
			rig_round(rig);                                                            \
			cr_assert(vly_now_ns() < rig_end, "waited in vain for: %s", #cond);        \
		}                                                                                  \
	} while (0)

static inline void rig_listen(struct cores_rig *rig, unsigned core)
{
	struct vly_addr addr = rig_addr(SERVES, RIG_PORT);
	vly_conn listener;

	cr_assert_eq(vly_listen(rig->core[SERVES][core], &addr, NULL, NULL, &listener), 0);
}

static inline void rig_listen_all(struct cores_rig *rig)
{
	for (unsigned i = 0; i < rig->cores[SERVES]; i++)
		rig_listen(rig, i);
}

static inline struct rig_flow *rig_connect_from(struct cores_rig *rig, unsigned core,
						const struct vly_addr *from, uint16_t port)
{
	struct rig_flow *flow = &rig->flows[rig->count++];
	struct vly_addr to = rig_addr(SERVES, port);

	cr_assert_leq(rig->count, RIG_FLOWS_MAX);
	*flow = (struct rig_flow){.core = core};
	cr_assert_eq(vly_connect(rig->core[CALLS][core], &to, from, flow, &flow->conn), 0);
	return flow;
}

static inline struct rig_flow *rig_connect(struct cores_rig *rig, unsigned core)
{
	return rig_connect_from(rig, core, NULL, RIG_PORT);
}

static inline unsigned rig_opened(const struct cores_rig *rig)
{
	unsigned opened = 0;

	for (unsigned i = 0; i < rig->count; i++) {
		cr_assert_geq(rig->flows[i].opened, 0, "flow %u: %s", i,
			      strerror(-rig->flows[i].opened));
		opened += rig->flows[i].opened == 1;
	}
	return opened;
}

static inline bool rig_all_echoed(const struct cores_rig *rig, unsigned times)
{
	for (unsigned i = 0; i < rig->count; i++) {
		if (rig->flows[i].opened == 1 && rig->flows[i].echoed < times)
			return false;
	}
	return true;
}

/* Every flow sends a number and gets it back, `times` times. */
static inline void rig_echo(struct cores_rig *rig, unsigned times)
{
	for (unsigned t = 0; t < times; t++) {
		for (unsigned i = 0; i < rig->count; i++) {
			struct rig_flow *flow = &rig->flows[i];
			uint32_t number = i * 1000 + flow->echoed;

			if (flow->opened == 1)
				cr_assert_eq(vly_send(rig->core[CALLS][flow->core], flow->conn,
						      &number, sizeof(number)),
					     0);
		}
		unsigned want = rig->flows[0].echoed + 1;

		rig_until(rig, rig_all_echoed(rig, want));
	}
}

/* Each calling core opens `each` flows, and they echo. */
static inline void rig_talk(struct cores_rig *rig, unsigned each, unsigned times)
{
	for (unsigned i = 0; i < rig->cores[CALLS] * each; i++)
		rig_connect(rig, i % rig->cores[CALLS]);
	rig_until(rig, rig_opened(rig) == rig->count);
	rig_echo(rig, times);
}

static inline void rig_hang_up(struct cores_rig *rig)
{
	unsigned closed;

	for (unsigned i = 0; i < rig->count; i++)
		cr_assert_eq(vly_close(rig->core[CALLS][rig->flows[i].core], rig->flows[i].conn),
			     0);
	do {
		rig_round(rig);
		closed = 0;
		for (unsigned i = 0; i < rig->count; i++)
			closed += rig->flows[i].closed;
	} while (closed < rig->count);
	rig->count = 0;
}

#endif
