/* perf.h - perf stat around a server: counts its system calls while it is told to */
#ifndef VLY_BENCH_PERF_H
#define VLY_BENCH_PERF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/syscalls.h"
#include "bench/words.h"

/* Of the process that starts perf. */
struct perf {
	bool wanted;
	int control_fd, ack_fd, out_fd; /* our ends; -1: none */
	int theirs[3];                  /* the other ends, to be closed once perf has them */
	uint64_t began_ns, counted_ns;
	char tracefs[256]; /* why there are no tracepoints; empty: there are */
};

#define PERF_NONE                                                                                  \
	{                                                                                          \
		.control_fd = -1, .ack_fd = -1, .out_fd = -1, .theirs = { -1, -1, -1 }             \
	}

/*
 * Puts perf in front of the server's command line. Where no tracefs is mounted, the calling process
 * gets a mount namespace of its own with one, which ends with the last process in it: nobody else
 * ever sees it, and nothing can be left over. 0, or -errno with one line in `why`.
 */
int perf_prepare(struct perf *perf, struct words *words, char *why, size_t why_bytes);

/* In the new process, before it becomes perf: lets it inherit its ends. */
void perf_inherit(const struct perf *perf);

/* In the old process, once there is a new one. */
void perf_started(struct perf *perf);

/* Counting begins and ends. 0, or -ETIMEDOUT, -EPIPE if perf does not answer. */
int perf_count(struct perf *perf, bool on);

/* The server itself, which perf has started; 0: there is none (any more). */
pid_t perf_server(pid_t perf_pid);

/* After perf has ended: what it counted. */
void perf_result(struct perf *perf, struct syscalls *syscalls);

/* Why perf cannot count here, by trying what it tries; empty if nothing was found. */
void perf_diagnose(const struct perf *perf, char *why, size_t why_bytes);

void perf_fini(struct perf *perf);

/* Whether --syscalls can count here, as far as that can be told without changing anything. 0, or
 * -errno with one line in `why`. */
int perf_check(char *why, size_t why_bytes);

#endif
