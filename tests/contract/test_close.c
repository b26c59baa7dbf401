/* test_close.c - orderly close, its time-out, abort: one CLOSED, after everything else */
#include "tests/contract/harness.h"

TestSuite(close, .fini = vly_leak_gate, .timeout = 120);

static void close_on_eof(struct world *w, unsigned core, struct vly_event *event)
{
	if (event->kind == VLY_EOF)
		check_eq(vly_close(w->core[core], event->conn), 0);
}

static void open_link_timeout(struct world *w, struct link *link, uint64_t close_timeout_ns)
{
	struct vly_config config;

	world_config(&config, 2);
	config.close_timeout_ns = close_timeout_ns;
	world_open_config(w, &config);
	world_listen(w, SERVER, NULL, NULL);
	*link = world_link(w);
}

static void both_closed_0(struct world *w, struct link link)
{
	pump_until(w, seen(w, link.client, VLY_CLOSED) && seen(w, link.server, VLY_CLOSED));
	check_eq(track_of(w, link.client)->closed_status, 0);
	check_eq(track_of(w, link.server)->closed_status, 0);
	world_quiet(w);
	check_eq(seen(w, link.client, VLY_CLOSED), 1);
	check_eq(seen(w, link.server, VLY_CLOSED), 1);
}

Test(close, of_both_ends_is_one_closed_0_each)
{
	struct world w;
	struct link link = world_open_link(&w);

	w.on_event = close_on_eof;
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	both_closed_0(&w, link);
	check_eq(seen(&w, link.server, VLY_EOF), 1);
	check_eq(world_stats(&w, CLIENT).conns, 0);
	world_close(&w);
}

Test(close, at_the_same_time_from_both_ends_is_orderly)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	check_eq(vly_close(w.core[SERVER], link.server), 0);
	both_closed_0(&w, link);
	world_close(&w);
}

Test(close, sends_everything_accepted_first)
{
	static uint8_t data[16000];
	struct world w;
	struct link link = world_open_link(&w);

	w.on_event = close_on_eof;
	pattern_fill(data, sizeof(data), 11, 0);
	check_eq(vly_send(w.core[CLIENT], link.client, data, sizeof(data)), 0);
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	both_closed_0(&w, link);
	cr_assert(got_pattern(&w, link.server, 11, sizeof(data)));
	world_close(&w);
}

Test(close, with_megabytes_in_flight_delivers_all_of_them)
{
	struct world w;
	struct link link = world_open_link(&w);
	uint64_t total = 0;
	uint8_t data[1000];
	int idle = 0;

	check_eq(vly_pause(w.core[SERVER], link.server), 0);
	while (idle < 20) {
		pattern_fill(data, sizeof(data), 12, total);
		if (vly_send(w.core[CLIENT], link.client, data, sizeof(data)) == -EAGAIN)
			idle = world_round(&w) ? 0 : idle + 1;
		else
			total += sizeof(data);
	}
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	world_quiet(&w);
	check_eq(seen(&w, link.client, VLY_CLOSED), 0);
	w.on_event = close_on_eof;
	check_eq(vly_resume(w.core[SERVER], link.server), 0);
	both_closed_0(&w, link);
	cr_assert(got_pattern(&w, link.server, 12, total));
	world_close(&w);
}

Test(close, discards_input_without_an_event_and_without_a_reset)
{
	struct world w;
	struct link link = world_open_link(&w);

	world_send(&w, CLIENT, link.client, "last words", 10);
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF));
	/* The peer has not noticed and talks on. */
	world_send_pattern(&w, SERVER, link.server, 1, 1 << 20);
	check_eq(vly_close(w.core[SERVER], link.server), 0);
	both_closed_0(&w, link);
	check_eq(seen(&w, link.client, VLY_DATA), 0);
	check_eq(seen(&w, link.client, VLY_EOF), 0);
	cr_assert(got_text(&w, link.server, "last words"));
	world_close(&w);
}

Test(close, with_unread_input_does_not_reset_the_peer)
{
	struct world w;
	struct link link = world_open_link(&w);

	/* Lies unread in the client's socket when it closes. */
	world_send_pattern(&w, SERVER, link.server, 1, 10000);
	check_eq(vly_flush(w.core[SERVER]), 0);
	check_eq(vly_send(w.core[CLIENT], link.client, "answer", 6), 0);
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	w.on_event = close_on_eof;
	both_closed_0(&w, link);
	cr_assert(got_text(&w, link.server, "answer"));
	world_close(&w);
}

