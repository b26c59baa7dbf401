/* test_batch.c - closing inside a batch blanks DATA, EOF and DRAINED, not SENT and CLOSED */
#include "tests/contract/harness.h"

TestSuite(batch, .fini = vly_leak_gate, .timeout = 120);

/*
 * One attempt: in the first batch of SERVER that has `least` events of `victim` to blank, `end` it
 * at the first of them.
 */
struct strike {
	vly_conn victim;
	/* 0: the victim itself; else the event of another connection, before the victim's */
	vly_conn trigger;
	int (*end)(struct vly_core *core, vly_conn conn);
	int least;
	bool done;
	int blanked;
};

static bool may_be_blanked(const struct vly_event *event)
{
	return event->kind == VLY_DATA || event->kind == VLY_EOF || event->kind == VLY_DRAINED;
}

static int blankable(const struct vly_event *events, int from, int count, vly_conn conn)
{
	int found = 0;

	for (int i = from; i < count; i++)
		found += events[i].conn == conn && may_be_blanked(&events[i]);
	return found;
}

static void strike_batch(struct world *w, unsigned core, struct vly_event *events, int count)
{
	struct strike *strike = w->arg;
	vly_conn trigger = strike->trigger ? strike->trigger : strike->victim;
	struct vly_event copy[256];
	int at = 0;

	if (core != SERVER || strike->done)
		return;
	while (at < count && (events[at].conn != trigger || !may_be_blanked(&events[at])))
		at++;
	if (at == count || blankable(events, at + 1, count, strike->victim) < strike->least)
		return;
	cr_assert(count <= 256);
	memcpy(copy, events, (size_t)count * sizeof(*events));
	check_eq(strike->end(w->core[core], strike->victim), 0);
	strike->done = true;
	for (int i = 0; i < count; i++) {
		if (i > at && copy[i].conn == strike->victim && may_be_blanked(&copy[i])) {
			check_eq(events[i].kind, VLY_NONE);
			strike->blanked++;
		} else if (copy[i].conn != strike->victim || !may_be_blanked(&copy[i])) {
			cr_assert(!memcmp(&events[i], &copy[i], sizeof(copy[i])),
				  "event %d of another kind or connection was touched", i);
		}
	}
}

static void open_with_small_reads(struct world *w, struct link *link)
{
	struct vly_config config;

	world_config(&config, 2);
	config.rx_buf_bytes = 512;
	config.dgram_max = 512;
	config.burst_max = 32;
	world_open_config(w, &config);
	world_listen(w, SERVER, NULL, NULL);
	*link = world_link(w);
}

/* Lets `len` bytes and perhaps a FIN lie ready at SERVER before it polls. */
static void lay_ready(struct world *w, vly_conn conn, uint32_t len, bool fin)
{
	static uint8_t data[16384];

	pattern_fill(data, len, 1, 0);
	check_eq(vly_send(w->core[CLIENT], conn, data, len), 0);
	if (fin)
		check_eq(vly_shutdown(w->core[CLIENT], conn), 0);
	for (int i = 0; i < 20; i++)
		world_poll(w, CLIENT, MSEC / 20);
}

Test(batch, close_blanks_the_later_data_of_its_connection)
{
	struct world w;
	struct link link;
	struct strike strike = {.end = vly_close, .least = 2};

	open_with_small_reads(&w, &link);
	strike.victim = link.server;
	lay_ready(&w, link.client, 8000, false);
	w.on_batch = strike_batch;
	w.arg = &strike;
	pump_until(&w, strike.done);
	check_at_least(strike.blanked, 2);
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.server, VLY_CLOSED));
	check_eq(track_of(&w, link.server)->closed_status, 0);
	check_at_most(got_bytes(&w, link.server), 8000 - 512);
	world_close(&w);
}

Test(batch, abort_blanks_them_too_and_is_followed_by_closed)
{
	struct world w;
	struct link link;
	struct strike strike = {.end = vly_abort, .least = 2};

	open_with_small_reads(&w, &link);
	strike.victim = link.server;
	lay_ready(&w, link.client, 8000, false);
	w.on_batch = strike_batch;
	w.arg = &strike;
	pump_until(&w, strike.done && seen(&w, link.server, VLY_CLOSED));
	check_eq(track_of(&w, link.server)->closed_status, -ECONNABORTED);
	world_close(&w);
}

