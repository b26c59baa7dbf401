/* load_outcome.h - what a run of the load generator amounts to */
#ifndef VLY_BENCH_LOAD_OUTCOME_H
#define VLY_BENCH_LOAD_OUTCOME_H

#include "bench/load.h"
#include "bench/load_core.h"

struct load_times {
	uint64_t begin_ns, end_ns; /* of the window, turns and pauses; 0: it was not reached */
	uint64_t window_ns;        /* of the turns alone */
	uint64_t silent_ns; /* who waits and heard nothing since is silent; 0: end_ns - stall_ns */
	uint64_t stall_ns;
};

/* Writes the reason and returns `err`. */
__attribute__((format(printf, 3, 4))) int load_refuse(struct load_result *result, int err,
						      const char *format, ...);

/*
 * Sums what the cores, whose threads have ended, counted, and names what failed. `err` is what
 * ended the phases, `cut` that the run was interrupted. Returns the run's error, with its reason
 * in `result`.
 */
int load_outcome(const struct load_params *params, const struct load_core *cores,
		 unsigned int cores_count, const struct load_times *times, bool cut, int err,
		 struct load_result *result);

#endif
