/* batch_type.c - the Batch type: rows, columns and their release */
#include "pyshim/batch.h"

#include "pyshim/transport.h"

/* ---- columns ---- */

#define COLUMN(name, items_count, item_bytes, format, always)                                      \
	static PyObject *get_##name(struct batch *self, void *unused)                              \
	{                                                                                          \
		(void)unused;                                                                      \
		if (batch_check(self))                                                             \
			return NULL;                                                               \
		if (!(always))                                                                     \
			arena_make_whole(self->arena);                                             \
		return column_view(self->engine->state, self->arena, self->arena->name,            \
				   (Py_ssize_t)self->arena->items_count, item_bytes, format);      \
	}

COLUMN(conns, rows, 8, "Q", true)
COLUMN(stamps, rows, 8, "Q", false)
COLUMN(offsets, rows, 4, "I", false)
COLUMN(lengths, rows, 4, "I", false)
COLUMN(statuses, rows, 4, "i", false)
COLUMN(kinds, rows, 1, "B", false)
COLUMN(data, data_bytes, 1, "B", true)

static PyObject *get_uniform(struct batch *self, void *unused)
{
	(void)unused;
	if (batch_check(self))
		return NULL;
	if (!self->arena->uniform)
		Py_RETURN_NONE;
	return PyLong_FromUnsignedLong(self->arena->uniform);
}

static PyObject *get_released(struct batch *self, void *unused)
{
	(void)unused;
	return PyBool_FromLong(!self->arena);
}

/* ---- rows ---- */

PyObject *batch_row_transport(struct batch *self, Py_ssize_t row)
{
	struct transport *transport = batch_find_conn(self->engine, self->arena->conns[row]);

	return Py_NewRef(transport ? (PyObject *)transport : Py_None);
}

PyObject *batch_row_bytes(struct batch *self, Py_ssize_t row)
{
	const struct arena *arena = self->arena;

	return PyBytes_FromStringAndSize((const char *)arena_row(arena, (uint32_t)row),
					 arena_length(arena, (uint32_t)row));
}

/* (transport, bytes) */
static PyObject *row_pair(struct batch *self, Py_ssize_t row)
{
	PyObject *pair = PyTuple_New(2);
	PyObject *bytes = pair ? batch_row_bytes(self, row) : NULL;

	if (!bytes) {
		Py_XDECREF(pair);
		return NULL;
	}
	PyTuple_SET_ITEM(pair, 0, batch_row_transport(self, row));
	PyTuple_SET_ITEM(pair, 1, bytes);
	return pair;
}

static PyObject *method_transport(struct batch *self, PyObject *index)
{
	Py_ssize_t row = batch_row(self, index);

	return row < 0 ? NULL : batch_row_transport(self, row);
}

static PyObject *batch_subscript(struct batch *self, PyObject *index)
{
	Py_ssize_t row = batch_row(self, index);

	return row < 0 ? NULL : row_pair(self, row);
}

static PyObject *method_view(struct batch *self, PyObject *index)
{
	Py_ssize_t row = batch_row(self, index);

	if (row < 0)
		return NULL;
	return column_view(self->engine->state, self->arena, arena_row(self->arena, (uint32_t)row),
			   arena_length(self->arena, (uint32_t)row), 1, "B");
}

static PyObject *method_close(struct batch *self, PyObject *index)
{
	Py_ssize_t row = batch_row(self, index);
	struct transport *transport;

	if (row < 0 || engine_check(self->engine))
		return NULL;
	transport = batch_find_conn(self->engine, self->arena->conns[row]);
	if (transport)
		transport_close(transport);
	Py_RETURN_NONE;
}

static PyObject *method_release(struct batch *self, PyObject *unused)
{
	(void)unused;
	if (self->arena && self->engine->link && engine_check(self->engine))
		return NULL;
	batch_release(self);
	Py_RETURN_NONE;
}

static Py_ssize_t batch_length(struct batch *self)
{
	return batch_check(self) ? -1 : (Py_ssize_t)self->arena->rows;
}

static Py_ssize_t count_data(const struct arena *arena)
{
	Py_ssize_t count = 0;

	if (arena->uniform)
		return arena->rows;
	for (uint32_t i = 0; i < arena->rows; i++)
		count += arena->kinds[i] == VLY_DATA;
	return count;
}