static void close_at_first_data(struct world *w, unsigned core, struct vly_event *event)
{
	if (core == SERVER && event->kind == VLY_DATA)
		check_eq(vly_close(w->core[core], event->conn), 0);
}

Test(batch, close_blanks_an_eof_behind_the_data)
{
	struct world w;
	struct link link;

	open_with_small_reads(&w, &link);
	w.on_event = close_at_first_data;
	for (int i = 0; i < 50; i++) {
		link = world_link(&w);
		lay_ready(&w, link.client, 5, true);
		pump_until(&w, seen(&w, link.server, VLY_CLOSED));
		check_eq(track_of(&w, link.server)->closed_status, 0);
		check_eq(seen(&w, link.server, VLY_DATA), 1);
		check_eq(seen(&w, link.server, VLY_EOF), 0);
		check_eq(vly_close(w.core[CLIENT], link.client), 0);
		pump_until(&w, seen(&w, link.client, VLY_CLOSED));
	}
	world_close(&w);
}

Test(batch, close_of_another_connection_blanks_only_that_ones_events)
{
	struct world w;
	struct link link[3];
	struct strike strike = {.end = vly_close, .least = 1};

	open_with_small_reads(&w, &link[0]);
	link[1] = world_link(&w);
	link[2] = world_link(&w);
	w.on_batch = strike_batch;
	w.arg = &strike;
	/*
	 * Which of the two comes first in a batch is the nic's business: one of the two orders
	 * strikes.
	 */
	for (int i = 0; i < 20 && !strike.done; i++) {
		strike.victim = link[i % 2].server;
		strike.trigger = link[!(i % 2)].server;
		for (int j = 0; j < 3; j++)
			lay_ready(&w, link[j].client, 1000, false);
		world_quiet(&w);
	}
	cr_assert(strike.done);
	check_at_least(strike.blanked, 1);
	world_send(&w, CLIENT, link[2].client, "untouched", 9);
	world_quiet(&w);
	check_eq(got_bytes(&w, link[2].server) % 1000, 9);
	world_close(&w);
}

/* Of a batch, in which a nic may well show 16 of 40 that have something. */
#define EVERYONE 12

/* In every batch: the first event of a connection closes all connections seen in it. */
static void close_everyone(struct world *w, unsigned core, struct vly_event *events, int count)
{
	bool *armed = w->arg;
	vly_conn victims[256];
	int victims_count = 0;

	if (core != SERVER || !*armed || count < EVERYONE)
		return;
	for (int i = 0; i < count; i++)
		if (events[i].kind == VLY_DATA)
			victims[victims_count++] = events[i].conn;
	for (int i = 0; i < victims_count; i++)
		(void)vly_close(w->core[core], victims[i]);
	for (int i = 0; i < count; i++)
		cr_assert(!may_be_blanked(&events[i]), "event %d of kind %d survived", i,
			  events[i].kind);
	*armed = false;
}

Test(batch, close_of_everyone_leaves_nothing_but_none)
{
	struct world w;
	struct link link[40];
	bool armed = true;

	open_with_small_reads(&w, &link[0]);
	for (int i = 1; i < 40; i++)
		link[i] = world_link(&w);
	for (int i = 0; i < 40; i++)
		check_eq(vly_send(w.core[CLIENT], link[i].client, "data", 4), 0);
	for (int i = 0; i < 20; i++)
		world_poll(&w, CLIENT, MSEC / 10);
	w.on_batch = close_everyone;
	w.arg = &armed;
	pump_until(&w, !armed);
	check_at_least(w.tracks.count[VLY_NONE], EVERYONE);
	for (int i = 0; i < 40; i++)
		check_eq(vly_close(w.core[CLIENT], link[i].client), 0);
	world_quiet(&w);
	check_eq(w.tracks.count[VLY_CLOSED] / 2 * 2, w.tracks.count[VLY_CLOSED]);
	world_close(&w);
}

