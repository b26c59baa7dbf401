/* test_open.c - listening, accepting, connecting, naming: each opening ends in exactly one OPEN */
#include "tests/contract/harness.h"

TestSuite(open, .fini = vly_leak_gate, .timeout = 120);

/* A port that nobody listens on any more. */
static struct vly_addr deaf_addr(struct world *w)
{
	vly_conn listener = world_listen(w, SERVER, NULL, NULL);

	check_eq(vly_unlisten(w->core[SERVER], listener), 0);
	world_quiet(w);
	return w->addr;
}

Test(open, both_ends_see_one_open_with_status_0)
{
	struct world w;
	struct link link = world_open_link(&w);

	world_quiet(&w);
	check_eq(seen(&w, link.client, VLY_OPEN), 1);
	check_eq(seen(&w, link.server, VLY_OPEN), 1);
	check_eq(track_of(&w, link.server)->open_status, 0);
	check_eq(w.tracks.count[VLY_OPEN], 2);
	check_eq(w.tracks.count[VLY_CLOSED], 0);
	world_close(&w);
}

static void keep_flags(struct world *w, unsigned core, struct vly_event *event)
{
	uint8_t *flags = w->arg;

	if (event->kind == VLY_OPEN)
		flags[core] = event->flags;
}

Test(open, accepted_inherits_the_listeners_user_and_is_flagged)
{
	struct world w;
	vly_conn client;
	uint8_t flags[2] = {0xff, 0xff};
	int mark_listener, mark_client;

	world_open(&w);
	w.on_event = keep_flags;
	w.arg = flags;
	world_listen(&w, SERVER, NULL, &mark_listener);
	check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, &mark_client, &client), 0);
	pump_until(&w, w.accepted && seen(&w, client, VLY_OPEN));
	cr_assert(track_of(&w, w.accepted)->user == &mark_listener);
	cr_assert(track_of(&w, client)->user == &mark_client);
	check_eq(flags[SERVER] & VLY_ACCEPTED, VLY_ACCEPTED);
	check_eq(flags[CLIENT] & VLY_ACCEPTED, 0);
	world_close(&w);
}

static void set_user_in_open(struct world *w, unsigned core, struct vly_event *event)
{
	if (event->kind == VLY_OPEN && core == SERVER)
		world_set_user(w, core, event->conn, w->arg);
}

Test(open, user_set_in_open_is_carried_by_all_that_follows)
{
	struct world w;
	struct link link;
	int mark;

	world_open(&w);
	w.on_event = set_user_in_open;
	w.arg = &mark;
	world_listen(&w, SERVER, NULL, NULL);
	link = world_link(&w);
	world_send(&w, CLIENT, link.client, "hello", 5);
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF));
	check_eq(vly_close(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.server, VLY_CLOSED));
	/* the track itself compares the user of each event */
	cr_assert(track_of(&w, link.server)->user == &mark);
	check_eq(seen(&w, link.server, VLY_DATA), 1);
	world_close(&w);
}

Test(open, refused_connect_is_one_open_with_econnrefused_and_nothing_more)
{
	struct world w;
	struct vly_addr deaf;
	vly_conn conn;
	int mark;

	world_open(&w);
	deaf = deaf_addr(&w);
	check_eq(vly_connect(w.core[CLIENT], &deaf, NULL, &mark, &conn), 0);
	pump_until(&w, seen(&w, conn, VLY_OPEN));
	check_eq(track_of(&w, conn)->open_status, -ECONNREFUSED);
	cr_assert(track_of(&w, conn)->user == &mark);
	world_quiet(&w);
	check_eq(seen(&w, conn, VLY_OPEN), 1);
	check_eq(seen(&w, conn, VLY_CLOSED), 0);
	check_eq(vly_send(w.core[CLIENT], conn, "x", 1), -ENOTCONN);
	check_eq(world_stats(&w, CLIENT).connect_failed, 1);
	world_close(&w);
}

Test(open, close_before_open_makes_it_one_open_with_ecanceled)
{
	struct world w;
	vly_conn conn;
	int mark;

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, &mark, &conn), 0);
	check_eq(vly_close(w.core[CLIENT], conn), 0);
	pump_until(&w, seen(&w, conn, VLY_OPEN));
	check_eq(track_of(&w, conn)->open_status, -ECANCELED);
	cr_assert(track_of(&w, conn)->user == &mark);
	world_quiet(&w);
	check_eq(seen(&w, conn, VLY_OPEN), 1);
	check_eq(seen(&w, conn, VLY_CLOSED), 0);
	world_close(&w);
}

