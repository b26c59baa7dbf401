/* test_port.c - a foreign thread joined to a core: both ways, in order, bounded, waking */
#include "tests/contract/harness.h"

#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

TestSuite(port, .fini = vly_leak_gate, .timeout = 120);

#define MESSAGES 5000

static void open_core(struct world *w, uint32_t mail_slots)
{
	struct vly_config config;

	world_config(&config, 1);
	config.mail_slots = mail_slots;
	config.ports_max = 4;
	world_open_config(w, &config);
}

static struct vly_port *open_port(struct world *w)
{
	struct vly_port *port = NULL;

	check_eq(vly_port_open(w->engine, 0, &port), 0);
	cr_assert_not_null(port);
	return port;
}

/* The test's thread plays the foreign one, too, where no concurrency is needed. */
Test(port, carries_messages_to_the_core_flagged_and_numbered)
{
	struct world w;
	struct vly_port *port, *other;
	struct record *record;

	open_core(&w, 8);
	port = open_port(&w);
	other = open_port(&w);
	cr_assert(vly_port_index(port) != vly_port_index(other));
	check_eq(vly_port_post(other, "hello", 5), 0);
	pump_until(&w, w.tracks.count[VLY_MAIL]);
	record = &w.tracks.records[0];
	check_eq(record->event.kind, VLY_MAIL);
	check_eq(record->event.flags & VLY_FROM_PORT, VLY_FROM_PORT);
	check_eq(record->event.aux, vly_port_index(other));
	check_eq(record->event.len, 5);
	cr_assert(!memcmp(record->bytes, "hello", 5));
	vly_port_close(port);
	vly_port_close(other);
	world_close(&w);
}

Test(port, carries_messages_to_the_foreign_thread)
{
	struct world w;
	struct vly_port *port;
	const void *data = NULL;

	open_core(&w, 8);
	port = open_port(&w);
	check_eq(vly_port_take(port, &data), -EAGAIN);
	check_eq(vly_port_send(w.core[0], vly_port_index(port), "one", 3), 0);
	check_eq(vly_port_send(w.core[0], vly_port_index(port), NULL, 0), 0);
	check_eq(vly_flush(w.core[0]), 0);
	check_eq(vly_port_wait(port, -1), 1);
	check_eq(vly_port_take(port, &data), 3);
	cr_assert(!memcmp(data, "one", 3));
	check_eq(vly_port_take(port, &data), 0);
	check_eq(vly_port_take(port, &data), -EAGAIN);
	check_eq(vly_port_wait(port, 0), 0);
	check_eq(vly_port_wait(port, MSEC), 0);
	vly_port_close(port);
	world_close(&w);
}

Test(port, message_of_mail_bytes_fits_and_one_more_is_emsgsize)
{
	struct world w;
	struct vly_port *port;
	const void *data;
	uint8_t bytes[57];

	open_core(&w, 8);
	port = open_port(&w);
	pattern_fill(bytes, sizeof(bytes), 4, 0);
	check_eq(vly_port_post(port, bytes, 57), -EMSGSIZE);
	check_eq(vly_port_post(port, bytes, 56), 0);
	check_eq(vly_port_send(w.core[0], vly_port_index(port), bytes, 57), -EMSGSIZE);
	check_eq(vly_port_send(w.core[0], vly_port_index(port), bytes, 56), 0);
	pump_until(&w, w.tracks.count[VLY_MAIL] == 1);
	check_eq(w.tracks.records[0].event.len, 56);
	cr_assert(pattern_is(w.tracks.records[0].bytes, 56, 4, 0));
	check_eq(vly_port_wait(port, -1), 1);
	check_eq(vly_port_take(port, &data), 56);
	cr_assert(pattern_is(data, 56, 4, 0));
	vly_port_close(port);
	world_close(&w);
}

