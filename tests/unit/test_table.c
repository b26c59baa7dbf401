/* test_table.c - means and intervals of the text table, and what it prints */
#include "bench/table.h"

#include "tests/support/leak.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UNKNOWN ((double)NAN)

TestSuite(table, .fini = vly_leak_gate);

static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-9 * fabs(b);
}

Test(table, mean_is_geometric)
{
	const double values[] = {1, 10, 100};

	struct table_mean mean = table_mean(values, 3);
	cr_assert_eq(mean.count, 3);
	cr_assert(near(mean.mean, 10), "%.12g", mean.mean);
	cr_assert(isnan(mean.factor));
}

/*
 * exp(t * s / sqrt(5)), t = 2.776445105197791: for 4 degrees of freedom Student's quantile has a
 * closed form.
 */
Test(table, interval_is_students_on_logarithms_from_five_runs_on)
{
	const double values[] = {100, 110, 90, 120, 105};

	struct table_mean mean = table_mean(values, 5);
	cr_assert(near(mean.mean, exp((log(100) + log(110) + log(90) + log(120) + log(105)) / 5)));
	cr_assert(near(mean.factor, 1.1424798386317632), "%.17g", mean.factor);
	cr_assert(isnan(table_mean(values, 4).factor));
	/* exp(1.96 * s), wider than the interval of the mean */
	cr_assert(mean.spread > mean.factor);
	cr_assert(isnan(table_mean(values, 4).spread));
}

Test(table, what_was_not_measured_is_left_out)
{
	const double values[] = {UNKNOWN, 4, 0, -1, 9, (double)INFINITY};

	struct table_mean mean = table_mean(values, 6);
	cr_assert_eq(mean.count, 2);
	cr_assert(near(mean.mean, 6));
	cr_assert(isnan(table_mean(values, 1).mean));
	cr_assert(isnan(table_mean(NULL, 0).mean));
}

static struct run_result result_of(const char *variant, double rate)
{
	struct run_result r;

	memset(&r, 0, sizeof(r));
	r.variant = variant;
	r.run = 1;
	r.measured = true;
	r.rate_msg_per_s = rate;
	r.server_cpu_us_per_msg = 2.5;
	r.user_share = UNKNOWN;
	for (int i = 0; i < RUN_PERCENTILES; i++)
		r.latency_ns[i] = 1500;
	r.latency_ns[RUN_P999] = UNKNOWN;
	r.fairness = (struct fairness){.min = 90, .p5 = 95, .p50 = 1100, .p95 = 1250, .jain = 1};
	r.limited = "no";
	r.load_cpu_us_per_msg = UNKNOWN;
	r.little = 1;
	r.server_busy_share = 0.75;
	r.server_cpus_busy_share = 0.875;
	r.load_busy_share = 0.5;
	r.load.connects_per_s = UNKNOWN;
	for (int i = 0; i < RUN_PERCENTILES; i++)
		r.load.service_ns[i] = UNKNOWN;
	return r;
}

static double offered; /* by --rate; 0: closed loop */

static const char *printed_as(enum sheet_format format, const char *const *names,
			      size_t names_count, const struct run_result *runs, size_t runs_count)
{
	static char text[8192];
	struct load_options options = {.format = format, .shape.rate_msg_per_s = offered};

	options.connections = 100;
	options.size_bytes = 64;
	options.depth = 1;
	options.runs = 1;
	options.duration_ns = 10000000000;
	memset(text, 0, sizeof(text));
	FILE *out = fmemopen(text, sizeof(text) - 1, "w");
	cr_assert_not_null(out);
	table_print(out, &options, names, names_count, runs, runs_count);
	table_notes(out, names, names_count, runs, runs_count);
	fclose(out);
	return text;
}

static const char *printed(const char *const *names, size_t names_count,
			   const struct run_result *runs, size_t runs_count)
{
	return printed_as(SHEET_TEXT, names, names_count, runs, runs_count);
}

Test(table, rates_relate_to_the_first_row)
{
	const char *const names[] = {"a", "b"};
	struct run_result runs[] = {result_of("b", 500000), result_of("a", 1000000)};

	const char *text = printed(names, 2, runs, 2);
	cr_assert_not_null(
		strstr(text, "100 connections, 64 bytes, 1 in flight on each, 10 s window\n\n"));
	cr_assert_not_null(
		strstr(text,
		       "\na        1,000,000  1.000  1.5 us  1.5 us      -       2.500      1.000            -     -\n"),
		"%s", text);
	cr_assert_not_null(strstr(text, "\nb          500,000  0.500  "), "%s", text);
}

