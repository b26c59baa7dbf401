/* coro_style.c - coroutines that await their connection, resumed by completions: the Conn type */
#include "pyshim/coro_style.h"

#include "pyshim/python_compat.h"
#include "pyshim/send_queue.h"

/* Received bytes that may wait for a recv() before the peer is slowed down. */
#define INBOX_MAX 262144

enum wait_kind {
	WAIT_RECV,
	WAIT_DRAIN,
};

struct awaitable {
	PyObject_HEAD struct transport *conn;
	enum wait_kind kind;
	Py_ssize_t max_bytes; /* of recv(); negative: whatever came */
};

/* ---- what is received and not taken ---- */

static uint64_t inbox_bytes(const struct transport *conn)
{
	uint64_t sum = 0;

	if (conn->inbox)
		for (Py_ssize_t i = 0; i < PyList_GET_SIZE(conn->inbox); i++)
			sum += (uint64_t)PyBytes_GET_SIZE(PyList_GET_ITEM(conn->inbox, i));
	return sum;
}

/* Cuts off what recv(n) did not ask for; takes `bytes`. */
static PyObject *cut(struct transport *conn, PyObject *bytes, Py_ssize_t max_bytes)
{
	PyObject *head, *tail;

	if (max_bytes < 0 || PyBytes_GET_SIZE(bytes) <= max_bytes)
		return bytes;
	head = PyBytes_FromStringAndSize(PyBytes_AS_STRING(bytes), max_bytes);
	tail = PyBytes_FromStringAndSize(PyBytes_AS_STRING(bytes) + max_bytes,
					 PyBytes_GET_SIZE(bytes) - max_bytes);
	Py_DECREF(bytes);
	if (!conn->inbox)
		conn->inbox = PyList_New(0);
	if (!head || !tail || !conn->inbox || PyList_Insert(conn->inbox, 0, tail))
		Py_CLEAR(head);
	Py_XDECREF(tail);
	return head;
}

/* The oldest bytes, or NULL if there are none. */
static PyObject *take(struct transport *conn)
{
	PyObject *bytes = conn->fresh;

	conn->fresh = NULL;
	if (bytes || !conn->inbox)
		return bytes;
	bytes = Py_NewRef(PyList_GET_ITEM(conn->inbox, 0));
	if (PyList_GET_SIZE(conn->inbox) == 1)
		Py_CLEAR(conn->inbox);
	else if (PyList_SetSlice(conn->inbox, 0, 1, NULL))
		Py_CLEAR(bytes);
	return bytes;
}

static void keep(struct transport *conn, PyObject *bytes)
{
	struct link *link = conn->engine->link;

	if (!conn->inbox)
		conn->inbox = PyList_New(0);
	if (!conn->inbox || PyList_Append(conn->inbox, bytes)) {
		transport_fatal(conn, "Fatal error: no memory for received data.");
		return;
	}
	if (!(conn->flags & T_THROTTLED) && inbox_bytes(conn) > INBOX_MAX) {
		conn->flags |= T_THROTTLED;
		link->ops->pause(link, conn->handle);
	}
}

static void unthrottle(struct transport *conn)
{
	struct link *link = conn->engine->link;

	if (!(conn->flags & T_THROTTLED) || conn->inbox || conn->state != T_OPEN)
		return;
	conn->flags &= (uint16_t)~T_THROTTLED;
	if (!(conn->flags & T_PAUSED))
		link->ops->resume(link, conn->handle);
}

/* ---- the awaitable ---- */

/* recv() when nothing is there: 1: wait, 0: `*result` is decided (NULL: raised). */
static int recv_at_end(struct transport *conn, PyObject **result)
{
	if (conn->state < T_CLOSING && !(conn->flags & T_EOF_GOT))
		return 1;
	if (conn->error && !(conn->flags & T_EOF_GOT)) {
		*result = NULL;
		error_give(Py_NewRef(conn->error));
		return 0;
	}
	*result = PyBytes_FromStringAndSize(NULL, 0);
	return 0;
}

