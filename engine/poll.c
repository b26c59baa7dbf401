/* poll.c - one poll of a core: flush, gather a batch of completions, wait if there is none */
#include <string.h>
#include <sys/timerfd.h>

#include "base/clock.h"
#include "engine/core.h"
#include "engine/engine.h"

/*
 * Up to which eighth of a batch each source may fill it, in the order in which they are asked: a
 * source that never ends leaves room for those behind it, and a quarter is always the nic's.
 */
enum share {
	SHARE_SENT = 2,
	SHARE_LATE_NEWS = 4,
	SHARE_TIMERS = 5,
	SHARE_MAIL = 6,
};

static uint32_t up_to(const struct vly_core *core, enum share eighths)
{
	return core->env.batch.max * (uint32_t)eighths / 8;
}

void vly_core_flush(struct vly_core *core)
{
	uint32_t count = 0;

	vly_mail_publish(core);
	if (core->nic->ops->flush_raw) {
		count = core->dirty_count;
		core->dirty_count = 0;
		if (count)
			core->nic->ops->flush(core->nic, core->dirty, count);
		return;
	}
	for (uint32_t i = 0; i < core->dirty_count; i++) {
		struct vly_conn_head *conn = core->dirty[i];

		conn->flags &= (uint16_t)~VLY_F_DIRTY;
		if (vly_likely(conn->state != VLY_DEAD))
			core->dirty[count++] = conn;
	}
	core->dirty_count = 0;
	if (count)
		core->nic->ops->flush(core->nic, core->dirty, count);
}

int vly_flush(struct vly_core *core)
{
	if (vly_forked())
		return -ECHILD;
	vly_core_flush(core);
	if (core->nic->ops->push)
		core->nic->ops->push(core->nic);
	return 0;
}

void vly_core_retire(struct vly_core *core)
{
	struct vly_env *env = &core->env;

	for (uint32_t i = 0; i < env->retiring_count; i++)
		vly_conn_retire(&env->conns, env->retiring[i]);
	env->retiring_count = 0;
}

/* Ends the current batch: its events, data and mail are the engine's again. */
static void begin_batch(struct vly_core *core)
{
	struct vly_env *env = &core->env;

	vly_core_flush(core);
	vly_timers_recycle(&core->timers);
	vly_mail_recycle(core);
	vly_rx_recycle(&env->rx);
	env->starved[VLY_TX_COPIES].granted = 0; /* promises last one batch */
	env->starved[VLY_TX_REFS].granted = 0;
	if (vly_unlikely(env->retiring_count))
		vly_core_retire(core);
	env->batch.count = 0;
	if (vly_unlikely(++env->batch.seq == 0))
		env->batch.seq = 1;
}

static void emit_sent(struct vly_core *core)
{
	struct vly_env *env = &core->env;

	while (env->sent_head && env->batch.count < up_to(core, SHARE_SENT)) {
		struct vly_buf *buf = env->sent_head;
		struct vly_conn_head *conn = vly_conn_at(&env->conns, buf->mark);
		struct vly_event *event = vly_batch_add_conn(&env->batch, conn, VLY_SENT);

		event->data = buf->cookie;
		event->status = -(int32_t)buf->len;
		env->sent_head = buf->next;
		if (!env->sent_head)
			env->sent_tail = NULL;
		buf->next = NULL;
		vly_buf_put(buf);
		env->sent_emitted++;
	}
}

static void emit_drained(struct vly_env *env, struct vly_conn_head *conn)
{
	conn->flags &= (uint16_t) ~(VLY_F_PEND_DRAINED | VLY_F_TX_BLOCKED);
	if (conn->state == VLY_OPENED && !(conn->flags & VLY_F_SHUT))
		vly_batch_add_conn(&env->batch, conn, VLY_DRAINED);
}

/* The last event of its handle: OPEN of a failed connect, or CLOSED. */
static void emit_last(struct vly_env *env, struct vly_conn_head *conn)
{
	bool failed = conn->flags & VLY_F_PEND_OPEN;
	struct vly_event *event =
		vly_batch_add_conn(&env->batch, conn, failed ? VLY_OPEN : VLY_CLOSED);

	event->status = conn->status;
	conn->flags &= (uint16_t) ~(VLY_F_PEND_OPEN | VLY_F_PEND_CLOSED);
	env->retiring[env->retiring_count++] = conn;
	if (failed)
		vly_count(&env->stats->connect_failed, 1);
	else
		vly_count(&env->stats->closed, 1);
	if (!failed && conn->status)
		vly_count(&env->stats->closed_error, 1);
}

