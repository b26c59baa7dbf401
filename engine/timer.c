/* timer.c - starting, cancelling and firing timers */
#include "engine/timer.h"

#include "base/clock.h"
#include "engine/core.h"

int vly_timer_start(struct vly_core *core, uint64_t delay_ns, void *user, vly_timer *timer)
{
	struct vly_timers *timers = &core->timers;

	if (vly_forked())
		return -ECHILD;
	struct vly_timer_slot *slot =
		timers->running < timers->running_max ? vly_slab_get(&timers->slab) : NULL;

	if (!slot)
		return -ENOBUFS;
	timers->running++;
	slot->generation += slot->generation + 1 ? 1 : 2; /* never 0 */
	slot->user = user;
	slot->next_fired = NULL;
	slot->event = VLY_NO_EVENT;
	slot->alarm.kind = VLY_ALARM_TIMER;
	uint64_t now = vly_clock_ns();

	vly_wheel_add(&core->env.wheel, &slot->alarm.node,
		      delay_ns < UINT64_MAX - now ? now + delay_ns : UINT64_MAX);
	*timer = (uint64_t)slot->generation << 32 | vly_slab_index(&timers->slab, slot);
	return 0;
}

int vly_timer_cancel(struct vly_core *core, vly_timer timer)
{
	struct vly_timers *timers = &core->timers;
	uint32_t index = (uint32_t)timer;

	if (vly_forked())
		return -ECHILD;
	if (index >= timers->slab.count)
		return -ENOENT;
	struct vly_timer_slot *slot = vly_slab_at(&timers->slab, index);

	if (!slot->generation || slot->generation != timer >> 32)
		return -ENOENT;
	if (vly_wheel_cancel(&core->env.wheel, &slot->alarm.node)) {
		timers->running--;
		vly_slab_put(&timers->slab, slot);
		return 0;
	}
	if (slot->event == VLY_NO_EVENT)
		return -ENOENT;
	/* It is in the current batch; the slot goes home with the batch. */
	core->env.batch.events[slot->event].kind = VLY_NONE;
	slot->event = VLY_NO_EVENT;
	return 0;
}

static void fire(struct vly_core *core, struct vly_timer_slot *slot)
{
	struct vly_event *event = vly_batch_add(&core->env.batch, VLY_TIMER);

	event->user = slot->user;
	slot->event = core->env.batch.count - 1;
	slot->next_fired = core->timers.fired;
	core->timers.fired = slot;
	core->timers.running--;
	vly_count(&core->env.stats->timers_fired, 1);
}

void vly_timers_fire(struct vly_core *core, uint64_t now_ns, uint32_t batch_max)
{
	while (core->env.batch.count < batch_max) {
		struct vly_wheel_node *node = vly_wheel_expire(&core->env.wheel, now_ns);

		if (!node)
			return;
		struct vly_alarm *alarm = vly_container_of(node, struct vly_alarm, node);

		if (alarm->kind == VLY_ALARM_TIMER) {
			fire(core, vly_container_of(alarm, struct vly_timer_slot, alarm));
			continue;
		}
		if (vly_unlikely(alarm->kind == VLY_ALARM_NIC_OWN)) {
			core->nic->ops->alarm(core->nic, NULL);
			continue;
		}
		struct vly_conn_head *conn = vly_container_of(alarm, struct vly_conn_head, alarm);

		if (alarm->kind == VLY_ALARM_CLOSE)
			core->nic->ops->abort(core->nic, conn, -ETIMEDOUT);
		else
			core->nic->ops->alarm(core->nic, conn);
	}
}

void vly_timers_recycle(struct vly_timers *timers)
{
	while (timers->fired) {
		struct vly_timer_slot *slot = timers->fired;

		timers->fired = slot->next_fired;
		slot->event = VLY_NO_EVENT;
		vly_slab_put(&timers->slab, slot);
	}
}
