/* test_load.c - the load generator against servers that echo well and badly */
#include "bench/load.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "tests/support/leak.h"
#include "tests/support/load_peer.h"

TestSuite(load, .fini = vly_leak_gate, .timeout = 120);

#define STALL_NS INT64_C(500000000)

static void expect_sound(const struct load_params *params, const struct load_result *result)
{
	uint64_t sum = 0;

	cr_assert_str_eq(result->reason, "");
	cr_assert_eq(result->connected, params->connections);
	cr_assert_eq(result->connections, params->connections);
	cr_assert_eq(result->errors, 0);
	cr_assert_gt(result->messages, 0);
	for (uint32_t i = 0; i < result->connections; i++)
		sum += result->per_conn[i];
	cr_assert_eq(sum, result->messages);
	cr_assert_eq(result->latency.total, result->messages);
	cr_assert_float_eq(result->rate_msg_per_s, (double)result->messages / result->window_s,
			   1e-6 * result->rate_msg_per_s);
	cr_assert_float_eq(result->window_s, (double)params->duration_ns * 1e-9, 1e-9);
	cr_assert_gt(result->latency.min_ns, 0);
	cr_assert_gt(result->cpu_ns, 0);
	cr_assert_lt(result->little, 1.5);
}

/* A run that must succeed. */
static void expect_ok(enum manner manner, uint32_t size_bytes, uint32_t depth, const int *cpus,
		      unsigned cpus_count)
{
	static struct server server;
	struct load_params params;
	struct load_result result;

	server_start(&server, manner);
	params = params_for(&server.addr);
	params.size_bytes = size_bytes;
	params.depth = depth;
	params.cpus = cpus;
	params.cpus_count = cpus_count;
	cr_assert_eq(load_run(&params, &result), 0, "%s", result.reason);
	expect_sound(&params, &result);
	load_result_fini(&result);
	load_result_fini(&result);
	server_stop(&server);
}

/* A run that must fail with `err`, and say `word`; the result is given back for more questions. */
static void expect_failure(enum manner manner, int err, const char *word,
			   struct load_result *result)
{
	static struct server server;
	struct load_params params;

	server_start(&server, manner);
	params = params_for(&server.addr);
	params.stall_timeout_ns = STALL_NS;
	params.duration_ns = 1000000000;
	cr_assert_eq(load_run(&params, result), err, "%s", result->reason);
	cr_assert(strstr(result->reason, word), "%s", result->reason);
	cr_assert_eq(result->rate_msg_per_s, 0.0);
	cr_assert_not(result->interrupted);
	server_stop(&server);
}

static int first_cpu(void)
{
	cpu_set_t set;
	int cpu = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	while (!CPU_ISSET(cpu, &set))
		cpu++;
	return cpu;
}

Test(load, counts_every_round_trip_once)
{
	expect_ok(ECHO, 64, 1, NULL, 0);
}

Test(load, pinned_cores_share_the_connections)
{
	int cpus[3] = {first_cpu(), first_cpu(), first_cpu()};

	expect_ok(ECHO, 64, 1, cpus, 3);
}

Test(load, more_cores_than_connections_is_no_error)
{
	int cpus[CONNS + 2];

	for (int i = 0; i < CONNS + 2; i++)
		cpus[i] = first_cpu();
	expect_ok(ECHO, 64, 1, cpus, CONNS + 2);
}

Test(load, several_messages_under_way_come_back_in_one_piece)
{
	expect_ok(ECHO, 64, 16, NULL, 0);
}

Test(load, messages_of_one_byte_are_told_apart)
{
	expect_ok(ECHO, 1, 5, NULL, 0);
}

Test(load, messages_longer_than_a_read_arrive_in_parts)
{
	expect_ok(ECHO, 100003, 2, NULL, 0);
}

Test(load, echo_one_byte_at_a_time_is_put_together)
{
	expect_ok(BYTEWISE, 64, 2, NULL, 0);
}

Test(load, wrong_byte_fails_the_run_and_names_the_place)
{
	struct load_result result;

	expect_failure(WRONG, -EBADMSG, "wrong echo: byte 63", &result);
	cr_assert_eq(result.wrong, 1);
	cr_assert_eq(result.errors, 1);
	load_result_fini(&result);
}

Test(load, stale_echo_is_a_wrong_one)
{
	struct load_result result;

	expect_failure(STALE, -EBADMSG, "wrong echo", &result);
	load_result_fini(&result);
}

Test(load, echo_of_another_connection_is_a_wrong_one)
{
	struct load_result result;

	expect_failure(CROSSED, -EBADMSG, "wrong echo", &result);
	load_result_fini(&result);
}

