/* rx.h - receive buffers: many small messages packed into one, recycled at the next poll unless somebody holds them */
#ifndef VLY_NIC_RX_H
#define VLY_NIC_RX_H

#include <stdbool.h>
#include <stdint.h>

#include "mempool/buf.h"

/*
 * A lent buffer carries one reference of the nic's, dropped when the batch that shows its bytes is over. Further references
 * are pins: vly_hold's (counted in buf->mark) and queued sends'. Pins may take all buffers but `reserve`, so that a slow
 * consumer never starves reception.
 *
 * A nic that receives by calls fills `current`. One that keeps its buffers in the kernel's hands has no current one, and counts
 * all that it holds and nobody had pinned before this batch in lent_count: to the bound they are as good as home.
 */
/* Room in front of a datagram for its sender's address; the data begins on a cache line. */
#define VLY_RX_HEAD_BYTES 128u

struct vly_rx {
	struct vly_buf_pool *pool;
	struct vly_buf *current; /* the lent buffer being filled */
	uint32_t current_used;   /* bytes of it handed out */
	struct vly_buf *lent;    /* all lent buffers of this batch but `current`, linked by next */
	uint32_t lent_count;     /* `current`, or those in the kernel's hands, included */
	uint32_t lent_pins;      /* lent buffers pinned in this batch (an upper bound) */
	uint32_t reserve;
};

/* A span of at least `min_bytes` to receive into, its length in `room`; NULL when no buffer is home. */
static inline uint8_t *vly_rx_span(struct vly_rx *rx, uint32_t min_bytes, uint32_t *room);

/* The bytes at the front of the last span now belong to an event. */
static inline void vly_rx_commit(struct vly_rx *rx, uint32_t bytes);

/* The batch is over: unpinned buffers are home again. */
static inline void vly_rx_recycle(struct vly_rx *rx);

/* Whether one more reference to `buf` leaves enough for reception; counts it. */
static inline bool vly_rx_may_pin(struct vly_rx *rx, const struct vly_buf *buf);

/* Buffers that nobody holds past their batch. */
static inline uint32_t vly_rx_unpinned(const struct vly_rx *rx)
{
	return vly_buf_free_count(rx->pool) + rx->lent_count - rx->lent_pins;
}

/* Gives everything back before the pool is closed. */
void vly_rx_fini(struct vly_rx *rx);

/* Makes a fresh buffer the current one; false when none is home. */
bool vly_rx_turn(struct vly_rx *rx);

/* Puts what the last batch was lent back: the slow part of vly_rx_recycle(). */
void vly_rx_recycle_all(struct vly_rx *rx);

/* ---- inline bodies ---- */

static inline uint8_t *vly_rx_span(struct vly_rx *rx, uint32_t min_bytes, uint32_t *room)
{
	if (vly_unlikely(!rx->current || rx->current->cap - rx->current_used < min_bytes)) {
		if (!vly_rx_turn(rx))
			return NULL;
	}
	*room = rx->current->cap - rx->current_used;
	return rx->current->data + rx->current_used;
}

static inline void vly_rx_commit(struct vly_rx *rx, uint32_t bytes)
{
	uint32_t used = rx->current_used + VLY_ALIGN_UP(bytes, VLY_CACHE_LINE);

	rx->current_used = VLY_MIN(used, rx->current->cap);
}

static inline void vly_rx_recycle(struct vly_rx *rx)
{
	rx->lent_pins = 0;
	if (vly_likely(!rx->lent && (!rx->current || rx->current->refs == 1)))
		rx->current_used = 0; /* the same lines again: they are in the cache */
	else
		vly_rx_recycle_all(rx);
}

static inline bool vly_rx_may_pin(struct vly_rx *rx, const struct vly_buf *buf)
{
	if (buf->refs > 1)
		return true; /* pinned already, or held past its batch by somebody else */
	if (vly_buf_free_count(rx->pool) + rx->lent_count <= rx->reserve + rx->lent_pins)
		return false;
	rx->lent_pins++;
	return true;
}

#endif
