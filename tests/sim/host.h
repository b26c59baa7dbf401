/* host.h - the hosts of a simulation: an engine's cores, polled by one thread under a clock that stands still */
#ifndef VLY_TESTS_SIM_HOST_H
#define VLY_TESTS_SIM_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "engine/core.h"
#include "tests/sim/net.h"
#include "volley/volley.h"

/* Where no event is due any more; a simulation that reaches it hangs. */
#define HOST_NEVER UINT64_MAX

struct hosts {
	struct vly_engine *engine;
	struct vly_core *core[NET_HOSTS];
	unsigned count;
	struct net *net;
	bool touched[NET_HOSTS]; /* something was done on it since its last poll */
	uint64_t polls, events;
	/* One event; `arg` as given. */
	void (*on_event)(void *arg, unsigned host, struct vly_event *event);
	/* After each poll that did something. */
	void (*on_polled)(void *arg, unsigned host);
	void *arg;
};

/* Opens them over wire `sim`; `net` is made. A refusal is a violation. */
void hosts_open(struct hosts *hosts, const struct vly_config *config, struct net *net);
void hosts_close(struct hosts *hosts);

/* Polls each host that has something to do now, until none has; false: it never ends. */
bool hosts_settle(struct hosts *hosts, uint64_t now_ns);

/* When the next one has something to do. */
uint64_t hosts_next_ns(const struct hosts *hosts);

/* Where nothing is lost nothing is probed, timed out or dropped. */
void hosts_check_quiet(const struct hosts *hosts);

/* What each host was lent is home: buffers, side records, half-open connections. */
void hosts_check_home(struct hosts *hosts);

#endif
