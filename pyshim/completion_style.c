/* completion_style.c - protocols that return what to send, as in PyParallel */
#include "pyshim/transport.h"

#include "pyshim/callbacks.h"
#include "pyshim/send_queue.h"

/* Positional arguments that a callable takes, its `self` not counted; `assume` where it does not tell. */
static int arity(PyObject *callable, int assume)
{
	bool bound = PyMethod_Check(callable);
	PyObject *function = bound ? PyMethod_GET_FUNCTION(callable) : callable;
	const PyCodeObject *code;

	if (!PyFunction_Check(function))
		return assume;
	code = (const PyCodeObject *)PyFunction_GET_CODE(function);
	return code->co_flags & CO_VARARGS ? assume : code->co_argcount - bound;
}

/* What a callback returned: bytes-like, a tuple or list of them, or None. 0, or -1 with an exception. */
static int send_reply(struct transport *transport, PyObject *reply)
{
	uint64_t send_id = 0;
	Py_ssize_t count;

	if (reply == Py_None || transport->state >= T_CLOSING)
		return 0;
	if (transport->flags & T_SEND_IDS)
		send_id = ++transport->send_ids;
	if (!PyTuple_Check(reply) && !PyList_Check(reply)) {
		if (PyObject_CheckBuffer(reply))
			return transport_send(transport, reply, send_id);
		PyErr_Format(PyExc_TypeError,
			     "a callback must return bytes-like data, a tuple of it, or None, not "
			     "%.100s",
			     Py_TYPE(reply)->tp_name);
		return -1;
	}
	count = PySequence_Fast_GET_SIZE(reply);
	for (Py_ssize_t i = 0; i < count; i++) {
		PyObject *item = Py_NewRef(PySequence_Fast_GET_ITEM(reply, i));
		int error = transport_send(transport, item, i + 1 == count ? send_id : 0);

		Py_DECREF(item);
		if (error)
			return -1;
		count = Py_MIN(count, PySequence_Fast_GET_SIZE(reply)); /* a list may shrink */
	}
	return 0;
}

/* Takes `result`. */
static void finish(struct transport *transport, PyObject *result, const char *name)
{
	if (!result || send_reply(transport, result))
		callbacks_failed(transport, name);
	Py_XDECREF(result);
}

/* Calls protocol.<name> with as many of `args` as it takes; a missing one is nothing. */
static void call_optional(struct transport *transport, PyObject *name, PyObject *const *args,
			  int nargs)
{
	PyObject *method, *result;
	const char *text = PyUnicode_AsUTF8(name);

	if (!transport->protocol || transport->state >= T_CLOSING)
		return;
	method = PyObject_GetAttr(transport->protocol, name);
	if (!method) {
		if (PyErr_ExceptionMatches(PyExc_AttributeError))
			PyErr_Clear();
		else
			callbacks_failed(transport, text);
		return;
	}
	if (PyCallable_Check(method)) {
		int takes = arity(method, nargs);

		result = transport_call(transport, method, args, (size_t)Py_MIN(takes, nargs));
	} else {
		result = Py_NewRef(method); /* plain bytes in the class */
	}
	Py_DECREF(method);
	finish(transport, result, text);
}

static void opened(struct transport *transport, PyObject *factory)
{
	struct state *state = transport->engine->state;
	PyObject *self = (PyObject *)transport;

	if (callbacks_make_protocol(transport, factory))
		return;
	transport->flags |= T_MADE;
	if (PyObject_HasAttr(transport->protocol, state->str_send_complete) ||
	    PyObject_HasAttr(transport->protocol, state->str_next_bytes_to_send))
		transport->flags |= T_SEND_IDS;
	if (transport->on_data && !transport->self)
		transport->flags |= arity(transport->on_data, 2) == 1 ? T_ARITY_ONE : 0;
	else if (transport->on_data)
		transport->flags |= arity(transport->on_data, 3) == 2 ? T_ARITY_ONE : 0;
	call_optional(transport, state->str_connection_made, &self, 1);
	call_optional(transport, state->str_initial_bytes_to_send, &self, 1);
}

