/* listener.c - the Listener type, and what listen() and connect() have in common */
#include "pyshim/listener.h"

#include <errno.h>
#include <string.h>
#include <structmember.h>

#include "pyshim/address.h"
#include "pyshim/batch.h"
#include "pyshim/options.h"
#include "pyshim/python_compat.h"

static const struct style *const styles[] = {&style_asyncio, &style_completion, &style_coro,
					     &style_batch};

/* NULL with ValueError. */
static const struct style *find_style(const char *name)
{
	for (size_t i = 0; i < sizeof(styles) / sizeof(styles[0]); i++)
		if (strcmp(styles[i]->name, name) == 0)
			return styles[i];
	PyErr_Format(PyExc_ValueError,
		     "style must be 'asyncio', 'completion', 'coro' or 'batch', not '%.50s'", name);
	return NULL;
}

/* 0 if the factory suits the style and the context is one. */
static int check_factory(const struct style *style, PyObject *factory, PyObject *context)
{
	if (context != Py_None && !PyContext_CheckExact(context)) {
		PyErr_Format(PyExc_TypeError, "context must be a contextvars.Context, not %.100s",
			     Py_TYPE(context)->tp_name);
		return -1;
	}
	if (style == &style_batch) {
		if (factory == Py_None)
			return 0;
		PyErr_SetString(PyExc_TypeError, "factory must be None in the batch style: rows "
						 "arrive in Engine.on_batch() or by iteration");
		return -1;
	}
	if (PyCallable_Check(factory))
		return 0;
	PyErr_Format(PyExc_TypeError, "factory must be callable, not %.100s",
		     Py_TYPE(factory)->tp_name);
	return -1;
}

/* A free index in the engine's table; -1 with an exception. */
static int place(struct engine *engine, struct listener *listener)
{
	struct listener **grown;
	unsigned index = 0;

	while (index < engine->listeners_count && engine->listeners[index])
		index++;
	if (index == engine->listeners_count) {
		grown = PyMem_Realloc(engine->listeners, (index + 1) * sizeof(*grown));
		if (!grown) {
			PyErr_NoMemory();
			return -1;
		}
		engine->listeners = grown;
		engine->listeners_count++;
	}
	engine->listeners[index] = (struct listener *)Py_NewRef((PyObject *)listener);
	listener->index = index;
	return 0;
}

/* The handle's generation lies beside the index: a new listener in the old place is another one. */
static void *listener_user(const struct listener *listener)
{
	return (void *)(((uintptr_t)listener->index << 4) | TAG_LISTENER);
}

struct listener *listener_find(struct engine *engine, const void *user)
{
	uintptr_t index = (uintptr_t)user >> 4;

	if (user_tag(user) != TAG_LISTENER || index >= engine->listeners_count ||
	    !engine->listeners[index] || engine->listeners[index]->closed)
		return NULL;
	return engine->listeners[index];
}

static int open_listener(struct listener *listener)
{
	struct engine *engine = listener->engine;
	struct link *link = engine->link;
	int error;

	error = link->ops->listen(link, &listener->addr, &listener->opts, listener_user(listener),
				  &listener->handle);
	if (error) {
		PyObject *text = address_text(&listener->addr);

		state_raise(error, text ? PyUnicode_AsUTF8(text) : "listen");
		Py_XDECREF(text);
		return -1;
	}
	link->ops->name(link, listener->handle, &listener->addr, NULL);
	if (listener->style == &style_batch && batch_prepare(engine))
		return -1;
	return 0;
}

int listener_reopen_all(struct engine *engine)
{
	for (unsigned i = 0; i < engine->listeners_count; i++) {
		struct listener *listener = engine->listeners[i];

		if (!listener || listener->closed)
			continue;
		listener->opts.reuse_port = true;
		if (open_listener(listener))
			return -1;
	}
	return 0;
}

