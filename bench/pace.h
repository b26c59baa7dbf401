/* pace.h - how much a CPU gets done beside whoever else uses its core */
#ifndef VLY_BENCH_PACE_H
#define VLY_BENCH_PACE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * Simple operations that do not wait for each other, per nanosecond: what a core does when all of it is ours.
 * With a neighbour in the same core (another guest's, on a virtual machine) it is half, and so is the speed of
 * an interpreter, while cpuspeed.h's chain of dependent instructions, which leaves most of a core unused,
 * takes as long as before.
 */
double pace_probe(void);

/* Of the full pace: below it somebody else uses the core. */
#define PACE_FULL 0.75

/*
 * What a core of its own does for each core cycle (cpuspeed.h) at least, for those who may have seen nothing but
 * a shared one: big cores of x86-64 have had four units and more since 2013, and 2 to 2.5 of these beside a neighbour.
 */
#ifdef __x86_64__
#define PACE_PER_CYCLE_MIN 3.0
#else
#define PACE_PER_CYCLE_MIN 0.0
#endif

/* A reading every PACE_PERIOD_NS on one CPU, of some 10 us, before everything else there if that is permitted. */
#define PACE_PERIOD_NS UINT64_C(10000000)
#define PACE_SAMPLES 16384u /* what comes later is not kept */

struct pace_sample {
	uint64_t stamp_ns;
	double pace;
};

struct pace_watch {
	struct pace_sample *samples; /* owned */
	atomic_uint count;           /* release by the thread, after a sample */
	atomic_bool over;
	pthread_t thread;
	int cpu;
	bool started;
};

/* 0 or -errno; then, too, the others may be called, and find nothing. */
int pace_watch_start(struct pace_watch *watch, int cpu);
void pace_watch_stop(struct pace_watch *watch);
void pace_watch_fini(struct pace_watch *watch);

/* Percentile of the readings from begin_ns to end_ns; NAN if there is none. */
double pace_watch_percentile(const struct pace_watch *watch, uint64_t begin_ns, uint64_t end_ns,
			     double percent);

/* How many readings there are, and how many of the last ones in a row reach `pace`. */
unsigned int pace_watch_count(const struct pace_watch *watch);
unsigned int pace_watch_streak(const struct pace_watch *watch, double pace);

#endif
