/* pool.c - a queue's mbufs, in the memory of its core */
#include "nic/inet/dpdk/pool.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ether.h>
#include <rte_memory.h>
#include <rte_mempool.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/compiler.h"
#include "base/log.h"
#include "nic/inet/dpdk/eal.h"

/* Receive buffers of real NICs come in KiB, and below 2 KiB some of them cut frames. */
#define ROOM_MIN 2048u
#define ROOM_STEP 1024u
#define CACHE 256u
/*
 * The stride is an odd number of lines as it is (vly_dpdk_room), so DPDK need not spread the objects. It
 * gets pieces that are contiguous for the device, so it need not keep objects off the ends of pages.
 */
#define POOL_FLAGS (RTE_MEMPOOL_F_NO_SPREAD | RTE_MEMPOOL_F_NO_IOVA_CONTIG)

uint32_t vly_dpdk_room(uint32_t mtu)
{
	/* two VLAN tags and the check sequence */
	uint32_t frame = mtu + RTE_ETHER_HDR_LEN + 2 * RTE_VLAN_HLEN + RTE_ETHER_CRC_LEN;

	return VLY_MAX(ROOM_MIN, VLY_ALIGN_UP(frame, ROOM_STEP));
}

static uint32_t element_bytes(uint32_t room_bytes)
{
	return (uint32_t)sizeof(struct rte_mbuf) + RTE_PKTMBUF_HEADROOM + room_bytes;
}

size_t vly_dpdk_pool_bytes(uint32_t count, uint32_t room_bytes)
{
	size_t each = rte_mempool_calc_obj_size(element_bytes(room_bytes), POOL_FLAGS, NULL);
	size_t bytes = count * each;

	/* with physical addresses no object lies across two huge pages */
	return bytes + (bytes / VLY_REGION_HUGE_BYTES + 2) * each;
}

static size_t page_bytes(const struct vly_region *region)
{
	return region->pages == VLY_PAGE_2M ? VLY_REGION_HUGE_BYTES : VLY_REGION_PAGE_BYTES;
}

/* Adds the runs of pages that lie side by side in physical memory. */
static int populate_physical(struct rte_mempool *mempool, const struct vly_region *region,
			     uint8_t *memory, size_t bytes)
{
	uint8_t *end = memory + bytes, *at = memory;

	while (at < end) {
		rte_iova_t iova = rte_mem_virt2iova(at);
		uint8_t *next = (uint8_t *)(((uintptr_t)at | (page_bytes(region) - 1)) + 1);

		if (iova == RTE_BAD_IOVA)
			return -EPERM;
		while (next < end && rte_mem_virt2iova(next) == iova + (rte_iova_t)(next - at))
			next += page_bytes(region);
		next = VLY_MIN(next, end);
		int added = rte_mempool_populate_iova(mempool, (char *)at, iova,
						      (size_t)(next - at), NULL, NULL);

		/* a run too short for an object is left out */
		if (added < 0 && added != -EINVAL && added != -ENOBUFS)
			return added;
		if (mempool->populated_size == mempool->size)
			return 0;
		at = next;
	}
	return -ENOBUFS;
}

static int populate(struct vly_dpdk_pool *pool, uint8_t *memory, size_t bytes)
{
	struct rte_mempool *mempool = pool->mempool;

	if (rte_eal_iova_mode() == RTE_IOVA_PA)
		return populate_physical(mempool, pool->region, memory, bytes);
	int added = rte_mempool_populate_iova(mempool, (char *)memory, (rte_iova_t)memory, bytes,
					      NULL, NULL);

	if (added < 0)
		return added;
	return mempool->populated_size == mempool->size ? 0 : -ENOBUFS;
}

/* Every page's address for the device; NULL: no memory. */
static rte_iova_t *page_addresses(const struct vly_region *region, size_t pages)
{
	rte_iova_t *addresses = calloc(pages, sizeof(*addresses));

	for (size_t i = 0; addresses && i < pages; i++) {
		uint8_t *page = region->base + i * page_bytes(region);

		addresses[i] = rte_eal_iova_mode() == RTE_IOVA_PA ? rte_mem_virt2iova(page)
								  : (rte_iova_t)page;
	}
	return addresses;
}

