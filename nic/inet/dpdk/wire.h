/* wire.h - one queue of a dpdk port, as the stack sees it: what burst.c works on and wire.c opens */
#ifndef VLY_NIC_INET_DPDK_WIRE_H
#define VLY_NIC_INET_DPDK_WIRE_H

#include <rte_mbuf.h>

#include "nic/inet/dpdk/pool.h"
#include "nic/inet/dpdk/port.h"
#include "nic/inet/wire.h"

#define BURST_MAX 64u
#define LOOPED_MAX 256u /* frames to ourselves under way */
#define LENT_MAX 512u   /* received frames that the nic may have */

struct wire {
	struct vly_wire wire;
	struct vly_dpdk_port *port;
	uint16_t queue, burst;
	bool alone; /* the port's only queue: nobody else stops it */
	/* until the link was up once, or so long: what is sent waits; later it is lost */
	uint64_t patient_ns;
	bool prepare; /* the driver looks over what it completes, */
	bool sums_ip; /* which are the checksums of IP's headers, too */
	uint64_t look_ns;
	struct vly_stats
		*stats; /* of the core, for what the device counts; NULL: another queue's does */
	vly_counter_seat *counters;
	struct vly_dpdk_pool pool;
	int epoll_fd;  /* for the queue's interrupt; -1: the core never sleeps */
	bool attached; /* it comes there, */
	bool armed;    /* and is on */

	struct rte_mbuf *come[BURST_MAX]; /* received, not lent yet: [at, count) */
	uint32_t come_at, come_count;
	struct rte_mbuf *lent[LENT_MAX];
	uint32_t lent_count;
	struct rte_mbuf *empty[BURST_MAX]; /* taken from the pool: the first `taken` are lent */
	uint32_t empty_count, taken;
	struct rte_mbuf *owed[BURST_MAX]; /* to be sent: the driver had no room */
	uint32_t owed_count;
	struct rte_mbuf *looped[LOOPED_MAX]; /* to ourselves: no port gives them back */
	uint32_t looped_count;
};

static inline struct wire *wire_of(struct vly_wire *wire)
{
	return vly_container_of(wire, struct wire, wire);
}

/*
 * Around each call of the driver, so that whoever stops the port waits for it. With one queue the core
 * that stops it is the one that calls. Pairs with take_down() in port.c.
 */
static inline bool enter(struct wire *w)
{
	struct vly_dpdk_port *port = w->port;

	if (vly_likely(w->alone))
		return atomic_load_explicit(&port->up, memory_order_acquire);
	atomic_store_explicit(&port->queue[w->queue].inside, 1, memory_order_seq_cst);
	if (vly_likely(atomic_load_explicit(&port->up, memory_order_seq_cst)))
		return true;
	atomic_store_explicit(&port->queue[w->queue].inside, 0, memory_order_release);
	return false;
}

static inline void leave(struct wire *w)
{
	if (!w->alone)
		atomic_store_explicit(&w->port->queue[w->queue].inside, 0, memory_order_release);
}

/* Mbufs that each queue has. */
uint32_t vly_dpdk_bufs(const struct vly_dpdk_conf *conf);

/* The operations of vly_dpdk_ops (burst.c). */
uint32_t vly_dpdk_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			   uint32_t max);
void vly_dpdk_rx_done(struct vly_wire *wire, uint64_t now_ns);
uint32_t vly_dpdk_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			  uint32_t max);
void vly_dpdk_tx_send(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
		      uint32_t count);
bool vly_dpdk_has_work(struct vly_wire *wire, uint64_t now_ns);
int vly_dpdk_fd(struct vly_wire *wire);
bool vly_dpdk_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted);
void vly_dpdk_disarm(struct vly_wire *wire);

/* Asks the port whether its link is up. */
void vly_dpdk_look_at_link(struct wire *w, uint64_t now_ns);
/* Hands the driver what it did not take before; true: nothing is owed any more. */
bool vly_dpdk_pay(struct wire *w);
/* The queue's interrupt comes to our descriptor. False: it has none, or the port is not up yet. */
bool vly_dpdk_attach(struct wire *w);

#endif
