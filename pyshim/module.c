/* module.c - volley._volley: types, constants, and the end of the interpreter */
#include "pyshim/state.h"

#include <string.h>

#include "pyshim/batch.h"
#include "pyshim/coro_style.h"
#include "pyshim/engine.h"
#include "pyshim/extras.h"
#include "pyshim/listener.h"
#include "pyshim/python_compat.h"
#include "pyshim/transport.h"

#include "volley/volley.h"

PyObject *state_oserror(int error)
{
	return PyObject_CallFunction(PyExc_OSError, "is", -error, strerror(-error));
}

PyObject *state_raise(int error, const char *what)
{
	PyObject *exception =
		PyObject_CallFunction(PyExc_OSError, "isz", -error, strerror(-error), what);

	if (exception)
		error_give(exception);
	return NULL;
}

static PyObject *close_all(PyObject *module, PyObject *unused)
{
	(void)unused;
	engine_close_all(PyModule_GetState(module));
	Py_RETURN_NONE;
}

static PyObject *now_ns(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return PyLong_FromUnsignedLongLong(vly_now_ns());
}

static PyObject *nics(PyObject *module, PyObject *unused)
{
	PyObject *list = PyList_New(0);

	(void)module;
	(void)unused;
	for (unsigned i = 0; list && vly_nic_name(i); i++) {
		PyObject *name = PyUnicode_FromString(vly_nic_name(i));

		if (!name || PyList_Append(list, name))
			Py_CLEAR(list);
		Py_XDECREF(name);
	}
	return list;
}

static PyMethodDef module_methods[] = {
	{"now_ns", METHOD(now_ns), METH_NOARGS,
	 "now_ns()\n--\n\nThe clock of the stamps, now: CLOCK_MONOTONIC in nanoseconds."},
	{"nics", METHOD(nics), METH_NOARGS, "nics()\n--\n\nNames of the nics that are built in."},
	{"_close_all", METHOD(close_all), METH_NOARGS, NULL},
	{0},
};

static int add_type(PyObject *module, const char *name, PyType_Spec *spec, PyTypeObject *base,
		    PyTypeObject **place)
{
	*place = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
	if (!*place)
		return -1;
	return PyModule_AddObjectRef(module, name, (PyObject *)*place);
}

static int add_types(PyObject *module, struct state *state)
{
	if (add_type(module, "Engine", &engine_spec, NULL, &state->engine_type) ||
	    add_type(module, "Listener", &listener_spec, NULL, &state->listener_type) ||
	    add_type(module, "Transport", &transport_spec, NULL, &state->transport_type) ||
	    add_type(module, "Conn", &conn_spec, state->transport_type, &state->conn_type) ||
	    add_type(module, "Batch", &batch_spec, NULL, &state->batch_type) ||
	    add_type(module, "_Column", &column_spec, NULL, &state->column_type) ||
	    add_type(module, "_BatchRows", &batch_rows_spec, NULL, &state->batch_rows_type) ||
	    add_type(module, "_Awaitable", &awaitable_spec, NULL, &state->awaitable_type) ||
	    add_type(module, "Watch", &watch_spec, NULL, &state->watch_type) ||
	    add_type(module, "Timer", &timer_spec, NULL, &state->timer_type))
		return -1;
	return 0;
}

static int add_constants(PyObject *module)
{
	static const struct {
		const char *name;
		long value;
	} constants[] = {
		{"OPEN", VLY_OPEN},       {"DATA", VLY_DATA},     {"EOF", VLY_EOF},
		{"DRAINED", VLY_DRAINED}, {"CLOSED", VLY_CLOSED},
	};

	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++)
		if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value))
			return -1;
	return PyModule_AddStringConstant(module, "__version__", PYSHIM_VERSION);
}

static int intern_names(struct state *state)
{
#define STATE_INTERN(name)                                                                         \
	if (!(state->str_##name = PyUnicode_InternFromString(#name)))                              \
		return -1;
	STATE_NAMES(STATE_INTERN)
#undef STATE_INTERN
	state->str_future_blocking = PyUnicode_InternFromString("_asyncio_future_blocking");
	return state->str_future_blocking ? 0 : -1;
}

/* Signal handlers run on this thread alone. */
static int find_main_thread(struct state *state)
{
	PyObject *threading = PyImport_ImportModule("threading");
	PyObject *thread = threading ? PyObject_CallMethod(threading, "main_thread", NULL) : NULL;
	PyObject *ident = thread ? PyObject_GetAttrString(thread, "ident") : NULL;

	if (ident)
		state->main_thread = PyLong_AsUnsignedLongMask(ident);
	Py_XDECREF(ident);
	Py_XDECREF(thread);
	Py_XDECREF(threading);
	return PyErr_Occurred() ? -1 : 0;
}

/* Engines that nobody closed: before the interpreter takes their protocols apart. */
static int register_end(PyObject *module)
{
	PyObject *function = PyObject_GetAttrString(module, "_close_all");
	PyObject *atexit = PyImport_ImportModule("atexit");
	PyObject *result =
		function && atexit ? PyObject_CallMethod(atexit, "register", "O", function) : NULL;

	Py_XDECREF(function);
	Py_XDECREF(atexit);
	Py_XDECREF(result);
	return result ? 0 : -1;
}

static int module_exec(PyObject *module)
{
	struct state *state = PyModule_GetState(module);

	if (intern_names(state) || add_types(module, state) || add_constants(module) ||
	    find_main_thread(state) || register_end(module))
		return -1;
	return 0;
}

static int module_traverse(PyObject *module, visitproc visit, void *arg)
{
	struct state *state = PyModule_GetState(module);

	Py_VISIT(state->engine_type);
	Py_VISIT(state->listener_type);
	Py_VISIT(state->transport_type);
	Py_VISIT(state->conn_type);
	Py_VISIT(state->batch_type);
	Py_VISIT(state->column_type);
	Py_VISIT(state->batch_rows_type);
	Py_VISIT(state->awaitable_type);
	Py_VISIT(state->watch_type);
	Py_VISIT(state->timer_type);
	return 0;
}

static int module_clear(PyObject *module)
{
	struct state *state = PyModule_GetState(module);

	Py_CLEAR(state->engine_type);
	Py_CLEAR(state->listener_type);
	Py_CLEAR(state->transport_type);
	Py_CLEAR(state->conn_type);
	Py_CLEAR(state->batch_type);
	Py_CLEAR(state->column_type);
	Py_CLEAR(state->batch_rows_type);
	Py_CLEAR(state->awaitable_type);
	Py_CLEAR(state->watch_type);
	Py_CLEAR(state->timer_type);
#define STATE_CLEAR(name) Py_CLEAR(state->str_##name);
	STATE_NAMES(STATE_CLEAR)
#undef STATE_CLEAR
	Py_CLEAR(state->str_future_blocking);
	return 0;
}

static void module_free(void *module)
{
	module_clear(module);
}

static PyModuleDef_Slot module_slots[] = {
	{Py_mod_exec, SLOT(module_exec)},
	{0, NULL},
};

static struct PyModuleDef module_def = {
	PyModuleDef_HEAD_INIT,
	.m_name = "volley._volley",
	.m_doc = "The compiled part of volley.",
	.m_size = sizeof(struct state),
	.m_methods = module_methods,
	.m_slots = module_slots,
	.m_traverse = module_traverse,
	.m_clear = module_clear,
	.m_free = module_free,
};

PyMODINIT_FUNC PyInit__volley(void);
PyMODINIT_FUNC PyInit__volley(void)
{
	return PyModuleDef_Init(&module_def);
}
