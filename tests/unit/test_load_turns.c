/* test_load_turns.c - a load whose window is cut into turns */
#include "bench/load.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/leak.h"
#include "tests/support/load_peer.h"

TestSuite(load_turns, .fini = vly_leak_gate, .timeout = 120);

/* Counts on, so that a server's count shows whether anything came while the load was held. */
struct held {
	const struct server *server;
	uint64_t held_bytes[5];
	unsigned held, began;
	bool moved; /* something came while it was held */
};

static void on_held(enum load_phase phase, void *arg)
{
	struct held *held = arg;

	if (phase == LOAD_WINDOW_BEGIN)
		held->began++;
	if (phase != LOAD_HELD)
		return;
	uint64_t before = atomic_load(&held->server->bytes);
	usleep(20000);
	held->moved |= atomic_load(&held->server->bytes) != before;
	held->held_bytes[held->held++] = before;
}

Test(load_turns, turns_make_one_window_and_between_them_nothing_is_under_way)
{
	static struct server server;
	struct held held = {.server = &server};
	struct load_params params;
	struct load_result result;

	server_start(&server, ECHO);
	params = params_for(&server.addr);
	params.duration_ns = 80000000;
	params.turns = 4;
	params.phase = on_held;
	params.arg = &held;
	cr_assert_eq(load_run(&params, &result), 0, "%s", result.reason);
	cr_assert_eq(held.began, 4);
	cr_assert_eq(held.held, 5, "before each turn, and once at the end");
	cr_assert_not(held.moved);
	for (unsigned i = 1; i < 5; i++)
		cr_assert_gt(held.held_bytes[i], held.held_bytes[i - 1], "turn %u", i);
	cr_assert_float_eq(result.window_s, 0.08, 1e-9);
	cr_assert_eq(result.slices.count, 4);
	cr_assert_gt(result.messages, 0);
	cr_assert_eq(result.messages, result.latency.total);
	/* what settled before each turn and what was drained behind it is no part of the window */
	cr_assert_lt(result.messages * params.size_bytes, held.held_bytes[4]);
	cr_assert(result.total.known);
	cr_assert_eq(result.total.messages * params.size_bytes, held.held_bytes[4]);
	load_result_fini(&result);
	server_stop(&server);
}

Test(load_turns, turns_are_for_a_closed_loop)
{
	struct vly_addr addr = {.family = VLY_IP4, .port = 1, .ip4 = {127, 0, 0, 1}};
	struct load_params bad[4];
	struct load_result result;

	for (int i = 0; i < 4; i++) {
		bad[i] = params_for(&addr);
		bad[i].turns = 2;
	}
	bad[0].think_min_ns = bad[0].think_max_ns = 1000;
	bad[1].reconnect = 3;
	bad[2].schedule.steps_count = 1;
	bad[3].turns = SLICES_MAX + 1;
	for (int i = 0; i < 4; i++) {
		cr_assert_eq(load_run(&bad[i], &result), -EINVAL, "%d", i);
		cr_assert(strstr(result.reason, "turns"), "%s", result.reason);
		load_result_fini(&result);
	}
}
