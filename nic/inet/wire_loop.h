/* wire_loop.h - a wire in shared memory between two engines, of one process or of two */
#ifndef VLY_NIC_INET_WIRE_LOOP_H
#define VLY_NIC_INET_WIRE_LOOP_H

#include "nic/inet/wire.h"

/*
 * inet:loop,fd=N,side=0|1[,csum=none|offload]: the loop that vly_loop_make() returned as N. Frames are
 * built in the ring where the other side reads them: sending is a store of the index, as if by DMA,
 * and receiving lends that memory itself until the next rx_done. A full ring back-pressures; nothing
 * is dropped between sides that are there. When the other side closes or dies the link is down, and
 * what is sent is lost, until it is opened again.
 *
 * The other side's indices and lengths are checked whenever they are read: whatever it writes, nothing
 * outside the mapping is touched. What is in a frame it could change while we read it, as no port can:
 * do not share a loop with whom you do not trust to send frames.
 */
extern const struct vly_wire_ops vly_wire_loop;

#endif
