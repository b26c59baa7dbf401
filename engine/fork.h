/* fork.h - a child of fork() has no regions: every call there returns -ECHILD */
#ifndef VLY_ENGINE_FORK_H
#define VLY_ENGINE_FORK_H

#include <stdbool.h>

#include "base/compiler.h"

/* Outside all regions. 1 in a child that was forked while an engine was open. */
extern int vly_fork_word;

static inline bool vly_forked(void)
{
	return vly_unlikely(vly_fork_word);
}

/* How often the process has forked since its first engine opened: its children share our sockets. */
extern int vly_fork_count;

/* An engine opens or closes. Any thread. */
void vly_fork_enter(void);
void vly_fork_leave(void);

#endif
