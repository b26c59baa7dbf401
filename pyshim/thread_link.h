/* thread_link.h - two threads and what they hand to each other: batches one way, commands the other */
#ifndef PYSHIM_THREAD_LINK_H
#define PYSHIM_THREAD_LINK_H

#include <pthread.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <unistd.h>

#include "pyshim/link.h"
#include "pyshim/mailbox.h"

/*
 * The engine's thread polls, copies each batch into a chunk and hands it over; it never calls Python. The
 * Python thread writes commands into blocks and hands them over once per poll. Each way has a mailbox for
 * what is full and one for what comes home empty. Neither thread ever waits for a lock; whoever is asleep
 * is woken by the other, by Dekker's argument: flag, then look; put, then look at the flag.
 */

/* One batch of the engine, copied. */
struct chunk {
	struct letter letter;
	uint32_t count; /* events */
	bool spare;     /* one too many, of overload="drop": freed after use */
	size_t data_bytes, data_room;
	uint8_t *data; /* grows only while nothing points into it */
	struct vly_event events[];
};

enum command_kind {
	COMMAND_SEND,       /* `len` bytes follow */
	COMMAND_SEND_OWNED, /* `pointer`, `len`, `cookie` */
	COMMAND_FENCE,      /* answer when all sends before it are taken; `len` of them */
	COMMAND_SHUTDOWN,
	COMMAND_CLOSE,
	COMMAND_ABORT,
	COMMAND_PAUSE,
	COMMAND_RESUME,
	COMMAND_CALL, /* `pointer`: struct call; the other thread waits */
};

struct command {
	vly_conn conn;
	const void *pointer;
	void *cookie;
	uint32_t kind, len;
};

struct block {
	struct letter letter;
	size_t used, room;
	_Alignas(8) uint8_t bytes[];
};

/* A call whose result the Python thread waits for. */
struct call {
	int (*run)(struct link *inner, struct call *call);
	const struct vly_addr *to, *from;
	struct vly_addr *local, *peer;
	const struct vly_listen_opts *opts;
	struct vly_stats *stats;
	struct link_stats *more;
	void *user;
	vly_conn conn;
	vly_timer timer;
	uint64_t delay_ns;
	int result;
	sem_t done;
};

/* What a handle means to the Python thread. */
struct shadow {
	vly_conn handle;
	void *user;
	const struct vly_addr *names; /* during the poll that brings its OPEN */
	uint32_t inflight;            /* bytes posted and not known to be taken */
	uint32_t unfenced;            /* of those, since the last fence */
	bool starved;                 /* a send was refused: DRAINED is owed */
};

/* Sends that the engine does not take yet; the engine's thread alone. */
struct backlog_item {
	struct backlog_item *next;
	struct command command;
	uint8_t bytes[];
};

/* An event of the engine's thread itself, told with the next batch. */
struct news {
	struct news *next;
	struct vly_event event;
};

struct backlog {
	struct backlog_item *first, **last;
};

#define THREAD_WATCHES 16
#define THREAD_LOOK_NS 50000      /* a thread that spins looks at watches no more often */
#define THREAD_BLOCK_BYTES 65536u /* of a block of commands that is used again */

enum core_state {
	CORE_RUNS,
	CORE_POLLS,  /* perhaps asleep in the engine's poll */
	CORE_PAUSED, /* asleep on core_bell until a chunk comes home */
};

struct thread_link {
	struct link link;
	struct link *inner;
	const struct engine_options *options;
	char *why; /* of a failed opening */
	size_t why_bytes;
	pthread_t thread;
	pid_t pid; /* a forked child has no engine's thread */
	uint32_t slots;

