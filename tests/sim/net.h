/* net.h - the simulated network: a switch, a link to each host, and everything that goes wrong there */
#ifndef VLY_TESTS_SIM_NET_H
#define VLY_TESTS_SIM_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "nic/inet/wire.h"
#include "tests/sim/rng.h"

#define NET_HOSTS 6
#define NET_FRAMES 4096 /* in flight at once; more are lost, as in a switch */
#define NET_ROOM 2048   /* bytes of a frame */
#define NET_TX_SLOTS 64
#define NET_RX_LENT 1024

/* What happens to the frames that one host sends. Chances are per frame, 0..1. */
struct net_faults {
	double loss, duplicate, reorder, corrupt;
	double refuse;       /* the wire lends no frame to send: back-pressure */
	uint64_t latency_ns; /* one way */
	uint64_t jitter_ns;  /* further delay at most, order kept */
	uint64_t reorder_ns; /* further delay at most of a frame that may be overtaken */
	uint64_t rate_mbps;  /* of the link; 0: endless */
	uint64_t queue_ns;   /* what waits longer for the link is lost */
};

struct net_frame {
	uint64_t at_ns,
		order; /* arrival; frames of one moment in the order in which they were sent */
	uint32_t len;
	uint16_t flags; /* enum vly_frame_flag */
	uint8_t data[NET_ROOM];
};

struct net;

struct net_port {
	struct vly_wire wire; /* what the host's nic sees */
	struct net *net;
	unsigned host;
	struct net_faults faults;
	uint64_t busy_ns;                   /* until then its link sends what is queued */
	uint64_t last_ns;                   /* arrival of the last frame that keeps the order */
	uint64_t refuse_ns;                 /* until then nothing is lent */
	struct net_frame *heap[NET_FRAMES]; /* on their way to this host, the next one first */
	uint32_t heap_count;
	struct net_frame *lent[NET_RX_LENT];
	uint32_t lent_count;
	uint32_t tx_lent;
	bool opened;
	_Alignas(64) uint8_t tx[NET_TX_SLOTS][NET_ROOM];
};

struct net_counts {
	uint64_t sent, delivered, lost, duplicated, reordered, corrupted, refused, overflowed, down,
		stray, cut;
};

struct net {
	struct net_port ports[NET_HOSTS];
	unsigned hosts;
	struct rng rng;
	uint64_t order;
	struct net_counts counts;
	struct net_frame *spare[NET_FRAMES];
	uint32_t spare_count;
	/* Sees every frame that a host sends, whole, before anything happens to it. */
	void (*on_frame)(void *arg, unsigned from, uint64_t now_ns, const uint8_t *data,
			 uint32_t len);
	/* Sees what comes from nowhere; may be NULL. */
	void (*on_inject)(void *arg, uint64_t at_ns, const uint8_t *data, uint32_t len);
	/* Whether this frame is to be lost, whatever chance says; may be NULL. */
	bool (*on_fate)(void *arg, unsigned from, const uint8_t *data, uint32_t len);
	void *arg;
	struct net_frame frames[NET_FRAMES];
};

struct net_opts {
	unsigned hosts;
	uint32_t mtu;
	uint32_t caps; /* VLY_WIRE_TX_CHECKSUM, VLY_WIRE_RX_CHECKSUM, VLY_WIRE_TSO */
	uint16_t tso_pieces;
	uint64_t seed;
};

/* Makes an empty network. The next engine over wire `sim` is its hosts. One at a time in a process. */
void net_init(struct net *net, const struct net_opts *opts);

extern const struct vly_wire_ops net_wire_ops;

/* When the next frame arrives at `host`, or it may send again; UINT64_MAX: never. */
uint64_t net_next_ns(const struct net *net, unsigned host);

/* The host was polled: if it was to send again, it has had its chance. */
void net_polled(struct net *net, unsigned host, uint64_t now_ns);

/* Takes the host's link down or up; what is on its way is lost with it. */
void net_link(struct net *net, unsigned host, bool up);

/* A frame from nowhere, which arrives at `host`. */
void net_inject(struct net *net, unsigned host, uint64_t at_ns, const uint8_t *data, uint32_t len);

/* Frames that hosts have and should not have when they are closed. */
uint32_t net_in_flight(const struct net *net);

#endif