Test(close, of_a_paused_connection_is_orderly)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_pause(w.core[CLIENT], link.client), 0);
	world_send_pattern(&w, SERVER, link.server, 1, 10000);
	world_quiet(&w);
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	w.on_event = close_on_eof;
	both_closed_0(&w, link);
	check_eq(seen(&w, link.client, VLY_DATA), 0);
	world_close(&w);
}

Test(close, after_the_peers_eof_needs_nothing_more_of_it)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF));
	check_eq(vly_send(w.core[SERVER], link.server, "bye", 3), 0);
	check_eq(vly_close(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.server, VLY_CLOSED));
	check_eq(track_of(&w, link.server)->closed_status, 0);
	pump_until(&w, seen(&w, link.client, VLY_EOF));
	cr_assert(got_text(&w, link.client, "bye"));
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	both_closed_0(&w, link);
	world_close(&w);
}

Test(close, that_the_peer_ignores_is_reset_at_the_timeout)
{
	struct world w;
	struct link link;
	uint64_t start;

	open_link_timeout(&w, &link, 60 * MSEC);
	start = vly_now_ns();
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED));
	check_eq(track_of(&w, link.client)->closed_status, -ETIMEDOUT);
	check_at_least(vly_now_ns() - start, 60 * MSEC);
	check_eq(seen(&w, link.server, VLY_EOF), 1);
	pump_until(&w, seen(&w, link.server, VLY_CLOSED));
	check_eq(track_of(&w, link.server)->closed_status, -ECONNRESET);
	check_eq(world_stats(&w, CLIENT).conns, 0);
	world_close(&w);
}

Test(close, to_a_peer_that_does_not_read_times_out)
{
	struct world w;
	struct link link;
	static const uint8_t zeros[1000];
	int idle = 0;

	open_link_timeout(&w, &link, 60 * MSEC);
	check_eq(vly_pause(w.core[SERVER], link.server), 0);
	while (idle < 20)
		if (vly_send(w.core[CLIENT], link.client, zeros, sizeof(zeros)) == -EAGAIN)
			idle = world_round(&w) ? 0 : idle + 1;
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED));
	check_eq(track_of(&w, link.client)->closed_status, -ETIMEDOUT);
	world_quiet(&w);
	check_eq(world_stats(&w, CLIENT).tx_bufs_free, world_stats(&w, SERVER).tx_bufs_free);
	world_close(&w);
}

Test(close, timeout_of_one_does_not_wait_for_traffic_of_others)
{
	struct world w;
	struct link link;
	uint64_t end = vly_now_ns() + PATIENCE_NS;

	open_link_timeout(&w, &link, 60 * MSEC);
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	/* A core that sleeps for ever wakes for it. */
	while (!seen(&w, link.client, VLY_CLOSED)) {
		world_poll(&w, CLIENT, -1);
		cr_assert(vly_now_ns() < end);
	}
	world_close(&w);
}

Test(close, by_abort_is_econnaborted_here_and_econnreset_there)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_abort(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED) && seen(&w, link.server, VLY_CLOSED));
	check_eq(track_of(&w, link.client)->closed_status, -ECONNABORTED);
	check_eq(track_of(&w, link.server)->closed_status, -ECONNRESET);
	world_quiet(&w);
	check_eq(seen(&w, link.client, VLY_CLOSED), 1);
	check_eq(seen(&w, link.server, VLY_CLOSED), 1);
	check_eq(world_stats(&w, SERVER).closed_error, 1);
	world_close(&w);
}

Test(close, by_abort_drops_what_is_queued)
{
	struct world w;
	struct link link = world_open_link(&w);
	uint64_t free_bufs = world_stats(&w, CLIENT).tx_bufs_free;

	check_eq(vly_send(w.core[CLIENT], link.client, "never", 5), 0);
	check_eq(vly_abort(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED) && seen(&w, link.server, VLY_CLOSED));
	check_eq(got_bytes(&w, link.server), 0);
	check_eq(world_stats(&w, CLIENT).tx_bufs_free, free_bufs);
	world_close(&w);
}

Test(close, twice_is_one_closed)
{
	struct world w;
	struct link link = world_open_link(&w);
	int status;

	w.on_event = close_on_eof;
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	status = vly_close(w.core[CLIENT], link.client);
	cr_assert(status == 0 || status == -ENOTCONN, "it returned %d", status);
	world_round(&w);
	status = vly_close(w.core[CLIENT], link.client);
	cr_assert(status == 0 || status == -ENOTCONN, "it returned %d", status);
	both_closed_0(&w, link);
	check_eq(vly_close(w.core[CLIENT], link.client), -ENOTCONN);
	world_close(&w);
}

