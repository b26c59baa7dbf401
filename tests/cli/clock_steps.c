/* clock_steps.c - preloaded: the calendar's clock jumps by hours, to and fro, whenever it is read */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* Twice as many hours each time, the other way each time. */
static time_t jump_s(void)
{
	static atomic_int calls;
	int call = atomic_fetch_add(&calls, 1);
	time_t hours = (time_t)1 << (call % 12);

	return (call % 2 ? -hours : hours) * 3600;
}

/* A line in the file that CLOCK_STEPS_LOG names: who reads it. */
static void tell(const char *name)
{
	const char *path = getenv("CLOCK_STEPS_LOG");
	char line[4352], command[4096];
	int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? 0 : read(fd, command, sizeof(command) - 1);

	if (fd >= 0)
		close(fd);
	command[len < 0 ? 0 : len] = '\0';
	for (ssize_t i = 0; i < len; i++)
		if (!command[i])
			command[i] = ' ';
	len = snprintf(line, sizeof(line), "%s: %s\n", name, command);
	fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
	if (fd >= 0 && write(fd, line, (size_t)len) != len)
		abort();
	if (fd >= 0)
		close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	static int (*next)(clockid_t, struct timespec *);
	int result;

	if (!next)
		next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
	result = next(clock, now);
	if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) {
		now->tv_sec += jump_s();
		tell("clock_gettime");
	}
	return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	static int (*next)(struct timeval *, void *);
	int result;

	if (!next)
		next = (int (*)(struct timeval *, void *))dlsym(RTLD_NEXT, "gettimeofday");
	result = next(now, zone);
	now->tv_sec += jump_s();
	tell("gettimeofday");
	return result;
}

time_t time(time_t *where)
{
	static time_t (*next)(time_t *);
	time_t now;

	if (!next)
		next = (time_t(*)(time_t *))dlsym(RTLD_NEXT, "time");
	now = next(NULL) + jump_s();
	if (where)
		*where = now;
	tell("time");
	return now;
}
