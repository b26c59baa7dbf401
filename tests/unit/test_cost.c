/* test_cost.c - run time of threads, dead threads, children and dead children; time of CPUs */
#include "bench/cost.h"

#include <stdio.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/support/leak.h"

#include <zlib.h>

#define BURN_NS UINT64_C(60000000)
/*
 * /proc counts in steps of 10 ms, each of its numbers rounded down; a clock read from another CPU
 * lacks up to a tick
 */
#define SLACK_NS UINT64_C(20000000)

TestSuite(cost, .fini = vly_leak_gate, .timeout = 60);

static uint64_t clock_read(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Spends CPU time, whatever else the machine does. */
static void burn(uint64_t ns)
{
	uint64_t end = clock_read(CLOCK_THREAD_CPUTIME_ID) + ns;

	while (clock_read(CLOCK_THREAD_CPUTIME_ID) < end)
		;
}

static void *burn_thread(void *arg)
{
	(void)arg;
	burn(BURN_NS);
	return NULL;
}

static struct cost sampled(pid_t pid, enum cost_scope scope)
{
	struct cost cost;

	cr_assert_eq(cost_sample(pid, scope, &cost), 0);
	return cost;
}

/* A child on `cpu` that burns for ever, without a call, and counts in `rounds`. */
static pid_t counting_child(int cpu, atomic_uint_fast64_t *rounds)
{
	pid_t pid = fork();
	cpu_set_t set;

	cr_assert(pid >= 0);
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0)
		_exit(1);
	for (;;)
		atomic_fetch_add_explicit(rounds, 1, memory_order_relaxed);
}

