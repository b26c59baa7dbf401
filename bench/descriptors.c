/* descriptors.c - how many a process may have, and whether each of its threads may have as many */
#include "bench/descriptors.h"

#include <sched.h>
#include <sys/resource.h>

uint64_t descriptors_raise(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0 && getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 0;
	return limit.rlim_cur;
}

bool descriptors_unshare(void)
{
	return unshare(CLONE_FILES) == 0;
}
