/* transport_type.c - the methods of Transport */
#include "pyshim/transport.h"

#include <structmember.h>

#include "pyshim/address.h"
#include "pyshim/callbacks.h"
#include "pyshim/send_queue.h"

static PyObject *method_write(struct transport *self, PyObject *data)
{
	/* what most messages are: small exact bytes, nothing waiting */
	if (likely(PyBytes_CheckExact(data) && self->state == T_OPEN && !self->queue &&
		   !(self->flags & T_EOF_WANTED))) {
		struct engine *engine = self->engine;
		Py_ssize_t len = PyBytes_GET_SIZE(data);

		if (likely(engine->core && len < SEND_LENT_MIN &&
			   engine->owner == PyThread_get_thread_ident())) {
			int error = vly_send(engine->core, self->handle, PyBytes_AS_STRING(data),
					     (uint32_t)len);

			if (likely(error == 0))
				Py_RETURN_NONE;
		}
	}
	if (transport_send(self, data, 0))
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *method_writelines(struct transport *self, PyObject *list)
{
	PyObject *item, *iterator = PyObject_GetIter(list);
	int error = 0;

	if (!iterator)
		return NULL;
	while (!error && (item = PyIter_Next(iterator))) {
		error = transport_send(self, item, 0);
		Py_DECREF(item);
	}
	Py_DECREF(iterator);
	if (error || PyErr_Occurred())
		return NULL;
	Py_RETURN_NONE;
}

static PyObject *method_write_eof(struct transport *self, PyObject *unused)
{
	(void)unused;
	if (self->state >= T_CLOSING || self->flags & T_EOF_WANTED)
		Py_RETURN_NONE;
	if (engine_check(self->engine))
		return NULL;
	self->flags |= T_EOF_WANTED;
	if (!self->queue && self->state == T_OPEN)
		self->engine->link->ops->shutdown(self->engine->link, self->handle);
	Py_RETURN_NONE;
}

static PyObject *method_can_write_eof(struct transport *self, PyObject *unused)
{
	(void)self;
	(void)unused;
	Py_RETURN_TRUE;
}

static PyObject *method_close(struct transport *self, PyObject *unused)
{
	(void)unused;
	if (self->state >= T_CLOSING)
		Py_RETURN_NONE;
	if (engine_check(self->engine))
		return NULL;
	transport_close(self);
	Py_RETURN_NONE;
}

static PyObject *method_abort(struct transport *self, PyObject *unused)
{
	(void)unused;
	if (self->state == T_CLOSED)
		Py_RETURN_NONE;
	if (engine_check(self->engine))
		return NULL;
	transport_abort(self, NULL);
	Py_RETURN_NONE;
}

static PyObject *method_is_closing(struct transport *self, PyObject *unused)
{
	(void)unused;
	return PyBool_FromLong(self->state >= T_CLOSING);
}

static PyObject *method_pause_reading(struct transport *self, PyObject *unused)
{
	(void)unused;
	if (self->state >= T_CLOSING || self->flags & T_PAUSED)
		Py_RETURN_NONE;
	if (engine_check(self->engine))
		return NULL;
	self->flags |= T_PAUSED;
	if (self->state == T_OPEN)
		self->engine->link->ops->pause(self->engine->link, self->handle);
	Py_RETURN_NONE;
}

static PyObject *method_resume_reading(struct transport *self, PyObject *unused)
{
	(void)unused;
	if (self->state >= T_CLOSING || !(self->flags & T_PAUSED))
		Py_RETURN_NONE;
	if (engine_check(self->engine))
		return NULL;
	self->flags &= (uint16_t)~T_PAUSED;
	if (self->state == T_OPEN)
		self->engine->link->ops->resume(self->engine->link, self->handle);
	if (self->inbox || self->flags & T_EOF_GOT)
		transport_todo(self); /* never from inside this call */
	Py_RETURN_NONE;
}

static PyObject *method_is_reading(struct transport *self, PyObject *unused)
{
	(void)unused;
	return PyBool_FromLong(self->state < T_CLOSING && !(self->flags & T_PAUSED));
}

static int size_argument(PyObject *object, const char *name, uint64_t *size)
{
	Py_ssize_t value;

	if (!object || object == Py_None)
		return 0;
	value = PyNumber_AsSsize_t(object, PyExc_OverflowError);
	if (value == -1 && PyErr_Occurred())
		return -1;
	if (value < 0) {
		PyErr_Format(PyExc_ValueError, "%s must not be negative: %zd", name, value);
		return -1;
	}
	*size = (uint64_t)value;
	return 1;
}

/* asyncio's rules: high alone makes low a quarter of it, low alone makes high four times it. */
static PyObject *method_set_limits(struct transport *self, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"high", "low", NULL};
	PyObject *high_object = NULL, *low_object = NULL;
	uint64_t high = 65536, low = 0;
	int has_high, has_low;

	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:set_write_buffer_limits",
					 (char **)(uintptr_t)names, &high_object, &low_object))
		return NULL;
	has_high = size_argument(high_object, "high", &high);
	has_low = has_high < 0 ? -1 : size_argument(low_object, "low", &low);
	if (has_high < 0 || has_low < 0)
		return NULL;
	if (!has_high && has_low)
		high = 4 * low;
	if (!has_low)
		low = high / 4;
	if (low > high)
		return PyErr_Format(PyExc_ValueError, "high (%llu) must be >= low (%llu)",
				    (unsigned long long)high, (unsigned long long)low);
	self->high = high;
	self->low = low;
	transport_check_high_water(self);
	Py_RETURN_NONE;
}

