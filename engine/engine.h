/* engine.h - what the cores of an engine share */
#ifndef VLY_ENGINE_ENGINE_H
#define VLY_ENGINE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "engine/mail.h"
#include "mempool/region.h"
#include "nic/nic.h"
#include "volley/engine.h"

enum vly_seat_state {
	VLY_SEAT_NEW,
	VLY_SEAT_OPENING,
	VLY_SEAT_OPEN,
	VLY_SEAT_CLOSED
};

/*
 * A core's place in its engine: exists from vly_engine_open on, so that others can reach it before
 * and after the core does.
 */
struct vly_seat {
	_Atomic uint32_t state; /* enum vly_seat_state */
	uint32_t openings;      /* how often the core was opened */
	int cpu;
	int numa_node;
	/* on the core's node: mailbox, rings towards it, rings of its ports */
	struct vly_region shared;
	struct vly_mailbox *mailbox;
	uint8_t *rings;         /* of every core, this one included, at ring_bytes */
	struct vly_port *ports; /* ports_max */
	uint8_t *port_rings;    /* two per port */
	struct vly_stats stats; /* written by the core alone */
	vly_counter_seat counters;
};

struct vly_engine {
	struct vly_config config;
	const struct vly_nic_ops *ops;
	struct vly_nic_spec spec; /* points into itself */
	atomic_bool stopping;
	_Atomic uint32_t told; /* of an opening so often of a core it was logged why it failed */
	/* Inside vly_stop or vly_wake: what they set off may end the engine before they return. */
	atomic_uint callers;
	size_t ring_bytes;
	struct vly_seat seats[]; /* config.cores */
};

/* The ring from core `from` to core `to`. */
static inline struct vly_ring *vly_engine_ring(struct vly_engine *engine, unsigned from,
					       unsigned to)
{
	return (struct vly_ring *)(void *)(engine->seats[to].rings + from * engine->ring_bytes);
}

static inline struct vly_port *vly_engine_port(struct vly_engine *engine, unsigned core,
					       unsigned index)
{
	return &engine->seats[core].ports[index];
}

/* Bytes that the mailbox, rings and ports of one core take. */
size_t vly_engine_shared_bytes(const struct vly_config *config);

/* Sets bit `place` in the inbox of core `to`. True: it sleeps, and the caller is the one to wake it. */
bool vly_engine_post(struct vly_engine *engine, unsigned to, unsigned place);

/* Whether core `to` sleeps; then the caller is the one to wake it. */
bool vly_engine_claim_sleeper(struct vly_engine *engine, unsigned to);

/* Sets bit `place` in the inbox of core `to` and wakes it if it sleeps. */
void vly_engine_notify(struct vly_engine *engine, unsigned to, unsigned place);

/* Wakes core `to` if it sleeps: there is room in a ring that it found full. */
void vly_engine_rouse(struct vly_engine *engine, unsigned to);

/* Checks a config; logs what is wrong. 0 or -EINVAL. */
int vly_config_check(const struct vly_config *config);

/* The config's plan for a nic that was found already. */
void vly_config_plan_for(const struct vly_config *config, const struct vly_nic_ops *ops,
			 const struct vly_nic_spec *spec, struct vly_plan *plan);

#endif
