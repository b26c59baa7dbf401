/* doubt.h - what makes a run invalid, and what a reader has to know of one that counts */
#ifndef VLY_BENCH_DOUBT_H
#define VLY_BENCH_DOUBT_H

#include "bench/cpus.h"
#include "bench/run.h"
#include "bench/slices.h"
#include "bench/speed.h"

#define DOUBT_RETRANSMITS_MIN 10
#define DOUBT_RETRANSMITS_SHARE 1e-4 /* of messages */

/* Adds a reason; the first status stands, what follows are consequences. */
void doubt_reason(struct run_result *result, enum run_status status, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void doubt_warn(struct run_result *result, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Invalid if a CPU of `role` changed its speed by more than CPUSPEED_CHANGE_MAX. */
void doubt_speed(struct run_result *result, const char *role, const struct cpus *cpus,
		 const struct speed *before, const struct speed *after);

/* Sets `limited` and warns by what the result says: limits, `unfair`, disturbances. */
void doubt_limits(struct run_result *result);

#endif
