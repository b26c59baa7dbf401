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
#include "nic/inet/dpdk/wire.h"

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

/* A setting: its value, where it comes from, and what the driver says. */
__attribute__((format(printf, 5, 6))) static void knob(struct page *page, const char *name,
						       uint32_t value, const char *source,
						       const char *format, ...)
{
	char says[160];
	va_list args;

	va_start(args, format);
	vsnprintf(says, sizeof(says), format, args);
	va_end(args);
	line(page, name, "%-8u %-26s %s", value, source, says);
}

/* Of a number of descriptors: `asked` by the option, or 0; `fitted` to what the driver takes. */
static const char *source_of(uint32_t asked, uint32_t fitted, const char *option)
{
	if (asked)
		return fitted == asked ? option : "the option, fitted";
	return fitted == VLY_DPDK_DESCRIPTORS ? "ours, a default" : "ours, fitted";
}

static void descriptors(struct page *page, const struct vly_dpdk_port *port,
			const struct vly_dpdk_conf *conf, bool send)
{
	const struct rte_eth_dev_info *info = &port->info;
	const struct rte_eth_desc_lim *limit = send ? &info->tx_desc_lim : &info->rx_desc_lim;
	uint32_t wish = send ? info->default_txportconf.ring_size
			     : info->default_rxportconf.ring_size;
	char prefers[32] = "has no wish";

	if (wish)
		snprintf(prefers, sizeof(prefers), "prefers %u", wish);
	knob(page, send ? "send descriptors" : "receive descriptors", send ? port->txd : port->rxd,
	     send ? source_of(conf->txd, port->txd, "txd=")
		  : source_of(conf->rxd, port->rxd, "rxd="),
	     "driver: %u to %u in steps of %u, %s", limit->nb_min, limit->nb_max, limit->nb_align,
	     prefers);
}

static void rings(struct page *page, const struct vly_dpdk_port *port,
		  const struct vly_dpdk_conf *conf)
{
	const struct rte_eth_dev_info *info = &port->info;
	uint32_t most = VLY_MIN(info->max_rx_queues, info->max_tx_queues);
	uint32_t wish = info->default_rxportconf.burst_size;

	knob(page, "queues, at most", conf->queues ? VLY_MIN(conf->queues, most) : most,
	     conf->queues && conf->queues < most ? "queues=" : "the driver",
	     "driver: %u to receive, %u to send; one for each core", info->max_rx_queues,
	     info->max_tx_queues);
	descriptors(page, port, conf, false);
	descriptors(page, port, conf, true);
	knob(page, "burst", port->burst, wish == port->burst ? "the driver" : "ours, 32 to 64",
	     "driver: prefers %u to receive, %u to send (0: no wish)", wish,
	     info->default_txportconf.burst_size);
	knob(page, "mbufs of a queue", vly_dpdk_bufs(conf), conf->bufs ? "bufs=" : "ours",
	     "descriptors both ways, and what the stack holds");
	knob(page, "room of an mbuf", vly_dpdk_room(port->mtu), "ours, by the mtu",
	     "driver: at least %u", info->min_rx_bufsize);
	knob(page, "mtu", port->mtu, conf->mtu_given ? "mtu=" : "ours, a default",
	     "driver: %u to %u", info->min_mtu, info->max_mtu);
}

static void thresholds(struct page *page, const struct rte_eth_dev_info *info)
{
	const struct rte_eth_rxconf *rx = &info->default_rxconf;
	const struct rte_eth_txconf *tx = &info->default_txconf;

	line(page, "receive thresholds",
	     "the driver's: prefetch %u, host %u, write-back %u, free %u", rx->rx_thresh.pthresh,
	     rx->rx_thresh.hthresh, rx->rx_thresh.wthresh, rx->rx_free_thresh);
	line(page, "drop when full", "%s",
	     rx->rx_drop_en ? "yes, by the driver's default"
			    : "with several queues, so that a slow core holds up no other (ours); "
			      "with one no, by the driver's default");
	line(page, "send thresholds",
	     "the driver's: prefetch %u, host %u, write-back %u, report %u, free %u",
	     tx->tx_thresh.pthresh, tx->tx_thresh.hthresh, tx->tx_thresh.wthresh, tx->tx_rs_thresh,
	     tx->tx_free_thresh);
}

