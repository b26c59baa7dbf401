/* prefetch_compat.h - a cache line wanted for writing, by the instruction that says so */
#ifndef VLY_BASE_PREFETCH_COMPAT_H
#define VLY_BASE_PREFETCH_COMPAT_H

/*
 * Compilers turn __builtin_prefetch(p, 1) into PREFETCHW only where they were told that the processor has it,
 * which x86-64 as such does not promise: else it is a prefetch for reading, and a line that another core has
 * must be asked for a second time when it is written. Processors without PREFETCHW take it for a no-op.
 */
static inline void vly_prefetch_line_to_write(const void *p)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1, 3);
	__asm__ volatile("");
#endif
}

#endif
