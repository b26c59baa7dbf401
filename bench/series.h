/* series.h - one figure of one row over its runs, as statistics want it */
#ifndef VLY_BENCH_SERIES_H
#define VLY_BENCH_SERIES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/run.h"

/* What rows are compared by. */
enum metric {
	METRIC_CPU,        /* CPU time of the server for a message */
	METRIC_CPU_SCALED, /* the same, as if its CPUs always ran at the nominal clock */
	METRIC_RATE,
	METRICS
};

const char *metric_name(enum metric metric);
bool metric_more_is_better(enum metric metric);

/* Whether a run counts for `row` (NULL: for any): it is ok, and no canary. */
bool series_counts(const struct run_result *run, const char *row);

/* values[i]: of block i + 1, up to `blocks`; NAN where the row has no ok run. Canaries are left out. */
void series_by_block(const struct run_result *runs, size_t count, const char *row,
		     enum metric metric, double *values, uint32_t blocks);

/* Every ok run in the order of time, canaries only if wanted. Returns how many, at most `count`. */
size_t series_all(const struct run_result *runs, size_t count, const char *row, enum metric metric,
		  bool canaries, double *values);

/*
 * Arithmetic mean over the row's ok runs, without canaries, of the double at `offset` in struct
 * run_result; NAN if there is none. For what may be 0, which has no logarithm.
 */
double series_plain_mean(const struct run_result *runs, size_t count, const char *row,
			 size_t offset);

/* Messages of single connections in a window, on average over the row's ok runs; `least` of all of them. */
struct series_spread {
	double least, p5, p50, p95, jain; /* NAN: not known */
};

struct series_spread series_spread(const struct run_result *runs, size_t count, const char *row);

/* Share of the messages due in the windows of those runs that was not sent; NAN: none was due. */
double series_unsent_share(const struct run_result *runs, size_t count, const char *row);

/* The highest block that any run belongs to. */
uint32_t series_blocks(const struct run_result *runs, size_t count);

/* Whether any ok run of `row` (NULL: of any row) was limited so: "client", "both". */
bool series_limited(const struct run_result *runs, size_t count, const char *row,
		    const char *limited);

/*
 * Whether rates of these two rows may be ranked: no row at all was limited by the client, and
 * neither of the two by both sides.
 */
bool series_rates_count(const struct run_result *runs, size_t count, const char *base,
			const char *tested);

#endif
