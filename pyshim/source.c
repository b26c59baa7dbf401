/* source.c - completions without a network: a generator behind the same table as the engine */
#include "pyshim/link.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "pyshim/generator.h"
#include "pyshim/link_none.h"
#include "pyshim/meter.h"
#include "pyshim/source_spec.h"

/*
 * What it includes: the event array, a payload per message in memory that was written long ago, and a
 * copy of each answer into a sink. What it leaves out: queues, buffers and lists of the engine, the nic,
 * the kernel. All connections open at once when something listens; each message goes to the next
 * connection, in random or linear order. They are made here, when they are asked for and due; or by a
 * generator on a CPU of its own, which waits for nobody.
 */
#define SINK_BYTES 65536u
#define YIELD_EVERY 64 /* looks that found nothing */
#define unlikely(x) __builtin_expect(!!(x), 0)
/* Payloads are made in a ring that a receive buffer's worth of messages goes round in. */
#define RING_BYTES (1u << 20)
#define SLOTS_HANDLE(slot) (((vly_conn)1 << VLY_SLOT_BITS) | (slot))

enum slot_state {
	SLOT_NEW, /* its OPEN is due */
	SLOT_OPEN,
	SLOT_CLOSING, /* its CLOSED is due */
	SLOT_GONE,
};

struct slot {
	void *user;
	uint8_t state;
	bool paused;
	int8_t status; /* of its CLOSED */
};

struct source {
	struct link link;
	struct source_spec spec;

	struct slot *slots;
	struct vly_event *events;
	uint8_t *ring, *sink;
	uint32_t ring_at, sink_at;
	void *listener;    /* its user; NULL: nobody listens yet */
	uint32_t opened;   /* slots of which OPEN was given */
	uint32_t *closing; /* slots whose CLOSED is due */
	uint32_t closing_count, open_count;
	void **cookies; /* lent memory to be given back at the next poll */
	uint32_t cookies_count, cookies_room;
	uint32_t next; /* linear order */
	uint64_t random;
	struct generator *generator; /* NULL: messages are made here */
	struct meter *meter;
	uint64_t held_up_ns; /* since when a connection that is not read holds up the others; 0 */
	_Atomic uint64_t began_ns; /* when the first message was due */
	int wake_fd;
	atomic_bool woken;
	/* one writer: the polling thread; read by anyone */
	_Atomic uint64_t offered, sum, replies, reply_bytes;
};

static struct source *of(struct link *link)
{
	return (struct source *)link;
}

static void count(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

	atomic_store_explicit(counter, value + n, memory_order_relaxed);
}

