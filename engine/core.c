/* core.c - opening and closing a core: all memory is taken here */
#include "engine/core.h"

#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/engine.h"

static void *take(struct vly_region *region, uint64_t bytes)
{
	return vly_region_take(region, VLY_ALIGN_UP(bytes, (uint64_t)VLY_WRITER_GAP),
			       VLY_WRITER_GAP);
}

static int open_conns(struct vly_core *core)
{
	struct vly_conn_table *table = &core->env.conns;
	uint32_t count = core->config->conns_max;
	uint32_t record_bytes = (uint32_t)core->engine->ops->conn_bytes;
	uint8_t *lists;

	table->base = take(&core->region, (uint64_t)count * record_bytes);
	table->record_bytes = record_bytes;
	table->count = count;
	table->core = core->index;
	table->first_generation = core->engine->seats[core->index].openings++ << 20;
	core->env.opening = core->engine->seats[core->index].openings;
	core->env.told = &core->engine->told;
	lists = take(&core->region, (uint64_t)count * 2 * sizeof(void *));
	if (!lists)
		return -ENOMEM;
	core->dirty = (struct vly_conn_head **)(void *)lists;
	core->env.retiring = core->dirty + count;
	for (unsigned which = 0; which < VLY_TX_POOLS; which++)
		core->env.starved[which].head = core->env.starved[which].tail = VLY_NO_SLOT;
	core->env.pending_head = core->env.pending_tail = VLY_NO_SLOT;
	return vly_slab_init(&table->slab, table->base, count, record_bytes,
			     offsetof(struct vly_conn_head, tx_head));
}

static int open_batch(struct vly_core *core)
{
	struct vly_batch *batch = &core->env.batch;
	uint32_t max = core->config->events_max;
	uint8_t *memory = take(&core->region,
			       (uint64_t)max * (sizeof(*batch->events) + sizeof(*batch->chain)));

	if (!memory)
		return -ENOMEM;
	batch->events = (struct vly_event *)(void *)memory;
	batch->chain = (uint32_t *)(void *)(memory + max * sizeof(*batch->events));
	batch->max = max;
	batch->seq = 1;
	return 0;
}

static int open_timers(struct vly_core *core, const struct vly_core_layout *layout)
{
	void *memory =
		take(&core->region, (uint64_t)layout->timers_count * sizeof(struct vly_timer_slot));

	core->timers.running_max = core->config->timers_max;
	vly_wheel_init(&core->env.wheel, vly_clock_ns(), VLY_WHEEL_TICK_SHIFT);
	return vly_slab_init(&core->timers.slab, memory, layout->timers_count,
			     sizeof(struct vly_timer_slot),
			     offsetof(struct vly_timer_slot, next_fired));
}

static int open_pools(struct vly_core *core, const struct vly_core_layout *layout)
{
	struct vly_env *env = &core->env;
	void *tx = take(&core->region, vly_buf_pool_bytes(&layout->tx));
	void *ref = take(&core->region, vly_buf_pool_bytes(&layout->ref));
	void *rx = take(&core->region, vly_buf_pool_bytes(&layout->rx));
	void *held = take(&core->region, (uint64_t)core->config->hold_slots * layout->held_bytes);
	int error = vly_buf_pool_init(&env->tx_pool, tx, &layout->tx);

	if (!error)
		error = vly_buf_pool_init(&env->ref_pool, ref, &layout->ref);
	if (!error)
		error = vly_buf_pool_init(&env->rx_pool, rx, &layout->rx);
	if (!error)
		error = vly_slab_init(&core->held, held, core->config->hold_slots,
				      layout->held_bytes,
				      layout->held_bytes - (uint32_t)sizeof(uint64_t));
	/*
	 * Reception keeps a quarter of the buffers, and the two that a batch of it takes at least.
	 */
	env->rx = (struct vly_rx){.pool = &env->rx_pool,
				  .reserve = VLY_MAX(core->config->rx_bufs / 4, 2u)};
	return error;
}

static int open_mail(struct vly_core *core)
{
	struct vly_mail *mail = &core->mail;
	uint32_t places = VLY_CORES_MAX + core->config->ports_max;

	mail->box = core->engine->seats[core->index].mailbox;
	mail->unsent_count = take(&core->region, (uint64_t)places * 2 * sizeof(uint32_t));
	if (!mail->unsent_count)
		return -ENOMEM;
	mail->taken_count = mail->unsent_count + places;
	return 0;
}

