/* session.h - all runs of one command: order, result file, table, exit code */
#ifndef VLY_BENCH_SESSION_H
#define VLY_BENCH_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/run.h"
#include "bench/variant.h"

#define SESSION_ROWS_MAX 64
#define SESSION_ATTEMPTS 3 /* of a run that turns out invalid */

struct session_row {
	const struct variant *variant; /* NULL: the session's peer */
	const char *name;
	char unavailable[RUN_REASON_BYTES]; /* empty: it can run */
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
};

/*
 * Runs every row options->runs times, in blocks of random order by options->seed, writes the result
 * file and prints the table. Returns an exit code.
 */
int session_run(struct session *session);

#endif
