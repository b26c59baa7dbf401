/* port.c - a port of DPDK's: found or made, brought up when every core has its queue, taken down */
#include "nic/inet/dpdk/port.h"

#include <errno.h>
#include <pthread.h>
#include <rte_alarm.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "nic/inet/dpdk/counters.h"
#include "nic/inet/dpdk/eal.h"
#include "nic/inet/dpdk/memif.h"
#include "nic/inet/eth.h"

#define BURST 32u

#define RX_CHECKSUMS                                                                               \
	(RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM |                            \
	 RTE_ETH_RX_OFFLOAD_UDP_CKSUM)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct vly_dpdk_port ports[RTE_MAX_ETHPORTS];

/* Virtual devices that we made; taken away again with the last wire. */
static struct {
	char args[VLY_DPDK_VDEVS_MAX][VLY_SPEC_TEXT_MAX];
	unsigned count;
	unsigned users; /* wires of this process */
} made;

static bool ticking; /* an alarm is set */

/* --- where the driver is called --- */

struct errand {
	int (*run)(void *arg);
	void *arg;
	int result;
	sem_t done;
};

static void do_errand(void *arg)
{
	struct errand *errand = arg;

	errand->result = errand->run(errand->arg);
	sem_post(&errand->done);
}

/*
 * memif ends a connection on DPDK's interrupt thread when the peer has gone, and on ours when the port
 * is stopped; both at once close descriptors twice, and the interrupt thread panics. So ours goes there.
 */
static int call(const char *driver, int (*run)(void *arg), void *arg)
{
	struct errand errand = {.run = run, .arg = arg};

	if (strcmp(driver, "net_memif") != 0)
		return run(arg);
	sem_init(&errand.done, 0, 0);
	if (rte_eal_alarm_set(1, do_errand, &errand) != 0)
		return run(arg);
	while (sem_wait(&errand.done) != 0)
		;
	sem_destroy(&errand.done);
	return errand.result;
}

/* --- devices --- */

static int remove_called(void *name)
{
	return rte_eal_hotplug_remove("vdev", name);
}

static void remove_device(const char *args)
{
	bool memif = strncmp(args, "net_memif", strlen("net_memif")) == 0;
	char name[VLY_SPEC_TEXT_MAX];

	snprintf(name, sizeof(name), "%.*s", vly_dpdk_vdev_name_len(args), args);
	(void)call(memif ? "net_memif" : "", remove_called, name);
}

static int make_device(const char *vdev, char *why, size_t why_bytes)
{
	char what[VLY_DPDK_NAME_MAX + 32];

	for (unsigned i = 0; i < made.count; i++) {
		if (strncmp(made.args[i], vdev, (size_t)vly_dpdk_vdev_name_len(vdev) + 1) != 0)
			continue;
		if (strcmp(made.args[i], vdev) == 0)
			return 0;
		snprintf(why, why_bytes, "--vdev=%s: this process has it as --vdev=%s", vdev,
			 made.args[i]);
		return -EBUSY;
	}
	if (made.count == VLY_DPDK_VDEVS_MAX)
		return -ENOSPC;
	vly_dpdk_memif_clear_socket(vdev);
	vly_dpdk_log_forget();
	int error = rte_dev_probe(vdev);

	if (error) {
		snprintf(what, sizeof(what), "device %.*s", vly_dpdk_vdev_name_len(vdev), vdev);
		vly_dpdk_log_reason(what, error, why, why_bytes);
		remove_device(vdev);
		return error;
	}
	snprintf(made.args[made.count++], VLY_SPEC_TEXT_MAX, "%s", vdev);
	return 0;
}

/* It was taken away. */
static void forget_device(const char *name)
{
	for (unsigned i = 0; i < made.count; i++) {
		if ((size_t)vly_dpdk_vdev_name_len(made.args[i]) != strlen(name) ||
		    strncmp(made.args[i], name, strlen(name)) != 0)
			continue;
		made.count--;
		memmove(made.args[i], made.args[made.count], sizeof(made.args[i]));
		return;
	}
}

