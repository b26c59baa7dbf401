/* signals.h - signals end a sleep: Ctrl-C works without traffic */
#ifndef PYSHIM_SIGNALS_H
#define PYSHIM_SIGNALS_H

#include "pyshim/engine.h"

/*
 * Python tells signals by a byte on its wake-up descriptor. If that is free when an engine first sleeps on
 * the main thread, the engine takes it until it closes; if it is somebody else's (asyncio's), or is taken
 * away later, sleeps on the main thread are cut into slices of this length. A core that never sleeps
 * watches nothing, which would cost it a system call per batch: its slices are short instead.
 */
#define SIGNALS_SLICE_NS 200000000
#define SIGNALS_BUSY_SLICE_NS 1000000

static inline int64_t signals_slice_ns(const struct engine *engine)
{
	return engine->options.config.idle == VLY_IDLE_BUSY ? SIGNALS_BUSY_SLICE_NS
							    : SIGNALS_SLICE_NS;
}

/* Makes the pipe that Python writes to on a signal, and watches it. 0, or -1 with an exception. */
int signals_open(struct engine *engine);
void signals_close(struct engine *engine);

/* Before a poll that may sleep: whether it must be sliced. -1 with an exception. */
int signals_prepare(struct engine *engine);

/* The pipe is readable. */
void signals_seen(struct engine *engine);

#endif
