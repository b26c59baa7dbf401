/* hop.h - next hops: the neighbours that frames go to, their Ethernet headers, kept fresh by ARP */
#ifndef VLY_NIC_INET_HOP_H
#define VLY_NIC_INET_HOP_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "nic/inet/eth.h"
#include "nic/inet/wire.h"

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
	uint32_t next;    /* of its list */
	uint32_t pending; /* first frame that waits, 1 + index; 0: none */
	bool unasked;     /* the wire had no room for the question */
	bool doubted;     /* asked before its time */
	uint8_t spare[6];
};

static_assert(sizeof(struct vly_hop) == VLY_CACHE_LINE, "a hop is one line");

#define VLY_HOPS_MAX 1024u
/* Frames that wait for an answer: of all hops, and of one. Longer ones do not wait. */
#define VLY_HOP_PENDING_MAX 64u
#define VLY_HOP_PENDING_EACH 16u
#define VLY_HOP_PENDING_BYTES 1536u
#define VLY_HOP_OWED_MAX 64u          /* answers that wait for room on the wire */
#define VLY_HOP_FRESH_NS 60000000000u /* an answer counts so long */
#define VLY_HOP_ASK_NS 1000000000u    /* between two requests for the same address */
#define VLY_HOP_TRIES 4u       /* requests before an unused or silent neighbour is given up, */
#define VLY_HOP_TRIES_ALONE 2u /* the first of them, where its address is known, to that alone */
#define VLY_ARP_REPLIES_PER_S 1000u

struct vly_hop_pending;

/* So many per second, and as many at once as come in a tenth of one. */
struct vly_hop_rate {
	uint64_t since_ns;
	uint32_t used;
};

/* An answer by ARP that the wire had no room for. */
struct vly_hop_owed {
	uint32_t ip;        /* who asked */
	uint32_t target_ip; /* for which of our addresses */
	uint8_t mac[VLY_MAC_BYTES];
};

/* The table of a core; its bound is its memory. */
struct vly_hops {
	struct vly_hop *table;
	uint16_t *buckets; /* heads of the lists by address; `next` of a hop links them */
	uint32_t count;
	uint32_t learned;                /* counts those whose address was asked for and came */
	uint32_t used;                   /* hops that are not VLY_HOP_FREE */
	uint32_t hand;                   /* where the search for a hop to be given up begins */
	uint64_t next_ns;                /* vly_hops_age() has nothing to do earlier */
	struct vly_hop_pending *pending; /* frames without a destination yet */
	uint32_t pending_free;           /* head of their free list, 1 + index */
	uint32_t begun; /* vly_ip_begin(): the pending frame it builds in, 1 + index; 0: the wire's */
	struct vly_hop_rate replies, copies;
	struct vly_hop_owed owed[VLY_HOP_OWED_MAX]; /* a ring: owed_count from owed_first on */
	uint32_t owed_first, owed_count;
	bool blocked; /* vly_hops_unblock() has something to do when the wire has room */
};

static_assert(VLY_HOPS_MAX < VLY_NO_HOP, "indices are short");

/*
 * The hop for packets to `dst` (network order): the neighbour itself, or the gateway. Takes a
 * reference. VLY_NO_HOP: no route, or the table is full of hops in use. Asks by ARP if it is new.
 */
uint16_t vly_hop_take(struct vly_inet *inet, uint32_t dst);

/*
 * What is sent there is not answered: it may have another address by now. Asked for, no oftener than once a second:
 * first itself, at the address that is known, then everybody.
 */
void vly_hop_doubt(struct vly_inet *inet, uint16_t hop);

/* Gives the reference back. */
void vly_hop_put(struct vly_inet *inet, uint16_t hop);

/* Memory of the table, and taking it from the core's region. 0 or -ENOMEM. */
size_t vly_hops_bytes(const struct vly_config *config);
int vly_hops_init(struct vly_inet *inet);

/* What time does to neighbours: cheap as long as nothing is due. */
void vly_hops_age(struct vly_inet *inet);

/* Answers, questions and frames whose neighbour has answered: what the wire had no room for. */
void vly_hops_unblock(struct vly_inet *inet);

/*
 * A whole ARP frame. Requests for own addresses are answered, and teach who asked; answers count
 * only where they were asked for. A neighbour known by another address is asked, not believed; so is one
 * that announces another address to everybody. As long as the known one answers, nobody else is heard.
 */
void vly_arp_input(struct vly_inet *inet, const struct vly_frame *frame);

/* Where a frame for a hop that is being asked for may be built: its IP packet's room, or NULL. */
uint8_t *vly_hop_wait(struct vly_inet *inet, struct vly_hop *hop, uint32_t frame_bytes);

/* It is built. */
void vly_hop_wait_end(struct vly_inet *inet, struct vly_hop *hop, uint32_t frame_bytes,
		      uint16_t flags);

/* Whether one more of something limited is due now. */
static inline bool vly_hop_rate_ok(struct vly_hop_rate *rate, uint64_t now_ns, uint32_t per_s)
{
	if (now_ns - rate->since_ns >= 100000000u) {
		rate->since_ns = now_ns;
		rate->used = 0;
	}
	return rate->used++ < per_s / 10;
}

#endif
