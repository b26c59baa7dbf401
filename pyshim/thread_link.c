/* thread_link.c - the Python thread's side of thread mode */
#include "pyshim/thread_link.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "pyshim/engine.h"

#define WATCH_CORE 255 /* of the handles of watches, which no engine knows */

static vly_conn watch_handle(int index)
{
	return ((vly_conn)WATCH_CORE << (VLY_SLOT_BITS + VLY_GENERATION_BITS)) | (unsigned)index;
}

/* ---- watches: this thread's own, since it sleeps on a descriptor anyway ---- */

static int thread_watch(struct link *link, int fd, short mask, void *user, vly_conn *conn)
{
	struct thread_link *t = thread_of(link);
	int index = -1;

	for (int i = THREAD_WATCHES; i > 0; i--) {
		if (t->fds[i].fd == fd)
			return -EEXIST;
		if (t->fds[i].fd < 0)
			index = i;
	}
	if (index < 0)
		return -ENOBUFS;
	t->fds[index] = (struct pollfd){.fd = fd, .events = mask};
	t->watch_users[index] = user;
	*conn = watch_handle(index);
	return 0;
}

static int thread_close_conn(struct link *link, vly_conn conn)
{
	struct thread_link *t = thread_of(link);
	uint32_t index = vly_conn_slot(conn);

	if (vly_conn_core(conn) != WATCH_CORE)
		return thread_simple(link, conn, COMMAND_CLOSE);
	if (index > THREAD_WATCHES || t->fds[index].fd < 0)
		return -ENOTCONN;
	t->fds[index].fd = -1;
	t->closed_watches[t->closed_watches_count++] =
		(struct vly_event){.conn = conn, .user = t->watch_users[index], .kind = VLY_CLOSED};
	return 0;
}

/* Events of watches into `own`; sleeps up to `timeout_ns` for them and for the bell. */
static void poll_fds(struct thread_link *t, int64_t timeout_ns)
{
	struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
				   .tv_nsec = timeout_ns % 1000000000};
	uint64_t value;

	t->own_count = 0;
	if (t->closed_watches_count)
		timeout = (struct timespec){0};
	if (ppoll(t->fds, THREAD_WATCHES + 1, timeout_ns < 0 ? NULL : &timeout, NULL) > 0) {
		if (t->fds[0].revents && read(t->bell, &value, sizeof(value)) < 0)
			t->fds[0].revents = 0;
		for (int i = 1; i <= THREAD_WATCHES; i++)
			if (t->fds[i].fd >= 0 && t->fds[i].revents)
				t->own[t->own_count++] =
					(struct vly_event){.conn = watch_handle(i),
							   .user = t->watch_users[i],
							   .status = t->fds[i].revents,
							   .kind = VLY_READY};
	}
	for (int i = 0; i < t->closed_watches_count; i++)
		t->own[t->own_count++] = t->closed_watches[i];
	t->closed_watches_count = 0;
}

/* ---- polling ---- */

static void chunk_free(struct chunk *chunk)
{
	free(chunk->data);
	free(chunk);
}

static void chunk_home(struct thread_link *t)
{
	struct chunk *chunk = t->current;
	struct letters one = {NULL};

	if (!chunk)
		return;
	t->current = NULL;
	if (chunk->spare) {
		chunk_free(chunk);
		return;
	}
	letters_add(&one, &chunk->letter);
	mailbox_put(&t->free_chunks, &one);
	if (atomic_load_explicit(&t->core_state, memory_order_seq_cst) == CORE_PAUSED)
		thread_rouse(t);
}

/* The oldest full chunk becomes the current one. With `sleeping` set, a bell is owed if there is none. */
static bool take_chunk(struct thread_link *t, bool sleeping)
{
	if (!t->taken.first)
		t->taken = mailbox_take(&t->full);
	if (!t->taken.first && sleeping) {
		atomic_store_explicit(&t->consumer_sleeps, true, memory_order_seq_cst);
		t->taken = mailbox_take(&t->full);
		if (t->taken.first)
			atomic_store_explicit(&t->consumer_sleeps, false, memory_order_relaxed);
	}
	t->current = (struct chunk *)letters_pop(&t->taken);
	return t->current != NULL;
}

/* An answer to a fence: the bytes are taken, and whoever was refused is told. */
static void fence_passed(struct shadow *shadow, struct vly_event *event)
{
	shadow->inflight -= Py_MIN(shadow->inflight, event->len);
	event->kind = shadow->starved ? VLY_DRAINED : VLY_NONE;
	event->user = shadow->user;
	shadow->starved = false;
}

