/* pieces.h - the turns of a window: what each brought, and whether the CPUs were all ours meanwhile */
#ifndef VLY_BENCH_PIECES_H
#define VLY_BENCH_PIECES_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/options.h"
#include "bench/slices.h"

/* NAN: not known. */
struct piece {
	double pace_op_per_ns; /* the lowest before and after it, of every CPU of server and load */
	double rate_msg_per_s;
	double server_cpus; /* CPU time of the server by time: 1 is one CPU */
};

/* Of one run; none of a window that is whole. */
struct pieces {
	unsigned int count;
	struct piece piece[SLICES_MAX];
};

/* Operations per nanosecond (pace.h) of the slowest CPU in use. While nobody has a turn: it takes some of their time. */
double pieces_pace(const struct load_options *options);

/* One more piece, its rate not known yet. */
void pieces_add(struct pieces *pieces, double pace_op_per_ns, double server_cpus);

/* What the load counted in each, in the same order. */
void pieces_take_rates(struct pieces *pieces, const struct slices *slices);

/* A list of objects, or null for a window that is whole. */
json_t *pieces_json(const struct pieces *pieces);

struct run_result;

/*
 * Over those pieces of a row's ok runs that had PACE_FULL of the best of all rows, and PACE_PER_CYCLE_MIN; NAN:
 * there are none.
 */
struct pieces_mean {
	unsigned int full, all; /* pieces */
	double rate_msg_per_s;
	double cpu_us_per_msg, cycles_per_msg; /* of the server */
};

struct pieces_mean pieces_mean(const char *row, const struct run_result *runs, size_t count);

/* A line for each row that had turns: rate, CPU time and core cycles of a message at full pace. */
void pieces_print(FILE *out, const char *const *names, size_t names_count,
		  const struct run_result *runs, size_t count);

#endif
