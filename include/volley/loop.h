/* loop.h - an in-memory wire between two engines, of one process or of two */
#ifndef VOLLEY_LOOP_H
#define VOLLEY_LOOP_H

#include "volley/api.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a side of several queues spreads what it receives: as ports do, the good and the bad ones. */
enum vly_loop_rss {
	VLY_LOOP_RSS_STANDARD = 0, /* Toeplitz, Microsoft's key */
	VLY_LOOP_RSS_SYMMETRIC, /* Toeplitz, a key by which both directions of a flow hash alike */
	VLY_LOOP_RSS_OTHER_KEY, /* says STANDARD, and hashes by another key */
	VLY_LOOP_RSS_FIRST,     /* says STANDARD, and all comes in at the first queue */
	VLY_LOOP_RSS_SPRAY,     /* says STANDARD, and gives frames to the queues in turn */
};

/* All zero: the defaults. */
struct vly_loop_opts {
	/*
	 * Frames of the longest kind per ring, 16..65536; 0: 1024, less with many rings. Of shorter ones there is room for more:
	 * each takes itself, from its Ethernet header on, and two bytes, rounded up to cache lines. A ring's memory is the next
	 * power of two of all its lines: 2 MiB by default.
	 */
	uint32_t slots;
	uint32_t mtu; /* bytes of an IP packet, 576..9216; 0: 1500 */
	/* Of each side, 0: 1, at most 16. There is a ring for each pair of queues and direction. */
	uint16_t queues[2];
	uint8_t rss[2]; /* enum vly_loop_rss, of each side */
};

/*
 * Makes the wire: memory, and an eventfd for each queue of a side. A side is an engine with a core for each of its queues, or with more
 * cores than queues: then these share. Returns the descriptor that names it to both sides, "inet:loop,fd=<it>,side=0,ip=..." and
 * "...,side=1,...", or -errno. With "side=core" the two cores of one engine are the sides, each a host of its own.
 *
 * The descriptors are inherited by children and survive exec, so that each side may be a process of
 * its own: make it, start both, close it.
 */
VLY_API int vly_loop_make(const struct vly_loop_opts *opts);

/* Closes the descriptors in this process; engines that are open on it go on. */
VLY_API void vly_loop_close(int fd);

#ifdef __cplusplus
}
#endif

#endif
