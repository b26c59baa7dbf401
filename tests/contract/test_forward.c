/* test_forward.c - vly_send_event sends received buffers on and never starves reception */
#include "tests/contract/harness.h"

TestSuite(forward, .fini = vly_leak_gate, .timeout = 120);

/* Where SERVER sends what it receives, and what it makes of refusals. */
struct route {
	vly_conn to[4];
	unsigned count;
	uint64_t forwarded, refused;
};

static void forward(struct world *w, unsigned core, struct vly_event *event)
{
	struct route *route = w->arg;

	if (core != SERVER || event->kind != VLY_DATA)
		return;
	for (unsigned i = 0; i < route->count; i++) {
		vly_conn to = route->to[i] ? route->to[i] : event->conn;
		int status = vly_send_event(w->core[core], to, event);

		if (status == -EAGAIN) {
			route->refused++;
			continue;
		}
		check_eq(status, 0);
		route->forwarded += event->len;
	}
}

Test(forward, echoes_what_was_received)
{
	struct world w;
	struct link link = world_open_link(&w);
	struct route route = {.count = 1};
	uint64_t free_bufs = world_stats(&w, SERVER).rx_bufs_free;
	uint64_t free_tx = world_stats(&w, SERVER).tx_bufs_free;

	w.arg = &route;
	w.on_event = forward;
	for (uint32_t len = 1; len < 16000; len = len * 3 + 1) {
		uint64_t before = got_bytes(&w, link.client);

		world_send_pattern(&w, CLIENT, link.client, len, len);
		pump_until(&w, got_bytes(&w, link.client) == before + len);
		cr_assert(pattern_is(track_of(&w, link.client)->data + before, len, len, 0));
	}
	check_eq(route.refused, 0);
	world_quiet(&w);
	check_eq(world_stats(&w, SERVER).rx_bufs_free, free_bufs);
	check_eq(world_stats(&w, SERVER).tx_bufs_free, free_tx);
	check_eq(w.tracks.count[VLY_SENT], 0);
	world_close(&w);
}

Test(forward, fans_one_event_out_to_many_connections)
{
	struct world w;
	struct link from = world_open_link(&w), to[3];
	struct route route = {.count = 4};

	route.to[3] = from.server;
	for (int i = 0; i < 3; i++) {
		to[i] = world_link(&w);
		route.to[i] = to[i].server;
	}
	w.arg = &route;
	w.on_event = forward;
	world_send_pattern(&w, CLIENT, from.client, 5, 8000);
	pump_until(&w, got_bytes(&w, from.client) == 8000);
	cr_assert(got_pattern(&w, from.client, 5, 8000));
	for (int i = 0; i < 3; i++) {
		pump_until(&w, got_bytes(&w, to[i].client) == 8000);
		cr_assert(got_pattern(&w, to[i].client, 5, 8000));
	}
	world_close(&w);
}

/* What SERVER has sent in all, as its receiver must see it. */
struct transcript {
	uint8_t bytes[100000];
	size_t len;
};

static void note(struct transcript *transcript, const void *data, size_t len)
{
	cr_assert(transcript->len + len <= sizeof(transcript->bytes));
	memcpy(transcript->bytes + transcript->len, data, len);
	transcript->len += len;
}

static void wrap_in_copies(struct world *w, unsigned core, struct vly_event *event)
{
	struct transcript *transcript = w->arg;

	if (core != SERVER || event->kind != VLY_DATA)
		return;
	check_eq(vly_send(w->core[core], event->conn, "<", 1), 0);
	check_eq(vly_send_event(w->core[core], event->conn, event), 0);
	check_eq(vly_send_owned(w->core[core], event->conn, "|", 1, NULL), 0);
	check_eq(vly_send_event(w->core[core], event->conn, event), 0);
	check_eq(vly_send(w->core[core], event->conn, ">", 1), 0);
	note(transcript, "<", 1);
	note(transcript, event->data, event->len);
	note(transcript, "|", 1);
	note(transcript, event->data, event->len);
	note(transcript, ">", 1);
}

Test(forward, keeps_its_place_among_other_sends)
{
	static struct transcript transcript;
	struct world w;
	struct link link = world_open_link(&w);
	uint64_t total = 0;

	w.on_event = wrap_in_copies;
	w.arg = &transcript;
	for (uint32_t len = 1; len <= 4000; len = len * 2 + 1) {
		total += len;
		world_send_pattern(&w, CLIENT, link.client, len, len);
		pump_until(&w, got_bytes(&w, link.server) == total);
		pump_until(&w, got_bytes(&w, link.client) == transcript.len);
	}
	cr_assert(!memcmp(track_of(&w, link.client)->data, transcript.bytes, transcript.len));
	world_close(&w);
}

/* Each kind of event but DATA and DGRAM. */
static void must_not_forward(struct world *w, unsigned core, struct vly_event *event)
{
	vly_conn *conn = w->arg;

	if (core == SERVER && event->kind != VLY_DATA && event->kind != VLY_DGRAM)
		check_eq(vly_send_event(w->core[core], *conn, event), -EINVAL);
}