static PyObject *method_get_limits(struct transport *self, PyObject *unused)
{
	(void)unused;
	return Py_BuildValue("(KK)", (unsigned long long)self->low, (unsigned long long)self->high);
}

static PyObject *method_get_size(struct transport *self, PyObject *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLongLong(self->pending_bytes);
}

static PyObject *method_get_extra_info(struct transport *self, PyObject *const *args,
				       Py_ssize_t nargs)
{
	PyObject *value = NULL;

	if (nargs < 1 || nargs > 2 || !PyUnicode_Check(args[0]))
		return PyErr_Format(PyExc_TypeError, "get_extra_info() takes a name and a default");
	if (PyUnicode_CompareWithASCIIString(args[0], "peername") == 0)
		value = self->names ? address_tuple(&self->names[1]) : NULL;
	else if (PyUnicode_CompareWithASCIIString(args[0], "sockname") == 0)
		value = self->names ? address_tuple(&self->names[0]) : NULL;
	else if (PyUnicode_CompareWithASCIIString(args[0], "engine") == 0)
		value = Py_NewRef((PyObject *)self->engine);
	else if (PyUnicode_CompareWithASCIIString(args[0], "handle") == 0)
		value = PyLong_FromUnsignedLongLong(self->handle);
	else if (PyUnicode_CompareWithASCIIString(args[0], "style") == 0)
		value = PyUnicode_FromString(self->style->name);
	if (value && value != Py_None)
		return value;
	if (PyErr_Occurred())
		return NULL;
	Py_XDECREF(value);
	return Py_NewRef(nargs > 1 ? args[1] : Py_None);
}

static PyObject *method_get_protocol(struct transport *self, PyObject *unused)
{
	(void)unused;
	return Py_NewRef(self->protocol ? self->protocol : Py_None);
}

static PyObject *method_set_protocol(struct transport *self, PyObject *protocol)
{
	if (self->style != &style_asyncio && self->style != &style_completion)
		return PyErr_Format(PyExc_TypeError, "the %s style has no protocols",
				    self->style->name);
	if (self->state == T_CLOSED)
		return PyErr_Format(PyExc_ValueError, "the transport is closed");
	if (callbacks_set_protocol(self, protocol))
		return NULL;
	Py_RETURN_NONE;
}

/* ---- attributes ---- */

static PyObject *get_handle(struct transport *self, void *unused)
{
	(void)unused;
	return PyLong_FromUnsignedLongLong(self->handle);
}

static PyObject *transport_repr(struct transport *self)
{
	static const char *const states[] = {"connecting", "open", "closing", "closed"};
	char text[VLY_ADDR_TEXT_MAX] = "?";

	if (self->names)
		vly_addr_format(&self->names[1], text, sizeof(text));
	return PyUnicode_FromFormat("<%s peer=%s %s %s>", Py_TYPE(self)->tp_name, text,
				    self->style->name, states[self->state]);
}

int transport_traverse(struct transport *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(self->engine);
	Py_VISIT(self->on_data);
	Py_VISIT(self->protocol);
	Py_VISIT(self->inbox);
	Py_VISIT(self->context);
	Py_VISIT(self->factory);
	Py_VISIT(self->done);
	Py_VISIT(self->error);
	Py_VISIT(self->data);
	Py_VISIT(self->waiter);
	Py_VISIT(self->spare);
	return 0;
}

int transport_clear(struct transport *self)
{
	self->self = NULL;
	Py_CLEAR(self->on_data);
	Py_CLEAR(self->protocol);
	Py_CLEAR(self->inbox);
	Py_CLEAR(self->context);
	Py_CLEAR(self->factory);
	Py_CLEAR(self->done);
	Py_CLEAR(self->error);
	Py_CLEAR(self->data);
	Py_CLEAR(self->waiter);
	Py_CLEAR(self->spare);
	Py_CLEAR(self->fresh);
	return 0;
}

