/* cost.h - what processes and CPUs have spent: two samples, subtracted, are the cost of a window */
#ifndef VLY_BENCH_COST_H
#define VLY_BENCH_COST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Of a set of processes, since each began. `run_ns` is the scheduler's own run time (what schedstat
 * prints), read through the processes' CPU clocks, which include threads that have ended. A thread
 * that is running on another CPU is brought up to date by its tick only, so each sample may lack up
 * to one tick (1 to 10 ms) for each CPU in use, unless cost_catch_up() was called. Processes that ended and were waited for by one of
 * the set are included with a resolution of 10 ms.
 */
struct cost {
	uint64_t stamp_ns; /* CLOCK_MONOTONIC, middle of sampling: scale by it, not by the window */
	uint64_t run_ns;   /* user and system */
	uint64_t user_ns;  /* /proc/PID/stat, in steps of 10 ms: for the ratio only */
	uint64_t system_ns;
	uint64_t switches_voluntary, switches_involuntary; /* of living threads */
	bool switches_known;         /* false above COST_THREADS_MAX threads: too many to read */
	uint64_t rss_bytes;          /* sum over processes: shared pages count in each. Gauge */
	uint32_t processes, threads; /* alive. Gauges */
};

#define COST_THREADS_MAX 512
#define COST_KSOFTIRQD_CPUS 1024

/* What to sample. */
enum cost_scope {
	COST_ONE,         /* the process alone */
	COST_TREE,        /* the process, its descendants, and children it has waited for */
	COST_DESCENDANTS, /* COST_TREE without the process itself: what a supervisor started */
};

/*
 * Brings run times on these CPUs up to date, for a cost_sample() right after it: the calling thread runs on
 * each of them for a moment, and the scheduler settles the account of whoever ran there until then.
 */
void cost_catch_up(const int *cpus, unsigned count);

/* 0; -ESRCH if `pid` is gone; -ENOMEM; -errno of /proc. */
__attribute__((warn_unused_result)) int cost_sample(pid_t pid, enum cost_scope scope,
						    struct cost *cost);

/*
 * The same for several processes, each with `scope`, summed: subtrees must not overlap. Those that
 * are gone are left out.
 */
__attribute__((warn_unused_result)) int cost_sample_pids(const pid_t *pids, unsigned count,
							 enum cost_scope scope, struct cost *cost);

/*
 * What was spent from `before` to `after`: counters subtracted (0 where a process that ended took
 * its share along), gauges from `after`, stamp_ns = the time between. switches_known only if known
 * in both.
 */
struct cost cost_between(const struct cost *before, const struct cost *after);

/* Leaves out what was spent from `from` to `to`, as if `before` had been taken so much later. */
void cost_skip(struct cost *before, const struct cost *from, const struct cost *to);

/* User share of the CPU time, 0..1; -1 if nothing was spent. */
double cost_user_share(const struct cost *spent);

/* Of CPUs since the machine started, from /proc/stat, in steps of 10 ms, summed. */
struct cost_cpus {
	uint64_t stamp_ns;
	uint64_t busy_ns; /* everything but idle, iowait and steal */
	uint64_t user_ns, system_ns, irq_ns,
		softirq_ns; /* addends of busy_ns (user includes nice and guests) */
	uint64_t idle_ns;   /* idle and iowait */
	uint64_t steal_ns;  /* the hypervisor ran somebody else */
	/*
	 * Run time of the CPUs' ksoftirqd: a burst of sends whose packets the sender's own time does
	 * not get through goes on in there, so it is a part of what the pinned server costs. Exact.
	 */
	uint64_t ksoftirqd_ns;
};

/*
 * What the kernel did on some CPUs for the processes pinned to them but billed to nobody's run time:
 * ksoftirqd's, or, with IRQ time accounting, all of interrupts and softirqs (ksoftirqd's own are among
 * the latter). What does not apply is 0.
 */
struct cost_unbilled {
	uint64_t ksoftirqd_ns, irq_ns, softirq_ns;
};

struct cost_unbilled cost_cpus_unbilled(const struct cost_cpus *spent, bool irq_time_apart);

uint64_t cost_unbilled_ns(const struct cost_unbilled *unbilled);

/* As much of it as falls into a part of the time, or an estimate of a little more. */
void cost_unbilled_scale(struct cost_unbilled *unbilled, double factor);

/*
 * Whether this kernel takes interrupts out of run times: CONFIG_IRQ_TIME_ACCOUNTING, unless it was
 * started with tsc=noirqtime. Looked up once.
 */
bool cost_irq_time_apart(void);

/* Whether a kernel's command line switches that off. */
bool cost_cmdline_without_irq_time(const char *text);

/* The same by a kernel's configuration, plain or compressed; false if it cannot be read. */
bool cost_config_has_irq_time(const char *path);

/* 0; -EINVAL: no CPUs, or one that /proc/stat does not list (offline); -errno of /proc/stat. */
__attribute__((warn_unused_result)) int cost_cpus_sample(const int *cpus, unsigned count,
							 struct cost_cpus *sample);

struct cost_cpus cost_cpus_between(const struct cost_cpus *before, const struct cost_cpus *after);

/* As cost_skip(). */
void cost_cpus_skip(struct cost_cpus *before, const struct cost_cpus *from,
		    const struct cost_cpus *to);

#endif
