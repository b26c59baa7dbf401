/* thread_core.c - the engine's thread of thread mode: polls, hands batches over, carries commands out */
#include "pyshim/thread_link.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pyshim/engine.h"

uint32_t thread_chunk_events(const struct thread_link *t)
{
	return t->options->config.events_max;
}

unsigned thread_chunks_max(const struct thread_link *t)
{
	unsigned chunks = t->options->ring / thread_chunk_events(t);

	return chunks < 2 ? 2 : chunks;
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, value + n, memory_order_relaxed);
}

/* ---- sends that wait ---- */

static struct backlog *backlog_of(struct thread_link *t, vly_conn conn)
{
	return &t->backlogs[vly_conn_slot(conn)];
}

static int backlog_add(struct thread_link *t, const struct command *command, const void *bytes)
{
	struct backlog *backlog = backlog_of(t, command->conn);
	size_t len = command->kind == COMMAND_SEND ? command->len : 0;
	struct backlog_item *item = malloc(sizeof(*item) + len);

	if (!item)
		return -ENOMEM;
	item->next = NULL;
	item->command = *command;
	if (len)
		memcpy(item->bytes, bytes, len);
	if (!backlog->first)
		backlog->last = &backlog->first;
	*backlog->last = item;
	backlog->last = &item->next;
	add(&t->pending_bytes, command->len);
	return 0;
}

/* SENT of lent memory, or the answer to a fence. */
static void tell(struct thread_link *t, const struct command *command, uint8_t kind, int status)
{
	struct news *news = malloc(sizeof(*news));

	if (!news)
		return; /* what it says is then learnt when the engine closes */
	news->next = NULL;
	news->event = (struct vly_event){.conn = command->conn,
					 .data = command->cookie,
					 .len = command->len,
					 .status = status,
					 .kind = kind};
	if (!t->news)
		t->news_end = &t->news;
	*t->news_end = news;
	t->news_end = &news->next;
}

/* The connection is gone: lent memory goes home. */
static void backlog_drop(struct thread_link *t, vly_conn conn)
{
	struct backlog *backlog = backlog_of(t, conn);

	while (backlog->first) {
		struct backlog_item *item = backlog->first;

		backlog->first = item->next;
		add(&t->pending_bytes, (uint64_t)0 - item->command.len);
		if (item->command.kind == COMMAND_SEND_OWNED)
			tell(t, &item->command, VLY_SENT, -ECONNABORTED);
		free(item);
	}
}

/* ---- commands ---- */

/* -EAGAIN: it has to wait, with all that comes after it. */
static int carry_out(struct thread_link *t, const struct command *command, const void *bytes)
{
	struct link *inner = t->inner;
	int error = 0;

	switch (command->kind) {
	case COMMAND_SEND:
		return inner->ops->send(inner, command->conn, bytes, command->len);
	case COMMAND_SEND_OWNED:
		error = inner->ops->send_owned(inner, command->conn, command->pointer, command->len,
					       command->cookie);
		if (error && error != -EAGAIN)
			tell(t, command, VLY_SENT, error);
		return error;
	case COMMAND_FENCE:
		tell(t, command, KIND_FENCE, 0);
		return 0;
	case COMMAND_SHUTDOWN:
		return inner->ops->shutdown(inner, command->conn);
	case COMMAND_CLOSE:
		return inner->ops->close_conn(inner, command->conn);
	default:
		return 0;
	}
}

static void take_backlog(struct thread_link *t, vly_conn conn)
{
	struct backlog *backlog = backlog_of(t, conn);

	while (backlog->first) {
		struct backlog_item *item = backlog->first;

		if (carry_out(t, &item->command, item->bytes) == -EAGAIN)
			return;
		backlog->first = item->next;
		add(&t->pending_bytes, (uint64_t)0 - item->command.len);
		free(item);
	}
}

static void run_call(struct thread_link *t, struct call *call)
{
	int failed = atomic_load_explicit(&t->failed, memory_order_relaxed);

	call->result = failed ? failed : call->run(t->inner, call);
	sem_post(&call->done); /* and now it is gone */
}

static void obey(struct thread_link *t, const struct command *command, const void *bytes)
{
	struct link *inner = t->inner;
	int error;

	if (atomic_load_explicit(&t->failed, memory_order_relaxed) && command->kind != COMMAND_CALL)
		return;
	switch (command->kind) {
	case COMMAND_CALL:
		run_call(t, (struct call *)(uintptr_t)command->pointer);
		return;
	case COMMAND_ABORT:
		backlog_drop(t, command->conn);
		inner->ops->abort(inner, command->conn);
		return;
	case COMMAND_PAUSE:
		inner->ops->pause(inner, command->conn);
		return;
	case COMMAND_RESUME:
		inner->ops->resume(inner, command->conn);
		return;
	default:
		error = backlog_of(t, command->conn)->first ? -EAGAIN
							    : carry_out(t, command, bytes);
		if (error == -EAGAIN)
			error = backlog_add(t, command, bytes);
		if (error && error != -ENOTCONN &&
		    error != -EPIPE) { /* better a reset than a gap */
			backlog_drop(t, command->conn);
			inner->ops->abort(inner, command->conn);
		}
	}
}

