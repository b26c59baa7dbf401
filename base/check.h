/* check.h - always-on checks against corruption (assert covers preconditions in debug builds) */
#ifndef VLY_BASE_CHECK_H
#define VLY_BASE_CHECK_H

#include "base/compiler.h"

/* Reports the broken invariant through the log callback, then aborts. */
__attribute__((noreturn, cold)) void vly_check_failed(const char *condition, const char *file,
						      int line);

/*
 * One condition, no side effects. For corruption only: never for what a system, a peer or a user
 * can cause.
 */
#define VLY_CHECK(condition)                                                                       \
	do {                                                                                       \
		if (vly_unlikely(!(condition)))                                                    \
			vly_check_failed(#condition, __FILE__, __LINE__);                          \
	} while (0)

#endif