static void leave_table(struct listener *listener)
{
	struct engine *engine = listener->engine;

	if (engine && listener->index < engine->listeners_count &&
	    engine->listeners[listener->index] == listener) {
		engine->listeners[listener->index] = NULL;
		Py_DECREF((PyObject *)listener);
	}
}

static const struct option_type listen_types[] = {{"style", 's'}, {"backlog", 'i'}, {0}};
static const struct option_type connect_types[] = {{"style", 's'}, {0}};

PyObject *listener_listen(struct engine *engine, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"addr",    "factory", "style", "reuse_port",
					    "backlog", "context", NULL};
	PyObject *addr, *factory = Py_None, *context = Py_None;
	const char *style_name = "asyncio";
	int reuse_port = 0, backlog = 0;
	struct listener *listener;
	const struct style *style;

	if (options_check_types(kwargs, listen_types))
		return NULL;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$spiO:listen", (char **)(uintptr_t)names,
					 &addr, &factory, &style_name, &reuse_port, &backlog,
					 &context))
		return NULL;
	if (engine_check(engine))
		return NULL;
	style = find_style(style_name);
	if (!style || check_factory(style, factory, context))
		return NULL;
	if (backlog < 0)
		return PyErr_Format(PyExc_ValueError, "backlog must not be negative: %d", backlog);
	PyTypeObject *type = engine->state->listener_type;

	listener = (struct listener *)type->tp_alloc(type, 0);
	if (!listener)
		return NULL;
	listener->closed = true;
	listener->style = style;
	listener->factory = factory == Py_None ? NULL : Py_NewRef(factory);
	listener->context = context == Py_None ? NULL : Py_NewRef(context);
	listener->opts = (struct vly_listen_opts){.backlog = backlog, .reuse_port = reuse_port};
	listener->engine = (struct engine *)Py_NewRef((PyObject *)engine);
	if (address_parse(addr, "addr", &listener->addr) || place(engine, listener))
		goto fail;
	if (open_listener(listener)) {
		leave_table(listener);
		goto fail;
	}
	listener->closed = false;
	return (PyObject *)listener;
fail:
	Py_DECREF((PyObject *)listener);
	return NULL;
}

/* ---- connect ---- */

PyObject *listener_connect(struct engine *engine, PyObject *args, PyObject *kwargs)
{
	static const char *const names[] = {"addr",    "factory", "style", "from_addr",
					    "context", "done",    NULL};
	PyObject *addr, *factory = Py_None, *from = Py_None, *context = Py_None, *done = Py_None;
	const char *style_name = "asyncio";
	struct vly_addr to_addr, from_addr;
	struct transport *transport;
	const struct style *style;
	int error;

	if (options_check_types(kwargs, connect_types))
		return NULL;
	if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O$sOOO:connect",
					 (char **)(uintptr_t)names, &addr, &factory, &style_name,
					 &from, &context, &done))
		return NULL;
	if (engine_check(engine))
		return NULL;
	style = find_style(style_name);
	if (!style || check_factory(style, factory, context) ||
	    address_parse(addr, "addr", &to_addr) ||
	    (from != Py_None && address_parse(from, "from_addr", &from_addr)))
		return NULL;
	if (done != Py_None && !PyCallable_Check(done))
		return PyErr_Format(PyExc_TypeError, "done must be callable, not %.100s",
				    Py_TYPE(done)->tp_name);
	if (style == &style_batch && batch_prepare(engine))
		return NULL;
	transport = transport_new(engine, style);
	if (!transport)
		return NULL;
	transport->factory = factory == Py_None ? NULL : Py_NewRef(factory);
	transport->context = context == Py_None ? NULL : Py_NewRef(context);
	transport->done = done == Py_None ? NULL : Py_NewRef(done);
	error = engine->link->ops->connect(
		engine->link, &to_addr, from == Py_None ? NULL : &from_addr,
		user_tagged(transport, style == &style_batch ? TAG_BATCH : TAG_TRANSPORT),
		&transport->handle);
	if (error) {
		transport->state = T_CLOSED;
		transport_unlink(transport);
		return state_raise(error, "connect");
	}
	return Py_NewRef((PyObject *)transport);
}

