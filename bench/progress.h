/* progress.h - what is going on now, on stderr */
#ifndef VLY_BENCH_PROGRESS_H
#define VLY_BENCH_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/load.h"

/* Rewrites one line twice a second on a terminal, prints one every 10 s elsewhere. */
struct progress {
	bool terminal;
	bool line_open; /* a rewritten line stands on the terminal */
	uint64_t next_ns;
	uint64_t began_ns;
	uint64_t run_ns; /* expected time of one run */
	uint32_t runs_done, runs;
	char label[96]; /* "c_epoll, run 2" */
	uint64_t run_began_ns;
};

void progress_init(struct progress *progress, uint32_t runs, uint64_t run_ns);

/* A run begins; it is number runs_done + 1. */
void progress_run(struct progress *progress, const char *variant, uint32_t run, bool many);

/* Called as often as one likes. `load` is NULL while the server starts. */
void progress_tick(struct progress *progress, const struct load_progress *load);

/* One line of its own, below no half-written one. */
void progress_note(struct progress *progress, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Takes a rewritten line away. */
void progress_clear(struct progress *progress);

#endif
