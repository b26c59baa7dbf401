/* transport.h - one connection as Python sees it: Transport, and Conn for coroutines */
#ifndef PYSHIM_TRANSPORT_H
#define PYSHIM_TRANSPORT_H

#include <stddef.h>

#include "pyshim/engine.h"
#include "pyshim/state.h"

struct transport;
struct listener;

/* A way to tell Python what happened. Each entry leaves no exception raised: it reports. */
struct style {
	const char *name;
	/* connected: makes the protocol and tells it. `factory` is borrowed */
	void (*opened)(struct transport *transport, PyObject *factory);
	void (*data)(struct transport *transport, const uint8_t *data, uint32_t len);
	void (*eof)(struct transport *transport);
	void (*pause_writing)(struct transport *transport);
	void (*resume_writing)(struct transport *transport);
	/* a send with an identity is complete; NULL: none have one */
	void (*sent)(struct transport *transport, uint64_t send_id);
	/* the last word; `error` is NULL, or borrowed */
	void (*lost)(struct transport *transport, PyObject *error);
};

extern const struct style style_asyncio, style_completion, style_coro, style_batch;

enum transport_state {
	T_CONNECTING,
	T_OPEN,
	T_CLOSING, /* close() was called; perhaps bytes still wait in the queue */
	T_CLOSED,
};

enum transport_flag {
	T_MADE = 1 << 0,           /* connection_made was called: connection_lost is owed */
	T_PAUSED = 1 << 1,         /* pause_reading() */
	T_WRITING_PAUSED = 1 << 2, /* the protocol was told to stop writing */
	T_EOF_WANTED = 1 << 3,     /* write_eof(): shut down once the queue is sent */
	T_EOF_GOT = 1 << 4,        /* the peer's EOF, not told yet: it waits behind the inbox */
	T_BUFFERED = 1 << 5,       /* an asyncio.BufferedProtocol */
	T_TODO = 1 << 6,           /* in the engine's todo list */
	T_LOCAL_CLOSE = 1 << 7,    /* close() or abort() by this side: connection_lost(None) */
	T_ARITY_ONE = 1 << 8,      /* data_received(data) */
	T_THROTTLED = 1 << 10,     /* coro: reading is paused, too much waits for recv() */
	T_RUNNING = 1 << 11,       /* coro: it is being resumed */
	T_SEND_IDS = 1 << 9,       /* the protocol wants send_complete or next_bytes_to_send */
};

/* Bytes that wait for the engine; an identity is told when the last of them is sent. */
struct piece {
	struct piece *next;
	PyObject *bytes; /* exact bytes */
	Py_ssize_t offset;
	uint64_t send_id; /* 0: none */
};

/* Everything that a message touches stands in front: see TRANSPORT_HOT_BYTES. */
struct transport {
	PyObject_HEAD const struct style *style;
	PyObject *on_data; /* what gets the data; never NULL while open in a style with callbacks */
	PyObject *protocol; /* asyncio, completion: the protocol; coro: the coroutine */
	PyObject *self; /* first argument of on_data, borrowed from `protocol`; NULL: on_data is bound */
	struct engine *engine;
	vly_conn handle;
	uint16_t flags;
	uint8_t state;
	PyObject *inbox;   /* list of bytes that came while reading was paused, or NULL */
	PyObject *context; /* contextvars.Context to call in, or NULL */
	struct piece *queue;
	PyObject *waiter; /* coro: the awaitable that the coroutine is suspended in */
	PyObject *spare;  /* coro: an awaitable to be used again */
	PyObject *fresh;  /* coro: bytes on their way to the coroutine that is being resumed */

	struct piece **queue_end;
	uint64_t pending_bytes;         /* in the queue */
	uint64_t high, low;             /* water marks of pending_bytes */
	uint64_t send_ids;              /* last identity given */
	PyObject *factory, *done;       /* of connect(), until it is decided */
	PyObject *error;                /* why it was aborted by us, for connection_lost */
	PyObject *data;                 /* the application's own */
	struct vly_addr *names;         /* local, peer */
	struct transport *next, **back; /* the engine's list of connections */
	struct transport *todo_next;
	PyObject *weakrefs;
};

#define TRANSPORT_HOT_BYTES offsetof(struct transport, queue_end)

extern PyType_Spec transport_spec, conn_spec;

/* A transport in the engine's list of connections; borrowed by the caller, the list has the reference. */
struct transport *transport_new(struct engine *engine, const struct style *style);

/* Leaves the engine's list, which may free it. */
void transport_unlink(struct transport *transport);

/* Queues or sends. 0, or -1 with an exception. After a close it does nothing. */
int transport_send(struct transport *transport, PyObject *data, uint64_t send_id);

void transport_close(struct transport *transport);
/* `error` (borrowed or NULL) is what connection_lost will tell. */
void transport_abort(struct transport *transport, PyObject *error);

/* Tells the protocol to stop writing if too much waits. */
void transport_check_high_water(struct transport *transport);

int transport_traverse(struct transport *self, visitproc visit, void *arg);
int transport_clear(struct transport *self);
void transport_dealloc(struct transport *self);

/* The next poll looks at it: inbox, late news. */
void transport_todo(struct transport *transport);

/* Hands out what came while reading was paused. */
void transport_deliver(struct transport *transport);

/* Calls in the transport's context. New reference, or NULL with an exception. */
PyObject *transport_call(struct transport *transport, PyObject *function, PyObject *const *args,
			 size_t nargs);

/* Calls protocol.<name>(args...); a protocol without the method is NULL without an exception. */
PyObject *transport_call_method(struct transport *transport, PyObject *name, PyObject *const *args,
				size_t nargs);

/* Reports the raised exception, then resets the connection: what asyncio calls a fatal error. */
void transport_fatal(struct transport *transport, const char *message);

#endif