int vly_dpdk_pool_map(struct vly_dpdk_pool *pool, struct rte_device *device, char *why,
		      size_t why_bytes)
{
	const struct vly_region *region = pool->region;
	size_t pages = region->size_bytes / page_bytes(region);
	rte_iova_t *addresses = page_addresses(region, pages);

	if (!addresses)
		return -ENOMEM;
	vly_dpdk_log_forget();
	pool->registered = rte_extmem_register(region->base, region->size_bytes, addresses,
					       (unsigned)pages, page_bytes(region)) == 0;
	int error = 0;

	if (rte_eal_iova_mode() == RTE_IOVA_PA) {
		/* without an IOMMU there is nothing to map; with one that is bypassed, neither */
	} else if (rte_dev_dma_map(device, region->base, (rte_iova_t)region->base,
				   region->size_bytes) == 0) {
		pool->device = device;
	} else if (rte_errno != ENOTSUP) { /* virtual devices copy by the CPU */
		error = -rte_errno;
		vly_dpdk_log_reason("the core's memory cannot be mapped for the port", error, why,
				    why_bytes);
	}
	free(addresses);
	return error;
}

void vly_dpdk_pool_unmap(struct vly_dpdk_pool *pool, struct rte_device *device)
{
	const struct vly_region *region = pool->region;

	if (pool->device)
		(void)rte_dev_dma_unmap(device, region->base, (rte_iova_t)region->base,
					region->size_bytes);
	if (pool->registered)
		(void)rte_extmem_unregister(region->base, region->size_bytes);
	pool->device = NULL;
	pool->registered = false;
}

static int make(struct vly_dpdk_pool *pool)
{
	static atomic_uint made;
	char name[RTE_MEMPOOL_NAMESIZE];
	struct rte_pktmbuf_pool_private private = {
		.mbuf_data_room_size = (uint16_t)(RTE_PKTMBUF_HEADROOM + pool->room_bytes),
	};

	snprintf(name, sizeof(name), "volley%u",
		 atomic_fetch_add_explicit(&made, 1, memory_order_relaxed));
	pool->mempool = rte_mempool_create_empty(name, pool->count, element_bytes(pool->room_bytes),
						 VLY_MIN(CACHE, pool->count / 4), sizeof(private),
						 SOCKET_ID_ANY, POOL_FLAGS);
	if (!pool->mempool)
		return -rte_errno;
	/* Its cache is what its core works with; the ring behind it may be met by a driver's thread. */
	int error = rte_mempool_set_ops_byname(pool->mempool, "ring_mp_mc", NULL);

	if (!error)
		rte_pktmbuf_pool_init(pool->mempool, &private);
	return error;
}

int vly_dpdk_pool_open(struct vly_dpdk_pool *pool, const struct vly_region *region, void *memory,
		       size_t bytes, uint32_t count, uint32_t room_bytes, char *why,
		       size_t why_bytes)
{
	*pool = (struct vly_dpdk_pool){.count = count, .room_bytes = room_bytes, .region = region};
	vly_dpdk_log_forget();
	int error = make(pool);

	if (error) {
		vly_dpdk_log_reason("no mempool", error, why, why_bytes);
		vly_dpdk_pool_close(pool);
		return error;
	}
	error = populate(pool, memory, bytes);
	if (error) {
		if (rte_eal_iova_mode() == RTE_IOVA_PA)
			snprintf(why, why_bytes,
				 "no mbufs by physical addresses (%s); as root: sysctl -w "
				 "vm.nr_hugepages=512, or turn the IOMMU on (--iova-mode=va)",
				 strerror(-error));
		else
			vly_dpdk_log_reason("no mbufs", error, why, why_bytes);
		vly_dpdk_pool_close(pool);
		return error;
	}
	rte_mempool_obj_iter(pool->mempool, rte_pktmbuf_init, NULL);
	return 0;
}

void vly_dpdk_pool_close(struct vly_dpdk_pool *pool)
{
	struct rte_mempool *mempool = pool->mempool;

	if (mempool && mempool->populated_size == mempool->size &&
	    rte_mempool_in_use_count(mempool))
		vly_log(VLY_LOG_INFO, "wire dpdk: the driver kept %u mbufs",
			rte_mempool_in_use_count(mempool));
	rte_mempool_free(mempool);
	pool->mempool = NULL;
}
