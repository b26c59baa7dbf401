/* test_stats.c - intervals and tests against scipy, and against simulated runs whose truth is known */
#include "bench/stats.h"

#include "tests/support/golden.h"
#include "tests/support/leak.h"

#define UNKNOWN ((double)NAN)
#define SIMULATIONS 20000 /* the share of covered ones is then known to +-0.15% */

TestSuite(stats, .fini = vly_leak_gate);

static void expect_intervals(const struct stats_estimate *estimate, const json_t *golden,
			     const char *what, size_t index)
{
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(golden, "intervals"), i, one)
	{
		struct stats_interval found = stats_interval(estimate, golden_number(one, "alpha"));
		golden_expect(found.mean, golden_number(one, "mean"), what, index);
		golden_expect(found.lower, golden_number(one, "lower"), what, index);
		golden_expect(found.upper, golden_number(one, "upper"), what, index);
	}
	cr_assert_eq(i, 3);
}

Test(stats, means_intervals_and_spread_are_those_of_scipy)
{
	json_t *golden = golden_load();
	double values[GOLDEN_VALUES_MAX], spread[GOLDEN_VALUES_MAX];
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(golden, "cases"), i, one)
	{
		const json_t *wanted = json_object_get(one, "mean");
		size_t count = golden_numbers(one, "base", values);
		struct stats_logs logs = stats_logs(values, count);
		struct stats_estimate mean = stats_mean(&logs);
		cr_assert_eq(logs.count, count);
		golden_expect(logs.deviation, golden_number(wanted, "deviation"), "deviation", i);
		expect_intervals(&mean, wanted, "interval", i);
		cr_assert_eq(golden_numbers(wanted, "spread", spread), 2);
		golden_expect(stats_spread(&logs).lower, spread[0], "spread", i);
		golden_expect(stats_spread(&logs).upper, spread[1], "spread", i);
		cr_assert_eq(stats_runs_needed(&logs, STATS_ZONE, 33),
			     (uint32_t)golden_number(wanted, "runs_needed"));
	}
	cr_assert_eq(i, 8);
	json_decref(golden);
}

Test(stats, paired_and_unpaired_ratios_are_those_of_scipy)
{
	json_t *golden = golden_load();
	double base[GOLDEN_VALUES_MAX], tested[GOLDEN_VALUES_MAX];
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(golden, "cases"), i, one)
	{
		size_t count = golden_numbers(one, "base", base);
		cr_assert_eq(golden_numbers(one, "tested", tested), count);
		struct stats_estimate paired = stats_paired(base, tested, count);
		expect_intervals(&paired, json_object_get(one, "paired"), "paired", i);

		const json_t *wanted = json_object_get(one, "unpaired");
		struct stats_logs x = stats_logs(base, count);
		struct stats_logs y =
			stats_logs(tested, (size_t)golden_number(one, "unpaired_tested_count"));
		struct stats_estimate unpaired = stats_unpaired(&x, &y);
		golden_expect(unpaired.freedom, golden_number(wanted, "freedom"), "freedom", i);
		golden_expect(unpaired.error, golden_number(wanted, "error"), "error", i);
		expect_intervals(&unpaired, wanted, "unpaired", i);
	}
	json_decref(golden);
}

Test(stats, outlyingness_is_that_of_scipy)
{
	json_t *golden = golden_load();
	double values[GOLDEN_VALUES_MAX], wanted[GOLDEN_VALUES_MAX];
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(golden, "cases"), i, one)
	{
		size_t count = golden_numbers(one, "base", values);
		golden_numbers(one, "outlying", wanted);
		for (size_t j = 0; j < count; j++)
			golden_expect(stats_outlyingness(values, count, j), wanted[j], "distance",
				      i);
	}
	json_decref(golden);
}

Test(stats, holms_p_values_follow_his_definition)
{
	json_t *golden = golden_load();
	double p[GOLDEN_VALUES_MAX], adjusted[GOLDEN_VALUES_MAX];
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(golden, "holm"), i, one)
	{
		size_t count = golden_numbers(one, "p", p);
		golden_numbers(one, "adjusted", adjusted);
		stats_holm(p, count);
		for (size_t j = 0; j < count; j++)
			golden_expect(p[j], adjusted[j], "adjusted p", i);
	}
	cr_assert_eq(i, 4);
	json_decref(golden);
}

Test(stats, holm_leaves_out_what_was_not_tested)
{
	double p[] = {0.02, UNKNOWN, 0.04};

	stats_holm(p, 3);
	cr_assert_float_eq(p[0], 0.04, 1e-15);
	cr_assert(isnan(p[1]));
	cr_assert_float_eq(p[2], 0.04, 1e-15);
	stats_holm(NULL, 0);
}

Test(stats, four_runs_have_no_bounds_five_have)
{
	const double values[] = {10, 11, 12, 13, 14};
	struct stats_logs four = stats_logs(values, 4), five = stats_logs(values, 5);
	struct stats_estimate estimates[] = {stats_mean(&four), stats_paired(values, values, 4),
					     stats_unpaired(&four, &five),
					     stats_unpaired(&five, &four)};

	for (size_t i = 0; i < 4; i++) {
		struct stats_interval interval = stats_interval(&estimates[i], 0.05);
		cr_assert(isfinite(interval.mean));
		cr_assert(isnan(interval.lower) && isnan(interval.upper), "%zu", i);
	}
	cr_assert(isnan(stats_spread(&four).lower));
	cr_assert(isnan(stats_outlyingness(values, 4, 0)));
	cr_assert(isfinite(stats_spread(&five).lower));
	cr_assert(isfinite(stats_outlyingness(values, 5, 0)));
	struct stats_estimate mean = stats_mean(&five);
	cr_assert(isfinite(stats_interval(&mean, 0.05).lower));
	cr_assert_eq(stats_runs_needed(&four, STATS_ZONE, 33), 33);
}

