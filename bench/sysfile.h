/* sysfile.h - small text files of /proc and /sys */
#ifndef VLY_BENCH_SYSFILE_H
#define VLY_BENCH_SYSFILE_H

#include <stddef.h>
#include <stdint.h>

/*
 * Reads at most size_bytes - 1 bytes of a file, cuts one newline at the end and terminates. The
 * length, or -errno with an empty text.
 */
int sysfile_read(const char *path, char *text, size_t size_bytes);

/* The first number in a file. 0, -EINVAL (there is none), or -errno. */
int sysfile_u64(const char *path, uint64_t *value);

/*
 * The number after "name:" or "name " at the start of a line ("VmLck:    12 kB" gives 12). 0,
 * -ENOENT, or -errno.
 */
int sysfile_field(const char *path, const char *name, uint64_t *value);

#endif