/* The fast end of most callbacks: small exact bytes, nothing waiting, nobody asks when it is sent. */
static inline bool reply_now(struct transport *transport, PyObject *reply)
{
	struct engine *engine = transport->engine;

	return PyBytes_CheckExact(reply) && engine->core && transport->state == T_OPEN &&
	       !transport->queue && !(transport->flags & (T_SEND_IDS | T_EOF_WANTED)) &&
	       PyBytes_GET_SIZE(reply) < SEND_LENT_MIN &&
	       vly_send(engine->core, transport->handle, PyBytes_AS_STRING(reply),
			(uint32_t)PyBytes_GET_SIZE(reply)) == 0;
}

static void data_received(struct transport *transport, const uint8_t *data, uint32_t len)
{
	PyObject *args[4];
	PyObject *bytes, *result;
	size_t nargs = 0;

	if (!transport->on_data)
		return;
	bytes = PyBytes_FromStringAndSize((const char *)data, len);
	if (unlikely(!bytes)) {
		callbacks_failed(transport, "data_received");
		return;
	}
	/* strong: the callback may replace its protocol, or close everything */
	PyObject *function = Py_NewRef(transport->on_data);
	PyObject *self = Py_XNewRef(transport->self);

	if (likely(self != NULL))
		args[nargs++] = self;
	if (likely(!(transport->flags & T_ARITY_ONE)))
		args[nargs++] = (PyObject *)transport;
	args[nargs++] = bytes;
	result = transport_call(transport, function, args, nargs);
	if (likely(result && reply_now(transport, result)))
		Py_DECREF(result);
	else
		finish(transport, result, "data_received");
	Py_DECREF(bytes);
	Py_XDECREF(self);
	Py_DECREF(function);
}

static void eof_received(struct transport *transport)
{
	PyObject *self = (PyObject *)transport;
	PyObject *name = transport->engine->state->str_eof_received;
	PyObject *result = transport_call_method(transport, name, &self, 1);
	int keep_open = result ? PyObject_IsTrue(result) : 0;

	Py_XDECREF(result);
	if (PyErr_Occurred())
		callbacks_failed(transport, "eof_received");
	else if (!keep_open)
		transport_close(transport);
}

/* Its protocols are told when a send is complete; they write no more before that. */
static void ignore(struct transport *transport)
{
	(void)transport;
}

static void sent(struct transport *transport, uint64_t send_id)
{
	struct state *state = transport->engine->state;
	PyObject *args[2] = {(PyObject *)transport, PyLong_FromUnsignedLongLong(send_id)};

	if (!args[1]) {
		callbacks_failed(transport, "send_complete");
		return;
	}
	call_optional(transport, state->str_send_complete, args, 2);
	call_optional(transport, state->str_next_bytes_to_send, args, 1);
	Py_DECREF(args[1]);
}

/* connection_lost(transport, exc), or as asyncio's: connection_lost(exc). */
static void connection_lost(struct transport *transport, PyObject *error)
{
	PyObject *args[2] = {(PyObject *)transport, error ? error : Py_None};
	PyObject *method, *result;

	if (!transport->protocol)
		return;
	method = PyObject_GetAttr(transport->protocol,
				  transport->engine->state->str_connection_lost);
	if (method) {
		int takes = Py_MIN(arity(method, 2), 2);

		result = transport_call(transport, method, takes == 1 ? args + 1 : args,
					(size_t)takes);
		if (!result)
			engine_report(transport->engine, "protocol.connection_lost() failed",
				      transport, transport->protocol);
		Py_XDECREF(result);
		Py_DECREF(method);
	} else if (PyErr_ExceptionMatches(PyExc_AttributeError)) {
		PyErr_Clear();
	} else {
		engine_report(transport->engine, "protocol.connection_lost() failed", transport,
			      transport->protocol);
	}
	callbacks_drop_protocol(transport);
}

const struct style style_completion = {
	.name = "completion",
	.opened = opened,
	.data = data_received,
	.eof = eof_received,
	.pause_writing = ignore,
	.resume_writing = ignore,
	.sent = sent,
	.lost = connection_lost,
};
