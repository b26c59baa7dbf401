/* dispatch.c - a batch of completions handed to Python */
#include "pyshim/dispatch.h"

#include <errno.h>

#include "pyshim/batch.h"
#include "pyshim/extras.h"
#include "pyshim/listener.h"
#include "pyshim/python_compat.h"
#include "pyshim/send_queue.h"
#include "pyshim/signals.h"
#include "pyshim/transport.h"

/*
 * Connections that are prefetched together. Each takes some six lines: twice as many would begin to push
 * each other out of a first-level cache of 32 KiB before their callbacks run.
 */
#define WINDOW 32

/*
 * gcc 12 takes a function that does nothing but prefetch for one without effect, and leaves its calls
 * out: so these are part of their caller before it looks.
 */
#define ALWAYS_INLINE __attribute__((always_inline)) inline

ALWAYS_INLINE static void prefetch(const void *address)
{
	__builtin_prefetch(address);
}

static inline bool staged(const struct vly_event *event)
{
	return event->kind == VLY_DATA && user_tag(event->user) == TAG_TRANSPORT && event->user;
}

ALWAYS_INLINE static void stage_protocol(const struct transport *transport)
{
	const char *protocol = (const char *)transport->protocol;

	if (!protocol)
		return;
	if (transport->style == &style_coro) { /* a coroutine holds its frame */
		for (int line = 0; line < 4; line++)
			prefetch(protocol + line * 64);
		prefetch(transport->waiter);
	} else {
		prefetch(protocol - 32); /* what Python keeps in front */
		prefetch(protocol);
	}
}

/*
 * A readiness loop meets each connection's objects one by one, and waits for memory each time. The batch
 * is known in advance: each stage asks for all objects that the stage before made reachable.
 */
ALWAYS_INLINE static void stage(const struct vly_event *events, int count)
{
	for (int i = 0; i < count; i++) {
		if (!staged(&events[i]))
			continue;
		prefetch(events[i].user);
		prefetch((const char *)events[i].user + 64);
		prefetch((const char *)events[i].user + TRANSPORT_HOT_BYTES - 1);
	}
	for (int i = 0; i < count; i++)
		if (staged(&events[i]))
			stage_protocol(events[i].user);
	for (int i = 0; i < count; i++) {
		const struct transport *transport = events[i].user;

		if (staged(&events[i]) && transport->protocol && transport->style != &style_coro)
			prefetch(object_values(transport->protocol));
	}
}

static void lost(struct transport *transport, int status)
{
	PyObject *error = NULL;

	if (transport->error)
		error = Py_NewRef(transport->error);
	else if (status && !(transport->flags & T_LOCAL_CLOSE))
		error = state_oserror(status);
	PyErr_Clear();
	transport->state = T_CLOSED;
	send_queue_clear(transport);
	if (transport->style != &style_coro) /* it may still take what came before */
		Py_CLEAR(transport->inbox);
	transport->style->lost(transport, error);
	Py_XDECREF(error);
	Py_CLEAR(transport->waiter);
	Py_CLEAR(transport->spare);
	transport_unlink(transport);
}

static void take_names(struct transport *transport)
{
	struct link *link = transport->engine->link;

	transport->names = PyMem_Calloc(2, sizeof(struct vly_addr));
	if (transport->names)
		link->ops->name(link, transport->handle, &transport->names[0],
				&transport->names[1]);
}

static void call_done(struct transport *transport, PyObject *error)
{
	PyObject *done = transport->done;
	PyObject *args[] = {(PyObject *)transport, error ? error : Py_None};

	transport->done = NULL;
	if (!done)
		return;
	PyObject *result = transport_call(transport, done, args, 2);

	if (!result)
		engine_report(transport->engine, "Exception in the done callback of connect()",
			      transport, done);
	Py_XDECREF(result);
	Py_DECREF(done);
}

/* connect() has come to an end. */
static void connected(struct engine *engine, const struct vly_event *event)
{
	struct transport *transport = user_object(event->user);
	PyObject *factory = transport->factory;

	transport->factory = NULL;
	if (event->status == 0) {
		if (transport->state == T_CONNECTING)
			transport->state = T_OPEN;
		take_names(transport);
		transport->style->opened(transport, factory);
		if (transport->state == T_OPEN)
			send_queue_pump(transport);
		call_done(transport, NULL);
	} else {
		PyObject *error = state_oserror(event->status);

		PyErr_Clear();
		transport->state = T_CLOSED;
		send_queue_clear(transport);
		if (transport->done)
			call_done(transport, error);
		else
			listener_connect_failed(transport, factory, error);
		Py_XDECREF(error);
		transport_unlink(transport);
	}
	Py_XDECREF(factory);
	(void)engine;
}

static void accepted(struct engine *engine, struct vly_event *event)
{
	struct link *link = engine->link;
	struct listener *listener = listener_find(engine, event->user);
	struct transport *transport = NULL;

	event->user = NULL;
	if (listener)
		transport = transport_new(engine, listener->style);
	/* a copy each, as asyncio's: what one connection sets no other sees */
	if (transport && listener->context) {
		transport->context = PyContext_Copy(listener->context);
		if (!transport->context)
			Py_CLEAR(transport);
	}
	if (!transport) {
		if (PyErr_Occurred())
			engine_report(engine, "no memory for a connection", NULL, NULL);
		link->ops->set_user(link, event->conn, NULL);
		link->ops->abort(link, event->conn);
		return;
	}
	transport->handle = event->conn;
	transport->state = T_OPEN;
	event->user =
		user_tagged(transport, listener->style == &style_batch ? TAG_BATCH : TAG_TRANSPORT);
	link->ops->set_user(link, event->conn, event->user);
	take_names(transport);
	Py_INCREF((PyObject *)listener);
	transport->style->opened(transport, listener->factory);
	Py_DECREF((PyObject *)listener);
}