static void emit_pending(struct vly_core *core)
{
	struct vly_env *env = &core->env;

	if (vly_unlikely(env->sent_head))
		emit_sent(core);
	while (env->pending_head != VLY_NO_SLOT &&
	       env->batch.count < up_to(core, SHARE_LATE_NEWS)) {
		struct vly_conn_head *conn = vly_conn_at(&env->conns, env->pending_head);

		if (conn->state == VLY_DEAD && (int32_t)(env->sent_emitted - conn->tx_mark) < 0)
			return; /* some SENT of it is still to come */
		env->pending_head = conn->next_pending;
		if (env->pending_head == VLY_NO_SLOT)
			env->pending_tail = VLY_NO_SLOT;
		conn->flags &= (uint16_t)~VLY_F_PENDING;
		if (conn->flags & VLY_F_PEND_DRAINED)
			emit_drained(env, conn);
		if (conn->flags & (VLY_F_PEND_OPEN | VLY_F_PEND_CLOSED))
			emit_last(env, conn);
	}
}

/*
 * Buffers of a pool have come home: those who waited longest are told, no more of them than can be
 * served now.
 */
static void grant_starved(struct vly_core *core, enum vly_tx_pool which)
{
	struct vly_env *env = &core->env;
	struct vly_starved *starved = &env->starved[which];

	while (starved->head != VLY_NO_SLOT && env->batch.count < up_to(core, SHARE_LATE_NEWS)) {
		struct vly_conn_head *conn = vly_conn_at(&env->conns, starved->head);

		if (vly_env_tx_pool(env, which)->slab.free_count <
		    starved->granted + conn->want_bufs)
			return;
		vly_env_unstarve(env, conn);
		starved->granted += conn->want_bufs;
		conn->granted_seq = env->batch.seq;
		emit_drained(env, conn);
	}
}

/* Everything but the nic's own completions. */
static void gather(struct vly_core *core, uint64_t now_ns)
{
	struct vly_env *env = &core->env;

	if (vly_unlikely(env->pending_head != VLY_NO_SLOT || env->sent_head))
		emit_pending(core);
	for (unsigned which = 0; which < VLY_TX_POOLS; which++) {
		if (vly_unlikely(env->starved[which].head != VLY_NO_SLOT))
			grant_starved(core, which);
	}
	vly_timers_fire(core, now_ns, up_to(core, SHARE_TIMERS));
	vly_mail_collect(core, up_to(core, SHARE_MAIL));
}

/* Whether something waits that only a poll without waiting brings. */
static bool has_work(struct vly_core *core)
{
	return core->env.batch.count > 0 || core->env.pending_head != VLY_NO_SLOT ||
	       core->env.sent_head || core->nic->ops->has_work(core->nic);
}

static bool take_wake(struct vly_core *core)
{
	atomic_bool *woken = &core->mail.box->woken;

	if (vly_likely(!atomic_load_explicit(woken, memory_order_relaxed)))
		return false;
	/* pairs with the store in vly_wake() */
	if (!atomic_exchange_explicit(woken, false, memory_order_acq_rel))
		return false;
	vly_count(&core->env.stats->wakes, 1);
	return true;
}

/* Sleeps in the nic until something happens, at most until `until_ns`. */
static void sleep_once(struct vly_core *core, uint64_t now_ns, uint64_t until_ns)
{
	uint64_t next_ns = VLY_MIN(vly_wheel_next(&core->env.wheel), until_ns);
	int64_t timeout_ns = 0;

	if (next_ns > now_ns && vly_mail_arm_sleep(core))
		timeout_ns = next_ns - now_ns > INT64_MAX ? -1 : (int64_t)(next_ns - now_ns);
	if (timeout_ns)
		vly_count(&core->env.stats->sleeps, 1);
	core->nic->ops->poll(core->nic, timeout_ns);
	vly_mail_disarm_sleep(core);
}

static uint64_t later(uint64_t now_ns, uint64_t delay_ns)
{
	return delay_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + delay_ns;
}

/*
 * Polls until there is an event, the time is up, or somebody calls vly_wake. Returns when its last round
 * began: those before brought nothing, and were idle.
 */
