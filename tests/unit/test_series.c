/* test_series.c - figures of rows by block: what counts and what does not */
#include "bench/series.h"

#include <math.h>

#include "tests/support/leak.h"
#include "tests/support/runs.h"

TestSuite(series, .fini = vly_leak_gate);

Test(series, blocks_without_an_ok_run_have_no_value)
{
	struct run_result runs[] = {run_made_up("a", 1, 1), run_made_up("b", 1, 10),
				    run_made_up("a", 2, 2), run_made_up("a", 3, 3)};
	double values[4];

	runs[2].status = RUN_INVALID;
	series_by_block(runs, 4, "a", METRIC_CPU, values, 4);
	cr_assert_eq(values[0], 1.0);
	cr_assert(isnan(values[1]));
	cr_assert_eq(values[2], 3.0);
	cr_assert(isnan(values[3]));
	cr_assert_eq(series_blocks(runs, 4), 3);
	cr_assert_eq(series_blocks(NULL, 0), 0);
}

Test(series, canaries_belong_to_no_block)
{
	struct run_result runs[] = {run_made_up("a", 1, 7), run_made_up("a", 1, 1),
				    run_made_up("a", 1, 9)};
	double values[3];

	runs[0].canary = runs[2].canary = true;
	series_by_block(runs, 3, "a", METRIC_CPU, values, 1);
	cr_assert_eq(values[0], 1.0);
	cr_assert_eq(series_all(runs, 3, "a", METRIC_CPU, false, values), 1);
	cr_assert_eq(series_all(runs, 3, "a", METRIC_CPU, true, values), 3);
	cr_assert_eq(values[0], 7.0);
	cr_assert_eq(values[2], 9.0);
}

Test(series, messages_of_connections_are_averaged_but_for_the_least)
{
	struct run_result runs[] = {run_made_up("a", 1, 1), run_made_up("a", 2, 1),
				    run_made_up("a", 3, 1), run_made_up("b", 1, 1)};

	runs[0].fairness = (struct fairness){.min = 5, .p5 = 10, .p50 = 20, .p95 = 30, .jain = 1};
	runs[1].fairness = (struct fairness){.min = 3, .p5 = 12, .p50 = 22, .p95 = 36, .jain = 0.5};
	runs[2].canary = true;
	runs[3].status = RUN_FAILED;
	struct series_spread spread = series_spread(runs, 4, "a");
	cr_assert_eq(spread.least, 3);
	cr_assert_eq(spread.p5, 11);
	cr_assert_eq(spread.p50, 21);
	cr_assert_eq(spread.p95, 33);
	cr_assert_eq(spread.jain, 0.75);
	cr_assert(isnan(series_spread(runs, 4, "b").least));
}

Test(series, each_figure_is_its_own)
{
	struct run_result run = run_made_up("a", 1, 4);
	double value;

	series_by_block(&run, 1, "a", METRIC_CPU_SCALED, &value, 1);
	cr_assert_float_eq(value, 3.2, 1e-12);
	series_by_block(&run, 1, "a", METRIC_RATE, &value, 1);
	cr_assert_float_eq(value, 250000, 1e-6);
	cr_assert(metric_more_is_better(METRIC_RATE));
	cr_assert_not(metric_more_is_better(METRIC_CPU));
	cr_assert_not(metric_more_is_better(METRIC_CPU_SCALED));
}

Test(series, rates_count_only_where_no_load_generator_was_the_limit)
{
	struct run_result runs[] = {run_made_up("a", 1, 1), run_made_up("b", 1, 1),
				    run_made_up("c", 1, 1)};

	cr_assert(series_rates_count(runs, 3, "a", "b"));
	runs[2].limited = "both";
	cr_assert(series_rates_count(runs, 3, "a", "b"), "another row's both sides");
	cr_assert_not(series_rates_count(runs, 3, "a", "c"));
	runs[2].limited = "client";
	cr_assert_not(series_rates_count(runs, 3, "a", "b"), "any row's client");
	runs[2].status = RUN_INVALID;
	cr_assert(series_rates_count(runs, 3, "a", "b"), "an invalid run tells nothing");
	runs[1].limited = NULL;
	cr_assert(series_rates_count(runs, 3, "a", "b"));
}