static void keep_in_inbox(struct transport *transport, const struct vly_event *event)
{
	PyObject *bytes = PyBytes_FromStringAndSize((const char *)event->data, event->len);

	if (bytes && !transport->inbox)
		transport->inbox = PyList_New(0);
	if (!bytes || !transport->inbox || PyList_Append(transport->inbox, bytes))
		transport_fatal(transport, "Fatal error: no memory for received data.");
	Py_XDECREF(bytes);
}

static inline void got_data(const struct vly_event *event)
{
	struct transport *transport = event->user;

	if (unlikely(!transport))
		return;
	if (likely(transport->state == T_OPEN && !(transport->flags & T_PAUSED) &&
		   (!transport->inbox || transport->style == &style_coro)))
		transport->style->data(transport, event->data, event->len);
	else if (transport->state == T_OPEN)
		keep_in_inbox(transport, event);
}

static void got_eof(struct transport *transport)
{
	if (transport->state != T_OPEN)
		return;
	if (transport->inbox || transport->flags & T_PAUSED)
		transport->flags |= T_EOF_GOT;
	else
		transport->style->eof(transport);
}

static void got_connection_news(struct engine *engine, struct vly_event *event)
{
	struct transport *transport = user_object(event->user);

	if (event->kind == VLY_OPEN && event->flags & VLY_ACCEPTED)
		accepted(engine, event);
	else if (!event->user)
		return;
	else if (event->kind == VLY_OPEN)
		connected(engine, event);
	else if (event->kind == VLY_EOF && user_tag(event->user) == TAG_TRANSPORT)
		got_eof(transport);
	else if (event->kind == VLY_DRAINED)
		send_queue_pump(transport);
	else if (event->kind == VLY_CLOSED && user_tag(event->user) == TAG_WATCH)
		watch_closed(user_object(event->user));
	else if (event->kind == VLY_CLOSED && user_tag(event->user) == TAG_TRANSPORT)
		lost(transport, event->status);
}

static void got_news(struct engine *engine, struct vly_event *event)
{
	switch (event->kind) {
	case VLY_SENT:
		ticket_sent(engine, (struct ticket *)(void *)event->data);
		break;
	case VLY_TIMER:
		timer_fired(user_object(event->user));
		break;
	case VLY_READY:
		if (user_tag(event->user) == TAG_SIGNAL)
			signals_seen(engine);
		else
			watch_ready(user_object(event->user), event->status);
		break;
	case VLY_NONE:
	case VLY_MAIL:
	case VLY_DGRAM:
		break;
	default:
		got_connection_news(engine, event);
	}
}

/* Bounds how long the answers of a batch wait behind slow callbacks. */
static void flush_if_due(struct engine *engine)
{
	const struct engine_options *options = &engine->options;

	if (options->flush_every && ++engine->unflushed >= options->flush_every)
		goto flush;
	if (options->flush_ns && vly_now_ns() - engine->flushed_ns >= options->flush_ns)
		goto flush;
	return;
flush:
	engine->link->ops->flush(engine->link);
	engine->unflushed = 0;
	if (options->flush_ns)
		engine->flushed_ns = vly_now_ns();
}

/* How many events in front are data of the batch style, which all are where no other is used. */
static int skip_batch_data(const struct vly_event *events, int count, size_t *bytes)
{
	int i = 0;

	for (; i < count && events[i].kind == VLY_DATA && user_tag(events[i].user) == TAG_BATCH;
	     i++)
		*bytes += events[i].len;
	return i;
}

void dispatch_events(struct engine *engine, struct vly_event *events, int count)
{
	bool bounded = engine->options.flush_every || engine->options.flush_ns;
	size_t batch_bytes = 0;

	engine->unflushed = 0;
	if (engine->options.flush_ns)
		engine->flushed_ns = vly_now_ns();
	int first = engine->batch_style ? skip_batch_data(events, count, &batch_bytes) : 0;

	for (int i = first; i < count; i++) {
		struct vly_event *event = &events[i];

		if ((i - first) % WINDOW == 0 && engine->prefetch)
			stage(event, Py_MIN(WINDOW, count - i));
		if (likely(event->kind == VLY_DATA)) {
			if (user_tag(event->user) != TAG_TRANSPORT) {
				batch_bytes += event->len;
				continue;
			}
			got_data(event);
		} else {
			got_news(engine, event);
		}
		if (unlikely(bounded))
			flush_if_due(engine);
	}
	if (engine->batch_style && count)
		batch_hand_out(engine, events, count, batch_bytes);
}

void dispatch_todo(struct engine *engine)
{
	struct transport *transport = engine->todo;

	engine->todo = NULL;
	while (transport) {
		struct transport *next = transport->todo_next;

		transport->todo_next = NULL;
		transport->flags &= (uint16_t)~T_TODO;
		transport_deliver(transport);
		Py_DECREF((PyObject *)transport);
		transport = next;
	}
}