static void unmake_devices(void)
{
	while (made.count > 0)
		remove_device(made.args[--made.count]);
}

static void list_ports(char *text, size_t text_bytes)
{
	char name[RTE_ETH_NAME_MAX_LEN];
	uint16_t id;
	size_t at = 0;

	snprintf(text, text_bytes, "none");
	for (id = 0; id < RTE_MAX_ETHPORTS; id++) {
		if (rte_eth_dev_is_valid_port(id) && at < text_bytes &&
		    rte_eth_dev_get_name_by_port(id, name) == 0)
			at += (size_t)snprintf(text + at, text_bytes - at, "%s%u=%s",
					       at ? ", " : "", id, name);
	}
}

/* The port called `name`: a number counts the virtual devices that are asked for, then all of DPDK's. */
static int find_port(const struct vly_dpdk_conf *conf, const char *name, uint16_t *id, char *why,
		     size_t why_bytes)
{
	char device[VLY_SPEC_TEXT_MAX], list[256], *end;
	unsigned long number = strtoul(name, &end, 10);

	snprintf(device, sizeof(device), "%s", name);
	if (!*end && number < conf->vdevs_count) {
		const char *vdev = conf->vdevs[number];

		snprintf(device, sizeof(device), "%.*s", vly_dpdk_vdev_name_len(vdev), vdev);
	} else if (!*end && number < RTE_MAX_ETHPORTS &&
		   rte_eth_dev_is_valid_port((uint16_t)number)) {
		*id = (uint16_t)number;
		return 0;
	}
	if (rte_eth_dev_get_port_by_name(device, id) == 0)
		return 0;
	vly_dpdk_log_forget();
	if (vly_dpdk_is_pci(name, device) && rte_dev_probe(device) == 0 &&
	    rte_eth_dev_get_port_by_name(device, id) == 0)
		return 0;
	list_ports(list, sizeof(list));
	if (vly_dpdk_is_pci(name, device))
		snprintf(why, why_bytes,
			 "port=%s: no driver of DPDK's has it; as root: dpdk-devbind.py "
			 "--bind=vfio-pci %s (--status tells who has it)",
			 name, name);
	else
		snprintf(why, why_bytes,
			 "port=%s: there is no such port (there are: %s); eal=\"--vdev=...\" makes "
			 "a virtual one, a PCI address names a NIC's",
			 name, list);
	return -ENODEV;
}

/* --- what the driver says --- */

/* Some drivers tell their longest frame alone. */
static uint32_t mtu_max(const struct rte_eth_dev_info *info)
{
	uint32_t around = RTE_ETHER_HDR_LEN + RTE_ETHER_CRC_LEN;

	if (info->max_mtu != UINT16_MAX)
		return info->max_mtu;
	return info->max_rx_pktlen > around ? VLY_MIN(info->max_rx_pktlen - around, UINT16_MAX)
					    : UINT16_MAX;
}

