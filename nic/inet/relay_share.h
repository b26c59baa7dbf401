/* relay_share.h - what the cores of an engine on one port share: seats, rings of frames, who has which port */
#ifndef VLY_NIC_INET_RELAY_SHARE_H
#define VLY_NIC_INET_RELAY_SHARE_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/ring.h"
#include "nic/inet/relay.h"

#define VLY_RELAY_CORES_MAX 256u
#define VLY_RELAY_WORDS (VLY_RELAY_CORES_MAX / 64)
#define VLY_RELAY_PORTS 65536u

/* A frame in a ring. */
struct vly_relay_slot {
	uint32_t len;
	uint16_t flags;
	uint16_t mss;
	uint8_t spare[10]; /* the IP header is aligned to 16 */
	uint8_t data[];
};

static_assert(offsetof(struct vly_relay_slot, data) == 18, "and 14 bytes of Ethernet make 32");

enum vly_relay_state {
	VLY_RELAY_FREE = 0, /* not opened yet: what is sent to it waits in its rings */
	VLY_RELAY_OPEN = 1,
	VLY_RELAY_CLOSED = 2, /* what is sent to it is lost */
};

/* What the others know of a core. */
struct vly_relay_seat {
	/* set by the core, taken back by whoever wakes it */
	alignas(VLY_WRITER_GAP) _Atomic uint32_t sleeping;
	/* bits of those who have put something into their ring: set by them, taken by the core */
	alignas(VLY_WRITER_GAP) _Atomic uint64_t inbox[VLY_RELAY_WORDS];
	/* written by the core */
	alignas(VLY_WRITER_GAP) _Atomic uint32_t state; /* enum vly_relay_state */
	_Atomic bool link_up;                           /* of its queue */
	int wake_fd;
	/* [what][port]: how many; counters of one writer */
	_Atomic uint32_t *have[VLY_RELAY_WHATS];
};

/* What a core without a queue has to know of the port: written by core 0 before it is open. */
struct vly_relay_port {
	uint32_t caps, mtu;
	uint8_t mac[6];
};

/* Found by the engine's config. */
struct vly_relay_share {
	struct vly_relay_share *next;
	const void *key;
	unsigned refs; /* under the lock */
	uint32_t cores, queues;
	uint32_t ring_slots;
	size_t ring_bytes, map_bytes;
	uint8_t *rings; /* of all ordered pairs, then those of cores without a queue to where they send */
	struct vly_relay_port port;
	_Atomic bool distrusted; /* the port does not do what it says */
	struct vly_relay_seat seats[];
};

/*
 * Of an engine, made by the first of its cores that has a queue; NULL: no memory, or (`port` NULL) none was
 * made yet.
 */
struct vly_relay_share *vly_relay_share_get(const void *key, uint32_t cores, uint32_t queues,
					    const struct vly_relay_port *port);
void vly_relay_share_put(struct vly_relay_share *share);

static inline struct vly_ring *vly_relay_ring(const struct vly_relay_share *share, uint32_t from,
					      uint32_t to)
{
	return (struct vly_ring *)(void *)(share->rings +
					   ((size_t)from * share->cores + to) * share->ring_bytes);
}

/* What core `from`, which has no queue, sends. */
static inline struct vly_ring *vly_relay_out(const struct vly_relay_share *share, uint32_t from)
{
	size_t index = (size_t)share->cores * share->cores + from - share->queues;

	return (struct vly_ring *)(void *)(share->rings + index * share->ring_bytes);
}

/* Pairs with arming: either the sleeper sees what was sent, or we see it asleep. */
static inline bool vly_relay_claim(struct vly_relay_seat *seat)
{
	return atomic_load_explicit(&seat->sleeping, memory_order_seq_cst) &&
	       atomic_exchange_explicit(&seat->sleeping, 0, memory_order_seq_cst);
}

/* A core's relay: its own but for the share. */
struct vly_relay {
	struct vly_wire wire;
	struct vly_wire *below; /* NULL: no queue */
	const char *port_name;
	struct vly_relay_share *share;
	struct vly_relay_seat *seat;
	struct vly_stats *stats;
	struct vly_placement place;
	uint32_t core, cores, queues;
	uint32_t host;                     /* without a queue: whose queue we send by */
	uint32_t turn;                     /* whose ring is received from first */
	uint64_t waiting[VLY_RELAY_WORDS]; /* rings that may hold something */
	uint64_t unshown_bits[VLY_RELAY_WORDS];
	uint16_t *unshown; /* frames put and not shown, by core */
	uint16_t *lent;    /* frames lent to the nic, by core */
	uint32_t lent_count;
	bool own_first; /* which of the two is received from first: in turns */
	bool taken;     /* the nic has frames of ours to build in */
	bool dead;      /* those are the spare frame: the host is gone */
	bool out_full;  /* frames of cores without a queue found the wire full */
	uint64_t dropped;
	int idle_fd;    /* without a queue: never readable, the core's own eventfd wakes it */
	uint8_t *spare; /* lent while the host is gone: what is built there is lost */
};

/* relay.c: operations, and waking whoever sleeps. */
extern const struct vly_wire_ops vly_relay_ops;
void vly_relay_wake(struct vly_relay_seat *seat);
/* relay_open.c */
void vly_relay_close(struct vly_wire *wire);

#endif
