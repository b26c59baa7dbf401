/* child.h - processes that the bench starts, and that none of them is left over */
#ifndef VLY_BENCH_CHILD_H
#define VLY_BENCH_CHILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Orphaned descendants become children of this process. Before the first child. 0 or -errno. */
int child_adopt_orphans(void);

/*
 * Starts this very program again as "volley <command> --control-fd 3", in a process group of its
 * own (Ctrl-C of a terminal reaches only the bench), with `death_signal` on the death of the
 * calling thread. Its stdout is our stderr. Returns 0, its pid and our end of the control socket,
 * or -errno.
 */
int child_spawn_self(const char *command, int death_signal, pid_t *pid, int *control_fd);

/*
 * From now on children, and what they start, go before everything else on their CPUs that is not first as
 * well (nice -20). False: that is not permitted, and nothing changes.
 */
bool child_go_first(void);

/* What this thread of such a child does itself can wait for what it has started; others stay as they are. */
void child_step_back(void);

/* Waits until `pid` has ended; after timeout_ns it gets SIGKILL. Returns its wait status. */
int child_wait(pid_t pid, int64_t timeout_ns);

/* A child of `parent` by /proc; 0: it has none. */
pid_t child_first_of(pid_t parent);

/*
 * Kills and reaps every child and, as they are adopted, every descendant. Returns how many there
 * were.
 */
int child_kill_all(void);

/* "exit code 3", "killed by signal 11 (Segmentation fault)". Returns `text`. */
char *child_status_text(int status, char *text, size_t size_bytes);

#endif
