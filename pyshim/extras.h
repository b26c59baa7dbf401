/* extras.h - foreign descriptors and timers on an engine: the Watch and Timer types */
#ifndef PYSHIM_EXTRAS_H
#define PYSHIM_EXTRAS_H

#include "pyshim/engine.h"

struct watch;
struct timer;

extern PyType_Spec watch_spec, timer_spec;

/* Engine.watch(fd, mask, callback) and Engine.call_later(delay, fn, *args). */
PyObject *extras_watch(struct engine *engine, PyObject *const *args, Py_ssize_t nargs);
PyObject *extras_call_later(struct engine *engine, PyObject *const *args, Py_ssize_t nargs);

/* Events of them; exceptions are reported. */
void watch_ready(struct watch *watch, int mask);
void watch_closed(struct watch *watch);
void timer_fired(struct timer *timer);

#endif
