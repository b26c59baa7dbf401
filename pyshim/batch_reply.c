/* batch_reply.c - answers to the rows of a batch */
#include "pyshim/batch.h"

#include <errno.h>
#include <string.h>

#include "pyshim/transport.h"

/* The engine does not take it now: the connection's own queue does. 0, or -1 with an exception. */
static int send_later(struct engine *engine, vly_conn handle, const void *data, Py_ssize_t len)
{
	struct transport *transport = batch_find_conn(engine, handle);
	PyObject *bytes;
	int error;

	if (!transport)
		return 0;
	bytes = PyBytes_FromStringAndSize(data, len);
	if (!bytes)
		return -1;
	error = transport_send(transport, bytes, 0);
	Py_DECREF(bytes);
	return error;
}

/*
 * Once the engine has refused a send on a connection it refuses all until DRAINED, and that sends the
 * queue first: so nothing overtakes although the queue is not looked at here.
 */
static inline int send_row(struct engine *engine, vly_conn handle, const void *data, uint32_t len)
{
	int error = likely(engine->core != NULL)
			    ? vly_send(engine->core, handle, data, len)
			    : engine->link->ops->send(engine->link, handle, data, len);

	if (unlikely(error == -EAGAIN || error == -EMSGSIZE))
		return send_later(engine, handle, data, len);
	return 0; /* else it is gone, and CLOSED tells */
}

int batch_check(const struct batch *batch)
{
	if (likely(batch->arena != NULL))
		return 0;
	PyErr_SetString(PyExc_ValueError, "the batch is released");
	return -1;
}

Py_ssize_t batch_row(const struct batch *batch, PyObject *object)
{
	Py_ssize_t index;

	if (batch_check(batch))
		return -1;
	index = PyNumber_AsSsize_t(object, PyExc_IndexError);
	if (index == -1 && PyErr_Occurred())
		return -1;
	if (index < 0)
		index += batch->arena->rows;
	if (index < 0 || index >= batch->arena->rows) {
		PyErr_SetString(PyExc_IndexError, "no such row in the batch");
		return -1;
	}
	return index;
}

/* 0, or -1 with an exception. */
static int send_object(struct batch *batch, Py_ssize_t row, PyObject *data)
{
	vly_conn handle = batch->arena->conns[row];
	Py_buffer view;
	int error;

	if (likely(PyBytes_CheckExact(data) && PyBytes_GET_SIZE(data) <= UINT16_MAX))
		return send_row(batch->engine, handle, PyBytes_AS_STRING(data),
				(uint32_t)PyBytes_GET_SIZE(data));
	if (!PyObject_CheckBuffer(data)) {
		PyErr_Format(PyExc_TypeError, "data must be bytes-like, not %.100s",
			     Py_TYPE(data)->tp_name);
		return -1;
	}
	if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE))
		return -1;
	/* its code may have closed everything */
	error = engine_check(batch->engine);
	if (!error)
		error = view.len > UINT16_MAX
				? send_later(batch->engine, handle, view.buf, view.len)
				: send_row(batch->engine, handle, view.buf, (uint32_t)view.len);
	PyBuffer_Release(&view);
	return error;
}

PyObject *batch_reply(struct batch *batch, PyObject *const *args, Py_ssize_t nargs)
{
	Py_ssize_t row;

	if (nargs != 2)
		return PyErr_Format(PyExc_TypeError, "reply() takes a row and data");
	row = batch_row(batch, args[0]);
	if (row < 0 || engine_check(batch->engine) || send_object(batch, row, args[1]))
		return NULL;
	Py_RETURN_NONE;
}

/* One row's length out of a buffer of integers. */
static uint64_t length_at(const Py_buffer *lengths, uint32_t row)
{
	const char *item = (const char *)lengths->buf + (size_t)row * (size_t)lengths->itemsize;
	uint64_t wide;
	uint32_t narrow;

	if (lengths->itemsize == 8) {
		memcpy(&wide, item, 8);
		return wide;
	}
	memcpy(&narrow, item, 4);
	return narrow;
}

/* The argument `lengths`: a buffer of 4- or 8-byte integers, one per row, summing to `len`. */
static int check_lengths(const struct batch *batch, const Py_buffer *lengths, Py_ssize_t len)
{
	const char *format = lengths->format ? lengths->format : "B";
	uint64_t sum = 0;

	format += format[0] == '@' || format[0] == '=' || format[0] == '<';
	if (!strchr("iIlLqQ", format[0]) || format[1] ||
	    (lengths->itemsize != 4 && lengths->itemsize != 8)) {
		PyErr_SetString(PyExc_TypeError,
				"lengths must be a buffer of 32- or 64-bit integers");
		return -1;
	}
	if (lengths->len / lengths->itemsize != (Py_ssize_t)batch->arena->rows) {
		PyErr_Format(PyExc_ValueError, "lengths must have one item per row: %zd, not %u",
			     lengths->len / lengths->itemsize, batch->arena->rows);
		return -1;
	}
	for (uint32_t i = 0; i < batch->arena->rows; i++) {
		uint64_t length = length_at(lengths, i);

		if (length > (uint64_t)len || (sum += length) > (uint64_t)len)
			break;
	}
	if (sum == (uint64_t)len)
		return 0;
	PyErr_Format(PyExc_ValueError, "lengths must add up to the %zd bytes of data", len);
	return -1;
}

