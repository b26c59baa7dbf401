/* port.h - a port of DPDK's: found or made, brought up when every core has its queue, taken down */
#ifndef VLY_NIC_INET_DPDK_PORT_H
#define VLY_NIC_INET_DPDK_PORT_H

#include <rte_ethdev.h>
#include <stdalign.h>
#include <stdatomic.h>

#include "nic/inet/dpdk/conf.h"
#include "nic/inet/dpdk/pool.h"
#include "nic/inet/dpdk/rss.h"
#include "nic/inet/dpdk/tso.h"

#define VLY_DPDK_QUEUES_MAX 64u

struct vly_dpdk_queue {
	/* written by its core at every burst: it is in the driver now */
	alignas(VLY_WRITER_GAP) _Atomic uint32_t inside;
	struct vly_dpdk_pool *pool; /* NULL: not open. Under the lock */
};

/* Written under the lock (port.c), but for `up` and what the cores write. */
struct vly_dpdk_port {
	uint16_t id;
	unsigned users; /* wires, opened or opening */
	unsigned queues, joined;
	/* every queue is there and the driver runs; cleared before it is stopped */
	_Atomic bool up;
	bool closed; /* the driver let go of it: a queue has left */
	bool interrupts;
	char name[RTE_ETH_NAME_MAX_LEN];
	struct rte_eth_dev_info info;
	struct rte_device *device;
	uint8_t mac[6];
	/* what was chosen, from the options and the driver's information */
	uint32_t mtu;
	uint16_t rxd, txd;
	uint16_t burst;
	uint64_t rx_offloads, tx_offloads;
	struct vly_dpdk_rss rss;
	struct vly_dpdk_tso tso;
	struct vly_dpdk_queue queue[VLY_DPDK_QUEUES_MAX];
};

/*
 * The port for core `index`, its first of so many queues, and what it offers; makes its device if need be.
 * A port that is listed for this core alone has one queue. 0, or -errno with `why`.
 */
int vly_dpdk_port_take(const struct vly_dpdk_conf *conf, unsigned index, unsigned queues,
		       bool sleeps, struct vly_dpdk_port **port, char *why, size_t why_bytes);
void vly_dpdk_port_drop(struct vly_dpdk_port *port);

/*
 * How many queues so many cores get: as many, or what the port has; of ports listed for each core, one
 * each. -errno with `why`.
 */
int vly_dpdk_port_queues(const struct vly_dpdk_conf *conf, unsigned cores, char *why,
			 size_t why_bytes);

/* Queue `queue` has its mbufs. The last one brings the port up. */
int vly_dpdk_port_join(struct vly_dpdk_port *port, unsigned queue, struct vly_dpdk_pool *pool,
		       char *why, size_t why_bytes);
/*
 * Its mbufs come home: the port is stopped, once no core is in its driver, and let go of. The other
 * queues see the link down.
 */
void vly_dpdk_port_leave(struct vly_dpdk_port *port, unsigned queue);

#endif
