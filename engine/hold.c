/* hold.c - keeping received data past its batch */
#include <errno.h>
#include <string.h>

#include "engine/core.h"

/* Names of slices that were copied aside; the others are receive buffers. */
#define COPIED (1u << 31)

/* Copies a small slice aside, a datagram with its sender's address. */
static int hold_copy(struct vly_core *core, struct vly_event *event)
{
	uint8_t *slice = vly_slab_get(&core->held);

	if (!slice)
		return -ENOBUFS;
	if (event->kind == VLY_DGRAM) {
		memcpy(slice, event->data - sizeof(struct vly_addr), sizeof(struct vly_addr));
		slice += sizeof(struct vly_addr);
	}
	memcpy(slice, event->data, event->len);
	event->data = slice;
	if (event->kind == VLY_DGRAM)
		slice -= sizeof(struct vly_addr);
	event->buf = COPIED | vly_slab_index(&core->held, slice);
	vly_count(&core->env.stats->holds_copied, 1);
	return 0;
}

/* Data that lies in the nic's own memory, until its batch is over, moves to a receive buffer. */
static int hold_move(struct vly_core *core, struct vly_event *event)
{
	struct vly_rx *rx = &core->env.rx;
	uint32_t room;
	uint8_t *span = vly_rx_span(rx, event->len, &room);

	if (!span || room < event->len)
		return -ENOBUFS;
	memcpy(span, event->data, event->len);
	event->data = span;
	event->buf = rx->current->index;
	vly_rx_commit(rx, event->len);
	return 0;
}

static int hold_pin(struct vly_core *core, struct vly_event *event)
{
	struct vly_buf *buf = vly_buf_at(&core->env.rx_pool, event->buf);

	if (!vly_rx_may_pin(&core->env.rx, buf))
		return -ENOBUFS;
	vly_buf_ref(buf);
	buf->mark++;
	vly_count(&core->env.stats->holds_pinned, 1);
	return 0;
}

int vly_hold(struct vly_core *core, struct vly_event *event)
{
	int error = -ENOBUFS;

	if (vly_forked())
		return -ECHILD;
	if ((event->kind != VLY_DATA && event->kind != VLY_DGRAM) ||
	    (event->buf >= core->env.rx_pool.slab.count && event->buf != VLY_NO_BUF))
		return -EINVAL;
	if (event->len <= core->config->hold_bytes)
		error = hold_copy(core, event);
	if (error && event->buf == VLY_NO_BUF && hold_move(core, event)) {
		vly_count(&core->env.stats->holds_refused, 1);
		return -ENOBUFS;
	}
	if (error)
		error = hold_pin(core, event);
	if (error)
		vly_count(&core->env.stats->holds_refused, 1);
	return error;
}

static int release_copy(struct vly_core *core, uint32_t index)
{
	if (index >= core->held.count)
		return -EINVAL;
	void *slice = vly_slab_at(&core->held, index);

	if (vly_slab_home(&core->held, slice))
		return -EINVAL;
	vly_slab_put(&core->held, slice);
	return 0;
}

int vly_release(struct vly_core *core, uint32_t name)
{
	if (vly_forked())
		return -ECHILD;
	if (name == VLY_NO_BUF)
		return -EINVAL;
	if (name & COPIED)
		return release_copy(core, name & ~COPIED);
	if (name >= core->env.rx_pool.slab.count)
		return -EINVAL;
	struct vly_buf *buf = vly_buf_at(&core->env.rx_pool, name);

	if (vly_slab_home(&core->env.rx_pool.slab, vly_buf_element(buf)) || !buf->mark)
		return -EINVAL;
	buf->mark--;
	vly_buf_put(buf);
	return 0;
}