Test(open, abort_before_open_makes_it_one_failed_open)
{
	struct world w;
	vly_conn conn;

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &conn), 0);
	check_eq(vly_abort(w.core[CLIENT], conn), 0);
	world_quiet(&w);
	check_eq(seen(&w, conn, VLY_OPEN), 1);
	check_at_most(track_of(&w, conn)->open_status, -1);
	check_eq(seen(&w, conn, VLY_CLOSED), 0);
	world_close(&w);
}

Test(open, cancelled_connects_give_their_slots_back)
{
	struct world w;
	vly_conn conn;

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	for (int i = 0; i < 500; i++) {
		check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &conn), 0);
		check_eq(vly_close(w.core[CLIENT], conn), 0);
		pump_until(&w, seen(&w, conn, VLY_OPEN));
		if (w.accepted && !seen(&w, w.accepted, VLY_CLOSED))
			(void)vly_abort(w.core[SERVER], w.accepted);
	}
	world_quiet(&w);
	check_eq(world_stats(&w, CLIENT).conns, 0);
	world_close(&w);
}

Test(open, is_the_last_event_of_its_connection_in_the_batch)
{
	struct world w;
	vly_conn client[40];
	uint64_t total = 0;

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	/*
	 * Data is there before the server first polls, so that OPEN and DATA could share a batch.
	 */
	for (int i = 0; i < 40; i++) {
		check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &client[i]), 0);
		world_poll(&w, CLIENT, 0);
	}
	for (int i = 0; i < 200; i++)
		world_poll(&w, CLIENT, 0);
	for (int i = 0; i < 40; i++) {
		if (!seen(&w, client[i], VLY_OPEN))
			continue;
		check_eq(vly_send(w.core[CLIENT], client[i], "early", 5), 0);
		check_eq(vly_shutdown(w.core[CLIENT], client[i]), 0);
		total++;
	}
	world_poll(&w, CLIENT, 0);
	/* tracks_batch() fails on anything beside an OPEN */
	pump_until(&w, w.tracks.count[VLY_EOF] == total && w.tracks.count[VLY_DATA] >= total);
	world_close(&w);
}

static void greet_and_leave(struct world *w, unsigned core, struct vly_event *event)
{
	if (core != SERVER || event->kind != VLY_OPEN)
		return;
	check_eq(vly_send(w->core[core], event->conn, "welcome", 7), 0);
	check_eq(vly_shutdown(w->core[core], event->conn), 0);
}

Test(open, is_the_last_event_of_a_connection_that_is_greeted_at_once_too)
{
	struct world w;
	vly_conn client;

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	w.on_event = greet_and_leave;
	for (int i = 0; i < 20; i++) {
		w.accepted = 0;
		check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &client), 0);
		check_eq(vly_flush(w.core[CLIENT]), 0);
		/* The greeting is there before the client has seen its OPEN. */
		for (int j = 0; j < 1000 && !w.accepted; j++)
			world_poll(&w, SERVER, MSEC / 10);
		world_poll(&w, SERVER, 0);
		pump_until(&w, seen(&w, client, VLY_EOF));
		cr_assert(got_text(&w, client, "welcome"));
	}
	world_close(&w);
}

Test(open, sends_before_open_are_enotconn)
{
	struct world w;
	vly_conn conn;
	struct iovec iov = {(void *)(uintptr_t) "x", 1};

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &conn), 0);
	check_eq(vly_send(w.core[CLIENT], conn, "x", 1), -ENOTCONN);
	check_eq(vly_sendv(w.core[CLIENT], conn, &iov, 1), -ENOTCONN);
	check_eq(vly_send_owned(w.core[CLIENT], conn, "x", 1, NULL), -ENOTCONN);
	check_eq(vly_shutdown(w.core[CLIENT], conn), -ENOTCONN);
	pump_until(&w, seen(&w, conn, VLY_OPEN));
	check_eq(vly_send(w.core[CLIENT], conn, "y", 1), 0);
	pump_until(&w, w.accepted && got_text(&w, w.accepted, "y"));
	check_eq(w.tracks.count[VLY_SENT], 0);
	world_close(&w);
}

Test(open, names_of_the_two_ends_mirror_each_other)
{
	struct world w;
	struct link link = world_open_link(&w);
	struct vly_addr local[2], peer[2];

	check_eq(vly_name(w.core[SERVER], link.server, &local[SERVER], &peer[SERVER]), 0);
	check_eq(vly_name(w.core[CLIENT], link.client, &local[CLIENT], &peer[CLIENT]), 0);
	cr_assert(vly_addr_equal(&local[SERVER], &peer[CLIENT]));
	cr_assert(vly_addr_equal(&local[CLIENT], &peer[SERVER]));
	cr_assert(vly_addr_equal(&local[SERVER], &w.addr));
	cr_assert(local[CLIENT].port != 0);
	check_eq(vly_name(w.core[SERVER], link.server, NULL, NULL), 0);
	world_close(&w);
}