Test(stats, what_was_not_measured_is_left_out_with_its_pair)
{
	const double base[] = {1, UNKNOWN, 2, 0, 4, 5, 6, 7};
	const double tested[] = {2, 3, UNKNOWN, 4, 8, 10, 12, 14};
	struct stats_estimate ratio = stats_paired(base, tested, 8);

	cr_assert_eq(ratio.count, 5);
	cr_assert_float_eq(exp(ratio.mean), 2, 1e-12);
	cr_assert_float_eq(ratio.error, 0, 1e-12);
	cr_assert_eq(stats_logs(base, 8).count, 6);
	struct stats_logs none = stats_logs(NULL, 0);
	cr_assert_eq(none.count, 0);
	cr_assert(isnan(none.mean));
	cr_assert_eq(stats_paired(NULL, NULL, 0).count, 0);
}

Test(stats, values_that_are_all_alike_have_an_interval_of_no_width)
{
	const double values[] = {3, 3, 3, 3, 3, 3};
	struct stats_logs logs = stats_logs(values, 6);
	struct stats_estimate ratio = stats_unpaired(&logs, &logs);
	struct stats_interval interval = stats_interval(&ratio, 0.05);

	cr_assert_float_eq(interval.lower, 1, 1e-12);
	cr_assert_float_eq(interval.upper, 1, 1e-12);
	cr_assert_eq(stats_outlyingness(values, 6, 2), 0.0);
	const double one_off[] = {3, 3, 3, 3, 3, 4};
	cr_assert_gt(stats_outlyingness(one_off, 6, 5), STATS_OUTLIER);
}

Test(stats, an_outlier_is_told_from_noise)
{
	const double values[] = {100, 101, 99, 100.5, 98.5, 130, 100.2};

	cr_assert_gt(stats_outlyingness(values, 7, 5), STATS_OUTLIER);
	cr_assert_lt(stats_outlyingness(values, 7, 4), STATS_OUTLIER);
}

Test(stats, rate_and_latency_agree_when_their_product_is_what_is_under_way)
{
	cr_assert_float_eq(stats_little(1e6, 100e3, 100), 1, 1e-12);
	cr_assert(stats_little_agrees(stats_little(1e6, 96e3, 100)));
	cr_assert(stats_little_agrees(stats_little(1e6, 104e3, 100)));
	cr_assert_not(stats_little_agrees(stats_little(1e6, 94e3, 100)));
	cr_assert_not(stats_little_agrees(stats_little(1e6, 106e3, 100)));
	cr_assert(isnan(stats_little(UNKNOWN, 1, 1)));
	cr_assert_not(stats_little_agrees(UNKNOWN));
}

/* Share of simulated samples whose interval covers what they were drawn around. */
static double coverage(size_t count, size_t other_count, double deviation, double other_deviation)
{
	uint64_t random = 42 + count;
	double base[GOLDEN_VALUES_MAX], tested[GOLDEN_VALUES_MAX];
	const double truth = 0.03; /* of ln(tested / base) */
	int covered = 0;

	for (int run = 0; run < SIMULATIONS; run++) {
		for (size_t i = 0; i < count; i++)
			base[i] = 1000 * exp(deviation * golden_normal(&random));
		struct stats_logs x = stats_logs(base, count);
		struct stats_estimate found = stats_mean(&x);
		double wanted = 1000;
		if (other_count) {
			for (size_t i = 0; i < other_count; i++)
				tested[i] = 1000 *
					    exp(truth + other_deviation * golden_normal(&random));
			struct stats_logs y = stats_logs(tested, other_count);
			found = stats_unpaired(&x, &y);
			wanted = exp(truth);
		}
		struct stats_interval interval = stats_interval(&found, 0.05);
		covered += interval.lower <= wanted && wanted <= interval.upper;
	}
	return (double)covered / SIMULATIONS;
}

Test(stats, intervals_cover_the_truth_in_95_of_100_simulations)
{
	for (size_t count = 5; count <= 33; count += 7) {
		double share = coverage(count, 0, 0.05, 0);
		cr_assert_float_eq(share, 0.95, 0.01, "%zu runs: %.4f", count, share);
	}
	double share = coverage(10, 15, 0.02, 0.06);
	cr_assert_float_eq(share, 0.95, 0.01, "unpaired: %.4f", share);
}

/* Blocks share a disturbance that is ten times what tells the rows apart. */
Test(stats, paired_intervals_cover_the_truth_whatever_blocks_have_in_common)
{
	uint64_t random = 4711;
	double base[10], tested[10];
	int covered = 0;

	for (int run = 0; run < SIMULATIONS; run++) {
		for (int i = 0; i < 10; i++) {
			double common = 0.2 * golden_normal(&random);
			base[i] = exp(common + 0.02 * golden_normal(&random));
			tested[i] = 1.05 * exp(common + 0.02 * golden_normal(&random));
		}
		struct stats_estimate ratio = stats_paired(base, tested, 10);
		struct stats_interval interval = stats_interval(&ratio, 0.05);
		covered += interval.lower <= 1.05 && 1.05 <= interval.upper;
	}
	cr_assert_float_eq((double)covered / SIMULATIONS, 0.95, 0.01, "%d", covered);
}
