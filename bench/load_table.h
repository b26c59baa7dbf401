/* load_table.h - what lets a reader doubt or believe a row, and the load's side of it */
#ifndef VLY_BENCH_LOAD_TABLE_H
#define VLY_BENCH_LOAD_TABLE_H

#include <stddef.h>
#include <stdio.h>

#include "bench/run.h"

/*
 * Means over the ok runs of each row: how busy either side was, Little's law, and how messages were spread
 * over connections.
 */
void load_table_print_checks(FILE *out, const struct load_options *options,
			     const char *const *names, size_t names_count,
			     const struct run_result *runs, size_t runs_count);

/* What an open loop offered, or what connecting anew took. Nothing for a load that has neither. */
void load_table_print(FILE *out, const struct load_options *options, const char *const *names,
		      size_t names_count, const struct run_result *runs, size_t runs_count);

#endif
