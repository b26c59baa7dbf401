/* scenario.h - everything that a seed decides */
#ifndef VLY_TESTS_SIM_SCENARIO_H
#define VLY_TESTS_SIM_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/app.h"
#include "tests/sim/net.h"
#include "volley/config.h"

#define SCENARIO_IP 0x0a000001u /* 10.0.0.1 */

/* How bad the world is. */
enum scenario_mood {
	SCENARIO_QUIET,  /* nothing is lost, late or short */
	SCENARIO_GENTLE, /* nothing that TCP does not get over */
	SCENARIO_HARSH,  /* anything: connections may die, nothing may be wrong */
};

struct scenario {
	enum scenario_mood mood;
	struct vly_config config;
	char nic[256];
	struct net_opts net;
	struct net_faults faults[NET_HOSTS];
	uint32_t ips;
	uint64_t start_ns;    /* of the clock: where ticks, timestamps or sequence numbers wrap */
	uint64_t trouble_ns;  /* how long the faults last; then the network heals */
	uint64_t foe_ns;      /* mean time between a foe's frames; 0: no foe */
	uint64_t down_ns;     /* mean time between losses of a link; 0: never */
	uint64_t down_for_ns; /* at most */
	bool wrap_isn;        /* start so that the first connection's sequence numbers wrap */
	bool slow_readers;    /* small windows, often shut */
	bool ghosts_may_come; /* SYN cookies are always, or may become, what opens connections */
	int backlog;
	struct rng rng; /* for all that happens on the way */
};

/* Draws it, and fills the application's links. */
void scenario_draw(struct scenario *scenario, struct app *app, uint64_t seed);

#endif