static int choose(struct vly_dpdk_port *port, const struct vly_dpdk_conf *conf, char *why,
		  size_t why_bytes)
{
	const struct rte_eth_dev_info *info = &port->info;
	uint32_t wanted = info->default_rxportconf.burst_size;

	port->mtu = conf->mtu;
	port->rxd = conf->rxd ? (uint16_t)conf->rxd : (uint16_t)VLY_DPDK_DESCRIPTORS;
	port->txd = conf->txd ? (uint16_t)conf->txd : (uint16_t)VLY_DPDK_DESCRIPTORS;
	/* rounded up by vector drivers to their own step, cut at their own most */
	port->burst = (uint16_t)VLY_MIN(VLY_MAX(wanted, BURST), 2 * BURST);
	if (port->mtu > mtu_max(info) || port->mtu < info->min_mtu) {
		snprintf(why, why_bytes, "mtu=%u: port %s takes %u to %u", port->mtu, port->name,
			 info->min_mtu, mtu_max(info));
		return -EINVAL;
	}
	uint32_t slot = vly_dpdk_memif_slot(conf, port->name);

	if (slot && port->mtu + VLY_ETH_BYTES > slot) {
		snprintf(why, why_bytes,
			 "port %s has slots of %u bytes, and its driver garbles frames that lie in "
			 "several: bsize=%u or more, or mtu=%u",
			 port->name, slot, port->mtu + VLY_ETH_BYTES,
			 slot > VLY_ETH_BYTES ? slot - VLY_ETH_BYTES : 0);
		return -EINVAL;
	}
	if (info->min_rx_bufsize > vly_dpdk_room(port->mtu)) {
		snprintf(why, why_bytes, "port %s wants receive buffers of %u bytes: mtu=%u",
			 port->name, info->min_rx_bufsize, info->min_rx_bufsize);
		return -EINVAL;
	}
	port->rx_offloads = 0;
	if (!conf->software && (info->rx_offload_capa & RX_CHECKSUMS) == RX_CHECKSUMS)
		port->rx_offloads |= RX_CHECKSUMS;
	port->tx_offloads = vly_dpdk_tso_choose(&port->tso, info, conf);
	vly_dpdk_rss_choose(&port->rss, info, port->queues);
	return 0;
}

static int learn(struct vly_dpdk_port *port, uint16_t id, const struct vly_dpdk_conf *conf,
		 char *why, size_t why_bytes)
{
	struct rte_ether_addr mac;

	port->id = id;
	(void)rte_eth_dev_get_name_by_port(id, port->name);
	int error = rte_eth_dev_info_get(id, &port->info);

	/* as DPDK's own examples take it: removing one wants it writable */
	port->device = (struct rte_device *)(uintptr_t)port->info.device;
	if (!error)
		error = rte_eth_macaddr_get(id, &mac);
	if (error) {
		snprintf(why, why_bytes, "port %s: %s", port->name, strerror(-error));
		return error;
	}
	memcpy(port->mac, mac.addr_bytes, sizeof(port->mac));
	/* It names the kernel's end, which is another host than we are. */
	if (strcmp(port->info.driver_name, "net_tap") == 0)
		port->mac[5] ^= 1;
	return choose(port, conf, why, why_bytes);
}

static int find_made(const struct vly_dpdk_conf *conf, const char *name, uint16_t *id, char *why,
		     size_t why_bytes)
{
	int error = 0;

	for (unsigned i = 0; i < conf->vdevs_count && !error; i++)
		error = make_device(conf->vdevs[i], why, why_bytes);
	return error ? error : find_port(conf, name, id, why, why_bytes);
}

int vly_dpdk_port_queues(const struct vly_dpdk_conf *conf, unsigned cores, char *why,
			 size_t why_bytes)
{
	struct rte_eth_dev_info info;
	uint16_t id;

	if (conf->ports_count > 1) {
		if (cores <= conf->ports_count)
			return (int)cores;
		snprintf(why, why_bytes, "port=A/B/...: %u cores, but %u ports", cores,
			 conf->ports_count);
		return -EINVAL;
	}
	pthread_mutex_lock(&lock);
	/* the devices stay for the opening that follows */
	int error = find_made(conf, conf->ports[0], &id, why, why_bytes);

	if (!error) {
		error = rte_eth_dev_info_get(id, &info);
		if (error)
			snprintf(why, why_bytes, "port %s: %s", conf->ports[0], strerror(-error));
	}
	if (error && !made.users)
		unmake_devices();
	pthread_mutex_unlock(&lock);
	if (error)
		return error;
	unsigned most = VLY_MIN(info.max_rx_queues, info.max_tx_queues);

	most = VLY_MIN(most, conf->queues ? conf->queues : VLY_DPDK_QUEUES_MAX);
	return (int)VLY_MIN(most, cores);
}