/* What the engine's thread does not know: whom an event is for. */
static void resolve(struct thread_link *t, struct vly_event *event)
{
	struct shadow *shadow = thread_shadow(t, event->conn);

	if (event->kind == VLY_SENT || event->kind == VLY_TIMER || !event->conn || !shadow)
		return;
	if (event->kind == VLY_OPEN && event->flags & VLY_ACCEPTED) {
		*shadow = (struct shadow){.handle = event->conn, .user = event->user};
		shadow->names = (const struct vly_addr *)(void *)event->data;
		return;
	}
	if (shadow->handle != event->conn) {
		event->kind = VLY_NONE;
		return;
	}
	event->user = shadow->user;
	if (event->kind == VLY_OPEN && event->status == 0)
		shadow->names = (const struct vly_addr *)(void *)event->data;
	else if (event->kind == KIND_FENCE)
		fence_passed(shadow, event);
	else if (event->kind == VLY_CLOSED)
		*shadow = (struct shadow){0};
}

static void forget_names(struct thread_link *t)
{
	for (uint32_t i = 0; t->current && i < t->current->count; i++) {
		struct shadow *shadow = thread_shadow(t, t->current->events[i].conn);

		if (t->current->events[i].kind == VLY_OPEN && shadow)
			shadow->names = NULL;
	}
}

static int current_events(struct thread_link *t, struct vly_event **events)
{
	for (uint32_t i = 0; i < t->current->count; i++)
		resolve(t, &t->current->events[i]);
	*events = t->current->events;
	return (int)t->current->count;
}

static bool watches_any(const struct thread_link *t)
{
	for (int i = 1; i <= THREAD_WATCHES; i++)
		if (t->fds[i].fd >= 0 && user_tag(t->watch_users[i]) != TAG_SIGNAL)
			return true;
	return t->closed_watches_count > 0;
}

static bool take_wake(struct thread_link *t)
{
	return atomic_load_explicit(&t->woken, memory_order_relaxed) &&
	       atomic_exchange_explicit(&t->woken, false, memory_order_acq_rel);
}

static int own_events(struct thread_link *t, struct vly_event **events)
{
	*events = t->own;
	return t->own_count;
}

/* What own_events() tells, or the other thread's end, which `failed` tells. */
static bool others_turn(struct thread_link *t)
{
	if (watches_any(t))
		poll_fds(t, 0);
	return t->own_count || atomic_load_explicit(&t->failed, memory_order_acquire);
}

/*
 * Looks without sleeping for as long as spin_us says: true with a current chunk. At descriptors now and
 * then only, as that is a system call; false with own events, if there are any.
 */
static bool spin(struct thread_link *t, uint64_t now_ns, uint64_t until_ns)
{
	uint64_t at_ns = now_ns, looked_ns = now_ns;
	uint64_t spin_ns = t->options->config.idle == VLY_IDLE_BUSY ? until_ns - now_ns
			   : t->options->config.idle == VLY_IDLE_ADAPTIVE
				   ? t->options->config.spin_ns
				   : 0;

	while (at_ns - now_ns < spin_ns && !atomic_load_explicit(&t->woken, memory_order_relaxed)) {
		if (take_chunk(t, false))
			return true;
		at_ns = vly_now_ns();
		if (at_ns - looked_ns < THREAD_LOOK_NS)
			continue;
		looked_ns = at_ns;
		if (others_turn(t))
			break;
	}
	return false;
}

static int thread_poll(struct link *link, struct vly_event **events, int64_t timeout_ns)
{
	struct thread_link *t = thread_of(link);
	uint64_t now_ns = vly_now_ns();
	uint64_t until_ns = timeout_ns < 0 ? UINT64_MAX : now_ns + (uint64_t)timeout_ns;

	if (thread_forked(t))
		return -ECHILD;
	forget_names(t);
	chunk_home(t);
	thread_post(t);
	t->own_turn = !t->own_turn && watches_any(t);
	if (t->own_turn) {
		poll_fds(t, 0);
		if (t->own_count)
			return own_events(t, events);
	}
	t->own_count = 0;
	if (timeout_ns && spin(t, now_ns, until_ns))
		return current_events(t, events);
	if (t->own_count)
		return own_events(t, events);
	for (;;) {
		if (take_chunk(t, timeout_ns != 0 || t->fd_lent))
			return current_events(t, events);
		now_ns = vly_now_ns();
		int failed = atomic_load_explicit(&t->failed, memory_order_acquire);
		bool woken = take_wake(t) || now_ns >= until_ns || failed;

		poll_fds(t, woken ? 0 : until_ns == UINT64_MAX ? -1 : (int64_t)(until_ns - now_ns));
		if (t->own_count || woken)
			return t->own_count || !failed ? own_events(t, events) : failed;
	}
}

