/* state.h - what one instance of the module owns: its types, its interned names, its open engines */
#ifndef PYSHIM_STATE_H
#define PYSHIM_STATE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdbool.h>
#include <stdint.h>

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

struct engine;

/* Names looked up on protocols and passed to handlers. */
#define STATE_NAMES(X)                                                                             \
	X(buffer_updated)                                                                          \
	X(connection_lost)                                                                         \
	X(connection_made)                                                                         \
	X(data_received)                                                                           \
	X(eof_received)                                                                            \
	X(exception)                                                                               \
	X(get_buffer)                                                                              \
	X(initial_bytes_to_send)                                                                   \
	X(message)                                                                                 \
	X(next_bytes_to_send)                                                                      \
	X(pause_writing)                                                                           \
	X(protocol)                                                                                \
	X(resume_writing)                                                                          \
	X(send_complete)                                                                           \
	X(transport)                                                                               \
	X(add_done_callback)

struct state {
	PyTypeObject *engine_type, *listener_type, *transport_type, *conn_type;
	PyTypeObject *batch_type, *batch_rows_type, *column_type, *awaitable_type, *watch_type,
		*timer_type;
#define STATE_NAME_FIELD(name) PyObject *str_##name;
	STATE_NAMES(STATE_NAME_FIELD)
#undef STATE_NAME_FIELD
	PyObject *str_future_blocking; /* "_asyncio_future_blocking" */
	struct engine *engines;        /* all that are open, for the end of the interpreter */
	unsigned long main_thread;     /* the one that runs signal handlers */
};

/* The state of the module that defines `type`. Borrowed; lives as long as the type. */
static inline struct state *state_of_type(PyTypeObject *type)
{
	return PyType_GetModuleState(type);
}

/* Raises OSError (the subclass that its number names) from -errno; returns NULL. */
PyObject *state_raise(int error, const char *what);

/* An OSError object from -errno, new reference, nothing raised; NULL with an exception. */
PyObject *state_oserror(int error);

/* For method tables: every signature through one cast. */
#define METHOD(function) ((PyCFunction)(void (*)(void))(function))
#define SLOT(function) ((void *)(function))
#define SLOT_DOC(text) ((void *)(uintptr_t)(text)) /* slots are not const */

#endif