static void obey_block(struct thread_link *t, struct block *block)
{
	size_t at = 0;

	while (at < block->used) {
		struct command command;

		memcpy(&command, block->bytes + at, sizeof(command));
		at += sizeof(command);
		obey(t, &command, block->bytes + at);
		if (command.kind == COMMAND_SEND)
			at += ((size_t)command.len + 7) & ~(size_t)7;
	}
}

/* Carries out all that was posted. Whether there was any. */
static bool obey_posted(struct thread_link *t)
{
	struct letters posted = mailbox_take(&t->commands), empty = {NULL};
	struct letter *letter;

	if (!posted.first)
		return false;
	while ((letter = letters_pop(&posted))) {
		struct block *block = (struct block *)letter;

		obey_block(t, block);
		if (block->room > THREAD_BLOCK_BYTES)
			free(block);
		else
			letters_add(&empty, &block->letter);
	}
	mailbox_put(&t->free_blocks, &empty);
	return true;
}

static bool is_over(struct thread_link *t)
{
	return atomic_load_explicit(&t->over, memory_order_seq_cst);
}

/* Sleeps until something is posted, a chunk comes home or it is over. */
static void pause_core(struct thread_link *t)
{
	struct pollfd bell = {.fd = t->core_bell, .events = POLLIN};
	uint64_t rung;

	atomic_store_explicit(&t->core_state, CORE_PAUSED, memory_order_seq_cst);
	if (!mailbox_pending(&t->commands) && !mailbox_pending(&t->free_chunks) && !is_over(t))
		poll(&bell, 1, -1);
	atomic_store_explicit(&t->core_state, CORE_RUNS, memory_order_seq_cst);
	if (read(t->core_bell, &rung, sizeof(rung)) < 0)
		return; /* it was not rung */
}

/* ---- batches ---- */

static struct chunk *chunk_new(struct thread_link *t, bool spare)
{
	size_t events_bytes =
		(thread_chunk_events(t) + THREAD_NEWS_ROOM) * sizeof(struct vly_event);
	struct chunk *chunk = calloc(1, sizeof(*chunk) + events_bytes);

	if (chunk) {
		chunk->spare = spare;
		t->chunks_count += !spare;
	}
	return chunk;
}

static void chunk_put(struct thread_link *t, struct chunk *chunk)
{
	if (chunk->spare) {
		free(chunk->data);
		free(chunk);
	} else {
		letters_add(&t->home, &chunk->letter);
	}
}

/*
 * A chunk to fill, or NULL when it is over or memory is. With none at home: "pause" waits for the
 * consumer, and polls no more until it comes; "drop" gets one more, which carries everything but data.
 */
static struct chunk *chunk_get(struct thread_link *t)
{
	struct chunk *chunk = NULL;
	uint64_t began_ns = 0;

	while (!is_over(t)) {
		if (!t->home.first)
			t->home = mailbox_take(&t->free_chunks);
		chunk = (struct chunk *)letters_pop(&t->home);
		if (chunk)
			break;
		if (t->chunks_count < thread_chunks_max(t) || t->options->drop) {
			chunk = chunk_new(t, t->chunks_count >= thread_chunks_max(t));
			break;
		}
		if (!began_ns)
			began_ns = vly_now_ns();
		if (obey_posted(t))
			t->inner->ops->flush(t->inner);
		else
			pause_core(t);
	}
	if (began_ns)
		add(&t->paused_ns, vly_now_ns() - began_ns);
	return chunk;
}

/* What is gone with an event that Python shall not see, or the room that its data takes. */
static bool wanted(struct thread_link *t, struct vly_event *event, bool spare)
{
	if (event->kind == VLY_NONE || event->kind == VLY_MAIL)
		return false;
	if (event->kind == VLY_DRAINED && event->conn) {
		take_backlog(t, event->conn);
		return false; /* fences tell it */
	}
	if (event->kind == VLY_CLOSED && vly_conn_slot(event->conn) < t->slots)
		backlog_drop(t, event->conn);
	if (event->kind == VLY_DATA && spare) {
		add(&t->dropped, 1);
		return false;
	}
	return true;
}

