/* wire.c - the wire dpdk: what it needs, opening and closing it, and the plugin that holds it */
#include <errno.h>
#include <inttypes.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "nic/inet/dpdk/conf.h"
#include "nic/inet/dpdk/counters.h"
#include "nic/inet/dpdk/describe.h"
#include "nic/inet/dpdk/eal.h"
#include "nic/inet/dpdk/host.h"
#include "nic/inet/dpdk/wire.h"
#include "nic/inet/wire_options.h"

/* frames that the stack holds, in the queues and caches between it and the port */
#define SPARE (LENT_MAX + LOOPED_MAX + 4 * BURST_MAX + 384u)
#define PATIENT_NS 1000000000u /* for a link that comes up after opening */

static int dpdk_check(const struct vly_nic_spec *spec, const struct vly_wire_ops *const *stack,
		      char *why, size_t why_bytes)
{
	struct vly_dpdk_conf conf;
	int error = vly_dpdk_conf_parse(&conf, spec, why, why_bytes);

	(void)stack;
	return error ? error : vly_dpdk_eal_check(&conf, why, why_bytes);
}

/* What the descriptors take, the mbufs not being named: the driver may ask for fewer. */
uint32_t vly_dpdk_bufs(const struct vly_dpdk_conf *conf)
{
	if (conf->bufs)
		return conf->bufs;
	return (conf->rxd ? conf->rxd : VLY_DPDK_DESCRIPTORS) +
	       (conf->txd ? conf->txd : VLY_DPDK_DESCRIPTORS) + SPARE;
}

static size_t dpdk_region_bytes(const struct vly_config *config, const struct vly_nic_spec *spec,
				const struct vly_wire_ops *const *stack)
{
	struct vly_dpdk_conf conf;
	char why[128];

	(void)config;
	(void)stack;
	(void)vly_dpdk_conf_parse(&conf, spec, why, sizeof(why));
	return vly_wire_take_bytes(sizeof(struct wire)) +
	       vly_wire_take_bytes(
		       vly_dpdk_pool_bytes(vly_dpdk_bufs(&conf), vly_dpdk_room(conf.mtu)));
}

/* What keeps one core from opening keeps the others, too, or they meet what it left behind: one of them logs. */
static void tell(const struct vly_wire_setup *setup, const char *why)
{
	if (vly_wire_may_tell(setup))
		vly_log(VLY_LOG_ERROR, "wire dpdk: %s", why);
}

static int dpdk_queues(const struct vly_wire_setup *setup)
{
	struct vly_dpdk_conf conf;
	char why[400] = "";
	int queues = vly_dpdk_conf_parse(&conf, setup->spec, why, sizeof(why));

	if (!queues)
		queues = vly_dpdk_eal_start(&conf, why, sizeof(why));
	if (!queues)
		queues = vly_dpdk_port_queues(&conf, setup->config->cores, why, sizeof(why));
	if (queues < 0)
		tell(setup, why);
	return queues;
}

static void give_back(struct wire *w)
{
	rte_pktmbuf_free_bulk(w->lent, w->lent_count);
	rte_pktmbuf_free_bulk(w->come + w->come_at, w->come_count - w->come_at);
	rte_pktmbuf_free_bulk(w->empty, w->empty_count);
	rte_pktmbuf_free_bulk(w->owed, w->owed_count);
	rte_pktmbuf_free_bulk(w->looped, w->looped_count);
}

/* What its device has counted, for the last time; of what it lost, a line. */
static void count_last(struct wire *w)
{
	struct vly_stats *stats = w->stats;

	if (w->counters)
		atomic_store_explicit(w->counters, NULL, memory_order_release);
	if (!stats || !enter(w))
		return;
	vly_dpdk_counters_read(w->port->id);
	leave(w);
	vly_dpdk_counters_show(w->port->id, stats);
	if (stats->port_rx_missed | stats->port_rx_errors | stats->port_tx_errors |
	    stats->port_rx_no_mbuf)
		vly_log(VLY_LOG_WARN,
			"port %s: of %" PRIu64 " frames received %" PRIu64
			" found no descriptor, %" PRIu64 " no mbuf, and %" PRIu64
			" came with errors; %" PRIu64 " were not sent",
			w->port->name, stats->port_rx_frames, stats->port_rx_missed,
			stats->port_rx_no_mbuf, stats->port_rx_errors, stats->port_tx_errors);
}

static void dpdk_close(struct vly_wire *wire)
{
	struct wire *w = wire_of(wire);

	(void)vly_dpdk_pay(w);
	give_back(w);
	if (w->attached && enter(w)) {
		(void)rte_eth_dev_rx_intr_ctl_q(w->port->id, w->queue, w->epoll_fd,
						RTE_INTR_EVENT_DEL, NULL);
		leave(w);
	}
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	count_last(w);
	vly_dpdk_port_leave(w->port, w->queue);
	vly_dpdk_pool_close(&w->pool);
	vly_dpdk_port_drop(w->port);
	vly_dpdk_thread_leave();
}

static int check_bufs(const struct vly_dpdk_port *port, uint32_t bufs, char *why, size_t why_bytes)
{
	uint32_t least = (uint32_t)port->rxd + port->txd + SPARE;

	if (bufs >= least)
		return 0;
	snprintf(why, why_bytes,
		 "port %s with %u and %u descriptors takes %u mbufs, and there are %u: bufs=%u, or "
		 "smaller rxd= and txd=",
		 port->name, port->rxd, port->txd, least, bufs, least);
	return -ENOBUFS;
}