void listener_connect_failed(struct transport *transport, PyObject *factory, PyObject *error)
{
	if (transport->flags & T_LOCAL_CLOSE)
		return; /* it was cancelled by this side */
	if (factory &&
	    (transport->style == &style_asyncio || transport->style == &style_completion))
		transport->protocol = PyObject_CallNoArgs(factory);
	else if (error)
		error_give(Py_NewRef(error));
	if (transport->protocol)
		transport->style->lost(transport, error);
	else if (PyErr_Occurred())
		engine_report(transport->engine, "connect() failed", transport, NULL);
}

/* ---- the type ---- */

static PyObject *method_close(struct listener *self, PyObject *unused)
{
	(void)unused;
	if (self->closed)
		Py_RETURN_NONE;
	if (self->engine->link) {
		if (engine_check(self->engine))
			return NULL;
		self->engine->link->ops->unlisten(self->engine->link, self->handle);
	}
	self->closed = true;
	leave_table(self);
	Py_RETURN_NONE;
}

static PyObject *get_addr(struct listener *self, void *unused)
{
	(void)unused;
	return address_text(&self->addr);
}

static PyObject *get_sockname(struct listener *self, void *unused)
{
	(void)unused;
	return address_tuple(&self->addr);
}

static PyObject *get_closed(struct listener *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(self->closed || !self->engine->link);
}

static PyObject *get_style(struct listener *self, void *unused)
{
	(void)unused;
	return PyUnicode_FromString(self->style->name);
}

static PyObject *listener_repr(struct listener *self)
{
	PyObject *addr = address_text(&self->addr);
	PyObject *text;

	if (!addr)
		return NULL;
	text = PyUnicode_FromFormat("<volley.Listener %U %s%s>", addr, self->style->name,
				    self->closed || !self->engine->link ? " closed" : "");
	Py_DECREF(addr);
	return text;
}

static int listener_traverse(struct listener *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(self->engine);
	Py_VISIT(self->factory);
	Py_VISIT(self->context);
	return 0;
}

static int listener_clear(struct listener *self)
{
	Py_CLEAR(self->factory);
	Py_CLEAR(self->context);
	return 0;
}

static void listener_dealloc(struct listener *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	if (self->weakrefs)
		PyObject_ClearWeakRefs((PyObject *)self);
	listener_clear(self);
	Py_CLEAR(self->engine);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyMethodDef listener_methods[] = {
	{"close", METHOD(method_close), METH_NOARGS,
	 "close()\n--\n\nStops accepting at once; accepted connections live on."},
	{0},
};

static PyGetSetDef listener_getset[] = {
	{"addr", (getter)get_addr, NULL, "the address as text, its port known", NULL},
	{"sockname", (getter)get_sockname, NULL, "the address as the socket module tells it", NULL},
	{"closed", (getter)get_closed, NULL, "whether close() was called, or the engine's", NULL},
	{"style", (getter)get_style, NULL, "how its connections are told to Python", NULL},
	{0},
};

static PyMemberDef listener_members[] = {
	{"__weaklistoffset__", T_PYSSIZET, offsetof(struct listener, weakrefs), READONLY, NULL},
	{0},
};

static PyType_Slot listener_slots[] = {
	{Py_tp_doc,
	 SLOT_DOC("An address that connections are accepted on; made by Engine.listen().")},
	{Py_tp_dealloc, SLOT(listener_dealloc)},
	{Py_tp_traverse, SLOT(listener_traverse)},
	{Py_tp_clear, SLOT(listener_clear)},
	{Py_tp_repr, SLOT(listener_repr)},
	{Py_tp_methods, listener_methods},
	{Py_tp_getset, listener_getset},
	{Py_tp_members, listener_members},
	{0, NULL},
};

PyType_Spec listener_spec = {
	.name = "volley.Listener",
	.basicsize = sizeof(struct listener),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = listener_slots,
};
