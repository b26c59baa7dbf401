/* batch.c - the batch style: all that completed, at once, as rows and columns */
#include "pyshim/batch.h"

#include <errno.h>
#include <string.h>

#include "pyshim/python_compat.h"
#include "pyshim/transport.h"

int batch_prepare(struct engine *engine)
{
	const struct vly_config *config = &engine->options.config;

	if (!engine->columns)
		engine->columns = column_pool_new(config->events_max, engine->options.max_pinned);
	if (!engine->by_slot)
		engine->by_slot = PyMem_Calloc(config->conns_max, sizeof(*engine->by_slot));
	if (!engine->columns || !engine->by_slot) {
		PyErr_NoMemory();
		return -1;
	}
	engine->batch_style = true;
	return 0;
}

void batch_add_conn(struct transport *transport)
{
	struct engine *engine = transport->engine;

	if (engine->by_slot && vly_conn_slot(transport->handle) < engine->options.config.conns_max)
		engine->by_slot[vly_conn_slot(transport->handle)] = transport;
}

void batch_drop_conn(struct transport *transport)
{
	struct engine *engine = transport->engine;
	uint32_t slot = vly_conn_slot(transport->handle);

	if (engine->by_slot && slot < engine->options.config.conns_max &&
	    engine->by_slot[slot] == transport)
		engine->by_slot[slot] = NULL;
}

struct transport *batch_find_conn(const struct engine *engine, vly_conn handle)
{
	uint32_t slot = vly_conn_slot(handle);
	struct transport *transport = NULL;

	if (engine->by_slot && slot < engine->options.config.conns_max)
		transport = engine->by_slot[slot];
	return transport && transport->handle == handle ? transport : NULL;
}

/* ---- filling ---- */

static inline bool is_row(const struct vly_event *event)
{
	return user_tag(event->user) == TAG_BATCH && event->kind != VLY_NONE &&
	       event->kind != VLY_DRAINED && event->kind != VLY_SENT;
}

/* Most messages are short, and calling memcpy() would cost more than copying them. */
static inline void copy_message(uint8_t *to, const uint8_t *from, uint32_t len)
{
	if (likely(len == 64))
		memcpy(to, from, 64);
	else
		memcpy(to, from, len);
}

/* What is no data: OPEN, EOF, CLOSED. A connect that failed is at its end. */
static uint8_t kind_of_news(const struct vly_event *event)
{
	return event->kind == VLY_OPEN && event->status ? VLY_CLOSED : event->kind;
}

/*
 * What most batches are: messages of equal length, reaped at once. Only what differs from row to row is
 * written. False: it is none such.
 */
static bool fill_uniform(struct arena *arena, const struct vly_event *events, int count)
{
	uint32_t len = events[0].len, rows = (uint32_t)count;
	uint64_t stamp = events[0].stamp_ns;
	uint8_t *to = arena->data;

	for (uint32_t row = 0; row < rows; row++, to += len) {
		const struct vly_event *event = &events[row];

		if (unlikely(event->kind != VLY_DATA || user_tag(event->user) != TAG_BATCH ||
			     event->len != len || event->stamp_ns != stamp || event->status))
			return false;
		arena->conns[row] = event->conn;
		copy_message(to, event->data, len);
	}
	arena->rows = rows;
	arena->uniform = len;
	arena->stamp = stamp;
	arena->data_bytes = (size_t)rows * len;
	return len > 0;
}

/* All columns of all rows. Whether there are rows other than DATA. */
static bool fill(struct arena *arena, const struct vly_event *events, int count)
{
	uint32_t row = 0, data_rows = 0, differ = 0, uniform = 0;
	uint8_t *to = arena->data;

	for (int i = 0; i < count; i++) {
		const struct vly_event *event = &events[i];
		uint32_t len = 0;

		if (!is_row(event))
			continue;
		arena->kinds[row] = event->kind;
		if (likely(event->kind == VLY_DATA)) {
			len = event->len;
			copy_message(to, event->data, len);
			uniform = data_rows++ ? uniform : len;
			differ |= uniform ^ len;
		} else {
			arena->kinds[row] = kind_of_news(event);
		}
		arena->conns[row] = event->conn;
		arena->stamps[row] = event->stamp_ns;
		arena->offsets[row] = (uint32_t)(to - arena->data);
		arena->lengths[row] = len;
		arena->statuses[row] = event->status;
		to += len;
		row++;
	}
	arena->rows = row;
	arena->uniform = data_rows == row && !differ ? uniform : 0;
	arena->data_bytes = (size_t)(to - arena->data);
	arena->whole = true;
	return data_rows != row;
}

/* NULL without an exception: there is no row. `data_bytes` is no less than what the rows have. */
static struct arena *gather(struct engine *engine, const struct vly_event *events, int count,
			    size_t data_bytes, bool *news)
{
	struct arena *arena = arena_new(engine->columns, data_bytes);

	if (!arena) {
		PyErr_NoMemory();
		return NULL;
	}
	if (!fill_uniform(arena, events, count))
		*news = fill(arena, events, count);
	if (!arena->rows) {
		arena_detach(arena);
		return NULL;
	}
	return arena;
}

