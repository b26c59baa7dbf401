/* engine.c - opening and closing an engine; waking and stopping its cores */
#include "engine/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/topology.h"
#include "engine/fork.h"

static size_t ring_bytes(const struct vly_config *config)
{
	return vly_ring_bytes(config->mail_slots, vly_letter_bytes(config->mail_bytes));
}

size_t vly_engine_shared_bytes(const struct vly_config *config)
{
	return VLY_ALIGN_UP(sizeof(struct vly_mailbox), (size_t)VLY_WRITER_GAP) +
	       VLY_ALIGN_UP(config->ports_max * sizeof(struct vly_port), (size_t)VLY_WRITER_GAP) +
	       (config->cores + 2 * config->ports_max) * ring_bytes(config);
}

static void *take(struct vly_region *region, size_t bytes)
{
	return vly_region_take(region, VLY_ALIGN_UP(bytes, (size_t)VLY_WRITER_GAP), VLY_WRITER_GAP);
}

static int open_bells(const struct vly_engine *engine, struct vly_mailbox *box)
{
	int error = 0;

	box->bell_fd = -1;
	box->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (box->wake_fd < 0)
		return -errno;
	if (!engine->ops->bell)
		return 0;
	box->bell_fd = fcntl(box->wake_fd, F_DUPFD_CLOEXEC, 0);
	if (box->bell_fd < 0) {
		error = -errno;
		close(box->wake_fd);
	}
	return error;
}

/* Takes the core's shared memory, on the core's node. */
static int seat_open(struct vly_engine *engine, struct vly_seat *seat)
{
	const struct vly_config *config = &engine->config;
	size_t bytes = vly_engine_shared_bytes(config);
	uint32_t letter_bytes = vly_letter_bytes(config->mail_bytes);
	struct vly_region_opts opts = {
		.size_bytes = bytes,
		.numa_node = seat->numa_node,
		/* A page that is mostly empty is not worth one of few. */
		.try_huge = config->huge_pages && bytes >= 1u << 20,
		.try_lock = config->lock_memory,
	};
	int error = vly_region_open(&seat->shared, &opts);

	if (error)
		return error;
	seat->mailbox = take(&seat->shared, sizeof(*seat->mailbox));
	if (config->ports_max)
		seat->ports = take(&seat->shared, config->ports_max * sizeof(*seat->ports));
	seat->rings = take(&seat->shared, config->cores * engine->ring_bytes);
	if (config->ports_max)
		seat->port_rings = take(&seat->shared, 2 * config->ports_max * engine->ring_bytes);
	for (unsigned i = 0; i < config->cores; i++)
		vly_ring_init(seat->rings + i * engine->ring_bytes, config->mail_slots,
			      letter_bytes);
	error = open_bells(engine, seat->mailbox);
	if (error)
		vly_region_close(&seat->shared);
	return error;
}

static void seat_close(struct vly_engine *engine, struct vly_seat *seat)
{
	for (unsigned i = 0; i < engine->config.ports_max; i++) {
		if (atomic_load_explicit(&seat->ports[i].state, memory_order_acquire) !=
		    VLY_PORT_FREE)
			close(seat->ports[i].wake_fd); /* its core was closed before it could */
	}
	close(seat->mailbox->wake_fd);
	if (seat->mailbox->bell_fd >= 0)
		close(seat->mailbox->bell_fd);
	vly_region_close(&seat->shared);
}

static int seats_open(struct vly_engine *engine)
{
	for (unsigned i = 0; i < engine->config.cores; i++) {
		int error = seat_open(engine, &engine->seats[i]);

		if (!error)
			continue;
		vly_log(VLY_LOG_ERROR, "mail of core %u of %u (%zu bytes): %s%s", i,
			engine->config.cores, vly_engine_shared_bytes(&engine->config),
			strerror(-error),
			error == -EMFILE ? "; raise the limit of open files (ulimit -n)"
					 : "; lower mail_slots, mail_bytes or cores");
		while (i > 0)
			seat_close(engine, &engine->seats[--i]);
		return error;
	}
	return 0;
}

static int choose_cpus(struct vly_engine *engine)
{
	const struct vly_config *config = &engine->config;
	struct vly_topology *topology;
	char why[256] = "";
	int cpus[VLY_CORES_MAX];
	struct vly_topology_wish wish = {
		.cpus = config->cpus,
		.cores = config->cores,
		.numa_node = config->numa_node,
		.allow_overlap = config->allow_overlap,
	};
	int error = vly_topology_load(&topology);

	if (error) {
		vly_log(VLY_LOG_ERROR, "reading the topology of this machine: %s",
			strerror(-error));
		return error;
	}
	error = vly_topology_pick(topology, &wish, cpus, why, sizeof(why));
	if (error)
		vly_log(VLY_LOG_ERROR, "choosing CPUs: %s", why);
	for (unsigned i = 0; !error && i < config->cores; i++) {
		engine->seats[i].cpu = cpus[i];
		/* On a machine of one node there is nothing to bind to. */
		engine->seats[i].numa_node =
			topology->node_count > 1 ? vly_topology_node_of(topology, cpus[i]) : -1;
	}
	vly_topology_free(topology);
	return error;
}

/*
 * The config's strings are the caller's: what outlives the call is the parsed spec and the chosen
 * CPUs.
 */
static int find_nic(struct vly_engine *engine, const char *nic)
{
	char why[256];
	int error = vly_nic_resolve(nic, &engine->spec, &engine->ops, why, sizeof(why));

	if (error)
		vly_log(VLY_LOG_ERROR, "nic %s: %s", nic, why);
	return error;
}

