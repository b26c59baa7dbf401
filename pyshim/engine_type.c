/* engine_type.c - the methods of Engine */
#include "pyshim/engine.h"

#include <errno.h>
#include <structmember.h>

#include "pyshim/batch.h"
#include "pyshim/extras.h"
#include "pyshim/listener.h"
#include "pyshim/options.h"
#include "pyshim/send_queue.h"
#include "pyshim/transport.h"

static int engine_init(struct engine *self, PyObject *args, PyObject *kwargs)
{
	if (self->state) {
		PyErr_SetString(PyExc_RuntimeError, "an Engine is initialised once");
		return -1;
	}
	self->signal_fds[0] = self->signal_fds[1] = -1;
	if (options_parse(self, args, kwargs))
		return -1;
	self->extras = PySet_New(NULL);
	if (!self->extras)
		return -1;
	self->state = state_of_type(Py_TYPE(self));
	return engine_open_link(self);
}

static int check_ready(struct engine *self)
{
	if (self->state)
		return 0;
	PyErr_SetString(PyExc_ValueError, "the engine is closed");
	return -1;
}

/* Seconds, or None for ever, to nanoseconds (negative: for ever). 0, or -1 with an exception. */
static int parse_timeout(PyObject *object, int64_t *timeout_ns)
{
	double seconds;

	*timeout_ns = -1;
	if (object == Py_None)
		return 0;
	seconds = PyFloat_AsDouble(object);
	if (seconds == -1.0 && PyErr_Occurred())
		return -1;
	if (!(seconds >= 0)) {
		PyErr_SetString(PyExc_ValueError, "timeout must not be negative");
		return -1;
	}
	*timeout_ns = seconds < 9e9 ? (int64_t)(seconds * 1e9) : -1;
	/* rounding down to nothing would make a sleep of 0.5 ns a busy loop */
	if (*timeout_ns == 0 && seconds > 0)
		*timeout_ns = 1;
	return 0;
}

static PyObject *method_poll(struct engine *self, PyObject *const *args, Py_ssize_t nargs,
			     PyObject *names)
{
	Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;
	int64_t timeout_ns = 0;
	int count;

	if (nargs + named > 1 ||
	    (named && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "timeout")))
		return PyErr_Format(PyExc_TypeError, "poll() takes one argument, timeout");
	if ((nargs + named && parse_timeout(args[0], &timeout_ns)) || check_ready(self))
		return NULL;
	count = engine_poll(self, timeout_ns);
	return count < 0 ? NULL : PyLong_FromLong(count);
}

static PyObject *run_processes(struct engine *self, Py_ssize_t processes)
{
	PyObject *module, *result;

	if (engine_check(self))
		return NULL;
	if (self->conns)
		return PyErr_Format(PyExc_RuntimeError,
				    "run(processes=%zd): connections are open already", processes);
	module = PyImport_ImportModule("volley._processes");
	if (!module)
		return NULL;
	result = PyObject_CallMethod(module, "run", "On", self, processes);
	Py_DECREF(module);
	return result;
}

static PyObject *method_run(struct engine *self, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"processes", NULL};
	Py_ssize_t processes = 1;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n:run", (char **)(uintptr_t)names,
					 &processes))
		return NULL;
	if (processes < 1 || processes > 1024)
		return PyErr_Format(PyExc_ValueError, "processes must be 1..1024, not %zd",
				    processes);
	if (check_ready(self))
		return NULL;
	if (processes > 1)
		return run_processes(self, processes);
	if (engine_check(self))
		return NULL;
	while (self->link && !atomic_load_explicit(&self->stopping, memory_order_relaxed))
		if (engine_poll(self, -1) < 0)
			return NULL;
	atomic_store_explicit(&self->stopping, false, memory_order_relaxed);
	Py_RETURN_NONE;
}

static PyObject *method_wake(struct engine *self, PyObject *unused)
{
	(void)unused;
	atomic_store_explicit(&self->woken, true, memory_order_release);
	if (self->link)
		self->link->ops->wake(self->link);
	Py_RETURN_NONE;
}

static PyObject *method_stop(struct engine *self, PyObject *unused)
{
	atomic_store_explicit(&self->stopping, true, memory_order_relaxed);
	return method_wake(self, unused);
}

