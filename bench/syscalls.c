/* syscalls.c - how many system calls a server made for each message, by name */
#include "bench/syscalls.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/control.h"

#define TOTAL_EVENT "raw_syscalls:sys_enter"
#define NAME_EVENT "syscalls:sys_enter_"
#define TOLD_MIN 0.0005 /* rounds to 0.001 */

const char *const syscalls_names[] = {
	"read",       "write",       "readv",        "writev",         "recvfrom",
	"sendto",     "recvmsg",     "sendmsg",      "recvmmsg",       "sendmmsg",
	"epoll_wait", "epoll_pwait", "epoll_pwait2", "epoll_ctl",      "poll",
	"ppoll",      "select",      "pselect6",     "io_uring_enter", "accept",
	"accept4",    "close",       "shutdown",     "setsockopt",     "fcntl",
	"ioctl",      "futex",       "sched_yield",  "nanosleep",      "clock_nanosleep",
	"brk",        "mmap",        "mremap",       "munmap",         "madvise",
};
static_assert(sizeof(syscalls_names) / sizeof(syscalls_names[0]) == SYSCALLS_NAMES,
	      "SYSCALLS_NAMES counts them");

static double *count_of(struct syscalls *syscalls, const char *event, size_t len)
{
	size_t prefix = strlen(NAME_EVENT);

	if (len == strlen(TOTAL_EVENT) && strncmp(event, TOTAL_EVENT, len) == 0)
		return &syscalls->total;
	if (len <= prefix || strncmp(event, NAME_EVENT, prefix) != 0)
		return NULL;
	for (size_t i = 0; i < SYSCALLS_NAMES; i++)
		if (strlen(syscalls_names[i]) == len - prefix &&
		    strncmp(syscalls_names[i], event + prefix, len - prefix) == 0)
			return &syscalls->by_name[i];
	return NULL;
}

int syscalls_parse(const char *csv, struct syscalls *syscalls)
{
	bool total = false;

	memset(syscalls, 0, sizeof(*syscalls));
	/* A line is "count,unit,event,...": the count may be "<not counted>". */
	for (const char *line = csv; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		size_t number = strcspn(line, ",\n");
		if (!isdigit((unsigned char)line[0]) || line[number] != ',')
			continue;
		size_t unit = number + 1 + strcspn(line + number + 1, ",\n");
		if (line[unit] != ',')
			continue;
		const char *event = line + unit + 1;
		double *count = count_of(syscalls, event, strcspn(event, ",\n"));
		if (count)
			*count += strtod(line, NULL);
		total = total || count == &syscalls->total;
	}
	syscalls->counted = total;
	if (total)
		return 0;
	snprintf(syscalls->reason, sizeof(syscalls->reason),
		 "perf ended without a count of system calls");
	return -EBADMSG;
}

double syscalls_other(const struct syscalls *syscalls)
{
	double named = 0;

	for (size_t i = 0; i < SYSCALLS_NAMES; i++)
		named += syscalls->by_name[i];
	/* Events are switched on one after another: the total may lack a call that has a name. */
	return fmax(0, syscalls->total - named);
}

void syscalls_scale(struct syscalls *syscalls, double factor)
{
	syscalls->total *= factor;
	for (size_t i = 0; i < SYSCALLS_NAMES; i++)
		syscalls->by_name[i] *= factor;
}

json_t *syscalls_by_name_json(const struct syscalls *syscalls)
{
	if (!syscalls->counted)
		return json_null();
	json_t *object = json_object();

	for (size_t i = 0; i < SYSCALLS_NAMES; i++)
		if (syscalls->by_name[i] > 0)
			json_object_set_new(object, syscalls_names[i],
					    json_real(syscalls->by_name[i]));
	json_object_set_new(object, "other", json_real(syscalls_other(syscalls)));
	return object;
}

json_t *syscalls_to_json(const struct syscalls *syscalls)
{
	json_t *object = json_pack("{s:b, s:I, s:f, s:s}", "counted", (int)syscalls->counted,
				   "counted_ns", (json_int_t)syscalls->counted_ns, "total",
				   syscalls->total, "reason", syscalls->reason);
	json_t *names = json_object();

	for (size_t i = 0; i < SYSCALLS_NAMES; i++)
		json_object_set_new(names, syscalls_names[i], json_real(syscalls->by_name[i]));
	json_object_set_new(object, "by_name", names);
	return object;
}

void syscalls_from_json(const json_t *message, struct syscalls *syscalls)
{
	const json_t *names = json_object_get(message, "by_name");

	memset(syscalls, 0, sizeof(*syscalls));
	syscalls->counted = json_is_true(json_object_get(message, "counted"));
	syscalls->counted_ns = (uint64_t)control_int(message, "counted_ns", 0);
	syscalls->total = control_real(message, "total", 0);
	for (size_t i = 0; i < SYSCALLS_NAMES; i++)
		syscalls->by_name[i] = control_real(names, syscalls_names[i], 0);
	snprintf(syscalls->reason, sizeof(syscalls->reason), "%s",
		 control_text(message, "reason", ""));
}

char *syscalls_text(const struct syscalls *syscalls, char *text, size_t size_bytes)
{
	double left[SYSCALLS_NAMES + 1];
	size_t len = 0;

	memcpy(left, syscalls->by_name, sizeof(syscalls->by_name));
	left[SYSCALLS_NAMES] = syscalls_other(syscalls);
	text[0] = '\0';
	for (;;) {
		size_t most = 0;
		for (size_t i = 1; i <= SYSCALLS_NAMES; i++)
			if (left[i] > left[most])
				most = i;
		if (left[most] < TOLD_MIN || len >= size_bytes)
			return text;
		len += (size_t)snprintf(text + len, size_bytes - len, "%s%s %.3g", len ? ", " : "",
					most == SYSCALLS_NAMES ? "other" : syscalls_names[most],
					left[most]);
		left[most] = 0;
	}
}
