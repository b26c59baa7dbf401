/* tso.c - what a port that cuts long segments (TSO) takes, and giving it some */
#include "nic/inet/dpdk/tso.h"

#include <rte_ip.h>
#include <rte_tcp.h>
#include <string.h>

#include "base/compiler.h"
#include "nic/inet/eth.h"

#define OFFLOADS (RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
#define L4_CHECKSUMS (RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM)
#define BYTES_MAX (VLY_ETH_BYTES + 65535u) /* what an IPv4 header can say */
#define PIECES_MAX 32u                     /* more than the nic builds at once */
#define VMXNET3_PIECES_MAX 24u
#define HEADERS (RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_tcp_hdr))

/* How many mbufs a chain may have; less than 2: it does not cut. A segment has the headers' mbuf in it, and one of data. */
static uint32_t pieces_max(const struct rte_eth_dev_info *info, const struct vly_dpdk_conf *conf)
{
	const struct rte_eth_desc_lim *limit = &info->tx_desc_lim;
	uint32_t whole = limit->nb_seg_max ? limit->nb_seg_max : UINT16_MAX;
	uint32_t txd = conf->txd ? conf->txd : VLY_DPDK_DESCRIPTORS;

	/* It says 255; its device drops what has more (later drivers refuse it: VMXNET3_MAX_TSO_TXD_PER_PKT). */
	if (strcmp(info->driver_name, "net_vmxnet3") == 0)
		whole = VLY_MIN(whole, VMXNET3_PIECES_MAX);
	if (!conf->cut || (info->tx_offload_capa & OFFLOADS) != OFFLOADS ||
	    limit->nb_mtu_seg_max == 1)
		return 0;
	if (limit->nb_max)
		txd = VLY_MIN(txd, (uint32_t)limit->nb_max);
	return VLY_MIN(VLY_MIN(whole, PIECES_MAX), txd / 4);
}

uint64_t vly_dpdk_tso_choose(struct vly_dpdk_tso *tso, const struct rte_eth_dev_info *info,
			     const struct vly_dpdk_conf *conf)
{
	uint64_t offloads = 0;

	*tso = (struct vly_dpdk_tso){0};
	if (!conf->software && (info->tx_offload_capa & L4_CHECKSUMS) == L4_CHECKSUMS)
		offloads |= info->tx_offload_capa & VLY_DPDK_TX_CHECKSUMS;
	uint32_t pieces = offloads ? pieces_max(info, conf) : 0;

	/* A queue sends the mbufs of its core's pool alone, each with one reference; and without TSO no chains. */
	if (pieces < 2)
		return offloads | (info->tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE);
	tso->pieces = (uint16_t)pieces;
	/* It takes the headers of all layers for part of the mtu (rte_eth_tap.c, pmd_tx_burst, 22.11). */
	if (strcmp(info->driver_name, "net_tap") == 0)
		tso->mss = (uint16_t)(conf->mtu - HEADERS);
	return offloads | OFFLOADS;
}

void vly_dpdk_tso_offer(const struct vly_dpdk_tso *tso, struct vly_wire *wire)
{
	if (!tso->pieces)
		return;
	wire->caps |= VLY_WIRE_TSO;
	wire->tso_bytes = BYTES_MAX;
	wire->tso_pieces = tso->pieces;
	wire->tso_mss = tso->mss;
}

uint32_t vly_dpdk_tso_chain(struct rte_mbuf **mbufs, const struct vly_frame *frames, uint32_t count)
{
	struct rte_mbuf *last = NULL;
	uint32_t left = 0;

	for (uint32_t i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = mbufs[i];

		if (!(frames[i].flags & VLY_FRAME_MORE)) {
			mbufs[left++] = last = mbuf;
			continue;
		}
		struct rte_mbuf *first = mbufs[left - 1];

		first->nb_segs++;
		first->pkt_len += mbuf->data_len;
		last->next = mbuf;
		last = mbuf;
	}
	return left;
}

void vly_dpdk_tso_ask(struct rte_mbuf *mbuf, const struct vly_frame *frame)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(void *)(frame->data + VLY_ETH_BYTES);
	struct rte_tcp_hdr *tcp = (struct rte_tcp_hdr *)(void *)((uint8_t *)ip + mbuf->l3_len);

	mbuf->l4_len = (tcp->data_off >> 4) * 4;
	mbuf->tso_segsz = frame->mss;
	mbuf->ol_flags |= RTE_MBUF_F_TX_TCP_SEG;
	/* drivers want the sum of the pseudo header without a length: each piece has one of its own */
	tcp->cksum = rte_ipv4_phdr_cksum(ip, RTE_MBUF_F_TX_TCP_SEG);
}
