/* wire_vnet.h - what a tap and the kernel leave to each other: checksums, and cutting long segments */
#ifndef VLY_NIC_INET_WIRE_VNET_H
#define VLY_NIC_INET_WIRE_VNET_H

#include <sys/types.h>

#include "nic/inet/wire.h"

/* On a tap with IFF_VNET_HDR each frame has a header of virtio's in front (virtio 1.1, 5.1.6). 0 or -1 with errno. */
int vly_vnet_setup(int fd);

/* The wire's capabilities over such a tap, cutting if `cut`. */
void vly_vnet_offer(struct vly_wire *wire, bool cut);

/* One frame into `data`: 1; -1 with errno: none. */
int vly_vnet_read(int fd, struct vly_frame *frame, uint8_t *data, uint32_t data_bytes);

/* How many of `count` frames are one for the kernel: the first, and those that go on with it. */
uint32_t vly_vnet_pieces(const struct vly_frame *frames, uint32_t count);

/* Writes so many; -1 with errno: they did not go. */
ssize_t vly_vnet_write(int fd, const struct vly_frame *frames, uint32_t count);

#endif