/* A child that burns, tells through `pipe_out`, and waits to be killed. */
static pid_t burning_child(int *told)
{
	int pipe_fds[2];
	pid_t pid;
	char byte;

	cr_assert_eq(pipe(pipe_fds), 0);
	pid = fork();
	cr_assert(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		burn(BURN_NS);
		if (write(pipe_fds[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	close(pipe_fds[1]);
	cr_assert_eq(read(pipe_fds[0], &byte, 1), 1);
	*told = pipe_fds[0];
	return pid;
}

static void end_child(pid_t pid, int told)
{
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	close(told);
}

Test(cost, own_run_time_is_counted)
{
	struct cost before = sampled(getpid(), COST_ONE), after, spent;

	burn(BURN_NS);
	after = sampled(getpid(), COST_ONE);
	spent = cost_between(&before, &after);
	cr_assert_geq(spent.run_ns, BURN_NS);
	cr_assert_leq(spent.run_ns, spent.stamp_ns * spent.threads + SLACK_NS);
	cr_assert_geq(spent.user_ns + spent.system_ns + SLACK_NS, BURN_NS);
	cr_assert_eq(spent.processes, 1);
	cr_assert_geq(spent.threads, 1);
	cr_assert_gt(spent.rss_bytes, 100000);
	cr_assert(spent.switches_known);
}

Test(cost, threads_that_ended_are_counted)
{
	struct cost before = sampled(getpid(), COST_ONE), after;
	pthread_t thread;

	cr_assert_eq(pthread_create(&thread, NULL, burn_thread, NULL), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	after = sampled(getpid(), COST_ONE);
	cr_assert_geq(cost_between(&before, &after).run_ns, BURN_NS);
}

Test(cost, children_are_in_the_tree_and_not_in_the_one)
{
	struct cost before_one = sampled(getpid(), COST_ONE);
	struct cost before_tree = sampled(getpid(), COST_TREE);
	struct cost one, tree, descendants;
	int told;
	pid_t child = burning_child(&told);

	one = sampled(getpid(), COST_ONE);
	tree = sampled(getpid(), COST_TREE);
	descendants = sampled(getpid(), COST_DESCENDANTS);
	cr_assert_geq(cost_between(&before_tree, &tree).run_ns + SLACK_NS, BURN_NS);
	cr_assert_lt(cost_between(&before_one, &one).run_ns, BURN_NS);
	cr_assert_geq(descendants.run_ns + SLACK_NS, BURN_NS);
	cr_assert_eq(one.processes, 1);
	cr_assert_eq(tree.processes, 2);
	cr_assert_eq(descendants.processes, 1);
	end_child(child, told);
}

Test(cost, children_waited_for_stay_counted)
{
	struct cost before = sampled(getpid(), COST_DESCENDANTS), after;
	int told;
	pid_t child = burning_child(&told);

	end_child(child, told);
	after = sampled(getpid(), COST_DESCENDANTS);
	cr_assert_eq(after.processes, 0);
	cr_assert_geq(cost_between(&before, &after).run_ns + SLACK_NS, BURN_NS);
}

Test(cost, several_processes_are_summed)
{
	int told[2];
	pid_t children[2] = {burning_child(&told[0]), burning_child(&told[1])};
	struct cost sum;

	cr_assert_eq(cost_sample_pids(children, 2, COST_ONE, &sum), 0);
	cr_assert_eq(sum.processes, 2);
	cr_assert_geq(sum.run_ns + 2 * SLACK_NS, 2 * BURN_NS);
	end_child(children[0], told[0]);
	cr_assert_eq(cost_sample_pids(children, 2, COST_TREE, &sum), 0);
	cr_assert_eq(sum.processes, 1, "the one that is gone is left out");
	end_child(children[1], told[1]);
}

Test(cost, process_that_is_gone_is_an_error)
{
	int told;
	pid_t child = burning_child(&told);
	struct cost cost;

	end_child(child, told);
	cr_assert_eq(cost_sample(child, COST_ONE, &cost), -ESRCH);
	cr_assert_eq(cost_sample(child, COST_TREE, &cost), -ESRCH);
}

/* A name may hold brackets and blanks: the fields begin after the last bracket. */
Test(cost, any_process_name_is_read)
{
	struct cost cost;

	cr_assert_eq(prctl(PR_SET_NAME, "a) S 1 (b"), 0);
	cost = sampled(getpid(), COST_TREE);
	cr_assert_eq(cost.processes, 1);
	cr_assert_geq(cost.threads, 1);
	cr_assert_lt(cost.threads, 1000);
}

Test(cost, difference_never_wraps)
{
	struct cost before = {.run_ns = 10, .user_ns = 7, .stamp_ns = 100};
	struct cost after = {.run_ns = 4, .user_ns = 9, .stamp_ns = 150};
	struct cost spent = cost_between(&before, &after);

	cr_assert_eq(spent.run_ns, 0);
	cr_assert_eq(spent.user_ns, 2);
	cr_assert_eq(spent.stamp_ns, 50);
}

Test(cost, what_lies_between_two_samples_can_be_left_out)
{
	struct cost before = {.stamp_ns = 100, .run_ns = 10, .user_ns = 5, .switches_known = true},
		    from = {.stamp_ns = 200, .run_ns = 40, .user_ns = 20, .switches_known = true},
		    to = {.stamp_ns = 900, .run_ns = 47, .user_ns = 22, .switches_known = true},
		    after = {.stamp_ns = 1000, .run_ns = 77, .user_ns = 30, .switches_known = true};
	struct cost_cpus cpus = {.busy_ns = 3}, cpus_from = {.busy_ns = 30, .irq_ns = 2},
			 cpus_to = {.busy_ns = 35, .irq_ns = 9};

	cost_skip(&before, &from, &to);
	struct cost spent = cost_between(&before, &after);
	cr_assert_eq(spent.stamp_ns, 200);
	cr_assert_eq(spent.run_ns, 60);
	cr_assert_eq(spent.user_ns, 23);
	cr_assert(spent.switches_known);
	cost_cpus_skip(&cpus, &cpus_from, &cpus_to);
	cr_assert_eq(cpus.busy_ns, 8);
	cr_assert_eq(cpus.irq_ns, 7);
}

Test(cost, user_share_is_of_cpu_time)
{
	struct cost spent = {.user_ns = 30, .system_ns = 70};
	struct cost nothing = {0};

	cr_assert_float_eq(cost_user_share(&spent), 0.3, 1e-12);
	cr_assert_eq(cost_user_share(&nothing), -1.0);
}

static int own_cpu(void)
{
	cpu_set_t set;

	cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		if (!CPU_ISSET(cpu, &set))
			continue;
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		cr_assert_eq(sched_setaffinity(0, sizeof(set), &set), 0);
		return cpu;
	}
	return -1;
}

/* The first CPU that may be used, of two; the calling thread goes to the other. -1: there is one. */
static int other_cpu(void)
{
	cpu_set_t set;
	int first = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(set), &set), 0);
	if (CPU_COUNT(&set) < 2)
		return -1;
	while (!CPU_ISSET(first, &set))
		first++;
	CPU_CLR(first, &set);
	cr_assert_eq(sched_setaffinity(0, sizeof(set), &set), 0);
	return first;
}

/* Without it a sample lacks what the child burnt since the last tick of its CPU: most readings 1.3 ms apart are the same. */
Test(cost, run_times_are_caught_up_on_the_cpus_that_are_named)
{
	atomic_uint_fast64_t *rounds = mmap(NULL, sizeof(*rounds), PROT_READ | PROT_WRITE,
					    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int cpu = other_cpu();
	cpu_set_t before, after;
	uint64_t counted = 0, run_ns = 0;

	if (cpu < 0)
		cr_skip_test("with one CPU each switch to us settles the child's account");
	cr_assert_neq(rounds, MAP_FAILED);
	cr_assert_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	pid_t pid = counting_child(cpu, rounds);

	/* Where others are on that CPU, too, it may be long before its first turn. */
	while (!atomic_load(rounds))
		usleep(1000);
	for (int i = 0; i < 50; i++) {
		usleep(1300);
		bool ran = atomic_load(rounds) > counted;

		cost_catch_up(&cpu, 1);
		uint64_t now_ns = sampled(pid, COST_ONE).run_ns;
		cr_assert(!ran || now_ns > run_ns, "sample %d", i);
		run_ns = now_ns;
		counted = atomic_load(rounds);
	}
	cr_assert_gt(counted, 0);
	cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	cr_assert(CPU_EQUAL(&before, &after));
	cr_assert_eq(sched_getscheduler(0), SCHED_OTHER);
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	munmap(rounds, sizeof(*rounds));
}

Test(cost, busy_cpu_is_seen)
{
	struct cost_cpus before, after, spent;
	int cpu = own_cpu();

	cr_assert_eq(cost_cpus_sample(&cpu, 1, &before), 0);
	burn(2 * BURN_NS);
	cr_assert_eq(cost_cpus_sample(&cpu, 1, &after), 0);
	spent = cost_cpus_between(&before, &after);
	cr_assert_gt(spent.busy_ns, 0);
	cr_assert_eq(spent.busy_ns,
		     spent.user_ns + spent.system_ns + spent.irq_ns + spent.softirq_ns);
}

Test(cost, cpu_that_is_not_there_is_refused)
{
	struct cost_cpus sample;
	int cpu = 100000;

	cr_assert_eq(cost_cpus_sample(&cpu, 1, &sample), -EINVAL);
	cr_assert_eq(cost_cpus_sample(&cpu, 0, &sample), -EINVAL);
}

/* A server that sends in large batches leaves much of its packets' way to this thread. */
Test(cost, run_time_of_ksoftirqd_is_that_of_the_thread_of_that_name)
{
	char command[] = "cat /proc/$(pgrep -x ksoftirqd/0)/schedstat 2>/dev/null";
	struct cost_cpus before, after;
	unsigned long long run_ns;
	int cpu = 0;
	FILE *pipe;
	int got;

	cr_assert_eq(cost_cpus_sample(&cpu, 1, &before), 0);
	pipe = popen(command, "r");
	got = fscanf(pipe, "%llu", &run_ns);
	pclose(pipe);
	if (got != 1)
		cr_skip_test("no ksoftirqd/0 to be seen here");
	cr_assert_eq(cost_cpus_sample(&cpu, 1, &after), 0);
	cr_assert(before.ksoftirqd_ns > 0);
	cr_assert(before.ksoftirqd_ns <= run_ns);
	cr_assert(run_ns <= after.ksoftirqd_ns);
}

Test(cost, interrupts_are_added_only_where_the_kernel_bills_nobody)
{
	const struct cost_cpus spent = {.irq_ns = 3, .softirq_ns = 40, .ksoftirqd_ns = 500};

	struct cost_unbilled unbilled = cost_cpus_unbilled(&spent, false);

	cr_assert_eq(unbilled.ksoftirqd_ns, 500);
	cr_assert_eq(cost_unbilled_ns(&unbilled), 500);
	unbilled = cost_cpus_unbilled(&spent, true);
	cr_assert_eq(unbilled.irq_ns, 3);
	cr_assert_eq(unbilled.softirq_ns, 40);
	cr_assert_eq(cost_unbilled_ns(&unbilled), 43);
}

Test(cost, irq_time_is_switched_off_by_one_word_of_the_kernels_command_line)
{
	cr_assert(cost_cmdline_without_irq_time("quiet tsc=noirqtime\n"));
	cr_assert(cost_cmdline_without_irq_time("tsc=noirqtime quiet"));
	cr_assert_not(cost_cmdline_without_irq_time("quiet tsc=reliable\n"));
	cr_assert_not(cost_cmdline_without_irq_time("xtsc=noirqtime tsc=noirqtimes"));
}

Test(cost, the_kernels_configuration_tells_plain_or_compressed)
{
	static const char with[] = "CONFIG_A=y\nCONFIG_IRQ_TIME_ACCOUNTING=y\nCONFIG_B=y\n";
	static const char without[] = "# CONFIG_IRQ_TIME_ACCOUNTING is not set\n";
	char path[] = "/tmp/volley-config-XXXXXX";
	int fd = mkstemp(path);

	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, with, sizeof(with) - 1), (ssize_t)sizeof(with) - 1);
	cr_assert(cost_config_has_irq_time(path));
	cr_assert_eq(ftruncate(fd, 0), 0);
	cr_assert_eq(pwrite(fd, without, sizeof(without) - 1, 0), (ssize_t)sizeof(without) - 1);
	cr_assert_not(cost_config_has_irq_time(path));
	close(fd);
	gzFile file = gzopen(path, "w");
	cr_assert_gt(gzwrite(file, with, sizeof(with) - 1), 0);
	gzclose(file);
	cr_assert(cost_config_has_irq_time(path));
	unlink(path);
	cr_assert_not(cost_config_has_irq_time(path));
}
