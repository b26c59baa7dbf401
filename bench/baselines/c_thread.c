/* c_thread.c - the baseline: a plain echo server with a thread per connection */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/baselines/baseline.h"

/*
 * Per message one blocking recv() and one blocking send(), and the scheduler's switch to the thread
 * and away. One thread accepts and makes the others before their first message comes. A peer that
 * stops reading stops its own thread.
 *
 * Stacks are bounded: the buffer and some pages, most of them never touched, and a guard page. A
 * thread takes two mappings (stack and guard), an id, and a place in threads-max and pids.max.
 */
#define STACK_SPARE_BYTES 16384

static bool echo(int fd, const uint8_t *bytes, size_t len_bytes)
{
	while (len_bytes > 0) {
		ssize_t sent = bare_send(fd, bytes, len_bytes);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return false;
		bytes += sent;
		len_bytes -= (size_t)sent;
	}
	return true;
}

static void *serve(void *arg)
{
	const int fd = (int)(intptr_t)arg;
	uint8_t buffer[BASELINE_BUFFER_BYTES];

	for (;;) {
		ssize_t len = bare_recv(fd, buffer, sizeof(buffer));

		if (len < 0 && errno == EINTR)
			continue;
		if (len <= 0 || !echo(fd, buffer, (size_t)len))
			break;
	}
	close(fd);
	return NULL;
}

static void set_attributes(pthread_attr_t *attr)
{
	const size_t page_bytes = (size_t)sysconf(_SC_PAGESIZE);
	size_t bytes = BASELINE_BUFFER_BYTES + STACK_SPARE_BYTES + (size_t)PTHREAD_STACK_MIN;
	sigset_t all;

	sigfillset(&all); /* signals end the process by its first thread, which has a large stack */
	bytes = (bytes + page_bytes - 1) / page_bytes * page_bytes;
	errno = pthread_attr_init(attr);
	errno = errno ? errno : pthread_attr_setdetachstate(attr, PTHREAD_CREATE_DETACHED);
	errno = errno ? errno : pthread_attr_setstacksize(attr, bytes);
	errno = errno ? errno : pthread_attr_setsigmask_np(attr, &all);
	if (errno)
		baseline_die("pthread_attr");
}

/* The first line of a small file; "?" if there is none. */
static const char *line_of(const char *path, char *line, size_t line_bytes)
{
	FILE *file = fopen(path, "re");

	if (!file || !fgets(line, (int)line_bytes, file))
		snprintf(line, line_bytes, "?");
	line[strcspn(line, "\n")] = '\0';
	if (file)
		fclose(file);
	return line;
}

/*
 * pthread_create() says EAGAIN whichever limit it met; ENOMEM of mmap() becomes EAGAIN in glibc,
 * too.
 */
static void tell_limits(int err)
{
	char threads_max[32], pid_max[32], map_max[32], nproc[32] = "unlimited";
	struct rlimit limit;

	if (getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
		snprintf(nproc, sizeof(nproc), "%llu", (unsigned long long)limit.rlim_cur);
	baseline_warn("no thread for one more connection, it is closed: pthread_create: %s; one of "
		      "these is used up: RLIMIT_NPROC %s (ulimit -u), kernel.threads-max %s, "
		      "kernel.pid_max %s, vm.max_map_count %s (two for a thread), pids.max of the "
		      "cgroup, memory",
		      strerror(err), nproc,
		      line_of("/proc/sys/kernel/threads-max", threads_max, sizeof(threads_max)),
		      line_of("/proc/sys/kernel/pid_max", pid_max, sizeof(pid_max)),
		      line_of("/proc/sys/vm/max_map_count", map_max, sizeof(map_max)));
}

int main(int argc, char **argv)
{
	pthread_attr_t attr;
	bool told = false;
	int listen_fd;

	baseline_start(argc, argv);
	baseline_pin_all(); /* threads inherit it */
	set_attributes(&attr);
	listen_fd = baseline_listen(0);
	baseline_ready(listen_fd);
	for (;;) {
		int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
		pthread_t thread;
		int err;

		if (fd < 0) {
			if (baseline_accept_lacks())
				usleep(BASELINE_RETRY_MS * 1000);
			continue;
		}
		baseline_nodelay(fd);
		err = pthread_create(&thread, &attr, serve, (void *)(intptr_t)fd);
		if (!err)
			continue;
		close(fd);
		if (!told)
			tell_limits(err);
		told = true;
	}
}
