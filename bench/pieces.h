/* pieces.h - the turns of a window: what each brought, and whether the CPUs were all ours meanwhile */
#ifndef VLY_BENCH_PIECES_H
#define VLY_BENCH_PIECES_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/options.h"
#include "bench/cpupair.h"
#include "bench/slices.h"

/* NAN: not known. */
struct piece {
	struct cpupair cpus; /* of server and load: the worst before and after it */
	double rate_msg_per_s;
	double server_cpus; /* CPU time of the server by time: 1 is one CPU */
};

/* Of one run; none of a window that is whole. */
struct pieces {
	unsigned int count;
	struct piece piece[SLICES_MAX];
};

/*
 * CPUs of server and load, all at work at once; nothing is known of a side that may run anywhere. While nobody has a
 * turn: it takes some of their time.
 */
struct cpupair pieces_probe(const struct load_options *options);

/* One more piece, its rate not known yet. */
void pieces_add(struct pieces *pieces, struct cpupair cpus, double server_cpus);

/* What the load counted in each, in the same order. */
void pieces_take_rates(struct pieces *pieces, const struct slices *slices);

/* A list of objects, or null for a window that is whole. */
json_t *pieces_json(const struct pieces *pieces);

struct run_result;

/*
 * The cores are all ours in a piece that had PACE_FULL of the best pace of all rows, and PACE_PER_CYCLE_MIN. The CPUs
 * are far apart in those of them whose line took more than PIECES_NEAR times the shortest way, else near, as those of
 * which nobody knows. That of two threads of a core is never the shortest: their pace is half.
 */
#define PIECES_NEAR 1.5

enum pieces_distance {
	PIECES_ARE_NEAR,
	PIECES_ARE_FAR,
};

/* Over those pieces of a row's ok runs; NAN: there are none. */
struct pieces_mean {
	unsigned int count, all; /* pieces: of this distance, and whatever they had */
	double line_least_ns, line_most_ns;
	double rate_msg_per_s;
	double cpu_us_per_msg, cycles_per_msg; /* of the server */
};

struct pieces_mean pieces_mean(const char *row, enum pieces_distance distance,
			       const struct run_result *runs, size_t count);

/*
 * A line for each row that had turns: rate, CPU time and core cycles of a message where the cores were all ours. Two, if
 * the CPUs were near at times and far at others.
 */
void pieces_print(FILE *out, const char *const *names, size_t names_count,
		  const struct run_result *runs, size_t count);

#endif