static PyObject *method_close(struct engine *self, PyObject *unused)
{
	(void)unused;
	if (!self->link)
		Py_RETURN_NONE;
	if (self->polling || self->dispatching) {
		if (engine_check(self))
			return NULL;
	} else {
		/* a thread that has ended cannot close what it leaves behind: who closes owns */
		self->owner = PyThread_get_thread_ident();
	}
	if (self->dispatching)
		self->close_wanted = true;
	else
		engine_shut(self);
	Py_RETURN_NONE;
}

static PyObject *method_listen(struct engine *self, PyObject *args, PyObject *kwargs)
{
	return check_ready(self) ? NULL : listener_listen(self, args, kwargs);
}

static PyObject *method_connect(struct engine *self, PyObject *args, PyObject *kwargs)
{
	return check_ready(self) ? NULL : listener_connect(self, args, kwargs);
}

static PyObject *method_watch(struct engine *self, PyObject *const *args, Py_ssize_t nargs)
{
	return check_ready(self) ? NULL : extras_watch(self, args, nargs);
}

static PyObject *method_call_later(struct engine *self, PyObject *const *args, Py_ssize_t nargs)
{
	return check_ready(self) ? NULL : extras_call_later(self, args, nargs);
}

static PyObject *method_fileno(struct engine *self, PyObject *unused)
{
	int fd;

	(void)unused;
	if (check_ready(self) || engine_check(self))
		return NULL;
	fd = self->link->ops->fd(self->link);
	return fd < 0 ? state_raise(fd, "fileno") : PyLong_FromLong(fd);
}

/* None or a callable into `*place`. */
static PyObject *set_callable(PyObject **place, PyObject *function, const char *name)
{
	if (function != Py_None && !PyCallable_Check(function))
		return PyErr_Format(PyExc_TypeError, "%s must be callable or None, not %.100s",
				    name, Py_TYPE(function)->tp_name);
	Py_XSETREF(*place, function == Py_None ? NULL : Py_NewRef(function));
	Py_RETURN_NONE;
}

static PyObject *method_set_exception_handler(struct engine *self, PyObject *handler)
{
	return set_callable(&self->handler, handler, "handler");
}

static PyObject *method_on_batch(struct engine *self, PyObject *function)
{
	return set_callable(&self->on_batch, function, "function");
}

static int put(PyObject *dict, const char *name, uint64_t value)
{
	PyObject *number = PyLong_FromUnsignedLongLong(value);
	int error = number ? PyDict_SetItemString(dict, name, number) : -1;

	Py_XDECREF(number);
	return error;
}

struct counter {
	const char *name;
	uint64_t value;
};

static int put_all(PyObject *dict, const struct counter *counters)
{
	for (; counters->name; counters++)
		if (put(dict, counters->name, counters->value))
			return -1;
	return 0;
}

static int put_engine_stats(PyObject *dict, const struct vly_stats *s)
{
#define COUNTER(name)                                                                              \
	{                                                                                          \
#name, (uint64_t)s->name                                                           \
	}
	const struct counter counters[] = {
		COUNTER(polls),
		COUNTER(polls_empty),
		COUNTER(sleeps),
		COUNTER(wakes),
		COUNTER(events),
		COUNTER(busy_ns),
		COUNTER(idle_ns),
		COUNTER(accepted),
		COUNTER(connected),
		COUNTER(connect_failed),
		COUNTER(closed),
		COUNTER(closed_error),
		COUNTER(accept_full),
		COUNTER(accept_nofile),
		COUNTER(conns),
		COUNTER(rx_events),
		COUNTER(rx_bytes),
		COUNTER(tx_sends),
		COUNTER(tx_bytes),
		COUNTER(tx_calls),
		COUNTER(tx_blocked_budget),
		COUNTER(tx_blocked_pool),
		COUNTER(rx_starved),
		COUNTER(rx_capped),
		COUNTER(holds_copied),
		COUNTER(holds_pinned),
		COUNTER(holds_refused),
		COUNTER(mail_rx),
		COUNTER(mail_tx),
		COUNTER(timers_fired),
		COUNTER(place),
		COUNTER(place_home),
		COUNTER(place_elsewhere),
		COUNTER(relay_tx),
		COUNTER(relay_rx),
		COUNTER(relay_dropped),
		COUNTER(link_up),
		COUNTER(wire_rx_dropped),
		COUNTER(wire_tx_dropped),
		COUNTER(port_rx_frames),
		COUNTER(port_rx_bytes),
		COUNTER(port_tx_frames),
		COUNTER(port_tx_bytes),
		COUNTER(port_rx_missed),
		COUNTER(port_rx_errors),
		COUNTER(port_tx_errors),
		COUNTER(port_rx_no_mbuf),
		COUNTER(region_bytes),
		COUNTER(region_used_bytes),
		COUNTER(region_page_bytes),
		COUNTER(region_locked),
		COUNTER(tx_bufs_free),
		COUNTER(tx_refs_free),
		COUNTER(rx_bufs_free),
		COUNTER(tx_bufs_low),
		COUNTER(rx_bufs_low),
		{0},
	};
#undef COUNTER

	return put_all(dict, counters);
}

