/* engine.h - opening an engine and its cores, running applications on them, stopping */
#ifndef VOLLEY_ENGINE_H
#define VOLLEY_ENGINE_H

#include "volley/config.h"
#include "volley/core.h"
#include "volley/stats.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Reads the topology, chooses CPUs, and takes what cores share (mail rings, ports). Any thread;
 * once per engine. The config is copied. Returns 0, or -errno with one log line that names the
 * limit and the way out: -EINVAL (config), -ENOMEM, -EMFILE, -E2BIG (more cores than CPUs),
 * -ENOTSUP (nic not built or refused here).
 */
VLY_API VLY_MUST_USE int vly_engine_open(const struct vly_config *config,
					 struct vly_engine **engine);

/* All cores must be closed. NULL is allowed. */
VLY_API void vly_engine_close(struct vly_engine *engine);

/* CPU chosen for a core, its nic's name, and how many cores there are. */
VLY_API int vly_engine_cpu(const struct vly_engine *engine, unsigned core);
VLY_API const char *vly_engine_nic(const struct vly_engine *engine);
VLY_API unsigned vly_engine_cores(const struct vly_engine *engine);

/*
 * Opens core `index` on the calling thread, which is to poll it and to close it. Takes all its
 * memory now. -EBUSY if open already.
 */
VLY_API VLY_MUST_USE int vly_core_open(struct vly_engine *engine, unsigned index,
				       struct vly_core **core);

/*
 * Resets what is still connected, without events, and gives everything back. Same thread as
 * vly_core_open. NULL is allowed.
 */
VLY_API void vly_core_close(struct vly_core *core);

/* ---- from any thread, and from signal handlers ---- */

/* Makes the current or next vly_poll of the core return. */
VLY_API void vly_wake(struct vly_engine *engine, unsigned core);

/*
 * Sets what vly_stopping() tells, and wakes every core. vly_run then closes everything and returns.
 */
VLY_API void vly_stop(struct vly_engine *engine);

/*
 * A snapshot of a core's counters; stops nothing. Any thread, not a signal handler. -ENOENT: no
 * such core, or never opened.
 */
VLY_API int vly_stats(struct vly_engine *engine, unsigned core, struct vly_stats *stats);

/*
 * The counters that the driver of a core's port keeps beyond vly_stats (DPDK's extended statistics): of the
 * whole port, at the core of its first queue, renewed every second. Fills in the first `max` of them and returns how many
 * there are; 0 for other cores and nics, and when the core is closed. Threads and -ENOENT as vly_stats().
 */
VLY_API int vly_counters(struct vly_engine *engine, unsigned core, struct vly_counter *counters,
			 unsigned max);

/* ---- callbacks ---- */

/* Each is called on the core's own thread; all but `events` may be NULL. */
struct vly_app {
	/*
	 * Before the first poll: listen, connect. A negative return stops the engine and becomes
	 * vly_run's.
	 */
	int (*start)(struct vly_core *core, void *arg, void **state);
	void (*events)(struct vly_core *core, struct vly_event *events, int count, void *state);
	/*
	 * vly_stop was called: the last words. After it vly_run closes listeners and connections,
	 * and delivers the rest of the events.
	 */
	void (*stopping)(struct vly_core *core, void *state);
	/* After the last event: free `state`. Called for each core whose start returned 0. */
	void (*stop)(struct vly_core *core, void *state);
};

/*
 * Opens an engine, runs `app` on a pinned thread per core until vly_stop, closes all. 0, or the
 * first error.
 */
VLY_API VLY_MUST_USE int vly_run(const struct vly_config *config, const struct vly_app *app,
				 void *arg);

#ifdef __cplusplus
}
#endif

#endif
