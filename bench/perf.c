/* perf.c - perf stat around a server: counts its system calls while it is told to */
#include "bench/perf.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/sysfile.h"
#include "volley/core.h"

#define TRACEFS "/sys/kernel/tracing"
#define TOTAL TRACEFS "/events/raw_syscalls/sys_enter/id"
#define ACK_PATIENCE_MS 2000
#define OUT_BYTES 65536 /* a pipe's, so that perf never waits for us */

/* Sees to it that tracepoints can be looked up. */
static void find_tracefs(struct perf *perf)
{
	perf->tracefs[0] = '\0';
	if (access(TOTAL, R_OK) == 0)
		return;
	if (errno == EACCES) {
		snprintf(perf->tracefs, sizeof(perf->tracefs),
			 "%s may not be read by this user; as root: mount -o remount,mode=755 %s",
			 TRACEFS, TRACEFS);
		return;
	}
	/* Private, so that neither the mount nor its end is anybody else's business. */
	if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
	    mount("tracefs", TRACEFS, "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) != 0)
		snprintf(
			perf->tracefs, sizeof(perf->tracefs),
			"no tracefs is mounted, and it could not be: %s; as root: mount -t tracefs tracefs %s",
			strerror(errno), TRACEFS);
	else if (access(TOTAL, R_OK) != 0)
		snprintf(perf->tracefs, sizeof(perf->tracefs),
			 "this kernel has no tracepoints of system calls (CONFIG_FTRACE_SYSCALLS)");
}

/* The events to be counted: one that does not exist would make perf refuse them all. */
static char *event_list(const struct perf *perf, char *text, size_t size_bytes)
{
	size_t len = (size_t)snprintf(text, size_bytes, "raw_syscalls:sys_enter");
	char path[128];

	for (size_t i = 0; i < SYSCALLS_NAMES; i++) {
		snprintf(path, sizeof(path), TRACEFS "/events/syscalls/sys_enter_%s",
			 syscalls_names[i]);
		/* Where we cannot look, perf says what is wrong. */
		if (!perf->tracefs[0] && access(path, F_OK) != 0)
			continue;
		len += (size_t)snprintf(text + len, size_bytes - len, ",syscalls:sys_enter_%s",
					syscalls_names[i]);
	}
	return text;
}

static bool on_path(const char *name)
{
	const char *at = getenv("PATH");
	char path[4096];

	for (at = at ? at : "/usr/bin:/bin"; *at; at += *at == ':') {
		size_t len = strcspn(at, ":");
		snprintf(path, sizeof(path), "%.*s/%s", (int)len, at, name);
		if (access(path, X_OK) == 0)
			return true;
		at += len;
	}
	return false;
}

/* Ours is ends[index]; the other one is for perf. */
static int open_pipe(int *ours, int *theirs, int index)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) != 0)
		return -errno;
	*ours = ends[index];
	*theirs = ends[!index];
	return 0;
}

int perf_prepare(struct perf *perf, struct words *words, char *why, size_t why_bytes)
{
	struct words whole = {.count = 0};
	char events[2048];

	if (!on_path("perf")) {
		snprintf(why, why_bytes, "there is no perf; apt install linux-perf");
		return -ENOENT;
	}
	find_tracefs(perf);
	int err = open_pipe(&perf->control_fd, &perf->theirs[0], 1);
	err = err ? err : open_pipe(&perf->ack_fd, &perf->theirs[1], 0);
	err = err ? err : open_pipe(&perf->out_fd, &perf->theirs[2], 0);
	/* Descriptors, not FIFOs: there is nothing in any folder that could be left over. */
	err = err ? err : words_add(&whole, "perf");
	err = err ? err : words_add(&whole, "stat");
	err = err ? err : words_add(&whole, "-x,");
	err = err ? err : words_add(&whole, "-D");
	err = err ? err : words_add(&whole, "-1");
	err = err ? err : words_add(&whole, "--control=fd:%d,%d", perf->theirs[0], perf->theirs[1]);
	err = err ? err : words_add(&whole, "--log-fd=%d", perf->theirs[2]);
	err = err ? err : words_add(&whole, "-e");
	err = err ? err : words_add(&whole, "%s", event_list(perf, events, sizeof(events)));
	err = err ? err : words_add(&whole, "--");
	for (unsigned int i = 0; i < words->count; i++)
		err = err ? err : words_add(&whole, "%s", words->argv[i]);
	if (err) {
		words_fini(&whole);
		snprintf(why, why_bytes, "perf could not be prepared: %s", strerror(-err));
		return err;
	}
	words_fini(words);
	*words = whole;
	return 0;
}

