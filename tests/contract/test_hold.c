/* test_hold.c - data outlives its batch only when held, and holding is bounded */
#include "tests/contract/harness.h"

TestSuite(hold, .fini = vly_leak_gate, .timeout = 120);

#define HELD_MAX 1024
#define BOUND_BUFS 8 /* receive buffers of a core whose bound is met */

/* SERVER holds what arrives as long as it may. */
struct pantry {
	struct vly_event held[HELD_MAX];
	unsigned count, most;
	unsigned refused;
	vly_conn only; /* 0: of every connection */
};

static void hold_all(struct world *w, unsigned core, struct vly_event *event)
{
	struct pantry *pantry = w->arg;
	int status;

	if (core != SERVER || (event->kind != VLY_DATA && event->kind != VLY_DGRAM))
		return;
	if (pantry->count == pantry->most || (pantry->only && event->conn != pantry->only))
		return;
	status = vly_hold(w->core[core], event);
	if (status == -ENOBUFS) {
		pantry->refused++;
		return;
	}
	check_eq(status, 0);
	pantry->held[pantry->count++] = *event;
}

static void release_all(struct world *w, struct pantry *pantry)
{
	while (pantry->count)
		check_eq(vly_release(w->core[SERVER], pantry->held[--pantry->count].buf), 0);
}

static void open_pantry(struct world *w, struct pantry *pantry, struct link *link, uint32_t rx_bufs,
			uint32_t hold_slots)
{
	struct vly_config config;

	world_config(&config, 2);
	config.rx_bufs = rx_bufs;
	config.hold_slots = hold_slots;
	config.hold_bytes = 256;
	world_open_config(w, &config);
	world_listen(w, SERVER, NULL, NULL);
	*link = world_link(w);
	w->arg = pantry;
	w->on_event = hold_all;
}

/* Pushes other data through every receive buffer a few times over. */
static void churn(struct world *w, struct link link)
{
	uint64_t before = got_bytes(w, link.server);

	world_send_pattern(w, CLIENT, link.client, 99, 500000);
	pump_until(w, got_bytes(w, link.server) == before + 500000);
}

Test(hold, small_and_large_slices_survive_any_number_of_polls)
{
	static struct pantry pantry;
	struct world w;
	struct link link;
	uint64_t before = 0;

	open_pantry(&w, &pantry, &link, 16, 64);
	for (uint32_t len = 1; len <= 3500; len = len * 2 + 37) {
		pantry.most++;
		world_send_pattern(&w, CLIENT, link.client, 6, len);
		before += len;
		pump_until(&w, got_bytes(&w, link.server) == before);
		churn(&w, link);
		before += 500000;
	}
	check_eq(pantry.count, pantry.most);
	for (unsigned i = 0; i < pantry.count; i++)
		cr_assert(pattern_is(pantry.held[i].data, pantry.held[i].len, 6, 0),
			  "piece %u of %u bytes has changed", i, pantry.held[i].len);
	release_all(&w, &pantry);
	world_close(&w);
}

Test(hold, of_small_slices_never_pins_receive_buffers)
{
	static struct pantry pantry = {.most = HELD_MAX};
	struct world w;
	struct link link;
	uint64_t free_bufs;

	open_pantry(&w, &pantry, &link, 8, 64);
	free_bufs = world_stats(&w, SERVER).rx_bufs_free;
	for (unsigned i = 0; i < 64; i++) {
		uint8_t byte = (uint8_t)i;

		world_send(&w, CLIENT, link.client, &byte, 1);
		pump_until(&w, got_bytes(&w, link.server) == i + 1);
	}
	check_eq(pantry.count, 64);
	world_quiet(&w);
	check_eq(world_stats(&w, SERVER).rx_bufs_free, free_bufs);
	check_eq(world_stats(&w, SERVER).holds_copied, 64);
	check_eq(world_stats(&w, SERVER).holds_pinned, 0);
	for (unsigned i = 0; i < 64; i++)
		check_eq(pantry.held[i].data[0], i);
	release_all(&w, &pantry);
	world_close(&w);
}

/* Receive buffers that have slices held in them; those copied aside have names beyond. */
static unsigned buffers_pinned(const struct pantry *pantry)
{
	bool pinned[BOUND_BUFS] = {false};
	unsigned count = 0;

	for (unsigned i = 0; i < pantry->count; i++) {
		uint32_t name = pantry->held[i].buf;

		if (name >= BOUND_BUFS || pinned[name])
			continue;
		pinned[name] = true;
		count++;
	}
	return count;
}

