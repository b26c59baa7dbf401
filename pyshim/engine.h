/* engine.h - the Engine type: one core, and everything that hangs on it */
#ifndef PYSHIM_ENGINE_H
#define PYSHIM_ENGINE_H

#include <stdatomic.h>

#include "pyshim/link.h"
#include "pyshim/state.h"

struct batch;
struct listener;
struct transport;
struct column_pool;
struct ticket;
struct meter;

/* What an event's `user` points to; objects are aligned to 16 bytes. */
enum user_tag {
	TAG_TRANSPORT = 0,
	TAG_LISTENER = 1, /* not a pointer: index << 4 */
	TAG_WATCH = 2,
	TAG_TIMER = 3,
	TAG_BATCH = 4, /* a transport whose events are rows of a batch */
	TAG_SIGNAL = 5,
	TAG_MASK = 15,
};

static inline void *user_tagged(void *object, enum user_tag tag)
{
	return (char *)object + tag;
}

static inline enum user_tag user_tag(const void *user)
{
	return (enum user_tag)((uintptr_t)user & TAG_MASK);
}

static inline void *user_object(void *user)
{
	return (char *)user - ((uintptr_t)user & TAG_MASK);
}

/* What the caller asked for; strings live as long as the engine. */
struct engine_options {
	char nic[512];
	char meter[128]; /* the file of a struct meter, "" for none */
	char cpus[32];
	int cpu;       /* -1: any */
	bool threaded; /* mode="thread" */
	bool drop;     /* overload="drop" */
	uint32_t ring; /* completions that wait between the two threads */
	uint32_t max_pinned, flush_every;
	uint64_t flush_ns;
	struct vly_config config;
};

struct engine {
	PyObject_HEAD struct link *link; /* NULL: closed */
	struct vly_core *core;           /* of a direct link, else NULL */
	struct state *state;
	unsigned long owner; /* the thread that opened it, and alone may use it */
	bool dispatching;    /* events are being handed out: a poll now would take them away */
	bool polling;        /* inside the link's poll, perhaps without the GIL */
	bool close_wanted;   /* close() inside a callback */
	bool prefetch;
	atomic_bool woken;    /* by wake() or stop(): the current or next poll returns */
	atomic_bool stopping; /* set by stop(), any thread */

	struct transport *conns;     /* open and connecting ones; a strong reference each */
	struct transport *todo;      /* to be looked at by the next poll; a strong reference each */
	struct listener **listeners; /* by index; NULL: free. Strong references */
	unsigned listeners_count;
	PyObject *extras;       /* a set: the watches and timers that are running */
	struct ticket *tickets; /* sends whose memory is lent to the engine */
	struct ticket *tickets_free;

	struct meter *meter; /* what batches are measured with; NULL */

	struct vly_event *events; /* of the poll that is being handed out */
	int events_count;
	struct column_pool *columns; /* memory of batches; outlives the engine if views do */
	bool batch_style, iterating; /* rows are to be looked for; batch_next() takes them */
	struct transport **by_slot;  /* connections of the batch style, borrowed */
	struct batch *batch_ready;   /* the next one */
	struct batch *batch;         /* the one that `for batch in engine` handed out last */
	PyObject *on_batch, *handler;
	PyObject *raised; /* KeyboardInterrupt and such from a callback: raised when the poll ends */

	uint64_t pending_bytes; /* in the queues of all transports */
	uint64_t callbacks, exceptions, batches, flushed_ns;
	uint32_t unflushed;                /* callbacks since the last flush */
	bool signals_tried, signals_taken; /* Python's wake-up descriptor is our pipe */
	int signal_fds[2];                 /* a pipe: signals end a sleep */
	vly_conn signal_conn;
	struct engine_options options;
	struct engine *next, **back; /* list of open engines */
	PyObject *weakrefs;
};

extern PyType_Spec engine_spec;

/* 0; or -1 with RuntimeError (another thread) or ValueError (closed). */
int engine_check(struct engine *engine);

/* Closes all engines of a module, at the end of the interpreter. */
void engine_close_all(struct state *state);

/* Closes now: resets what is open, tells the protocols, gives everything back. */
void engine_shut(struct engine *engine);

/* The same without a word to the protocols: nobody can reach it any more. */
void engine_abandon(struct engine *engine);

/* Closes the core and keeps the listeners, to be opened again by another process. */
void engine_suspend(struct engine *engine);

/* Opens the link as the options say. 0, or -1 with an exception. */
int engine_open_link(struct engine *engine);

/*
 * Hands the exception that is raised to the handler, or to sys.unraisablehook. KeyboardInterrupt and
 * other BaseExceptions are kept and raised when the poll ends. `where` and `transport` may be NULL.
 */
void engine_report(struct engine *engine, const char *message, struct transport *transport,
		   PyObject *where);

/* One poll: completions handed out, or -1 with an exception. */
int engine_poll(struct engine *engine, int64_t timeout_ns);

#endif
