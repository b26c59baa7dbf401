/* address.c - addresses between Python and the engine */
#include "pyshim/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static int parse_text(const char *text, const char *argument, struct vly_addr *addr)
{
	if (vly_addr_parse(text, addr)) {
		PyErr_Format(PyExc_ValueError,
			     "%s: '%.200s' is no address (\"192.0.2.1:80\", \"[::1]:80\", "
			     "\"unix:/path\"; names are not looked up)",
			     argument, text);
		return -1;
	}
	return 0;
}

static int parse_pair(PyObject *pair, const char *argument, struct vly_addr *addr)
{
	char text[VLY_ADDR_TEXT_MAX];
	const char *host;
	long port;

	if (PyTuple_GET_SIZE(pair) < 2 || !PyUnicode_Check(PyTuple_GET_ITEM(pair, 0)) ||
	    !PyLong_Check(PyTuple_GET_ITEM(pair, 1))) {
		PyErr_Format(PyExc_TypeError, "%s must be \"host:port\" or (host, port)", argument);
		return -1;
	}
	host = PyUnicode_AsUTF8(PyTuple_GET_ITEM(pair, 0));
	port = PyLong_AsLong(PyTuple_GET_ITEM(pair, 1));
	if (!host || (port == -1 && PyErr_Occurred()))
		return -1;
	if (port < 0 || port > 65535) {
		PyErr_Format(PyExc_ValueError, "%s: port must be 0..65535, not %ld", argument,
			     port);
		return -1;
	}
	snprintf(text, sizeof(text), strchr(host, ':') ? "[%.100s]:%ld" : "%.100s:%ld", host, port);
	return parse_text(text, argument, addr);
}

int address_parse(PyObject *object, const char *argument, struct vly_addr *addr)
{
	if (PyUnicode_Check(object)) {
		const char *text = PyUnicode_AsUTF8(object);

		return text ? parse_text(text, argument, addr) : -1;
	}
	if (PyTuple_Check(object))
		return parse_pair(object, argument, addr);
	PyErr_Format(PyExc_TypeError, "%s must be \"host:port\" or (host, port), not %.100s",
		     argument, Py_TYPE(object)->tp_name);
	return -1;
}

PyObject *address_tuple(const struct vly_addr *addr)
{
	char text[INET6_ADDRSTRLEN] = "";

	switch (addr->family) {
	case VLY_IP4:
		inet_ntop(AF_INET, addr->ip4, text, sizeof(text));
		return Py_BuildValue("(si)", text, addr->port);
	case VLY_IP6:
		inet_ntop(AF_INET6, addr->ip6, text, sizeof(text));
		return Py_BuildValue("(siiI)", text, addr->port, 0, addr->scope_id);
	case VLY_UNIX:
		if (addr->path_len &&
		    !addr->path[0]) /* abstract: bytes, as the socket module does */
			return PyBytes_FromStringAndSize(addr->path, addr->path_len);
		return PyUnicode_DecodeFSDefaultAndSize(addr->path, addr->path_len);
	default:
		Py_RETURN_NONE;
	}
}

PyObject *address_text(const struct vly_addr *addr)
{
	char text[VLY_ADDR_TEXT_MAX];

	return PyUnicode_FromString(vly_addr_format(addr, text, sizeof(text)));
}
