/* fork.c - noticing that we are a forked child */
#include "engine/fork.h"

#include <pthread.h>
#include <stdatomic.h>

int vly_fork_word;
int vly_fork_count;

static _Atomic int engines_open;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void in_parent(void)
{
	__atomic_store_n(&vly_fork_count, vly_fork_count + 1, __ATOMIC_RELAXED);
}

static void in_child(void)
{
	if (atomic_load_explicit(&engines_open, memory_order_relaxed) > 0)
		vly_fork_word = 1;
}

static void install(void)
{
	pthread_atfork(NULL, in_parent, in_child);
}

void vly_fork_enter(void)
{
	pthread_once(&once, install);
	atomic_fetch_add_explicit(&engines_open, 1, memory_order_relaxed);
}

void vly_fork_leave(void)
{
	atomic_fetch_sub_explicit(&engines_open, 1, memory_order_relaxed);
}