void perf_inherit(const struct perf *perf)
{
	for (int i = 0; i < 3; i++)
		if (perf->theirs[i] >= 0)
			(void)fcntl(perf->theirs[i], F_SETFD, 0);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void perf_started(struct perf *perf)
{
	for (int i = 0; i < 3; i++)
		close_fd(&perf->theirs[i]);
}

int perf_count(struct perf *perf, bool on)
{
	static const char *const commands[] = {"disable\n", "enable\n"};
	const char *command = commands[on];
	struct pollfd answered = {.fd = perf->ack_fd, .events = POLLIN};
	char answer[64];

	/* A signal that a dead perf causes is the caller's to ignore. */
	if (write(perf->control_fd, command, strlen(command)) < 0)
		return -EPIPE;
	int got = poll(&answered, 1, ACK_PATIENCE_MS);
	if (got <= 0 || read(perf->ack_fd, answer, sizeof(answer)) <= 0)
		return got == 0 ? -ETIMEDOUT : -EPIPE;
	uint64_t now = vly_now_ns();
	if (on)
		perf->began_ns = now;
	else if (perf->began_ns)
		perf->counted_ns = now - perf->began_ns;
	return 0;
}

pid_t perf_server(pid_t perf_pid)
{
	return child_first_of(perf_pid);
}

void perf_result(struct perf *perf, struct syscalls *syscalls)
{
	static char text[OUT_BYTES];
	size_t len = 0;
	ssize_t got;

	/* The server's own children may still hold the other end: take what is there. */
	(void)fcntl(perf->out_fd, F_SETFL, O_NONBLOCK);
	while (len < sizeof(text) - 1 &&
	       (got = read(perf->out_fd, text + len, sizeof(text) - 1 - len)) > 0)
		len += (size_t)got;
	text[len] = '\0';
	if (syscalls_parse(text, syscalls) == 0 && perf->counted_ns == 0) {
		syscalls->counted = false;
		snprintf(syscalls->reason, sizeof(syscalls->reason),
			 "perf was not told in time when to count");
	}
	syscalls->counted_ns = perf->counted_ns;
}

void perf_diagnose(const struct perf *perf, char *why, size_t why_bytes)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(attr),
		.disabled = 1,
		.inherit = 1,
	};
	uint64_t id = 0, paranoid = 0;

	snprintf(why, why_bytes, "%s", perf->tracefs);
	if (why[0] || sysfile_u64(TOTAL, &id) != 0)
		return;
	attr.config = id;
	int fd = (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	int err = errno;
	if (fd >= 0) {
		close(fd);
		return;
	}
	(void)sysfile_u64("/proc/sys/kernel/perf_event_paranoid", &paranoid);
	snprintf(why, why_bytes,
		 "perf_event_open: %s (kernel.perf_event_paranoid %llu); run as root, or as root: "
		 "sysctl -w kernel.perf_event_paranoid=-1",
		 strerror(err), (unsigned long long)paranoid);
}

void perf_fini(struct perf *perf)
{
	perf_started(perf);
	close_fd(&perf->control_fd);
	close_fd(&perf->ack_fd);
	close_fd(&perf->out_fd);
}

int perf_check(char *why, size_t why_bytes)
{
	struct perf perf = PERF_NONE;

	if (!on_path("perf")) {
		snprintf(why, why_bytes, "there is no perf; apt install linux-perf");
		return -ENOENT;
	}
	/* Root gets a tracefs for as long as the probe takes. */
	if (access(TOTAL, R_OK) != 0 && geteuid() != 0) {
		snprintf(why, why_bytes, "%s/events cannot be read: %s", TRACEFS, strerror(errno));
		return -EACCES;
	}
	perf_diagnose(&perf, why, why_bytes);
	return why[0] ? -EPERM : 0;
}
