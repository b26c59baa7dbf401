/* test_pause.c - a paused connection reports neither DATA nor EOF, and its peer is slowed down */
#include "tests/contract/harness.h"

TestSuite(pause, .fini = vly_leak_gate, .timeout = 120);

Test(pause, withholds_data_until_resume)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_pause(w.core[SERVER], link.server), 0);
	world_send(&w, CLIENT, link.client, "waiting", 7);
	world_quiet(&w);
	check_eq(seen(&w, link.server, VLY_DATA), 0);
	check_eq(vly_resume(w.core[SERVER], link.server), 0);
	pump_until(&w, got_bytes(&w, link.server) == 7);
	cr_assert(got_text(&w, link.server, "waiting"));
	world_close(&w);
}

Test(pause, withholds_eof_until_resume)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_pause(w.core[SERVER], link.server), 0);
	world_send(&w, CLIENT, link.client, "waiting", 7);
	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	world_quiet(&w);
	check_eq(seen(&w, link.server, VLY_DATA), 0);
	check_eq(seen(&w, link.server, VLY_EOF), 0);
	check_eq(vly_resume(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF));
	cr_assert(got_text(&w, link.server, "waiting"));
	world_close(&w);
}

Test(pause, reaches_the_peer_as_flow_control)
{
	struct world w;
	struct link link = world_open_link(&w);
	uint64_t total = 0;
	uint8_t data[1000];
	int idle = 0;

	check_eq(vly_pause(w.core[SERVER], link.server), 0);
	while (idle < 20) {
		pattern_fill(data, sizeof(data), 3, total);
		if (vly_send(w.core[CLIENT], link.client, data, sizeof(data)) == -EAGAIN)
			idle = world_round(&w) ? 0 : idle + 1;
		else
			total += sizeof(data);
		cr_assert(total < 1ull << 30, "a gigabyte and no back-pressure");
	}
	check_eq(got_bytes(&w, link.server), 0);
	check_eq(vly_resume(w.core[SERVER], link.server), 0);
	pump_until(&w, got_bytes(&w, link.server) == total);
	cr_assert(got_pattern(&w, link.server, 3, total));
	world_close(&w);
}

Test(pause, does_not_stop_sending)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_pause(w.core[SERVER], link.server), 0);
	world_send_pattern(&w, SERVER, link.server, 3, 100000);
	pump_until(&w, got_bytes(&w, link.client) == 100000);
	check_eq(vly_send_owned(w.core[SERVER], link.server, "x", 1, NULL), 0);
	pump_until(&w, seen(&w, link.server, VLY_SENT) == 1);
	check_at_least(seen(&w, link.server, VLY_DRAINED), 1);
	world_close(&w);
}

Test(pause, does_not_stop_other_connections)
{
	struct world w;
	struct link link = world_open_link(&w), other = world_link(&w);

	check_eq(vly_pause(w.core[SERVER], link.server), 0);
	check_eq(vly_send(w.core[CLIENT], link.client, "waiting", 7), 0);
	world_send_pattern(&w, CLIENT, other.client, 3, 100000);
	pump_until(&w, got_bytes(&w, other.server) == 100000);
	check_eq(got_bytes(&w, link.server), 0);
	world_close(&w);
}

Test(pause, does_not_keep_a_core_from_sleeping)
{
	struct world w;
	struct link link = world_open_link(&w);
	uint64_t polls;

	check_eq(vly_pause(w.core[SERVER], link.server), 0);
	check_eq(vly_send(w.core[CLIENT], link.client, "waiting", 7), 0);
	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	world_quiet(&w);
	polls = world_stats(&w, SERVER).sleeps;
	/* Unread input must not end the wait at once. */
	for (int i = 0; i < 5; i++)
		check_eq(world_poll(&w, SERVER, 2 * MSEC), 0);
	check_at_least(world_stats(&w, SERVER).sleeps - polls, 5);
	world_close(&w);
}