void transport_dealloc(struct transport *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	if (self->weakrefs)
		PyObject_ClearWeakRefs((PyObject *)self);
	transport_clear(self);
	send_queue_clear(self);
	PyMem_Free(self->names);
	Py_CLEAR(self->engine);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyMethodDef transport_methods[] = {
	{"write", METHOD(method_write), METH_O,
	 "write($self, data, /)\n--\n\nSends bytes-like data; never blocks, never sends a part."},
	{"send", METHOD(method_write), METH_O, "send($self, data, /)\n--\n\nThe same as write()."},
	{"writelines", METHOD(method_writelines), METH_O,
	 "writelines($self, list_of_data, /)\n--\n\nwrite() of each."},
	{"write_eof", METHOD(method_write_eof), METH_NOARGS,
	 "write_eof($self)\n--\n\nEnds sending after what was written; receiving goes on."},
	{"can_write_eof", METHOD(method_can_write_eof), METH_NOARGS,
	 "can_write_eof($self)\n--\n\nTrue."},
	{"close", METHOD(method_close), METH_NOARGS,
	 "close($self)\n--\n\nSends what was written, then closes; nothing is received after this."},
	{"abort", METHOD(method_abort), METH_NOARGS,
	 "abort($self)\n--\n\nResets the connection; what was written is dropped."},
	{"is_closing", METHOD(method_is_closing), METH_NOARGS,
	 "is_closing($self)\n--\n\nWhether it is closing or closed."},
	{"pause_reading", METHOD(method_pause_reading), METH_NOARGS,
	 "pause_reading($self)\n--\n\nNo data_received() until resume_reading()."},
	{"resume_reading", METHOD(method_resume_reading), METH_NOARGS,
	 "resume_reading($self)\n--\n\nUndoes pause_reading()."},
	{"is_reading", METHOD(method_is_reading), METH_NOARGS,
	 "is_reading($self)\n--\n\nWhether data is received."},
	{"set_write_buffer_limits", METHOD(method_set_limits), METH_VARARGS | METH_KEYWORDS,
	 "set_write_buffer_limits($self, high=None, low=None)\n--\n\n"
	 "Water marks of pause_writing() and resume_writing(), in bytes."},
	{"get_write_buffer_limits", METHOD(method_get_limits), METH_NOARGS,
	 "get_write_buffer_limits($self)\n--\n\n(low, high) in bytes."},
	{"get_write_buffer_size", METHOD(method_get_size), METH_NOARGS,
	 "get_write_buffer_size($self)\n--\n\nBytes that wait for room in the engine's queue."},
	{"get_extra_info", METHOD(method_get_extra_info), METH_FASTCALL,
	 "get_extra_info($self, name, default=None, /)\n--\n\n"
	 "'peername', 'sockname', 'engine', 'handle' or 'style'."},
	{"get_protocol", METHOD(method_get_protocol), METH_NOARGS,
	 "get_protocol($self)\n--\n\nThe protocol, or None."},
	{"set_protocol", METHOD(method_set_protocol), METH_O,
	 "set_protocol($self, protocol, /)\n--\n\nChanges the protocol; its methods are looked up now."},
	{0},
};

static PyGetSetDef transport_getset[] = {
	{"handle", (getter)get_handle, NULL, "the engine's 64-bit name of the connection", NULL},
	{0},
};

static PyMemberDef transport_members[] = {
	{"engine", T_OBJECT, offsetof(struct transport, engine), READONLY, "its Engine"},
	{"data", T_OBJECT, offsetof(struct transport, data), 0, "the application's own"},
	{"__weaklistoffset__", T_PYSSIZET, offsetof(struct transport, weakrefs), READONLY, NULL},
	{0},
};

static PyType_Slot transport_slots[] = {
	{Py_tp_doc,
	 SLOT_DOC("One connection; asyncio's Transport. Made by Engine.listen() and .connect().")},
	{Py_tp_dealloc, SLOT(transport_dealloc)},
	{Py_tp_traverse, SLOT(transport_traverse)},
	{Py_tp_clear, SLOT(transport_clear)},
	{Py_tp_repr, SLOT(transport_repr)},
	{Py_tp_methods, transport_methods},
	{Py_tp_getset, transport_getset},
	{Py_tp_members, transport_members},
	{0, NULL},
};

PyType_Spec transport_spec = {
	.name = "volley.Transport",
	.basicsize = sizeof(struct transport),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
		 Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_BASETYPE,
	.slots = transport_slots,
};