static PySendResult awaitable_send(struct awaitable *self, PyObject *value, PyObject **result)
{
	struct transport *conn = self->conn;
	PyObject *bytes;

	(void)value;
	if (conn->waiter == (PyObject *)self)
		Py_CLEAR(conn->waiter);
	*result = NULL;
	if (self->kind == WAIT_DRAIN) {
		if (conn->state == T_CLOSED && conn->error) {
			error_give(Py_NewRef(conn->error));
			return PYGEN_ERROR;
		}
		if (conn->flags & T_WRITING_PAUSED && conn->state < T_CLOSED)
			goto wait;
		*result = Py_NewRef(Py_None);
		return PYGEN_RETURN;
	}
	bytes = take(conn);
	if (bytes) {
		*result = cut(conn, bytes, self->max_bytes);
		if (unlikely(conn->flags & T_THROTTLED))
			unthrottle(conn);
		return *result ? PYGEN_RETURN : PYGEN_ERROR;
	}
	if (PyErr_Occurred())
		return PYGEN_ERROR;
	if (!recv_at_end(conn, result))
		return *result ? PYGEN_RETURN : PYGEN_ERROR;
wait:
	if (conn->waiter) {
		PyErr_SetString(PyExc_RuntimeError,
				"another coroutine awaits this connection already");
		return PYGEN_ERROR;
	}
	conn->waiter = Py_NewRef((PyObject *)self);
	*result = Py_NewRef(Py_None);
	return PYGEN_NEXT;
}

static PyObject *awaitable_iternext(struct awaitable *self)
{
	PyObject *result;

	switch (awaitable_send(self, Py_None, &result)) {
	case PYGEN_NEXT:
		return result;
	case PYGEN_RETURN:
		/* a StopIteration's value that is a tuple or an exception needs the long way; bytes
		 * and None do not */
		PyErr_SetObject(PyExc_StopIteration, result);
		Py_DECREF(result);
		return NULL;
	default:
		return NULL;
	}
}

static void awaitable_dealloc(struct awaitable *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	Py_CLEAR(self->conn);
	type->tp_free(self);
	Py_DECREF(type);
}

static int awaitable_traverse(struct awaitable *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(self->conn);
	return 0;
}

static PyType_Slot awaitable_slots[] = {
	{Py_tp_doc, SLOT_DOC("What Conn.recv() and Conn.drain() return: await it.")},
	{Py_tp_dealloc, SLOT(awaitable_dealloc)},
	{Py_tp_traverse, SLOT(awaitable_traverse)},
	{Py_tp_iter, SLOT(PyObject_SelfIter)},
	{Py_tp_iternext, SLOT(awaitable_iternext)},
	{Py_am_await, SLOT(PyObject_SelfIter)},
	{Py_am_send, SLOT(awaitable_send)},
	{0, NULL},
};

PyType_Spec awaitable_spec = {
	.name = "volley._Awaitable",
	.basicsize = sizeof(struct awaitable),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = awaitable_slots,
};

static PyObject *awaitable_new(struct transport *conn, enum wait_kind kind, Py_ssize_t max_bytes)
{
	PyTypeObject *type = conn->engine->state->awaitable_type;
	struct awaitable *self = (struct awaitable *)conn->spare;

	/* nobody but the connection refers to it: its last await is over */
	if (likely(self && Py_REFCNT((PyObject *)self) == 1)) {
		Py_INCREF((PyObject *)self);
	} else {
		self = (struct awaitable *)type->tp_alloc(type, 0);
		if (!self)
			return NULL;
		self->conn = (struct transport *)Py_NewRef((PyObject *)conn);
		if (!conn->spare && conn->state < T_CLOSED) /* the end breaks the circle */
			conn->spare = Py_NewRef((PyObject *)self);
	}
	self->kind = kind;
	self->max_bytes = max_bytes;
	return (PyObject *)self;
}

