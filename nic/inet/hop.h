/* hop.h - next hops: the neighbours that frames go to, their Ethernet headers, kept fresh by ARP */
#ifndef VLY_NIC_INET_HOP_H
#define VLY_NIC_INET_HOP_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

struct vly_inet;

#define VLY_NO_HOP UINT16_MAX
#define VLY_HOP_ETH_BYTES 14u

enum vly_hop_state {
	VLY_HOP_FREE = 0,
	VLY_HOP_ASKING = 1, /* no address yet: what is sent waits, or is dropped and counted */
	VLY_HOP_READY = 2,  /* `eth` is valid */
	VLY_HOP_STALE = 3,  /* valid and old: used, and asked again */
};

/* Named by its index. Connections hold references; an entry in use is never given to another. */
struct vly_hop {
	uint8_t eth[16]; /* destination, source, type 0x0800; 14 bytes are sent */
	uint32_t ip;     /* as in a header */
	uint32_t refs;
	uint8_t state; /* enum vly_hop_state */
	uint8_t tries;
	uint16_t waiting; /* frames in the pending queue */
	uint32_t mtu;     /* bytes of an IP packet */
	uint64_t due_ns;  /* ageing: when it must be looked at again */
	uint64_t asked_ns;
	uint32_t next; /* of its list */
	uint32_t spare[3];
};

static_assert(sizeof(struct vly_hop) == VLY_CACHE_LINE, "a hop is one line");

/* The table of a core; its bound is its memory. */
struct vly_hops {
	struct vly_hop *table;
	uint32_t count;
	uint64_t next_ns; /* vly_hops_age() has nothing to do earlier */
};

/*
 * The hop for packets to `dst` (network order): the neighbour itself, or the gateway. Takes a
 * reference. VLY_NO_HOP: no route, or the table is full of hops in use. Asks by ARP if it is new.
 */
uint16_t vly_hop_take(struct vly_inet *inet, uint32_t dst);

/* Gives the reference back. */
void vly_hop_put(struct vly_inet *inet, uint16_t hop);

#endif
