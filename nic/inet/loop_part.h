/* loop_part.h - what carries frames between one queue of a loop's side and one of the other */
#ifndef VLY_NIC_INET_LOOP_PART_H
#define VLY_NIC_INET_LOOP_PART_H

#include "nic/inet/eth.h"
#include "nic/inet/loop_map.h"
#include "nic/inet/wire.h"
#include "nic/inet/wire_options.h"

/*
 * A loop of one queue on each side is one part. A queue that faces several, or has neighbours, has a part
 * for each queue of the other side: a whole wire each, with rings, life and range checks of its own, bound
 * together by wire_loop_many.c.
 */
struct vly_loop_part {
	struct vly_region *region;
	const struct vly_loop_map *map; /* copied; stays the caller's to close */
	unsigned side, queue, to;       /* to: queue of the other side */
	bool offload;
	uint32_t mtu;
	bool part;       /* fd, bell and mapping are the caller's; false: taken */
	int fd, bell;    /* lent: an epoll and our eventfd, see vly_loop_fds_open() */
	uint32_t *rings; /* with part: of bell, counted together */
	uint8_t *spare; /* VLY_LOOP_SPARE_BYTES: what is sent while the link is down is built there */
};

#define VLY_LOOP_SPARE_BYTES (VLY_LOOP_FRAME_AT + VLY_ETH_BYTES + VLY_WIRE_MTU_MAX)

/* What a part takes from the region. */
size_t vly_loop_part_bytes(void);

extern const struct vly_wire_ops vly_loop_part_ops;

/* 0 or -errno: then nothing was taken. */
int vly_loop_part_open(const struct vly_loop_part *part, struct vly_wire **wire);

/* A duplicate of a queue's eventfd, and an epoll with it: returns them, or -errno. */
int vly_loop_fds_open(const struct vly_loop_map *map, unsigned side, unsigned queue, int *fd,
		      int *bell);

/*
 * The wire of a queue that has several to talk to, or neighbours. Takes the mapping; `to`, `fd` and `bell`
 * are its to fill.
 */
size_t vly_loop_many_bytes(const struct vly_loop_head *head, unsigned side);
int vly_loop_many_open(struct vly_loop_part *part, struct vly_wire **wire);

#endif
