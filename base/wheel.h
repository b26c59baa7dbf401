/* wheel.h - a hierarchical timing wheel: one core's timers, without allocation */
#ifndef VLY_BASE_WHEEL_H
#define VLY_BASE_WHEEL_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"

#define VLY_WHEEL_LEVELS 5
#define VLY_WHEEL_LEVEL_BITS 6
#define VLY_WHEEL_SLOTS (1u << VLY_WHEEL_LEVEL_BITS)
/* Ticks beyond which a timer waits in the far list: 2^30; at the default tick 19.5 hours. */
#define VLY_WHEEL_SPAN_BITS (VLY_WHEEL_LEVELS * VLY_WHEEL_LEVEL_BITS)
/* 2^16 ns: 65.5 us */
#define VLY_WHEEL_TICK_SHIFT 16

/*
 * A timer, embedded in whatever it times; all zero (or after vly_wheel_node_init) it is unarmed.
 * The owner keeps it.
 */
struct vly_wheel_node {
	struct vly_wheel_node *next;
	struct vly_wheel_node **pprev; /* NULL: unarmed */
	uint64_t deadline_ns;
};

static_assert(sizeof(struct vly_wheel_node) <= 32, "connections carry one or two of these");

/*
 * A timer's deadline, rounded up to ticks, is its expiry. Levels count in base 64: a timer sits at
 * the highest digit in which its expiry and the wheel's `tick` differ, in the slot of the expiry's
 * digit there. Hence
 *
 *	an occupied slot's number > the tick's digit at its level
 *	everything in level n expires before anything in level n + 1
 *
 * and the earliest slot is the lowest bit of the lowest level. When the tick reaches a slot, its
 * timers move to lower levels. One core owns all of it. Time is a parameter: nanoseconds on any
 * scale that never runs backwards.
 */
struct vly_wheel {
	uint64_t next_ns;                /* nothing expires earlier; UINT64_MAX if nothing can */
	struct vly_wheel_node *due;      /* expired, not yet returned; oldest first */
	struct vly_wheel_node **due_end; /* where the next due one is linked */
	uint64_t tick;                   /* how far the wheel has turned */
	uint32_t tick_shift;
	uint32_t armed_count;
	uint64_t occupied[VLY_WHEEL_LEVELS];
	struct vly_wheel_node *slots[VLY_WHEEL_LEVELS][VLY_WHEEL_SLOTS];
	struct vly_wheel_node *far; /* expiries that differ from the tick above all levels */
};

/*
 * An empty wheel that stands at `now_ns`; a tick is 2^tick_shift ns (0 to 40; VLY_WHEEL_TICK_SHIFT
 * unless tests ask).
 */
void vly_wheel_init(struct vly_wheel *w, uint64_t now_ns, uint32_t tick_shift);

/* Asserts that no timer is armed. */
void vly_wheel_fini(struct vly_wheel *w);

static inline void vly_wheel_node_init(struct vly_wheel_node *node)
{
	*node = (struct vly_wheel_node){0};
}

static inline bool vly_wheel_armed(const struct vly_wheel_node *node)
{
	return node->pprev != NULL;
}

/*
 * Arms an unarmed node; borrowed until it is returned by vly_wheel_expire() or cancelled. It
 * expires at the first tick at or after `deadline_ns`, never early; a deadline in the past is due
 * at once. Nodes of one tick come in no promised order.
 */
void vly_wheel_add(struct vly_wheel *w, struct vly_wheel_node *node, uint64_t deadline_ns);

/*
 * Disarms; false if it was not armed. Allowed at any time, also for a node that is due but not yet
 * returned.
 */
bool vly_wheel_cancel(struct vly_wheel *w, struct vly_wheel_node *node);

/* The slow part of vly_wheel_expire(): turns the wheel to `now_ns`, or until something is due. */
struct vly_wheel_node *vly_wheel_turn(struct vly_wheel *w, uint64_t now_ns);

/*
 * Returns one expired node, unarmed, or NULL if none is left at `now_ns`; ticks in their order.
 * Call it until NULL or until the batch is full; the rest stays due. A caller that re-arms with
 * deadlines in the past must bound its loop.
 */
static inline struct vly_wheel_node *vly_wheel_expire(struct vly_wheel *w, uint64_t now_ns)
{
	if (vly_likely(now_ns < w->next_ns))
		return NULL;
	return vly_wheel_turn(w, now_ns);
}

/*
 * A time before which vly_wheel_expire() returns NULL: exact within the nearest 64 ticks, else the
 * moment at which the wheel must turn to know more. 0 if something is due already, UINT64_MAX if
 * the wheel is empty.
 */
uint64_t vly_wheel_next(const struct vly_wheel *w);

/* Whether the wheel's invariants hold; walks every node. For tests. */
bool vly_wheel_valid(const struct vly_wheel *w);

#endif
