/* tso.c - what a port that cuts long segments (TSO) takes, and giving it some */
#include "nic/inet/dpdk/tso.h"

#include <rte_ip.h>
#include <rte_tcp.h>
#include <string.h>

#include "base/compiler.h"
#include "nic/inet/eth.h"

#define OFFLOADS (RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
#define BYTES_MAX (VLY_ETH_BYTES + 65535u) /* what an IPv4 header can say */
#define PIECES_MAX 32u                     /* more than the nic builds at once */
#define HEADERS (RTE_ETHER_HDR_LEN + sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_tcp_hdr))

uint64_t vly_dpdk_tso_choose(struct vly_dpdk_tso *tso, const struct rte_eth_dev_info *info,
			     uint32_t mtu)
{
	const struct rte_eth_desc_lim *limit = &info->tx_desc_lim;
	uint32_t whole = limit->nb_seg_max ? limit->nb_seg_max : UINT16_MAX;

	*tso = (struct vly_dpdk_tso){0};
	/* a segment that is sent has the headers' mbuf in it, and one of data */
	if ((info->tx_offload_capa & OFFLOADS) != OFFLOADS || whole < 2 ||
	    limit->nb_mtu_seg_max == 1)
		return 0;
	tso->pieces = (uint16_t)VLY_MIN(whole, PIECES_MAX);
	/* It takes the headers of all layers for part of the mtu (rte_eth_tap.c, pmd_tx_burst, 22.11). */
	if (strcmp(info->driver_name, "net_tap") == 0)
		tso->mss = (uint16_t)(mtu - HEADERS);
	return OFFLOADS;
}

void vly_dpdk_tso_bound(struct vly_dpdk_tso *tso, uint32_t txd)
{
	tso->pieces = (uint16_t)VLY_MIN(tso->pieces, txd / 4);
	if (tso->pieces < 2)
		tso->pieces = 0;
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
