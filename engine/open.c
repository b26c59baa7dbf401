/* open.c - listeners, connections, UDP sockets, watched descriptors, and their names */
#include <errno.h>
#include <string.h>

#include "engine/core.h"

/* A record for something new, or -ENOBUFS. */
static int take_record(struct vly_core *core, enum vly_conn_type type, enum vly_conn_state state,
		       void *user, uint32_t tx_budget, struct vly_conn_head **conn)
{
	if (vly_forked())
		return -ECHILD;
	*conn = vly_conn_take(&core->env.conns, type, state, user, tx_budget);
	return *conn ? 0 : -ENOBUFS;
}

/* Hands out the handle of what the nic has opened, or gives the record back. */
static int settle(struct vly_core *core, struct vly_conn_head *conn, int error, vly_conn *handle)
{
	if (!error) {
		vly_core_gauges(core);
		*handle = conn->handle;
		return 0;
	}
	conn->state = VLY_DEAD;
	vly_conn_retire(&core->env.conns, conn);
	return error;
}

int vly_listen(struct vly_core *core, const struct vly_addr *addr,
	       const struct vly_listen_opts *opts, void *user, vly_conn *listener)
{
	struct vly_listen_opts all = opts ? *opts : (struct vly_listen_opts){0};
	struct vly_conn_head *conn;

	if (vly_forked())
		return -ECHILD;
	if (!all.backlog)
		all.backlog = core->config->backlog;
	if (!all.tx_budget)
		all.tx_budget = core->config->tx_budget;
	if (all.tx_budget > 1u << 30)
		return -EINVAL;
	all.reuse_port = all.reuse_port || core->config->cores > 1;
	int error = take_record(core, VLY_LISTENER, VLY_OPENED, user, all.tx_budget, &conn);

	if (error)
		return error;
	return settle(core, conn, core->nic->ops->listen(core->nic, conn, addr, &all), listener);
}

int vly_unlisten(struct vly_core *core, vly_conn listener)
{
	struct vly_conn_head *conn;
	int error = vly_core_find(core, listener, &conn);

	if (error)
		return error;
	if (conn->type != VLY_LISTENER)
		return -EINVAL;
	core->nic->ops->unlisten(core->nic, conn);
	conn->state = VLY_DEAD;
	vly_conn_retire(&core->env.conns, conn);
	vly_core_gauges(core);
	return 0;
}

int vly_connect(struct vly_core *core, const struct vly_addr *to, const struct vly_addr *from,
		void *user, vly_conn *handle)
{
	struct vly_conn_head *conn;

	if (vly_forked())
		return -ECHILD;
	if (from && from->family != to->family)
		return -EAFNOSUPPORT;
	int error =
		take_record(core, VLY_STREAM, VLY_CONNECTING, user, core->config->tx_budget, &conn);

	if (error)
		return error;
	error = core->nic->ops->connect(core->nic, conn, to, from);
	return settle(core, conn, error, handle);
}

int vly_udp_open(struct vly_core *core, const struct vly_addr *addr, void *user, vly_conn *handle)
{
	struct vly_conn_head *conn;

	if (vly_forked())
		return -ECHILD;
	int error = take_record(core, VLY_UDP, VLY_OPENED, user, core->config->tx_budget, &conn);

	if (error)
		return error;
	return settle(core, conn, core->nic->ops->udp_open(core->nic, conn, addr), handle);
}

int vly_watch_fd(struct vly_core *core, int fd, short poll_events, void *user, vly_conn *handle)
{
	struct vly_conn_head *conn;
	int error = take_record(core, VLY_WATCH, VLY_OPENED, user, 0, &conn);

	if (error)
		return error;
	return settle(core, conn, core->nic->ops->watch(core->nic, conn, fd, poll_events), handle);
}

int vly_set_user(struct vly_core *core, vly_conn handle, void *user)
{
	struct vly_conn_head *conn;
	int error = vly_core_find(core, handle, &conn);

	if (!error)
		conn->user = user;
	return error;
}

int vly_name(struct vly_core *core, vly_conn handle, struct vly_addr *local, struct vly_addr *peer)
{
	struct vly_conn_head *conn;
	struct vly_addr spare[2];
	int error = vly_core_find(core, handle, &conn);

	if (error)
		return error;
	return core->nic->ops->name_of(core->nic, conn, local ? local : &spare[0],
				       peer ? peer : &spare[1]);
}
