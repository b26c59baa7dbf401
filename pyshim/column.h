/* column.h - memory of batches, and the objects that export it */
#ifndef PYSHIM_COLUMN_H
#define PYSHIM_COLUMN_H

#include "pyshim/state.h"
#include "volley/event.h"

#include <stddef.h>

/*
 * The rows of one batch, gathered: kernel buffers go home at once, and one count covers all that Python
 * looks at. Freed, or used again, when neither a batch nor an export refers to it: with the GIL, on any
 * thread, and perhaps long after the engine.
 */
struct arena {
	struct column_pool *pool;
	struct arena *next; /* in the pool's free list */
	uint32_t refs;      /* the batch, and a Column per export */
	bool detached;      /* released by its batch while Columns live: pinned */
	bool whole;         /* every column is written, not only conns and data */
	uint32_t rows;
	uint32_t uniform; /* bytes of every row, if all are DATA and equally long; else 0 */
	uint64_t stamp;   /* of every row, unless `whole` */
	size_t data_bytes, data_room;
	uint64_t *conns, *stamps;
	uint32_t *offsets, *lengths;
	int32_t *statuses;
	uint8_t *kinds;
	uint8_t *data;
};

/* An engine's arenas. */
struct column_pool {
	uint32_t refs; /* the engine, and each arena that is in use */
	bool closed;   /* the engine is gone: nothing is kept for later */
	uint32_t rows_max;
	uint32_t pinned, pinned_max;
	uint64_t copied; /* exports that were copied because too much was pinned */
	struct arena *free;
};

extern PyType_Spec column_spec;

/* NULL: no memory, nothing raised. */
struct column_pool *column_pool_new(uint32_t rows_max, uint32_t pinned_max);
void column_pool_close(struct column_pool *pool);

/* An empty arena with one reference, room for `data_bytes`; NULL: no memory, nothing raised. */
struct arena *arena_new(struct column_pool *pool, size_t data_bytes);

/* Writes the columns that a uniform batch does not need before somebody looks at them. */
void arena_make_whole(struct arena *arena);

static inline bool arena_is_data(const struct arena *arena, uint32_t row)
{
	return arena->uniform || arena->kinds[row] == VLY_DATA;
}

static inline uint32_t arena_length(const struct arena *arena, uint32_t row)
{
	return arena->uniform ? arena->uniform : arena->lengths[row];
}

static inline uint8_t *arena_row(const struct arena *arena, uint32_t row)
{
	return arena->data + (arena->uniform ? (size_t)row * arena->uniform : arena->offsets[row]);
}

/* The batch lets go: what is still exported is pinned from now on. */
void arena_detach(struct arena *arena);

/*
 * A read-only memoryview of part of an arena: `count` items of a struct format. A copy if the pool has
 * too much pinned already. New reference.
 */
PyObject *column_view(struct state *state, struct arena *arena, void *items, Py_ssize_t count,
		      Py_ssize_t item_bytes, const char *format);

#endif
