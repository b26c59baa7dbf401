/* engine.c - an engine's life: opening, polling, reporting, closing */
#include "pyshim/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include "pyshim/batch.h"
#include "pyshim/dispatch.h"
#include "pyshim/listener.h"
#include "pyshim/meter.h"
#include "pyshim/python_compat.h"
#include "pyshim/send_queue.h"
#include "pyshim/signals.h"
#include "pyshim/transport.h"

int engine_check(struct engine *engine)
{
	if (unlikely(!engine->link)) {
		PyErr_SetString(PyExc_ValueError, "the engine is closed");
		return -1;
	}
	if (unlikely(engine->owner != PyThread_get_thread_ident())) {
		PyErr_SetString(PyExc_RuntimeError,
				"an engine belongs to the thread that opened it: only stop() and "
				"wake() may be called from others");
		return -1;
	}
	return 0;
}

/* The core is polled by this thread, so this thread is the one to pin. */
static int pin(const struct engine_options *options)
{
	cpu_set_t set;

	if (options->cpu < 0 || options->threaded)
		return 0;
	CPU_ZERO(&set);
	CPU_SET((unsigned)options->cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set) ? -errno : 0;
}

int engine_open_link(struct engine *engine)
{
	char why[256] = "";
	int error = pin(&engine->options);

	if (error) {
		state_raise(error, "cpu");
		return -1;
	}
	error = engine->options.threaded
			? link_open_thread(&engine->options, why, sizeof(why), &engine->link)
			: link_open(&engine->options, why, sizeof(why), &engine->link);
	if (error == -EINVAL) {
		PyErr_Format(PyExc_ValueError, "nic '%s': %s", engine->options.nic,
			     why[0] ? why : "an argument of Engine() is out of range");
		return -1;
	}
	if (error) {
		state_raise(error, engine->options.nic);
		return -1;
	}
	if (engine->options.meter[0] &&
	    (error = meter_open(engine->options.meter, &engine->meter))) {
		engine_shut(engine);
		state_raise(error, engine->options.meter);
		return -1;
	}
	engine->core = engine->link->core;
	engine->owner = PyThread_get_thread_ident();
	if (signals_open(engine)) {
		engine_shut(engine);
		return -1;
	}
	engine->next = engine->state->engines;
	engine->back = &engine->state->engines;
	if (engine->next)
		engine->next->back = &engine->next;
	engine->state->engines = engine;
	return 0;
}

/* ---- exceptions of callbacks ---- */

static PyObject *describe(struct engine *engine, const char *message, PyObject *error,
			  struct transport *transport)
{
	struct state *state = engine->state;
	PyObject *dict = PyDict_New();
	PyObject *text = PyUnicode_FromString(message);

	if (!dict || !text || PyDict_SetItem(dict, state->str_message, text) ||
	    PyDict_SetItem(dict, state->str_exception, error) ||
	    (transport && PyDict_SetItem(dict, state->str_transport, (PyObject *)transport)) ||
	    (transport && transport->protocol &&
	     PyDict_SetItem(dict, state->str_protocol, transport->protocol)))
		Py_CLEAR(dict);
	Py_XDECREF(text);
	return dict;
}

void engine_report(struct engine *engine, const char *message, struct transport *transport,
		   PyObject *where)
{
	PyObject *error = error_take();
	PyObject *handler = Py_XNewRef(engine->handler);

	if (!error)
		goto done;
	engine->exceptions++;
	if (!PyErr_GivenExceptionMatches(error, PyExc_Exception)) {
		if (!engine->raised)
			engine->raised = Py_NewRef(error);
	} else if (handler) {
		PyObject *dict = describe(engine, message, error, transport);
		PyObject *result = dict ? PyObject_CallOneArg(handler, dict) : NULL;

		if (!result)
			PyErr_WriteUnraisable(handler);
		Py_XDECREF(result);
		Py_XDECREF(dict);
	} else {
		error_give(Py_NewRef(error));
		PyErr_WriteUnraisable(where ? where : (PyObject *)transport);
	}
	Py_DECREF(error);
done:
	Py_XDECREF(handler);
}

/* ---- polling ---- */

static void dispatch(struct engine *engine, struct vly_event *events, int count)
{
	struct meter *meter = engine->meter;
	uint64_t began_ns = meter ? vly_now_ns() : 0;

	dispatch_todo(engine);
	dispatch_events(engine, events, count);
	if (meter)
		meter_batch(meter, events, count, began_ns, vly_now_ns());
}

static int hand_out(struct engine *engine, struct vly_event *events, int count)
{
	engine->dispatching = true;
	engine->events = events;
	engine->events_count = count;
	dispatch(engine, events, count);
	engine->events_count = 0;
	engine->dispatching = false;
	if (engine->close_wanted)
		engine_shut(engine);
	if (engine->raised) {
		PyObject *raised = engine->raised;

		engine->raised = NULL;
		error_give(raised);
		return -1;
	}
	return count;
}

