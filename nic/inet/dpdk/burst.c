/* burst.c - the operations of a dpdk wire: mbufs in, mbufs out, sleeping, opening */
#include <errno.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "nic/inet/dpdk/conf.h"
#include "nic/inet/dpdk/describe.h"
#include "nic/inet/dpdk/eal.h"
#include "nic/inet/dpdk/host.h"
#include "nic/inet/dpdk/pool.h"
#include "nic/inet/dpdk/port.h"
#include "nic/inet/eth.h"
#include "nic/inet/wire_options.h"

#define BURST_MAX 64u
#define LOOPED_MAX 256u /* frames to ourselves under way */
#define LENT_MAX 512u /* received frames that the nic may have */
/* frames that the stack holds, in the queues and caches between it and the port */
#define SPARE (LENT_MAX + LOOPED_MAX + 4 * BURST_MAX + 384u)
/* What the descriptors take where neither they nor the mbufs are named: the driver may ask for fewer. */
#define DESCRIPTORS 1024u
#define LOOK_UP_NS 100000000u /* between two looks at a link that is up, */
#define LOOK_DOWN_NS 2000000u /* and at one that is down */
#define PATIENT_NS 1000000000u /* for a link that comes up after opening */

struct wire {
	struct vly_wire wire;
	struct vly_dpdk_port *port;
	uint16_t queue, burst;
	bool alone;    /* the port's only queue: nobody else stops it */
	/* until the link was up once, or so long: what is sent waits; later it is lost */
	uint64_t patient_ns;
	bool prepare;  /* the driver looks over what it completes */
	uint64_t look_ns;
	struct vly_dpdk_pool pool;
	int epoll_fd;  /* for the queue's interrupt; -1: the core never sleeps */
	bool attached; /* it comes there, */
	bool armed;    /* and is on */

	struct rte_mbuf *come[BURST_MAX]; /* received, not lent yet: [at, count) */
	uint32_t come_at, come_count;
	struct rte_mbuf *lent[LENT_MAX];
	uint32_t lent_count;
	struct rte_mbuf *empty[BURST_MAX]; /* taken from the pool: the first `taken` are lent */
	uint32_t empty_count, taken;
	struct rte_mbuf *owed[BURST_MAX]; /* to be sent: the driver had no room */
	uint32_t owed_count;
	struct rte_mbuf *looped[LOOPED_MAX]; /* to ourselves: no port gives them back */
	uint32_t looped_count;
};

static struct wire *wire_of(struct vly_wire *wire)
{
	return vly_container_of(wire, struct wire, wire);
}

/*
 * Around each call of the driver, so that whoever stops the port waits for it. With one queue the core
 * that stops it is the one that calls. Pairs with take_down() in port.c.
 */
static inline bool enter(struct wire *w)
{
	struct vly_dpdk_port *port = w->port;

	if (vly_likely(w->alone))
		return atomic_load_explicit(&port->up, memory_order_acquire);
	atomic_store_explicit(&port->queue[w->queue].inside, 1, memory_order_seq_cst);
	if (vly_likely(atomic_load_explicit(&port->up, memory_order_seq_cst)))
		return true;
	atomic_store_explicit(&port->queue[w->queue].inside, 0, memory_order_release);
	return false;
}

static inline void leave(struct wire *w)
{
	if (!w->alone)
		atomic_store_explicit(&w->port->queue[w->queue].inside, 0, memory_order_release);
}

static void look_at_link(struct wire *w, uint64_t now_ns)
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

static uint32_t dpdk_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			      uint32_t max)
{
	struct wire *w = wire_of(wire);
	bool checks = wire->caps & VLY_WIRE_RX_CHECKSUM;
	uint32_t made = 0;

	if (vly_unlikely(now_ns >= w->look_ns))
		look_at_link(w, now_ns);
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

static void dpdk_rx_done(struct vly_wire *wire, uint64_t now_ns)
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
static bool pay(struct wire *w)
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

static uint32_t dpdk_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			     uint32_t max)
{
	struct wire *w = wire_of(wire);
	uint32_t count = VLY_MIN(max, BURST_MAX);

	if (vly_unlikely(!wire->link_up)) {
		look_at_link(w, now_ns);
		/* what is sent before the other side is there waits for it */
		if (!wire->link_up && now_ns < w->patient_ns)
			return 0;
	}
	if (!pay(w))
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
static void ask_checksums(struct rte_mbuf *mbuf, const uint8_t *data)
{
	const struct rte_ipv4_hdr *ip =
		(const struct rte_ipv4_hdr *)(const void *)(data + VLY_ETH_BYTES);

	mbuf->l2_len = VLY_ETH_BYTES;
	mbuf->l3_len = (ip->version_ihl & 0xfu) * 4;
	mbuf->ol_flags |= RTE_MBUF_F_TX_IPV4 | RTE_MBUF_F_TX_IP_CKSUM |
			  (ip->next_proto_id == 6    ? RTE_MBUF_F_TX_TCP_CKSUM
			   : ip->next_proto_id == 17 ? RTE_MBUF_F_TX_UDP_CKSUM
						     : 0);
}

/* Puts `mbuf`, which is ours, among those that have come. */
static void loop_back(struct wire *w, struct rte_mbuf *mbuf)
{
	if (!mbuf || w->looped_count == LOOPED_MAX) {
		w->wire.tx_dropped++;
		rte_pktmbuf_free(mbuf);
		return;
	}
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

static void dpdk_tx_send(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
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
			ask_checksums(mbuf, frames[i].data);
	}
	count = sort_out(w, mbufs, count);
	if (count && vly_likely(enter(w))) {
		if (w->prepare)
			(void)rte_eth_tx_prepare(w->port->id, w->queue, mbufs, (uint16_t)count);
		sent = rte_eth_tx_burst(w->port->id, w->queue, mbufs, (uint16_t)count);
		leave(w);
	}
	/* the rest waits, and the next tx_take lends nothing until it has gone */
	if (vly_unlikely(sent < count)) {
		memcpy(w->owed, mbufs + sent, (count - sent) * sizeof(mbufs[0]));
		w->owed_count = count - sent;
		(void)pay(w);
	}
	w->empty_count -= built;
	memmove(mbufs, mbufs + built, w->empty_count * sizeof(mbufs[0]));
}

/* --- sleeping --- */

static bool dpdk_has_work(struct vly_wire *wire, uint64_t now_ns)
{
	struct wire *w = wire_of(wire);

	(void)now_ns;
	return w->come_at < w->come_count || fetch(w);
}

static int dpdk_fd(struct vly_wire *wire)
{
	return wire_of(wire)->epoll_fd;
}

static void dpdk_disarm(struct vly_wire *wire)
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
static bool attach(struct wire *w)
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
		(void)rte_eth_dev_rx_intr_ctl_q(port->id, w->queue, w->epoll_fd,
						RTE_INTR_EVENT_DEL, NULL);
		port->interrupts = false;
		return false;
	}
	(void)rte_eth_dev_rx_intr_disable(port->id, w->queue);
	return w->attached = true;
}

