/* test_pace.c - what a CPU gets done is read again and again, and told by percentiles */
#include "bench/pace.h"

#include <math.h>
#include <sched.h>
#include <unistd.h>

#include "tests/support/leak.h"
#include "volley/core.h"

TestSuite(pace, .fini = vly_leak_gate);

Test(pace, a_probe_tells_operations_per_nanosecond)
{
	double pace = pace_probe();

	/* no core does less than one in 20 ns, or more than 100 in one */
	cr_expect_gt(pace, 0.05);
	cr_expect_lt(pace, 100);
}

Test(pace, a_watch_reads_until_it_is_stopped)
{
	struct pace_watch watch;
	uint64_t begin_ns = vly_now_ns();

	cr_assert_eq(pace_watch_start(&watch, sched_getcpu()), 0);
	while (pace_watch_count(&watch) < 3)
		usleep(1000);
	pace_watch_stop(&watch);
	unsigned int count = pace_watch_count(&watch);

	cr_expect_gt(pace_watch_percentile(&watch, begin_ns, vly_now_ns(), 50), 0);
	cr_expect(isnan(pace_watch_percentile(&watch, 0, begin_ns, 50)));
	cr_expect_eq(pace_watch_streak(&watch, 0), count);
	cr_expect_eq(pace_watch_streak(&watch, 1e9), 0u);
	pace_watch_fini(&watch);
}

Test(pace, percentiles_are_of_the_readings_between)
{
	struct pace_sample samples[] = {{10, 9}, {20, 4}, {30, 8}, {40, 6}, {50, 1}};
	struct pace_watch watch = {.samples = samples, .count = 5};

	cr_expect_float_eq(pace_watch_percentile(&watch, 10, 50, 0), 4, 1e-9);
	cr_expect_float_eq(pace_watch_percentile(&watch, 10, 50, 100), 9, 1e-9);
	cr_expect_float_eq(pace_watch_percentile(&watch, 20, 41, 50), 6, 1e-9);
	cr_expect_eq(pace_watch_streak(&watch, 2), 0u);
	watch.count = 4;
	cr_expect_eq(pace_watch_streak(&watch, 5), 2u);
}

Test(pace, a_cpu_that_is_none_is_refused)
{
	struct pace_watch watch;

	cr_expect_lt(pace_watch_start(&watch, -1), 0);
	cr_expect_eq(pace_watch_count(&watch), 0u);
	pace_watch_fini(&watch);
}