static int take_locked(const struct vly_dpdk_conf *conf, unsigned index, unsigned queues,
		       bool sleeps, struct vly_dpdk_port **out, char *why, size_t why_bytes)
{
	bool own = conf->ports_count > 1;
	uint16_t id;
	int error = find_made(conf, conf->ports[own ? index : 0], &id, why, why_bytes);

	if (error)
		return error;
	struct vly_dpdk_port *port = &ports[id];

	queues = own ? 1 : queues;
	if (!port->users) {
		memset(port, 0, sizeof(*port));
		port->queues = queues;
		port->interrupts = sleeps;
		error = learn(port, id, conf, why, why_bytes);
		if (error)
			return error;
	}
	if (port->closed || port->queues != queues || port->queue[own ? 0 : index].pool) {
		snprintf(why, why_bytes, "port %s is in use by another engine of this process",
			 port->name);
		return -EBUSY;
	}
	*out = port;
	return 0;
}

int vly_dpdk_port_take(const struct vly_dpdk_conf *conf, unsigned index, unsigned queues,
		       bool sleeps, struct vly_dpdk_port **port, char *why, size_t why_bytes)
{
	pthread_mutex_lock(&lock);
	int error = take_locked(conf, index, queues, sleeps, port, why, why_bytes);

	if (!error) {
		(*port)->users++;
		made.users++;
	} else if (!made.users) {
		unmake_devices();
	}
	pthread_mutex_unlock(&lock);
	return error;
}

static int remove_port(void *arg)
{
	struct vly_dpdk_port *port = arg;

	return rte_dev_remove(port->device);
}

void vly_dpdk_port_drop(struct vly_dpdk_port *port)
{
	pthread_mutex_lock(&lock);
	port->users--;
	/* A PCI device is taken away, too: it can be found again, and DPDK restarts none that is closed. */
	if (!port->users && port->closed) {
		(void)call(port->info.driver_name, remove_port, port);
		forget_device(port->name);
	}
	if (--made.users == 0)
		unmake_devices();
	pthread_mutex_unlock(&lock);
}

/* --- up --- */

static int configure(struct vly_dpdk_port *port)
{
	struct rte_eth_conf conf = {
		.rxmode = {.mtu = port->mtu, .offloads = port->rx_offloads},
		.txmode = {.offloads = port->tx_offloads},
		.intr_conf = {.rxq = port->interrupts,
			      .lsc = (*port->info.dev_flags & RTE_ETH_DEV_INTR_LSC) != 0},
	};
	uint16_t queues = (uint16_t)port->queues;
	unsigned node = (unsigned)rte_eth_dev_socket_id(port->id);

	vly_dpdk_rss_configure(&port->rss, &conf);
	int error = rte_eth_dev_configure(port->id, queues, queues, &conf);

	if (!error)
		error = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &port->rxd, &port->txd);
	for (uint16_t q = 0; q < queues && !error; q++) {
		struct rte_eth_rxconf rx = port->info.default_rxconf;
		struct rte_eth_txconf tx = port->info.default_txconf;

		rx.offloads = port->rx_offloads;
		tx.offloads = port->tx_offloads;
		rx.rx_drop_en |= queues > 1; /* a slow core holds up no other */
		error = rte_eth_rx_queue_setup(port->id, q, port->rxd, node, &rx,
					       port->queue[q].pool->mempool);
		if (!error)
			error = rte_eth_tx_queue_setup(port->id, q, port->txd, node, &tx);
	}
	return error;
}

static int start(struct vly_dpdk_port *port)
{
	int error = configure(port);

	return error ? error : rte_eth_dev_start(port->id);
}

