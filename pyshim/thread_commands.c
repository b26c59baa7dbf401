/* thread_commands.c - thread mode: what the Python thread asks of the engine's thread */
#include "pyshim/thread_link.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pyshim/engine.h"

struct shadow *thread_shadow(struct thread_link *t, vly_conn conn)
{
	uint32_t slot = vly_conn_slot(conn);

	return slot < t->slots ? &t->shadows[slot] : NULL;
}

/* ---- commands ---- */

void thread_rouse(struct thread_link *t)
{
	enum core_state state = CORE_RUNS;

	if (atomic_load_explicit(&t->core_state, memory_order_seq_cst) != CORE_RUNS)
		state = atomic_exchange_explicit(&t->core_state, CORE_RUNS, memory_order_seq_cst);
	if (state == CORE_POLLS)
		t->inner->ops->wake(t->inner);
	else if (state == CORE_PAUSED)
		thread_ring(t->core_bell);
}

static void block_is_written(struct thread_link *t)
{
	if (t->writing)
		letters_add(&t->written, &t->writing->letter);
	t->writing = NULL;
}

void thread_post(struct thread_link *t)
{
	block_is_written(t);
	if (!t->written.first || thread_forked(t))
		return;
	mailbox_put(&t->commands, &t->written);
	thread_rouse(t);
}

static struct block *block_get(struct thread_link *t, size_t room)
{
	struct block *block = NULL;

	if (room <= THREAD_BLOCK_BYTES) {
		if (!t->blank.first)
			t->blank = mailbox_take(&t->free_blocks);
		block = (struct block *)letters_pop(&t->blank);
		room = THREAD_BLOCK_BYTES;
	}
	if (!block) {
		block = malloc(sizeof(*block) + room);
		if (block)
			block->room = room;
	}
	if (block)
		block->used = 0;
	return block;
}

static int command(struct thread_link *t, const struct command *command, const void *bytes)
{
	size_t len = command->kind == COMMAND_SEND ? ((size_t)command->len + 7) & ~(size_t)7 : 0;
	size_t need = sizeof(*command) + len;

	assert(!bytes || command->kind == COMMAND_SEND);

	if (t->writing && t->writing->room - t->writing->used < need)
		block_is_written(t);
	if (!t->writing)
		t->writing = block_get(t, need);
	if (!t->writing)
		return -ENOMEM;
	memcpy(t->writing->bytes + t->writing->used, command, sizeof(*command));
	if (bytes)
		memcpy(t->writing->bytes + t->writing->used + sizeof(*command), bytes,
		       command->len);
	t->writing->used += need;
	return 0;
}

int thread_simple(struct link *link, vly_conn conn, enum command_kind kind)
{
	return command(thread_of(link), &(struct command){.conn = conn, .kind = kind}, NULL);
}

/* Carried out by the engine's thread while this one waits; that one never waits for the GIL. */
static int call(struct thread_link *t, struct call *call)
{
	int error;

	if (thread_forked(t))
		return -ECHILD;
	sem_init(&call->done, 0, 0);
	error = command(t, &(struct command){.kind = COMMAND_CALL, .pointer = call}, NULL);
	if (!error) {
		thread_post(t);
		while (sem_wait(&call->done))
			;
		error = call->result;
	}
	sem_destroy(&call->done);
	return error;
}

/*
 * A connection may have its budget's worth of bytes on the way: after each half a fence asks the other
 * thread to say when they are taken. So a writer that never looks back fills its own queue, not memory.
 */
static int charge(struct thread_link *t, vly_conn conn, uint32_t len)
{
	struct shadow *shadow = thread_shadow(t, conn);
	uint32_t budget = t->options->config.tx_budget;
	struct command fence = {.conn = conn, .kind = COMMAND_FENCE};

	if (!shadow || shadow->handle != conn)
		return -ENOTCONN;
	if (len > budget)
		return -EMSGSIZE;
	if (shadow->starved) /* nobody overtakes who was refused */
		return -EAGAIN;
	if (shadow->inflight && len > budget - Py_MIN(budget, shadow->inflight)) {
		shadow->starved = true;
		if (!shadow->unfenced)
			return -EAGAIN;
		fence.len = shadow->unfenced;
		shadow->unfenced = 0;
		return command(t, &fence, NULL) ? -ENOMEM : -EAGAIN;
	}
	return 0;
}

static int charged(struct thread_link *t, vly_conn conn, uint32_t len)
{
	struct shadow *shadow = thread_shadow(t, conn);
	struct command fence = {.conn = conn, .kind = COMMAND_FENCE};

	shadow->inflight += len;
	shadow->unfenced += len;
	if (shadow->unfenced < t->options->config.tx_budget / 2)
		return 0;
	fence.len = shadow->unfenced;
	shadow->unfenced = 0;
	return command(t, &fence, NULL);
}

