/* lineup.h - the rows that a command line names, and the session that runs them */
#ifndef VLY_BENCH_LINEUP_H
#define VLY_BENCH_LINEUP_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/options.h"
#include "bench/session.h"
#include "bench/variant.h"

#define LINEUP_COPIES_MAX 16
#define LINEUP_NAME_BYTES 64

struct lineup {
	const char *command;
	bool twice;     /* the same variant may stand in it again, under another name */
	bool alternate; /* rows have turns, unless something stands in the way or --turns says 1 */
	uint32_t turns; /* of --turns; 0: not given */
	struct session session;
	uint16_t port;                            /* of the servers; 0: a free one for each run */
	struct variant copies[LINEUP_COPIES_MAX]; /* of --exec, and variants named again */
	char copy_names[LINEUP_COPIES_MAX][LINEUP_NAME_BYTES];
	unsigned int copies_count, execs_count;
};

/* A child parser for struct argp_child: VARIANT..., --exec, --port; its input is a struct lineup. */
extern const struct argp lineup_argp;

/*
 * After parsing: fills in the session but for what is special to a command, and finds out before
 * anything starts which rows cannot run.
 */
void lineup_finish(struct lineup *lineup, struct load_options *options, int argc, char **argv);

#endif
