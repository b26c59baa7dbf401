/* table.h - the text table of a command's runs */
#ifndef VLY_BENCH_TABLE_H
#define VLY_BENCH_TABLE_H

#include <stdint.h>
#include <stdio.h>

#include "bench/options.h"
#include "bench/run.h"
#include "bench/stats.h"

/* From so many ok runs on, rates carry a 95% t interval on logs. */
#define TABLE_INTERVAL_RUNS STATS_RUNS_MIN

/*
 * Prints a line for each of `names`, in that order: means over its ok runs (geometric; of shares
 * arithmetic), in options->format.
 */
void table_print(FILE *out, const struct load_options *options, const char *const *names,
		 size_t names_count, const struct run_result *runs, size_t runs_count);

/* What a reader has to know of each row: limits, unfairness, failures. A line each, perhaps none. */
void table_notes(FILE *out, const char *const *names, size_t names_count,
		 const struct run_result *runs, size_t runs_count);

/*
 * Geometric mean, and as factors (1.02: +-2%) the half width of its 95% t interval and the spread of
 * single runs (+-1.96 standard deviations); NAN below TABLE_INTERVAL_RUNS.
 */
struct table_mean {
	unsigned int count;
	double mean, factor, spread;
};

/* Values that are not positive numbers are left out. */
struct table_mean table_mean(const double *values, size_t count);

#endif