static size_t data_bytes(const struct vly_event *event)
{
	if (event->kind == VLY_DATA)
		return event->len;
	return event->kind == VLY_OPEN && event->status == 0 ? 2 * sizeof(struct vly_addr) : 0;
}

static int chunk_fill(struct thread_link *t, struct chunk *chunk, struct vly_event *events,
		      int count)
{
	size_t need = 0;

	for (int i = 0; i < count; i++)
		need += (data_bytes(&events[i]) + 7) & ~(size_t)7;
	if (need > chunk->data_room) {
		free(chunk->data);
		chunk->data = malloc(need);
		chunk->data_room = chunk->data ? need : 0;
		if (!chunk->data)
			return -ENOMEM;
	}
	chunk->count = 0;
	chunk->data_bytes = 0;
	for (int i = 0; i < count; i++) {
		struct vly_event *event = &events[i];
		size_t len = data_bytes(event);
		uint8_t *to = chunk->data + chunk->data_bytes;

		if (!wanted(t, event, chunk->spare))
			continue;
		struct vly_event *copy = &chunk->events[chunk->count++];

		*copy = *event;
		if (event->kind == VLY_DATA)
			memcpy(to, event->data, len);
		else if (len) {
			struct vly_addr names[2] = {{0}, {0}};

			t->inner->ops->name(t->inner, event->conn, &names[0], &names[1]);
			memcpy(to, names, sizeof(names));
		}
		if (len)
			copy->data = to;
		chunk->data_bytes += (len + 7) & ~(size_t)7;
	}
	return 0;
}

/* Our own news, as many as fit behind a batch, full or not: nothing shuts them out. */
static void chunk_add_news(struct thread_link *t, struct chunk *chunk)
{
	while (t->news && chunk->count < thread_chunk_events(t) + THREAD_NEWS_ROOM) {
		struct news *news = t->news;

		t->news = news->next;
		chunk->events[chunk->count++] = news->event;
		free(news);
	}
}

static void hand_over(struct thread_link *t, struct chunk *chunk)
{
	struct letters one = {NULL};

	if (chunk->count == 0) {
		chunk_put(t, chunk);
		return;
	}
	letters_add(&one, &chunk->letter);
	mailbox_put(&t->full, &one);
	if (atomic_load_explicit(&t->consumer_sleeps, memory_order_seq_cst) &&
	    atomic_exchange_explicit(&t->consumer_sleeps, false, memory_order_seq_cst))
		thread_ring(t->bell);
}

/* One poll of the engine. 0, or -errno. */
static int turn(struct thread_link *t)
{
	struct vly_event *events;
	struct chunk *chunk;
	bool more;
	int count;

	atomic_store_explicit(&t->core_state, CORE_POLLS, memory_order_seq_cst);
	more = mailbox_pending(&t->commands) || is_over(t) || t->news;
	count = t->inner->ops->poll(t->inner, &events, more ? 0 : -1);
	atomic_store_explicit(&t->core_state, CORE_RUNS, memory_order_relaxed);
	if (count < 0)
		return count;
	if (count || t->news) {
		chunk = chunk_get(t);
		if (!chunk)
			return is_over(t) ? 0 : -ENOMEM;
		int error = chunk_fill(t, chunk, events, count);

		if (error) {
			chunk_put(t, chunk);
			return error;
		}
		chunk_add_news(t, chunk);
		hand_over(t, chunk);
	}
	obey_posted(t);
	return 0;
}

static void pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		return; /* slower, not wrong */
}

/* A consumer that sleeps has to learn it; until it closes, it may still ask. */
static void fail(struct thread_link *t, int error)
{
	atomic_store_explicit(&t->failed, error, memory_order_release);
	thread_ring(t->bell);
	while (!is_over(t))
		if (!obey_posted(t))
			pause_core(t);
	obey_posted(t);
}

void *thread_core_main(void *arg)
{
	struct thread_link *t = arg;
	int error;

	pin(t->options->cpu);
	error = link_open(t->options, t->why, t->why_bytes, &t->inner);
	atomic_store_explicit(&t->failed, error, memory_order_release);
	sem_post(&t->opened);
	if (error)
		return NULL;
	while (!error && !is_over(t))
		error = turn(t);
	if (error)
		fail(t, error);
	while (sem_wait(&t->closing)) /* whoever ends it may still be waking it */
		;
	t->inner->ops->close(t->inner);
	return NULL;
}

void thread_core_drop(struct thread_link *t)
{
	for (uint32_t i = 0; t->backlogs && i < t->slots; i++)
		while (t->backlogs[i].first) {
			struct backlog_item *item = t->backlogs[i].first;

			t->backlogs[i].first = item->next;
			free(item);
		}
	while (t->news) {
		struct news *news = t->news;

		t->news = news->next;
		free(news);
	}
	free(t->backlogs);
}
