/* sample.h - what a server and its CPUs have spent at one instant, as a message */
#ifndef VLY_BENCH_SAMPLE_H
#define VLY_BENCH_SAMPLE_H

#include <jansson.h>
#include <stdbool.h>

#include "bench/cost.h"
#include "bench/cpus.h"

/* All zero: not taken. */
struct sample {
	bool taken, cpus_known, polls_known;
	struct cost cost;      /* if taken */
	struct cost_cpus cpus; /* if cpus_known */
	/* if polls_known, of a server that never sleeps: time of polls that returned something, or nothing */
	uint64_t polls_busy_ns, polls_idle_ns;
};

/* Of everything below the calling process (with `alive`), and of the CPUs (if there are any). */
void sample_take(bool alive, const struct cpus *cpus, struct sample *sample);

/* Leaves out what was spent from `from` to `to`, as if `before` had been taken so much later. */
void sample_skip(struct sample *before, const struct sample *from, const struct sample *to);

/* To and from {"type": "sample", "id": ...}. */
json_t *sample_to_json(const struct sample *sample, const char *id);
void sample_from_json(const json_t *message, struct sample *sample);

#endif