static struct batch *batch_new(struct engine *engine, const struct vly_event *events, int count,
			       size_t data_bytes)
{
	PyTypeObject *type = engine->state->batch_type;
	bool news = false;
	struct arena *arena = gather(engine, events, count, data_bytes, &news);
	struct batch *batch;

	if (!arena)
		return NULL;
	batch = (struct batch *)type->tp_alloc(type, 0);
	if (!batch) {
		arena_detach(arena);
		return NULL;
	}
	batch->engine = (struct engine *)Py_NewRef((PyObject *)engine);
	batch->arena = arena;
	batch->news = news;
	engine->batches++;
	return batch;
}

void batch_hand_out(struct engine *engine, const struct vly_event *events, int count,
		    size_t data_bytes)
{
	struct batch *batch = batch_new(engine, events, count, data_bytes);
	PyObject *function = Py_XNewRef(engine->on_batch);
	PyObject *result = NULL;

	if (!batch && !PyErr_Occurred())
		goto done;
	if (batch && !function && engine->iterating) {
		engine->batch_ready = batch;
		return;
	}
	if (batch && function) {
		engine->callbacks++;
		result = PyObject_CallOneArg(function, (PyObject *)batch);
	} else if (batch) {
		PyErr_SetString(
			PyExc_RuntimeError,
			"rows of the batch style, and nobody takes them: call on_batch(), or "
			"iterate over the engine");
	}
	if (!result)
		engine_report(engine, "Exception in on_batch()", NULL, function);
	batch_release(batch);
	Py_XDECREF((PyObject *)batch);
done:
	Py_XDECREF(result);
	Py_XDECREF(function);
}

PyObject *batch_next(struct engine *engine)
{
	struct batch *batch = engine->batch;

	engine->batch = NULL;
	batch_release(batch);
	Py_XDECREF((PyObject *)batch);
	if (engine_check(engine) || (!engine->batch_style && batch_prepare(engine)))
		return NULL;
	while (engine->link && !engine->batch_ready &&
	       !atomic_load_explicit(&engine->stopping, memory_order_relaxed)) {
		engine->iterating = true;
		int count = engine_poll(engine, -1);

		engine->iterating = false;
		if (count < 0)
			return NULL; /* a batch that came with it is the next one */
	}
	if (engine->batch_ready) {
		engine->batch = engine->batch_ready;
		engine->batch_ready = NULL;
		return Py_NewRef((PyObject *)engine->batch);
	}
	atomic_store_explicit(&engine->stopping, false, memory_order_relaxed);
	return NULL;
}

/* EOF closes, CLOSED is the end: not before the rows were read, since answers to them may be sent. */
static void finish_news(struct engine *engine, const struct arena *arena)
{
	for (uint32_t i = 0; i < arena->rows; i++) {
		struct transport *transport = NULL;

		if (arena->kinds[i] == VLY_EOF || arena->kinds[i] == VLY_CLOSED)
			transport = batch_find_conn(engine, arena->conns[i]);
		if (!transport)
			continue;
		if (arena->kinds[i] == VLY_EOF) {
			transport_close(transport);
		} else {
			transport->state = T_CLOSED;
			transport_unlink(transport);
		}
	}
}

void batch_release(struct batch *batch)
{
	struct arena *arena = batch ? batch->arena : NULL;

	if (!arena)
		return;
	batch->arena = NULL;
	if (batch->news && batch->engine->link)
		finish_news(batch->engine, arena);
	arena_detach(arena);
}

void batch_abandon(struct batch *batch)
{
	struct arena *arena = batch->arena;

	batch->arena = NULL;
	if (arena)
		arena_detach(arena);
}

/* ---- the style ---- */

static void opened(struct transport *transport, PyObject *factory)
{
	(void)factory;
	transport->flags |= T_MADE;
	batch_add_conn(transport);
}

/* Its data, EOF and end are rows. */
static void no_data(struct transport *transport, const uint8_t *data, uint32_t len)
{
	(void)transport;
	(void)data;
	(void)len;
}

static void nothing(struct transport *transport)
{
	(void)transport;
}

static void no_end(struct transport *transport, PyObject *error)
{
	(void)transport;
	(void)error;
}

const struct style style_batch = {
	.name = "batch",
	.opened = opened,
	.data = no_data,
	.eof = nothing,
	.pause_writing = nothing,
	.resume_writing = nothing,
	.lost = no_end,
};

uint64_t batch_pinned(const struct engine *engine)
{
	return engine->columns ? engine->columns->pinned : 0;
}

uint64_t batch_copied(const struct engine *engine)
{
	return engine->columns ? engine->columns->copied : 0;
}
