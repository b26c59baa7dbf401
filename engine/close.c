/* close.c - ending a connection, or one direction of it; pausing its input */
#include "base/clock.h"
#include "engine/core.h"

/*
 * A record whose last event may be in the current batch already: closing it is no error, it only
 * takes back what the application has not seen yet.
 */
static int find_closable(struct vly_core *core, vly_conn handle, struct vly_conn_head **conn)
{
	int error = vly_core_find(core, handle, conn);

	if (error != -ENOTCONN || !handle)
		return error;
	*conn = vly_conn_find(&core->env.conns, handle);
	return *conn ? 0 : -ENOTCONN;
}

/*
 * Its end is still to be told: as good as closed now. It was told in this batch: the handle is
 * stale.
 */
static int dead_answer(const struct vly_conn_head *conn)
{
	return conn->flags & VLY_F_PENDING ? 0 : -ENOTCONN;
}

int vly_shutdown(struct vly_core *core, vly_conn handle)
{
	struct vly_conn_head *conn;
	int error = vly_core_find(core, handle, &conn);

	if (error)
		return error;
	if (conn->type != VLY_STREAM)
		return -EINVAL;
	if (conn->state != VLY_OPENED)
		return -ENOTCONN;
	conn->flags |= VLY_F_SHUT;
	vly_env_unstarve(&core->env, conn);
	vly_core_dirty(core, conn);
	return 0;
}

int vly_close(struct vly_core *core, vly_conn handle)
{
	struct vly_conn_head *conn;
	int error = find_closable(core, handle, &conn);

	if (error)
		return error;
	if (conn->type == VLY_LISTENER)
		return -EINVAL;
	vly_batch_blank(&core->env.batch, conn);
	if (conn->state == VLY_DEAD)
		return dead_answer(conn);
	if (conn->state == VLY_CLOSING)
		return -ENOTCONN;
	if (conn->type == VLY_WATCH) {
		/* At once: its number may name another descriptor before the next flush. */
		core->nic->ops->abort(core->nic, conn, 0);
		return 0;
	}
	if (conn->state == VLY_CONNECTING) {
		core->nic->ops->abort(core->nic, conn, -ECANCELED);
		return 0;
	}
	conn->state = VLY_CLOSING;
	conn->flags |= VLY_F_SHUT;
	vly_env_unstarve(&core->env, conn);
	if (conn->type != VLY_STREAM || !core->nic->ops->own_alarm) {
		conn->alarm.kind = VLY_ALARM_CLOSE;
		vly_wheel_add(&core->env.wheel, &conn->alarm.node,
			      vly_clock_after(core->config->close_timeout_ns));
	}
	vly_core_dirty(core, conn);
	return 0;
}

int vly_abort(struct vly_core *core, vly_conn handle)
{
	struct vly_conn_head *conn;
	int error = find_closable(core, handle, &conn);

	if (error)
		return error;
	if (conn->type == VLY_LISTENER)
		return -EINVAL;
	vly_batch_blank(&core->env.batch, conn);
	if (conn->state == VLY_DEAD)
		return dead_answer(conn);
	core->nic->ops->abort(core->nic, conn,
			      conn->state == VLY_CONNECTING ? -ECANCELED : -ECONNABORTED);
	return 0;
}

static int find_readable(struct vly_core *core, vly_conn handle, struct vly_conn_head **conn)
{
	int error = vly_core_find(core, handle, conn);

	return !error && (*conn)->type != VLY_STREAM && (*conn)->type != VLY_UDP ? -EINVAL : error;
}

int vly_pause(struct vly_core *core, vly_conn handle)
{
	struct vly_conn_head *conn;
	int error = find_readable(core, handle, &conn);

	if (error || conn->flags & VLY_F_PAUSED)
		return error;
	conn->flags |= VLY_F_PAUSED;
	vly_core_dirty(core, conn);
	return 0;
}

int vly_resume(struct vly_core *core, vly_conn handle)
{
	struct vly_conn_head *conn;
	int error = find_readable(core, handle, &conn);

	if (error || !(conn->flags & VLY_F_PAUSED))
		return error;
	conn->flags &= (uint16_t)~VLY_F_PAUSED;
	vly_core_dirty(core, conn);
	return 0;
}
