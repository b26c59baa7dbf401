/* thread_core.c - the engine's thread of thread mode: polls, hands batches over, carries commands out */
#include "pyshim/thread_link.h"

#include <errno.h>
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
	int result = call->run(t->inner, call);

	pthread_mutex_lock(&t->mutex);
	call->result = result;
	call->done = true;
	pthread_cond_broadcast(&t->cond);
	pthread_mutex_unlock(&t->mutex);
}

static void obey(struct thread_link *t, const struct command *command, const void *bytes)
{
	struct link *inner = t->inner;
	int error;

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

/* Carries out all that was posted. The mutex is held, and let go meanwhile. Whether there was any. */
static bool obey_posted(struct thread_link *t)
{
	struct block *block = t->posted;

	if (!block)
		return false;
	t->posted = NULL;
	t->posted_end = &t->posted;
	pthread_mutex_unlock(&t->mutex);
	struct block *last = block;

	for (struct block *b = block; b; b = b->next) {
		obey_block(t, b);
		b->used = 0;
		last = b;
	}
	pthread_mutex_lock(&t->mutex);
	last->next = t->free_blocks;
	t->free_blocks = block;
	return true;
}

/* ---- batches ---- */

static struct chunk *chunk_new(struct thread_link *t)
{
	size_t events_bytes = thread_chunk_events(t) * sizeof(struct vly_event);
	struct chunk *chunk = calloc(1, sizeof(*chunk) + events_bytes);

	if (chunk)
		t->chunks_count++;
	return chunk;
}

/*
 * A chunk to fill, or NULL when it is over. With none at home: "pause" waits for the consumer, and polls
 * no more until it comes; "drop" gets one more, which carries everything but data.
 */
static struct chunk *chunk_get(struct thread_link *t, bool *news_only)
{
	struct chunk *chunk = NULL;
	uint64_t began_ns = 0;

	*news_only = false;
	pthread_mutex_lock(&t->mutex);
	while (!t->over) {
		chunk = t->free_chunks;
		if (chunk) {
			t->free_chunks = chunk->next;
			break;
		}
		if (t->chunks_count < thread_chunks_max(t) || t->options->drop) {
			*news_only = t->chunks_count >= thread_chunks_max(t);
			chunk = chunk_new(t);
			break;
		}
		if (!began_ns)
			began_ns = vly_now_ns();
		if (!obey_posted(t))
			pthread_cond_wait(&t->cond, &t->mutex);
		else
			t->inner->ops->flush(t->inner);
	}
	pthread_mutex_unlock(&t->mutex);
	if (began_ns)
		add(&t->paused_ns, vly_now_ns() - began_ns);
	return chunk;
}

/* What is gone with an event that Python shall not see, or the room that its data takes. */
static bool wanted(struct thread_link *t, struct vly_event *event, bool news_only)
{
	if (event->kind == VLY_NONE || event->kind == VLY_MAIL)
		return false;
	if (event->kind == VLY_DRAINED && event->conn) {
		take_backlog(t, event->conn);
		return false; /* fences tell it */
	}
	if (event->kind == VLY_CLOSED && vly_conn_slot(event->conn) < t->slots)
		backlog_drop(t, event->conn);
	if (event->kind == VLY_DATA && news_only) {
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
		      int count, bool news_only)
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

		if (!wanted(t, event, news_only))
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

/* Our own news, as many as fit behind a batch. */
static void chunk_add_news(struct thread_link *t, struct chunk *chunk)
{
	while (t->news && chunk->count < thread_chunk_events(t)) {
		struct news *news = t->news;

		t->news = news->next;
		chunk->events[chunk->count++] = news->event;
		free(news);
	}
}

void thread_chunk_put(struct thread_link *t, struct chunk *chunk)
{
	if (t->chunks_count > thread_chunks_max(t)) { /* one too many, of overload="drop" */
		t->chunks_count--;
		free(chunk->data);
		free(chunk);
	} else {
		chunk->next = t->free_chunks;
		t->free_chunks = chunk;
	}
}

static void hand_over(struct thread_link *t, struct chunk *chunk)
{
	uint64_t one = 1;
	bool ring, full = chunk->count > 0;

	pthread_mutex_lock(&t->mutex);
	chunk->next = NULL;
	if (full) {
		*t->full_end = chunk;
		t->full_end = &chunk->next;
	} else {
		thread_chunk_put(t, chunk);
	}
	ring = full && t->consumer_sleeps;
	t->consumer_sleeps = t->consumer_sleeps && !ring;
	pthread_mutex_unlock(&t->mutex);
	if (ring && write(t->bell, &one, sizeof(one)) < 0)
		return; /* full: it is awake */
}

/* One poll of the engine. 0, or -errno. */
static int turn(struct thread_link *t)
{
	struct vly_event *events;
	struct chunk *chunk;
	bool more, news_only;
	int count;

	/*
	 * Dekker, as in the engine: we say that we sleep, then look; the other posts, then looks. All
	 * four accesses are sequentially consistent, or inside the mutex.
	 */
	atomic_store_explicit(&t->core_sleeps, true, memory_order_seq_cst);
	pthread_mutex_lock(&t->mutex);
	more = t->posted || t->over;
	pthread_mutex_unlock(&t->mutex);
	if (more || t->news)
		atomic_store_explicit(&t->core_sleeps, false, memory_order_relaxed);
	count = t->inner->ops->poll(t->inner, &events, more || t->news ? 0 : -1);
	atomic_store_explicit(&t->core_sleeps, false, memory_order_seq_cst);
	if (count < 0)
		return count;
	if (count || t->news) {
		chunk = chunk_get(t, &news_only);
		if (!chunk)
			return t->over ? 0 : -ENOMEM;
		int error = chunk_fill(t, chunk, events, count, news_only);

		if (error) {
			free(chunk->data);
			free(chunk);
			return error;
		}
		chunk_add_news(t, chunk);
		hand_over(t, chunk);
	}
	pthread_mutex_lock(&t->mutex);
	obey_posted(t);
	pthread_mutex_unlock(&t->mutex);
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

/* A consumer that sleeps has to learn it; until it closes, it may still wake the core. */
static void fail(struct thread_link *t)
{
	uint64_t one = 1;
	ssize_t rung = write(t->bell, &one, sizeof(one));

	(void)rung; /* full: it is awake */
	pthread_mutex_lock(&t->mutex);
	pthread_cond_broadcast(&t->cond);
	while (!t->over)
		pthread_cond_wait(&t->cond, &t->mutex);
	pthread_mutex_unlock(&t->mutex);
}

void *thread_core_main(void *arg)
{
	struct thread_link *t = arg;
	int error;
	bool over;

	pin(t->options->cpu);
	error = link_open(t->options, t->why, t->why_bytes, &t->inner);
	pthread_mutex_lock(&t->mutex);
	t->opening = false;
	t->failed = error;
	over = error != 0;
	pthread_cond_broadcast(&t->cond);
	pthread_mutex_unlock(&t->mutex);
	while (!over) {
		error = turn(t);
		pthread_mutex_lock(&t->mutex);
		over = t->over || error;
		if (error)
			t->failed = error;
		pthread_mutex_unlock(&t->mutex);
	}
	if (t->inner && error)
		fail(t);
	if (t->inner)
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