int vly_engine_open(const struct vly_config *config, struct vly_engine **out)
{
	if (vly_forked())
		return -ECHILD;
	int error = vly_config_check(config);

	if (error)
		return error;
	size_t bytes = sizeof(struct vly_engine) + config->cores * sizeof(struct vly_seat);
	struct vly_engine *engine =
		aligned_alloc(VLY_CACHE_LINE, VLY_ALIGN_UP(bytes, (size_t)VLY_CACHE_LINE));

	if (!engine)
		return -ENOMEM;
	memset(engine, 0, bytes);
	engine->config = *config;
	if (!config->dgram_max)
		engine->config.dgram_max = VLY_MIN(config->rx_buf_bytes, 9216u);
	engine->ring_bytes = ring_bytes(config);
	vly_clock_init();
	error = find_nic(engine, config->nic);
	if (!error)
		error = choose_cpus(engine);
	engine->config.nic = engine->spec.name;
	engine->config.cpus = NULL;
	if (!error)
		error = seats_open(engine);
	if (error) {
		free(engine);
		return error;
	}
	vly_fork_enter();
	*out = engine;
	return 0;
}

void vly_engine_close(struct vly_engine *engine)
{
	if (!engine || vly_forked())
		return;
	while (atomic_load_explicit(&engine->callers, memory_order_acquire))
		sched_yield();
	for (unsigned i = 0; i < engine->config.cores; i++)
		seat_close(engine, &engine->seats[i]);
	vly_fork_leave();
	free(engine);
}

int vly_engine_cpu(const struct vly_engine *engine, unsigned core)
{
	return core < engine->config.cores ? engine->seats[core].cpu : -ENOENT;
}

const char *vly_engine_nic(const struct vly_engine *engine)
{
	return engine->ops->name;
}

unsigned vly_engine_cores(const struct vly_engine *engine)
{
	return engine->config.cores;
}

bool vly_engine_claim_sleeper(struct vly_engine *engine, unsigned to)
{
	struct vly_mailbox *box = engine->seats[to].mailbox;

	return atomic_load_explicit(&box->sleeping, memory_order_seq_cst) &&
	       atomic_exchange_explicit(&box->sleeping, false, memory_order_seq_cst);
}

void vly_engine_rouse(struct vly_engine *engine, unsigned to)
{
	if (vly_engine_claim_sleeper(engine, to))
		vly_mail_ring_bell(engine->seats[to].mailbox->wake_fd);
}

bool vly_engine_post(struct vly_engine *engine, unsigned to, unsigned place)
{
	struct vly_mailbox *box = engine->seats[to].mailbox;

	/*
	 * pairs with the exchange in vly_mail_collect() and the last look in vly_mail_arm_sleep()
	 */
	atomic_fetch_or_explicit(&box->inbox[place / 64], 1ull << (place % 64),
				 memory_order_seq_cst);
	return vly_engine_claim_sleeper(engine, to);
}

void vly_engine_notify(struct vly_engine *engine, unsigned to, unsigned place)
{
	if (vly_engine_post(engine, to, place))
		vly_mail_ring_bell(engine->seats[to].mailbox->wake_fd);
}

static void wake(struct vly_engine *engine, unsigned core)
{
	struct vly_mailbox *box = engine->seats[core].mailbox;

	atomic_store_explicit(&box->woken, true, memory_order_seq_cst);
	vly_mail_ring_bell(box->wake_fd);
}

void vly_wake(struct vly_engine *engine, unsigned core)
{
	if (vly_forked() || core >= engine->config.cores)
		return;
	atomic_fetch_add_explicit(&engine->callers, 1, memory_order_seq_cst);
	wake(engine, core);
	/* pairs with the acquire in vly_engine_close(): not touched after this */
	atomic_fetch_sub_explicit(&engine->callers, 1, memory_order_release);
}

void vly_stop(struct vly_engine *engine)
{
	if (vly_forked())
		return;
	atomic_fetch_add_explicit(&engine->callers, 1, memory_order_seq_cst);
	atomic_store_explicit(&engine->stopping, true, memory_order_seq_cst);
	for (unsigned i = 0; i < engine->config.cores; i++)
		wake(engine, i);
	atomic_fetch_sub_explicit(&engine->callers, 1, memory_order_release);
}

int vly_stats(struct vly_engine *engine, unsigned core, struct vly_stats *stats)
{
	if (vly_forked())
		return -ECHILD;
	if (core >= engine->config.cores)
		return -ENOENT;
	struct vly_seat *seat = &engine->seats[core];
	uint64_t *from = (uint64_t *)&seat->stats;
	uint64_t *to = (uint64_t *)stats;

	static_assert(sizeof(*stats) % sizeof(uint64_t) == 0, "counters and gauges of one width");
	/* pairs with the release in vly_core_open() */
	uint32_t state = atomic_load_explicit(&seat->state, memory_order_acquire);

	if (state == VLY_SEAT_NEW || state == VLY_SEAT_OPENING)
		return -ENOENT;
	for (size_t i = 0; i < sizeof(*stats) / sizeof(uint64_t); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	return 0;
}

int vly_counters(struct vly_engine *engine, unsigned core, struct vly_counter *counters,
		 unsigned max)
{
	if (vly_forked())
		return -ECHILD;
	if (core >= engine->config.cores)
		return -ENOENT;
	/* pairs with whoever shows it; lists outlive engines */
	const struct vly_counter_list *list =
		atomic_load_explicit(&engine->seats[core].counters, memory_order_acquire);

	if (!list)
		return 0;
	uint32_t count = atomic_load_explicit(&list->count, memory_order_acquire);

	for (uint32_t i = 0; i < count && i < max; i++) {
		memcpy(counters[i].name, list->name[i], sizeof(counters[i].name));
		counters[i].value = atomic_load_explicit(&list->value[i], memory_order_relaxed);
	}
	return (int)count;
}
