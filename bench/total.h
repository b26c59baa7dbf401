/* total.h - what a server says it has seen in its whole life, held against what the load sent */
#ifndef VLY_BENCH_TOTAL_H
#define VLY_BENCH_TOTAL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * All messages of a run, ramp and warm-up included: their number, and the sum of the first 8 bytes
 * of each (little-endian, missing ones are 0), modulo 2^64. A server prints it as its last line,
 * "TOTAL <messages> <sum>". One that echoes behind the back of the code it is named for cannot know
 * the sum.
 */
struct total {
	bool known;
	uint64_t messages, sum;
};

/* Reads a server's last line. Anything else than a whole TOTAL line leaves it unknown. */
struct total total_parse(const char *line);

/*
 * Whether a server's total is what the load sent. False with one line in `why` if it is not, or if
 * one of them is unknown.
 */
bool total_agrees(const struct total *seen, const struct total *sent, char *why, size_t why_bytes);

/* An object, or null if it is unknown; and back. */
json_t *total_to_json(const struct total *total);
struct total total_from_json(const json_t *json);

#endif
