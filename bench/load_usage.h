/* load_usage.h - what the load generator spends on a window, and how busy its cores are */
#ifndef VLY_BENCH_LOAD_USAGE_H
#define VLY_BENCH_LOAD_USAGE_H

#include "bench/cost.h"
#include "bench/load.h"
#include "bench/load_core.h"

#include "volley/stats.h"

#include <stdbool.h>
#include <stdint.h>

/* A reading of all that it has spent so far. */
struct load_usage {
	uint64_t stamp_ns;
	unsigned cores_count;
	uint64_t core_ns[LOAD_CPUS_MAX]; /* run time of each core's thread */
	uint64_t busy_ns[LOAD_CPUS_MAX]; /* as in struct vly_stats */
	uint64_t idle_ns[LOAD_CPUS_MAX];
	struct cost_cpus cpus; /* stamp_ns 0: the cores are not pinned */
};

/* Reads it, while the cores run. */
void load_usage_take(const struct load_params *params, const struct load_core *cores,
		     unsigned cores_count, struct load_usage *usage);

/* Leaves out what was spent between two readings, as if `before` had been taken so much later. */
void load_usage_skip(struct load_usage *before, const struct load_usage *from,
		     const struct load_usage *to);

/*
 * Sets busy_share, cpu_ns and unbilled of `result` by the two readings `usage`, taken a little beside
 * the ends of a window of `window_ns`: they are scaled by their own time. A core is busy while its thread
 * runs; if it never sleeps (`polls`), while polls return something.
 */
void load_usage_judge(const struct load_usage usage[2], uint64_t window_ns, bool polls,
		      struct load_result *result);

#endif
