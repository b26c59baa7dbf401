/* loop_map.h - the memory of a loop wire: two sides, their queues, a ring for each pair of queues */
#ifndef VLY_NIC_INET_LOOP_MAP_H
#define VLY_NIC_INET_LOOP_MAP_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "nic/inet/wire.h"
#include "volley/loop.h"

#define VLY_LOOP_MAGIC 0x326f6f6c796c6c76u
#define VLY_LOOP_SIDES 2u
#define VLY_LOOP_QUEUES_MAX 16

/*
 * A frame begins on a cache line with these two bytes, then itself, so that its IP header is aligned to 16. The next one
 * begins with the first line that it leaves free, or, if it is WHOLE, `stride` behind it, which is more than any frame needs.
 */
#define VLY_LOOP_LEN_MASK 0x3fffu
#define VLY_LOOP_COMPLETE 0x4000u /* checksums are as good as verified: offload on both sides */
#define VLY_LOOP_WHOLE 0x8000u
#define VLY_LOOP_FRAME_AT VLY_WIRE_PACK_AT

/* Written by whoever made it, constant afterwards. A side copies and checks it once, when it opens. */
struct vly_loop_head {
	uint64_t magic;
	uint64_t bytes;  /* of the whole mapping */
	uint32_t slots;  /* whole frames that a ring has room for */
	uint32_t stride; /* bytes from one such frame to the next */
	uint32_t mtu;
	uint16_t queues[VLY_LOOP_SIDES];
	uint8_t rss[VLY_LOOP_SIDES]; /* enum vly_loop_rss: how what a side receives is spread */
	uint8_t spare[2];
	/* eventfd of each queue: numbers as its maker had them, and as its children inherit them */
	int32_t fds[VLY_LOOP_SIDES][VLY_LOOP_QUEUES_MAX];
};

enum vly_loop_state {
	VLY_LOOP_NEVER = 0, /* not opened yet: frames for it wait */
	VLY_LOOP_OPEN = 1,
	VLY_LOOP_CLOSED = 2,
};

/* What a queue's owner tells one of the other side: there is one for each pair, as of rings. */
struct vly_loop_seat {
	/* set by the owner, taken back by whoever wakes it; nobody else writes the line */
	alignas(VLY_WRITER_GAP) _Atomic uint32_t sleeping;
	/* written by the owner when it opens and closes */
	alignas(VLY_WRITER_GAP) _Atomic uint32_t state;
	_Atomic uint32_t pid;
	_Atomic uint32_t life; /* counts openings */
};

/*
 * Indices count lines and run freely: head <= tail <= head + vly_loop_room(). Each side trusts its own only, of which it keeps
 * a copy that the other cannot reach; the other's is checked each time it is read.
 */
struct vly_loop_ring {
	alignas(VLY_WRITER_GAP) _Atomic uint32_t tail; /* written by the sender */
	alignas(VLY_WRITER_GAP) _Atomic uint32_t head; /* written by the receiver */
	/* set by a sender that sleeps until there is room, taken back by the receiver */
	alignas(VLY_WRITER_GAP) _Atomic uint32_t blocked;
};

static_assert(sizeof(struct vly_loop_ring) == 3 * VLY_WRITER_GAP, "one line pair for each writer");

/* A mapping, seen by one queue of one side. */
struct vly_loop_map {
	struct vly_loop_head head; /* the copy that was checked */
	uint8_t *base;
	uint64_t bytes;
};

/* The checked head of the loop behind a descriptor. 0; -EINVAL if it is no loop; -errno. */
int vly_loop_map_head(struct vly_loop_head *head, int fd);

/* Maps the loop behind a descriptor. 0; -EINVAL if it is no loop; -errno. */
int vly_loop_map_open(struct vly_loop_map *map, int fd);
void vly_loop_map_close(struct vly_loop_map *map);

/* Of a queue of `side`, towards a queue of the other. */
struct vly_loop_seat *vly_loop_seat(const struct vly_loop_map *map, unsigned side, unsigned from,
				    unsigned to);

/* The ring that carries frames from a queue of `side` to one of the other. */
struct vly_loop_ring *vly_loop_ring(const struct vly_loop_map *map, unsigned side, unsigned from,
				    unsigned to);

/*
 * The lines of that ring, vly_loop_lines() of them. Behind the last there is room for a whole frame: one that begins near the
 * end goes on there, and the lines at the front that it counts for stay empty meanwhile.
 */
uint8_t *vly_loop_frames(const struct vly_loop_map *map, unsigned side, unsigned from, unsigned to);

/* Lines of a ring: a power of two. */
uint32_t vly_loop_lines(const struct vly_loop_head *head);

/* Of these so many may be filled. */
static inline uint32_t vly_loop_room(const struct vly_loop_head *head)
{
	return head->slots * (head->stride / VLY_CACHE_LINE);
}

/* Lines of a frame of `len` bytes. */
static inline uint32_t vly_loop_lines_of(uint32_t len)
{
	return (VLY_LOOP_FRAME_AT + len + VLY_CACHE_LINE - 1) / VLY_CACHE_LINE;
}

#endif
