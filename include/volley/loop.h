/* loop.h - an in-memory wire between two engines, of one process or of two */
#ifndef VOLLEY_LOOP_H
#define VOLLEY_LOOP_H

#include "volley/api.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* All zero: the defaults. */
struct vly_loop_opts {
	uint32_t slots; /* frames per ring: a power of two, 16..65536; 0: 1024 */
	uint32_t mtu;   /* bytes of an IP packet, 576..9216; 0: 1500 */
};

/*
 * Makes the wire: memory and, for each side, an eventfd. A side is an engine of one core. Returns the descriptor that names it to both
 * sides, "inet:loop,fd=<it>,side=0,ip=..." and "...,side=1,...", or -errno.
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
