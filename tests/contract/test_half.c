/* test_half.c - half-close: what was accepted is sent, then FIN; the other direction lives on */
#include "tests/contract/harness.h"

TestSuite(half, .fini = vly_leak_gate, .timeout = 120);

Test(half, closed_by_the_client_still_receives)
{
	struct world w;
	struct link link = world_open_link(&w);

	world_send(&w, CLIENT, link.client, "request", 7);
	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF));
	cr_assert(got_text(&w, link.server, "request"));
	world_send_pattern(&w, SERVER, link.server, 3, 200000);
	pump_until(&w, got_bytes(&w, link.client) == 200000);
	cr_assert(got_pattern(&w, link.client, 3, 200000));
	check_eq(seen(&w, link.client, VLY_CLOSED), 0);
	check_eq(seen(&w, link.server, VLY_CLOSED), 0);
	world_close(&w);
}

Test(half, closed_by_the_server_still_receives)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_shutdown(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.client, VLY_EOF));
	world_send_pattern(&w, CLIENT, link.client, 3, 200000);
	pump_until(&w, got_bytes(&w, link.server) == 200000);
	cr_assert(got_pattern(&w, link.server, 3, 200000));
	check_eq(seen(&w, link.server, VLY_CLOSED), 0);
	world_close(&w);
}

Test(half, closed_from_both_sides_waits_for_vly_close)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	check_eq(vly_shutdown(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.client, VLY_EOF) && seen(&w, link.server, VLY_EOF));
	world_quiet(&w);
	check_eq(seen(&w, link.client, VLY_CLOSED), 0);
	check_eq(seen(&w, link.server, VLY_CLOSED), 0);
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	check_eq(vly_close(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED) && seen(&w, link.server, VLY_CLOSED));
	check_eq(track_of(&w, link.client)->closed_status, 0);
	check_eq(track_of(&w, link.server)->closed_status, 0);
	world_close(&w);
}

Test(half, close_sends_all_that_was_accepted_before_the_fin)
{
	struct world w;
	struct link link = world_open_link(&w);
	uint64_t total = 0;
	uint8_t data[1000];
	int idle = 0;

	check_eq(vly_pause(w.core[SERVER], link.server), 0);
	while (idle < 20) {
		pattern_fill(data, sizeof(data), 5, total);
		if (vly_send(w.core[CLIENT], link.client, data, sizeof(data)) == -EAGAIN)
			idle = world_round(&w) ? 0 : idle + 1;
		else
			total += sizeof(data);
	}
	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	check_eq(vly_resume(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF));
	cr_assert(got_pattern(&w, link.server, 5, total));
	world_close(&w);
}

Test(half, close_twice_changes_nothing)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF));
	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	world_quiet(&w);
	check_eq(seen(&w, link.server, VLY_EOF), 1);
	world_send(&w, SERVER, link.server, "fine", 4);
	pump_until(&w, got_text(&w, link.client, "fine"));
	world_close(&w);
}

Test(half, eof_comes_after_all_data)
{
	static uint8_t data[16000];
	struct world w;
	struct link link = world_open_link(&w);

	for (int i = 0; i < 20; i++) {
		struct link each = i ? world_link(&w) : link;

		pattern_fill(data, sizeof(data), 8, 0);
		check_eq(vly_send(w.core[CLIENT], each.client, data, sizeof(data)), 0);
		check_eq(vly_shutdown(w.core[CLIENT], each.client), 0);
		/* tracks_event() refuses DATA after EOF */
		pump_until(&w, seen(&w, each.server, VLY_EOF));
		cr_assert(got_pattern(&w, each.server, 8, sizeof(data)));
	}
	world_close(&w);
}

Test(half, closed_then_closed_finishes_at_the_peers_eof)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF));
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	world_quiet(&w);
	check_eq(seen(&w, link.client, VLY_CLOSED), 0);
	check_eq(vly_shutdown(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED));
	check_eq(track_of(&w, link.client)->closed_status, 0);
	check_eq(vly_close(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.server, VLY_CLOSED));
	check_eq(track_of(&w, link.server)->closed_status, 0);
	world_close(&w);
}

Test(half, close_on_a_listener_is_an_error)
{
	struct world w;
	vly_conn listener;

	world_open(&w);
	listener = world_listen(&w, SERVER, NULL, NULL);
	check_at_most(vly_shutdown(w.core[SERVER], listener), -1);
	world_link(&w);
	world_close(&w);
}
