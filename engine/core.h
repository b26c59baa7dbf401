/* core.h - one core: everything its thread owns */
#ifndef VLY_ENGINE_CORE_H
#define VLY_ENGINE_CORE_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/fork.h"
#include "engine/mail.h"
#include "engine/timer.h"
#include "mempool/region.h"
#include "mempool/slab.h"
#include "nic/nic.h"
#include "volley/engine.h"

struct vly_engine;

/*
 * Lies in its own region, written by its own thread only. What other threads write is in struct
 * vly_mailbox.
 */
struct vly_core {
	struct vly_env env; /* lent to the nic */
	struct vly_nic *nic;
	struct vly_conn_head **dirty; /* records that the next flush looks at */
	uint32_t dirty_count;
	uint32_t index;
	struct vly_engine *engine;
	const struct vly_config *config;
	struct vly_mail mail;
	struct vly_timers timers;
	struct vly_slab held;   /* slices that vly_hold copied aside */
	bool in_callback;       /* vly_run: the application is reading the batch */
	bool embedded;          /* vly_core_fd was called */
	uint64_t timer_fd_ns;   /* what the timer descriptor is set to; UINT64_MAX: nothing */
	uint64_t last_stamp_ns; /* the previous poll's, for busy_ns */
	bool was_busy;
	struct vly_region region;
};

/* What opening takes from a core's region: the one place that adds it up. */
struct vly_core_layout {
	struct vly_buf_pool_opts tx, ref, rx;
	uint32_t held_bytes;
	uint32_t timers_count;
};

void vly_core_layout(const struct vly_config *config, struct vly_core_layout *layout);

/* Puts a record into the list of those that the next flush looks at. */
static inline void vly_core_dirty(struct vly_core *core, struct vly_conn_head *conn)
{
	if (conn->flags & VLY_F_DIRTY)
		return;
	conn->flags |= VLY_F_DIRTY;
	core->dirty[core->dirty_count++] = conn;
}

/*
 * The live record of a handle in `*conn`. 0; -ECHILD; -EXDEV for another core's; -ENOTCONN if it is
 * stale, or dead already and only its last event is still to be seen.
 */
static inline int vly_core_find(struct vly_core *core, vly_conn handle, struct vly_conn_head **conn)
{
	if (vly_unlikely(vly_forked()))
		return -ECHILD;
	if (vly_unlikely(vly_conn_core(handle) != core->index))
		return handle ? -EXDEV : -ENOTCONN;
	*conn = vly_conn_find(&core->env.conns, handle);
	return vly_likely(*conn && (*conn)->state != VLY_DEAD) ? 0 : -ENOTCONN;
}

/* Sends mail and whatever is dirty. */
void vly_core_flush(struct vly_core *core);

/* Gives every record of the dead whose last event has been seen back to the table. */
void vly_core_retire(struct vly_core *core);

/* Shows what is in use now to those who read the statistics. */
void vly_core_gauges(struct vly_core *core);

#endif
