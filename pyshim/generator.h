/* generator.h - messages offered by a thread on a CPU of its own, when they are due, whoever takes them */
#ifndef PYSHIM_GENERATOR_H
#define PYSHIM_GENERATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "pyshim/source_spec.h"

/*
 * An open loop: the times of all messages follow from the schedule alone. They go through a ring; what is
 * due while the ring is full is dropped and counted, as a network card does. So nothing that the consumer
 * does can slow the generator down, and memory is bounded.
 */
struct generator;
struct meter;

struct generator_message {
	uint64_t stamp_ns; /* when it was due */
	uint64_t number;   /* among all that were due; its first bytes, little-endian */
	uint32_t index;    /* of its connection */
	uint8_t *data;     /* valid until the next generator_release() */
};

/* Takes all memory, starts the thread, which waits. The spec and the meter stay the caller's. 0 or -errno. */
int generator_open(const struct source_spec *spec, struct meter *meter,
		   struct generator **generator);

/* NULL is allowed. */
void generator_close(struct generator *generator);

/* The schedule begins. */
void generator_start(struct generator *generator);

/* Gives back what was handed out before. Then generator_next() hands out one after the other. */
void generator_release(struct generator *generator);

/* False: none is there now. */
bool generator_next(struct generator *generator, struct generator_message *message);

/* The last one is not taken: it comes again. */
void generator_put_back(struct generator *generator);

/* All that is there is thrown away unread: how fast a generator can be. Returns how many. */
uint32_t generator_skim(struct generator *generator);

#endif
