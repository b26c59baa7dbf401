/* extras.c - foreign descriptors and timers on an engine: the Watch and Timer types */
#include "pyshim/extras.h"

#include <limits.h>
#include <math.h>

/* While one runs, the engine's set of extras has a reference. */
struct watch {
	PyObject_HEAD struct engine *engine;
	PyObject *callback;
	vly_conn handle;
	int fd;
	bool closed;
};

struct timer {
	PyObject_HEAD struct engine *engine;
	PyObject *function, *args;
	vly_timer handle;
	bool running;
};

static void report(struct engine *engine, PyObject *result, const char *message, PyObject *where)
{
	if (!result)
		engine_report(engine, message, NULL, where);
	Py_XDECREF(result);
}

static void forget(struct engine *engine, PyObject *extra)
{
	if (engine->extras && PySet_Discard(engine->extras, extra) < 0)
		PyErr_Clear();
}

/* ---- watches ---- */

PyObject *extras_watch(struct engine *engine, PyObject *const *args, Py_ssize_t nargs)
{
	PyTypeObject *type = engine->state->watch_type;
	struct watch *watch;
	int fd, error;
	long mask;

	if (nargs != 3)
		return PyErr_Format(PyExc_TypeError,
				    "watch() takes fd, mask and callback, not %zd "
				    "arguments",
				    nargs);
	if (engine_check(engine))
		return NULL;
	fd = PyObject_AsFileDescriptor(args[0]);
	mask = PyLong_AsLong(args[1]);
	if (fd < 0 || (mask == -1 && PyErr_Occurred()))
		return NULL;
	if (mask <= 0 || mask > SHRT_MAX)
		return PyErr_Format(PyExc_ValueError, "mask must be of select.POLL* bits, not %ld",
				    mask);
	if (!PyCallable_Check(args[2]))
		return PyErr_Format(PyExc_TypeError, "callback must be callable, not %.100s",
				    Py_TYPE(args[2])->tp_name);
	watch = (struct watch *)type->tp_alloc(type, 0);
	if (!watch)
		return NULL;
	watch->closed = true;
	watch->fd = fd;
	watch->engine = (struct engine *)Py_NewRef((PyObject *)engine);
	watch->callback = Py_NewRef(args[2]);
	if (PySet_Add(engine->extras, (PyObject *)watch))
		goto fail;
	error = engine->link->ops->watch(engine->link, fd, (short)mask,
					 user_tagged(watch, TAG_WATCH), &watch->handle);
	if (error) {
		forget(engine, (PyObject *)watch);
		state_raise(error, "watch");
		goto fail;
	}
	watch->closed = false;
	return (PyObject *)watch;
fail:
	Py_DECREF((PyObject *)watch);
	return NULL;
}

void watch_ready(struct watch *watch, int mask)
{
	PyObject *args[2];

	if (watch->closed)
		return;
	args[0] = PyLong_FromLong(watch->fd);
	args[1] = PyLong_FromLong(mask);
	if (args[0] && args[1]) {
		PyObject *callback = Py_NewRef(watch->callback);

		report(watch->engine, PyObject_Vectorcall(callback, args, 2, NULL),
		       "Exception in the callback of watch()", callback);
		Py_DECREF(callback);
	}
	Py_XDECREF(args[0]);
	Py_XDECREF(args[1]);
}

void watch_closed(struct watch *watch)
{
	forget(watch->engine, (PyObject *)watch);
}

static PyObject *method_watch_close(struct watch *self, PyObject *unused)
{
	struct link *link = self->engine->link;

	(void)unused;
	if (self->closed || !link)
		Py_RETURN_NONE;
	if (engine_check(self->engine))
		return NULL;
	self->closed = true;
	link->ops->close_conn(link, self->handle);
	Py_RETURN_NONE;
}

static int watch_traverse(struct watch *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(self->engine);
	Py_VISIT(self->callback);
	return 0;
}

static int watch_clear(struct watch *self)
{
	self->closed = true;
	Py_CLEAR(self->callback);
	return 0;
}