Test(open, port_0_is_named_and_a_listener_has_no_peer)
{
	struct world w;
	struct vly_addr peer;
	vly_conn listener;

	world_open(&w);
	listener = world_listen(&w, SERVER, NULL, NULL);
	cr_assert(w.addr.port != 0);
	check_eq(w.addr.family, VLY_IP4);
	memset(&peer, 0xff, sizeof(peer));
	check_eq(vly_name(w.core[SERVER], listener, NULL, &peer), 0);
	check_eq(peer.family, VLY_NO_FAMILY);
	world_close(&w);
}

Test(open, port_of_another_listener_is_eaddrinuse_unless_both_share_it)
{
	struct world w, other;
	struct vly_config config;
	struct vly_listen_opts share = {.reuse_port = true};
	vly_conn conn;

	need_kernel_sockets();
	world_config(&config, 1);
	world_open_config(&w, &config);
	world_open_config(&other, &config);
	world_listen(&w, 0, NULL, NULL);
	check_eq(vly_listen(other.core[0], &w.addr, NULL, NULL, &conn), -EADDRINUSE);
	check_eq(vly_listen(other.core[0], &w.addr, &share, NULL, &conn), -EADDRINUSE);
	world_listen(&w, 0, &share, NULL);
	check_eq(vly_listen(other.core[0], &w.addr, NULL, NULL, &conn), -EADDRINUSE);
	check_eq(vly_listen(other.core[0], &w.addr, &share, NULL, &conn), 0);
	check_eq(world_stats(&other, 0).conns, 1);
	world_close(&other);
	world_close(&w);
}

Test(open, address_of_another_machine_is_eaddrnotavail)
{
	struct world w;
	struct vly_addr addr = addr_parsed("192.0.2.1:0");
	vly_conn conn;

	world_open(&w);
	check_eq(vly_listen(w.core[SERVER], &addr, NULL, NULL, &conn), -EADDRNOTAVAIL);
	check_eq(world_stats(&w, SERVER).conns, 0);
	world_close(&w);
}

Test(open, unlisten_refuses_newcomers_and_leaves_the_accepted_alone)
{
	struct world w;
	struct link link;
	vly_conn listener, late;

	world_open(&w);
	listener = world_listen(&w, SERVER, NULL, NULL);
	link = world_link(&w);
	check_eq(vly_unlisten(w.core[SERVER], listener), 0);
	check_eq(vly_unlisten(w.core[SERVER], listener), -ENOTCONN);
	check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &late), 0);
	pump_until(&w, seen(&w, late, VLY_OPEN));
	check_eq(track_of(&w, late)->open_status, -ECONNREFUSED);
	world_send(&w, CLIENT, link.client, "still here", 10);
	pump_until(&w, got_text(&w, link.server, "still here"));
	check_eq(seen(&w, listener, VLY_CLOSED), 0);
	check_eq(world_stats(&w, SERVER).conns, 1);
	world_close(&w);
}

Test(open, unlisten_forgets_nobody_who_stood_in_the_backlog)
{
	struct world w;
	vly_conn listener, client[8];
	unsigned refused = 0, closed = 0;

	world_open(&w);
	listener = world_listen(&w, SERVER, NULL, NULL);
	for (int i = 0; i < 8; i++)
		check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &client[i]), 0);
	pump_until(&w, w.accepted);
	check_eq(vly_unlisten(w.core[SERVER], listener), 0);
	world_quiet(&w);
	/* Whoever stood in the backlog was let in or turned away, but not forgotten. */
	for (int i = 0; i < 8; i++) {
		check_eq(seen(&w, client[i], VLY_OPEN), 1);
		refused += track_of(&w, client[i])->open_status < 0;
		closed += seen(&w, client[i], VLY_CLOSED);
	}
	check_eq(world_stats(&w, SERVER).accepted + refused + closed, 8);
	world_close(&w);
}

Test(open, a_listener_is_not_closed_and_a_connection_not_unlistened)
{
	struct world w;
	struct link link;
	vly_conn listener;

	world_open(&w);
	listener = world_listen(&w, SERVER, NULL, NULL);
	link = world_link(&w);
	check_eq(vly_close(w.core[SERVER], listener), -EINVAL);
	check_at_most(vly_unlisten(w.core[SERVER], link.server), -1);
	world_link(&w);
	world_send(&w, CLIENT, link.client, "on", 2);
	pump_until(&w, got_text(&w, link.server, "on"));
	world_close(&w);
}