/* ---- the coroutine ---- */

/* It awaits a Future of an asyncio loop, which will call us. 0, or -1 with an exception. */
static int await_future(struct transport *conn, PyObject *future)
{
	struct state *state = conn->engine->state;
	PyObject *wake, *result;

	if (PyObject_SetAttr(future, state->str_future_blocking, Py_False))
		return -1;
	wake = PyObject_GetAttrString((PyObject *)conn, "_wake");
	result = wake ? PyObject_CallMethodOneArg(future, state->str_add_done_callback, wake)
		      : NULL;
	Py_XDECREF(wake);
	Py_XDECREF(result);
	return result ? 0 : -1;
}

/* What the coroutine yielded; takes it. 0: it waits for something of ours, or a Future. */
static int check_yield(struct transport *conn, PyObject *yielded)
{
	PyObject *blocking = NULL;
	int error = 0;

	if (yielded == Py_None && conn->waiter) {
		Py_DECREF(yielded);
		return 0;
	}
	if (yielded != Py_None)
		blocking = PyObject_GetAttr(yielded, conn->engine->state->str_future_blocking);
	if (blocking == Py_True) {
		error = await_future(conn, yielded);
	} else {
		PyErr_Clear();
		PyErr_Format(PyExc_RuntimeError,
			     "a coroutine of an engine awaits its connection or asyncio Futures, "
			     "not %.100s",
			     Py_TYPE(yielded)->tp_name);
		error = -1;
	}
	Py_XDECREF(blocking);
	Py_DECREF(yielded);
	return error;
}

static PySendResult resume(struct transport *conn, PyObject *coroutine, PyObject **result)
{
	PySendResult state = PYGEN_ERROR;

	if (likely(!conn->context))
		return PyIter_Send(coroutine, Py_None, result);
	*result = NULL;
	if (PyContext_Enter(conn->context))
		return PYGEN_ERROR;
	state = PyIter_Send(coroutine, Py_None, result);
	PyObject *error = error_take();

	PyContext_Exit(conn->context);
	if (error)
		error_give(error);
	return state;
}

static void ended(struct transport *conn, bool failed)
{
	Py_CLEAR(conn->protocol);
	Py_CLEAR(conn->waiter);
	if (failed && conn->error) { /* what recv() raised, let through: it is no news */
		PyObject *error = error_take();

		failed = error != conn->error;
		error_give(error);
		if (!failed)
			PyErr_Clear();
	}
	if (failed)
		transport_fatal(conn, "the coroutine of a connection failed");
	else
		transport_close(conn);
}

void coro_step(struct transport *conn)
{
	PyObject *coroutine = Py_XNewRef(conn->protocol);
	PyObject *result;

	if (!coroutine || conn->flags & T_RUNNING)
		goto done;
	conn->flags |= T_RUNNING;
	conn->engine->callbacks++;
	PySendResult state = resume(conn, coroutine, &result);

	conn->flags &= (uint16_t)~T_RUNNING;
	if (likely(state == PYGEN_NEXT)) {
		if (likely(result == Py_None && conn->waiter))
			Py_DECREF(result);
		else if (check_yield(conn, result))
			ended(conn, true);
	} else {
		if (state == PYGEN_RETURN)
			Py_DECREF(result);
		ended(conn, state == PYGEN_ERROR);
	}
done:
	Py_XDECREF(coroutine);
}

static void opened(struct transport *conn, PyObject *factory)
{
	PyObject *self = (PyObject *)conn;
	PyObject *coroutine = transport_call(conn, factory, &self, 1);

	if (coroutine && !PyCoro_CheckExact(coroutine)) {
		PyErr_Format(PyExc_TypeError,
			     "the handler of the coro style must be an async function, it returned "
			     "%.100s",
			     Py_TYPE(coroutine)->tp_name);
		Py_CLEAR(coroutine);
	}
	if (!coroutine) {
		transport_fatal(conn, "the handler of a connection failed");
		return;
	}
	conn->flags |= T_MADE;
	conn->protocol = coroutine;
	coro_step(conn);
}

