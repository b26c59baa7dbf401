/* burst.c - frames by the burst between a dpdk port's queue and the stack, and sleeping until some come */
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <string.h>

#include "nic/inet/checksum.h"
#include "nic/inet/dpdk/counters.h"
#include "nic/inet/dpdk/wire.h"
#include "nic/inet/eth.h"
#include "nic/inet/wire_options.h"

#define LOOK_UP_NS 100000000u /* between two looks at a link that is up, */
#define LOOK_DOWN_NS 2000000u /* and at one that is down */

void vly_dpdk_look_at_link(struct wire *w, uint64_t now_ns)
{
	struct rte_eth_link link = {0};
	bool up = false;

	if (enter(w)) {
		up = rte_eth_link_get_nowait(w->port->id, &link) == 0 && link.link_status;
		leave(w);
	}
	w->wire.link_up = up;
	if (up)
		w->patient_ns = 0;
	if (w->stats)
		vly_dpdk_counters_show(w->port->id, w->stats);
	w->look_ns = now_ns + (up ? LOOK_UP_NS : LOOK_DOWN_NS);
}

/* --- receiving --- */

static bool fetch(struct wire *w)
{
	w->come_at = 0;
	if (vly_unlikely(w->looped_count)) {
		w->come_count = VLY_MIN(w->looped_count, BURST_MAX);
		memcpy(w->come, w->looped, w->come_count * sizeof(w->come[0]));
		w->looped_count -= w->come_count;
		memmove(w->looped, w->looped + w->come_count,
			w->looped_count * sizeof(w->looped[0]));
		return true;
	}
	w->come_count = 0;
	if (!enter(w))
		return false;
	w->come_count = rte_eth_rx_burst(w->port->id, w->queue, w->come, w->burst);
	leave(w);
	return w->come_count > 0;
}

static uint16_t flags_of(const struct rte_mbuf *mbuf)
{
	uint64_t ip = mbuf->ol_flags & RTE_MBUF_F_RX_IP_CKSUM_MASK;
	uint64_t l4 = mbuf->ol_flags & RTE_MBUF_F_RX_L4_CKSUM_MASK;

	if (ip == RTE_MBUF_F_RX_IP_CKSUM_GOOD && l4 == RTE_MBUF_F_RX_L4_CKSUM_GOOD)
		return VLY_FRAME_CHECKED;
	return ip == RTE_MBUF_F_RX_IP_CKSUM_BAD || l4 == RTE_MBUF_F_RX_L4_CKSUM_BAD ? VLY_FRAME_BAD
										    : 0;
}

uint32_t vly_dpdk_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			   uint32_t max)
{
	struct wire *w = wire_of(wire);
	bool checks = wire->caps & VLY_WIRE_RX_CHECKSUM;
	uint32_t made = 0;

	if (vly_unlikely(now_ns >= w->look_ns))
		vly_dpdk_look_at_link(w, now_ns);
	if (w->come_at == w->come_count && !fetch(w))
		return 0;
	uint32_t count = VLY_MIN(w->come_count - w->come_at, max);

	count = VLY_MIN(count, LENT_MAX - w->lent_count);
	for (uint32_t i = 0; i < count; i++)
		vly_prefetch(rte_pktmbuf_mtod(w->come[w->come_at + i], uint8_t *));
	for (uint32_t i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = w->come[w->come_at + i];

		w->lent[w->lent_count++] = mbuf;
		/* longer than asked for, or in pieces, though neither was allowed */
		if (vly_unlikely(mbuf->nb_segs != 1 || mbuf->data_len < VLY_ETH_BYTES)) {
			wire->rx_dropped++;
			continue;
		}
		frames[made++] = (struct vly_frame){
			.data = rte_pktmbuf_mtod(mbuf, uint8_t *),
			.len = mbuf->data_len,
			.flags = checks ? flags_of(mbuf) : 0,
		};
	}
	w->come_at += count;
	return made;
}

void vly_dpdk_rx_done(struct vly_wire *wire, uint64_t now_ns)
{
	struct wire *w = wire_of(wire);

	(void)now_ns;
	if (!w->lent_count)
		return;
	rte_pktmbuf_free_bulk(w->lent, w->lent_count);
	w->lent_count = 0;
}

/* --- sending --- */

