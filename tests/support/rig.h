/* rig.h - an engine whose cores live on the test's own thread, with plain sockets as its peers */
#ifndef VLY_TESTS_RIG_H
#define VLY_TESTS_RIG_H

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "engine/core.h"
#include "engine/engine.h"
#include "nic/addr.h"
#include "tests/support/leak.h"
#include "volley/volley.h"

#define RIG_CORES 32
/* How many polls of RIG_WAIT_NS a test waits for what must come. */
#define RIG_TRIES 2000
#define RIG_WAIT_NS 5000000

struct rig {
	struct vly_engine *engine;
	struct vly_core *core[RIG_CORES];
	unsigned cores;
	struct vly_addr addr; /* of the listener */
	vly_conn listener;
};

static inline void rig_swallow(enum vly_log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

/* Small pools on 4 KiB pages; one core, epoll, which every machine has. */
static inline void rig_config(struct vly_config *config)
{
	vly_config_init(config);
	config->nic = "epoll";
	config->allow_overlap = true;
	config->pin = false;
	config->idle = VLY_IDLE_SLEEP;
	config->conns_max = 64;
	config->timers_max = 64;
	config->events_max = 64;
	config->burst_max = 8;
	config->tx_bufs = 64;
	config->tx_buf_bytes = 256;
	config->tx_refs = 64;
	config->tx_budget = 65536;
	config->rx_bufs = 16;
	config->rx_buf_bytes = 4096;
	config->dgram_max = 1024;
	config->hold_slots = 8;
	config->mail_slots = 16;
	config->ports_max = 4;
	config->close_timeout_ns = 60000000000ull;
	config->huge_pages = false;
	config->lock_memory = false;
}

static inline void rig_open(struct rig *rig, const struct vly_config *config)
{
	memset(rig, 0, sizeof(*rig));
	vly_log_set(rig_swallow, NULL, VLY_LOG_ERROR);
	cr_assert_eq(vly_engine_open(config, &rig->engine), 0);
	for (; rig->cores < config->cores; rig->cores++)
		cr_assert_eq(vly_core_open(rig->engine, rig->cores, &rig->core[rig->cores]), 0);
}

static inline void rig_close(struct rig *rig)
{
	while (rig->cores > 0)
		vly_core_close(rig->core[--rig->cores]);
	vly_engine_close(rig->engine);
}

static inline void rig_listen(struct rig *rig, const struct vly_listen_opts *opts)
{
	struct vly_addr any;

	cr_assert_eq(vly_addr_parse("127.0.0.1:0", &any), 0);
	cr_assert_eq(vly_listen(rig->core[0], &any, opts, NULL, &rig->listener), 0);
	cr_assert_eq(vly_name(rig->core[0], rig->listener, &rig->addr, NULL), 0);
}

/* A plain socket that is connected to the listener. */
static inline int rig_peer(const struct rig *rig)
{
	struct sockaddr_storage storage;
	socklen_t len = vly_addr_to_sockaddr(&rig->addr, &storage);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&storage, len), 0);
	return fd;
}

/* Polls core 0 until an event of `kind` came (of `conn`, unless that is 0) and returns a copy. */
static inline bool rig_find(struct rig *rig, vly_conn conn, enum vly_kind kind,
			    struct vly_event *found, int tries)
{
	for (int i = 0; i < tries; i++) {
		struct vly_event *events;
		int count = vly_poll(rig->core[0], &events, i ? RIG_WAIT_NS : 0);

		cr_assert_geq(count, 0);
		for (int e = 0; e < count; e++) {
			if (events[e].kind == kind && (!conn || events[e].conn == conn)) {
				*found = events[e];
				return true;
			}
		}
	}
	return false;
}

static inline struct vly_event rig_await(struct rig *rig, vly_conn conn, enum vly_kind kind)
{
	struct vly_event event = {0};

	cr_assert(rig_find(rig, conn, kind, &event, RIG_TRIES), "no event of kind %d came", kind);
	return event;
}

/* Polls core 0 some times and looks away. */
static inline void rig_spin(struct rig *rig, int polls)
{
	struct vly_event *events;

	while (polls-- > 0)
		cr_assert_geq(vly_poll(rig->core[0], &events, 0), 0);
}

/* Opens one connection: its handle here, its plain socket in `fd`. */
static inline vly_conn rig_accept(struct rig *rig, int *fd)
{
	*fd = rig_peer(rig);
	return rig_await(rig, 0, VLY_OPEN).conn;
}

static inline struct vly_conn_head *rig_head(struct rig *rig, vly_conn conn)
{
	struct vly_conn_head *head = vly_conn_find(&rig->core[0]->env.conns, conn);

	cr_assert_not_null(head);
	return head;
}

/*
 * Fills the socket of a connection whose peer does not read, until something stays queued. Ends
 * with the connection blocked.
 */
static inline void rig_stuff(struct rig *rig, vly_conn conn)
{
	static const char junk[32768];

	for (int i = 0; i < RIG_TRIES; i++) {
		int error = vly_send(rig->core[0], conn, junk, 8192);

		cr_assert(error == 0 || error == -EAGAIN, "vly_send returned %d", error);
		rig_spin(rig, 1);
		if (error == -EAGAIN && rig_head(rig, conn)->flags & VLY_F_TX_BLOCKED)
			return;
	}
	cr_assert_fail("the socket never filled");
}

#endif
