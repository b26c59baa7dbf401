/* wire_options.h - options that most wires have, and their way of taking memory */
#ifndef VLY_NIC_INET_WIRE_OPTIONS_H
#define VLY_NIC_INET_WIRE_OPTIONS_H

#include "nic/inet/wire.h"

#define VLY_WIRE_MTU_MIN 576u
#define VLY_WIRE_MTU_MAX 9216u

struct vly_wire_options {
	uint32_t mtu; /* mtu=: 1500 */
	bool offload; /* csum=offload: checksums are the wire's business; csum=none: the stack's */
	bool cut; /* tso=1, the default: the wire cuts long segments, if it can; tso=0: it does not */
};

/* mtu=, csum= and tso=; those not there get their defaults, also after an error. 0 or -EINVAL with `why`. */
int vly_wire_options_parse(struct vly_wire_options *options, const struct vly_nic_spec *spec,
			   char *why, size_t why_bytes);

/* Zeros out of a region, in pairs of lines; NULL when it is full. */
void *vly_wire_take(struct vly_region *region, size_t bytes);

/* What that costs. */
size_t vly_wire_take_bytes(size_t bytes);

/*
 * Completes the checksums of a frame with VLY_FRAME_COMPLETE in software, for wires that hand it to
 * somebody who wants them, whatever stands in their place; takes the flag away. A frame that is not IPv4 with TCP or UDP is left as
 * it is.
 */
void vly_wire_complete(struct vly_frame *frame);

#endif
