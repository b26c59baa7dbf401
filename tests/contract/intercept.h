/* intercept.h - counts what a thread allocates, maps and locks while it says so */
#ifndef VLY_TESTS_CONTRACT_INTERCEPT_H
#define VLY_TESTS_CONTRACT_INTERCEPT_H

#include <stdbool.h>
#include <stdint.h>

struct intercept {
	uint64_t allocations; /* malloc, calloc, realloc, free and their kin */
	uint64_t mappings;    /* mmap, munmap, madvise, mprotect */
	uint64_t locks;       /* pthread mutexes */
};

/* False where a sanitizer has taken the allocator. */
bool intercept_works(void);

/* Counts this thread's calls from now on, from zero. */
void intercept_begin(void);

/* Stops counting and returns what was counted. */
struct intercept intercept_end(void);

#endif
