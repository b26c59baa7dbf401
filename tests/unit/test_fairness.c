/* test_fairness.c - quantiles and Jain's index of messages per connection */
#include "bench/fairness.h"

#include <errno.h>

#include "tests/support/leak.h"

TestSuite(fairness, .fini = vly_leak_gate);

Test(fairness, all_alike_is_1)
{
	uint64_t counts[] = {7, 7, 7, 7, 7};
	struct fairness f;

	cr_assert_eq(fairness_compute(counts, 5, &f), 0);
	cr_assert_float_eq(f.jain, 1.0, 1e-12);
	cr_assert_eq(f.min, 7);
	cr_assert_eq(f.p50, 7);
	cr_assert_eq(f.max, 7);
}

Test(fairness, one_of_n_served_is_1_over_n)
{
	uint64_t counts[200] = {[17] = 123456789};
	struct fairness f;

	cr_assert_eq(fairness_compute(counts, 200, &f), 0);
	cr_assert_float_eq(f.jain, 1.0 / 200, 1e-12);
	cr_assert_eq(f.min, 0);
	cr_assert_eq(f.p95, 0);
	cr_assert_eq(f.max, 123456789);
	cr_assert(f.jain < FAIRNESS_JAIN_MIN);
}

/* What a mean once hid: 20,000 connections, 100 of them served. */
Test(fairness, starved_connections_are_not_hidden)
{
	static uint64_t counts[20000];
	struct fairness f;

	for (int i = 0; i < 100; i++)
		counts[i * 200] = 5000;
	cr_assert_eq(fairness_compute(counts, 20000, &f), 0);
	cr_assert_float_eq(f.jain, 0.005, 1e-9);
	cr_assert_eq(f.p50, 0);
}

Test(fairness, quantiles_are_nearest_rank_of_unsorted_counts)
{
	uint64_t counts[100];
	struct fairness f;

	for (uint64_t i = 0; i < 100; i++)
		counts[i] = (i * 37) % 100 + 1;
	cr_assert_eq(fairness_compute(counts, 100, &f), 0);
	cr_assert_eq(f.min, 1);
	cr_assert_eq(f.p5, 5);
	cr_assert_eq(f.p50, 50);
	cr_assert_eq(f.p95, 95);
	cr_assert_eq(f.max, 100);
	cr_assert_eq(counts[1], 38, "the counts are left in their order");
}

Test(fairness, one_connection)
{
	uint64_t count = 3;
	struct fairness f;

	cr_assert_eq(fairness_compute(&count, 1, &f), 0);
	cr_assert_float_eq(f.jain, 1.0, 1e-12);
	cr_assert_eq(f.p5, 3);
	cr_assert_eq(f.p95, 3);
}

Test(fairness, nobody_served_is_0)
{
	uint64_t counts[3] = {0};
	struct fairness f;

	cr_assert_eq(fairness_compute(counts, 3, &f), 0);
	cr_assert_eq(f.jain, 0.0);
}

Test(fairness, no_connections_is_an_error)
{
	struct fairness f;

	cr_assert_eq(fairness_compute(NULL, 0, &f), -EINVAL);
}
