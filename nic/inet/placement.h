/* placement.h - which core of several a flow belongs to, and whether the port brings it there */
#ifndef VLY_NIC_INET_PLACEMENT_H
#define VLY_NIC_INET_PLACEMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "nic/inet/wire.h"

/*
 * Several cores that share one port divide its flows: each flow has a home, the same for as long as the
 * engine lives, told by the addresses and ports in its frames alone:
 *
 *	home = table[toeplitz(key, ...) % count]	the port's own key and table, if it has RSS and a queue
 *							for each core
 *	home = toeplitz(key, ...) * cores / 2^32	Microsoft's key, if not
 *
 * So who sorts frames, the port or a core, makes no difference to whose a flow is, and the one may take
 * over from the other at any time. A connect chooses a port whose flow has its own core for home; an
 * inbound flow is opened by the listener of its home.
 */

/* What a frame's place can be told by. */
enum vly_place_kind {
	VLY_PLACE_NONE, /* no IPv4 */
	VLY_PLACE_IP,   /* no ports: another protocol, or a fragment */
	VLY_PLACE_UDP,
	VLY_PLACE_TCP,
};

/* As the receiver of the frame sees it; in network order. */
struct vly_place_key {
	uint32_t src, dst;
	uint16_t src_port, dst_port;
};

enum vly_place_kind vly_place_parse(const uint8_t *data, uint32_t len, struct vly_place_key *key);

/* Who sorts. */
enum vly_place_mode {
	VLY_PLACE_ALONE = 0, /* one core, or each a host of its own: there is nothing to sort */
	/* the port does, it says; cores sort too, and compare, until they have seen that it is true */
	VLY_PLACE_CHECKED,
	VLY_PLACE_BY_PORT,  /* it does */
	VLY_PLACE_BY_CORES, /* it does not, or has fewer queues than there are cores */
};

/* Frames of TCP come in right, seen by a core: then the port is believed. */
#define VLY_PLACE_RIGHT_ENOUGH 64u

/* A core's view. */
struct vly_placement {
	struct vly_toeplitz_table hash;
	const uint16_t *table; /* NULL: by the upper bits */
	uint32_t table_count;
	uint32_t cores, core;
	uint8_t mode; /* enum vly_place_mode */
	/* CHECKED: frames of TCP that came in at their home, and elsewhere; BY_PORT: those elsewhere */
	uint32_t right, wrong;
	uint64_t wrong_since_ns;
};

/* `wire` NULL: this core has no queue. */
void vly_placement_init(struct vly_placement *place, const struct vly_wire *wire, uint32_t core,
			uint32_t cores);

/* The core whose flow it is. */
static inline uint32_t vly_place_home(const struct vly_placement *place,
				      const struct vly_place_key *key)
{
	uint32_t hash =
		vly_toeplitz_flow(&place->hash, key->src, key->dst, key->src_port, key->dst_port);

	return place->table ? place->table[hash % place->table_count]
			    : (uint32_t)((uint64_t)hash * place->cores >> 32);
}

/*
 * The port brought a TCP frame here whose home is this core (or another): evidence. False: enough of it
 * that the port does not do what it says.
 */
bool vly_place_seen(struct vly_placement *place, bool home, uint64_t now_ns);

#endif