static void watch_dealloc(struct watch *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	watch_clear(self);
	Py_CLEAR(self->engine);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyMethodDef watch_methods[] = {
	{"close", METHOD(method_watch_close), METH_NOARGS,
	 "close()\n--\n\nNo callback after this. The descriptor stays yours."},
	{0},
};

static PyType_Slot watch_slots[] = {
	{Py_tp_doc, SLOT_DOC("A foreign descriptor in an engine's polls; made by Engine.watch().")},
	{Py_tp_dealloc, SLOT(watch_dealloc)},
	{Py_tp_traverse, SLOT(watch_traverse)},
	{Py_tp_clear, SLOT(watch_clear)},
	{Py_tp_methods, watch_methods},
	{0, NULL},
};

PyType_Spec watch_spec = {
	.name = "volley.Watch",
	.basicsize = sizeof(struct watch),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = watch_slots,
};

/* ---- timers ---- */

PyObject *extras_call_later(struct engine *engine, PyObject *const *args, Py_ssize_t nargs)
{
	PyTypeObject *type = engine->state->timer_type;
	struct timer *timer;
	double delay;
	int error;

	if (nargs < 2)
		return PyErr_Format(PyExc_TypeError, "call_later() takes a delay and a function");
	if (engine_check(engine))
		return NULL;
	delay = PyFloat_AsDouble(args[0]);
	if (delay == -1.0 && PyErr_Occurred())
		return NULL;
	if (!(delay >= 0 && delay < 1e9))
		return PyErr_Format(PyExc_ValueError, "delay must be 0..1e9 seconds");
	if (!PyCallable_Check(args[1]))
		return PyErr_Format(PyExc_TypeError, "function must be callable, not %.100s",
				    Py_TYPE(args[1])->tp_name);
	timer = (struct timer *)type->tp_alloc(type, 0);
	if (!timer)
		return NULL;
	timer->engine = (struct engine *)Py_NewRef((PyObject *)engine);
	timer->function = Py_NewRef(args[1]);
	timer->args = PyTuple_New(nargs - 2);
	if (!timer->args)
		goto fail;
	for (Py_ssize_t i = 2; i < nargs; i++)
		PyTuple_SET_ITEM(timer->args, i - 2, Py_NewRef(args[i]));
	if (PySet_Add(engine->extras, (PyObject *)timer))
		goto fail;
	error = engine->link->ops->timer_start(engine->link,
					       delay > 0 ? (uint64_t)(delay * 1e9) : 0,
					       user_tagged(timer, TAG_TIMER), &timer->handle);
	if (error) {
		forget(engine, (PyObject *)timer);
		state_raise(error, "call_later");
		goto fail;
	}
	timer->running = true;
	return (PyObject *)timer;
fail:
	Py_DECREF((PyObject *)timer);
	return NULL;
}

void timer_fired(struct timer *timer)
{
	if (!timer->running)
		return;
	timer->running = false;
	Py_INCREF((PyObject *)timer);
	forget(timer->engine, (PyObject *)timer);
	report(timer->engine, PyObject_CallObject(timer->function, timer->args),
	       "Exception in the function of call_later()", timer->function);
	Py_DECREF((PyObject *)timer);
}

static PyObject *method_cancel(struct timer *self, PyObject *unused)
{
	struct link *link = self->engine->link;

	(void)unused;
	if (!self->running || !link)
		Py_RETURN_NONE;
	if (engine_check(self->engine))
		return NULL;
	self->running = false;
	link->ops->timer_cancel(link, self->handle);
	forget(self->engine, (PyObject *)self);
	Py_RETURN_NONE;
}

static int timer_traverse(struct timer *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(self->engine);
	Py_VISIT(self->function);
	Py_VISIT(self->args);
	return 0;
}

static int timer_clear(struct timer *self)
{
	self->running = false;
	Py_CLEAR(self->function);
	Py_CLEAR(self->args);
	return 0;
}

static void timer_dealloc(struct timer *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	timer_clear(self);
	Py_CLEAR(self->engine);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyMethodDef timer_methods[] = {
	{"cancel", METHOD(method_cancel), METH_NOARGS,
	 "cancel()\n--\n\nThe function is not called after this."},
	{0},
};

static PyType_Slot timer_slots[] = {
	{Py_tp_doc, SLOT_DOC("A call that is due later; made by Engine.call_later().")},
	{Py_tp_dealloc, SLOT(timer_dealloc)},
	{Py_tp_traverse, SLOT(timer_traverse)},
	{Py_tp_clear, SLOT(timer_clear)},
	{Py_tp_methods, timer_methods},
	{0, NULL},
};

PyType_Spec timer_spec = {
	.name = "volley.Timer",
	.basicsize = sizeof(struct timer),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = timer_slots,
};