static uint64_t wait(struct vly_core *core, uint64_t now_ns, int64_t timeout_ns)
{
	struct vly_env *env = &core->env;
	uint64_t until_ns = timeout_ns < 0 ? UINT64_MAX : later(now_ns, (uint64_t)timeout_ns);
	uint64_t spin_ns = now_ns, round_ns = now_ns;

	if (core->config->idle == VLY_IDLE_BUSY)
		spin_ns = UINT64_MAX;
	else if (core->config->idle == VLY_IDLE_ADAPTIVE)
		spin_ns = later(now_ns, core->config->spin_ns);
	while (!take_wake(core)) {
		if (now_ns < spin_ns || has_work(core))
			core->nic->ops->poll(core->nic, 0);
		else
			sleep_once(core, now_ns, until_ns);
		now_ns = env->batch.stamp_ns;
		gather(core, now_ns);
		if (env->batch.count || now_ns >= until_ns)
			break;
		if (now_ns > round_ns)
			vly_count(&env->stats->idle_ns, now_ns - round_ns);
		round_ns = now_ns;
	}
	return round_ns;
}

static void set_timer(struct vly_core *core, uint64_t at_ns)
{
	struct itimerspec spec = {0};

	if (at_ns == core->timer_fd_ns && !core->env.timer_rang)
		return;
	core->env.timer_rang = false;
	core->timer_fd_ns = at_ns;
	if (at_ns != UINT64_MAX) {
		at_ns = VLY_MAX(at_ns, 1ull); /* 0 would disarm */
		spec.it_value = (struct timespec){.tv_sec = (time_t)(at_ns / 1000000000),
						  .tv_nsec = (long)(at_ns % 1000000000)};
	}
	timerfd_settime(core->env.timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* The caller's loop sleeps for us: whatever comes from now on makes the descriptor readable. */
static void arm_embedded(struct vly_core *core)
{
	set_timer(core, vly_wheel_next(&core->env.wheel));
	if (has_work(core) || !vly_mail_arm_sleep(core))
		vly_mail_ring_bell(core->env.wake_fd);
}

static void set_gauge(uint64_t *gauge, uint64_t value)
{
	__atomic_store_n(gauge, value, __ATOMIC_RELAXED);
}

void vly_core_gauges(struct vly_core *core)
{
	struct vly_env *env = &core->env;

	set_gauge(&env->stats->conns,
		  env->conns.count - env->conns.slab.free_count - env->retiring_count);
	set_gauge(&env->stats->tx_bufs_free, env->tx_pool.slab.free_count + env->near.count);
	set_gauge(&env->stats->tx_refs_free, env->ref_pool.slab.free_count);
	set_gauge(&env->stats->rx_bufs_free, vly_rx_unpinned(&env->rx));
	set_gauge(&env->stats->tx_bufs_low, env->tx_pool.slab.low_water);
	set_gauge(&env->stats->rx_bufs_low, env->rx_pool.slab.low_water);
}

/* The poll begins: what the application did with the last batch is over. */
static void account_begin(struct vly_core *core, uint64_t now_ns)
{
	if (core->was_busy && now_ns > core->last_stamp_ns)
		vly_count(&core->env.stats->busy_ns, now_ns - core->last_stamp_ns);
}

static void account_end(struct vly_core *core, uint64_t began_ns)
{
	struct vly_stats *stats = core->env.stats;
	uint32_t count = core->env.batch.count;
	uint64_t now_ns = core->env.batch.stamp_ns;

	if (now_ns > began_ns)
		vly_count(count ? &stats->busy_ns : &stats->idle_ns, now_ns - began_ns);
	core->last_stamp_ns = now_ns;
	core->was_busy = count > 0;
	vly_count(&stats->polls, 1);
	vly_count(count ? &stats->events : &stats->polls_empty, count ? count : 1);
	vly_core_gauges(core);
}

int vly_poll(struct vly_core *core, struct vly_event **events, int64_t timeout_ns)
{
	if (vly_forked())
		return -ECHILD;
	if (vly_unlikely(core->in_callback))
		return -EBUSY;
	struct vly_batch *batch = &core->env.batch;
	uint64_t now_ns = vly_clock_ns();

	if (vly_unlikely(core->embedded))
		vly_mail_disarm_sleep(core);
	account_begin(core, now_ns);
	batch->stamp_ns = now_ns;
	begin_batch(core);
	gather(core, now_ns);
	/* A poll hands over what was queued even if it was woken before it began. */
	if (take_wake(core) || batch->count || timeout_ns == 0) {
		core->nic->ops->poll(core->nic, 0);
		if (!batch->count)
			gather(core, batch->stamp_ns);
	} else {
		now_ns = wait(core, now_ns, timeout_ns);
	}
	if (vly_unlikely(core->embedded && !batch->count && timeout_ns == 0))
		arm_embedded(core);
	account_end(core, now_ns);
	*events = batch->events;
	return (int)batch->count;
}