static int open_queue(struct wire *w, const struct vly_wire_setup *setup,
		      const struct vly_dpdk_conf *conf, char *why, size_t why_bytes)
{
	uint32_t bufs = vly_dpdk_bufs(conf), room = vly_dpdk_room(conf->mtu);
	size_t bytes = vly_dpdk_pool_bytes(bufs, room);
	void *memory = vly_wire_take(setup->region, bytes);

	if (!memory) {
		snprintf(why, why_bytes,
			 "the core's memory has no room for %u mbufs, %zu KiB: bufs=, or smaller "
			 "rxd= and txd=",
			 bufs, bytes / 1024);
		return -ENOMEM;
	}
	int error = check_bufs(w->port, bufs, why, why_bytes);

	if (error)
		return error;
	error = vly_dpdk_pool_open(&w->pool, setup->region, memory, bytes, bufs, room, why,
				   why_bytes);
	if (error)
		return error;
	error = vly_dpdk_port_join(w->port, w->queue, &w->pool, why, why_bytes);
	if (error)
		vly_dpdk_pool_close(&w->pool);
	return error;
}

static void fill(struct wire *w, const struct vly_wire_setup *setup,
		 const struct vly_dpdk_conf *conf)
{
	const struct vly_dpdk_port *port = w->port;
	bool own = conf->ports_count > 1;

	w->wire = (struct vly_wire){
		.ops = &vly_dpdk_ops,
		.mtu = port->mtu,
		.queue = setup->queue,
		.queues = setup->queues,
	};
	if (own)
		w->wire.caps |= VLY_WIRE_HOST_PER_CORE;
	if (port->rx_offloads & RTE_ETH_RX_OFFLOAD_TCP_CKSUM)
		w->wire.caps |= VLY_WIRE_RX_CHECKSUM;
	if (port->tx_offloads & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
		w->wire.caps |= VLY_WIRE_TX_CHECKSUM;
	vly_dpdk_tso_offer(&port->tso, &w->wire);
	if (port->rss.foretold) {
		w->wire.caps |= VLY_WIRE_RSS;
		w->wire.rss_key = port->rss.key;
		w->wire.rss_table = port->rss.table;
		w->wire.rss_table_count = port->rss.table_count;
	}
	memcpy(w->wire.mac, port->mac, sizeof(w->wire.mac));
	w->queue = own ? 0 : setup->queue;
	w->stats = w->queue ? NULL : setup->stats;
	w->alone = port->queues == 1;
	w->burst = port->burst;
	w->prepare = w->wire.caps & VLY_WIRE_TX_CHECKSUM;
	w->sums_ip = port->tx_offloads & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	w->epoll_fd = -1;
}

static int open_port(struct wire *w, const struct vly_wire_setup *setup,
		     const struct vly_dpdk_conf *conf, char *why, size_t why_bytes)
{
	bool sleeps = setup->config->idle != VLY_IDLE_BUSY;
	int error = vly_dpdk_thread_enter(why, why_bytes);

	if (error)
		return error;
	error = vly_dpdk_port_take(conf, setup->queue, setup->queues, sleeps, &w->port, why,
				   why_bytes);
	if (!error) {
		fill(w, setup, conf);
		error = open_queue(w, setup, conf, why, why_bytes);
		if (error)
			vly_dpdk_port_drop(w->port);
	}
	if (error)
		vly_dpdk_thread_leave();
	return error;
}

static void prepare_sleep(struct wire *w)
{
	struct vly_dpdk_port *port = w->port;

	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (!atomic_load_explicit(&port->up, memory_order_acquire) || vly_dpdk_attach(w))
		return;
	vly_log(VLY_LOG_INFO, "port %s has no receive interrupts: its cores poll always",
		port->name);
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
	w->epoll_fd = -1;
}

static int dpdk_open(const struct vly_wire_setup *setup, struct vly_wire **wire)
{
	struct vly_dpdk_conf conf;
	char why[400] = "";
	struct wire *w = vly_wire_take(setup->region, sizeof(*w));
	int error = w ? vly_dpdk_conf_parse(&conf, setup->spec, why, sizeof(why)) : -ENOMEM;

	if (!error)
		error = vly_dpdk_eal_start(&conf, why, sizeof(why));
	if (!error)
		error = open_port(w, setup, &conf, why, sizeof(why));
	if (error) {
		tell(setup, why[0] ? why : strerror(-error));
		return error;
	}
	if (setup->config->idle != VLY_IDLE_BUSY)
		prepare_sleep(w);
	if (!w->queue && setup->counters) {
		w->counters = setup->counters;
		/* pairs with vly_counters() */
		atomic_store_explicit(w->counters, vly_dpdk_counters_list(w->port->id),
				      memory_order_release);
	}
	w->patient_ns = setup->now_ns + PATIENT_NS;
	vly_dpdk_look_at_link(w, setup->now_ns);
	*wire = &w->wire;
	return 0;
}

const struct vly_wire_ops vly_dpdk_ops = {
	.name = "dpdk",
	.check = dpdk_check,
	.region_bytes = dpdk_region_bytes,
	.queues = dpdk_queues,
	.open = dpdk_open,
	.close = dpdk_close,
	.rx_burst = vly_dpdk_rx_burst,
	.rx_done = vly_dpdk_rx_done,
	.tx_take = vly_dpdk_tx_take,
	.tx_send = vly_dpdk_tx_send,
	.has_work = vly_dpdk_has_work,
	.fd = vly_dpdk_fd,
	.arm = vly_dpdk_arm,
	.disarm = vly_dpdk_disarm,
	.describe = vly_dpdk_describe,
};

static const struct vly_dpdk_plugin plugin = {
	.abi = VLY_DPDK_PLUGIN_ABI,
	.ops = &vly_dpdk_ops,
};

__attribute__((visibility("default"))) const struct vly_dpdk_plugin *
vly_dpdk_plugin(const struct vly_dpdk_host *host)
{
	vly_dpdk_host_set(host);
	return &plugin;
}
