/* python_compat.h - what differs between CPython versions */
#ifndef PYSHIM_PYTHON_COMPAT_H
#define PYSHIM_PYTHON_COMPAT_H

#include "pyshim/state.h"

/* The exception that is raised, taken: new reference with its traceback attached, or NULL. */
static inline PyObject *error_take(void)
{
#if PY_VERSION_HEX >= 0x030C0000
	return PyErr_GetRaisedException();
#else
	PyObject *type, *value, *trace;

	PyErr_Fetch(&type, &value, &trace);
	if (!type)
		return NULL;
	PyErr_NormalizeException(&type, &value, &trace);
	if (trace)
		PyException_SetTraceback(value, trace);
	Py_DECREF(type);
	Py_XDECREF(trace);
	return value;
#endif
}

/* Raises an exception object; takes the reference. */
static inline void error_give(PyObject *error)
{
#if PY_VERSION_HEX >= 0x030C0000
	PyErr_SetRaisedException(error);
#else
	PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(error)), error,
		      PyException_GetTraceback(error));
#endif
}

/*
 * Where the values of an instance's attributes begin, to be prefetched and never read. Python keeps a
 * pointer in front of objects that have a managed dictionary; from 3.13 on the values follow the object.
 */
static inline const void *object_values(PyObject *object)
{
#if PY_VERSION_HEX >= 0x030D0000
	return object + 1;
#else
	if (!PyType_HasFeature(Py_TYPE(object), Py_TPFLAGS_MANAGED_DICT))
		return object + 1;
#if PY_VERSION_HEX >= 0x030C0000
	return ((void **)object)[-3];
#else
	return ((void **)object)[-4];
#endif
#endif
}

#endif
