/* dispatch.h - a batch of completions handed to Python */
#ifndef PYSHIM_DISPATCH_H
#define PYSHIM_DISPATCH_H

#include "pyshim/engine.h"

/* Hands out all events; leaves no exception raised. */
void dispatch_events(struct engine *engine, struct vly_event *events, int count);

/* Connections that were left for this poll: paused data, wake-ups. */
void dispatch_todo(struct engine *engine);

#endif
