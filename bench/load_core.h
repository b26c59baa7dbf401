/* load_core.h - one thread of the load generator: an engine core and the client that drives it */
#ifndef VLY_BENCH_LOAD_CORE_H
#define VLY_BENCH_LOAD_CORE_H

#include "bench/pingpong_client.h"
#include "bench/slices.h"

#include "volley/engine.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum load_stage {
	LOAD_STAGE_CONNECT = 0,
	LOAD_STAGE_RUN,
	LOAD_STAGE_HOLD, /* between two turns: as draining, but RUN may follow */
	LOAD_STAGE_DRAIN,
	LOAD_STAGE_HANG_UP,
	LOAD_STAGE_QUIT,
};

struct load_window {
	uint64_t begin_ns;
	atomic_uint_fast64_t end_ns; /* it may end before its time */
};

/* Written by the main thread only. A change is followed by vly_wake(). */
struct load_orders {
	atomic_int stage;              /* release, after start_ns; load cores acquire */
	atomic_uint_fast64_t start_ns; /* of the messages */
	/* The window, or that of each turn; the last one counts. */
	atomic_uint windows_count; /* release, after the entry; 0: none yet */
	struct load_window windows[SLICES_MAX];
};

/* All but the counters belongs to the main thread before the thread starts and after it ended. */
struct load_core {
	/*
	 * Written by the core after each batch, relaxed: for progress only. Results are read after
	 * joining.
	 */
	alignas(128) atomic_uint_fast64_t messages;
	atomic_uint_fast64_t outstanding;
	atomic_uint up, closing;
	atomic_uint stage_done; /* the last stage taken over */
	atomic_bool failed;     /* a connection, or `err`: release; load.c acquires, ends the run */

	alignas(128) struct vly_engine *engine;
	const struct load_orders *orders;
	struct pingpong_params params;
	unsigned index;
	int cpu; /* to be pinned on; -1: not */
	pthread_t thread;
	bool started;
	struct pingpong_client *client;
	int err; /* opening or polling failed */
};

/*
 * Starts the thread; `core` has engine, orders, params, index and cpu, the rest is zero. 0 or
 * -errno.
 */
__attribute__((warn_unused_result)) int load_core_start(struct load_core *core);

/* Waits for the thread, after LOAD_STAGE_QUIT was ordered. */
void load_core_join(struct load_core *core);

/* Frees the client. */
void load_core_fini(struct load_core *core);

/* Sums of what the cores have told. */
uint64_t load_cores_messages(const struct load_core *cores, unsigned count);
uint64_t load_cores_outstanding(const struct load_core *cores, unsigned count);
uint32_t load_cores_up(const struct load_core *cores, unsigned count);

/* Whether any of them has failed; all of them have taken `stage` over. */
bool load_cores_failed(const struct load_core *cores, unsigned count);
bool load_cores_reached(const struct load_core *cores, unsigned count, enum load_stage stage);

/* Run time of the thread so far, while it lives; 0 if it cannot be told. */
uint64_t load_core_cpu_ns(const struct load_core *core);

#endif
