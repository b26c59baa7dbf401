/* test_thread_limits.c - each limit of threads is met exactly, and named with what mends it */
#include "bench/thread_limits.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/leak.h"

TestSuite(thread_limits, .fini = vly_leak_gate);

static struct thread_limits unlimited(void)
{
	return (struct thread_limits){
		.tasks = 100,
		.threads_max = UINT64_MAX,
		.pid_max = UINT64_MAX,
		.map_max = UINT64_MAX,
		.nproc = UINT64_MAX,
		.group_max = UINT64_MAX,
	};
}

/*
 * The value that the refusal of 10,001 threads asks for: it is found by its `name`, one less than
 * it is refused, and it is enough.
 */
static void expect_exact(struct thread_limits *limits, uint64_t *limit, const char *name,
			 const char *mend)
{
	char why[768] = "";
	uint64_t wanted;

	*limit = 5000;
	cr_assert_eq(thread_limits_check(limits, "c_thread", 10001, why, sizeof(why)), -EAGAIN);
	cr_assert(strstr(why, name), "%s", why);
	cr_assert(strstr(why, " is 5000, c_thread needs "), "%s", why);
	cr_assert(strstr(why, mend), "%s", why);
	wanted = strtoull(strstr(why, mend) + strlen(mend), NULL, 10);
	cr_assert_gt(wanted, 10001);
	*limit = wanted;
	cr_assert_eq(thread_limits_check(limits, "c_thread", 10001, why, sizeof(why)), 0);
	*limit = wanted - 1;
	cr_assert_eq(thread_limits_check(limits, "c_thread", 10001, why, sizeof(why)), -EAGAIN);
	*limit = UINT64_MAX;
}

Test(thread_limits, without_any_all_threads_may_be)
{
	struct thread_limits limits = unlimited();
	char why[768] = "";

	cr_assert_eq(thread_limits_check(&limits, "c_thread", 1000000, why, sizeof(why)), 0);
	cr_assert_str_empty(why);
}

Test(thread_limits, each_is_named_and_what_is_asked_for_is_enough)
{
	struct thread_limits limits = unlimited();

	strcpy(limits.group_path, "/sys/fs/cgroup/small/pids.max");
	limits.group_tasks = 7;
	expect_exact(&limits, &limits.threads_max, "kernel.threads-max", "kernel.threads-max=");
	expect_exact(&limits, &limits.pid_max, "kernel.pid_max", "kernel.pid_max=");
	expect_exact(&limits, &limits.map_max, "vm.max_map_count", "vm.max_map_count=");
	expect_exact(&limits, &limits.nproc, "RLIMIT_NPROC", "--nproc=");
	expect_exact(&limits, &limits.group_max, "/sys/fs/cgroup/small/pids.max", "echo ");
}

Test(thread_limits, what_runs_already_counts)
{
	struct thread_limits limits = unlimited();
	char why[768] = "";

	limits.threads_max = 2000;
	cr_assert_eq(thread_limits_check(&limits, "c_thread", 1000, why, sizeof(why)), 0);
	limits.tasks = 1500;
	cr_assert_eq(thread_limits_check(&limits, "c_thread", 1000, why, sizeof(why)), -EAGAIN);
	limits = unlimited();
	limits.group_max = 2000;
	limits.group_tasks = 1500;
	cr_assert_eq(thread_limits_check(&limits, "c_thread", 1000, why, sizeof(why)), -EAGAIN);
}

Test(thread_limits, of_this_machine_can_be_read)
{
	struct thread_limits limits;
	char why[768] = "";

	thread_limits_read(&limits);
	cr_assert_gt(limits.tasks, 0);
	cr_assert_neq(limits.threads_max, UINT64_MAX);
	cr_assert_neq(limits.pid_max, UINT64_MAX);
	cr_assert_neq(limits.map_max, UINT64_MAX);
	cr_assert_eq(limits.group_max == UINT64_MAX, limits.group_path[0] == '\0');
	cr_assert_eq(thread_limits_check(&limits, "it", UINT32_MAX, why, sizeof(why)), -EAGAIN);
}
