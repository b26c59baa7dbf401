/* batch.h - the batch style: all that completed, at once, as rows and columns */
#ifndef PYSHIM_BATCH_H
#define PYSHIM_BATCH_H

#include "pyshim/column.h"
#include "pyshim/engine.h"

struct batch {
	PyObject_HEAD struct engine *engine;
	struct arena *arena; /* NULL: released */
	bool news;           /* has rows other than DATA: something is due when it is released */
};

extern PyType_Spec batch_spec, batch_rows_spec;

/* Before the first listener or connection of the style. 0, or -1 with an exception. */
int batch_prepare(struct engine *engine);

/* Remembers a connection by its handle, and forgets it. */
void batch_add_conn(struct transport *transport);
void batch_drop_conn(struct transport *transport);

/* Borrowed; NULL if it is closed. */
struct transport *batch_find_conn(const struct engine *engine, vly_conn handle);

/*
 * The events of the style's connections, if there are any, as one Batch: to on_batch's function, or for
 * batch_next. Their data is no longer than `data_bytes`.
 */
void batch_hand_out(struct engine *engine, const struct vly_event *events, int count,
		    size_t data_bytes);

/* Engine.__next__. */
PyObject *batch_next(struct engine *engine);

/* Releases and closes what the rows told. NULL is allowed. */
void batch_release(struct batch *batch);

/* 0, or -1 with ValueError. */
int batch_check(const struct batch *batch);

/* The index of a row, negative ones from the end; -1 with an exception. */
Py_ssize_t batch_row(const struct batch *batch, PyObject *index);

/* Of a row: its Transport or None; its bytes. New references. */
PyObject *batch_row_transport(struct batch *batch, Py_ssize_t row);
PyObject *batch_row_bytes(struct batch *batch, Py_ssize_t row);

/* Batch.__iter__. New reference, or NULL with an exception. */
PyObject *batch_rows_new(struct batch *batch);

/* Batch.reply and Batch.reply_all. */
PyObject *batch_reply(struct batch *batch, PyObject *const *args, Py_ssize_t nargs);
PyObject *batch_reply_all(struct batch *batch, PyObject *const *args, Py_ssize_t nargs,
			  PyObject *names);

/* Lets go of the memory alone: nobody can reach the batch any more. */
void batch_abandon(struct batch *batch);

uint64_t batch_pinned(const struct engine *engine);
uint64_t batch_copied(const struct engine *engine);

#endif
