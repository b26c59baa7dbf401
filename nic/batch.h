/* batch.h - the array of completions that a poll fills, chained per connection */
#ifndef VLY_NIC_BATCH_H
#define VLY_NIC_BATCH_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "nic/conn.h"
#include "volley/event.h"

#define VLY_NO_EVENT UINT32_MAX
#define VLY_NO_BUF UINT32_MAX

/*
 * The chain lets a close inside the batch find the connection's other events without walking the
 * array.
 */
struct vly_batch {
	struct vly_event *events;
	uint32_t *chain; /* index of the previous event of the same connection, or VLY_NO_EVENT */
	uint32_t count, max;
	uint32_t seq; /* changes with every batch, never 0 */
	uint64_t stamp_ns;
};

static inline bool vly_batch_full(const struct vly_batch *batch)
{
	return batch->count == batch->max;
}

/*
 * Appends an event that belongs to no connection. The caller has checked that there is room, and
 * sets what its kind carries.
 */
static inline struct vly_event *vly_batch_add(struct vly_batch *batch, enum vly_kind kind)
{
	assert(!vly_batch_full(batch));
	struct vly_event *event = &batch->events[batch->count++];

	*event = (struct vly_event){
		.kind = (uint8_t)kind, .buf = VLY_NO_BUF, .stamp_ns = batch->stamp_ns};
	return event;
}

/* Appends an event of `conn` and chains it. */
static inline struct vly_event *vly_batch_add_conn(struct vly_batch *batch,
						   struct vly_conn_head *conn, enum vly_kind kind)
{
	uint32_t index = batch->count;
	struct vly_event *event = vly_batch_add(batch, kind);

	event->conn = conn->handle;
	event->user = conn->user;
	batch->chain[index] = conn->batch_seq == batch->seq ? conn->last_event : VLY_NO_EVENT;
	conn->batch_seq = batch->seq;
	conn->last_event = index;
	return event;
}

/* Appends DATA or the like of a connection that has no event in this batch yet: most are such. */
static inline void vly_batch_add_first(struct vly_batch *batch, struct vly_conn_head *conn,
				       enum vly_kind kind, uint8_t *data, uint32_t len)
{
	assert(!vly_batch_full(batch));
	assert(conn->batch_seq != batch->seq);
	uint32_t index = batch->count++;
	struct vly_event *event = &batch->events[index];

	/* one by one: a whole event at once is cleared before it is filled */
	event->conn = conn->handle;
	event->user = conn->user;
	event->data = data;
	event->len = len;
	event->status = 0;
	event->kind = (uint8_t)kind;
	event->flags = 0;
	event->aux = 0;
	event->buf = VLY_NO_BUF;
	event->stamp_ns = batch->stamp_ns;
	batch->chain[index] = VLY_NO_EVENT;
	conn->batch_seq = batch->seq;
	conn->last_event = index;
}

/* Turns this connection's DATA, EOF, DRAINED, DGRAM and READY of the current batch into NONE. */
static inline void vly_batch_blank(struct vly_batch *batch, const struct vly_conn_head *conn)
{
	if (conn->batch_seq != batch->seq)
		return;
	for (uint32_t i = conn->last_event; i != VLY_NO_EVENT; i = batch->chain[i]) {
		struct vly_event *event = &batch->events[i];

		if (event->kind != VLY_OPEN && event->kind != VLY_SENT && event->kind != VLY_CLOSED)
			event->kind = VLY_NONE;
	}
}

#endif