Test(forward, of_an_event_without_data_is_einval)
{
	struct world w;
	struct link link = world_open_link(&w), other = world_link(&w);
	vly_timer timer;

	w.on_event = must_not_forward;
	w.arg = &link.server;
	check_eq(vly_timer_start(w.core[SERVER], 0, NULL, &timer), 0);
	check_eq(vly_mail(w.core[CLIENT], SERVER, "mail", 4), 0);
	check_eq(vly_send_owned(w.core[SERVER], other.server, "x", 1, NULL), 0);
	check_eq(vly_shutdown(w.core[CLIENT], other.client), 0);
	pump_until(&w, w.tracks.count[VLY_TIMER] && w.tracks.count[VLY_MAIL] &&
			       seen(&w, other.server, VLY_SENT) && seen(&w, other.server, VLY_EOF));
	world_link(&w);
	world_quiet(&w);
	check_eq(got_bytes(&w, link.client), 0);
	world_close(&w);
}

static void hold_one(struct world *w, unsigned core, struct vly_event *event)
{
	struct vly_event *held = w->arg;

	if (core == SERVER && event->kind == VLY_DATA && !held->data) {
		check_eq(vly_hold(w->core[core], event), 0);
		*held = *event;
	}
}

Test(forward, of_a_held_event_works_batches_later)
{
	const uint32_t lens[] = {16, 4000};
	struct world w;
	struct link link = world_open_link(&w);

	for (int i = 0; i < 2; i++) {
		struct vly_event held = {.data = NULL};
		uint64_t before = got_bytes(&w, link.server), start = got_bytes(&w, link.client);

		w.on_event = hold_one;
		w.arg = &held;
		world_send_pattern(&w, CLIENT, link.client, 9, lens[i]);
		pump_until(&w, got_bytes(&w, link.server) == before + lens[i]);
		w.on_event = NULL;
		for (int j = 0; j < 100; j++)
			world_send_pattern(&w, CLIENT, link.client, 1, 3000);
		pump_until(&w, got_bytes(&w, link.server) == before + lens[i] + 300000);
		check_eq(vly_send_event(w.core[SERVER], link.server, &held), 0);
		/* Released while it still waits to be sent. */
		check_eq(vly_release(w.core[SERVER], held.buf), 0);
		pump_until(&w, got_bytes(&w, link.client) == start + held.len);
		cr_assert(pattern_is(track_of(&w, link.client)->data + start, held.len, 9, 0));
	}
	world_close(&w);
}

Test(forward, to_a_slow_consumer_never_starves_reception)
{
	struct world w;
	struct vly_config config;
	struct link slow, source, other;
	struct route route = {.count = 1};
	uint64_t sent = 0, free_bufs;

	world_config(&config, 2);
	config.rx_bufs = 8;
	world_open_config(&w, &config);
	world_listen(&w, SERVER, NULL, NULL);
	slow = world_link(&w);
	source = world_link(&w);
	other = world_link(&w);
	w.tracks.keep_data = false;
	free_bufs = world_stats(&w, SERVER).rx_bufs_free;
	route.to[0] = slow.server;
	check_eq(vly_pause(w.core[CLIENT], slow.client), 0);
	w.arg = &route;
	w.on_event = forward;
	while (route.refused < 10) {
		world_send_pattern(&w, CLIENT, source.client, 1, 8000);
		sent += 8000;
		world_round(&w);
	}
	pump_until(&w, got_bytes(&w, source.server) == sent);
	w.on_event = NULL;
	/* The slow one's budget is full of received data; everybody else is served. */
	world_send_pattern(&w, CLIENT, other.client, 2, 100000);
	pump_until(&w, got_bytes(&w, other.server) == 100000);
	check_eq(vly_resume(w.core[CLIENT], slow.client), 0);
	pump_until(&w, got_bytes(&w, slow.client) == route.forwarded);
	world_quiet(&w);
	check_eq(world_stats(&w, SERVER).rx_bufs_free, free_bufs);
	world_close(&w);
}

Test(forward, buffers_come_home_when_the_receiver_dies)
{
	struct world w;
	struct link slow = world_open_link(&w), source = world_link(&w);
	uint64_t free_bufs = world_stats(&w, SERVER).rx_bufs_free;
	struct route route = {.count = 1};

	w.tracks.keep_data = false;
	route.to[0] = slow.server;
	check_eq(vly_pause(w.core[CLIENT], slow.client), 0);
	w.arg = &route;
	w.on_event = forward;
	while (!route.refused) {
		world_send_pattern(&w, CLIENT, source.client, 1, 8000);
		world_round(&w);
	}
	world_quiet(&w);
	w.on_event = NULL;
	check_eq(vly_abort(w.core[CLIENT], slow.client), 0);
	pump_until(&w, seen(&w, slow.server, VLY_CLOSED));
	world_quiet(&w);
	check_eq(world_stats(&w, SERVER).rx_bufs_free, free_bufs);
	world_close(&w);
}