/* Nothing tells when there is room to send: who waits for it keeps the core awake. */
static bool dpdk_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted)
{
	struct wire *w = wire_of(wire);

	if (tx_wanted || !pay(w) || dpdk_has_work(wire, now_ns) || !enter(w))
		return false;
	w->armed = attach(w) && rte_eth_dev_rx_intr_enable(w->port->id, w->queue) == 0;
	leave(w);
	if (!w->armed)
		return false;
	/* it may have come before the interrupt was on */
	if (!dpdk_has_work(wire, now_ns))
		return true;
	dpdk_disarm(wire);
	return false;
}

/* --- opening and closing --- */

static int dpdk_check(const struct vly_nic_spec *spec, const struct vly_wire_ops *const *stack,
		      char *why, size_t why_bytes)
{
	struct vly_dpdk_conf conf;
	int error = vly_dpdk_conf_parse(&conf, spec, why, why_bytes);

	(void)stack;
	return error ? error : vly_dpdk_eal_check(&conf, why, why_bytes);
}

static uint32_t bufs_for(const struct vly_dpdk_conf *conf)
{
	if (conf->bufs)
		return conf->bufs;
	return (conf->rxd ? conf->rxd : DESCRIPTORS) + (conf->txd ? conf->txd : DESCRIPTORS) +
	       SPARE;
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
	       vly_wire_take_bytes(vly_dpdk_pool_bytes(bufs_for(&conf), vly_dpdk_room(conf.mtu)));
}

static int dpdk_queues(const struct vly_nic_spec *spec, unsigned cores)
{
	struct vly_dpdk_conf conf;
	char why[400] = "";
	int queues = vly_dpdk_conf_parse(&conf, spec, why, sizeof(why));

	if (!queues)
		queues = vly_dpdk_eal_start(&conf, why, sizeof(why));
	if (!queues)
		queues = vly_dpdk_port_queues(&conf, cores, why, sizeof(why));
	if (queues < 0)
		vly_log(VLY_LOG_ERROR, "wire dpdk: %s", why);
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

static void dpdk_close(struct vly_wire *wire)
{
	struct wire *w = wire_of(wire);

	(void)pay(w);
	give_back(w);
	if (w->attached && enter(w)) {
		(void)rte_eth_dev_rx_intr_ctl_q(w->port->id, w->queue, w->epoll_fd,
						RTE_INTR_EVENT_DEL, NULL);
		leave(w);
	}
	if (w->epoll_fd >= 0)
		close(w->epoll_fd);
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
	uint32_t bufs = bufs_for(conf), room = vly_dpdk_room(conf->mtu);
	size_t bytes = vly_dpdk_pool_bytes(bufs, room);
	void *memory = vly_wire_take(setup->region, bytes);

	if (!memory)
		return -ENOMEM;
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
	memcpy(w->wire.mac, port->mac, sizeof(w->wire.mac));
	w->queue = own ? 0 : setup->queue;
	w->alone = port->queues == 1;
	w->burst = port->burst;
	w->prepare = w->wire.caps & VLY_WIRE_TX_CHECKSUM;
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
	if (!atomic_load_explicit(&port->up, memory_order_acquire) || attach(w))
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
		vly_log(VLY_LOG_ERROR, "wire dpdk: %s", why[0] ? why : strerror(-error));
		return error;
	}
	if (setup->config->idle != VLY_IDLE_BUSY)
		prepare_sleep(w);
	w->patient_ns = setup->now_ns + PATIENT_NS;
	look_at_link(w, setup->now_ns);
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
	.rx_burst = dpdk_rx_burst,
	.rx_done = dpdk_rx_done,
	.tx_take = dpdk_tx_take,
	.tx_send = dpdk_tx_send,
	.has_work = dpdk_has_work,
	.fd = dpdk_fd,
	.arm = dpdk_arm,
	.disarm = dpdk_disarm,
};

static const struct vly_dpdk_plugin plugin = {
	.abi = VLY_DPDK_PLUGIN_ABI,
	.ops = &vly_dpdk_ops,
	.describe = vly_dpdk_describe,
};

__attribute__((visibility("default"))) const struct vly_dpdk_plugin *
vly_dpdk_plugin(const struct vly_dpdk_host *host)
{
	vly_dpdk_host_set(host);
	return &plugin;
}
