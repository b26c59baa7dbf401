/* test_clock.c - calibration arithmetic on synthetic readings, then the process's own clock */
#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/support/leak.h"

TestSuite(clock, .fini = vly_leak_gate);

static struct vly_clock_reading at(uint64_t cycles, uint64_t ns, uint64_t width_cycles)
{
	return (struct vly_clock_reading){cycles, ns, width_cycles};
}

/* The scale through two points, which must fit. */
static struct vly_clock_scale line(struct vly_clock_reading first, struct vly_clock_reading last)
{
	struct vly_clock_scale scale;

	cr_assert_eq(vly_clock_fit(&first, &last, &scale), 0);
	return scale;
}

static int fit(struct vly_clock_reading first, struct vly_clock_reading last)
{
	struct vly_clock_scale scale;

	return vly_clock_fit(&first, &last, &scale);
}

Test(clock, fit_finds_the_rate_and_both_ends)
{
	/* 12 ms at 2.5 GHz */
	struct vly_clock_scale scale = line(at(1000, 5000, 0), at(30001000, 12005000, 0));

	cr_assert_eq(scale.hz, 2500000000u);
	cr_assert_eq(vly_clock_scale_ns(&scale, 1000), 5000);
	/* truncation may cost the last nanosecond */
	cr_assert_leq(12005000 - vly_clock_scale_ns(&scale, 30001000), 1);
}

Test(clock, scale_errs_less_than_a_microsecond_in_an_hour)
{
	struct vly_clock_scale scale = line(at(0, 0, 0), at(30000000, 12000000, 0));
	uint64_t hour_ns = UINT64_C(3600000000000);
	uint64_t ns = vly_clock_scale_ns(&scale, hour_ns / 2 * 5);

	/* the multiplier is rounded to 2^-33 of a nanosecond per cycle: 0.3 parts in a billion */
	cr_assert_leq(ns > hour_ns ? ns - hour_ns : hour_ns - ns, 1100);
}

Test(clock, scale_serves_centuries_without_overflow)
{
	struct vly_clock_scale scale = line(at(0, 0, 0), at(30000000, 12000000, 0));
	uint64_t century_ns = UINT64_C(3155760000000000000);
	uint64_t ns = vly_clock_scale_ns(&scale, century_ns / 2 * 5);

	cr_assert_lt(ns > century_ns ? ns - century_ns : century_ns - ns, century_ns / 1000000000);
}

Test(clock, fit_refuses_clocks_that_stand_still_or_run_backwards)
{
	cr_assert_eq(fit(at(5, 5, 0), at(5, 10, 0)), -EINVAL);
	cr_assert_eq(fit(at(5, 5, 0), at(10, 5, 0)), -EINVAL);
	cr_assert_eq(fit(at(5, 5, 0), at(4, 10, 0)), -EINVAL);
	cr_assert_eq(fit(at(5, 5, 0), at(10, 4, 0)), -EINVAL);
}

Test(clock, fit_takes_10_mhz_to_100_ghz_and_nothing_beyond)
{
	cr_assert_eq(fit(at(0, 0, 0), at(10000000, 1000000000, 0)), 0);
	cr_assert_eq(fit(at(0, 0, 0), at(9999999, 1000000000, 0)), -ERANGE);
	cr_assert_eq(fit(at(0, 0, 0), at(UINT64_C(100000000000), 1000000000, 0)), 0);
	cr_assert_eq(fit(at(0, 0, 0), at(UINT64_C(100000000001), 1000000000, 0)), -ERANGE);
	cr_assert_eq(fit(at(0, 0, 0), at(UINT64_MAX, 1, 0)), -ERANGE);
	cr_assert_eq(fit(at(0, 0, 0), at(1, UINT64_MAX, 0)), -ERANGE);
}

/* 2 GHz, whose multiplier is exact: what is measured is the reading's own error. */
static struct vly_clock_scale exact_line(void)
{
	return line(at(0, 0, 0), at(20000000, 10000000, 0));
}

Test(clock, error_is_the_distance_from_the_line_in_ppm)
{
	struct vly_clock_scale scale = exact_line();
	struct vly_clock_reading on = at(10000000, 5000000, 0);
	struct vly_clock_reading late = at(10000000, 5000250, 0);
	struct vly_clock_reading early = at(10000000, 4999750, 0);

	cr_assert_eq(vly_clock_error_ppm(&scale, &on), 0);
	cr_assert_eq(vly_clock_error_ppm(&scale, &late), 50);
	/* rounded up, of a slightly shorter distance */
	cr_assert_eq(vly_clock_error_ppm(&scale, &early), 51);
}

Test(clock, error_forgives_a_reading_its_own_width_only)
{
	struct vly_clock_scale scale = exact_line();
	struct vly_clock_reading wide = at(10000000, 5000250, 500);
	struct vly_clock_reading half = at(10000000, 5000250, 250);

	cr_assert_eq(vly_clock_error_ppm(&scale, &wide), 0);
	cr_assert_eq(vly_clock_error_ppm(&scale, &half), 25);
}

