/* column.c - memory of batches, and the objects that export it */
#include "pyshim/column.h"

#include <assert.h>
#include <stdlib.h>

/* Free arenas that a pool keeps; one is in use while the next is filled. */
#define KEPT_MAX 4

/*
 * What a memoryview looks at: an object that owns, counted by its reference count. The buffer protocol
 * holds a reference per export, so it cannot be freed while there is one; slices hold it too.
 */
struct column {
	PyObject_HEAD struct arena *arena;
	void *items;
	const char *format; /* static text */
	Py_ssize_t count, item_bytes;
};

static void pool_release(struct column_pool *pool)
{
	if (--pool->refs == 0) {
		assert(!pool->free);
		free(pool);
	}
}

static void arena_free(struct arena *arena)
{
	free(arena->conns);
	free(arena->data);
	free(arena);
}

struct column_pool *column_pool_new(uint32_t rows_max, uint32_t pinned_max)
{
	struct column_pool *pool = calloc(1, sizeof(*pool));

	if (pool)
		*pool = (struct column_pool){
			.refs = 1, .rows_max = rows_max, .pinned_max = pinned_max};
	return pool;
}

void column_pool_close(struct column_pool *pool)
{
	pool->closed = true;
	while (pool->free) {
		struct arena *arena = pool->free;

		pool->free = arena->next;
		arena_free(arena);
	}
	pool_release(pool);
}

/* One allocation for all columns, the widest first. */
static int arena_take_columns(struct arena *arena, size_t rows)
{
	char *memory = malloc(rows * (8 + 8 + 4 + 4 + 4 + 1));

	if (!memory)
		return -1;
	arena->conns = (uint64_t *)(void *)memory;
	arena->stamps = arena->conns + rows;
	arena->offsets = (uint32_t *)(void *)(arena->stamps + rows);
	arena->lengths = arena->offsets + rows;
	arena->statuses = (int32_t *)(void *)(arena->lengths + rows);
	arena->kinds = (uint8_t *)(void *)(arena->statuses + rows);
	return 0;
}

static int arena_grow(struct arena *arena, size_t data_bytes)
{
	uint8_t *grown;

	if (data_bytes <= arena->data_room)
		return 0;
	grown = realloc(arena->data, data_bytes);
	if (!grown)
		return -1;
	arena->data = grown;
	arena->data_room = data_bytes;
	return 0;
}

struct arena *arena_new(struct column_pool *pool, size_t data_bytes)
{
	struct arena *arena = pool->free;

	if (arena) {
		pool->free = arena->next;
	} else {
		arena = calloc(1, sizeof(*arena));
		if (!arena)
			return NULL;
		if (arena_take_columns(arena, pool->rows_max)) {
			free(arena);
			return NULL;
		}
	}
	if (arena_grow(arena, data_bytes)) {
		arena_free(arena);
		return NULL;
	}
	arena->pool = pool;
	arena->refs = 1;
	arena->detached = false;
	arena->whole = false;
	arena->rows = 0;
	arena->data_bytes = 0;
	pool->refs++;
	return arena;
}

void arena_make_whole(struct arena *arena)
{
	if (arena->whole)
		return;
	arena->whole = true;
	for (uint32_t row = 0; row < arena->rows; row++) {
		arena->stamps[row] = arena->stamp;
		arena->offsets[row] = row * arena->uniform;
		arena->lengths[row] = arena->uniform;
		arena->statuses[row] = 0;
		arena->kinds[row] = VLY_DATA;
	}
}

static void arena_release(struct arena *arena)
{
	struct column_pool *pool = arena->pool;
	uint32_t kept = 0;

	if (--arena->refs)
		return;
	if (arena->detached)
		pool->pinned--;
	for (const struct arena *other = pool->free; other; other = other->next)
		kept++;
	if (pool->closed || kept >= KEPT_MAX) {
		arena_free(arena);
	} else {
		arena->next = pool->free;
		pool->free = arena;
	}
	pool_release(pool);
}

void arena_detach(struct arena *arena)
{
	if (arena->refs > 1) {
		arena->detached = true;
		arena->pool->pinned++;
	}
	arena_release(arena);
}

/* ---- exporting ---- */

static PyObject *copy_view(struct column_pool *pool, const void *items, Py_ssize_t bytes_count,
			   const char *format)
{
	PyObject *bytes = PyBytes_FromStringAndSize(items, bytes_count);
	PyObject *view = bytes ? PyMemoryView_FromObject(bytes) : NULL;

	pool->copied++;
	Py_XDECREF(bytes);
	if (view && format[0] != 'B')
		Py_SETREF(view, PyObject_CallMethod(view, "cast", "s", format));
	return view;
}

PyObject *column_view(struct state *state, struct arena *arena, void *items, Py_ssize_t count,
		      Py_ssize_t item_bytes, const char *format)
{
	PyTypeObject *type = state->column_type;
	struct column *column;
	PyObject *view;

	if (arena->pool->pinned >= arena->pool->pinned_max)
		return copy_view(arena->pool, items, count * item_bytes, format);
	column = (struct column *)type->tp_alloc(type, 0);
	if (!column)
		return NULL;
	column->arena = arena;
	arena->refs++;
	column->items = items;
	column->count = count;
	column->item_bytes = item_bytes;
	column->format = format;
	view = PyMemoryView_FromObject((PyObject *)column);
	Py_DECREF((PyObject *)column);
	return view;
}

static int column_getbuffer(struct column *self, Py_buffer *view, int flags)
{
	if (flags & PyBUF_WRITABLE) {
		view->obj = NULL;
		PyErr_SetString(PyExc_BufferError, "received data is read-only");
		return -1;
	}
	*view = (Py_buffer){
		.buf = self->items,
		.obj = Py_NewRef((PyObject *)self),
		.len = self->count * self->item_bytes,
		.itemsize = self->item_bytes,
		.readonly = 1,
		.ndim = 1,
	};
	if (flags & PyBUF_FORMAT)
		view->format = (char *)(uintptr_t)self->format;
	if (flags & PyBUF_ND)
		view->shape = &self->count;
	if ((flags & PyBUF_STRIDES) == PyBUF_STRIDES)
		view->strides = &self->item_bytes;
	return 0;
}

static Py_ssize_t column_length(struct column *self)
{
	return self->count;
}

static void column_dealloc(struct column *self)
{
	PyTypeObject *type = Py_TYPE(self);

	arena_release(self->arena);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyType_Slot column_slots[] = {
	{Py_tp_doc, SLOT_DOC("Memory of a batch; a memoryview looks at it.")},
	{Py_tp_dealloc, SLOT(column_dealloc)},
	{Py_bf_getbuffer, SLOT(column_getbuffer)},
	{Py_sq_length, SLOT(column_length)},
	{0, NULL},
};

PyType_Spec column_spec = {
	.name = "volley._Column",
	.basicsize = sizeof(struct column),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = column_slots,
};