static void record_region(struct vly_core *core)
{
	struct vly_stats *stats = core->env.stats;

	stats->region_bytes = core->region.size_bytes;
	stats->region_used_bytes = core->region.used_bytes;
	stats->region_page_bytes = core->region.page_bytes;
	stats->region_node = core->region.bound ? core->region.numa_node : -1;
	stats->region_locked = core->region.locked;
}

static int open_parts(struct vly_core *core)
{
	struct vly_core_layout layout;

	vly_core_layout(core->config, &layout);
	int error = open_conns(core);

	if (!error)
		error = open_batch(core);
	if (!error)
		error = open_timers(core, &layout);
	if (!error)
		error = open_pools(core, &layout);
	if (!error)
		error = open_mail(core);
	if (!error)
		error = core->engine->ops->open(&core->env, &core->engine->spec, &core->nic);
	return error;
}

/* Maps the region and makes its first bytes the core. */
static int open_region(struct vly_engine *engine, unsigned index, struct vly_core **out)
{
	struct vly_seat *seat = &engine->seats[index];
	struct vly_plan plan;
	struct vly_region region;

	vly_config_plan_for(&engine->config, engine->ops, &engine->spec, &plan);
	struct vly_region_opts opts = {
		.size_bytes = plan.core_bytes,
		.numa_node = seat->numa_node,
		.try_huge = engine->config.huge_pages,
		.try_lock = engine->config.lock_memory,
	};
	int error = vly_region_open(&region, &opts);

	if (error) {
		vly_log(VLY_LOG_ERROR,
			"core %u needs %llu MiB: %s; lower conns_max (%llu bytes each), "
			"tx_bufs or rx_bufs",
			index, (unsigned long long)(plan.core_bytes >> 20), strerror(-error),
			(unsigned long long)plan.conn_bytes);
		return error;
	}
	struct vly_core *core = take(&region, sizeof(*core));

	core->region = region;
	core->env.region = &core->region;
	core->env.config = core->config = &engine->config;
	core->env.stats = &seat->stats;
	core->env.counters = &seat->counters;
	core->env.wake_fd = seat->mailbox->wake_fd;
	core->env.timer_fd = -1;
	core->env.forks = &vly_fork_count;
	core->engine = engine;
	core->index = index;
	core->timer_fd_ns = UINT64_MAX;
	*out = core;
	return 0;
}

int vly_core_open(struct vly_engine *engine, unsigned index, struct vly_core **out)
{
	struct vly_core *core;

	if (vly_forked())
		return -ECHILD;
	if (index >= engine->config.cores)
		return -ENOENT;
	_Atomic uint32_t *state = &engine->seats[index].state;
	uint32_t before = atomic_load_explicit(state, memory_order_acquire);

	/*
	 * pairs with the release at the end and in vly_core_close(): a seat may change threads
	 * between them
	 */
	if (before == VLY_SEAT_OPENING || before == VLY_SEAT_OPEN ||
	    !atomic_compare_exchange_strong_explicit(state, &before, VLY_SEAT_OPENING,
						     memory_order_acq_rel, memory_order_relaxed))
		return -EBUSY;
	int error = open_region(engine, index, &core);

	if (!error) {
		error = open_parts(core);
		if (error) {
			struct vly_region region = core->region;

			vly_region_close(&region);
		}
	}
	if (error) {
		atomic_store_explicit(state, before, memory_order_release);
		return error;
	}
	vly_mail_hang_bell(core);
	record_region(core);
	vly_core_gauges(core);
	atomic_store_explicit(state, VLY_SEAT_OPEN, memory_order_release);
	*out = core;
	return 0;
}

