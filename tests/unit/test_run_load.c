/* test_run_load.c - what a run says about its load */
#include "bench/run_load.h"

#include <math.h>
#include <string.h>

#include "tests/support/leak.h"

TestSuite(run_load, .fini = vly_leak_gate);

/* 100 connections, 10 s, 100,000 msg/s, nothing wrong. */
static struct run_result calm(void)
{
	struct run_result r = {.window_s = 10, .messages = 1000000, .latency_mean_ns = 1e6};

	run_load_blank(&r.load);
	r.load.silence_ns = 5e6;
	r.load_busy_share = 0.5;
	r.little = 1;
	return r;
}

static struct load_options closed(void)
{
	struct load_options o = {.connections = 100, .depth = 1};

	return o;
}

static struct load_options open_loop(void)
{
	struct load_options o = closed();

	o.shape.rate_msg_per_s = 100000;
	return o;
}

/* The warnings of a run, one after another. */
static const char *warned(struct run_result *r, const struct load_options *o)
{
	static char all[8192];

	all[0] = '\0';
	r->warnings_count = 0;
	run_load_judge(r, o);
	for (unsigned int i = 0; i < r->warnings_count; i++)
		strncat(all, r->warnings[i], sizeof(all) - strlen(all) - 1);
	return all;
}

Test(run_load, nothing_is_said_of_a_calm_run)
{
	struct run_result r = calm();
	struct load_options o = closed(), p = open_loop();

	r.load.scheduled = 1000000;
	r.load.unsent = 10000;
	cr_assert_str_eq(warned(&r, &o), "");
	cr_assert_str_eq(warned(&r, &p), "");
}

Test(run_load, a_rate_that_was_not_kept_is_told_with_whose_fault_it_is)
{
	struct run_result r = calm();
	struct load_options o = open_loop();

	r.load.scheduled = 1000000;
	r.load.unsent = 10001;
	cr_assert_not_null(
		strstr(warned(&r, &o), "of 1000000 messages due in the window 10001 (1%)"));
	cr_assert_not_null(strstr(warned(&r, &o), "waited for the server"));
	r.load_busy_share = 0.96;
	cr_assert_not_null(strstr(warned(&r, &o), "it cannot offer so much"));
}

Test(run_load, a_closed_loop_tells_of_a_server_that_stood_still)
{
	struct run_result r = calm();
	struct load_options o = closed(), p = open_loop();

	r.load.silence_ns = 1e9;
	cr_assert_not_null(
		strstr(warned(&r, &o), "coordinated omission: for 1 s nothing came back"));
	cr_assert_not_null(
		strstr(warned(&r, &o), "10% of the time, but only 0.01% of the messages"));
	/* where messages go out whatever is answered, percentiles have it */
	cr_assert_str_eq(warned(&r, &p), "");
	o.shape.think_max_ns = 1;
	cr_assert_str_eq(warned(&r, &o), "");
}

Test(run_load, a_slow_server_is_not_one_that_stood_still)
{
	struct run_result r = calm();
	struct load_options o = closed();

	r.load.silence_ns = 1e9;
	r.latency_mean_ns = 5e8;
	cr_assert_str_eq(warned(&r, &o), "");
}

Test(run_load, rate_and_latency_that_do_not_agree_are_told_with_the_side)
{
	struct run_result r = calm();
	struct load_options o = closed();

	r.little = 0.951;
	cr_assert_str_eq(warned(&r, &o), "");
	r.little = 0.94;
	cr_assert_not_null(strstr(warned(&r, &o), "0.94 of the messages under way: the others"));
	r.little = 1.06;
	cr_assert_not_null(strstr(warned(&r, &o), "timed longer"));
	r.little = (double)NAN;
	cr_assert_str_eq(warned(&r, &o), "");
}

Test(run_load, chance_is_not_unfairness)
{
	struct run_result r = calm();
	struct load_options o = closed(), p = open_loop();

	cr_assert_float_eq(run_load_jain_min(&r, &o), 0.9, 1e-12);
	r.messages = 900; /* 9 of each on average: by chance an index of 0.9 */
	cr_assert_float_eq(run_load_jain_min(&r, &o), 0.9, 1e-12);
	cr_assert_float_eq(run_load_jain_min(&r, &p), 0.81, 1e-12);
}

/* A server that stands still as the window ends: 640 messages are under way, and in no latency. */
Test(run_load, round_trips_that_reach_beyond_the_window_are_not_blamed_on_the_generator)
{
	struct run_result run;
	struct load_options options = {
		.connections = 10, .depth = 64, .shape.rate_msg_per_s = 1000};

	memset(&run, 0, sizeof(run));
	run_load_blank(&run.load);
	run.window_s = 15;
	run.messages = 14288;
	run.little = 0.75;
	run.load.under_way = 63;
	run.latency_max_ns = 1e9;
	run_load_judge(&run, &options);
	cr_assert_eq(run.warnings_count, 1);
	cr_assert_not_null(strstr(run.warnings[0],
				  "took up to 1 s, and those that reach beyond the window"),
			   "%s", run.warnings[0]);
	run.latency_max_ns = 1e6;
	run.warnings_count = 0;
	run_load_judge(&run, &options);
	cr_assert_not_null(strstr(run.warnings[0], "waiting in the load generator"), "%s",
			   run.warnings[0]);
}
