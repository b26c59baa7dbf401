/* test_slope.c - Theil-Sen lines against scipy; what stands still and what drifts */
#include "bench/slope.h"

#include <errno.h>

#include "tests/support/golden.h"
#include "tests/support/leak.h"

TestSuite(slope, .fini = vly_leak_gate);

Test(slope, line_and_interval_are_those_of_scipy)
{
	json_t *golden = golden_load();
	double values[GOLDEN_VALUES_MAX];
	struct slope slope;
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(golden, "slopes"), i, one)
	{
		size_t count = golden_numbers(one, "values", values);
		cr_assert_eq(slope_fit(values, count, &slope), 0);
		golden_expect(slope.slope, golden_number(one, "slope"), "slope", i);
		golden_expect(slope.intercept, golden_number(one, "intercept"), "intercept", i);
		golden_expect(slope.lower, golden_number(one, "lower"), "lower", i);
		golden_expect(slope.upper, golden_number(one, "upper"), "upper", i);
	}
	cr_assert_eq(i, 13);
	json_decref(golden);
}

Test(slope, two_values_are_needed_and_all_have_to_be_numbers)
{
	const double values[] = {1, (double)NAN, 3};
	const double two[] = {1, 3};
	struct slope slope;

	cr_assert_eq(slope_fit(values, 1, &slope), -EINVAL);
	cr_assert_eq(slope_fit(values, 3, &slope), -EINVAL);
	cr_assert_eq(slope_fit(NULL, 0, &slope), -EINVAL);
	cr_assert_eq(slope_fit(two, 2, &slope), 0);
	cr_assert_float_eq(slope.slope, 2, 1e-12);
}

Test(slope, a_window_is_steady_up_to_2_percent_from_first_to_last)
{
	double slices[11], change;

	for (int percent = -30; percent <= 30; percent++) {
		double ramp = percent / 1000.0;
		for (int i = 0; i < 11; i++)
			slices[i] = 5e5 * (1 + ramp * (i - 5) / 10);
		if (percent == 20 || percent == -20)
			continue; /* the limit itself is a matter of rounding */
		bool steady = slope_is_steady(slices, 11, &change);
		cr_assert_float_eq(change, ramp, 1e-9);
		cr_assert_eq(steady, percent > -20 && percent < 20, "%d", percent);
	}
}

Test(slope, a_stalled_slice_does_not_make_a_window_unsteady)
{
	double slices[] = {100, 101, 100, 99, 3, 100, 100, 101, 99, 100}, change;

	cr_assert(slope_is_steady(slices, 10, &change));
	cr_assert_float_eq(change, 0, 0.01);
}

Test(slope, too_few_slices_tell_nothing)
{
	double slices[] = {1, 100}, change = 0;

	cr_assert(slope_is_steady(slices, 2, &change));
	cr_assert(isnan(change));
	cr_assert_not(slope_drifts(slices, 2, &change));
	cr_assert(isnan(change));
}

/* A machine that slows down by 6% over 12 blocks, and one that is only restless. */
Test(slope, drift_is_told_from_noise)
{
	uint64_t random = 99;
	double blocks[12], change;
	int drifts = 0, alarms = 0;

	for (int run = 0; run < 1000; run++) {
		for (int i = 0; i < 12; i++)
			blocks[i] = 1e5 * exp(-0.06 * i / 11 + 0.01 * golden_normal(&random));
		drifts += slope_drifts(blocks, 12, &change);
		for (int i = 0; i < 12; i++)
			blocks[i] = 1e5 * exp(0.03 * golden_normal(&random));
		alarms += slope_drifts(blocks, 12, &change);
	}
	cr_assert_geq(drifts, 950, "%d of 1000 drifts found", drifts);
	cr_assert_leq(alarms, 70, "%d false alarms of 1000", alarms);
}
