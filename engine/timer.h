/* timer.h - the applications' timers of one core */
#ifndef VLY_ENGINE_TIMER_H
#define VLY_ENGINE_TIMER_H

#include <stdint.h>

#include "mempool/slab.h"
#include "nic/conn.h"
#include "nic/env.h"

/* One line each. */
struct vly_timer_slot {
	struct vly_alarm alarm;
	void *user;
	uint32_t generation;
	uint32_t event;                    /* fired: its place in the batch */
	struct vly_timer_slot *next_fired; /* the slab's link while free */
	uint64_t spare;
};

static_assert(sizeof(struct vly_timer_slot) == VLY_CACHE_LINE, "a timer is one line");

struct vly_timers {
	struct vly_slab slab;
	struct vly_timer_slot *fired; /* in the current batch: free when it is over */
	uint32_t running, running_max;
};

struct vly_core;

/*
 * Appends TIMER events for what is due, and lets connections whose time is up go, until `batch_max`
 * events are in the batch.
 */
void vly_timers_fire(struct vly_core *core, uint64_t now_ns, uint32_t batch_max);

/* The batch is over: its timers can be used again. */
void vly_timers_recycle(struct vly_timers *timers);

#endif