	sem_t opened;      /* the opening is decided */
	sem_t closing;     /* the Python thread has woken the other for the last time */
	atomic_int failed; /* the engine's thread ended with it; written by that alone */
	atomic_bool over;  /* the Python thread closes */
	struct mailbox full, commands; /* chunks to Python, blocks to the engine's thread */
	struct mailbox free_chunks, free_blocks; /* and the empty ones back */
	_Atomic enum core_state
		core_state;          /* set by the engine's thread, CORE_RUNS by whoever wakes it */
	atomic_bool consumer_sleeps; /* set by the Python thread, cleared by whoever rings */
	atomic_bool woken;           /* wake(): the Python thread's next poll returns */
	int bell;                    /* eventfd: chunks for the Python thread */
	int core_bell; /* eventfd: chunks or commands for an engine's thread that is CORE_PAUSED */
	_Atomic uint64_t dropped, paused_ns, pending_bytes;

	/* the Python thread */
	struct shadow *shadows;
	struct letters taken; /* full chunks */
	struct chunk *current;
	struct letters written, blank; /* blocks to be handed over; blocks to be used again */
	struct block *writing;
	bool fd_lent;                          /* an outer loop sleeps on the bell */
	struct pollfd fds[THREAD_WATCHES + 1]; /* the bell, then watches; free: fd -1 */
	void *watch_users[THREAD_WATCHES + 1];
	struct vly_event own[2 * (THREAD_WATCHES + 1)]; /* READY and CLOSED of watches */
	int own_count;
	struct vly_event closed_watches[THREAD_WATCHES + 1]; /* their CLOSED is due */
	int closed_watches_count;
	bool own_turn;

	/* the engine's thread */
	struct backlog *backlogs;
	struct news *news, **news_end;
	struct letters home;   /* empty chunks */
	unsigned chunks_count; /* made so far, spare ones left aside */
};

/* An event that answers COMMAND_FENCE: its `len` bytes are taken. */
#define KIND_FENCE 200

/* The engine's thread: polls until it is over. */
void *thread_core_main(void *arg);

/* Frees what the engine's thread had. */
void thread_core_drop(struct thread_link *t);

/* Events of a batch; a chunk has room for some news behind as many. */
uint32_t thread_chunk_events(const struct thread_link *t);
#define THREAD_NEWS_ROOM 16u
unsigned thread_chunks_max(const struct thread_link *t);

/* What the Python thread knows about a handle's slot, NULL for a foreign handle. */
struct shadow *thread_shadow(struct thread_link *t, vly_conn conn);

static inline bool thread_forked(const struct thread_link *t)
{
	return getpid() != t->pid;
}

/* Wakes the engine's thread if it sleeps. */
void thread_rouse(struct thread_link *t);

/* Hands all commands over, and wakes the engine's thread if it sleeps. */
void thread_post(struct thread_link *t);

/* A command without arguments. 0, or -ENOMEM. */
int thread_simple(struct link *link, vly_conn conn, enum command_kind kind);

/* Operations of the link's table. */
int thread_send(struct link *link, vly_conn conn, const void *data, uint32_t len);
int thread_send_owned(struct link *link, vly_conn conn, const void *data, uint32_t len,
		      void *cookie);
int thread_flush(struct link *link);
int thread_shutdown(struct link *link, vly_conn conn);
int thread_abort(struct link *link, vly_conn conn);
int thread_pause(struct link *link, vly_conn conn);
int thread_resume(struct link *link, vly_conn conn);
int thread_listen(struct link *link, const struct vly_addr *addr,
		  const struct vly_listen_opts *opts, void *user, vly_conn *conn);
int thread_unlisten(struct link *link, vly_conn conn);
int thread_connect(struct link *link, const struct vly_addr *to, const struct vly_addr *from,
		   void *user, vly_conn *conn);
int thread_set_user(struct link *link, vly_conn conn, void *user);
int thread_name(struct link *link, vly_conn conn, struct vly_addr *local, struct vly_addr *peer);
int thread_timer_start(struct link *link, uint64_t delay_ns, void *user, vly_timer *timer);
int thread_timer_cancel(struct link *link, vly_timer timer);
int thread_stats(struct link *link, struct vly_stats *stats, struct link_stats *more);

static inline void thread_ring(int bell)
{
	uint64_t one = 1;
	ssize_t rung = write(bell, &one, sizeof(one));

	(void)rung; /* full: it is awake */
}

static inline struct thread_link *thread_of(struct link *link)
{
	return (struct thread_link *)link;
}

#endif
