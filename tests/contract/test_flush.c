/* test_flush.c - what is queued leaves at the next poll, before any sleep, or at vly_flush */
#include "tests/contract/harness.h"

TestSuite(flush, .fini = vly_leak_gate, .timeout = 120);

/* Polls SERVER alone until `len` bytes are there. */
static void server_alone_gets(struct world *w, struct link link, uint64_t len)
{
	uint64_t end = vly_now_ns() + PATIENCE_NS;

	while (got_bytes(w, link.server) < len) {
		world_poll(w, SERVER, MSEC);
		cr_assert(vly_now_ns() < end, "it was never flushed");
	}
}

Test(flush, sends_at_once_without_a_poll)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_send(w.core[CLIENT], link.client, "now", 3), 0);
	check_eq(vly_flush(w.core[CLIENT]), 0);
	server_alone_gets(&w, link, 3);
	world_close(&w);
}

Test(flush, of_nothing_is_0)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_flush(w.core[CLIENT]), 0);
	check_eq(vly_flush(w.core[CLIENT]), 0);
	check_eq(vly_send(w.core[CLIENT], link.client, "a", 1), 0);
	check_eq(vly_flush(w.core[CLIENT]), 0);
	check_eq(vly_flush(w.core[CLIENT]), 0);
	server_alone_gets(&w, link, 1);
	world_quiet(&w);
	check_eq(got_bytes(&w, link.server), 1);
	world_close(&w);
}

Test(flush, happens_at_the_next_poll_of_any_timeout)
{
	struct world w;
	struct link link = world_open_link(&w);

	check_eq(vly_send(w.core[CLIENT], link.client, "a", 1), 0);
	world_poll(&w, CLIENT, 0);
	server_alone_gets(&w, link, 1);
	check_eq(vly_send(w.core[CLIENT], link.client, "b", 1), 0);
	world_poll(&w, CLIENT, MSEC);
	server_alone_gets(&w, link, 2);
	world_close(&w);
}

Test(flush, happens_before_a_core_sleeps_for_ever)
{
	struct world w;
	struct vly_config config;
	struct link link;

	need_talk_to_itself();
	/* Both ends on one core: were it to sleep first, nobody would wake it. */
	world_config(&config, 1);
	world_open_config(&w, &config);
	world_listen(&w, 0, NULL, NULL);
	check_eq(vly_connect(w.core[0], &w.addr, NULL, NULL, &link.client), 0);
	pump_until(&w, w.accepted && seen(&w, link.client, VLY_OPEN));
	link.server = w.accepted;
	for (int i = 0; i < 100; i++) {
		check_eq(vly_send(w.core[0], link.client, "ping", 4), 0);
		while (got_bytes(&w, link.server) < 4 * (i + 1u))
			world_poll(&w, 0, -1);
	}
	check_eq(vly_shutdown(w.core[0], link.client), 0);
	while (!seen(&w, link.server, VLY_EOF))
		world_poll(&w, 0, -1);
	check_eq(vly_close(w.core[0], link.server), 0);
	while (!seen(&w, link.client, VLY_EOF))
		world_poll(&w, 0, -1);
	world_close(&w);
}

Test(flush, covers_every_kind_of_send_and_the_fin)
{
	struct world w;
	struct link link = world_open_link(&w);
	struct iovec iov = {(void *)(uintptr_t) "22", 2};
	uint64_t end = vly_now_ns() + PATIENCE_NS;

	check_eq(vly_send(w.core[CLIENT], link.client, "1", 1), 0);
	check_eq(vly_sendv(w.core[CLIENT], link.client, &iov, 1), 0);
	check_eq(vly_send_owned(w.core[CLIENT], link.client, "333", 3, NULL), 0);
	check_eq(vly_shutdown(w.core[CLIENT], link.client), 0);
	check_eq(vly_flush(w.core[CLIENT]), 0);
	server_alone_gets(&w, link, 6);
	cr_assert(got_text(&w, link.server, "122333"));
	while (!seen(&w, link.server, VLY_EOF)) {
		world_poll(&w, SERVER, MSEC);
		cr_assert(vly_now_ns() < end);
	}
	world_close(&w);
}

Test(flush, covers_mail)
{
	struct world w;
	uint64_t end = vly_now_ns() + PATIENCE_NS;

	world_open(&w);
	check_eq(vly_mail(w.core[CLIENT], SERVER, "a", 1), 0);
	check_eq(vly_flush(w.core[CLIENT]), 0);
	while (w.tracks.count[VLY_MAIL] < 1) {
		world_poll(&w, SERVER, MSEC);
		cr_assert(vly_now_ns() < end);
	}
	check_eq(vly_mail(w.core[CLIENT], SERVER, "b", 1), 0);
	world_poll(&w, CLIENT, 0);
	while (w.tracks.count[VLY_MAIL] < 2) {
		world_poll(&w, SERVER, MSEC);
		cr_assert(vly_now_ns() < end);
	}
	world_close(&w);
}

static void ask_for_more(struct world *w, unsigned core, struct vly_event *event)
{
	if (core == SERVER && event->kind == VLY_DATA)
		check_eq(vly_send(w->core[core], event->conn, "pong", 4), 0);
}

Test(flush, messages_queued_together_leave_in_one_call)
{
	struct world w;
	struct link link = world_open_link(&w);
	uint64_t calls;

	w.on_event = ask_for_more;
	calls = world_stats(&w, CLIENT).tx_calls;
	for (int i = 0; i < 10; i++)
		check_eq(vly_send(w.core[CLIENT], link.client, "ping", 4), 0);
	check_eq(vly_flush(w.core[CLIENT]), 0);
	server_alone_gets(&w, link, 40);
	pump_until(&w, got_bytes(&w, link.client) >= 4);
	check_eq(world_stats(&w, CLIENT).tx_calls, calls + 1);
	world_close(&w);
}

Test(flush, happens_in_a_poll_that_a_wake_ends_before_it_begins)
{
	struct world w;
	struct link link = world_open_link(&w);

	world_quiet(&w);
	check_eq(vly_send(w.core[CLIENT], link.client, "now", 3), 0);
	vly_wake(w.engine, CLIENT);
	check_eq(world_poll(&w, CLIENT, -1), 0);
	while (got_bytes(&w, link.server) < 3)
		world_poll(&w, SERVER, -1);
	world_close(&w);
}
