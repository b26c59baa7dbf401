/* pool.h - a queue's mbufs, in the memory of its core */
#ifndef VLY_NIC_INET_DPDK_POOL_H
#define VLY_NIC_INET_DPDK_POOL_H

#include <rte_dev.h>
#include <rte_mbuf.h>

#include "mempool/region.h"

struct vly_dpdk_pool {
	struct rte_mempool *mempool;
	uint32_t count;
	uint32_t room_bytes; /* of a frame, behind the headroom */
	const struct vly_region *region;
	const struct rte_device *device; /* it is mapped for; NULL: for none */
	bool registered;
};

/* Room for a frame of a packet of `mtu`: what every driver takes without cutting frames. */
uint32_t vly_dpdk_room(uint32_t mtu);

/* Bytes of memory that `count` mbufs take. */
size_t vly_dpdk_pool_bytes(uint32_t count, uint32_t room_bytes);

/*
 * Makes `memory`, of so many bytes and out of `region`, a mempool whose objects lie there: by their virtual
 * addresses where the device goes through an IOMMU (or is none), else by the physical ones of each run
 * of pages. The whole region is registered with DPDK and mapped for `device`. 0, or -errno with `why`.
 */
int vly_dpdk_pool_open(struct vly_dpdk_pool *pool, const struct vly_region *region, void *memory,
		       size_t bytes, uint32_t count, uint32_t room_bytes, char *why,
		       size_t why_bytes);
int vly_dpdk_pool_map(struct vly_dpdk_pool *pool, struct rte_device *device, char *why,
		      size_t why_bytes);
void vly_dpdk_pool_unmap(struct vly_dpdk_pool *pool, struct rte_device *device);

/* Every mbuf should be home: a driver that kept some is told of. */
void vly_dpdk_pool_close(struct vly_dpdk_pool *pool);

#endif