/* Ends everything that is still open; its last events are emitted to nobody. */
static void close_conns(struct vly_core *core)
{
	struct vly_conn_table *table = &core->env.conns;

	for (uint32_t slot = 0; slot < table->count; slot++) {
		struct vly_conn_head *conn = vly_conn_at(table, slot);

		if (conn->state == VLY_FREE || conn->state == VLY_DEAD)
			continue;
		if (conn->type == VLY_LISTENER) {
			core->nic->ops->unlisten(core->nic, conn);
			conn->state = VLY_DEAD;
		} else {
			core->nic->ops->abort(core->nic, conn, -ECONNABORTED);
		}
	}
	if (core->nic->ops->settle)
		core->nic->ops->settle(core->nic);
	for (uint32_t slot = 0; slot < table->count; slot++) {
		struct vly_conn_head *conn = vly_conn_at(table, slot);

		if (conn->state == VLY_DEAD)
			vly_conn_retire(table, conn);
	}
}

/* What the application holds ends with the core: it is told, not trusted. */
static void drop_held(struct vly_core *core)
{
	uint32_t held = core->held.count - core->held.free_count;

	for (uint32_t i = 0; held && i < core->held.count; i++) {
		void *slice = vly_slab_at(&core->held, i);

		if (!vly_slab_home(&core->held, slice))
			vly_slab_put(&core->held, slice);
	}
	for (uint32_t i = 0; i < core->env.rx_pool.slab.count; i++) {
		struct vly_buf *buf = vly_buf_at(&core->env.rx_pool, i);

		if (vly_slab_home(&core->env.rx_pool.slab, vly_buf_element(buf)))
			continue;
		held += buf->mark;
		for (uint32_t left = buf->mark; left > 0; left--)
			vly_buf_put(buf);
	}
	if (held)
		vly_log(VLY_LOG_WARN, "core %u closes with %u held buffers never released",
			core->index, held);
}

static void cancel_timers(struct vly_core *core)
{
	struct vly_timers *timers = &core->timers;

	for (uint32_t i = 0; timers->running && i < timers->slab.count; i++) {
		struct vly_timer_slot *slot = vly_slab_at(&timers->slab, i);

		if (!vly_slab_home(&timers->slab, slot) &&
		    vly_wheel_cancel(&core->env.wheel, &slot->alarm.node)) {
			timers->running--;
			vly_slab_put(&timers->slab, slot);
		}
	}
}

static void drop_sent(struct vly_env *env)
{
	vly_buf_put_chain(env->sent_head);
	env->sent_head = env->sent_tail = NULL;
}

void vly_core_close(struct vly_core *core)
{
	if (!core || vly_forked())
		return;
	struct vly_env *env = &core->env;
	struct vly_region region = core->region;
	_Atomic uint32_t *state = &core->engine->seats[core->index].state;

	vly_timers_recycle(&core->timers);
	vly_mail_unhang_bell(core);
	close_conns(core);
	core->nic->ops->close(core->nic);
	drop_sent(env);
	cancel_timers(core);
	vly_rx_fini(&env->rx);
	drop_held(core);
	if (env->timer_fd >= 0)
		close(env->timer_fd);
	vly_env_near_home(env);
	/* Everything must be home now. */
	vly_wheel_fini(&env->wheel);
	vly_slab_fini(&core->timers.slab);
	vly_slab_fini(&env->conns.slab);
	vly_slab_fini(&core->held);
	vly_buf_pool_fini(&env->ref_pool);
	vly_buf_pool_fini(&env->rx_pool);
	vly_buf_pool_fini(&env->tx_pool);
	atomic_store_explicit(state, VLY_SEAT_CLOSED, memory_order_release);
	vly_mail_fini(core);
	vly_region_close(&region);
}

unsigned vly_core_index(const struct vly_core *core)
{
	return vly_forked() ? 0 : core->index;
}

struct vly_engine *vly_core_engine(const struct vly_core *core)
{
	return vly_forked() ? NULL : core->engine;
}

bool vly_stopping(const struct vly_core *core)
{
	return vly_forked() || atomic_load_explicit(&core->engine->stopping, memory_order_acquire);
}

uint64_t vly_now_ns(void)
{
	return vly_clock_ns();
}

int vly_core_fd(struct vly_core *core)
{
	if (vly_forked())
		return -ECHILD;
	if (core->env.timer_fd < 0) {
		core->env.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		if (core->env.timer_fd < 0)
			return -errno;
	}
	core->embedded = true;
	vly_mail_unhang_bell(core); /* the other loop looks at wake_fd */
	return core->nic->ops->poll_fd(core->nic);
}