Test(open, connect_to_nowhere_fails_at_once_and_without_an_event)
{
	struct world w;
	struct vly_addr nowhere;
	vly_conn conn;
	int status;

	world_open(&w);
	memset(&nowhere, 0, sizeof(nowhere));
	status = vly_connect(w.core[CLIENT], &nowhere, NULL, NULL, &conn);
	cr_assert(status == -EAFNOSUPPORT || status == -EINVAL, "it returned %d", status);
	status = vly_listen(w.core[CLIENT], &nowhere, NULL, NULL, &conn);
	cr_assert(status == -EAFNOSUPPORT || status == -EINVAL, "it returned %d", status);
	world_quiet(&w);
	check_eq(w.tracks.count[VLY_OPEN], 0);
	check_eq(world_stats(&w, CLIENT).conns, 0);
	world_close(&w);
}

Test(open, connect_leaves_from_the_given_address_and_port)
{
	struct world w;
	struct vly_addr from = addr_parsed("127.0.0.2:0"), local, peer;
	vly_conn conn;
	int status;

	need_kernel_sockets();
	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	check_eq(vly_connect(w.core[CLIENT], &w.addr, &from, NULL, &conn), 0);
	pump_until(&w, w.accepted && seen(&w, conn, VLY_OPEN));
	check_eq(vly_name(w.core[SERVER], w.accepted, NULL, &peer), 0);
	cr_assert(!memcmp(peer.ip4, from.ip4, 4));
	check_eq(vly_name(w.core[CLIENT], conn, &local, NULL), 0);
	cr_assert(vly_addr_equal(&local, &peer));
	/* Taken by that connection: the same pair of addresses cannot exist twice. */
	status = vly_connect(w.core[CLIENT], &w.addr, &local, NULL, &conn);
	if (!status) {
		pump_until(&w, seen(&w, conn, VLY_OPEN));
		status = track_of(&w, conn)->open_status;
	}
	cr_assert(status == -EADDRINUSE || status == -EADDRNOTAVAIL, "it returned %d", status);
	world_close(&w);
}

Test(open, connect_from_a_foreign_address_fails)
{
	struct world w;
	struct vly_addr from = addr_parsed("192.0.2.1:0");
	vly_conn conn;
	int status;

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	status = vly_connect(w.core[CLIENT], &w.addr, &from, NULL, &conn);
	if (!status) {
		pump_until(&w, seen(&w, conn, VLY_OPEN));
		status = track_of(&w, conn)->open_status;
	}
	check_eq(status, -EADDRNOTAVAIL);
	check_eq(w.accepted, 0);
	world_close(&w);
}

Test(open, many_connects_at_once_all_open)
{
	struct world w;
	vly_conn client[60];

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	for (int i = 0; i < 60; i++)
		check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &client[i]), 0);
	pump_until(&w, w.tracks.count[VLY_OPEN] == 120);
	for (int i = 0; i < 60; i++)
		check_eq(track_of(&w, client[i])->open_status, 0);
	check_eq(world_stats(&w, SERVER).accepted, 60);
	check_eq(world_stats(&w, CLIENT).connected, 60);
	world_close(&w);
}

Test(open, a_core_may_connect_to_itself)
{
	struct world w;
	struct vly_config config;
	vly_conn client;

	need_talk_to_itself();
	world_config(&config, 1);
	world_open_config(&w, &config);
	world_listen(&w, 0, NULL, NULL);
	check_eq(vly_connect(w.core[0], &w.addr, NULL, NULL, &client), 0);
	pump_until(&w, w.accepted && seen(&w, client, VLY_OPEN));
	world_send(&w, 0, client, "myself", 6);
	pump_until(&w, got_text(&w, w.accepted, "myself"));
	world_close(&w);
}

Test(open, stamps_are_one_reading_per_batch_and_never_run_backwards)
{
	struct world w;
	struct link link = world_open_link(&w);
	uint64_t before = vly_now_ns();

	for (int i = 0; i < 50; i++)
		world_send_pattern(&w, CLIENT, link.client, 1, 20000);
	pump_until(&w, got_bytes(&w, link.server) == 50 * 20000);
	check_eq(w.tracks.stamp_faults, 0);
	check_at_least(w.tracks.stamp_last[SERVER], before);
	check_at_most(w.tracks.stamp_last[SERVER], vly_now_ns());
	world_close(&w);
}