static uint64_t read_count(_Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Messages due by now and not offered yet. */
static uint64_t backlog(struct source *s, uint64_t now_ns)
{
	uint64_t offered = read_count(&s->offered);
	uint64_t due = s->spec.batch + offered;

	if (s->spec.rate && s->began_ns) {
		uint64_t age_ns = now_ns - s->began_ns;

		due = age_ns / 1000000000u * s->spec.rate +
		      age_ns % 1000000000u * s->spec.rate / 1000000000u + 1; /* the first at once */
	}
	if (s->spec.count && due > s->spec.count)
		due = s->spec.count;
	return due > offered ? due - offered : 0;
}

static uint64_t intended_ns(const struct source *s, uint64_t number)
{
	return s->began_ns + number / s->spec.rate * 1000000000u +
	       number % s->spec.rate * 1000000000u / s->spec.rate;
}

/* xorshift64* (Vigna 2016), scaled by a multiplication: no division per message. */
static uint32_t pick(struct source *s)
{
	if (s->spec.linear) {
		s->next = s->next + 1 < s->spec.conns ? s->next + 1 : 0;
		return s->next;
	}
	s->random ^= s->random >> 12;
	s->random ^= s->random << 25;
	s->random ^= s->random >> 27;
	return (uint32_t)(((s->random * 2685821657736338717u >> 32) * s->spec.conns) >> 32);
}

static uint8_t *payload(struct source *s, uint64_t number)
{
	uint8_t *data;

	if (s->ring_at + s->spec.len > RING_BYTES)
		s->ring_at = 0;
	data = s->ring + s->ring_at;
	s->ring_at += (uint32_t)s->spec.len;
	memcpy(data, &number, s->spec.len < sizeof(number) ? s->spec.len : sizeof(number));
	return data;
}

/* ---- events ---- */

static int give_cookies(struct source *s, struct vly_event *events, int n, uint64_t now_ns)
{
	uint32_t given = 0;

	while (given < s->cookies_count && n < (int)s->spec.batch)
		events[n++] = (struct vly_event){
			.data = s->cookies[given++], .kind = VLY_SENT, .stamp_ns = now_ns};
	s->cookies_count -= given;
	if (given)
		memmove(s->cookies, s->cookies + given, s->cookies_count * sizeof(*s->cookies));
	return n;
}

static int give_ends(struct source *s, struct vly_event *events, int n, uint64_t now_ns)
{
	while (s->closing_count && n < (int)s->spec.batch) {
		uint32_t index = s->closing[--s->closing_count];
		struct slot *slot = &s->slots[index];

		slot->state = SLOT_GONE;
		events[n++] = (struct vly_event){.conn = SLOTS_HANDLE(index),
						 .user = slot->user,
						 .status = slot->status,
						 .kind = VLY_CLOSED,
						 .stamp_ns = now_ns};
	}
	return n;
}

static int give_opens(struct source *s, struct vly_event *events, int n, uint64_t now_ns)
{
	while (s->listener && s->opened < s->spec.conns && n < (int)s->spec.batch) {
		uint32_t index = s->opened++;

		s->slots[index] = (struct slot){.user = s->listener, .state = SLOT_OPEN};
		s->open_count++;
		events[n++] = (struct vly_event){.conn = SLOTS_HANDLE(index),
						 .user = s->listener,
						 .kind = VLY_OPEN,
						 .flags = VLY_ACCEPTED,
						 .stamp_ns = now_ns};
	}
	return n;
}

static int give_data(struct source *s, struct vly_event *events, int n, uint64_t now_ns)
{
	uint64_t due, number = read_count(&s->offered), sum = 0;
	uint32_t tries = 0;

	if (!s->began_ns)
		s->began_ns = now_ns;
	due = backlog(s, now_ns);
	while (due && n < (int)s->spec.batch && tries++ < 4 * s->spec.batch) {
		uint32_t index = pick(s);
		struct slot *slot = &s->slots[index];

		if (slot->state != SLOT_OPEN || slot->paused)
			continue;
		events[n++] = (struct vly_event){
			.conn = SLOTS_HANDLE(index),
			.user = slot->user,
			.data = payload(s, number),
			.len = (uint32_t)s->spec.len,
			.kind = VLY_DATA,
			.stamp_ns = s->spec.rate ? intended_ns(s, number) : now_ns,
		};
		sum += number++;
		due--;
	}
	count(&s->sum, sum);
	atomic_store_explicit(&s->offered, number, memory_order_relaxed);
	return n;
}

/* What the generator has ready. A connection that is not read holds up what came behind it. */
static int take_generated(struct source *s, struct vly_event *events, int n)
{
	struct generator_message message;
	uint64_t delivered = 0, lost = 0, sum = 0;
	bool held_up = false;

	generator_start(s->generator);
	if (s->spec.skim) {
		meter_add(&s->meter->delivered, generator_skim(s->generator));
		return n;
	}
	while (n < (int)s->spec.batch && generator_next(s->generator, &message)) {
		struct slot *slot = &s->slots[message.index];

		if (unlikely(slot->state != SLOT_OPEN)) {
			lost++;
			continue;
		}
		if (unlikely(slot->paused)) {
			generator_put_back(s->generator);
			held_up = true;
			break;
		}
		events[n++] = (struct vly_event){
			.conn = SLOTS_HANDLE(message.index),
			.user = slot->user,
			.data = message.data,
			.len = (uint32_t)s->spec.len,
			.kind = VLY_DATA,
			.stamp_ns = message.stamp_ns,
		};
		sum += message.number;
		delivered++;
	}
	meter_add(&s->meter->delivered, delivered);
	meter_add(&s->meter->delivered_sum, sum);
	if (lost)
		meter_add(&s->meter->lost, lost);
	if (unlikely(held_up != (s->held_up_ns != 0))) {
		uint64_t now_ns = vly_now_ns();

		if (!held_up)
			meter_add(&s->meter->paused_ns, now_ns - s->held_up_ns);
		s->held_up_ns = held_up ? now_ns : 0;
	}
	return n;
}

/* When the next message is due; UINT64_MAX: not before somebody acts. */
static uint64_t next_ns(struct source *s)
{
	uint64_t offered = read_count(&s->offered);

	if (!s->open_count || (s->spec.count && offered >= s->spec.count))
		return UINT64_MAX;
	return s->spec.rate && s->began_ns ? intended_ns(s, offered) : 0;
}

static void sleep_until(struct source *s, uint64_t now_ns, uint64_t until_ns)
{
	struct pollfd bell = {.fd = s->wake_fd, .events = POLLIN};
	struct timespec timeout;
	uint64_t wait_ns = until_ns - now_ns;

	if (wait_ns < 100000) /* a sleep would come back too late: the caller looks again */
		return;
	timeout = (struct timespec){.tv_sec = (time_t)(wait_ns / 1000000000u),
				    .tv_nsec = (long)(wait_ns % 1000000000u)};
	ppoll(&bell, 1, until_ns == UINT64_MAX ? NULL : &timeout, NULL);
}

/* It polls, as a core with a network card of its own does, and lets others have the CPU if they want it. */
static void look_again(uint32_t *looks)
{
	if (++*looks % YIELD_EVERY == 0)
		sched_yield();
}

static bool take_wake(struct source *s)
{
	uint64_t value;

	if (!atomic_load_explicit(&s->woken, memory_order_relaxed) ||
	    !atomic_exchange_explicit(&s->woken, false, memory_order_acq_rel))
		return false;
	if (read(s->wake_fd, &value, sizeof(value)) < 0)
		return true;
	return true;
}

static int source_poll(struct link *link, struct vly_event **events, int64_t timeout_ns)
{
	struct source *s = of(link);
	uint64_t now_ns = vly_now_ns();
	uint64_t until_ns = timeout_ns < 0 ? UINT64_MAX : now_ns + (uint64_t)timeout_ns;
	uint32_t looks = 0;

	*events = s->events;
	if (s->generator)
		generator_release(s->generator);
	for (;;) {
		int n = give_cookies(s, s->events, 0, now_ns);

		/* no data beside an OPEN: its user may not be known yet */
		bool all_open = s->opened == s->spec.conns;

		n = give_ends(s, s->events, n, now_ns);
		n = give_opens(s, s->events, n, now_ns);
		if (all_open && s->generator)
			n = take_generated(s, s->events, n);
		else if (all_open && s->open_count)
			n = give_data(s, s->events, n, now_ns);
		if (n || take_wake(s) || now_ns >= until_ns)
			return n;
		if (s->generator) {
			look_again(&looks);
		} else {
			uint64_t due_ns = next_ns(s);

			sleep_until(s, now_ns,
				    due_ns < until_ns ? (due_ns > now_ns ? due_ns : now_ns)
						      : until_ns);
		}
		now_ns = vly_now_ns();
	}
}

/* ---- what the engine would do ---- */

static struct slot *find(struct source *s, vly_conn conn)
{
	uint32_t index = vly_conn_slot(conn);

	if (index >= s->spec.conns || conn != SLOTS_HANDLE(index) ||
	    s->slots[index].state != SLOT_OPEN)
		return NULL;
	return &s->slots[index];
}

static int source_listen(struct link *link, const struct vly_addr *addr,
			 const struct vly_listen_opts *opts, void *user, vly_conn *conn)
{
	struct source *s = of(link);

	(void)addr;
	(void)opts;
	if (s->listener)
		return -EADDRINUSE;
	s->listener = user;
	*conn = SLOTS_HANDLE((uint32_t)s->spec.conns);
	return 0;
}

static int source_unlisten(struct link *link, vly_conn conn)
{
	(void)conn;
	of(link)->listener = NULL;
	return 0;
}

static int source_set_user(struct link *link, vly_conn conn, void *user)
{
	struct slot *slot = find(of(link), conn);

	if (!slot)
		return -ENOTCONN;
	slot->user = user;
	return 0;
}

static int source_send(struct link *link, vly_conn conn, const void *data, uint32_t len)
{
	struct source *s = of(link);
	const uint8_t *from = data;

	if (!find(s, conn))
		return -ENOTCONN;
	count(&s->replies, 1);
	count(&s->reply_bytes, len);
	if (s->meter)
		meter_add(&s->meter->replied, 1);
	while (len) {
		uint32_t room = SINK_BYTES - s->sink_at;
		uint32_t part = len < room ? len : room;

		memcpy(s->sink + s->sink_at, from, part);
		s->sink_at = part < room ? s->sink_at + part : 0;
		from += part;
		len -= part;
	}
	return 0;
}

static int source_send_owned(struct link *link, vly_conn conn, const void *data, uint32_t len,
			     void *cookie)
{
	struct source *s = of(link);

	if (s->cookies_count == s->cookies_room) {
		uint32_t room = s->cookies_room ? 2 * s->cookies_room : 64;
		void **grown = realloc(s->cookies, room * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		s->cookies = grown;
		s->cookies_room = room;
	}
	int error = source_send(link, conn, data, len);

	if (!error)
		s->cookies[s->cookies_count++] = cookie;
	return error;
}

static int source_shutdown(struct link *link, vly_conn conn)
{
	return find(of(link), conn) ? 0 : -ENOTCONN;
}

/* The rest of its events in the array is blanked, as the engine does. */
static int end(struct source *s, vly_conn conn, int status)
{
	struct slot *slot = find(s, conn);

	if (!slot)
		return -ENOTCONN;
	slot->state = SLOT_CLOSING;
	slot->status = (int8_t)status;
	s->open_count--;
	s->closing[s->closing_count++] = vly_conn_slot(conn);
	for (uint32_t i = 0; i < s->spec.batch; i++)
		if (s->events[i].conn == conn && s->events[i].kind == VLY_DATA)
			s->events[i].kind = VLY_NONE;
	return 0;
}

static int source_close_conn(struct link *link, vly_conn conn)
{
	return end(of(link), conn, 0);
}

static int source_abort(struct link *link, vly_conn conn)
{
	return end(of(link), conn, -ECONNABORTED);
}

static int pause_slot(struct link *link, vly_conn conn, bool paused)
{
	struct slot *slot = find(of(link), conn);

	if (!slot)
		return -ENOTCONN;
	slot->paused = paused;
	return 0;
}

static int source_pause(struct link *link, vly_conn conn)
{
	return pause_slot(link, conn, true);
}

static int source_resume(struct link *link, vly_conn conn)
{
	return pause_slot(link, conn, false);
}

static void source_wake(struct link *link)
{
	struct source *s = of(link);
	uint64_t one = 1;

	atomic_store_explicit(&s->woken, true, memory_order_release);
	if (write(s->wake_fd, &one, sizeof(one)) < 0)
		return; /* full: it is awake */
}

static int source_stats(struct link *link, struct vly_stats *stats, struct link_stats *more)
{
	struct source *s = of(link);

	*stats = (struct vly_stats){0};
	*more = (struct link_stats){
		.source_offered = read_count(s->meter ? &s->meter->offered : &s->offered),
		.source_sum = read_count(s->meter ? &s->meter->delivered_sum : &s->sum),
		.source_replies = read_count(&s->replies),
		.source_reply_bytes = read_count(&s->reply_bytes),
		.source_backlog = s->spec.rate && s->began_ns ? backlog(s, vly_now_ns()) : 0,
	};
	return 0;
}

static void source_close(struct link *link)
{
	struct source *s = of(link);

	generator_close(s->generator);
	meter_close(s->meter);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	free(s->slots);
	free(s->events);
	free(s->ring);
	free(s->sink);
	free(s->closing);
	free(s->cookies);
	free(s);
}

static const struct link_ops source_ops = {
	.poll = source_poll,
	.listen = source_listen,
	.unlisten = source_unlisten,
	.connect = link_no_connect,
	.set_user = source_set_user,
	.name = link_no_name,
	.send = source_send,
	.send_owned = source_send_owned,
	.flush = link_no_flush,
	.shutdown = source_shutdown,
	.close_conn = source_close_conn,
	.abort = source_abort,
	.pause = source_pause,
	.resume = source_resume,
	.watch = link_no_watch,
	.timer_start = link_no_timer_start,
	.timer_cancel = link_no_timer_cancel,
	.fd = link_no_fd,
	.wake = source_wake,
	.stats = source_stats,
	.close = source_close,
};

/* ---- opening ---- */

int link_open_source(const char *spec, const struct vly_config *config, char *why, size_t why_bytes,
		     struct link **out)
{
	struct source *s = calloc(1, sizeof(*s));
	int error = -ENOMEM;

	if (!s)
		return error;
	*s = (struct source){.link.ops = &source_ops, .wake_fd = -1};
	error = source_spec_parse(&s->spec, spec, why, why_bytes);
	if (!error && (s->spec.batch > config->events_max || s->spec.conns > config->conns_max)) {
		snprintf(why, why_bytes, "batch is above max_batch, or conns above conns_max");
		error = -EINVAL;
	}
	if (error)
		goto fail;
	s->random = s->spec.seed;
	s->slots = calloc(s->spec.conns, sizeof(*s->slots));
	s->closing = calloc(s->spec.conns, sizeof(*s->closing));
	s->events = calloc(s->spec.batch, sizeof(*s->events));
	s->ring = calloc(1, RING_BYTES);
	s->sink = calloc(1, SINK_BYTES);
	s->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	error = s->wake_fd < 0 ? -errno : -ENOMEM;
	if (!s->slots || !s->closing || !s->events || !s->ring || !s->sink || s->wake_fd < 0)
		goto fail;
	error = s->spec.meter[0] ? meter_open(s->spec.meter, &s->meter) : 0;
	if (!error && s->meter)
		error = generator_open(&s->spec, s->meter, &s->generator);
	if (error)
		goto fail;
	*out = &s->link;
	return 0;
fail:
	source_close(&s->link);
	return error;
}
