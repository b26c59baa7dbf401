/* runs.h - run results made up for the bench's tests */
#ifndef VLY_TESTS_RUNS_H
#define VLY_TESTS_RUNS_H

#include <string.h>

#include "bench/run.h"

/* An ok run of block `run`, whose rate follows from its cost. */
static inline struct run_result run_made_up(const char *variant, uint32_t run, double cpu_us)
{
	struct run_result r;

	memset(&r, 0, sizeof(r));
	r.status = RUN_OK;
	r.variant = variant;
	r.run = run;
	r.limited = "no";
	r.steady = true;
	r.server_cpu_us_per_msg = cpu_us;
	r.server_cpu_us_per_msg_scaled = cpu_us * 0.8;
	r.rate_msg_per_s = 1e6 / cpu_us;
	return r;
}

#endif
