/* callbacks.h - what the styles with protocol objects have in common */
#ifndef PYSHIM_CALLBACKS_H
#define PYSHIM_CALLBACKS_H

#include "pyshim/transport.h"

/* Calls the factory and prepares data_received. 0; or -1: reported, and the connection is being reset. */
int callbacks_make_protocol(struct transport *transport, PyObject *factory);

/* Takes a protocol (borrowed) and looks its callbacks up. 0, or -1 with an exception. */
int callbacks_set_protocol(struct transport *transport, PyObject *protocol);

/* After connection_lost: breaks the circle of transport and protocol. */
void callbacks_drop_protocol(struct transport *transport);

/* The raised exception came out of protocol.<name>(): reports it and resets the connection. */
void callbacks_failed(struct transport *transport, const char *name);

#endif
