/* test_slices.c - a window in slices: steady, or moving by more than chance */
#include "bench/slices.h"

#include "tests/support/leak.h"

#include <math.h>

#define WINDOW_NS UINT64_C(1000000000)
#define STEP_NS UINT64_C(20000000)

TestSuite(slices, .fini = vly_leak_gate);

/* A window whose rate goes from 100,000 a second to `last` times that, looked at every `step_ns`. */
static void fill(struct slices *slices, double last, uint64_t step_ns)
{
	double messages = 7;

	slices_begin(slices, 5, WINDOW_NS, 7);
	for (uint64_t at = step_ns; at <= WINDOW_NS; at += step_ns) {
		double part = ((double)at - (double)step_ns / 2) / (double)WINDOW_NS;
		messages += 1e5 * (1 + (last - 1) * part) * (double)step_ns / 1e9;
		slices_step(slices, 5 + at, (uint64_t)messages);
	}
}

Test(slices, a_window_has_twenty_with_the_rate_of_each)
{
	struct slices s;

	fill(&s, 1, STEP_NS / 10);
	cr_assert_eq(s.count, SLICES_MAX);
	for (unsigned int i = 0; i < s.count; i++)
		cr_assert(fabs(s.rate_per_s[i] - 1e5) < 100, "%f", s.rate_per_s[i]);
}

Test(slices, who_looks_seldom_gets_fewer_of_the_right_rate)
{
	struct slices s;

	fill(&s, 1, WINDOW_NS / 7);
	cr_assert_leq(s.count, 7);
	cr_assert_geq(s.count, 6);
	for (unsigned int i = 0; i < s.count; i++)
		cr_assert(fabs(s.rate_per_s[i] - 1e5) < 100, "%f", s.rate_per_s[i]);
}

Test(slices, nothing_behind_the_window_counts)
{
	struct slices s;
	double change;

	fill(&s, 1, WINDOW_NS / 7);
	unsigned int count = s.count;
	for (int i = 1; i < 100; i++)
		slices_step(&s, 5 + WINDOW_NS + STEP_NS * 2 + (uint64_t)i * STEP_NS, 100007);
	cr_assert_eq(s.count, count);
	cr_assert(slices_steady(&s, &change));
}

Test(slices, a_rate_that_moves_is_not_steady_and_the_change_is_told)
{
	struct slices s;
	double change;

	fill(&s, 1.01, STEP_NS);
	cr_assert(slices_steady(&s, &change), "%f", change);
	fill(&s, 1.1, STEP_NS);
	cr_assert(!slices_steady(&s, &change));
	cr_assert(fabs(change - 0.09) < 0.02, "%f", change);
	fill(&s, 0.9, STEP_NS);
	cr_assert(!slices_steady(&s, &change));
	cr_assert_lt(change, -0.05);
}

Test(slices, noise_without_direction_is_steady)
{
	static const double noise[] = {1.04, 0.97, 0.95, 1.06, 1.02, 0.96, 1.03, 0.98, 1.05, 0.94};
	struct slices s = {.count = SLICES_MAX};
	double change;

	for (unsigned int i = 0; i < s.count; i++)
		s.rate_per_s[i] = 1e5 * noise[i * 3 % 10] * (1 + 0.001 * i);
	cr_assert(slices_steady(&s, &change), "%f", change);
}

Test(slices, without_a_window_nothing_is_known)
{
	struct slices s = {.count = 0};
	double change;

	slices_step(&s, 1000, 1000);
	cr_assert_eq(s.count, 0);
	cr_assert(slices_steady(&s, &change));
	cr_assert(isnan(change));
	/* Shorter than a slice can be. */
	slices_begin(&s, 0, SLICES_MAX - 1, 0);
	slices_step(&s, 1000, 1000);
	cr_assert_eq(s.count, 0);
}
