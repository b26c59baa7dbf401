/* relay.h - frames between the cores that share one port: a wire around each core's queue */
#ifndef VLY_NIC_INET_RELAY_H
#define VLY_NIC_INET_RELAY_H

#include <stdbool.h>
#include <stdint.h>

#include "nic/env.h"
#include "nic/inet/placement.h"
#include "nic/inet/wire.h"

/*
 * The outermost wire of an engine with several cores on one port. It receives what the core's own queue
 * and what the other cores have for it; it hands frames of TCP and UDP whose home is another core to that
 * one, unless the port is known to do so (placement.h). A core without a queue sends by the core number
 * index % queues.
 *
 * A ring of frames for each ordered pair of cores. A frame is copied once into it, and received in place.
 * A core whose ring is full loses the frame, as at any port; what a core without a queue sends is
 * back-pressured instead. Sleepers are woken by their engine's eventfd, under Dekker's argument:
 *
 *	sender						receiver
 *	ring, then its bit in the inbox			`sleeping`
 *	look at `sleeping`				look at the inbox
 */
struct vly_relay;

struct vly_relay_opts {
	const struct vly_wire_setup
		*setup; /* queue: the core's index, be there such a queue or not */
	struct vly_stats *stats;
	int wake_fd; /* the core's */
	uint32_t cores;
};

/* Bytes from the region, the wires below included. */
size_t vly_relay_bytes(const struct vly_config *config, const struct vly_nic_spec *spec,
		       const struct vly_wire_ops *const *stack);

/*
 * Opens the core's queue, if it has one, by the setup's stack. A core without one waits for core 0, whose
 * wire tells MAC and MTU: -ETIMEDOUT, logged, if that is not opened meanwhile. 0 or -errno. Closing the
 * wire closes the relay. Where each core is a host of its own there is nothing to relay: `*relay` is NULL.
 */
int vly_relay_open(const struct vly_relay_opts *opts, struct vly_relay **relay,
		   struct vly_wire **wire);

struct vly_placement *vly_relay_placement(struct vly_relay *relay);

/* Puts a copy of a received frame into another core's ring; seen there at the next push at the latest. */
void vly_relay_put(struct vly_relay *relay, uint32_t to, const struct vly_frame *frame,
		   uint16_t flags);

/* The port brought a frame here (or not) that placement foretold: counted, and judged. */
void vly_relay_seen(struct vly_relay *relay, bool home, uint64_t now_ns);

/* --- what each core has: written by that core, read by those who look for a frame's flow --- */

enum vly_relay_what {
	VLY_RELAY_LISTENS, /* listeners of TCP */
	VLY_RELAY_STRANGE, /* flows of TCP whose home is another core */
	VLY_RELAY_SOCKETS, /* of UDP */
	VLY_RELAY_WHATS
};

/* One more, or one less, with this local port (network order). */
void vly_relay_have(struct vly_relay *relay, enum vly_relay_what what, uint16_t lport, int more);

/* Whether core `of` has any. */
bool vly_relay_has(const struct vly_relay *relay, uint32_t of, enum vly_relay_what what,
		   uint16_t lport);

/* Whether any core but this one has. */
bool vly_relay_elsewhere(const struct vly_relay *relay, enum vly_relay_what what, uint16_t lport);

#endif