Test(table, rate_of_a_limited_client_is_a_bound_without_a_ratio)
{
	const char *const names[] = {"a", "b"};
	struct run_result runs[] = {result_of("a", 1000), result_of("b", 2000)};

	runs[0].limited = "client";
	const char *text = printed(names, 2, runs, 2);
	cr_assert_not_null(strstr(text, ">=1,000      -"), "%s", text);
	cr_assert_not_null(strstr(text, "client-limited"), "%s", text);
	cr_assert_not_null(strstr(text, "2,000  1.000"), "%s", text);
}

Test(table, runs_that_are_not_ok_show_no_figures_and_their_reason)
{
	const char *const names[] = {"a"};
	struct run_result runs[] = {result_of("a", 1000)};

	runs[0].status = RUN_FAILED;
	runs[0].reasons_count = 1;
	snprintf(runs[0].reasons[0], RUN_REASON_BYTES, "it broke");
	const char *text = printed(names, 1, runs, 1);
	cr_assert_null(strstr(text, "1,000"), "%s", text);
	cr_assert_not_null(strstr(text, "failed\n"), "%s", text);
	cr_assert_not_null(strstr(text, "\na, run 1: failed: it broke\n"), "%s", text);
}

Test(table, starved_connections_are_called_unfair)
{
	const char *const names[] = {"a"};
	struct run_result runs[] = {result_of("a", 1000)};

	runs[0].unfair = true;
	cr_assert_not_null(strstr(printed(names, 1, runs, 1), "UNFAIR"));
	runs[0].unfair = false;
	cr_assert_null(strstr(printed(names, 1, runs, 1), "UNFAIR"));
}

Test(table, percentile_that_one_run_hid_is_hidden)
{
	const char *const names[] = {"a"};
	struct run_result runs[] = {result_of("a", 1000), result_of("a", 1000)};

	cr_assert_not_null(strstr(printed(names, 1, runs, 2), "1.5 us  1.5 us"));
	runs[1].latency_ns[RUN_P50] = UNKNOWN;
	cr_assert_null(strstr(printed(names, 1, runs, 2), "1.5 us  1.5 us"));
}

Test(table, warnings_that_differ_in_numbers_are_told_once)
{
	const char *names[] = {"a"};
	struct run_result runs[3];
	const char *text;

	for (unsigned int i = 0; i < 3; i++) {
		runs[i] = result_of("a", 1000);
		runs[i].run = i + 1;
		runs[i].warnings_count = 1;
		snprintf(runs[i].warnings[0], sizeof(runs[i].warnings[0]), "lost %u.5%% of it", i);
	}
	text = printed(names, 1, runs, 3);
	cr_assert_not_null(strstr(text, "a, run 1 and 2 more: lost 0.5% of it\n"), "%s", text);
	cr_assert_null(strstr(text, "run 2"), "%s", text);
	snprintf(runs[1].warnings[0], sizeof(runs[1].warnings[0]), "found it");
	text = printed(names, 1, runs, 3);
	cr_assert_not_null(strstr(text, "a, run 1 and 1 more: lost 0.5% of it\n"), "%s", text);
	cr_assert_not_null(strstr(text, "a, run 2: found it\n"), "%s", text);
}

Test(table, cpu_of_every_row_relates_to_the_first_and_the_loads_stands_beside_it)
{
	const char *const names[] = {"a", "b"};
	struct run_result runs[] = {result_of("a", 1000), result_of("b", 2000)};

	runs[1].server_cpu_us_per_msg = 5;
	runs[1].load_cpu_us_per_msg = 3.25;
	const char *text = printed(names, 2, runs, 2);
	cr_assert_not_null(strstr(text, "CPU us/msg  CPU ratio  load us/msg  user"), "%s", text);
	cr_assert_not_null(strstr(text, "5.000      2.000        3.250     -"), "%s", text);
}