static PyObject *method_stats(struct engine *self, PyObject *unused)
{
	struct link_stats more = {0};
	struct vly_stats stats = {0};
	PyObject *dict;
	int error = 0;

	(void)unused;
	if (check_ready(self))
		return NULL;
	if (self->link)
		error = self->link->ops->stats(self->link, &stats, &more);
	if (error)
		return state_raise(error, "stats");
	const struct counter counters[] = {
		{"py_callbacks", self->callbacks},
		{"py_exceptions", self->exceptions},
		{"py_batches", self->batches},
		{"py_pending_bytes", self->pending_bytes},
		{"py_dropped", more.dropped},
		{"py_paused_ns", more.paused_ns},
		{"py_thread_pending_bytes", more.pending_bytes},
		{"py_pinned", batch_pinned(self)},
		{"py_copied", batch_copied(self)},
		{"source_offered", more.source_offered},
		{"source_sum", more.source_sum},
		{"source_replies", more.source_replies},
		{"source_reply_bytes", more.source_reply_bytes},
		{"source_backlog", more.source_backlog},
		{0},
	};

	dict = PyDict_New();
	if (!dict || put_engine_stats(dict, &stats) || put_all(dict, counters))
		Py_CLEAR(dict);
	return dict;
}

/* For run(processes=N): without a core there is nothing that a fork must not copy. */
static PyObject *method_detach(struct engine *self, PyObject *unused)
{
	(void)unused;
	if (check_ready(self) || engine_check(self))
		return NULL;
	engine_suspend(self);
	Py_RETURN_NONE;
}

static PyObject *method_attach(struct engine *self, PyObject *unused)
{
	(void)unused;
	if (check_ready(self))
		return NULL;
	if (self->link)
		return PyErr_Format(PyExc_RuntimeError, "the engine is open");
	if (engine_open_link(self))
		return NULL;
	if (listener_reopen_all(self)) {
		engine_shut(self);
		return NULL;
	}
	Py_RETURN_NONE;
}

static PyObject *method_enter(struct engine *self, PyObject *unused)
{
	(void)unused;
	return Py_NewRef((PyObject *)self);
}

static PyObject *method_exit(struct engine *self, PyObject *const *args, Py_ssize_t nargs)
{
	(void)args;
	(void)nargs;
	return method_close(self, NULL);
}

static PyObject *engine_iternext(struct engine *self)
{
	return check_ready(self) ? NULL : batch_next(self);
}

/* ---- attributes ---- */

static PyObject *get_nic(struct engine *self, void *unused)
{
	(void)unused;
	if (self->link && self->link->engine)
		return PyUnicode_FromString(vly_engine_nic(self->link->engine));
	return PyUnicode_FromString(self->options.nic);
}

static PyObject *get_mode(struct engine *self, void *unused)
{
	(void)unused;
	return PyUnicode_FromString(self->options.threaded ? "thread" : "inline");
}

static PyObject *get_closed(struct engine *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(!self->link);
}

static PyObject *get_stopping(struct engine *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(atomic_load_explicit(&self->stopping, memory_order_relaxed));
}

static PyObject *get_max_batch(struct engine *self, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLong(self->options.config.events_max);
}

/* ---- the type ---- */

static int engine_traverse(struct engine *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(self->extras);
	Py_VISIT(self->handler);
	Py_VISIT(self->on_batch);
	Py_VISIT(self->raised);
	Py_VISIT(self->batch);
	Py_VISIT(self->batch_ready);
	for (struct transport *t = self->conns; t; t = t->next)
		Py_VISIT(t);
	for (struct transport *t = self->todo; t; t = t->todo_next)
		Py_VISIT(t);
	for (struct ticket *t = self->tickets; t; t = t->next)
		Py_VISIT(t->transport);
	for (unsigned i = 0; i < self->listeners_count; i++)
		Py_VISIT(self->listeners[i]);
	return 0;
}

