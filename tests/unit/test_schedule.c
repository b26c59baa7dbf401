/* test_schedule.c - intended send times: exact, of the right density, and nobody moves them */
#include "bench/schedule.h"

#include <math.h>
#include <stdlib.h>

#include "tests/support/leak.h"

TestSuite(schedule, .fini = vly_leak_gate);

#define CONNS 7

static struct schedule at_rate(double rate, bool poisson)
{
	return (struct schedule){
		.steps = {{0, rate}},
		.steps_count = 1,
		.poisson = poisson,
		.seed = 3,
		.connections = CONNS,
	};
}

/* All times of all connections before `end_ns`, in `times`; their number. */
static size_t draw(const struct schedule *schedule, uint64_t end_ns, uint64_t *times, size_t max)
{
	size_t count = 0;

	for (uint32_t id = 0; id < schedule->connections; id++) {
		schedule_place place = schedule_first(schedule, id);

		for (uint64_t number = 1; schedule_ns(schedule, place) < end_ns; number++) {
			cr_assert_lt(count, max);
			times[count++] = schedule_ns(schedule, place);
			place = schedule_next(schedule, id, number, place);
		}
	}
	return count;
}

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

Test(schedule, constant_arrivals_are_evenly_spaced_over_all_connections)
{
	struct schedule schedule = at_rate(1000, false);
	uint64_t times[2000];
	size_t count = draw(&schedule, 1000000000, times, 2000);

	cr_assert_eq(count, 1000);
	qsort(times, count, sizeof(times[0]), by_time);
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(times[i], i * 1000000);
}

Test(schedule, poisson_arrivals_have_the_rate_and_the_spread_of_one)
{
	struct schedule schedule = at_rate(100000, true);
	static uint64_t times[110000];
	size_t count = draw(&schedule, 1000000000, times, 110000);
	double mean = 0, square = 0;

	/* 5 standard deviations of the number, sqrt(100000) */
	cr_assert_float_eq((double)count, 100000, 1600);
	qsort(times, count, sizeof(times[0]), by_time);
	for (size_t i = 1; i < count; i++) {
		double gap = (double)(times[i] - times[i - 1]);

		mean += gap;
		square += gap * gap;
	}
	mean /= (double)count - 1;
	square /= (double)count - 1;
	/* of exponential gaps the standard deviation is the mean */
	cr_assert_float_eq(sqrt(square - mean * mean) / mean, 1, 0.02);
}

Test(schedule, the_same_seed_gives_the_same_times_and_another_gives_others)
{
	struct schedule schedule = at_rate(1000, true), other = schedule;

	other.seed++;
	for (uint64_t number = 1; number < 100; number++) {
		cr_assert_eq(schedule_next(&schedule, 4, number, 10),
			     schedule_next(&schedule, 4, number, 10));
		cr_assert_neq(schedule_next(&schedule, 4, number, 10),
			      schedule_next(&other, 4, number, 10));
		cr_assert_neq(schedule_next(&schedule, 4, number, 10),
			      schedule_next(&schedule, 5, number, 10));
	}
}

Test(schedule, steps_change_the_density_and_pauses_are_left_out)
{
	struct schedule schedule = at_rate(100, false);
	uint64_t times[2000];
	size_t count, begin = 0, pause = 0, end = 0;

	schedule.steps[1] = (struct schedule_step){1000000000, 0};
	schedule.steps[2] = (struct schedule_step){2000000000, 1000};
	schedule.steps_count = 3;
	count = draw(&schedule, 3000000000, times, 2000);
	for (size_t i = 0; i < count; i++) {
		begin += times[i] < 1000000000;
		pause += times[i] >= 1000000000 && times[i] < 2000000000;
		end += times[i] >= 2000000000;
	}
	cr_assert_eq(begin, 100);
	cr_assert_eq(pause, 0);
	cr_assert_eq(end, 1000);
}

Test(schedule, places_and_times_are_each_others_inverse)
{
	struct schedule schedule = at_rate(250, false);

	schedule.steps[1] = (struct schedule_step){4000000000, 4000};
	schedule.steps_count = 2;
	for (uint64_t ns = 0; ns < 8000000000; ns += 123456789)
		cr_assert_float_eq((double)schedule_ns(&schedule, schedule_at(&schedule, ns)),
				   (double)ns, 2);
	cr_assert_float_eq(schedule_at(&schedule, 5000000000), 5000, 1e-6);
}

Test(schedule, what_lies_beyond_all_time_is_never)
{
	struct schedule schedule = at_rate(0.001, false);

	cr_assert_eq(schedule_ns(&schedule, 1e12), UINT64_MAX);
}