static PyObject *method_payloads(struct batch *self, PyObject *unused)
{
	Py_ssize_t at = 0;
	PyObject *list;

	(void)unused;
	if (batch_check(self))
		return NULL;
	/* making bytes calls no Python code, so the batch stays as it is */
	list = PyList_New(count_data(self->arena));
	for (uint32_t i = 0; list && i < self->arena->rows; i++) {
		PyObject *bytes;

		if (!arena_is_data(self->arena, i))
			continue;
		bytes = batch_row_bytes(self, i);
		if (bytes)
			PyList_SET_ITEM(list, at++, bytes);
		else
			Py_CLEAR(list);
	}
	return list;
}

static PyObject *batch_repr(struct batch *self)
{
	if (!self->arena)
		return PyUnicode_FromString("<volley.Batch released>");
	return PyUnicode_FromFormat("<volley.Batch of %u rows, %zu bytes>", self->arena->rows,
				    self->arena->data_bytes);
}

/* ---- the type ---- */

static int batch_traverse(struct batch *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(self->engine);
	return 0;
}

static void batch_dealloc(struct batch *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	batch_abandon(self);
	Py_CLEAR(self->engine);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyMethodDef batch_methods[] = {
	{"reply", METHOD(batch_reply), METH_FASTCALL,
	 "reply($self, row, data, /)\n--\n\nSends to the connection of a row."},
	{"reply_all", METHOD(batch_reply_all), METH_FASTCALL | METH_KEYWORDS,
	 "reply_all($self, data=None, lengths=None)\n--\n\n"
	 "Sends the next lengths[i] bytes of data to the connection of row i, for all rows.\n"
	 "lengths: a buffer of 32- or 64-bit integers, 0 sends nothing; None: the batch's own.\n"
	 "Without data: every row's own data goes back. A list or tuple as data: one bytes-like\n"
	 "object, or None for nothing, per DATA row, as payloads() lists them."},
	{"payloads", METHOD(method_payloads), METH_NOARGS,
	 "payloads($self)\n--\n\nThe bytes of all DATA rows, a list."},
	{"view", METHOD(method_view), METH_O,
	 "view($self, row, /)\n--\n\n"
	 "A row's data, a read-only memoryview that may outlive everything."},
	{"transport", METHOD(method_transport), METH_O,
	 "transport($self, row, /)\n--\n\nThe Transport of a row; None if it is closed."},
	{"close", METHOD(method_close), METH_O,
	 "close($self, row, /)\n--\n\nCloses the connection of a row."},
	{"release", METHOD(method_release), METH_NOARGS,
	 "release($self)\n--\n\n"
	 "Lets go of the memory; views stay valid, the batch raises ValueError from now on."},
	{0},
};

static PyGetSetDef batch_getset[] = {
	{"conns", (getter)get_conns, NULL, "handle of each row, 'Q'", NULL},
	{"stamps", (getter)get_stamps, NULL, "when each row was reaped, ns, 'Q': see now_ns()",
	 NULL},
	{"offsets", (getter)get_offsets, NULL, "where each row begins in data, 'I'", NULL},
	{"lengths", (getter)get_lengths, NULL, "bytes of each row, 'I'; 0 unless DATA", NULL},
	{"statuses", (getter)get_statuses, NULL, "0 or -errno of each row, 'i'", NULL},
	{"kinds", (getter)get_kinds, NULL, "OPEN, DATA, EOF or CLOSED of each row, 'B'", NULL},
	{"data", (getter)get_data, NULL, "all rows' bytes, one after the other, 'B'", NULL},
	{"uniform", (getter)get_uniform, NULL,
	 "bytes of every row if all are DATA and equally long, else None: data is then a table",
	 NULL},
	{"released", (getter)get_released, NULL, "whether it is released", NULL},
	{0},
};

static PyType_Slot batch_slots[] = {
	{Py_tp_doc,
	 SLOT_DOC("What one poll brought for connections of the batch style: rows, or "
		  "columns.\n\n"
		  "Columns are read-only memoryviews that numpy reads without copying: \n"
		  "numpy.asarray(batch.lengths). Iterating gives (transport, bytes) of "
		  "DATA rows.")},
	{Py_tp_dealloc, SLOT(batch_dealloc)},
	{Py_tp_traverse, SLOT(batch_traverse)},
	{Py_tp_iter, SLOT(batch_rows_new)},
	{Py_tp_repr, SLOT(batch_repr)},
	{Py_tp_methods, batch_methods},
	{Py_tp_getset, batch_getset},
	{Py_sq_length, SLOT(batch_length)},
	{Py_mp_length, SLOT(batch_length)},
	{Py_mp_subscript, SLOT(batch_subscript)},
	{0, NULL},
};

PyType_Spec batch_spec = {
	.name = "volley.Batch",
	.basicsize = sizeof(struct batch),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = batch_slots,
};
