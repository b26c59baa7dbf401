/* test_cpupair.c - two CPUs are looked at while both work, and nobody waits for one that is not to be had */
#include "bench/cpupair.h"

#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "bench/pace.h"
#include "tests/support/leak.h"

TestSuite(cpupair, .fini = vly_leak_gate, .timeout = 60);

#define UNKNOWN ((double)NAN)
#define PACE 16.0
#define TRIES 1000 /* whoever else runs may take a CPU away now and then, but not always */

/* Of those who work: how many do now, how many did at once, and whether each is where it was sent. */
static atomic_uint at_work, at_once;
static atomic_bool went_astray, is_of_another_class;

/* In place of bench/pace.c's, which has a test of its own: what is looked at here is who works, and when. */
double pace_probe(void)
{
	unsigned int now = atomic_fetch_add(&at_work, 1) + 1, most = atomic_load(&at_once);
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set) != 0 || CPU_COUNT(&set) != 1 ||
	    !CPU_ISSET(sched_getcpu(), &set))
		atomic_store(&went_astray, true);
	if (sched_getscheduler(0) != SCHED_OTHER)
		atomic_store(&is_of_another_class, true);
	while (most < now && !atomic_compare_exchange_weak(&at_once, &most, now))
		;
	for (int i = 0; i < 10000 && atomic_load(&at_once) < 2; i++)
		;
	atomic_fetch_sub(&at_work, 1);
	return PACE;
}

/* A line takes light that long, or a CPU is taken away. */
static void expect_sane(struct cpupair pair)
{
	cr_expect(isnan(pair.line_ns) || (pair.line_ns > 1 && pair.line_ns < 1e6), "%f",
		  pair.line_ns);
	cr_expect(isnan(pair.pace_op_per_ns) || pair.pace_op_per_ns == PACE, "%f",
		  pair.pace_op_per_ns);
}

Test(cpupair, two_cpus_have_a_distance_and_a_pace)
{
	struct cpus cpus;
	struct cpupair pair = {.line_ns = UNKNOWN};

	cr_assert_eq(cpus_allowed(&cpus), 0);
	if (cpus.count < 2)
		cr_skip_test("a single CPU");
	for (int i = 0; i < TRIES && isnan(pair.line_ns + pair.pace_op_per_ns); i++) {
		pair = cpupair_probe(cpus.list[0], cpus.list[1]);
		expect_sane(pair);
	}
	cr_expect_gt(pair.line_ns, 0);
	cr_expect_eq(pair.pace_op_per_ns, PACE);
	cr_expect_not(atomic_load(&went_astray));
}

Test(cpupair, a_cpu_has_no_distance_to_itself)
{
	struct cpus cpus;

	cr_assert_eq(cpus_allowed(&cpus), 0);
	struct cpupair pair = {.pace_op_per_ns = UNKNOWN};

	for (int i = 0; i < TRIES && isnan(pair.pace_op_per_ns); i++) {
		pair = cpupair_probe(cpus.list[0], cpus.list[0]);
		cr_expect(isnan(pair.line_ns));
	}
	cr_expect_eq(pair.pace_op_per_ns, PACE);
}

Test(cpupair, cpus_of_one_side_work_at_once_too)
{
	struct cpus cpus;

	cr_assert_eq(cpus_allowed(&cpus), 0);
	if (cpus.count < 2)
		cr_skip_test("a single CPU");
	/* each is paired with itself, so that in pairs no two of them work */
	for (int i = 0; i < TRIES && atomic_load(&at_once) < 2; i++)
		cr_expect(isnan(cpupair_probe_sides(&cpus, &cpus).line_ns));
	cr_expect_geq(atomic_load(&at_once), 2u);
}

Test(cpupair, of_a_cpu_that_is_none_nothing_is_known)
{
	struct cpus cpus;

	cr_assert_eq(cpus_allowed(&cpus), 0);
	for (int i = 0; i < 2; i++) {
		struct cpupair pair = i ? cpupair_probe(cpus.list[0], -1)
					: cpupair_probe(CPU_SETSIZE - 1, cpus.list[0]);

		cr_expect(isnan(pair.line_ns));
		cr_expect(isnan(pair.pace_op_per_ns));
	}
}

Test(cpupair, the_caller_keeps_its_cpus_and_class)
{
	cpu_set_t before, after;
	struct sched_param param = {0};
	struct cpupair pair = {.pace_op_per_ns = UNKNOWN};
	struct cpus cpus;

	cr_assert_eq(cpus_allowed(&cpus), 0);
	/* the least of all classes, on one CPU: its threads run where they are sent to, in the usual one, all the same */
	cr_assert_eq(pthread_setschedparam(pthread_self(), SCHED_IDLE, &param), 0);
	if (pthread_setschedparam(pthread_self(), SCHED_OTHER, &param) != 0)
		cr_skip_test("this user may not leave SCHED_IDLE");
	cr_assert_eq(pthread_setschedparam(pthread_self(), SCHED_IDLE, &param), 0);
	cr_assert_eq(cpus_pin(&(struct cpus){.count = 1, .list = {cpus.list[0]}}), 0);
	cr_assert_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	for (int i = 0; i < TRIES && isnan(pair.pace_op_per_ns); i++)
		pair = cpupair_probe_sides(&cpus, &cpus);
	cr_expect_eq(pair.pace_op_per_ns, PACE);
	cr_expect_not(atomic_load(&went_astray));
	cr_expect_not(atomic_load(&is_of_another_class));
	cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	cr_expect(CPU_EQUAL(&before, &after));
	cr_expect_eq(sched_getscheduler(0), SCHED_IDLE);
}