Test(pause, twice_and_resume_twice_are_0)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_resume(w.core[SERVER], link.server), 0);
	check_eq(vly_pause(w.core[SERVER], link.server), 0);
	check_eq(vly_pause(w.core[SERVER], link.server), 0);
	check_eq(vly_resume(w.core[SERVER], link.server), 0);
	check_eq(vly_resume(w.core[SERVER], link.server), 0);
	world_send(&w, CLIENT, link.client, "fine", 4);
	pump_until(&w, got_text(&w, link.server, "fine"));
	world_close(&w);
}

static void pause_at_data(struct world *w, unsigned core, struct vly_event *event)
{
	if (core == SERVER && event->kind == VLY_DATA)
		check_eq(vly_pause(w->core[core], event->conn), 0);
}

Test(pause, inside_a_batch_leaves_what_is_in_it_and_stops_the_rest)
{
	struct world w;
	struct link link = world_open_link(&w);
	uint64_t total = 0;

	w.on_event = pause_at_data;
	world_send_pattern(&w, CLIENT, link.client, 3, 200000);
	while (total < 200000) {
		unsigned events;

		pump_until(&w, got_bytes(&w, link.server) > total);
		total = got_bytes(&w, link.server);
		events = seen(&w, link.server, VLY_DATA);
		world_quiet(&w);
		check_eq(seen(&w, link.server, VLY_DATA), events);
		check_eq(vly_resume(w.core[SERVER], link.server), 0);
	}
	cr_assert(got_pattern(&w, link.server, 3, 200000));
	world_close(&w);
}

static void pause_and_resume(struct world *w, unsigned core, struct vly_event *event)
{
	if (core != SERVER || event->kind != VLY_DATA)
		return;
	check_eq(vly_pause(w->core[core], event->conn), 0);
	check_eq(vly_resume(w->core[core], event->conn), 0);
}

Test(pause, and_resume_in_one_batch_lose_no_wake_up)
{
	struct world w;
	struct link link = world_open_link(&w);

	w.on_event = pause_and_resume;
	world_send_pattern(&w, CLIENT, link.client, 3, 500000);
	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF));
	cr_assert(got_pattern(&w, link.server, 3, 500000));
	world_close(&w);
}

Test(pause, set_in_open_withholds_the_first_byte)
{
	struct world w;
	vly_conn client;

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &client), 0);
	while (!seen(&w, client, VLY_OPEN)) {
		world_poll(&w, CLIENT, MSEC);
		if (!shakes_hands_unpolled())
			world_poll(&w, SERVER, 0);
	}
	check_eq(vly_send(w.core[CLIENT], client, "early", 5), 0);
	world_poll(&w, CLIENT, MSEC);
	while (!w.accepted)
		world_poll(&w, SERVER, MSEC);
	check_eq(vly_pause(w.core[SERVER], w.accepted), 0);
	world_quiet(&w);
	check_eq(seen(&w, w.accepted, VLY_DATA), 0);
	check_eq(vly_resume(w.core[SERVER], w.accepted), 0);
	pump_until(&w, got_bytes(&w, w.accepted) == 5);
	world_close(&w);
}

Test(pause, withholds_datagrams_too)
{
	struct world w;
	struct vly_addr any, to;
	vly_conn server, client;

	world_open(&w);
	any = world_addr(&w, SERVER);
	check_eq(vly_udp_open(w.core[SERVER], &any, NULL, &server), 0);
	any = world_addr(&w, CLIENT);
	check_eq(vly_udp_open(w.core[CLIENT], &any, NULL, &client), 0);
	check_eq(vly_name(w.core[SERVER], server, &to, NULL), 0);
	check_eq(vly_pause(w.core[SERVER], server), 0);
	check_eq(vly_sendto(w.core[CLIENT], client, &to, "waiting", 7), 0);
	world_quiet(&w);
	check_eq(seen(&w, server, VLY_DGRAM), 0);
	check_eq(vly_resume(w.core[SERVER], server), 0);
	pump_until(&w, seen(&w, server, VLY_DGRAM) == 1);
	world_close(&w);
}

Test(pause, of_a_listener_is_an_error)
{
	struct world w;
	vly_conn listener;

	world_open(&w);
	listener = world_listen(&w, SERVER, NULL, NULL);
	check_at_most(vly_pause(w.core[SERVER], listener), -1);
	check_at_most(vly_resume(w.core[SERVER], listener), -1);
	world_link(&w);
	world_close(&w);
}