Test(close, may_be_cut_short_by_abort)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF));
	check_eq(vly_abort(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED) && seen(&w, link.server, VLY_CLOSED));
	check_eq(track_of(&w, link.client)->closed_status, -ECONNABORTED);
	world_quiet(&w);
	check_eq(seen(&w, link.client, VLY_CLOSED), 1);
	world_close(&w);
}

static void close_in_open(struct world *w, unsigned core, struct vly_event *event)
{
	if (event->kind == VLY_OPEN && core == SERVER)
		check_eq(vly_close(w->core[core], event->conn), 0);
	if (event->kind == VLY_OPEN && core == CLIENT && event->status == 0)
		check_eq(vly_send(w->core[core], event->conn, "hello", 5), 0);
	if (event->kind == VLY_EOF)
		check_eq(vly_close(w->core[core], event->conn), 0);
}

Test(close, in_the_open_event_is_orderly)
{
	struct world w;
	vly_conn client[50];

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	w.on_event = close_in_open;
	for (int i = 0; i < 50; i++)
		check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &client[i]), 0);
	pump_until(&w, w.tracks.count[VLY_CLOSED] == 100);
	for (int i = 0; i < 50; i++)
		check_eq(track_of(&w, client[i])->closed_status, 0);
	check_eq(w.tracks.count[VLY_DATA], 0);
	check_eq(world_stats(&w, CLIENT).conns, 0);
	check_eq(world_stats(&w, SERVER).conns, 1);
	check_eq(world_stats(&w, SERVER).closed_error, 0);
	world_close(&w);
}

static void abort_in_open(struct world *w, unsigned core, struct vly_event *event)
{
	if (event->kind == VLY_OPEN && core == SERVER)
		check_eq(vly_abort(w->core[core], event->conn), 0);
}

Test(close, by_abort_in_the_open_event_is_allowed)
{
	struct world w;
	vly_conn client;

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	w.on_event = abort_in_open;
	for (int i = 0; i < 20; i++) {
		check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &client), 0);
		pump_until(&w, seen(&w, client, VLY_OPEN) && (track_of(&w, client)->open_status ||
							      seen(&w, client, VLY_CLOSED)));
	}
	world_quiet(&w);
	check_eq(world_stats(&w, SERVER).accepted, 20);
	check_eq(world_stats(&w, SERVER).closed, 20);
	check_eq(world_stats(&w, CLIENT).conns, 0);
	world_close(&w);
}

Test(close, of_a_core_resets_what_is_still_connected_without_events)
{
	struct world server, client;
	struct vly_config config;
	vly_conn conn;

	need_one_network();
	world_config(&config, 1);
	world_open_config(&server, &config);
	world_open_config(&client, &config);
	client.next = &server;
	world_listen(&server, 0, NULL, NULL);
	check_eq(vly_connect(client.core[0], &server.addr, NULL, NULL, &conn), 0);
	pump_until(&client, seen(&client, conn, VLY_OPEN) && server.accepted);
	check_eq(vly_send_owned(server.core[0], server.accepted, "borrowed", 8, NULL), 0);
	client.next = NULL;
	world_close(&server);
	pump_until(&client, seen(&client, conn, VLY_CLOSED));
	check_eq(track_of(&client, conn)->closed_status, -ECONNRESET);
	world_close(&client);
}

Test(close, leaves_no_slot_behind_after_a_thousand_of_all_kinds)
{
	struct world w;
	struct link link;

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	w.on_event = close_on_eof;
	for (int i = 0; i < 1000; i++) {
		link = world_link(&w);
		world_send(&w, CLIENT, link.client, "hello", 5);
		if (i % 4 == 0)
			(void)vly_abort(w.core[SERVER], link.server);
		else if (i % 4 == 1)
			(void)vly_abort(w.core[CLIENT], link.client);
		else if (i % 4 == 2)
			(void)vly_close(w.core[SERVER], link.server);
		else
			(void)vly_close(w.core[CLIENT], link.client);
		pump_until(&w,
			   seen(&w, link.client, VLY_CLOSED) && seen(&w, link.server, VLY_CLOSED));
	}
	check_eq(world_stats(&w, CLIENT).conns, 0);
	check_eq(world_stats(&w, SERVER).conns, 1);
	check_eq(world_stats(&w, SERVER).rx_bufs_free, world_stats(&w, CLIENT).rx_bufs_free);
	world_close(&w);
}
