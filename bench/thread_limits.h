/* thread_limits.h - whether a row may have as many threads as it needs */
#ifndef VLY_BENCH_THREAD_LIMITS_H
#define VLY_BENCH_THREAD_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#define THREAD_LIMITS_PATH_MAX 512

/* UINT64_MAX: no such limit, or none that can be read. */
struct thread_limits {
	uint64_t tasks;       /* processes and threads on this machine now */
	uint64_t threads_max; /* kernel.threads-max */
	uint64_t pid_max;     /* kernel.pid_max: each thread has an id */
	uint64_t map_max;     /* vm.max_map_count, of one process */
	uint64_t nproc;       /* RLIMIT_NPROC, of one user; root has none */
	/* The cgroup, of this process's and those above, that has the least room left. */
	uint64_t group_max, group_tasks;
	char group_path[THREAD_LIMITS_PATH_MAX]; /* its file pids.max */
};

void thread_limits_read(struct thread_limits *limits);

/*
 * For a process with `threads` threads, each with a stack of its own and a guard page. 0, or
 * -EAGAIN with one line in `why` that names the limit, its value, what is needed, and the command
 * that mends it.
 */
int thread_limits_check(const struct thread_limits *limits, const char *who, uint64_t threads,
			char *why, size_t why_bytes);

#endif