Test(table, how_busy_both_sides_were_and_how_messages_were_spread_stands_below)
{
	const char *const names[] = {"a", "b", "c"};
	struct run_result runs[] = {result_of("a", 1000), result_of("b", 2000),
				    result_of("a", 1000), result_of("c", 1)};

	runs[2].fairness =
		(struct fairness){.min = 7, .p5 = 105, .p50 = 1100, .p95 = 1250, .jain = 0.5};
	runs[2].load_busy_share = 0.7;
	runs[3].status = RUN_FAILED;
	const char *text = printed(names, 3, runs, 4);
	cr_assert_not_null(
		strstr(text,
		       "\nchecks  server busy  its CPUs  load busy  Little  least/conn   p5  median    p95   Jain\n"),
		"%s", text);
	cr_assert_not_null(
		strstr(text,
		       "\na               75%       88%        60%   1.000           7  100   1,100  1,250  0.750\n"),
		"%s", text);
	cr_assert_not_null(
		strstr(text,
		       "\nb               75%       88%        50%   1.000          90   95   1,100  1,250  1.000\n"),
		"%s", text);
	cr_assert_not_null(
		strstr(text,
		       "\nc                 -         -          -       -           -    -       -      -      -\n"),
		"%s", text);
}

Test(table, system_calls_have_a_column_only_if_some_row_has_them)
{
	const char *const names[] = {"a", "b"};
	struct run_result runs[] = {result_of("a", 1000), result_of("b", 2000)};
	struct syscalls counted = {.counted = true, .total = 2.0154, .by_name = {1, 1}};

	cr_assert_null(strstr(printed(names, 2, runs, 2), "calls/msg"));
	runs[1].syscalls = &counted;
	const char *text = printed(names, 2, runs, 2);
	cr_assert_not_null(strstr(text, "calls/msg"), "%s", text);
	cr_assert_not_null(strstr(text, "2.015"), "%s", text);
	cr_assert_not_null(
		strstr(text, "\nb, system calls of a message: read 1, write 1, other 0.0154\n"),
		"%s", text);
	counted.counted = false;
	cr_assert_null(strstr(printed(names, 2, runs, 2), "calls/msg"));
}

Test(table, csv_has_plain_numbers_and_nothing_for_what_is_unknown)
{
	const char *const names[] = {"a", "b"};
	struct run_result runs[] = {result_of("a", 1234567), result_of("b", 2000)};

	runs[1].limited = "client";
	const char *text = printed_as(SHEET_CSV, names, 2, runs, 2);
	cr_assert(strncmp(text, "variant,connections,size_bytes,depth,runs_ok,rate_msg_per_s,",
			  60) == 0,
		  "%s", text);
	cr_assert_not_null(
		strstr(text,
		       "\na,100,64,1,1,1234567,,,,1,1500,1500,,2.5,1,,,,1,90,95,1100,1250,1,0.75,0.875,0.5,,,,,,,0,\n"),
		"%s", text);
	cr_assert_not_null(
		strstr(text,
		       "\nb,100,64,1,1,2000,,,,,1500,1500,,2.5,1,,,,1,90,95,1100,1250,1,0.75,0.875,0.5,,,,,,,1,client-limited\n"),
		"%s", text);
}

Test(table, csv_of_an_open_loop_has_what_was_offered_unsent_and_the_service_times)
{
	const char *const names[] = {"a"};
	struct run_result runs[] = {result_of("a", 1000)};

	runs[0].load.scheduled = 2000;
	runs[0].load.unsent = 500;
	runs[0].load.service_ns[RUN_P50] = 300;
	runs[0].load.service_ns[RUN_P99] = 700;
	offered = 1500;
	const char *text = printed_as(SHEET_CSV, names, 1, runs, 1);
	offered = 0;
	cr_assert_not_null(
		strstr(text,
		       ",server_cpus_busy_share,load_busy_share,connects_per_s,offered_msg_per_s,"
		       "unsent_share,service_p50_ns,service_p99_ns,"),
		"%s", text);
	cr_assert_not_null(strstr(text, ",0.5,,1500,0.25,300,700,,0,\n"), "%s", text);
}

Test(table, markdown_is_a_table)
{
	const char *const names[] = {"a"};
	struct run_result runs[] = {result_of("a", 1234567)};

	const char *text = printed_as(SHEET_MARKDOWN, names, 1, runs, 1);
	cr_assert_not_null(strstr(text, "window\n\n| variant | msg/s | ratio | p50 |"), "%s", text);
	cr_assert_not_null(strstr(text, "\n|---|---:|---:|"), "%s", text);
	cr_assert_not_null(strstr(text, "\n| a | 1,234,567 | 1.000 | 1.5 us |"), "%s", text);
}
