/* result_reader.h - result files read back */
#ifndef VLY_BENCH_RESULT_READER_H
#define VLY_BENCH_RESULT_READER_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench/run.h"

/* What one run line was about, beside its figures. */
struct result_plan {
	const char *workload; /* points into `lines` */
	uint32_t connections, size_bytes, depth;
};

/* All zero: nothing was read. */
struct result_data {
	const char *path;
	json_t *header; /* owned */
	json_t *lines;  /* owned: the run lines; `runs` points to names in them */
	struct run_result
		*runs; /* owned: status, row, block and figures; without what is not compared */
	struct result_plan *plans; /* owned: of each run */
	size_t count;
	bool interrupted; /* by a signal, or its end is not there (yet) */
};

/*
 * Reads a whole file and checks that it is one of ours, no newer than we are, and complete.
 * 0; -errno of reading; -EBADMSG with one line in `why` that names the file and what is wrong. In
 * any case the data is to be given to result_data_fini().
 */
int result_read(const char *path, struct result_data *data, char *why, size_t why_bytes);

/*
 * The same for a file that is being written or whose writer was killed: the end may be missing and
 * the last line cut off; what is there is taken, and `interrupted` set.
 */
int result_read_begun(const char *path, struct result_data *data, char *why, size_t why_bytes);

void result_data_fini(struct result_data *data);

#endif
