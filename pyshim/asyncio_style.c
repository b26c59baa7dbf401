/* asyncio_style.c - unmodified asyncio protocols */
#include "pyshim/transport.h"

#include <string.h>

#include "pyshim/callbacks.h"
#include "pyshim/python_compat.h"

static void opened(struct transport *transport, PyObject *factory)
{
	PyObject *self = (PyObject *)transport;

	if (callbacks_make_protocol(transport, factory))
		return;
	transport->flags |= T_MADE;
	PyObject *result = transport_call_method(
		transport, transport->engine->state->str_connection_made, &self, 1);

	if (!result)
		callbacks_failed(transport, "connection_made");
	Py_XDECREF(result);
}

/* asyncio.BufferedProtocol: it says where the bytes go. -1 with an exception. */
static int fill_buffers(struct transport *transport, const uint8_t *data, uint32_t len)
{
	struct state *state = transport->engine->state;

	while (len > 0 && transport->state == T_OPEN) {
		PyObject *hint = PyLong_FromUnsignedLong(len);
		PyObject *buffer =
			hint ? transport_call_method(transport, state->str_get_buffer, &hint, 1)
			     : NULL;
		PyObject *count, *result;
		Py_buffer view;
		uint32_t part;

		Py_XDECREF(hint);
		if (!buffer)
			return -1;
		if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE)) {
			Py_DECREF(buffer);
			return -1;
		}
		part = (uint32_t)Py_MIN((Py_ssize_t)len, view.len);
		memcpy(view.buf, data, part);
		PyBuffer_Release(&view);
		Py_DECREF(buffer);
		if (part == 0) {
			PyErr_SetString(PyExc_RuntimeError,
					"get_buffer() returned an empty buffer");
			return -1;
		}
		data += part;
		len -= part;
		count = PyLong_FromUnsignedLong(part);
		result = count ? transport_call_method(transport, state->str_buffer_updated, &count,
						       1)
			       : NULL;
		Py_XDECREF(count);
		if (!result)
			return -1;
		Py_DECREF(result);
	}
	return 0;
}

static void data_received(struct transport *transport, const uint8_t *data, uint32_t len)
{
	PyObject *args[3];
	PyObject *bytes, *result;

	if (unlikely(transport->flags & T_BUFFERED)) {
		if (fill_buffers(transport, data, len))
			callbacks_failed(transport, "buffer_updated");
		return;
	}
	bytes = PyBytes_FromStringAndSize((const char *)data, len);
	if (unlikely(!bytes)) {
		callbacks_failed(transport, "data_received");
		return;
	}
	/* strong: the callback may replace its protocol, or close everything */
	PyObject *function = Py_NewRef(transport->on_data);
	PyObject *self = Py_XNewRef(transport->self);

	args[1] = self;
	args[2] = bytes;
	if (likely(self != NULL))
		result = transport_call(transport, function, args + 1, 2);
	else
		result = transport_call(transport, function, args + 2,
					1 | PY_VECTORCALL_ARGUMENTS_OFFSET);
	if (unlikely(!result))
		callbacks_failed(transport, "data_received");
	else
		Py_DECREF(result);
	Py_DECREF(bytes);
	Py_XDECREF(self);
	Py_DECREF(function);
}

static void eof_received(struct transport *transport)
{
	struct state *state = transport->engine->state;
	PyObject *result = transport_call_method(transport, state->str_eof_received, NULL, 0);
	int keep_open = result ? PyObject_IsTrue(result) : 0;

	Py_XDECREF(result);
	if (PyErr_Occurred())
		callbacks_failed(transport, "eof_received");
	else if (!keep_open)
		transport_close(transport);
}

/* A failure here loses nothing: it is reported, and the connection goes on, as in asyncio. */
static void tell(struct transport *transport, PyObject *name, const char *message)
{
	PyObject *result = transport_call_method(transport, name, NULL, 0);

	if (!result && PyErr_Occurred())
		engine_report(transport->engine, message, transport, transport->protocol);
	Py_XDECREF(result);
}

static void pause_writing(struct transport *transport)
{
	tell(transport, transport->engine->state->str_pause_writing,
	     "protocol.pause_writing() failed");
}

static void resume_writing(struct transport *transport)
{
	tell(transport, transport->engine->state->str_resume_writing,
	     "protocol.resume_writing() failed");
}

static void connection_lost(struct transport *transport, PyObject *error)
{
	PyObject *arg = error ? error : Py_None;
	PyObject *result;

	if (!transport->protocol)
		return;
	result = transport_call_method(transport, transport->engine->state->str_connection_lost,
				       &arg, 1);
	if (!result && PyErr_Occurred())
		engine_report(transport->engine, "protocol.connection_lost() failed", transport,
			      transport->protocol);
	Py_XDECREF(result);
	callbacks_drop_protocol(transport);
}

const struct style style_asyncio = {
	.name = "asyncio",
	.opened = opened,
	.data = data_received,
	.eof = eof_received,
	.pause_writing = pause_writing,
	.resume_writing = resume_writing,
	.lost = connection_lost,
};
