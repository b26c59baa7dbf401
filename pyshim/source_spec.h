/* source_spec.h - what follows "source:" in a nic's name */
#ifndef PYSHIM_SOURCE_SPEC_H
#define PYSHIM_SOURCE_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SOURCE_STEPS_MAX 8
#define SOURCE_METER_BYTES 128
#define SOURCE_RING_MIN 256u

/* So many messages per second for so long; 0 ms: for ever. */
struct source_step {
	uint64_t rate, ms;
};

struct source_spec {
	uint64_t conns; /* connections, all open at once */
	uint64_t len; /* bytes of a message; its first 8 are its number, little-endian; a generator's
			   next 8 when it was due */
	uint64_t batch; /* messages per poll at most */
	uint64_t rate;  /* messages per second; 0: as fast as they are polled */
	uint64_t seed;  /* of the random order */
	uint64_t count; /* messages in all; 0: endless */
	bool linear;    /* connections in turn instead of in random order */

	/*
	 * With a meter a generator offers the messages from a thread of its own, see generator.h; rate and
	 * count are of the other kind, which makes a message when it is asked for one.
	 */
	char meter[SOURCE_METER_BYTES]; /* its file, "" for none */
	int cpu;                        /* of the generator's thread; -1: any */
	uint64_t ring; /* messages that may wait, a power of two, SOURCE_RING_MIN or more */
	uint64_t from_ms, until_ms; /* the window; until 0: for ever */
	bool held;                  /* the schedule begins when the meter says so, not before */
	bool skim;                  /* thrown away unread: for what the generator alone can do */
	struct source_step steps[SOURCE_STEPS_MAX];
	unsigned int steps_count;
};

/* Fills it in, with defaults for what is not named. 0, or -EINVAL with the reason in `why`. */
int source_spec_parse(struct source_spec *spec, const char *text, char *why, size_t why_bytes);

#endif
