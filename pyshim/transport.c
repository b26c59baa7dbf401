/* transport.c - the life of a connection on the Python side: making, sending, closing, telling */
#include "pyshim/transport.h"

#include <errno.h>

#include "pyshim/batch.h"
#include "pyshim/python_compat.h"
#include "pyshim/send_queue.h"

#define HIGH_WATER 65536 /* asyncio's defaults */
#define LOW_WATER 16384

struct transport *transport_new(struct engine *engine, const struct style *style)
{
	PyTypeObject *type = style == &style_coro ? engine->state->conn_type
						  : engine->state->transport_type;
	struct transport *transport = (struct transport *)type->tp_alloc(type, 0);

	if (!transport)
		return NULL;
	transport->style = style;
	transport->engine = (struct engine *)Py_NewRef((PyObject *)engine);
	transport->high = HIGH_WATER;
	transport->low = LOW_WATER;
	transport->queue_end = &transport->queue;
	transport->next = engine->conns;
	transport->back = &engine->conns;
	if (transport->next)
		transport->next->back = &transport->next;
	engine->conns = transport;
	return transport;
}

void transport_unlink(struct transport *transport)
{
	if (!transport->back)
		return;
	batch_drop_conn(transport);
	*transport->back = transport->next;
	if (transport->next)
		transport->next->back = transport->back;
	transport->next = NULL;
	transport->back = NULL;
	Py_DECREF((PyObject *)transport);
}

void transport_todo(struct transport *transport)
{
	if (transport->flags & T_TODO)
		return;
	transport->flags |= T_TODO;
	transport->todo_next = transport->engine->todo;
	transport->engine->todo = (struct transport *)Py_NewRef((PyObject *)transport);
}

static PyObject *call_in_context(struct transport *transport, PyObject *function,
				 PyObject *const *args, size_t nargs)
{
	PyObject *context = Py_NewRef(transport->context);
	PyObject *result = NULL;

	if (PyContext_Enter(context) == 0) {
		result = PyObject_Vectorcall(function, args, nargs, NULL);
		PyObject *error = error_take();

		if (PyContext_Exit(context) < 0)
			Py_CLEAR(result);
		if (error)
			error_give(error);
	}
	Py_DECREF(context);
	return result;
}

PyObject *transport_call(struct transport *transport, PyObject *function, PyObject *const *args,
			 size_t nargs)
{
	transport->engine->callbacks++;
	if (unlikely(transport->context != NULL))
		return call_in_context(transport, function, args, nargs);
	return PyObject_Vectorcall(function, args, nargs, NULL);
}

PyObject *transport_call_method(struct transport *transport, PyObject *name, PyObject *const *args,
				size_t nargs)
{
	PyObject *protocol = transport->protocol;
	PyObject *method, *result;

	if (!protocol)
		return NULL;
	method = PyObject_GetAttr(protocol, name);
	if (!method) {
		if (PyErr_ExceptionMatches(PyExc_AttributeError))
			PyErr_Clear();
		return NULL;
	}
	result = transport_call(transport, method, args, nargs);
	Py_DECREF(method);
	return result;
}

/* ---- sending ---- */

void transport_check_high_water(struct transport *transport)
{
	if (transport->pending_bytes <= transport->high || transport->flags & T_WRITING_PAUSED)
		return;
	transport->flags |= T_WRITING_PAUSED;
	transport->style->pause_writing(transport);
}

static int queue_bytes(struct transport *transport, PyObject *bytes, uint64_t send_id)
{
	bool was_empty = !transport->queue;

	if (send_queue_add(transport, bytes, send_id))
		return -1;
	/* behind others it would only learn what they did: the engine is full */
	if (was_empty)
		send_queue_pump(transport);
	transport_check_high_water(transport);
	return 0;
}

/* Small and nothing before it: the engine copies. 1 if it is done. */
static int send_direct(struct transport *transport, const void *data, Py_ssize_t len)
{
	struct link *link = transport->engine->link;
	int error;

	if (transport->queue || transport->state != T_OPEN || len >= SEND_LENT_MIN)
		return 0;
	error = link->ops->send(link, transport->handle, data, (uint32_t)len);
	/* any other error: the connection is gone, and CLOSED is on its way */
	return error != -EAGAIN && error != -EMSGSIZE;
}