static const char *who(const struct vly_dpdk_conf *conf, uint64_t chosen, uint64_t ip)
{
	if (chosen)
		return chosen & ip ? "by the port, which offers all of them"
				   : "by the port those of TCP and UDP, IP's in software";
	return conf->software ? "in software: csum=none"
			      : "in software: the port does not offer all of them";
}

static void offers(struct page *page, const struct vly_dpdk_port *port,
		   const struct vly_dpdk_conf *conf)
{
	const struct rte_eth_dev_info *info = &port->info;
	struct vly_dpdk_rss rss;

	/* as with several queues */
	vly_dpdk_rss_choose(&rss, info, 2);
	line(page, "received checksums", "%s",
	     who(conf, port->rx_offloads, RTE_ETH_RX_OFFLOAD_IPV4_CKSUM));
	line(page, "sent checksums", "%s",
	     who(conf, port->tx_offloads & VLY_DPDK_TX_CHECKSUMS, RTE_ETH_TX_OFFLOAD_IPV4_CKSUM));
	if (port->tso.pieces)
		line(page, "cutting (TSO)",
		     "by the port, of up to %u mbufs (driver: %u, %u of each frame)",
		     port->tso.pieces, info->tx_desc_lim.nb_seg_max,
		     info->tx_desc_lim.nb_mtu_seg_max);
	else
		line(page, "cutting (TSO)", "by the stack: %s",
		     !(info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_TCP_TSO)
			     ? "the port does not offer it"
		     : conf->cut ? "it takes the port's checksums, and its chains of mbufs"
				 : "tso=0");
	if (info->max_rx_queues < 2)
		line(page, "spreading (RSS)", "none: there is one queue");
	else if (rss.foretold)
		line(page, "spreading (RSS)",
		     "by the port, with Microsoft's key over a table of %u; verified when it starts",
		     rss.table_count);
	else
		line(page, "spreading (RSS)", "by the cores, in software: %s", rss.why);
	line(page, "RSS of the driver", "key of %u bytes, table of %u entries, hashes %#llx",
	     info->hash_key_size, info->reta_size,
	     (unsigned long long)info->flow_type_rss_offloads);
	line(page, "link changes", "%s",
	     *info->dev_flags & RTE_ETH_DEV_INTR_LSC
		     ? "by interrupt to the driver, looked at ten times a second"
		     : "asked for ten times a second");
	offloads(page, "receive offloads", info->rx_offload_capa, rte_eth_dev_rx_offload_name);
	offloads(page, "send offloads", info->tx_offload_capa, rte_eth_dev_tx_offload_name);
}

static void state(struct page *page, const struct vly_dpdk_port *port)
{
	struct rte_eth_link link = {0};
	char text[RTE_ETH_LINK_MAX_STR_LEN] = "unknown until it starts";
	int node = rte_eth_dev_socket_id(port->id);
	char words[1024];

	line(page, "port", "%u %s, driver %s", port->id, port->name, port->info.driver_name);
	line(page, "MAC", "%02x:%02x:%02x:%02x:%02x:%02x", port->mac[0], port->mac[1], port->mac[2],
	     port->mac[3], port->mac[4], port->mac[5]);
	if (node < 0)
		line(page, "NUMA node", "none");
	else
		line(page, "NUMA node", "%d", node);
	if (rte_eth_link_get_nowait(port->id, &link) == 0 && link.link_status)
		(void)rte_eth_link_to_str(text, sizeof(text), &link);
	line(page, "link", "%s", text);
	line(page, "addresses for it", "%s",
	     rte_eal_iova_mode() == RTE_IOVA_PA ? "physical (IOVA as PA)" : "virtual (IOVA as VA)");
	line(page, "memory of DPDK's own", "%s",
	     rte_eal_has_hugepages() ? "huge pages" : "ordinary pages (--no-huge)");
	vly_dpdk_eal_words(words, sizeof(words));
	line(page, "EAL was started with", "%s", words);
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
	rings(&page, port, &conf);
	thresholds(&page, &port->info);
	offers(&page, port, &conf);
	vly_dpdk_port_drop(port);
	return 0;
}
