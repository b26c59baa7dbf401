/* thread_limits.c - whether a row may have as many threads as it needs */
#include "bench/thread_limits.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bench/sysfile.h"

#define TASKS_SPARE 64    /* the load generator's, and what else starts meanwhile */
#define PIDS_RESERVED 300 /* the kernel gives ids below only before the first wrap */
#define MAPS_PER_THREAD 2 /* stack and guard */
#define MAPS_SPARE 128    /* program, libraries, heap */

static uint64_t number_of(const char *path)
{
	uint64_t value;

	return sysfile_u64(path, &value) == 0 ? value : UINT64_MAX;
}

static uint64_t room(uint64_t max, uint64_t used)
{
	return max > used ? max - used : 0;
}

/* One cgroup, `path` its folder; remembered if it has less room than those before. */
static void read_group(struct thread_limits *limits, const char *path)
{
	char file[THREAD_LIMITS_PATH_MAX];
	uint64_t max, tasks;

	if (snprintf(file, sizeof(file), "%s/pids.current", path) >= (int)sizeof(file) ||
	    sysfile_u64(file, &tasks) != 0)
		return;
	snprintf(file, sizeof(file), "%s/pids.max", path);
	/* "max" is no number: no limit */
	if (sysfile_u64(file, &max) != 0 ||
	    room(max, tasks) >= room(limits->group_max, limits->group_tasks))
		return;
	limits->group_max = max;
	limits->group_tasks = tasks;
	memcpy(limits->group_path, file, sizeof(file));
}

/* The cgroup `below` the mount point `top` and all above it, the mount's own included. */
static void read_groups(struct thread_limits *limits, const char *top, const char *below)
{
	char path[THREAD_LIMITS_PATH_MAX - 16];
	const size_t top_len = strlen(top);

	if (snprintf(path, sizeof(path), "%s%s", top, below) >= (int)sizeof(path))
		return;
	for (char *slash; (slash = strrchr(path + top_len, '/')); *slash = '\0')
		if (slash[1])
			read_group(limits, path);
	read_group(limits, path);
}

static void read_all_groups(struct thread_limits *limits)
{
	char text[4096], *rest = text;

	if (sysfile_read("/proc/self/cgroup", text, sizeof(text)) < 0)
		return;
	/* "8:pids:/folder" of version 1, "0::/folder" of version 2, in either's usual place */
	for (char *line; (line = strsep(&rest, "\n"));) {
		char *controllers = strchr(line, ':');
		char *folder = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!folder)
			continue;
		*folder++ = '\0';
		controllers++;
		if (!*controllers) {
			read_groups(limits, "/sys/fs/cgroup", folder);
			read_groups(limits, "/sys/fs/cgroup/unified", folder);
		} else if (strstr(controllers, "pids")) {
			read_groups(limits, "/sys/fs/cgroup/pids", folder);
		}
	}
}

void thread_limits_read(struct thread_limits *limits)
{
	struct rlimit nproc;
	unsigned long tasks;
	char text[128];

	memset(limits, 0, sizeof(*limits));
	limits->threads_max = number_of("/proc/sys/kernel/threads-max");
	limits->pid_max = number_of("/proc/sys/kernel/pid_max");
	limits->map_max = number_of("/proc/sys/vm/max_map_count");
	/* 0.42 0.35 0.30 2/341 12345: running and all tasks before the last id */
	if (sysfile_read("/proc/loadavg", text, sizeof(text)) > 0 &&
	    sscanf(text, "%*s %*s %*s %*u/%lu", &tasks) == 1)
		limits->tasks = tasks;
	limits->nproc = UINT64_MAX;
	if (geteuid() != 0 && getrlimit(RLIMIT_NPROC, &nproc) == 0 &&
	    nproc.rlim_cur != RLIM_INFINITY)
		limits->nproc = nproc.rlim_cur;
	limits->group_max = UINT64_MAX;
	read_all_groups(limits);
}

/* A limit, and how much of it is needed. The mending command is `before`, that number, `after`. */
struct need {
	const char *limit;
	uint64_t value, needed;
	const char *before, *after;
};

int thread_limits_check(const struct thread_limits *limits, const char *who, uint64_t threads,
			char *why, size_t why_bytes)
{
	const uint64_t tasks = limits->tasks + threads + TASKS_SPARE;
	char group_limit[THREAD_LIMITS_PATH_MAX + 32], group_after[THREAD_LIMITS_PATH_MAX + 32];
	const struct need needs[] = {
		{"kernel.threads-max", limits->threads_max, tasks,
		 "sysctl -w kernel.threads-max=", ""},
		{"kernel.pid_max", limits->pid_max, tasks + PIDS_RESERVED,
		 "sysctl -w kernel.pid_max=", ""},
		{"vm.max_map_count", limits->map_max, MAPS_PER_THREAD * threads + MAPS_SPARE,
		 "sysctl -w vm.max_map_count=", ""},
		{"RLIMIT_NPROC", limits->nproc, threads + TASKS_SPARE,
		 "prlimit --pid $$ --nproc=", ""},
		{group_limit, limits->group_max, limits->group_tasks + threads + TASKS_SPARE,
		 "echo ", group_after},
	};

	snprintf(group_limit, sizeof(group_limit), "pids.max of a cgroup (%s)", limits->group_path);
	snprintf(group_after, sizeof(group_after), " > %s", limits->group_path);
	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++) {
		const struct need *need = &needs[i];

		if (need->value >= need->needed)
			continue;
		snprintf(why, why_bytes,
			 "threads: %s is %" PRIu64 ", %s needs %" PRIu64 " of it for %" PRIu64
			 " threads; as root: %s%" PRIu64 "%s, or take fewer --connections",
			 need->limit, need->value, who, need->needed, threads, need->before,
			 need->needed, need->after);
		return -EAGAIN;
	}
	return 0;
}
