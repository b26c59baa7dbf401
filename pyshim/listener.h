/* listener.h - the Listener type, and what listen() and connect() have in common */
#ifndef PYSHIM_LISTENER_H
#define PYSHIM_LISTENER_H

#include "pyshim/engine.h"
#include "pyshim/transport.h"

struct listener {
	PyObject_HEAD struct engine *engine; /* NULL: closed for good */
	const struct style *style;
	PyObject *factory, *context; /* NULL: none */
	vly_conn handle;
	unsigned index; /* in the engine's table */
	bool closed;
	struct vly_addr addr; /* as bound: the port is known */
	struct vly_listen_opts opts;
	PyObject *weakrefs;
};

extern PyType_Spec listener_spec;

/* Engine.listen and Engine.connect. */
PyObject *listener_listen(struct engine *engine, PyObject *args, PyObject *kwargs);
PyObject *listener_connect(struct engine *engine, PyObject *args, PyObject *kwargs);

/* The listener that an OPEN came from, borrowed; NULL if it is closed meanwhile. */
struct listener *listener_find(struct engine *engine, const void *user);

/* Opens the engine's listeners again, after a fork. 0, or -1 with an exception. */
int listener_reopen_all(struct engine *engine);

/* connect() failed and nobody waits for it: tells the protocol, or the handler. */
void listener_connect_failed(struct transport *transport, PyObject *factory, PyObject *error);

#endif
