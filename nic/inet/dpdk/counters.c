/* counters.c - what a port's device counts, asked for on a thread of DPDK's */
#include "nic/inet/dpdk/counters.h"

#include <rte_ethdev.h>
#include <string.h>

#include "base/compiler.h"

/* As in vly_stats. */
enum {
	RX_FRAMES,
	RX_BYTES,
	TX_FRAMES,
	TX_BYTES,
	RX_MISSED,
	RX_ERRORS,
	TX_ERRORS,
	RX_NO_MBUF,
	BASICS
};

static _Atomic uint64_t basics[RTE_MAX_ETHPORTS][BASICS];
static struct vly_counter_list lists[RTE_MAX_ETHPORTS];

static_assert(sizeof(struct rte_eth_xstat_name) == sizeof(lists[0].name[0]), "names fit");

/* The first ones, where there are more than a list takes. */
static void ids_fill(uint64_t ids[VLY_COUNTERS_MAX])
{
	for (unsigned i = 0; i < VLY_COUNTERS_MAX; i++)
		ids[i] = i;
}

void vly_dpdk_counters_name(uint16_t id)
{
	struct vly_counter_list *list = &lists[id];
	struct rte_eth_xstat_name *names = (struct rte_eth_xstat_name *)(void *)list->name;
	uint64_t ids[VLY_COUNTERS_MAX];
	int count = rte_eth_xstats_get_names(id, NULL, 0);

	ids_fill(ids);
	count = VLY_MIN(count, (int)VLY_COUNTERS_MAX);
	/* who reads meanwhile sees none, or names of the port before */
	atomic_store_explicit(&list->count, 0, memory_order_release);
	if (count <= 0 || rte_eth_xstats_get_names_by_id(id, names, (unsigned)count, ids) != count)
		return;
	for (int i = 0; i < count; i++)
		atomic_store_explicit(&list->value[i], 0, memory_order_relaxed);
	/* pairs with vly_counters() */
	atomic_store_explicit(&list->count, (uint32_t)count, memory_order_release);
}

static void set(uint16_t id, unsigned what, uint64_t value)
{
	atomic_store_explicit(&basics[id][what], value, memory_order_relaxed);
}

void vly_dpdk_counters_read(uint16_t id)
{
	struct vly_counter_list *list = &lists[id];
	uint64_t ids[VLY_COUNTERS_MAX], values[VLY_COUNTERS_MAX];
	uint32_t count = atomic_load_explicit(&list->count, memory_order_acquire);
	struct rte_eth_stats stats;

	if (rte_eth_stats_get(id, &stats) == 0) {
		set(id, RX_FRAMES, stats.ipackets);
		set(id, RX_BYTES, stats.ibytes);
		set(id, TX_FRAMES, stats.opackets);
		set(id, TX_BYTES, stats.obytes);
		set(id, RX_MISSED, stats.imissed);
		set(id, RX_ERRORS, stats.ierrors);
		set(id, TX_ERRORS, stats.oerrors);
		set(id, RX_NO_MBUF, stats.rx_nombuf);
	}
	ids_fill(ids);
	if (!count || rte_eth_xstats_get_by_id(id, ids, values, count) != (int)count)
		return;
	for (uint32_t i = 0; i < count; i++)
		atomic_store_explicit(&list->value[i], values[i], memory_order_relaxed);
}

void vly_dpdk_counters_show(uint16_t id, struct vly_stats *stats)
{
	uint64_t *const to[BASICS] = {
		[RX_FRAMES] = &stats->port_rx_frames, [RX_BYTES] = &stats->port_rx_bytes,
		[TX_FRAMES] = &stats->port_tx_frames, [TX_BYTES] = &stats->port_tx_bytes,
		[RX_MISSED] = &stats->port_rx_missed, [RX_ERRORS] = &stats->port_rx_errors,
		[TX_ERRORS] = &stats->port_tx_errors, [RX_NO_MBUF] = &stats->port_rx_no_mbuf,
	};

	for (unsigned i = 0; i < BASICS; i++)
		__atomic_store_n(to[i], atomic_load_explicit(&basics[id][i], memory_order_relaxed),
				 __ATOMIC_RELAXED);
}

const struct vly_counter_list *vly_dpdk_counters_list(uint16_t id)
{
	return &lists[id];
}
