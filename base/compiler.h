/* compiler.h - hints to the compiler and the sizes of cache lines */
#ifndef VLY_BASE_COMPILER_H
#define VLY_BASE_COMPILER_H

#include <stddef.h>

#include "base/prefetch_compat.h"

#define VLY_CACHE_LINE 64
/* Writers on different cores stay two lines apart: the adjacent-line prefetcher fetches pairs. */
#define VLY_WRITER_GAP 128

#define vly_likely(x) __builtin_expect(!!(x), 1)
#define vly_unlikely(x) __builtin_expect(!!(x), 0)
/*
 * gcc 12 takes a function that does nothing but prefetch for one without effect and drops its calls; the
 * empty asm is an effect.
 */
#define vly_prefetch(p)                                                                            \
	do {                                                                                       \
		__builtin_prefetch((p), 0, 3);                                                     \
		__asm__ volatile("");                                                              \
	} while (0)
#define vly_prefetch_write(p) vly_prefetch_line_to_write(p)

/* The structure that holds `member` at `ptr`. */
#define vly_container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Rounds `n` up to a multiple of `align`, a power of two. */
#define VLY_ALIGN_UP(n, align) (((n) + ((align)-1)) & ~((__typeof__(n))(align)-1))

#define VLY_MIN(a, b) ((a) < (b) ? (a) : (b))
#define VLY_MAX(a, b) ((a) > (b) ? (a) : (b))

#endif