/* All that is held in one receive buffer. */
static void release_buffer(struct world *w, struct pantry *pantry)
{
	uint32_t name = BOUND_BUFS;
	unsigned kept = 0;

	for (unsigned i = 0; i < pantry->count; i++) {
		if (name == BOUND_BUFS && pantry->held[i].buf < BOUND_BUFS)
			name = pantry->held[i].buf;
		if (pantry->held[i].buf == name)
			check_eq(vly_release(w->core[SERVER], name), 0);
		else
			pantry->held[kept++] = pantry->held[i];
	}
	pantry->count = kept;
}

Test(hold, beyond_the_bound_is_enobufs_and_reception_goes_on)
{
	static struct pantry pantry = {.most = HELD_MAX};
	struct world w;
	struct link link, other;
	uint64_t total = 0;
	unsigned pinned;

	open_pantry(&w, &pantry, &link, BOUND_BUFS, 4);
	other = world_link(&w);
	pantry.only = link.server;
	while (pantry.refused < 20) {
		world_send_pattern(&w, CLIENT, link.client, 1, 4000);
		total += 4000;
		pump_until(&w, got_bytes(&w, link.server) == total);
		cr_assert(total < 10000000, "nothing is ever refused");
	}
	pinned = buffers_pinned(&pantry);
	check_at_least(pinned, 1);
	/* Slices, and buffers: over frames one of those may have several pieces. */
	check_at_most(pantry.count, harness_nic_is("inet") ? 8 * 4 + 4 : 8 + 4);
	check_at_least(world_stats(&w, SERVER).holds_refused, 20);
	churn(&w, other);
	churn(&w, link);
	check_eq(buffers_pinned(&pantry), pinned);
	/* One that is released makes room for exactly the next. */
	release_buffer(&w, &pantry);
	check_eq(buffers_pinned(&pantry), pinned - 1);
	churn(&w, link);
	check_eq(buffers_pinned(&pantry), pinned);
	release_all(&w, &pantry);
	world_close(&w);
}

Test(hold, of_slices_beyond_the_slab_is_bounded_too)
{
	static struct pantry pantry = {.most = HELD_MAX};
	struct world w;
	struct link link;
	uint64_t total = 0;

	open_pantry(&w, &pantry, &link, 8, 4);
	while (pantry.refused < 20) {
		world_send(&w, CLIENT, link.client, "tiny", 4);
		total += 4;
		pump_until(&w, got_bytes(&w, link.server) == total);
		cr_assert(total < 100000, "nothing is ever refused");
	}
	check_at_least(pantry.count, 4);
	/* Slices, and buffers: over frames one of those may have several pieces. */
	check_at_most(pantry.count, harness_nic_is("inet") ? 8 * 4 + 4 : 8 + 4);
	churn(&w, link);
	for (unsigned i = 0; i < pantry.count; i++)
		cr_assert(!memcmp(pantry.held[i].data, "tiny", 4));
	release_all(&w, &pantry);
	world_close(&w);
}

Test(hold, by_a_slow_consumer_never_starves_its_own_or_other_reception)
{
	static struct pantry pantry = {.most = HELD_MAX};
	struct world w;
	struct link link, other;

	/* The fewest receive buffers that a config allows. */
	open_pantry(&w, &pantry, &link, 4, 1);
	other = world_link(&w);
	world_send_pattern(&w, CLIENT, link.client, 1, 100000);
	pump_until(&w, got_bytes(&w, link.server) == 100000);
	churn(&w, other);
	check_at_least(pantry.refused, 1);
	release_all(&w, &pantry);
	world_close(&w);
}

static void hold_what_has_no_data(struct world *w, unsigned core, struct vly_event *event)
{
	if (core == SERVER && event->kind != VLY_DATA && event->kind != VLY_DGRAM)
		check_eq(vly_hold(w->core[core], event), -EINVAL);
}

Test(hold, of_an_event_without_data_is_einval)
{
	struct world w;
	struct link link;
	vly_timer timer;

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	w.on_event = hold_what_has_no_data;
	link = world_link(&w);
	check_eq(vly_timer_start(w.core[SERVER], 0, NULL, &timer), 0);
	check_eq(vly_mail(w.core[CLIENT], SERVER, "mail", 4), 0);
	check_eq(vly_send_owned(w.core[SERVER], link.server, "x", 1, NULL), 0);
	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF) && w.tracks.count[VLY_MAIL] &&
			       w.tracks.count[VLY_TIMER] && w.tracks.count[VLY_SENT]);
	check_eq(vly_close(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.server, VLY_CLOSED));
	world_close(&w);
}

