/* syscalls.h - how many system calls a server made for each message, by name */
#ifndef VLY_BENCH_SYSCALLS_H
#define VLY_BENCH_SYSCALLS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The names that are told apart, without "sys_enter_"; every other call is "other". */
#define SYSCALLS_NAMES 35
extern const char *const syscalls_names[SYSCALLS_NAMES];

/* All zero: nothing was counted. Calls while counting, or, after syscalls_scale(), for a message. */
struct syscalls {
	bool counted;
	uint64_t counted_ns; /* for so long */
	double total;
	double by_name[SYSCALLS_NAMES];
	char reason[384]; /* why nothing was counted; empty: nobody asked */
};

/*
 * Takes what `perf stat -x,` wrote of the events raw_syscalls:sys_enter and syscalls:sys_enter_*.
 * 0, or -EBADMSG if the total is missing: then nothing is counted and `reason` says so.
 */
int syscalls_parse(const char *csv, struct syscalls *syscalls);

/* Calls that have no name of their own here; never negative. */
double syscalls_other(const struct syscalls *syscalls);

/* Multiplies all counts. */
void syscalls_scale(struct syscalls *syscalls, double factor);

/* {"read": 1.0, ..., "other": 0.1}: what is above 0. New reference; null if nothing was counted. */
json_t *syscalls_by_name_json(const struct syscalls *syscalls);

/* Raw counts to and from a control message. */
json_t *syscalls_to_json(const struct syscalls *syscalls);
void syscalls_from_json(const json_t *message, struct syscalls *syscalls);

/* "recvfrom 1, sendto 1, epoll_wait 0.01": most frequent first, what rounds to 0.001 at least. */
char *syscalls_text(const struct syscalls *syscalls, char *text, size_t size_bytes);

#endif
