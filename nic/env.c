/* env.c - the bookkeeping that nic and engine share: queues done, connections dead, late news */
#include "nic/env.h"

#include <errno.h>

#include "base/check.h"

void vly_env_pend(struct vly_env *env, struct vly_conn_head *conn, uint16_t flag)
{
	conn->flags |= flag;
	if (conn->flags & VLY_F_PENDING)
		return;
	conn->flags |= VLY_F_PENDING;
	conn->next_pending = VLY_NO_SLOT;
	if (env->pending_tail == VLY_NO_SLOT)
		env->pending_head = vly_conn_index(conn);
	else
		vly_conn_at(&env->conns, env->pending_tail)->next_pending = vly_conn_index(conn);
	env->pending_tail = vly_conn_index(conn);
}

/* A segment has left the queue: borrowed memory is announced, the rest goes home. */
static void segment_done(struct vly_env *env, struct vly_conn_head *conn, struct vly_buf *buf,
			 int status)
{
	if (!(buf->flags & VLY_BUF_BORROWED)) {
		vly_buf_put(buf);
		return;
	}
	buf->flags &= (uint8_t)~VLY_BUF_BORROWED; /* its memory is the application's again */
	buf->mark = vly_conn_index(conn);
	buf->len = (uint32_t)-status;
	buf->next = NULL;
	env->sent_queued++;
	if (env->sent_tail)
		env->sent_tail->next = buf;
	else
		env->sent_head = buf;
	env->sent_tail = buf;
}

static struct vly_buf *pop_segment(struct vly_conn_head *conn)
{
	struct vly_buf *buf = conn->tx_head;

	conn->tx_head = buf->next;
	if (!conn->tx_head)
		conn->tx_tail = NULL;
	buf->next = NULL;
	return buf;
}

static void drained_check(struct vly_env *env, struct vly_conn_head *conn)
{
	const uint16_t waits = VLY_F_TX_BLOCKED | VLY_F_TX_STARVED | VLY_F_PEND_DRAINED;

	if ((conn->flags & waits) == VLY_F_TX_BLOCKED && conn->tx_bytes <= conn->tx_mark)
		vly_env_pend(env, conn, VLY_F_PEND_DRAINED);
}

void vly_env_near_home(struct vly_env *env)
{
	while (env->near.count)
		vly_buf_put(env->near.bufs[--env->near.count]);
}

void vly_env_tx_done(struct vly_env *env, struct vly_conn_head *conn, uint32_t bytes)
{
	VLY_CHECK(bytes <= conn->tx_bytes);
	vly_env_tx_whole(conn);
	conn->tx_bytes -= bytes;
	/* Lent memory of 0 bytes is done as soon as it comes first. */
	while (conn->tx_head && bytes >= conn->tx_head->len) {
		bytes -= conn->tx_head->len;
		segment_done(env, conn, pop_segment(conn), 0);
	}
	if (bytes > 0)
		vly_buf_pull(conn->tx_head, bytes);
	drained_check(env, conn);
}

void vly_env_dgram_done(struct vly_env *env, struct vly_conn_head *conn)
{
	for (uint32_t left = conn->tx_head->mark; left > 0; left--) {
		conn->tx_bytes -= conn->tx_head->len;
		vly_buf_put(pop_segment(conn));
	}
	drained_check(env, conn);
}

void vly_env_unstarve(struct vly_env *env, struct vly_conn_head *conn)
{
	struct vly_starved *starved =
		&env->starved[conn->flags & VLY_F_TX_WANTS_REF ? VLY_TX_REFS : VLY_TX_COPIES];

	if (!(conn->flags & VLY_F_TX_STARVED))
		return;
	conn->flags &= (uint16_t)~VLY_F_TX_STARVED;
	if (conn->starved_prev == VLY_NO_SLOT)
		starved->head = conn->starved_next;
	else
		vly_conn_at(&env->conns, conn->starved_prev)->starved_next = conn->starved_next;
	if (conn->starved_next == VLY_NO_SLOT)
		starved->tail = conn->starved_prev;
	else
		vly_conn_at(&env->conns, conn->starved_next)->starved_prev = conn->starved_prev;
	conn->starved_prev = conn->starved_next = VLY_NO_SLOT;
}

void vly_env_dead(struct vly_env *env, struct vly_conn_head *conn, int status)
{
	bool was_connecting = conn->state == VLY_CONNECTING;

	vly_env_tx_whole(conn);
	while (conn->tx_head)
		segment_done(env, conn, pop_segment(conn), status ? status : -ECONNABORTED);
	conn->tx_bytes = 0;
	vly_env_unstarve(env, conn);
	vly_wheel_cancel(&env->wheel, &conn->alarm.node);
	conn->flags &= (uint16_t)~VLY_F_PEND_DRAINED;
	conn->state = VLY_DEAD;
	conn->status = status;
	conn->tx_mark = env->sent_queued; /* all of its own are among these */
	vly_env_pend(env, conn, was_connecting ? VLY_F_PEND_OPEN : VLY_F_PEND_CLOSED);
}