static int send_exact(struct transport *transport, PyObject *bytes, uint64_t send_id)
{
	Py_ssize_t len = PyBytes_GET_SIZE(bytes);

	if (len == 0 || (!send_id && send_direct(transport, PyBytes_AS_STRING(bytes), len)))
		return 0;
	return queue_bytes(transport, bytes, send_id);
}

/* The owner may change it later: what is not sent at once is copied. */
static int send_buffer(struct transport *transport, PyObject *data, uint64_t send_id)
{
	PyObject *bytes;
	Py_buffer view;
	int result;

	if (!PyObject_CheckBuffer(data)) {
		PyErr_Format(PyExc_TypeError,
			     "data argument must be a bytes-like object, not %.100s",
			     Py_TYPE(data)->tp_name);
		return -1;
	}
	if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE))
		return -1;
	if (!send_id && send_direct(transport, view.buf, view.len)) {
		PyBuffer_Release(&view);
		return 0;
	}
	bytes = PyBytes_FromStringAndSize(view.buf, view.len);
	PyBuffer_Release(&view);
	if (!bytes)
		return -1;
	result = send_exact(transport, bytes, send_id);
	Py_DECREF(bytes);
	return result;
}

int transport_send(struct transport *transport, PyObject *data, uint64_t send_id)
{
	if (transport->flags & T_EOF_WANTED) {
		PyErr_SetString(PyExc_RuntimeError, "cannot write after write_eof()");
		return -1;
	}
	if (transport->state >= T_CLOSING && (PyBytes_Check(data) || PyObject_CheckBuffer(data)))
		return 0;
	if (engine_check(transport->engine))
		return -1;
	if (PyBytes_CheckExact(data))
		return send_exact(transport, data, send_id);
	return send_buffer(transport, data, send_id);
}

/* ---- closing ---- */

void transport_close(struct transport *transport)
{
	struct link *link = transport->engine->link;

	if (transport->state >= T_CLOSING)
		return;
	transport->flags |= T_LOCAL_CLOSE;
	if (transport->state == T_CONNECTING) /* its OPEN will say that it was cancelled */
		send_queue_clear(transport);
	transport->state = T_CLOSING;
	Py_CLEAR(transport->inbox);
	if (!transport->queue)
		link->ops->close_conn(link, transport->handle);
	else
		link->ops->pause(link, transport->handle);
}

void transport_abort(struct transport *transport, PyObject *error)
{
	struct link *link = transport->engine->link;

	if (transport->state == T_CLOSED)
		return;
	transport->flags |= T_LOCAL_CLOSE;
	transport->state = T_CLOSING;
	send_queue_clear(transport);
	Py_CLEAR(transport->inbox);
	if (error && !transport->error)
		transport->error = Py_NewRef(error);
	link->ops->abort(link, transport->handle);
}

void transport_fatal(struct transport *transport, const char *message)
{
	PyObject *error = error_take();

	if (!error)
		return;
	error_give(Py_NewRef(error));
	engine_report(transport->engine, message, transport, transport->on_data);
	transport_abort(transport, error);
	Py_DECREF(error);
}

/* ---- reading that was paused ---- */

void transport_deliver(struct transport *transport)
{
	if (transport->style == &style_coro) /* it takes its inbox itself */
		return;
	while (transport->inbox && !(transport->flags & T_PAUSED) && transport->state == T_OPEN) {
		PyObject *inbox = transport->inbox;
		Py_ssize_t count = PyList_GET_SIZE(inbox);
		Py_ssize_t i = 0;

		transport->inbox = NULL;
		for (; i < count && !(transport->flags & T_PAUSED) && transport->state == T_OPEN;
		     i++) {
			PyObject *bytes = PyList_GET_ITEM(inbox, i);

			transport->style->data(transport, (const uint8_t *)PyBytes_AS_STRING(bytes),
					       (uint32_t)PyBytes_GET_SIZE(bytes));
		}
		/* paused again: the rest stays, before whatever came meanwhile */
		if (i < count && transport->state == T_OPEN && !transport->inbox)
			transport->inbox = PyList_GetSlice(inbox, i, count);
		Py_DECREF(inbox);
		if (PyErr_Occurred())
			transport_fatal(transport, "Fatal error: no memory for received data.");
	}
	if (!transport->inbox && transport->flags & T_EOF_GOT && !(transport->flags & T_PAUSED) &&
	    transport->state == T_OPEN) {
		transport->flags &= (uint16_t)~T_EOF_GOT;
		transport->style->eof(transport);
	}
}