Test(clock, error_before_the_base_is_boundless)
{
	struct vly_clock_scale scale = line(at(1000, 1000, 0), at(25001000, 10001000, 0));
	struct vly_clock_reading before = at(999, 2000, 0);
	struct vly_clock_reading equal = at(2000, 1000, 0);
	struct vly_clock_reading wild = at(UINT64_MAX, 1001, 0);

	cr_assert_eq(vly_clock_error_ppm(&scale, &before), UINT32_MAX);
	cr_assert_eq(vly_clock_error_ppm(&scale, &equal), UINT32_MAX);
	cr_assert_eq(vly_clock_error_ppm(&scale, &wild), UINT32_MAX);
}

Test(clock, narrowest_bracket_is_chosen_and_of_equals_the_first)
{
	struct vly_clock_reading readings[] = {at(1, 1, 90), at(2, 2, 30), at(3, 3, 30),
					       at(4, 4, 31)};

	cr_assert_eq(vly_clock_narrowest(readings, 4), &readings[1]);
	cr_assert_eq(vly_clock_narrowest(readings, 1), &readings[0]);
}

Test(clock, reads_before_init_as_clock_gettime)
{
	uint64_t before_ns = vly_clock_gettime_ns();
	uint64_t now_ns = vly_clock_ns();
	uint64_t after_ns = vly_clock_gettime_ns();

	cr_assert_not(vly_clock_is_tsc());
	cr_assert_eq(vly_clock_cycles_hz(), 1000000000u);
	cr_assert_leq(before_ns, now_ns);
	cr_assert_leq(now_ns, after_ns);
}

/*
 * Whichever clock was chosen: it lies between two readings of the other, but for what calibration
 * may err.
 */
static void alignment_check(void)
{
	const uint64_t slack_ns = 1000000;

	for (int i = 0; i < 1000; i++) {
		uint64_t before_ns = vly_clock_gettime_ns();
		uint64_t now_ns = vly_clock_ns();
		uint64_t after_ns = vly_clock_gettime_ns();

		cr_assert_geq(now_ns + slack_ns, before_ns);
		cr_assert_leq(now_ns, after_ns + slack_ns);
	}
}

Test(clock, keeps_to_clock_monotonic)
{
	vly_clock_init();
	alignment_check();
}

Test(clock, never_runs_backwards_on_one_thread)
{
	uint64_t last_ns = 0, last_cycles = 0;

	vly_clock_init();
	for (int i = 0; i < 100000; i++) {
		uint64_t ns = vly_clock_ns();
		uint64_t cycles = vly_clock_cycles();

		cr_assert(ns >= last_ns && cycles >= last_cycles);
		last_ns = ns;
		last_cycles = cycles;
	}
}

Test(clock, cycles_and_their_rate_belong_together)
{
	uint64_t begin_ns, begin_cycles, ns, cycles;
	double ratio;

	vly_clock_init();
	begin_ns = vly_clock_ns();
	begin_cycles = vly_clock_cycles();
	do {
		ns = vly_clock_ns() - begin_ns;
		cycles = vly_clock_cycles() - begin_cycles;
	} while (ns < 20000000);
	ratio = (double)cycles / (double)vly_clock_cycles_hz() / ((double)ns * 1e-9);
	/* a factor, not a tolerance: being preempted between the two readings must not fail it */
	cr_assert(ratio > 0.5 && ratio < 100.0, "%g", ratio);
}

Test(clock, environment_forces_the_fallback)
{
	cr_assert_eq(setenv("VOLLEY_CLOCK", "gettime", 1), 0);
	vly_clock_init();
	cr_assert_not(vly_clock_is_tsc());
	cr_assert_eq(vly_clock_cycles_hz(), 1000000000u);
	alignment_check();
}

static void *init_and_read(void *arg)
{
	struct vly_clock_scale *scale = arg;

	vly_clock_init();
	*scale = vly_clock_state.scale;
	return NULL;
}

Test(clock, init_from_many_threads_calibrates_once)
{
	struct vly_clock_scale scales[8];
	pthread_t threads[8];

	for (int i = 0; i < 8; i++)
		cr_assert_eq(pthread_create(&threads[i], NULL, init_and_read, &scales[i]), 0);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	vly_clock_init();
	for (int i = 0; i < 8; i++)
		cr_assert_arr_eq(&scales[i], &vly_clock_state.scale, sizeof(scales[i]));
}

Test(clock, frozen_it_stands_where_it_was_put)
{
	vly_clock_freeze(5000000000u);
	cr_assert_eq(vly_clock_ns(), 5000000000u);
	usleep(1000);
	cr_assert_eq(vly_clock_ns(), 5000000000u);
	vly_clock_freeze(5000000001u);
	vly_clock_init();
	cr_assert_eq(vly_clock_ns(), 5000000001u);
	cr_assert_eq(vly_clock_after(9), 5000000010u);
}
