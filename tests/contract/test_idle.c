/* test_idle.c - idle policies: who sleeps, who never does, and that all of them serve */
#include "tests/contract/harness.h"

TestSuite(idle, .fini = vly_leak_gate, .timeout = 120);

static void open_idle(struct world *w, enum vly_idle idle, uint64_t spin_ns, unsigned cores)
{
	struct vly_config config;

	world_config(&config, cores);
	config.idle = idle;
	config.spin_ns = spin_ns;
	world_open_config(w, &config);
}

static void serve(enum vly_idle idle, uint64_t spin_ns)
{
	struct world w;
	struct link link;

	open_idle(&w, idle, spin_ns, 2);
	world_listen(&w, SERVER, NULL, NULL);
	link = world_link(&w);
	for (unsigned i = 1; i <= 200; i++) {
		world_send(&w, CLIENT, link.client, "ping", 4);
		world_poll(&w, CLIENT, 0);
		while (got_bytes(&w, link.server) < 4 * i)
			world_poll(&w, SERVER, -1);
		world_send(&w, SERVER, link.server, "pong", 4);
		world_poll(&w, SERVER, 0);
		while (got_bytes(&w, link.client) < 4 * i)
			world_poll(&w, CLIENT, -1);
	}
	world_close(&w);
}

/* Waits `count` times for nothing; returns how often it slept. */
static uint64_t wait_for_nothing(struct world *w, int count, int64_t timeout_ns)
{
	uint64_t sleeps = world_stats(w, 0).sleeps;

	for (int i = 0; i < count; i++) {
		uint64_t before = vly_now_ns();

		check_eq(world_poll(w, 0, timeout_ns), 0);
		check_at_least(vly_now_ns() - before, timeout_ns);
	}
	return world_stats(w, 0).sleeps - sleeps;
}

Test(idle, sleep_serves)
{
	serve(VLY_IDLE_SLEEP, 0);
}

Test(idle, adaptive_serves)
{
	serve(VLY_IDLE_ADAPTIVE, 20000);
}

Test(idle, adaptive_without_spinning_serves)
{
	serve(VLY_IDLE_ADAPTIVE, 0);
}

Test(idle, busy_serves)
{
	serve(VLY_IDLE_BUSY, 0);
}

Test(idle, sleep_sleeps_at_once)
{
	struct world w;

	open_idle(&w, VLY_IDLE_SLEEP, 0, 1);
	check_at_least(wait_for_nothing(&w, 5, 2 * MSEC), 5);
	world_close(&w);
}

Test(idle, adaptive_sleeps_after_its_spin_only)
{
	struct world w;

	open_idle(&w, VLY_IDLE_ADAPTIVE, 50000, 1);
	/* Whoever had no CPU until the time was up had nothing left to sleep: it may take more than five. */
	uint64_t slept = 0;

	for (int waits = 0; slept < 5 && waits < 200; waits++)
		slept += wait_for_nothing(&w, 1, 2 * MSEC);
	check_at_least(slept, 5);
	world_close(&w);
	open_idle(&w, VLY_IDLE_ADAPTIVE, 3600 * SEC, 1);
	check_eq(wait_for_nothing(&w, 5, 2 * MSEC), 0);
	world_close(&w);
}

Test(idle, busy_never_sleeps)
{
	struct world w;

	open_idle(&w, VLY_IDLE_BUSY, 0, 1);
	check_eq(wait_for_nothing(&w, 5, 2 * MSEC), 0);
	world_close(&w);
}

Test(idle, poll_of_no_timeout_never_sleeps)
{
	const enum vly_idle idles[] = {VLY_IDLE_SLEEP, VLY_IDLE_ADAPTIVE, VLY_IDLE_BUSY};

	for (int i = 0; i < 3; i++) {
		struct world w;

		open_idle(&w, idles[i], 50000, 1);
		check_eq(wait_for_nothing(&w, 50, 0), 0);
		world_close(&w);
	}
}

Test(idle, timeouts_hold_beside_a_later_timer)
{
	struct world w;
	vly_timer timer;

	open_idle(&w, VLY_IDLE_SLEEP, 0, 1);
	check_eq(vly_timer_start(w.core[0], 3600 * SEC, NULL, &timer), 0);
	wait_for_nothing(&w, 3, 2 * MSEC);
	check_eq(w.tracks.count[VLY_TIMER], 0);
	world_close(&w);
}

Test(idle, smallest_timeouts_are_not_rounded_down_to_none)
{
	struct world w;

	open_idle(&w, VLY_IDLE_SLEEP, 0, 1);
	wait_for_nothing(&w, 20, 1);
	wait_for_nothing(&w, 20, 1500);
	wait_for_nothing(&w, 20, 100000);
	world_close(&w);
}
