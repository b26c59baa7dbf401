/* result.h - the result file: JSON Lines, a header, a line per run, an end */
#ifndef VLY_BENCH_RESULT_H
#define VLY_BENCH_RESULT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "bench/options.h"
#include "bench/run.h"

/* docs/result.schema.json describes every line. */
#define RESULT_SCHEMA "volley-result"
#define RESULT_SCHEMA_VERSION 1

/* All zero: no file is wanted, and everything below does nothing. */
struct result_file {
	FILE *file; /* stdout for "-" */
	const char *path;
	int err;          /* the first -errno of writing: a full disk is told once, at the end */
	uint32_t runs[5]; /* lines written, by enum run_status */
};

/* Opens and truncates; path NULL: none. 0 or -errno. */
int result_open(struct result_file *result, const char *path);

struct result_head {
	const char *workload;
	int argc;
	char **argv;
	const struct load_options *options;
	const char *load_nic;
	json_t *rows;        /* borrowed: array of {name, command} */
	json_t *environment; /* borrowed */
	json_t *keepup;      /* borrowed: settings of volley keepup; NULL: it is another command */
};

void result_header(struct result_file *result, const struct result_head *head);
void result_run(struct result_file *result, const char *workload,
		const struct load_options *options, const struct run_result *run);
/* Its line, for a workload that has more to say; then result_write(), which takes it. */
json_t *result_run_line(const char *workload, const struct load_options *options,
			const struct run_result *run);
void result_write(struct result_file *result, json_t *line);

/* `status`: "complete" or "interrupted". */
void result_end(struct result_file *result, const char *status, int exit_code);

/* Closes. 0, or the first -errno of writing. */
int result_close(struct result_file *result);

#endif