Test(hold, release_of_what_is_not_held_is_einval)
{
	static struct pantry pantry = {.most = 2};
	struct world w;
	struct link link;

	open_pantry(&w, &pantry, &link, 16, 16);
	check_eq(vly_release(w.core[SERVER], 0), -EINVAL);
	check_eq(vly_release(w.core[SERVER], 7), -EINVAL);
	check_eq(vly_release(w.core[SERVER], 100000), -EINVAL);
	check_eq(vly_release(w.core[SERVER], UINT32_MAX), -EINVAL);
	check_eq(vly_release(w.core[SERVER], 1u << 31), -EINVAL);
	world_send(&w, CLIENT, link.client, "small", 5);
	pump_until(&w, pantry.count == 1);
	world_send_pattern(&w, CLIENT, link.client, 1, 3000);
	pump_until(&w, pantry.count == 2);
	for (int i = 0; i < 2; i++) {
		check_eq(vly_release(w.core[SERVER], pantry.held[i].buf), 0);
		check_eq(vly_release(w.core[SERVER], pantry.held[i].buf), -EINVAL);
	}
	pump_until(&w, got_bytes(&w, link.server) == 3005);
	world_close(&w);
}

static void release_unheld(struct world *w, unsigned core, struct vly_event *event)
{
	if (core == SERVER && event->kind == VLY_DATA)
		check_eq(vly_release(w->core[core], event->buf), -EINVAL);
}

Test(hold, release_of_an_event_that_nobody_holds_is_einval)
{
	struct world w;
	struct link link = world_open_link(&w);

	w.on_event = release_unheld;
	world_send_pattern(&w, CLIENT, link.client, 5, 100000);
	pump_until(&w, got_bytes(&w, link.server) == 100000);
	cr_assert(got_pattern(&w, link.server, 5, 100000));
	world_close(&w);
}

static void hold_and_release(struct world *w, unsigned core, struct vly_event *event)
{
	if (core != SERVER || event->kind != VLY_DATA)
		return;
	check_eq(vly_hold(w->core[core], event), 0);
	check_eq(vly_release(w->core[core], event->buf), 0);
}

Test(hold, and_release_in_one_batch_a_thousand_times_leaks_nothing)
{
	struct world w;
	struct link link = world_open_link(&w);
	uint64_t free_bufs = world_stats(&w, SERVER).rx_bufs_free;

	w.on_event = hold_and_release;
	for (unsigned i = 1; i <= 1000; i++) {
		world_send_pattern(&w, CLIENT, link.client, i, i % 2 ? 100 : 2000);
		world_round(&w);
	}
	pump_until(&w, got_bytes(&w, link.server) == 500 * 2100);
	world_quiet(&w);
	check_eq(world_stats(&w, SERVER).rx_bufs_free, free_bufs);
	world_close(&w);
}

Test(hold, outlives_the_connection)
{
	static struct pantry pantry = {.most = 2};
	struct world w;
	struct link link, other;

	open_pantry(&w, &pantry, &link, 16, 16);
	other = world_link(&w);
	world_send_pattern(&w, CLIENT, link.client, 6, 50);
	pump_until(&w, pantry.count == 1);
	world_send_pattern(&w, CLIENT, link.client, 7, 3000);
	pump_until(&w, pantry.count == 2);
	check_eq(vly_abort(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.server, VLY_CLOSED));
	churn(&w, other);
	cr_assert(pattern_is(pantry.held[0].data, pantry.held[0].len, 6, 0));
	cr_assert(pattern_is(pantry.held[1].data, pantry.held[1].len, 7, 0));
	release_all(&w, &pantry);
	world_close(&w);
}

Test(hold, of_a_datagram_keeps_its_sender)
{
	static struct pantry pantry = {.most = 2};
	struct world w;
	struct vly_addr any, to, from, local;
	vly_conn server, client;
	const uint32_t lens[2] = {10, 1500};
	uint8_t data[1500];

	world_open(&w);
	w.arg = &pantry;
	w.on_event = hold_all;
	any = world_addr(&w, SERVER);
	check_eq(vly_udp_open(w.core[SERVER], &any, NULL, &server), 0);
	any = world_addr(&w, CLIENT);
	check_eq(vly_udp_open(w.core[CLIENT], &any, NULL, &client), 0);
	check_eq(vly_name(w.core[SERVER], server, &to, NULL), 0);
	check_eq(vly_name(w.core[CLIENT], client, &local, NULL), 0);
	for (int i = 0; i < 2; i++) {
		pattern_fill(data, sizeof(data), i, 0);
		check_eq(vly_sendto(w.core[CLIENT], client, &to, data, lens[i]), 0);
		pump_until(&w, pantry.count == i + 1u);
	}
	for (int i = 0; i < 500; i++) {
		check_eq(vly_sendto(w.core[CLIENT], client, &to, "noise", 5), 0);
		world_round(&w);
	}
	for (int i = 0; i < 2; i++) {
		from = *vly_event_addr(&pantry.held[i]);
		check_eq(from.port, local.port);
		cr_assert(vly_addr_equal(&from, &local));
		check_eq(pantry.held[i].len, lens[i]);
		cr_assert(pattern_is(pantry.held[i].data, lens[i], i, 0));
	}
	release_all(&w, &pantry);
	world_close(&w);
}