/* The devices' counters, of every port that is up; on DPDK's own thread. */
static void tick(void *arg)
{
	bool any = false;

	(void)arg;
	/* who opens or closes a port may wait for this very thread: then next time */
	if (pthread_mutex_trylock(&lock) == 0) {
		for (unsigned id = 0; id < RTE_MAX_ETHPORTS; id++) {
			if (!atomic_load_explicit(&ports[id].up, memory_order_relaxed))
				continue;
			vly_dpdk_counters_read((uint16_t)id);
			any = true;
		}
		ticking = any && rte_eal_alarm_set(VLY_DPDK_COUNT_US, tick, NULL) == 0;
		pthread_mutex_unlock(&lock);
		return;
	}
	(void)rte_eal_alarm_set(VLY_DPDK_COUNT_US, tick, NULL);
}

static void begin_counting(struct vly_dpdk_port *port)
{
	vly_dpdk_counters_name(port->id);
	vly_dpdk_counters_read(port->id);
	if (!ticking)
		ticking = rte_eal_alarm_set(VLY_DPDK_COUNT_US, tick, NULL) == 0;
}

static int bring_up(struct vly_dpdk_port *port, char *why, size_t why_bytes)
{
	char what[RTE_ETH_NAME_MAX_LEN + 32];

	vly_dpdk_log_forget();
	int error = start(port);

	if (error && port->interrupts) {
		port->interrupts = false; /* it has none: polled, then */
		error = start(port);
	}
	if (error && port->rss.hashes) {
		port->rss.hashes = 0; /* it offers what it does not do: the cores sort */
		error = start(port);
	}
	if (error) {
		snprintf(what, sizeof(what), "port %s does not start", port->name);
		vly_dpdk_log_reason(what, error, why, why_bytes);
		return error;
	}
	vly_log(VLY_LOG_INFO,
		"port %s (%s): %u queue%s, %u and %u descriptors, mtu %u, checksums %s%s",
		port->name, port->info.driver_name, port->queues, port->queues > 1 ? "s" : "",
		port->rxd, port->txd, port->mtu,
		port->tx_offloads & VLY_DPDK_TX_CHECKSUMS ? "by the port" : "in software",
		port->tso.pieces ? ", which cuts (TSO)" : "");
	vly_dpdk_rss_verify(&port->rss, port->id, port->name);
	begin_counting(port);
	/* pairs with the cores' loads: its queues are set up */
	atomic_store_explicit(&port->up, true, memory_order_release);
	return 0;
}

static int stop_and_close(void *arg)
{
	struct vly_dpdk_port *port = arg;

	(void)rte_eth_dev_stop(port->id);
	return rte_eth_dev_close(port->id);
}

static void take_down(struct vly_dpdk_port *port)
{
	/* Then each core's look at `up`, behind its own `inside`: one of us sees the other. */
	atomic_store_explicit(&port->up, false, memory_order_seq_cst);
	for (unsigned q = 0; q < port->queues; q++) {
		while (atomic_load_explicit(&port->queue[q].inside, memory_order_seq_cst))
			sched_yield();
	}
	(void)call(port->info.driver_name, stop_and_close, port);
	port->closed = true;
}

int vly_dpdk_port_join(struct vly_dpdk_port *port, unsigned queue, struct vly_dpdk_pool *pool,
		       char *why, size_t why_bytes)
{
	pthread_mutex_lock(&lock);
	int error = vly_dpdk_pool_map(pool, port->device, why, why_bytes);

	if (!error) {
		port->queue[queue].pool = pool;
		if (++port->joined == port->queues)
			error = bring_up(port, why, why_bytes);
		if (error) {
			take_down(port);
			port->queue[queue].pool = NULL;
			port->joined--;
		}
	}
	if (error)
		vly_dpdk_pool_unmap(pool, port->device);
	pthread_mutex_unlock(&lock);
	return error;
}

void vly_dpdk_port_leave(struct vly_dpdk_port *port, unsigned queue)
{
	pthread_mutex_lock(&lock);
	if (!port->closed)
		take_down(port);
	vly_dpdk_pool_unmap(port->queue[queue].pool, port->device);
	port->queue[queue].pool = NULL;
	port->joined--;
	pthread_mutex_unlock(&lock);
}