Test(port, that_is_full_is_eagain_and_wait_returns_when_there_is_room)
{
	struct world w;
	struct vly_port *port;
	unsigned taken = 0;

	open_core(&w, 8);
	port = open_port(&w);
	while (!vly_port_post(port, "x", 1))
		cr_assert(++taken <= 8);
	check_eq(taken, 8);
	check_eq(vly_port_post(port, "x", 1), -EAGAIN);
	check_eq(vly_port_wait(port, 0), 0);
	pump_until(&w, w.tracks.count[VLY_MAIL] == 8);
	world_round(&w);
	check_eq(vly_port_wait(port, -1), 1);
	check_eq(vly_port_post(port, "x", 1), 0);
	pump_until(&w, w.tracks.count[VLY_MAIL] == 9);
	vly_port_close(port);
	world_close(&w);
}

Test(port, that_is_full_on_the_core_is_eagain_and_one_drained_names_it)
{
	struct world w;
	struct vly_port *port, *other;
	const void *data;

	open_core(&w, 8);
	other = open_port(&w);
	port = open_port(&w);
	for (unsigned spell = 1; spell <= 10; spell++) {
		unsigned taken = 0;
		struct record *last;

		while (!vly_port_send(w.core[0], vly_port_index(port), "x", 1))
			cr_assert(++taken <= 8);
		check_eq(taken, 8);
		world_quiet(&w);
		check_eq(w.tracks.count[VLY_DRAINED], spell - 1);
		while (vly_port_take(port, &data) != -EAGAIN)
			taken--;
		check_eq(taken, 0);
		pump_until(&w, w.tracks.count[VLY_DRAINED] == spell);
		world_quiet(&w);
		check_eq(w.tracks.count[VLY_DRAINED], spell);
		last = &w.tracks.records[w.tracks.records_count - 1];
		check_eq(last->event.flags & VLY_FROM_PORT, VLY_FROM_PORT);
		check_eq(last->event.aux, vly_port_index(port));
		check_eq(last->event.conn, 0);
	}
	vly_port_close(port);
	vly_port_close(other);
	world_close(&w);
}

Test(port, send_to_one_that_is_not_open_is_enoent)
{
	struct world w;
	struct vly_port *port;
	unsigned index;

	open_core(&w, 8);
	check_eq(vly_port_send(w.core[0], 0, "x", 1), -ENOENT);
	check_eq(vly_port_send(w.core[0], 64, "x", 1), -ENOENT);
	check_eq(vly_port_send(w.core[0], UINT32_MAX, "x", 1), -ENOENT);
	port = open_port(&w);
	index = vly_port_index(port);
	check_eq(vly_port_send(w.core[0], index, "x", 1), 0);
	vly_port_close(port);
	world_round(&w);
	check_eq(vly_port_send(w.core[0], index, "x", 1), -ENOENT);
	world_close(&w);
}

Test(port, of_a_core_that_does_not_exist_is_enoent)
{
	struct world w;
	struct vly_port *port;

	open_core(&w, 8);
	check_eq(vly_port_open(w.engine, 1, &port), -ENOENT);
	world_close(&w);
}

Test(port, beyond_ports_max_is_enobufs_until_one_is_closed)
{
	struct world w;
	struct vly_port *port[4], *extra;

	open_core(&w, 8);
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < 4; i++)
			port[i] = open_port(&w);
		check_eq(vly_port_open(w.engine, 0, &extra), -ENOBUFS);
		vly_port_close(port[2]);
		world_round(&w);
		port[2] = open_port(&w);
		check_eq(vly_port_post(port[2], "new", 3), 0);
		pump_until(&w, w.tracks.count[VLY_MAIL] == round + 1u);
		check_eq(w.tracks.records[w.tracks.records_count - 1].event.len, 3);
		for (int i = 0; i < 4; i++)
			vly_port_close(port[i]);
		world_round(&w);
	}
	world_close(&w);
}