/* What the driver did not take before; true: nothing is owed any more. */
bool vly_dpdk_pay(struct wire *w)
{
	if (vly_likely(!w->owed_count))
		return true;
	if (!enter(w))
		return false;
	uint32_t sent = rte_eth_tx_burst(w->port->id, w->queue, w->owed, (uint16_t)w->owed_count);

	leave(w);
	if (!sent && !w->wire.link_up) {
		rte_pktmbuf_free_bulk(w->owed, w->owed_count);
		w->wire.tx_dropped += w->owed_count;
		sent = w->owed_count;
	}
	w->owed_count -= sent;
	memmove(w->owed, w->owed + sent, w->owed_count * sizeof(w->owed[0]));
	return !w->owed_count;
}

uint32_t vly_dpdk_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			  uint32_t max)
{
	struct wire *w = wire_of(wire);
	uint32_t count = VLY_MIN(max, BURST_MAX);

	if (vly_unlikely(!wire->link_up)) {
		vly_dpdk_look_at_link(w, now_ns);
		/* what is sent before the other side is there waits for it */
		if (!wire->link_up && now_ns < w->patient_ns)
			return 0;
	}
	if (!vly_dpdk_pay(w))
		return 0;
	if (w->empty_count < count) {
		/* all or nothing: then those that are there */
		if (rte_pktmbuf_alloc_bulk(w->pool.mempool, w->empty + w->empty_count,
					   count - w->empty_count) == 0)
			w->empty_count = count;
		count = VLY_MIN(count, w->empty_count);
	}
	for (uint32_t i = 0; i < count; i++) {
		/* two bytes in: IP's header is aligned */
		uint8_t *data = rte_pktmbuf_mtod_offset(w->empty[i], uint8_t *, 2);

		vly_prefetch_write(data);
		vly_prefetch_write(data + VLY_CACHE_LINE);
		frames[i] = (struct vly_frame){.data = data, .len = wire->mtu + VLY_ETH_BYTES};
	}
	return w->taken = count;
}

/* The driver completes it. `check` fields hold what the contract says, which is what drivers want. */
static void ask_checksums(const struct wire *w, struct rte_mbuf *mbuf,
			  const struct vly_frame *frame)
{
	struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *)(void *)(frame->data + VLY_ETH_BYTES);

	mbuf->l2_len = VLY_ETH_BYTES;
	mbuf->l3_len = (ip->version_ihl & 0xfu) * 4;
	mbuf->ol_flags |= RTE_MBUF_F_TX_IPV4 | (ip->next_proto_id == 6    ? RTE_MBUF_F_TX_TCP_CKSUM
						: ip->next_proto_id == 17 ? RTE_MBUF_F_TX_UDP_CKSUM
									  : 0);
	if (w->sums_ip)
		mbuf->ol_flags |= RTE_MBUF_F_TX_IP_CKSUM;
	else
		ip->hdr_checksum = vly_checksum_finish(vly_checksum_add(0, ip, mbuf->l3_len));
	if (vly_unlikely(frame->mss))
		vly_dpdk_tso_ask(mbuf, frame);
}

/* Puts `mbuf`, which is ours, among those that have come. No port completes its checksums. */
static void loop_back(struct wire *w, struct rte_mbuf *mbuf)
{
	if (!mbuf || w->looped_count == LOOPED_MAX) {
		w->wire.tx_dropped++;
		rte_pktmbuf_free(mbuf);
		return;
	}
	if (mbuf->ol_flags & RTE_MBUF_F_TX_IPV4)
		vly_wire_complete(&(struct vly_frame){.data = rte_pktmbuf_mtod(mbuf, uint8_t *),
						      .len = mbuf->data_len,
						      .flags = VLY_FRAME_COMPLETE});
	mbuf->ol_flags = 0;
	w->looped[w->looped_count++] = mbuf;
}

/*
 * What is for ourselves leaves the frames to be sent; what is for all (a question whether we are there)
 * is copied. Returns how many are left.
 */
static uint32_t sort_out(struct wire *w, struct rte_mbuf **mbufs, uint32_t count)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < count; i++) {
		const uint8_t *to = rte_pktmbuf_mtod(mbufs[i], const uint8_t *);

		if (vly_unlikely(memcmp(to, w->wire.mac, VLY_MAC_BYTES) == 0)) {
			loop_back(w, mbufs[i]);
			continue;
		}
		if (vly_unlikely(to[0] == 0xff))
			loop_back(w, rte_pktmbuf_copy(mbufs[i], w->pool.mempool, 0, UINT32_MAX));
		mbufs[left++] = mbufs[i];
	}
	return left;
}