/* Without the GIL if it may take time. */
static int poll_link(struct engine *engine, struct vly_event **events, int64_t timeout_ns)
{
	struct link *link = engine->link;
	uint64_t polled_ns = 0;
	int count;

	if (timeout_ns == 0)
		return link->ops->poll(link, events, 0);
	engine->polling = true;
	Py_BEGIN_ALLOW_THREADS;
	count = link->ops->poll(link, events, timeout_ns);
	if (engine->meter)
		polled_ns = vly_now_ns();
	Py_END_ALLOW_THREADS;
	engine->polling = false;
	if (engine->meter)
		meter_gil_wait(engine->meter, vly_now_ns() - polled_ns);
	return count;
}

/* One poll and its callbacks. On the main thread a long one is cut into slices: signal handlers are due. */
static int poll_once(struct engine *engine, int64_t timeout_ns)
{
	struct vly_event *events;
	int count = poll_link(engine, &events, timeout_ns);

	if (count < 0) {
		state_raise(count, "poll");
		return -1;
	}
	count = hand_out(engine, events, count);
	return count >= 0 && PyErr_CheckSignals() ? -1 : count;
}

static bool take_wake(struct engine *engine)
{
	return atomic_load_explicit(&engine->woken, memory_order_relaxed) &&
	       atomic_exchange_explicit(&engine->woken, false, memory_order_acq_rel);
}

static int poll_sliced(struct engine *engine, int64_t timeout_ns)
{
	int64_t slice_ns = signals_slice_ns(engine);

	for (;;) {
		int64_t part_ns = timeout_ns < 0 || timeout_ns > slice_ns ? slice_ns : timeout_ns;
		int count = poll_once(engine, part_ns);

		if (count || part_ns == timeout_ns || !engine->link || take_wake(engine))
			return count;
		if (timeout_ns > 0)
			timeout_ns -= part_ns;
	}
}

int engine_poll(struct engine *engine, int64_t timeout_ns)
{
	int count, sliced;

	if (engine_check(engine))
		return -1;
	if (engine->dispatching) {
		PyErr_SetString(PyExc_RuntimeError,
				"poll inside a callback: it would take away the completions that "
				"are being handed out");
		return -1;
	}
	if (engine->todo || take_wake(engine))
		timeout_ns = 0;
	sliced = timeout_ns ? signals_prepare(engine) : 0;
	if (sliced < 0)
		return -1;
	Py_INCREF((PyObject *)engine); /* callbacks may drop the last reference */
	count = sliced ? poll_sliced(engine, timeout_ns) : poll_once(engine, timeout_ns);
	Py_DECREF((PyObject *)engine);
	return count;
}

/* ---- closing ---- */

static void lose_all(struct engine *engine, bool tell)
{
	while (engine->conns) {
		struct transport *transport = engine->conns;

		Py_INCREF((PyObject *)transport);
		transport->state = T_CLOSED;
		send_queue_clear(transport);
		if (tell) {
			PyObject *error = state_oserror(-ECONNABORTED);

			PyErr_Clear();
			transport->style->lost(transport, error);
			Py_XDECREF(error);
		}
		Py_CLEAR(transport->waiter);
		Py_CLEAR(transport->spare);
		transport_unlink(transport);
		Py_DECREF((PyObject *)transport);
	}
	while (engine->todo) {
		struct transport *transport = engine->todo;

		engine->todo = transport->todo_next;
		transport->flags &= (uint16_t)~T_TODO;
		Py_DECREF((PyObject *)transport);
	}
}

static void close_link(struct engine *engine, bool tell)
{
	struct link *link = engine->link;

	engine->close_wanted = false;
	engine->link = NULL;
	engine->core = NULL;
	if (engine->back) {
		*engine->back = engine->next;
		if (engine->next)
			engine->next->back = engine->back;
		engine->back = NULL;
	}
	link->ops->close(link);
	meter_close(engine->meter);
	engine->meter = NULL;
	signals_close(engine);
	ticket_drop_all(engine);
	lose_all(engine, tell);
	if (engine->extras)
		PySet_Clear(engine->extras);
}

static void drop_listeners(struct engine *engine)
{
	for (unsigned i = 0; i < engine->listeners_count; i++)
		Py_CLEAR(engine->listeners[i]);
}

static void shut(struct engine *engine, bool tell)
{
	PyObject *pending = error_take();

	if (engine->link)
		close_link(engine, tell);
	drop_listeners(engine);
	if (pending)
		error_give(pending);
}

void engine_shut(struct engine *engine)
{
	Py_INCREF((PyObject *)engine);
	shut(engine, true);
	Py_DECREF((PyObject *)engine);
}

void engine_abandon(struct engine *engine)
{
	shut(engine, false);
}

void engine_suspend(struct engine *engine)
{
	if (engine->link)
		close_link(engine, true);
}

void engine_close_all(struct state *state)
{
	while (state->engines) {
		struct engine *engine = state->engines;

		if (engine->polling) {
			/* by a daemon thread, inside its core, without the GIL: it ends with the process */
			state->engines = engine->next;
			if (engine->next)
				engine->next->back = engine->back;
			engine->back = NULL;
			continue;
		}
		Py_INCREF((PyObject *)engine);
		engine_shut(engine);
		Py_DECREF((PyObject *)engine);
	}
}