int thread_send(struct link *link, vly_conn conn, const void *data, uint32_t len)
{
	struct thread_link *t = thread_of(link);
	int error = charge(t, conn, len);

	if (!error)
		error = command(
			t, &(struct command){.conn = conn, .kind = COMMAND_SEND, .len = len}, data);
	return error ? error : charged(t, conn, len);
}

int thread_send_owned(struct link *link, vly_conn conn, const void *data, uint32_t len,
		      void *cookie)
{
	struct thread_link *t = thread_of(link);
	int error = charge(t, conn, len);

	if (!error)
		error = command(t,
				&(struct command){.conn = conn,
						  .kind = COMMAND_SEND_OWNED,
						  .pointer = data,
						  .len = len,
						  .cookie = cookie},
				NULL);
	return error ? error : charged(t, conn, len);
}

int thread_flush(struct link *link)
{
	thread_post(thread_of(link));
	return 0;
}

int thread_shutdown(struct link *link, vly_conn conn)
{
	return thread_simple(link, conn, COMMAND_SHUTDOWN);
}

int thread_abort(struct link *link, vly_conn conn)
{
	return thread_simple(link, conn, COMMAND_ABORT);
}

int thread_pause(struct link *link, vly_conn conn)
{
	return thread_simple(link, conn, COMMAND_PAUSE);
}

int thread_resume(struct link *link, vly_conn conn)
{
	return thread_simple(link, conn, COMMAND_RESUME);
}

/* ---- calls ---- */

static int call_listen(struct link *inner, struct call *c)
{
	return inner->ops->listen(inner, c->to, c->opts, c->user, &c->conn);
}

static int call_unlisten(struct link *inner, struct call *c)
{
	return inner->ops->unlisten(inner, c->conn);
}

static int call_connect(struct link *inner, struct call *c)
{
	return inner->ops->connect(inner, c->to, c->from, c->user, &c->conn);
}

static int call_name(struct link *inner, struct call *c)
{
	return inner->ops->name(inner, c->conn, c->local, c->peer);
}

static int call_timer_start(struct link *inner, struct call *c)
{
	return inner->ops->timer_start(inner, c->delay_ns, c->user, &c->timer);
}

static int call_timer_cancel(struct link *inner, struct call *c)
{
	return inner->ops->timer_cancel(inner, c->timer);
}

int thread_listen(struct link *link, const struct vly_addr *addr,
		  const struct vly_listen_opts *opts, void *user, vly_conn *conn)
{
	struct call c = {.run = call_listen, .to = addr, .opts = opts, .user = user};
	int error = call(thread_of(link), &c);

	*conn = c.conn;
	return error;
}

int thread_unlisten(struct link *link, vly_conn conn)
{
	struct call c = {.run = call_unlisten, .conn = conn};

	return call(thread_of(link), &c);
}

int thread_connect(struct link *link, const struct vly_addr *to, const struct vly_addr *from,
		   void *user, vly_conn *conn)
{
	struct thread_link *t = thread_of(link);
	struct call c = {.run = call_connect, .to = to, .from = from, .user = user};
	int error = call(t, &c);

	*conn = c.conn;
	if (!error)
		*thread_shadow(t, c.conn) = (struct shadow){.handle = c.conn, .user = user};
	return error;
}

int thread_set_user(struct link *link, vly_conn conn, void *user)
{
	struct shadow *shadow = thread_shadow(thread_of(link), conn);

	if (!shadow || shadow->handle != conn)
		return -ENOTCONN;
	shadow->user = user;
	return 0;
}

int thread_name(struct link *link, vly_conn conn, struct vly_addr *local, struct vly_addr *peer)
{
	struct thread_link *t = thread_of(link);
	struct shadow *shadow = thread_shadow(t, conn);
	struct call c = {.run = call_name, .conn = conn, .local = local, .peer = peer};

	if (!shadow || shadow->handle != conn || !shadow->names)
		return call(t, &c);
	if (local)
		*local = shadow->names[0];
	if (peer)
		*peer = shadow->names[1];
	return 0;
}

int thread_timer_start(struct link *link, uint64_t delay_ns, void *user, vly_timer *timer)
{
	struct call c = {.run = call_timer_start, .delay_ns = delay_ns, .user = user};
	int error = call(thread_of(link), &c);

	*timer = c.timer;
	return error;
}

int thread_timer_cancel(struct link *link, vly_timer timer)
{
	struct call c = {.run = call_timer_cancel, .timer = timer};

	return call(thread_of(link), &c);
}

int thread_stats(struct link *link, struct vly_stats *stats, struct link_stats *more)
{
	struct thread_link *t = thread_of(link);
	int error = t->inner->ops->stats(t->inner, stats, more);

	more->dropped = atomic_load_explicit(&t->dropped, memory_order_relaxed);
	more->paused_ns = atomic_load_explicit(&t->paused_ns, memory_order_relaxed);
	more->pending_bytes = atomic_load_explicit(&t->pending_bytes, memory_order_relaxed);
	return error;
}
