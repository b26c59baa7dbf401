/* batch_rows.c - iterating over a batch: (transport, bytes) of each DATA row */
#include "pyshim/batch.h"

#include "pyshim/transport.h"

/* Rows whose transports are prefetched together, as in dispatch.c. */
#define WINDOW 32

struct batch_rows {
	PyObject_HEAD struct batch *batch; /* NULL: exhausted */
	PyObject *pair;                    /* given out last, to be used again; NULL */
	uint32_t next;                     /* row */
};

PyObject *batch_rows_new(struct batch *batch)
{
	PyTypeObject *type = batch->engine->state->batch_rows_type;
	struct batch_rows *rows;

	if (batch_check(batch))
		return NULL;
	rows = (struct batch_rows *)type->tp_alloc(type, 0);
	if (rows)
		rows->batch = (struct batch *)Py_NewRef((PyObject *)batch);
	return (PyObject *)rows;
}

/* The transports of a window of rows, which lie anywhere. */
static void stage(const struct batch *batch, uint32_t first)
{
	const struct engine *engine = batch->engine;
	const uint64_t *conns = batch->arena->conns;
	uint32_t end = (uint32_t)Py_MIN(first + WINDOW, batch->arena->rows);
	uint32_t slots = engine->options.config.conns_max;

	for (uint32_t i = first; i < end; i++)
		__builtin_prefetch(&engine->by_slot[vly_conn_slot(conns[i])]);
	for (uint32_t i = first; i < end; i++) {
		uint32_t slot = vly_conn_slot(conns[i]);
		const char *transport = slot < slots ? (char *)engine->by_slot[slot] : NULL;

		if (!transport)
			continue;
		__builtin_prefetch(transport);
		__builtin_prefetch(transport + 64);
		__builtin_prefetch(transport + TRANSPORT_HOT_BYTES - 1);
	}
}

/*
 * A tuple for the next row. The last one, if nobody but us has it: zip() does the same. Making one may run
 * the collector, and that anything.
 */
static PyObject *take_pair(struct batch_rows *self)
{
	PyObject *made;

	if (self->pair && Py_REFCNT(self->pair) == 1)
		return Py_NewRef(self->pair);
	/* before self->pair is looked at again: what runs meanwhile may ask for the next row, too */
	made = PyTuple_Pack(2, Py_None, Py_None);
	if (made)
		Py_XSETREF(self->pair, Py_NewRef(made));
	return made;
}

static void put_item(PyObject *pair, Py_ssize_t at, PyObject *item)
{
	PyObject *old = PyTuple_GET_ITEM(pair, at);

	PyTuple_SET_ITEM(pair, at, item);
	Py_DECREF(old);
}

/* The row of the next message, or -1: that was all, or the batch is released (ValueError). */
static Py_ssize_t next_row(struct batch_rows *self)
{
	const struct batch *batch = self->batch;
	const struct arena *arena = batch->arena;

	if (batch_check(batch))
		return -1;
	while (self->next < arena->rows) {
		uint32_t row = self->next++;

		if (row % WINDOW == 0 && batch->engine->prefetch && batch->engine->by_slot)
			stage(batch, row);
		if (likely(arena_is_data(arena, row)))
			return row;
	}
	return -1;
}

static PyObject *batch_rows_next(struct batch_rows *self)
{
	PyObject *pair = self->batch ? take_pair(self) : NULL;
	PyObject *bytes;
	Py_ssize_t row;

	if (!pair)
		return NULL;
	row = self->batch ? next_row(self) : -1;
	if (row < 0) {
		Py_DECREF(pair);
		Py_CLEAR(self->pair);
		Py_CLEAR(self->batch);
		return NULL;
	}
	bytes = batch_row_bytes(self->batch, row);
	if (!bytes) {
		Py_DECREF(pair);
		return NULL;
	}
	put_item(pair, 0, batch_row_transport(self->batch, row));
	put_item(pair, 1, bytes);
	/* the collector may have found that it held nothing to follow */
	if (unlikely(!PyObject_GC_IsTracked(pair)))
		PyObject_GC_Track(pair);
	return pair;
}

static int batch_rows_traverse(struct batch_rows *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	Py_VISIT(self->batch);
	Py_VISIT(self->pair);
	return 0;
}

static int batch_rows_clear(struct batch_rows *self)
{
	Py_CLEAR(self->batch);
	Py_CLEAR(self->pair);
	return 0;
}

static void batch_rows_dealloc(struct batch_rows *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	batch_rows_clear(self);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyType_Slot batch_rows_slots[] = {
	{Py_tp_doc, SLOT_DOC("Iterates over (transport, bytes) of a batch's DATA rows.")},
	{Py_tp_dealloc, SLOT(batch_rows_dealloc)},
	{Py_tp_traverse, SLOT(batch_rows_traverse)},
	{Py_tp_clear, SLOT(batch_rows_clear)},
	{Py_tp_iter, SLOT(PyObject_SelfIter)},
	{Py_tp_iternext, SLOT(batch_rows_next)},
	{0, NULL},
};

PyType_Spec batch_rows_spec = {
	.name = "volley._BatchRows",
	.basicsize = sizeof(struct batch_rows),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION |
		 Py_TPFLAGS_IMMUTABLETYPE,
	.slots = batch_rows_slots,
};