/* The driver looks over what it completes. What it refuses, such as a chain too long for it, is lost. */
static uint32_t prepare(struct wire *w, struct rte_mbuf **mbufs, uint32_t count)
{
	for (uint32_t at = 0; at < count;) {
		at += rte_eth_tx_prepare(w->port->id, w->queue, mbufs + at, (uint16_t)(count - at));
		if (vly_likely(at == count))
			break;
		rte_pktmbuf_free(mbufs[at]);
		w->wire.tx_dropped++;
		count--;
		memmove(mbufs + at, mbufs + at + 1, (count - at) * sizeof(mbufs[0]));
	}
	return count;
}

void vly_dpdk_tx_send(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
		      uint32_t count)
{
	struct wire *w = wire_of(wire);
	struct rte_mbuf **mbufs = w->empty;
	uint32_t sent = 0, built = count;

	(void)now_ns;
	assert(count <= w->taken);
	w->taken = 0;
	for (uint32_t i = 0; i < count; i++) {
		struct rte_mbuf *mbuf = mbufs[i];

		mbuf->data_off = RTE_PKTMBUF_HEADROOM + 2;
		mbuf->data_len = (uint16_t)frames[i].len;
		mbuf->pkt_len = frames[i].len;
		if (frames[i].flags & VLY_FRAME_COMPLETE)
			ask_checksums(w, mbuf, &frames[i]);
	}
	if (wire->caps & VLY_WIRE_TSO)
		count = vly_dpdk_tso_chain(mbufs, frames, count);
	count = sort_out(w, mbufs, count);
	if (count && vly_likely(enter(w))) {
		if (w->prepare)
			count = prepare(w, mbufs, count);
		sent = rte_eth_tx_burst(w->port->id, w->queue, mbufs, (uint16_t)count);
		leave(w);
	}
	/* the rest waits, and the next tx_take lends nothing until it has gone */
	if (vly_unlikely(sent < count)) {
		memcpy(w->owed, mbufs + sent, (count - sent) * sizeof(mbufs[0]));
		w->owed_count = count - sent;
		(void)vly_dpdk_pay(w);
	}
	w->empty_count -= built;
	memmove(mbufs, mbufs + built, w->empty_count * sizeof(mbufs[0]));
}

/* --- sleeping --- */

bool vly_dpdk_has_work(struct vly_wire *wire, uint64_t now_ns)
{
	struct wire *w = wire_of(wire);

	(void)now_ns;
	return w->come_at < w->come_count || fetch(w);
}

int vly_dpdk_fd(struct vly_wire *wire)
{
	return wire_of(wire)->epoll_fd;
}

void vly_dpdk_disarm(struct vly_wire *wire)
{
	struct wire *w = wire_of(wire);
	struct rte_epoll_event event;

	if (!w->armed)
		return;
	w->armed = false;
	(void)rte_eth_dev_rx_intr_disable(w->port->id, w->queue);
	/* also empties the counter behind it, where there is one */
	(void)rte_epoll_wait(w->epoll_fd, &event, 1, 0);
}

/* The queue's interrupt comes to our descriptor. False: it has none, or the port is not up yet. */
bool vly_dpdk_attach(struct wire *w)
{
	struct vly_dpdk_port *port = w->port;

	if (w->attached)
		return true;
	if (w->epoll_fd < 0 || !atomic_load_explicit(&port->up, memory_order_acquire) ||
	    !port->interrupts ||
	    rte_eth_dev_rx_intr_ctl_q(port->id, w->queue, w->epoll_fd, RTE_INTR_EVENT_ADD, NULL))
		return false;
	/* Some have a descriptor and cannot turn it on. */
	if (rte_eth_dev_rx_intr_enable(port->id, w->queue)) {
		(void)rte_eth_dev_rx_intr_ctl_q(port->id, w->queue, w->epoll_fd, RTE_INTR_EVENT_DEL,
						NULL);
		port->interrupts = false;
		return false;
	}
	(void)rte_eth_dev_rx_intr_disable(port->id, w->queue);
	return w->attached = true;
}

/* Nothing tells when there is room to send: who waits for it keeps the core awake. */
bool vly_dpdk_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted)
{
	struct wire *w = wire_of(wire);

	if (tx_wanted || !vly_dpdk_pay(w) || vly_dpdk_has_work(wire, now_ns) || !enter(w))
		return false;
	w->armed = vly_dpdk_attach(w) && rte_eth_dev_rx_intr_enable(w->port->id, w->queue) == 0;
	leave(w);
	if (!w->armed)
		return false;
	/* it may have come before the interrupt was on */
	if (!vly_dpdk_has_work(wire, now_ns))
		return true;
	vly_dpdk_disarm(wire);
	return false;
}
