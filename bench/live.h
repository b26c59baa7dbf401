/* live.h - a run while it goes on: its server and its load, brought up, watched, ended */
#ifndef VLY_BENCH_LIVE_H
#define VLY_BENCH_LIVE_H

#include "bench/disturbance.h"
#include "bench/loader.h"
#include "bench/run.h"
#include "bench/speed.h"

#include <stdbool.h>
#include <stdint.h>

struct live {
	const struct run_spec *spec;
	struct run_result *result;
	struct server own;     /* of a variant */
	struct server *server; /* the one in use */
	struct loader loader;
	struct vly_addr target;
	int loop; /* of a row on one; -1 */
	bool begin_asked, opened, end_asked, closed, interrupt_sent;
	uint64_t deadline_ns, sample_by_ns;
	struct speed server_before, server_after, load_before, load_after;
	struct disturbance calm_before, calm_after;
	/*
	 * Of turns. What was spent between them shall not count: `before` and `calm` are readings at the
	 * beginning, moved on by that much.
	 */
	bool began, paused, load_polls;
	struct sample before, last; /* `last`: the end of the turn before */
	struct disturbance calm;
};

/*
 * Describes the run, starts the server and the load against it. False: it did not come to that, and the
 * result says why. Ends with live_close() either way.
 */
bool live_open(struct live *live, const struct run_spec *spec, struct run_result *result);

/*
 * One step of a run that goes on: hears both sides for up to 100 ms and takes the samples. False once it
 * is over.
 */
bool live_step(struct live *live);

/*
 * Lets a load that is held have its turn, or, after the last, come to its end; that shall not take longer
 * than `patience_ns`.
 */
void live_go_on(struct live *live, uint64_t patience_ns);

/* Whether it is held, and all that it spent until now is known. */
bool live_is_held(const struct live *live);

/*
 * While it is held: a side that never sleeps is stopped, or it would take the CPU from those whose turn
 * it is. live_go_on() starts it again.
 */
void live_pause(struct live *live);

/* Ends both sides, and reads the CPUs' speed once more. */
void live_close(struct live *live);

/* Frees what is left, after the result was taken. */
void live_fini(struct live *live);

bool live_is_interrupted(const struct live *live);

#endif
