/* batch.h - the batch style: all that completed, at once */
#ifndef PYSHIM_BATCH_H
#define PYSHIM_BATCH_H

#include "pyshim/engine.h"

static inline int batch_prepare(struct engine *engine)
{
	(void)engine;
	PyErr_SetString(PyExc_NotImplementedError, "batch style");
	return -1;
}
static inline void batch_hand_out(struct engine *engine, struct vly_event *events, int count)
{
	(void)engine;
	(void)events;
	(void)count;
}
static inline PyObject *batch_next(struct engine *engine)
{
	(void)engine;
	return NULL;
}
static inline uint64_t batch_pinned(const struct engine *engine)
{
	(void)engine;
	return 0;
}
static inline uint64_t batch_copied(const struct engine *engine)
{
	(void)engine;
	return 0;
}

#endif