static int engine_clear(struct engine *self)
{
	engine_abandon(self);
	Py_CLEAR(self->extras);
	Py_CLEAR(self->handler);
	Py_CLEAR(self->on_batch);
	Py_CLEAR(self->raised);
	Py_CLEAR(self->batch);
	Py_CLEAR(self->batch_ready);
	return 0;
}

static void engine_finalize(PyObject *object)
{
	struct engine *self = (struct engine *)object;

	if (!self->link || !self->state)
		return;
	PyObject *error = NULL, *type, *trace;

	PyErr_Fetch(&type, &error, &trace);
	if (PyErr_ResourceWarning(object, 1, "unclosed engine %R", object))
		PyErr_WriteUnraisable(object);
	engine_abandon(self);
	PyErr_Restore(type, error, trace);
}

static void engine_dealloc(struct engine *self)
{
	PyTypeObject *type = Py_TYPE(self);

	if (PyObject_CallFinalizerFromDealloc((PyObject *)self))
		return;
	PyObject_GC_UnTrack(self);
	if (self->weakrefs)
		PyObject_ClearWeakRefs((PyObject *)self);
	engine_clear(self);
	PyMem_Free(self->listeners);
	PyMem_Free(self->by_slot);
	if (self->columns)
		column_pool_close(self->columns);
	type->tp_free(self);
	Py_DECREF(type);
}

#define DOC_ENGINE                                                                                   \
	"Engine(*, nic='auto', mode='inline', cpu=None, max_batch=256, ring=4096, spin_us=0,\n"      \
	"       idle='sleep', overload='pause', prefetch=True, max_pinned=64, flush_every=0,\n"      \
	"       flush_ns=0, conns_max=16384, tx_budget=None, close_timeout=None,\n"                  \
	"       huge_pages=True, tx_bufs=None, meter=None, tx_buf_bytes=None)\n\n"                   \
	"One engine: one core, polled by the thread that makes it (mode='inline'), or by a\n"        \
	"thread of its own (mode='thread').\n\n"                                                     \
	"nic: 'auto', 'uring', 'epoll', 'inet:...'; or 'source:...', completions without a\n"        \
	"network, for measurements. cpu: pins the polling thread. max_batch: completions per\n"      \
	"poll. ring: completions that may wait between the threads; overload says what happens\n"    \
	"beyond it: 'pause' stops polling, 'drop' drops data and counts it. spin_us: how long an\n"  \
	"idle core spins before it sleeps. prefetch: asks for the objects of a batch's\n"            \
	"connections before the first callback. max_pinned: batches that views may keep alive;\n"    \
	"beyond it views are copies. flush_every, flush_ns: send answers after so many callbacks\n"  \
	"or nanoseconds instead of at the end of the batch. conns_max: slots, all memory for them\n" \
	"is taken now. tx_budget: bytes that one connection may queue in the engine. tx_bufs:\n"     \
	"buffers for what is queued, of all connections; over inet each message keeps one until\n"   \
	"it is acknowledged, so take as many as there are connections. tx_buf_bytes: of one such\n"  \
	"buffer, 2048 unless given: where all messages are short, short ones lie closer together.\n" \
	"close_timeout: seconds that an orderly close may take. meter: a file that volley keepup\n"  \
	"watches."

