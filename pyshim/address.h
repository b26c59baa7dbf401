/* address.h - addresses between Python and the engine */
#ifndef PYSHIM_ADDRESS_H
#define PYSHIM_ADDRESS_H

#include "pyshim/state.h"

#include "volley/addr.h"

/*
 * From "127.0.0.1:80" (see vly_addr_parse) or a tuple (host, port) of a literal address. 0, or -1 with
 * TypeError or ValueError that names `argument`.
 */
int address_parse(PyObject *object, const char *argument, struct vly_addr *addr);

/* As the socket module tells it: (host, port), (host, port, 0, scope), a path, or None. New reference. */
PyObject *address_tuple(const struct vly_addr *addr);

/* "127.0.0.1:80": new reference. */
PyObject *address_text(const struct vly_addr *addr);

#endif