/* The bell, once a poll that found nothing has asked for it. */
static int thread_fd(struct link *link)
{
	thread_of(link)->fd_lent = true;
	return thread_of(link)->bell;
}

static void thread_wake(struct link *link)
{
	struct thread_link *t = thread_of(link);

	atomic_store_explicit(&t->woken, true, memory_order_release);
	thread_ring(t->bell);
}

/* ---- opening and closing ---- */

static void free_chunks(struct letters letters)
{
	struct letter *letter;

	while ((letter = letters_pop(&letters)))
		chunk_free((struct chunk *)letter);
}

static void free_blocks(struct letters letters)
{
	struct letter *letter;

	while ((letter = letters_pop(&letters)))
		free(letter);
}

/* The engine's thread has ended, or was never there. */
static void thread_free(struct thread_link *t)
{
	if (t->current)
		chunk_free(t->current);
	free_chunks(t->taken);
	free_chunks(t->home);
	free_chunks(mailbox_take(&t->full));
	free_chunks(mailbox_take(&t->free_chunks));
	free_blocks(t->written);
	free_blocks(t->blank);
	free_blocks(mailbox_take(&t->commands));
	free_blocks(mailbox_take(&t->free_blocks));
	free(t->writing);
	thread_core_drop(t);
	if (t->bell >= 0)
		close(t->bell);
	if (t->core_bell >= 0)
		close(t->core_bell);
	free(t->shadows);
	sem_destroy(&t->opened);
	sem_destroy(&t->closing);
	free(t);
}

static void thread_close(struct link *link)
{
	struct thread_link *t = thread_of(link);

	if (thread_forked(t)) /* it is the parent's; what was copied goes with this process */
		return;
	thread_post(t);
	atomic_store_explicit(&t->over, true, memory_order_seq_cst);
	thread_rouse(t);
	sem_post(&t->closing);
	pthread_join(t->thread, NULL);
	thread_free(t);
}

static const struct link_ops thread_ops = {
	.poll = thread_poll,
	.listen = thread_listen,
	.unlisten = thread_unlisten,
	.connect = thread_connect,
	.set_user = thread_set_user,
	.name = thread_name,
	.send = thread_send,
	.send_owned = thread_send_owned,
	.flush = thread_flush,
	.shutdown = thread_shutdown,
	.close_conn = thread_close_conn,
	.abort = thread_abort,
	.pause = thread_pause,
	.resume = thread_resume,
	.watch = thread_watch,
	.timer_start = thread_timer_start,
	.timer_cancel = thread_timer_cancel,
	.fd = thread_fd,
	.wake = thread_wake,
	.stats = thread_stats,
	.close = thread_close,
};

/* Signals are Python's: none of them on the engine's thread. */
static int start(struct thread_link *t)
{
	sigset_t all, old;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = -pthread_create(&t->thread, NULL, thread_core_main, t);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error)
		return error;
	while (sem_wait(&t->opened))
		;
	error = atomic_load_explicit(&t->failed, memory_order_acquire);
	if (error)
		pthread_join(t->thread, NULL);
	return error;
}

int link_open_thread(const struct engine_options *options, char *why, size_t why_bytes,
		     struct link **out)
{
	struct thread_link *t = aligned_alloc(alignof(struct thread_link), sizeof(*t));
	int error = -ENOMEM;

	if (!t)
		return error;
	memset(t, 0, sizeof(*t));
	t->link.ops = &thread_ops;
	t->options = options;
	t->pid = getpid();
	t->why = why;
	t->why_bytes = why_bytes;
	t->slots = options->config.conns_max + 1;
	for (int i = 0; i <= THREAD_WATCHES; i++)
		t->fds[i] = (struct pollfd){.fd = -1};
	sem_init(&t->opened, 0, 0);
	sem_init(&t->closing, 0, 0);
	t->shadows = calloc(t->slots, sizeof(*t->shadows));
	t->backlogs = calloc(t->slots, sizeof(*t->backlogs));
	t->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	t->core_bell = t->bell < 0 ? -1 : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!t->shadows || !t->backlogs)
		goto fail;
	error = t->core_bell < 0 ? -errno : 0;
	t->fds[0] = (struct pollfd){.fd = t->bell, .events = POLLIN};
	if (!error)
		error = start(t);
	if (error)
		goto fail;
	t->link.engine = t->inner->engine;
	*out = &t->link;
	return 0;
fail:
	thread_free(t);
	return error;
}
