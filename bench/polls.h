/* polls.h - how busy the cores of a server are that never sleep, told in a page it shares with its supervisor */
#ifndef VLY_BENCH_POLLS_H
#define VLY_BENCH_POLLS_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define POLLS_CORES_MAX 256
#define POLLS_EVERY_NS UINT64_C(10000000) /* how often a core tells */
#define POLLS_ENV                                                                                  \
	"VOLLEY_POLLS_FD" /* the page's descriptor, for the server; rows in Python read it, too */

/* Since the core began, as in struct vly_stats. Written by that core, relaxed: shares, not instants. */
struct polls_core {
	alignas(64) atomic_uint_fast64_t busy_ns;
	atomic_uint_fast64_t idle_ns;
};

/* The supervisor's end. All zero: there is none. */
struct polls {
	int fd;
	struct polls_core *cores; /* POLLS_CORES_MAX of them */
};

/* Makes a page. 0, or -errno: then servers have nowhere to tell, and `polls` is all zero. */
int polls_make(struct polls *polls);

/* In a process that is about to become the server. */
void polls_inherit(const struct polls *polls);

/* The sums of all cores so far. False: none has told anything. */
bool polls_sum(const struct polls *polls, uint64_t *busy_ns, uint64_t *idle_ns);

void polls_fini(struct polls *polls);

/* In the server: the page's cores, for as long as the process lives; NULL: nobody wants to know. */
struct polls_core *polls_attach(void);

#endif