Test(load, more_bytes_than_were_sent_fail_the_run)
{
	struct load_result result;

	/* the surplus comes with the echo, or after the next message was sent */
	expect_failure(EXCESS, -EBADMSG, "connection 2 got", &result);
	cr_assert_eq(result.excess + result.wrong, 1);
	load_result_fini(&result);
}

Test(load, reset_is_named)
{
	struct load_result result;

	expect_failure(RESET, -ECONNRESET, "connection 2 was lost", &result);
	cr_assert_eq(result.lost, 1);
	load_result_fini(&result);
}

Test(load, close_is_named)
{
	struct load_result result;

	expect_failure(CLOSE, -ECONNRESET, "connection 2 was", &result);
	cr_assert_eq(result.lost, 1);
	load_result_fini(&result);
}

Test(load, half_close_is_named)
{
	struct load_result result;

	expect_failure(HALF_CLOSE, -ECONNRESET, "connection 2 was", &result);
	load_result_fini(&result);
}

Test(load, one_connection_that_is_not_answered_fails_the_run)
{
	struct load_result result;

	expect_failure(SWALLOW, -ETIMEDOUT, "", &result);
	cr_assert_str_neq(result.reason, "");
	cr_assert_eq(result.silent, 1);
	load_result_fini(&result);
}

Test(load, server_that_stops_answering_is_found)
{
	struct load_result result;

	expect_failure(STALL, -ETIMEDOUT, "no echo", &result);
	load_result_fini(&result);
}

Test(load, server_that_accepts_and_never_answers_does_not_count_as_up)
{
	struct load_result result;

	expect_failure(MUTE, -ETIMEDOUT, "only 0 of 5 connections", &result);
	cr_assert_eq(result.connected, 0);
	cr_assert_null(result.per_conn);
	load_result_fini(&result);
}

Test(load, host_that_refuses_is_named)
{
	struct load_params params;
	struct load_result result;
	struct vly_addr addr;
	int fd = bound_socket(&addr); /* but nobody listens */

	params = params_for(&addr);
	cr_assert_eq(load_run(&params, &result), -ECONNREFUSED);
	cr_assert(strstr(result.reason, "refused"), "%s", result.reason);
	load_result_fini(&result);
	close(fd);
}

struct seen {
	enum load_phase phases[8];
	int count;
	atomic_bool interrupted;
	bool interrupt; /* as soon as the window opens */
};

static void on_phase(enum load_phase phase, void *arg)
{
	struct seen *seen = arg;

	seen->phases[seen->count++] = phase;
	if (seen->interrupt && phase == LOAD_WINDOW_BEGIN)
		atomic_store(&seen->interrupted, true);
}

Test(load, phases_come_in_order_and_once)
{
	static const enum load_phase order[] = {LOAD_CONNECTING, LOAD_WARMUP, LOAD_WINDOW_BEGIN,
						LOAD_WINDOW_END, LOAD_DONE};
	static struct server server;
	struct seen seen = {.count = 0};
	struct load_params params;
	struct load_result result;

	server_start(&server, ECHO);
	params = params_for(&server.addr);
	params.phase = on_phase;
	params.arg = &seen;
	cr_assert_eq(load_run(&params, &result), 0);
	cr_assert_eq(seen.count, 5);
	cr_assert_arr_eq(seen.phases, order, sizeof(order));
	load_result_fini(&result);
	server_stop(&server);
}

Test(load, interrupted_run_ends_early_and_says_so)
{
	static struct server server;
	struct seen seen = {.interrupt = true};
	struct load_params params;
	struct load_result result;

	server_start(&server, ECHO);
	params = params_for(&server.addr);
	params.duration_ns = UINT64_C(3600000000000);
	params.phase = on_phase;
	params.interrupted = &seen.interrupted;
	params.arg = &seen;
	cr_assert_eq(load_run(&params, &result), 0);
	cr_assert(result.interrupted);
	cr_assert_str_eq(result.reason, "interrupted");
	cr_assert_lt(result.window_s, 3600.0);
	cr_assert_eq(seen.phases[seen.count - 1], LOAD_DONE);
	load_result_fini(&result);
	server_stop(&server);
}

