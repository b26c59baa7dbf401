/* source_spec.h - what follows "source:" in a nic's name */
#ifndef PYSHIM_SOURCE_SPEC_H
#define PYSHIM_SOURCE_SPEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct source_spec {
	uint64_t conns; /* connections, all open at once */
	uint64_t len;   /* bytes of a message; its first 8 are its number, little-endian */
	uint64_t batch; /* messages per poll at most */
	uint64_t rate;  /* messages per second; 0: as fast as they are polled */
	uint64_t seed;  /* of the random order */
	uint64_t count; /* messages in all; 0: endless */
	bool linear;    /* connections in turn instead of in random order */
};

/* Fills it in, with defaults for what is not named. 0, or -EINVAL with the reason in `why`. */
int source_spec_parse(struct source_spec *spec, const char *text, char *why, size_t why_bytes);

#endif