Test(port, close_of_null_and_with_messages_waiting_is_allowed)
{
	struct world w;
	struct vly_port *port;

	open_core(&w, 8);
	vly_port_close(NULL);
	port = open_port(&w);
	check_eq(vly_port_post(port, "lost", 4), 0);
	check_eq(vly_port_send(w.core[0], vly_port_index(port), "lost", 4), 0);
	vly_port_close(port);
	/* The next one in its place sees nothing of it. */
	world_round(&w);
	port = open_port(&w);
	check_eq(vly_port_take(port, &(const void *){NULL}), -EAGAIN);
	vly_port_close(port);
	world_close(&w);
}

Test(port, that_was_full_leaves_nothing_to_the_next_in_its_place)
{
	struct world w;
	struct vly_config config;
	struct vly_port *port;
	const void *data;

	world_config(&config, 1);
	config.ports_max = 1;
	config.mail_slots = 8;
	world_open_config(&w, &config);
	for (int i = 0; i < 10; i++) {
		world_round(&w);
		port = open_port(&w);
		/* What is full is the last one's. */
		for (int j = 0; j < 8; j++)
			check_eq(vly_port_send(w.core[0], 0, "x", 1), 0);
		check_eq(vly_port_send(w.core[0], 0, "x", 1), -EAGAIN);
		for (int j = 0; j < 8; j++)
			check_eq(vly_port_post(port, "x", 1), 0);
		check_eq(vly_port_post(port, "x", 1), -EAGAIN);
		check_at_least(vly_port_take(port, &data), 0);
		vly_port_close(port);
	}
	world_quiet(&w);
	check_eq(w.tracks.count[VLY_DRAINED], 0);
	world_close(&w);
}

Test(port, after_its_core_closed_is_enotconn)
{
	struct world w;
	struct vly_port *port;

	open_core(&w, 8);
	port = open_port(&w);
	check_eq(vly_port_post(port, "x", 1), 0);
	vly_core_close(w.core[--w.cores]);
	check_eq(vly_port_post(port, "x", 1), -ENOTCONN);
	check_eq(vly_port_wait(port, -1), -ENOTCONN);
	vly_port_close(port);
	world_close(&w);
}

Test(port, may_be_opened_before_its_core)
{
	struct vly_config config;
	struct vly_engine *engine;
	struct vly_core *core;
	struct vly_port *port;
	struct vly_event *events;

	world_config(&config, 1);
	check_eq(vly_engine_open(&config, &engine), 0);
	check_eq(vly_port_open(engine, 0, &port), 0);
	check_eq(vly_core_open(engine, 0, &core), 0);
	check_eq(vly_port_post(port, "early", 5), 0);
	check_eq(vly_poll(core, &events, -1), 1);
	check_eq(events[0].kind, VLY_MAIL);
	cr_assert(!memcmp(events[0].data, "early", 5));
	vly_port_close(port);
	vly_core_close(core);
	vly_engine_close(engine);
}

/* What the foreign thread found; the test's thread judges. */
struct foreign {
	struct vly_port *port;
	unsigned received;
	unsigned faults;
	int last_error;
	uint64_t delay_ns; /* before each post: lets the core fall asleep */
};

static void nap(uint64_t ns)
{
	struct timespec time = {(time_t)(ns / SEC), (long)(ns % SEC)};

	nanosleep(&time, NULL);
}

/* Sends numbers and takes their echoes, as fast as the rings allow. */
static void *ask(void *arg)
{
	struct foreign *foreign = arg;
	unsigned posted = 0;

	while (foreign->received < MESSAGES) {
		const void *data;
		int len;

		while (posted < MESSAGES && !vly_port_post(foreign->port, &posted, sizeof(posted)))
			posted++;
		while ((len = vly_port_take(foreign->port, &data)) >= 0) {
			foreign->faults += len != sizeof(unsigned) ||
					   memcmp(data, &foreign->received, sizeof(unsigned));
			foreign->received++;
		}
		if (foreign->received < MESSAGES && (len = vly_port_wait(foreign->port, -1)) < 0) {
			foreign->last_error = len;
			break;
		}
	}
	return NULL;
}

