/* descriptors.h - how many a process may have, and whether each of its threads may have as many */
#ifndef VLY_BENCH_DESCRIPTORS_H
#define VLY_BENCH_DESCRIPTORS_H

#include <stdbool.h>
#include <stdint.h>

/* Raises the soft limit to the hard one; returns what may be open now. */
uint64_t descriptors_raise(void);

/*
 * Gives the calling thread a table of descriptors of its own: a copy of the one it shared. What is
 * opened from then on is seen, counted against RLIMIT_NOFILE, and closed by this thread alone. In a
 * table of one thread the kernel looks a descriptor up without counting references: two atomic
 * operations less for each system call (fdget() in fs/file.c, Linux 6.18). False: refused (a seccomp
 * filter, as a rule), and nothing has changed.
 */
bool descriptors_unshare(void);

#endif