static atomic_bool hog_is_up, hog_is_released;

static void *hog(void *unused)
{
	atomic_store(&hog_is_up, true);
	while (!atomic_load(&hog_is_released))
		;
	return unused;
}

/* A thread that leaves nothing of `cpu` to others until it is released; false: that is not permitted. */
static bool start_hog(pthread_t *thread, int cpu)
{
	struct sched_param first = {.sched_priority = 1};
	pthread_attr_t attr;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	cr_assert_eq(pthread_attr_init(&attr), 0);
	cr_assert_eq(pthread_attr_setaffinity_np(&attr, sizeof(set), &set), 0);
	cr_assert_eq(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED), 0);
	cr_assert_eq(pthread_attr_setschedpolicy(&attr, SCHED_FIFO), 0);
	cr_assert_eq(pthread_attr_setschedparam(&attr, &first), 0);
	atomic_store(&hog_is_up, false);
	atomic_store(&hog_is_released, false);
	int err = pthread_create(thread, &attr, hog, NULL);

	pthread_attr_destroy(&attr);
	while (!err && !atomic_load(&hog_is_up))
		usleep(10);
	return !err;
}

/* Of two CPUs while nobody gets anything of the one that is taken, and of that one alone. */
static void look_beside_a_hog(int taken, int other, struct cpupair *both, struct cpupair *alone)
{
	pthread_t thread;

	if (!start_hog(&thread, taken))
		cr_skip_test("no real-time class is permitted");
	*both = cpupair_probe(taken, other);
	*alone = cpupair_probe(taken, taken);
	atomic_store(&hog_is_released, true);
	pthread_join(thread, NULL);
}

/*
 * Who waited until the CPU is to be had would wait for the hog, which stays until both looks are over. Kernels that leave
 * some of each second to others let it go on before, but with the pace of a thread that had its CPU in the end.
 */
Test(cpupair, a_cpu_that_is_taken_away_is_not_waited_for)
{
	struct cpus cpus;

	cr_assert_eq(cpus_allowed(&cpus), 0);
	if (cpus.count < 2)
		cr_skip_test("a single CPU");
	for (int i = 0; i < 2; i++) {
		int taken = cpus.list[i], other = cpus.list[!i];
		struct cpupair both = {.pace_op_per_ns = PACE}, alone = both;

		cr_assert_eq(cpus_pin(&(struct cpus){.count = 1, .list = {other}}), 0);
		/* again, should a thread have had its share of that second just then */
		for (int try = 0;
		     try < 100 && !(isnan(both.pace_op_per_ns) && isnan(alone.pace_op_per_ns));
		     try++)
			look_beside_a_hog(taken, other, &both, &alone);
		cr_expect(isnan(both.line_ns));
		cr_expect(isnan(both.pace_op_per_ns));
		cr_expect(isnan(alone.pace_op_per_ns));
	}
}

Test(cpupair, the_longer_way_and_the_lower_pace_count)
{
	struct cpupair worse = cpupair_worse(
		(struct cpupair){100, 8}, (struct cpupair){.line_ns = 500, .pace_op_per_ns = 16});

	cr_expect_eq(worse.line_ns, 500);
	cr_expect_eq(worse.pace_op_per_ns, 8);
	/* a CPU with itself has no way, and spoils no other's */
	worse = cpupair_worse((struct cpupair){UNKNOWN, 16}, (struct cpupair){100, 16});
	cr_expect_eq(worse.line_ns, 100);
	/* but one that was taken away is not ours */
	cr_expect(isnan(cpupair_worse((struct cpupair){100, 16}, (struct cpupair){UNKNOWN, UNKNOWN})
				.pace_op_per_ns));
}

Test(cpupair, of_a_side_without_cpus_nothing_is_known)
{
	struct cpus none = {.count = 0}, cpus;

	cr_assert_eq(cpus_allowed(&cpus), 0);
	for (int i = 0; i < 2; i++) {
		struct cpupair pair = i ? cpupair_probe_sides(&none, &cpus)
					: cpupair_probe_sides(&cpus, &none);

		cr_expect(isnan(pair.line_ns));
		cr_expect(isnan(pair.pace_op_per_ns));
	}
}

Test(cpupair, the_shorter_side_begins_again)
{
	struct cpus cpus, first;

	cr_assert_eq(cpus_allowed(&cpus), 0);
	if (cpus.count < 2)
		cr_skip_test("a single CPU");
	first = (struct cpus){.count = 1, .list = {cpus.list[0]}};
	struct cpupair pair = {.line_ns = UNKNOWN};

	/* the second of its pairs is one of two CPUs */
	for (int i = 0; i < TRIES && isnan(pair.line_ns); i++)
		pair = cpupair_probe_sides(&first, &cpus);
	cr_expect_gt(pair.line_ns, 0);
}
