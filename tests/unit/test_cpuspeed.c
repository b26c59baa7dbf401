/* test_cpuspeed.c - the chain tells a speed a processor can have, on the CPU it was asked for */
#include "bench/cpuspeed.h"

#include <errno.h>
#include <sched.h>

#include "tests/support/leak.h"

TestSuite(cpuspeed, .fini = vly_leak_gate, .timeout = 60);

static int first_allowed(void)
{
	cpu_set_t set;

	cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &set))
			return cpu;
	cr_assert_fail("no CPU is allowed");
	return -1;
}

Test(cpuspeed, speed_is_a_processors)
{
	double ghz;

	cr_assert_eq(cpuspeed_measure(first_allowed(), &ghz), 0);
	cr_assert(ghz > 0.02 && ghz < 20.0, "%f GHz", ghz);
}

Test(cpuspeed, caller_keeps_its_own_cpus)
{
	cpu_set_t before, after;
	double ghz;

	cr_assert_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	cr_assert_eq(cpuspeed_measure(first_allowed(), &ghz), 0);
	cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	cr_assert(CPU_EQUAL(&before, &after));
}

Test(cpuspeed, cpu_that_does_not_exist_is_refused)
{
	double ghz;

	cr_assert_eq(cpuspeed_measure(-1, &ghz), -EINVAL);
	cr_assert_eq(cpuspeed_measure(CPU_SETSIZE, &ghz), -EINVAL);
	cr_assert_eq(cpuspeed_measure(CPU_SETSIZE - 1, &ghz), -EINVAL);
	cr_assert_eq(ghz, 0.0);
}

Test(cpuspeed, change_is_relative_to_the_larger)
{
	cr_assert_float_eq(cpuspeed_change(2.0, 1.0), 0.5, 1e-12);
	cr_assert_float_eq(cpuspeed_change(1.0, 2.0), 0.5, 1e-12);
	cr_assert_eq(cpuspeed_change(3.0, 3.0), 0.0);
	cr_assert_eq(cpuspeed_change(0.0, 0.0), 0.0);
}
