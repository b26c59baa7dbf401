/* env.h - what a core lends to its nic: tables, pools, wheel, the batch, late news */
#ifndef VLY_NIC_ENV_H
#define VLY_NIC_ENV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/wheel.h"
#include "mempool/buf.h"
#include "mempool/region.h"
#include "nic/batch.h"
#include "nic/conn.h"
#include "nic/counters.h"
#include "nic/rx.h"
#include "volley/config.h"
#include "volley/stats.h"

/* What one datagram may have: of payload over IPv4, and of send buffers. */
#define VLY_DGRAM_BYTES_MAX 65507u
#define VLY_DGRAM_PIECES_MAX 64u

/* Where what is queued comes from. */
enum vly_tx_pool {
	VLY_TX_COPIES = 0, /* tx_pool */
	VLY_TX_REFS = 1,   /* ref_pool */
};

#define VLY_TX_POOLS 2

/* The connections that found a pool empty, oldest first; a connection waits for one at a time. */
struct vly_starved {
	uint32_t head, tail; /* slots */
	uint32_t granted;    /* buffers promised, for this batch, to those who have left the FIFO */
};

/*
 * Empty send buffers at hand: as vly_buf_get() returned them, and counted as home. A message of a nic that
 * keeps what it has sent (VLY_F_TX_PLAIN) is written behind the header of one and acknowledged without
 * looking at that header, so it costs one line and not two.
 */
#define VLY_TX_NEAR 64u

/* The message whose ways are compiled for its length: one line. A send buffer has at least as much. */
#define VLY_MESSAGE_BYTES 64u

struct vly_tx_near {
	uint32_t count;
	bool on; /* the nic understands VLY_F_TX_PLAIN */
	struct vly_buf *bufs[VLY_TX_NEAR];
};

struct vly_env {
	struct vly_batch batch;
	struct vly_conn_table conns;
	struct vly_rx rx;
	struct vly_wheel wheel;
	struct vly_buf_pool tx_pool; /* copies */
	/* descriptors of borrowed memory and of pinned receive buffers */
	struct vly_buf_pool ref_pool;
	struct vly_buf_pool rx_pool;
	struct vly_tx_near near; /* of tx_pool */
	struct vly_stats *stats; /* written by this core, read by anyone: vly_count() */
	vly_counter_seat *counters;
	const struct vly_config *config;
	struct vly_region *region; /* for the nic's own tables, while it opens */

	/*
	 * Late news: what happens outside a poll, or finds the batch full. A poll emits all of
	 * `sent` before any CLOSED, so SENT never follows its connection's end.
	 */
	uint32_t pending_head, pending_tail; /* slots */
	struct vly_buf *sent_head,
		*sent_tail; /* done descriptors: cookie; mark = slot, len = errno */

	struct vly_starved starved[VLY_TX_POOLS];
	/* How many SENTs were: a dead connection's CLOSED waits until those up to its tx_mark were. */
	uint32_t sent_queued, sent_emitted;

	/* The dead whose last event is in the current batch: retired when the next one begins. */
	struct vly_conn_head **retiring;
	uint32_t retiring_count;

	int wake_fd;      /* an eventfd: any thread writes it to end a poll */
	int timer_fd;     /* ends a poll of an embedded core in time; -1 until vly_core_fd */
	bool timer_rang;  /* it has fired: the nic sets this, and it must be set anew */
	const int *forks; /* not 0: a child may share our descriptors, so closing one ends nothing */
	/* How often this core was opened; of which of these the engine has told why it failed. NULL: every core tells. */
	uint32_t opening;
	_Atomic uint32_t *told;
};

/* Adds to a counter that other threads may read: one writer, no read-modify-write needed. */
static inline void vly_count(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Queues a connection for the next poll's attention; `flag` is one of VLY_F_PEND_*. */
void vly_env_pend(struct vly_env *env, struct vly_conn_head *conn, uint16_t flag);

/*
 * The nic has let go of the connection's descriptor and everything else: the rest of its queue is
 * dropped (borrowed memory goes back with a SENT), and its last event, OPEN or CLOSED with
 * `status`, is due. The nic must not touch the record afterwards.
 */
void vly_env_dead(struct vly_env *env, struct vly_conn_head *conn, int status);

/* The nic has sent the first `bytes` of the connection's queue. */
void vly_env_tx_done(struct vly_env *env, struct vly_conn_head *conn, uint32_t bytes);

/* Drops the first datagram of a UDP socket's queue: it was sent, or cannot be. */
void vly_env_dgram_done(struct vly_env *env, struct vly_conn_head *conn);

static inline struct vly_buf_pool *vly_env_tx_pool(struct vly_env *env, enum vly_tx_pool which)
{
	return which == VLY_TX_COPIES ? &env->tx_pool : &env->ref_pool;
}

/* Puts the send buffers at hand back into their pool: before its count decides anything. */
void vly_env_near_home(struct vly_env *env);

/* Where a fresh send buffer's data begins. */
static inline uint8_t *vly_env_tx_data(const struct vly_env *env, struct vly_buf *buf)
{
	return vly_buf_storage(buf) + env->tx_pool.headroom_bytes;
}

/*
 * VLY_F_TX_PLAIN: the queue is one buffer, fresh but for its data, of which there are tx_bytes. Its header
 * is brought into line here, before anybody reads it.
 */
static inline void vly_env_tx_whole(struct vly_conn_head *conn)
{
	if (!(conn->flags & VLY_F_TX_PLAIN))
		return;
	conn->flags &= (uint16_t)~VLY_F_TX_PLAIN;
	conn->tx_head->len = conn->tx_bytes;
}

/* The plain queue is done with. Nobody waits for buffers, or they go to the pool, where they are counted. */
static inline void vly_env_tx_plain_done(struct vly_env *env, struct vly_conn_head *conn)
{
	struct vly_buf *buf = conn->tx_head;

	conn->flags &= (uint16_t)~VLY_F_TX_PLAIN;
	conn->tx_head = conn->tx_tail = NULL;
	conn->tx_bytes = 0;
	if (vly_unlikely(env->near.count == VLY_TX_NEAR ||
			 env->starved[VLY_TX_COPIES].head != VLY_NO_SLOT)) {
		vly_buf_put(buf);
		return;
	}
	env->near.bufs[env->near.count++] = buf;
	/* what answers goes there */
	vly_prefetch_write(vly_env_tx_data(env, buf));
}

/* Takes a connection out of the FIFO of the starved, if it is there. */
void vly_env_unstarve(struct vly_env *env, struct vly_conn_head *conn);

#endif
