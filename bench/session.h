/* session.h - all runs of one command: order, result file, table, exit code */
#ifndef VLY_BENCH_SESSION_H
#define VLY_BENCH_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/options.h"
#include "bench/run.h"
#include "bench/variant.h"

#define SESSION_ROWS_MAX 64
#define SESSION_ATTEMPTS 3 /* of a run that turns out invalid */

struct session_row {
	const struct variant *variant; /* NULL: the session's peer */
	const char *name;
	char unavailable[RUN_REASON_BYTES]; /* empty: it can run */
	struct syscalls syscalls;           /* what the probe counted, if asked for */
};

struct session {
	const char *workload;
	const struct load_options *options;
	int argc;
	char **argv;
	struct session_row rows[SESSION_ROWS_MAX]; /* in the order of the table */
	unsigned int rows_count;
	struct run_peer *peer;
	uint16_t port; /* of servers; 0: a free one for each run */
	const char *load_nic;

	/* What only some commands want; all zero: options->runs blocks and the table. */
	uint64_t budget_ns; /* no block is begun that would not end within it; 0: none */
	/*
	 * After each whole block, given all runs so far: returns how many blocks it shall be in
	 * all, which ends the session if that is no more than `block`.
	 */
	uint32_t (*after_block)(struct session *session, const struct run_result *runs,
				size_t count, uint32_t block, uint32_t blocks);
	/* After the table: prints what else is to be said, and returns the exit code. */
	int (*conclude)(struct session *session, FILE *out, const struct run_result *runs,
			size_t count, int exit_code);
	void *arg; /* of both */
};

/*
 * Runs every row options->runs times, in blocks of random order by options->seed, writes the result
 * file and prints the table. Where rows are compared with confidence the first row runs once more
 * before the first block and after the last one, as a canary for drift. With options->syscalls each
 * row runs once under perf before all that. Returns an exit code.
 */
int session_run(struct session *session);

#endif
