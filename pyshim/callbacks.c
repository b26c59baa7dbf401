/* callbacks.c - what the styles with protocol objects have in common */
#include "pyshim/callbacks.h"

#include <stdio.h>

/*
 * A plain method of the class is called with the protocol as its first argument: no bound method is made
 * per call, and none is kept per connection, whose memory would be one more cache line to wait for.
 */
static int bind_data(struct transport *transport, PyObject *protocol, PyObject *name)
{
	PyObject *method = PyObject_GetAttr(protocol, name);
	PyObject *self = NULL;

	if (!method) {
		/* PyParallel's protocols may only speak; asyncio's have the method by inheritance */
		if (transport->style == &style_asyncio ||
		    !PyErr_ExceptionMatches(PyExc_AttributeError))
			return -1;
		PyErr_Clear();
		Py_CLEAR(transport->on_data);
		transport->self = NULL;
		return 0;
	}
	if (PyMethod_Check(method) && PyMethod_GET_SELF(method) == protocol) {
		PyObject *function = Py_NewRef(PyMethod_GET_FUNCTION(method));

		Py_DECREF(method);
		method = function;
		self = protocol;
	}
	Py_XSETREF(transport->on_data, method);
	transport->self = self;
	return 0;
}

int callbacks_set_protocol(struct transport *transport, PyObject *protocol)
{
	struct state *state = transport->engine->state;
	bool buffered = transport->style == &style_asyncio &&
			PyObject_HasAttr(protocol, state->str_get_buffer) &&
			PyObject_HasAttr(protocol, state->str_buffer_updated);
	PyObject *old = transport->protocol;

	if (!buffered && bind_data(transport, protocol, state->str_data_received))
		return -1;
	if (buffered) {
		Py_CLEAR(transport->on_data);
		transport->self = NULL;
		transport->flags |= T_BUFFERED;
	} else {
		transport->flags &= (uint16_t)~T_BUFFERED;
	}
	transport->protocol = Py_NewRef(protocol);
	Py_XDECREF(old);
	return 0;
}

void callbacks_drop_protocol(struct transport *transport)
{
	transport->self = NULL;
	Py_CLEAR(transport->on_data);
	Py_CLEAR(transport->protocol);
}

void callbacks_failed(struct transport *transport, const char *name)
{
	char message[96];

	if (!PyErr_Occurred()) /* the method is missing */
		PyErr_Format(PyExc_AttributeError, "the protocol has no %s()", name);
	snprintf(message, sizeof(message), "Fatal error: protocol.%s() call failed.", name);
	transport_fatal(transport, message);
}

int callbacks_make_protocol(struct transport *transport, PyObject *factory)
{
	PyObject *protocol = transport_call(transport, factory, NULL, 0);

	if (protocol && callbacks_set_protocol(transport, protocol) == 0) {
		Py_DECREF(protocol);
		return 0;
	}
	Py_XDECREF(protocol);
	transport_fatal(transport, "Fatal error: the protocol factory failed.");
	return -1;
}
