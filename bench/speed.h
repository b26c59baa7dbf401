/* speed.h - how fast the CPUs of a role really run, before and after a window */
#ifndef VLY_BENCH_SPEED_H
#define VLY_BENCH_SPEED_H

#include "bench/cpus.h"

#define SPEED_CPUS_MAX 64 /* of a role; with more, the first ones stand for all */

struct speed {
	unsigned int count;
	double ghz[SPEED_CPUS_MAX]; /* effective, in list order; 0: could not be measured */
};

/* Takes some 10 ms for each CPU. An empty list gives none. */
void speed_measure(const struct cpus *cpus, struct speed *speed);

/* Mean over CPUs and both readings; NAN if nothing was measured. */
double speed_mean(const struct speed *before, const struct speed *after);

/* The largest relative change of any CPU and which one of the list; 0 if nothing was measured. */
double speed_change(const struct speed *before, const struct speed *after, unsigned int *index);

/*
 * Frequency of the time-stamp counter against the clock, measured once; NAN on machines without it.
 */
double speed_tsc_ghz(void);

#endif
