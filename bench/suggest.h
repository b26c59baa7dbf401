/* suggest.h - the valid name that a mistyped one most likely meant */
#ifndef VLY_BENCH_SUGGEST_H
#define VLY_BENCH_SUGGEST_H

#include <stddef.h>

/*
 * The name nearest to `word` by insertions, deletions, replacements and swaps of neighbours, case
 * and '-' against '_' ignored; the earlier one of two that are as near. NULL if all are too far
 * away to be what was meant.
 */
const char *suggest_nearest(const char *word, const char *const *names, size_t count);

#endif
