/* comparison.h - one row against another by one figure: from estimates to sentences */
#ifndef VLY_BENCH_COMPARISON_H
#define VLY_BENCH_COMPARISON_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/run.h"
#include "bench/series.h"
#include "bench/stats.h"
#include "bench/verdict.h"

#define COMPARISON_TEXT_BYTES 512

struct comparison {
	const char *base, *tested; /* rows; the verdict is on `tested` */
	enum metric metric;
	const char *unit;            /* "blocks": pairs of runs; "runs": of the smaller sample */
	struct stats_estimate ratio; /* tested / base */
	double alpha;                /* of the interval told */
	double p;                    /* set by comparison_judge() */
	enum verdict verdict;        /* set by comparison_judge(), or staged */
};

/* The ratio of two rows of one session, paired by block. */
struct comparison comparison_paired(const struct run_result *runs, size_t count, const char *base,
				    const char *tested, enum metric metric);

/* Gives the verdicts of a family of comparisons: Holm's procedure over all of them. */
void comparison_judge(struct comparison *family, size_t count);

/* One sentence on a figure that was not to decide: ratio and 95% interval, no verdict. */
char *comparison_aside(const struct comparison *comparison, char *text);

/* One sentence that says it all, without a full stop. Returns `text` (COMPARISON_TEXT_BYTES). */
char *comparison_sentence(const struct comparison *comparison, char *text);

/*
 * Below a table: every other row against the first one that was measured, by CPU per message and by
 * rate where rates may be ranked, all in one family; outliers; drift. Nothing below STATS_RUNS_MIN runs.
 */
void comparison_print_rows(FILE *out, const char *const *names, size_t names_count,
			   const struct run_result *runs, size_t runs_count);

/* Runs that lie far from their row's median: a line each. They stay in every figure. */
void comparison_print_outliers(FILE *out, const char *const *names, size_t names_count,
			       const struct run_result *runs, size_t runs_count);

/* Whether the machine drifted, by the runs of `row` and its canaries: a line if so. */
void comparison_print_drift(FILE *out, const char *row, const struct run_result *runs,
			    size_t runs_count);

#endif
