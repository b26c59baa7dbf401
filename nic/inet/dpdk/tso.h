/* tso.h - what a port that cuts long segments (TSO) takes, and giving it some */
#ifndef VLY_NIC_INET_DPDK_TSO_H
#define VLY_NIC_INET_DPDK_TSO_H

#include <rte_ethdev.h>
#include <rte_mbuf.h>

#include "nic/inet/dpdk/conf.h"
#include "nic/inet/wire.h"

struct vly_dpdk_tso {
	uint16_t pieces; /* most mbufs of a segment; 0: the port does not cut */
	uint16_t mss;    /* longest piece; 0: any */
};

#define VLY_DPDK_TX_CHECKSUMS                                                                      \
	(RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM |                            \
	 RTE_ETH_TX_OFFLOAD_UDP_CKSUM)

/*
 * The offloads of sending: checksums where the port offers those of TCP and UDP (virtio and vmxnet3 have none of IP's
 * header, which then is ours), then cutting where it offers that; else mbufs may be freed the fast way, which no chain allows. No chain is longer than a quarter of the descriptors that the port
 * gets: one that never fits would stop its queue.
 */
uint64_t vly_dpdk_tso_choose(struct vly_dpdk_tso *tso, const struct rte_eth_dev_info *info,
			     const struct vly_dpdk_conf *conf);

/* What the wire then says of itself. */
void vly_dpdk_tso_offer(const struct vly_dpdk_tso *tso, struct vly_wire *wire);

/*
 * Chains the mbufs of the frames that go on with others (VLY_FRAME_MORE) to those, in place: how many are left. Their
 * fields are set but for what follows.
 */
uint32_t vly_dpdk_tso_chain(struct rte_mbuf **mbufs, const struct vly_frame *frames,
			    uint32_t count);

/* The port is asked to cut; its checksums are asked for. */
void vly_dpdk_tso_ask(struct rte_mbuf *mbuf, const struct vly_frame *frame);

#endif