static bool waits(const struct transport *conn, enum wait_kind kind)
{
	return conn->waiter && ((struct awaitable *)conn->waiter)->kind == kind;
}

static void data_received(struct transport *conn, const uint8_t *data, uint32_t len)
{
	PyObject *bytes = PyBytes_FromStringAndSize((const char *)data, len);

	if (unlikely(!bytes)) {
		transport_fatal(conn, "Fatal error: no memory for received data.");
	} else if (likely(waits(conn, WAIT_RECV) && !conn->inbox && !conn->fresh)) {
		conn->fresh = bytes;
		coro_step(conn);
	} else {
		keep(conn, bytes);
		Py_DECREF(bytes);
	}
}

static void eof_received(struct transport *conn)
{
	conn->flags |= T_EOF_GOT;
	if (waits(conn, WAIT_RECV))
		coro_step(conn);
}

/* drain() looks at the flag. */
static void pause_writing(struct transport *conn)
{
	(void)conn;
}

static void resume_writing(struct transport *conn)
{
	if (waits(conn, WAIT_DRAIN))
		coro_step(conn);
}

static void lost(struct transport *conn, PyObject *error)
{
	if (error && !conn->error)
		conn->error = Py_NewRef(error);
	conn->flags &= (uint16_t)~T_WRITING_PAUSED;
	if (conn->waiter)
		coro_step(conn);
}

const struct style style_coro = {
	.name = "coro",
	.opened = opened,
	.data = data_received,
	.eof = eof_received,
	.pause_writing = pause_writing,
	.resume_writing = resume_writing,
	.lost = lost,
};

/* ---- the type ---- */

static PyObject *method_recv(struct transport *self, PyObject *const *args, Py_ssize_t nargs)
{
	Py_ssize_t max_bytes = -1;

	if (nargs > 1)
		return PyErr_Format(PyExc_TypeError, "recv() takes at most 1 argument, n");
	if (nargs == 1) {
		max_bytes = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
		if (max_bytes == -1 && PyErr_Occurred())
			return NULL;
		if (max_bytes == 0)
			return PyErr_Format(PyExc_ValueError, "n must not be 0");
	}
	return awaitable_new(self, WAIT_RECV, max_bytes);
}

static PyObject *method_drain(struct transport *self, PyObject *unused)
{
	(void)unused;
	return awaitable_new(self, WAIT_DRAIN, 0);
}

static PyObject *method_wake(struct transport *self, PyObject *future)
{
	(void)future;
	coro_step(self);
	Py_RETURN_NONE;
}

static PyMethodDef conn_methods[] = {
	{"recv", METHOD(method_recv), METH_FASTCALL,
	 "recv($self, n=-1, /)\n--\n\n"
	 "Awaits bytes, at most n of them; b'' once the peer has ended. Raises OSError if the\n"
	 "connection broke."},
	{"drain", METHOD(method_drain), METH_NOARGS,
	 "drain($self)\n--\n\nAwaits that what was sent is below the water mark."},
	{"_wake", METHOD(method_wake), METH_O, NULL},
	{0},
};

static PyType_Slot conn_slots[] = {
	{Py_tp_doc,
	 SLOT_DOC("A connection of the coro style: a Transport with recv() and drain().")},
	{Py_tp_dealloc, SLOT(transport_dealloc)},
	{Py_tp_traverse, SLOT(transport_traverse)},
	{Py_tp_clear, SLOT(transport_clear)},
	{Py_tp_methods, conn_methods},
	{0, NULL},
};

PyType_Spec conn_spec = {
	.name = "volley.Conn",
	.basicsize = sizeof(struct transport),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = conn_slots,
};