static PyMethodDef engine_methods[] = {
	{"listen", METHOD(method_listen), METH_VARARGS | METH_KEYWORDS,
	 "listen($self, addr, factory=None, *, style='asyncio', reuse_port=False, backlog=0,\n"
	 "       context=None)\n--\n\n"
	 "Accepts connections on \"host:port\", \"unix:/path\" or (host, port); literal addresses.\n"
	 "style: 'asyncio', 'completion', 'coro' or 'batch'. Returns a Listener."},
	{"connect", METHOD(method_connect), METH_VARARGS | METH_KEYWORDS,
	 "connect($self, addr, factory=None, *, style='asyncio', from_addr=None, context=None,\n"
	 "        done=None)\n--\n\n"
	 "Starts a connection and returns its Transport. done(transport, error_or_None) is called\n"
	 "when it is decided; without it a failure is the protocol's connection_lost()."},
	{"poll", METHOD(method_poll), METH_FASTCALL | METH_KEYWORDS,
	 "poll($self, timeout=0.0)\n--\n\n"
	 "Hands out what has completed; waits up to `timeout` seconds (None: for ever) for\n"
	 "something. Returns how many completions; 0 on time-out, wake(), stop() or a signal."},
	{"run", METHOD(method_run), METH_VARARGS | METH_KEYWORDS,
	 "run($self, processes=1)\n--\n\n"
	 "Polls until stop(). With processes=N, N forked processes share the listeners' ports."},
	{"stop", METHOD(method_stop), METH_NOARGS,
	 "stop($self)\n--\n\nEnds run() and iteration. Any thread, and signal handlers."},
	{"wake", METHOD(method_wake), METH_NOARGS,
	 "wake($self)\n--\n\nMakes the current or next poll return. Any thread."},
	{"close", METHOD(method_close), METH_NOARGS,
	 "close($self)\n--\n\n"
	 "Resets what is open, tells the protocols, gives all memory back. Inside a callback: when\n"
	 "the poll ends."},
	{"on_batch", METHOD(method_on_batch), METH_O,
	 "on_batch($self, function, /)\n--\n\n"
	 "function(batch) gets the rows of connections in the batch style; None: nobody does."},
	{"fileno", METHOD(method_fileno), METH_NOARGS,
	 "fileno($self)\n--\n\n"
	 "A descriptor that is readable when poll(0) has something, once a poll(0) returned 0."},
	{"watch", METHOD(method_watch), METH_FASTCALL,
	 "watch($self, fd, mask, callback, /)\n--\n\n"
	 "callback(fd, mask) in every poll while the descriptor has one of the select.POLL* bits."},
	{"call_later", METHOD(method_call_later), METH_FASTCALL,
	 "call_later($self, delay, function, /, *args)\n--\n\nCalls after `delay` seconds."},
	{"set_exception_handler", METHOD(method_set_exception_handler), METH_O,
	 "set_exception_handler($self, handler, /)\n--\n\n"
	 "handler(dict) gets exceptions of callbacks: message, exception, transport, protocol.\n"
	 "None: sys.unraisablehook."},
	{"stats", METHOD(method_stats), METH_NOARGS,
	 "stats($self)\n--\n\nA dict of counters: the engine's, and py_* and source_*."},
	{"_detach", METHOD(method_detach), METH_NOARGS, NULL},
	{"_attach", METHOD(method_attach), METH_NOARGS, NULL},
	{"__enter__", METHOD(method_enter), METH_NOARGS, NULL},
	{"__exit__", METHOD(method_exit), METH_FASTCALL, NULL},
	{0},
};

static PyGetSetDef engine_getset[] = {
	{"nic", (getter)get_nic, NULL, "the nic that is used", NULL},
	{"mode", (getter)get_mode, NULL, "'inline' or 'thread'", NULL},
	{"closed", (getter)get_closed, NULL, "whether it is closed", NULL},
	{"stopping", (getter)get_stopping, NULL, "whether stop() was called", NULL},
	{"max_batch", (getter)get_max_batch, NULL, "completions per poll", NULL},
	{0},
};

static PyMemberDef engine_members[] = {
	{"prefetch", T_BOOL, offsetof(struct engine, prefetch), 0,
	 "whether a batch's objects are prefetched"},
	{"__weaklistoffset__", T_PYSSIZET, offsetof(struct engine, weakrefs), READONLY, NULL},
	{0},
};

static PyType_Slot engine_slots[] = {
	{Py_tp_doc, SLOT_DOC(DOC_ENGINE)},
	{Py_tp_init, SLOT(engine_init)},
	{Py_tp_new, SLOT(PyType_GenericNew)},
	{Py_tp_finalize, SLOT(engine_finalize)},
	{Py_tp_dealloc, SLOT(engine_dealloc)},
	{Py_tp_traverse, SLOT(engine_traverse)},
	{Py_tp_clear, SLOT(engine_clear)},
	{Py_tp_iter, SLOT(PyObject_SelfIter)},
	{Py_tp_iternext, SLOT(engine_iternext)},
	{Py_tp_methods, engine_methods},
	{Py_tp_getset, engine_getset},
	{Py_tp_members, engine_members},
	{0, NULL},
};

PyType_Spec engine_spec = {
	.name = "volley.Engine",
	.basicsize = sizeof(struct engine),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
	.slots = engine_slots,
};
