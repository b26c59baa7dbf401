/* load_table.h - the load's side of a comparison: what it cost, and what it offered */
#ifndef VLY_BENCH_LOAD_TABLE_H
#define VLY_BENCH_LOAD_TABLE_H

#include <stddef.h>
#include <stdio.h>

#include "bench/run.h"

/* Means over the ok runs of each row. Nothing for a plain closed loop: the first table has it all. */
void load_table_print(FILE *out, const struct load_options *options, const char *const *names,
		      size_t names_count, const struct run_result *runs, size_t runs_count);

#endif