/* Rows of one length: what each message costs again and again stays in registers. */
static int send_uniform(struct batch *batch, const uint8_t *from)
{
	struct engine *engine = batch->engine;
	struct vly_core *core = engine->core;
	const struct arena *arena = batch->arena;
	const uint64_t *conns = arena->conns;
	uint32_t rows = arena->rows, len = arena->uniform;

	for (uint32_t i = 0; i < rows; i++, from += len) {
		if (likely(core && vly_send(core, conns[i], from, len) == 0))
			continue;
		/* a refusal once more: it changes nothing, and is dealt with there */
		if (send_row(engine, conns[i], from, len))
			return -1;
	}
	return 0;
}

static int send_rows(struct batch *batch, const Py_buffer *data, const Py_buffer *lengths)
{
	const struct arena *arena = batch->arena;
	const uint8_t *from = data ? data->buf : arena->data;

	if (arena->uniform && !lengths)
		return send_uniform(batch, from);
	for (uint32_t i = 0; i < arena->rows; i++) {
		uint32_t len = lengths ? (uint32_t)length_at(lengths, i) : arena_length(arena, i);

		if (len && send_row(batch->engine, arena->conns[i], from, len))
			return -1;
		from += len;
	}
	return 0;
}

/* Answers to the DATA rows, one after the other. Getting a buffer may run code: nothing is taken for granted. */
static int send_list(struct batch *batch, PyObject *list)
{
	uint32_t row = 0;
	Py_ssize_t at = 0;

	for (; batch->arena && row < batch->arena->rows; row++) {
		PyObject *item;
		int error = 0;

		if (!arena_is_data(batch->arena, row))
			continue;
		if (at == PySequence_Fast_GET_SIZE(list))
			break;
		item = Py_NewRef(PySequence_Fast_GET_ITEM(list, at++));
		if (item != Py_None)
			error = send_object(batch, row, item);
		Py_DECREF(item);
		if (error)
			return -1;
	}
	if (batch_check(batch))
		return -1;
	if (row == batch->arena->rows && at == PySequence_Fast_GET_SIZE(list))
		return 0;
	PyErr_Format(PyExc_ValueError, "data must have one item per DATA row, not %zd",
		     PySequence_Fast_GET_SIZE(list));
	return -1;
}

/* The arguments data and lengths into `given`, by place or by name. 0, or -1 with TypeError. */
static int take_arguments(PyObject *const *args, Py_ssize_t nargs, PyObject *names,
			  PyObject *given[2])
{
	Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;

	if (nargs + named > 2) {
		PyErr_Format(PyExc_TypeError,
			     "reply_all() takes data and lengths, not %zd arguments",
			     nargs + named);
		return -1;
	}
	for (Py_ssize_t i = 0; i < nargs; i++)
		given[i] = args[i];
	for (Py_ssize_t i = 0; i < named; i++) {
		PyObject *name = PyTuple_GET_ITEM(names, i);
		int place = !PyUnicode_CompareWithASCIIString(name, "data")      ? 0
			    : !PyUnicode_CompareWithASCIIString(name, "lengths") ? 1
										 : -1;

		if (place < nargs) {
			PyErr_Format(PyExc_TypeError,
				     place < 0 ? "reply_all() has no argument '%U'"
					       : "reply_all() was given '%U' twice",
				     name);
			return -1;
		}
		given[place] = args[nargs + i];
	}
	return 0;
}

/* Each row gets its share of one buffer, which goes by the rows' own lengths unless others are given. */
static int send_buffer(struct batch *batch, PyObject *data_object, PyObject *lengths_object)
{
	Py_buffer data = {0}, lengths = {0};
	int error = -1;

	if (data_object != Py_None && PyObject_GetBuffer(data_object, &data, PyBUF_SIMPLE))
		return -1;
	if (lengths_object != Py_None &&
	    PyObject_GetBuffer(lengths_object, &lengths, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS))
		goto done;
	/* getting a buffer may run code */
	if (batch_check(batch) || engine_check(batch->engine))
		goto done;
	if (lengths.obj && check_lengths(batch, &lengths, data.len))
		goto done;
	if (data.obj && !lengths.obj && data.len != (Py_ssize_t)batch->arena->data_bytes) {
		PyErr_Format(PyExc_ValueError,
			     "without lengths data must have the batch's %zu bytes, not %zd",
			     batch->arena->data_bytes, data.len);
		goto done;
	}
	error = send_rows(batch, data.obj ? &data : NULL, lengths.obj ? &lengths : NULL);
done:
	if (lengths.obj)
		PyBuffer_Release(&lengths);
	if (data.obj)
		PyBuffer_Release(&data);
	return error;
}

PyObject *batch_reply_all(struct batch *batch, PyObject *const *args, Py_ssize_t nargs,
			  PyObject *names)
{
	PyObject *given[2] = {Py_None, Py_None};
	int error;

	if (take_arguments(args, nargs, names, given))
		return NULL;
	if (batch_check(batch) || engine_check(batch->engine))
		return NULL;
	if (given[0] == Py_None && given[1] != Py_None)
		return PyErr_Format(PyExc_TypeError, "lengths without data");
	if (PyList_Check(given[0]) || PyTuple_Check(given[0])) {
		if (given[1] != Py_None)
			return PyErr_Format(PyExc_TypeError, "lengths with a list as data");
		error = send_list(batch, given[0]);
	} else {
		error = send_buffer(batch, given[0], given[1]);
	}
	if (error)
		return NULL;
	Py_RETURN_NONE;
}