/* Closes at the first event of the batch when a SENT of the same connection stands behind it. */
static void close_before_sent(struct world *w, unsigned core, struct vly_event *events, int count)
{
	struct strike *strike = w->arg;
	int first = -1;

	if (core != SERVER || strike->done)
		return;
	for (int i = 0; i < count; i++) {
		if (events[i].conn != strike->victim)
			continue;
		if (first < 0)
			first = i;
		if (events[i].kind != VLY_SENT || first == i)
			continue;
		check_eq(vly_close(w->core[core], strike->victim), 0);
		check_eq(events[i].kind, VLY_SENT);
		strike->done = true;
		return;
	}
	/* SENT first, data behind it: the same from the other side. */
	if (first >= 0 && events[first].kind == VLY_SENT) {
		check_eq(vly_close(w->core[core], strike->victim), 0);
		check_eq(events[first].kind, VLY_SENT);
		strike->done = true;
	}
}

Test(batch, sent_survives_a_close_inside_its_batch)
{
	struct world w;
	struct link link;

	open_with_small_reads(&w, &link);
	for (int i = 0; i < 30; i++) {
		struct strike strike = {.victim = 0};

		link = world_link(&w);
		strike.victim = link.server;
		w.on_batch = close_before_sent;
		w.arg = &strike;
		lay_ready(&w, link.client, 2000, false);
		for (int j = 0; j < 5; j++)
			check_eq(vly_send_owned(w.core[SERVER], link.server, "owned", 5, NULL), 0);
		pump_until(&w, strike.done);
		check_eq(vly_close(w.core[CLIENT], link.client), 0);
		pump_until(&w, seen(&w, link.server, VLY_CLOSED));
		check_eq(seen(&w, link.server, VLY_SENT), 5);
		check_eq(track_of(&w, link.server)->sent_errors, 0);
	}
	world_close(&w);
}

static void close_in_drained_batch(struct world *w, unsigned core, struct vly_event *events,
				   int count)
{
	struct strike *strike = w->arg;

	for (int i = 0; core == CLIENT && !strike->done && i < count; i++) {
		if (events[i].kind != VLY_DRAINED || events[i].conn != strike->victim)
			continue;
		check_eq(vly_close(w->core[core], strike->victim), 0);
		check_eq(events[i].kind, VLY_NONE);
		strike->done = true;
	}
}

Test(batch, close_blanks_a_drained)
{
	static const uint8_t zeros[16384];
	struct world w;
	struct link link;
	struct strike strike = {.victim = 0};

	open_with_small_reads(&w, &link);
	strike.victim = link.client;
	w.on_batch = close_in_drained_batch;
	w.arg = &strike;
	check_eq(vly_send(w.core[CLIENT], link.client, zeros, sizeof(zeros)), 0);
	check_eq(vly_send(w.core[CLIENT], link.client, zeros, 1), -EAGAIN);
	pump_until(&w, strike.done && seen(&w, link.server, VLY_EOF));
	check_eq(seen(&w, link.client, VLY_DRAINED), 0);
	check_eq(got_bytes(&w, link.server), sizeof(zeros));
	world_close(&w);
}

Test(batch, buffers_of_blanked_data_come_home)
{
	struct world w;
	struct link link;
	uint64_t free_bufs;

	open_with_small_reads(&w, &link);
	free_bufs = world_stats(&w, SERVER).rx_bufs_free;
	for (int i = 0; i < 300; i++) {
		struct strike strike = {.end = i % 2 ? vly_close : vly_abort, .least = 1};

		link = world_link(&w);
		strike.victim = link.server;
		w.on_batch = strike_batch;
		w.arg = &strike;
		lay_ready(&w, link.client, 4000, false);
		pump_until(&w, strike.done);
		(void)vly_abort(w.core[CLIENT], link.client);
		pump_until(&w,
			   seen(&w, link.client, VLY_CLOSED) && seen(&w, link.server, VLY_CLOSED));
	}
	w.on_batch = NULL;
	world_quiet(&w);
	check_eq(world_stats(&w, SERVER).rx_bufs_free, free_bufs);
	world_close(&w);
}