Test(load, nonsense_is_refused_with_a_reason)
{
	struct vly_addr addr = {.family = VLY_IP4, .port = 1, .ip4 = {127, 0, 0, 1}};
	struct load_params good = params_for(&addr), bad[7];
	struct load_result result;

	for (int i = 0; i < 7; i++)
		bad[i] = good;
	bad[0].connections = 0;
	bad[1].size_bytes = LOAD_SIZE_MIN - 1;
	bad[2].size_bytes = LOAD_SIZE_MAX + 1;
	bad[3].depth = 0;
	bad[4].depth = LOAD_DEPTH_MAX + 1;
	bad[5].duration_ns = 0;
	bad[6].size_bytes = LOAD_SIZE_MAX;
	bad[6].depth = LOAD_INFLIGHT_MAX / LOAD_SIZE_MAX + 1;
	for (int i = 0; i < 7; i++) {
		cr_assert_eq(load_run(&bad[i], &result), -EINVAL, "%d", i);
		cr_assert_str_neq(result.reason, "");
		load_result_fini(&result);
	}
}

/*
 * --- shapes of a load ----------------------------------------------------------------------------
 */

/* A good run with what `params` says beyond the usual. */
static void expect_shaped(struct load_params params, struct load_result *result)
{
	static struct server server;

	server_start(&server, ECHO);
	params.target = server.addr;
	cr_assert_eq(load_run(&params, result), 0, "%s", result->reason);
	cr_assert_eq(result->errors, 0);
	cr_assert_eq(result->connected, params.connections);
	server_stop(&server);
}

Test(load, an_open_loop_follows_its_steps_and_counts_what_it_did_not_send)
{
	struct load_params params = params_for(&(struct vly_addr){.family = VLY_IP4});
	struct load_result result;

	/* 50 and 100 messages; nobody can send the third step's */
	params.warmup_ns = 0;
	params.duration_ns = 300000000;
	params.schedule.steps[0] = (struct schedule_step){0, 500};
	params.schedule.steps[1] = (struct schedule_step){100000000, 1000};
	params.schedule.steps[2] = (struct schedule_step){200000000, 100000000};
	params.schedule.steps_count = 3;
	expect_shaped(params, &result);
	cr_assert_gt(result.scheduled, 1000000);
	cr_assert_gt(result.unsent, 1000000);
	cr_assert_eq(result.service.total, result.messages);
	cr_assert_geq(result.latency_mean_ns, result.service_mean_ns);
	load_result_fini(&result);
}

Test(load, several_cores_share_one_schedule)
{
	int cpus[2] = {first_cpu(), first_cpu()};
	struct load_params params = params_for(&(struct vly_addr){.family = VLY_IP4});
	struct load_result result;

	params.cpus = cpus;
	params.cpus_count = 2;
	params.schedule.steps[0] = (struct schedule_step){0, 1000};
	params.schedule.steps_count = 1;
	expect_shaped(params, &result);
	/* a comb of 1 ms over a window of 100, whichever core sends */
	cr_assert(result.scheduled >= 99 && result.scheduled <= 101, "%lu", result.scheduled);
	load_result_fini(&result);
}

Test(load, thinking_leaves_at_most_one_message_in_each_pause)
{
	struct load_params params = params_for(&(struct vly_addr){.family = VLY_IP4});
	struct load_result result;

	params.think_min_ns = params.think_max_ns = 10000000;
	expect_shaped(params, &result);
	cr_assert_leq(result.messages, CONNS * 11);
	load_result_fini(&result);
}

Test(load, thinking_in_an_open_loop_or_at_depth_is_refused)
{
	struct load_params params = params_for(&(struct vly_addr){.family = VLY_IP4});
	struct load_result result;

	params.think_max_ns = 1;
	params.depth = 2;
	cr_assert_eq(load_run(&params, &result), -EINVAL);
	load_result_fini(&result);
	params.depth = 1;
	params.schedule.steps[0] = (struct schedule_step){0, 1000};
	params.schedule.steps_count = 1;
	cr_assert_eq(load_run(&params, &result), -EINVAL);
	load_result_fini(&result);
}

Test(load, plain_messages_are_known_by_their_letter)
{
	struct load_params params = params_for(&(struct vly_addr){.family = VLY_IP4});
	struct load_result result;

	params.plain = true;
	expect_shaped(params, &result);
	cr_assert_gt(result.messages, 0);
	load_result_fini(&result);
}

Test(load, so_many_more_connections_have_so_much_more_time_to_come_up)
{
	cr_assert_eq(load_connect_timeout_ns(1), UINT64_C(30000000000));
	cr_assert_eq(load_connect_timeout_ns(3000), UINT64_C(30000000000));
	cr_assert_eq(load_connect_timeout_ns(3001), UINT64_C(30010000000));
	cr_assert_eq(load_connect_timeout_ns(UINT32_MAX), UINT64_C(42949672950000000));
}
