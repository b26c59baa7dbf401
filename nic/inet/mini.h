/* mini.h - connections that need no record: half-open ones of listeners, and those in TIME-WAIT */
#ifndef VLY_NIC_INET_MINI_H
#define VLY_NIC_INET_MINI_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "mempool/slab.h"
#include "nic/inet/flow.h"

enum vly_mini_kind {
	VLY_MINI_SYN = 0, /* SYN-RECEIVED: a list for each number of SYN-ACKs sent, 0 to 6 */
	VLY_MINI_UNSENT =
		7, /* SYN-RECEIVED: the first SYN-ACK found no room, or no neighbour yet */
	VLY_MINI_WAITING = 8, /* established, and no record was free */
	VLY_MINI_TIME_WAIT = 9,
	VLY_MINI_LISTS
};

#define VLY_NO_MINI UINT32_MAX
#define VLY_MINI_NO_WSCALE 255 /* the peer's SYN had none */

/* One line. Written by its own core. */
struct vly_mini {
	struct vly_flow_key key;
	uint32_t hash;
	uint8_t list;   /* the list it is in: enum vly_mini_kind + SYN-ACKs sent */
	uint8_t wscale; /* the peer's, or VLY_MINI_NO_WSCALE */
	bool sack, ts;
	uint16_t hop; /* a reference; VLY_NO_HOP: none */
	uint16_t mss; /* the peer's */
	uint32_t iss; /* TIME-WAIT: snd_nxt */
	uint32_t rcv_nxt;
	uint32_t snd_wnd;
	uint32_t ts_recent;
	uint32_t due;      /* tick */
	uint32_t sent;     /* tick of the SYN-ACK: a round trip, if it was the only one */
	uint32_t listener; /* slot */
	uint32_t spare;
	uint32_t prev, next;
};

static_assert(sizeof(struct vly_mini) == VLY_CACHE_LINE, "a mini is one line");
static_assert(offsetof(struct vly_mini, prev) % 8 == 0, "the slab's link");

struct vly_mini_list {
	uint32_t head, tail;
	uint32_t count;
};

/*
 * Two pools, so that neither kind starves the other. Within a list everybody waits equally long, so
 * each list is in the order of its due times and only heads are looked at.
 */
struct vly_minis {
	struct vly_slab slab; /* [0, half_max) may be half-open, the rest TIME-WAIT: by count only */
	uint32_t half_max, half_count;
	uint32_t linger_max, linger_count;
	struct vly_mini_list lists[VLY_MINI_LISTS];
};

static inline struct vly_mini *vly_mini_at(const struct vly_minis *minis, uint32_t index)
{
	return vly_slab_at(&minis->slab, index);
}

static inline uint32_t vly_mini_index(const struct vly_minis *minis, const struct vly_mini *mini)
{
	return vly_slab_index(&minis->slab, mini);
}

static inline size_t vly_minis_bytes(uint32_t half_max, uint32_t linger_max)
{
	return ((size_t)half_max + linger_max) * sizeof(struct vly_mini);
}

int vly_minis_init(struct vly_minis *minis, void *mem, uint32_t half_max, uint32_t linger_max);
/* Everything must be home. */
void vly_minis_fini(struct vly_minis *minis);

/*
 * A mini, not in any list, its fields unset; NULL: as many of its kind as may be. For TIME-WAIT the
 * caller then ends the oldest one.
 */
struct vly_mini *vly_mini_take(struct vly_minis *minis, bool linger);
/* Out of its list, and home. */
void vly_mini_put(struct vly_minis *minis, struct vly_mini *mini);
/* At the end of a list; it is in none. */
void vly_mini_list(struct vly_minis *minis, struct vly_mini *mini, unsigned list);
void vly_mini_unlist(struct vly_minis *minis, struct vly_mini *mini);
/* The oldest of a list, or NULL. */
struct vly_mini *vly_mini_first(const struct vly_minis *minis, unsigned list);

#endif
