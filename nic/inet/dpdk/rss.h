/* rss.h - how a port is to spread flows over its queues, and whether it says that it does */
#ifndef VLY_NIC_INET_DPDK_RSS_H
#define VLY_NIC_INET_DPDK_RSS_H

#include <rte_ethdev.h>
#include <stdbool.h>
#include <stdint.h>

#define VLY_DPDK_TABLE_MAX 512u
#define VLY_DPDK_KEY_MAX 128u

struct vly_dpdk_rss {
	uint64_t hashes; /* RTE_ETH_RSS_*, of which it is asked for; 0: it does not spread by any */
	/* It takes a key and a table of ours, so that the queue of a TCP segment can be foretold. */
	bool foretold;
	const char *why; /* not */
	uint8_t key_bytes;
	uint8_t key[VLY_DPDK_KEY_MAX]; /* Microsoft's, then again from its beginning */
	uint32_t table_count;
	uint16_t table[VLY_DPDK_TABLE_MAX]; /* the queues in turn */
};

/* What to ask of a port with so many queues, by what its driver offers. */
void vly_dpdk_rss_choose(struct vly_dpdk_rss *rss, const struct rte_eth_dev_info *info,
			 unsigned queues);

/* Puts it into what the port is configured with. */
void vly_dpdk_rss_configure(struct vly_dpdk_rss *rss, struct rte_eth_conf *conf);

/*
 * The port runs: gives it the table, and asks for table and key. Where the driver tells of others, or of none, one line
 * of log says so: the cores compare what comes with what was foretold in any case (placement.h).
 */
void vly_dpdk_rss_verify(const struct vly_dpdk_rss *rss, uint16_t id, const char *name);

#endif