static void echo_numbers(struct world *w, unsigned core, struct vly_event *event)
{
	/* Those that found the port full, oldest first. */
	struct {
		unsigned first, next;
	} *waiting = w->arg;

	if (event->kind == VLY_MAIL)
		waiting->next++;
	if (event->kind != VLY_MAIL && event->kind != VLY_DRAINED)
		return;
	while (waiting->first < waiting->next &&
	       !vly_port_send(w->core[core], event->aux, &waiting->first, sizeof(unsigned)))
		waiting->first++;
}

Test(port, thousands_of_messages_cross_both_ways_in_order)
{
	struct world w;
	struct foreign foreign = {.port = NULL};
	struct {
		unsigned first, next;
	} waiting = {0, 0};
	pthread_t thread;

	open_core(&w, 16);
	w.tracks.keep_records = false;
	w.arg = &waiting;
	w.on_event = echo_numbers;
	foreign.port = open_port(&w);
	check_eq(pthread_create(&thread, NULL, ask, &foreign), 0);
	while (waiting.first < MESSAGES)
		world_poll(&w, 0, -1);
	check_eq(vly_flush(w.core[0]), 0);
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(foreign.last_error, 0);
	check_eq(foreign.received, MESSAGES);
	check_eq(foreign.faults, 0);
	vly_port_close(foreign.port);
	world_close(&w);
}

static void *post_slowly(void *arg)
{
	struct foreign *foreign = arg;

	for (unsigned i = 0; i < 20; i++) {
		nap(foreign->delay_ns);
		foreign->faults += vly_port_post(foreign->port, &i, sizeof(i)) != 0;
	}
	return NULL;
}

Test(port, post_wakes_a_core_that_sleeps_for_ever)
{
	struct world w;
	struct foreign foreign = {.delay_ns = 2 * MSEC};
	pthread_t thread;

	open_core(&w, 64);
	foreign.port = open_port(&w);
	check_eq(pthread_create(&thread, NULL, post_slowly, &foreign), 0);
	while (w.tracks.count[VLY_MAIL] < 20)
		world_poll(&w, 0, -1);
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(foreign.faults, 0);
	vly_port_close(foreign.port);
	world_close(&w);
}

static void *take_some(void *arg)
{
	struct foreign *foreign = arg;

	while (foreign->received < 20) {
		const void *data;

		if (vly_port_wait(foreign->port, -1) != 1)
			foreign->faults++;
		while (vly_port_take(foreign->port, &data) >= 0)
			foreign->received++;
	}
	return NULL;
}

Test(port, send_wakes_a_foreign_thread_that_waits_for_ever)
{
	struct world w;
	struct foreign foreign = {.port = NULL};
	pthread_t thread;

	open_core(&w, 64);
	foreign.port = open_port(&w);
	check_eq(pthread_create(&thread, NULL, take_some, &foreign), 0);
	for (unsigned i = 0; i < 20; i++) {
		nap(2 * MSEC);
		check_eq(vly_port_send(w.core[0], vly_port_index(foreign.port), &i, sizeof(i)), 0);
		world_poll(&w, 0, 0);
	}
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(foreign.faults, 0);
	check_eq(foreign.received, 20);
	vly_port_close(foreign.port);
	world_close(&w);
}

Test(port, descriptor_polls_readable_when_there_is_something)
{
	struct world w;
	struct vly_port *port;
	struct pollfd pollfd = {.events = POLLIN};
	const void *data;

	open_core(&w, 8);
	port = open_port(&w);
	pollfd.fd = vly_port_fd(port);
	check_at_least(pollfd.fd, 0);
	for (int i = 0; i < 20; i++) {
		check_eq(vly_port_wait(port, 0), 0);
		check_eq(poll(&pollfd, 1, 0), 0);
		check_eq(vly_port_send(w.core[0], vly_port_index(port), "x", 1), 0);
		world_poll(&w, 0, 0);
		check_eq(poll(&pollfd, 1, 20000), 1);
		check_eq(vly_port_wait(port, 0), 1);
		check_eq(vly_port_take(port, &data), 1);
		check_eq(vly_port_take(port, &data), -EAGAIN);
	}
	vly_port_close(port);
	world_close(&w);
}
