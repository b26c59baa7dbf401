/* schedule.h - when messages are meant to be sent: a rate over time, whatever is answered */
#ifndef VLY_BENCH_SCHEDULE_H
#define VLY_BENCH_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#define SCHEDULE_STEPS_MAX 64
#define SCHEDULE_RATE_MAX 1000000000 /* messages per second */

/* From `at_ns` after the start, until the next step, all connections together are offered this. */
struct schedule_step {
	uint64_t at_ns;        /* the first is 0; ascending */
	double rate_msg_per_s; /* 0 is a pause, but not in the last step */
};

/*
 * The intended times of a run. Each connection has a share of its own: with constant arrivals
 * connection i of n is due at i/n, 1 + i/n, ... of the time its n messages take, so that all
 * together are evenly spaced; with Poisson arrivals it is a Poisson process, and so is their sum.
 * Both follow the rate by stretching time: a step changes the density, not the pattern.
 *
 * Every time is a function of seed, connection and number alone. No reply can move it.
 */
struct schedule {
	struct schedule_step steps[SCHEDULE_STEPS_MAX];
	unsigned int steps_count; /* 0: there is none, the loop is closed */
	bool poisson;
	uint64_t seed;
	uint32_t connections; /* of the whole run */
};

/*
 * A connection's place: how many messages all connections together are meant to have sent before
 * its next one. Numbers of messages stay below 2^52, so steps of 1 are exact.
 */
typedef double schedule_place;

/* Of the first message of connection `id`. */
schedule_place schedule_first(const struct schedule *schedule, uint32_t id);

/* Of the message after the one at `place`, which has `number` (from 0) on its connection. */
schedule_place schedule_next(const struct schedule *schedule, uint32_t id, uint64_t number,
			     schedule_place place);

/* When that is, after the start. UINT64_MAX: never. */
uint64_t schedule_ns(const struct schedule *schedule, schedule_place place);

/* Messages meant to be sent before `ns`: the inverse. */
schedule_place schedule_at(const struct schedule *schedule, uint64_t ns);

/* The same hash for every use of chance in the load: uniform over 64 bits. */
uint64_t schedule_random(uint64_t seed, uint64_t id, uint64_t number);

#endif
