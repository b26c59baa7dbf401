/* describe.c - what a port's driver says about it, in lines of text */
#include "nic/inet/dpdk/describe.h"

#include <errno.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "nic/inet/dpdk/eal.h"
#include "nic/inet/dpdk/port.h"

struct page {
	char *text;
	size_t bytes, at;
};

__attribute__((format(printf, 3, 4))) static void line(struct page *page, const char *name,
						       const char *format, ...)
{
	va_list args;

	if (page->at < page->bytes)
		page->at += (size_t)snprintf(page->text + page->at, page->bytes - page->at,
					     "%-22s ", name);
	va_start(args, format);
	if (page->at < page->bytes)
		page->at += (size_t)vsnprintf(page->text + page->at, page->bytes - page->at, format,
					      args);
	va_end(args);
	if (page->at < page->bytes)
		page->at += (size_t)snprintf(page->text + page->at, page->bytes - page->at, "\n");
}

static void offloads(struct page *page, const char *name, uint64_t capa,
		     const char *(*name_of)(uint64_t))
{
	char text[512] = "none";
	size_t at = 0;

	for (unsigned bit = 0; bit < 64 && at < sizeof(text); bit++) {
		if (capa & UINT64_C(1) << bit)
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s", at ? " " : "",
					       name_of(UINT64_C(1) << bit));
	}
	line(page, name, "%s", text);
}

static void limits(struct page *page, const struct vly_dpdk_port *port)
{
	const struct rte_eth_dev_info *info = &port->info;
	const struct rte_eth_desc_lim *rx = &info->rx_desc_lim, *tx = &info->tx_desc_lim;

	line(page, "queues", "%u to receive, %u to send", info->max_rx_queues,
	     info->max_tx_queues);
	line(page, "receive descriptors", "%u chosen (rxd=); %u to %u, a multiple of %u",
	     port->rxd, rx->nb_min, rx->nb_max, rx->nb_align);
	line(page, "send descriptors", "%u chosen (txd=); %u to %u, a multiple of %u", port->txd,
	     tx->nb_min, tx->nb_max, tx->nb_align);
	line(page, "burst", "%u chosen; the driver prefers %u and %u (0: it has no wish)",
	     port->burst, info->default_rxportconf.burst_size,
	     info->default_txportconf.burst_size);
	line(page, "receive thresholds", "prefetch %u, host %u, write-back %u, free %u, drop %u",
	     info->default_rxconf.rx_thresh.pthresh, info->default_rxconf.rx_thresh.hthresh,
	     info->default_rxconf.rx_thresh.wthresh, info->default_rxconf.rx_free_thresh,
	     info->default_rxconf.rx_drop_en);
	line(page, "send thresholds", "prefetch %u, host %u, write-back %u, report %u, free %u",
	     info->default_txconf.tx_thresh.pthresh, info->default_txconf.tx_thresh.hthresh,
	     info->default_txconf.tx_thresh.wthresh, info->default_txconf.tx_rs_thresh,
	     info->default_txconf.tx_free_thresh);
	line(page, "receive buffers", "%u bytes each; at least %u", vly_dpdk_room(port->mtu),
	     info->min_rx_bufsize);
	line(page, "mtu", "%u chosen (mtu=); %u to %u", port->mtu, info->min_mtu, info->max_mtu);
}

static void spreading(struct page *page, const struct rte_eth_dev_info *info)
{
	line(page, "RSS", "key of %u bytes, table of %u entries, hashes %#llx", info->hash_key_size,
	     info->reta_size, (unsigned long long)info->flow_type_rss_offloads);
	offloads(page, "receive offloads", info->rx_offload_capa, rte_eth_dev_rx_offload_name);
	offloads(page, "send offloads", info->tx_offload_capa, rte_eth_dev_tx_offload_name);
}

static void state(struct page *page, const struct vly_dpdk_port *port)
{
	struct rte_eth_link link = {0};
	char text[RTE_ETH_LINK_MAX_STR_LEN] = "unknown until it starts";
	int node = rte_eth_dev_socket_id(port->id);

	line(page, "port", "%u %s, driver %s", port->id, port->name, port->info.driver_name);
	line(page, "MAC", "%02x:%02x:%02x:%02x:%02x:%02x", port->mac[0], port->mac[1],
	     port->mac[2], port->mac[3], port->mac[4], port->mac[5]);
	if (node < 0)
		line(page, "NUMA node", "none");
	else
		line(page, "NUMA node", "%d", node);
	if (rte_eth_link_get_nowait(port->id, &link) == 0 && link.link_status)
		(void)rte_eth_link_to_str(text, sizeof(text), &link);
	line(page, "link", "%s", text);
	line(page, "addresses for it", "%s",
	     rte_eal_iova_mode() == RTE_IOVA_PA ? "physical (IOVA as PA)"
						: "virtual (IOVA as VA)");
	line(page, "memory of DPDK's own", "%s",
	     rte_eal_has_hugepages() ? "huge pages" : "ordinary pages (--no-huge)");
}

int vly_dpdk_describe(const struct vly_nic_spec *spec, char *text, size_t text_bytes, char *why,
		      size_t why_bytes)
{
	struct page page = {.text = text, .bytes = text_bytes};
	struct vly_dpdk_conf conf;
	struct vly_dpdk_port *port;
	int error = vly_dpdk_conf_parse(&conf, spec, why, why_bytes);

	if (!error)
		error = vly_dpdk_eal_start(&conf, why, why_bytes);
	if (!error)
		error = vly_dpdk_port_take(&conf, 0, 1, true, &port, why, why_bytes);
	if (error)
		return error;
	(void)rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &port->rxd, &port->txd);
	state(&page, port);
	limits(&page, port);
	spreading(&page, &port->info);
	vly_dpdk_port_drop(port);
	return 0;
}
