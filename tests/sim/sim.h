/* sim.h - one seed: its world, run until everything has come to its end, every rule checked at every step */
#ifndef VLY_TESTS_SIM_SIM_H
#define VLY_TESTS_SIM_SIM_H

#include <stdint.h>

#include "nic/inet/stack.h"
#include "tests/sim/states.h"

struct sim_opts {
	uint64_t seed;
	const char *capture; /* a pcap file of all frames, or NULL */
	bool verbose;        /* the world in words, and what came of it */
};

/* What came of it, summed over seeds. Plain numbers: it is shared between processes. */
struct sim_result {
	uint64_t seeds, frames, lost, again, foes, polls, bytes, connections;
	uint64_t virtual_ns;
	struct vly_inet_stats stack; /* all hosts */
	uint64_t digest; /* of all frames in order: the same seed has the same, always */
	struct states states;
};

void sim_add_stack(struct vly_inet_stats *to, const struct vly_inet_stats *from);

/* Runs it in this process, which exits if an invariant does not hold. */
void sim_run(const struct sim_opts *opts, struct sim_result *result);

#endif
