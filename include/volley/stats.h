/* stats.h - what a core has counted */
#ifndef VOLLEY_STATS_H
#define VOLLEY_STATS_H

#include "volley/api.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A snapshot. Counters only grow; gauges are marked. Each value is exact for its core, the set is
 * not one instant's.
 */
struct vly_stats {
	/* polling */
	uint64_t polls, polls_empty, sleeps, wakes, events;
	/*
	 * Time inside polls that returned something, of one that waited the last round alone, plus the
	 * time until the next poll began. On a core that never sleeps busy_ns / (busy_ns + idle_ns) is
	 * its busy share; on one that does, sleeping counts with the poll it ends: ask for its thread's
	 * CPU time instead.
	 */
	uint64_t busy_ns;
	uint64_t idle_ns; /* time inside polls, and rounds of them, that returned nothing */
	/* connections */
	uint64_t accepted, connected, connect_failed;
	uint64_t closed;        /* CLOSED events, */
	uint64_t closed_error;  /* and those of them with a status */
	uint64_t accept_full;   /* accepting stopped: no slot */
	uint64_t accept_nofile; /* accepting stopped: no descriptor */
	uint64_t conns;         /* gauge: slots in use, listeners and such included */
	/* bytes */
	uint64_t rx_events, rx_bytes, tx_sends, tx_bytes, tx_calls;
	/* -EAGAIN: the connection's budget, or its fair share of the pool, was full */
	uint64_t tx_blocked_budget;
	uint64_t tx_blocked_pool; /* -EAGAIN: the core's pool was empty */
	uint64_t rx_starved;      /* reading stopped: no receive buffer */
	uint64_t rx_capped;       /* a connection was cut off at its fair share of a batch */
	uint64_t dgrams_rx, dgrams_tx, dgrams_truncated, dgrams_dropped;
	uint64_t holds_copied, holds_pinned, holds_refused;
	/* neighbours and timers */
	uint64_t mail_rx, mail_tx, mail_blocked, timers_fired;
	/*
	 * Flows of several cores on one port of the inet nic. place is a gauge: 0: nothing to place; 1: by the
	 * port's RSS, checked in software; 2: by the port's RSS; 3: by the cores, in software.
	 */
	uint64_t place;
	uint64_t place_home,
		place_elsewhere;     /* frames checked: came in at their flow's core, or not */
	uint64_t relay_tx, relay_rx; /* frames handed to other cores, and got from them */
	uint64_t relay_dropped;      /* lost: the other core's ring was full, or it is closed */
	/* The inet nic's wire. A gauge: 1: there is another side; and frames that the wire itself lost. */
	uint64_t link_up;
	uint64_t wire_rx_dropped, wire_tx_dropped;
	/*
	 * What the device of a port of DPDK's has counted for the whole port, renewed every second: at the core of
	 * its first queue, 0 elsewhere. vly_counters() tells what else it counts.
	 */
	uint64_t port_rx_frames, port_rx_bytes, port_tx_frames, port_tx_bytes;
	uint64_t port_rx_missed; /* no descriptor was free: its cores do not keep up */
	uint64_t port_rx_errors, port_tx_errors;
	uint64_t port_rx_no_mbuf; /* the pool of a queue was empty: bufs= */
	/* memory: gauges, fixed after opening but for the three pools */
	uint64_t region_bytes, region_used_bytes, region_page_bytes;
	int64_t region_node;    /* NUMA node the region is bound to, -1: not bound */
	uint64_t region_locked; /* 1: locked in memory */
	uint64_t tx_bufs_free, tx_refs_free;
	/* not held past their batch: those that the nic receives into count as free */
	uint64_t rx_bufs_free;
	uint64_t tx_bufs_low, rx_bufs_low; /* fewest ever free */
};

/* What a device counts besides, by its driver's name for it. */
struct vly_counter {
	char name[64];
	uint64_t value;
};

#ifdef __cplusplus
}
#endif

#endif
