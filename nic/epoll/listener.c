/* listener.c - accepting on the epoll nic */
#include "nic/epoll/private.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "nic/addr.h"

static void path_text(const struct vly_addr *addr, char *path)
{
	for (unsigned i = 0; i < addr->path_len; i++)
		path[i] = addr->path[i];
	path[addr->path_len] = '\0';
}

/* A path that refuses connections is a server's that is gone: it may be replaced. */
static bool path_is_stale(const struct vly_addr *addr)
{
	struct sockaddr_storage storage;
	socklen_t len = vly_addr_to_sockaddr(addr, &storage);
	struct stat status;
	char path[sizeof(addr->path) + 1];

	path_text(addr, path);
	if (lstat(path, &status) || !S_ISSOCK(status.st_mode))
		return false; /* somebody's file */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false;
	bool stale = connect(fd, (struct sockaddr *)&storage, len) && errno == ECONNREFUSED;

	close(fd);
	return stale;
}

static int bind_listener(int fd, const struct vly_addr *addr, bool reuse_port)
{
	char path[sizeof(addr->path) + 1];
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	int error = epoll_bind(fd, addr, reuse_port);

	if (error != -EADDRINUSE || addr->family != VLY_UNIX || !addr->path[0] ||
	    !path_is_stale(addr))
		return error;
	path_text(addr, path);
	unlink(path);
	return epoll_bind(fd, addr, reuse_port);
}

int epoll_listen(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *addr,
		 const struct vly_listen_opts *opts)
{
	struct epoll_conn *conn = conn_of(head);
	int fd = epoll_socket(addr, SOCK_STREAM);

	if (fd < 0)
		return fd;
	conn->fd = fd;
	if (addr->family == VLY_UNIX)
		head->flags |= VLY_F_LOCAL;
	int error = bind_listener(fd, addr, opts->reuse_port);

	if (!error && addr->family == VLY_UNIX && addr->path[0] && opts->unix_mode) {
		char path[sizeof(addr->path) + 1];

		path_text(addr, path);
		error = chmod(path, (mode_t)opts->unix_mode) ? -errno : 0;
	}
	if (!error)
		error = listen(fd, opts->backlog) ? -errno : 0;
	if (!error)
		error = epoll_register(epoll_of(nic), conn, EPOLLIN | EPOLLET);
	if (error)
		close(fd);
	return error;
}

void epoll_unlisten(struct vly_nic *nic, struct vly_conn_head *head)
{
	struct epoll_conn *conn = conn_of(head);
	struct vly_addr local, peer;

	vly_wheel_cancel(&nic->env->wheel, &head->alarm.node);
	epoll_name_of(nic, head, &local, &peer);
	if (local.family == VLY_UNIX && local.path_len && local.path[0]) {
		char path[sizeof(local.path) + 1];

		path_text(&local, path);
		unlink(path);
	}
	epoll_unqueue(epoll_of(nic), conn);
	close(conn->fd);
	conn->fd = -1;
}

/* Out of descriptors: one of ours that closes, or the alarm, tries again. */
static enum turn blocked(struct epoll_nic *epoll, struct epoll_conn *conn, uint64_t *counter,
			 bool no_files)
{
	struct vly_env *env = epoll->nic.env;

	vly_count(counter, 1);
	conn->ready |= READY_BLOCKED;
	epoll->no_files = no_files;
	if (no_files && !vly_wheel_armed(&conn->head.alarm.node)) {
		conn->head.alarm.kind = VLY_ALARM_NIC;
		vly_wheel_add(&env->wheel, &conn->head.alarm.node,
			      env->batch.stamp_ns + ACCEPT_RETRY_NS);
	}
	return TURN_MORE;
}

static bool add_accepted(struct epoll_nic *epoll, struct epoll_conn *listener, int fd)
{
	struct vly_env *env = epoll->nic.env;
	struct vly_conn_head *head = vly_conn_take(&env->conns, VLY_STREAM, VLY_OPENED,
						   listener->head.user, listener->head.tx_budget);
	struct epoll_conn *conn = conn_of(head);

	head->flags |= listener->head.flags & VLY_F_LOCAL;
	conn->fd = fd;
	if (head->flags & VLY_F_LOCAL)
		conn->ready |= READY_PIECES;
	if (epoll_register(epoll, conn, EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET)) {
		close(fd);
		head->state = VLY_DEAD;
		vly_conn_retire(&env->conns, head);
		return false;
	}
	vly_count(&env->stats->accepted, 1);
	vly_batch_add_conn(&env->batch, &env->conns, head, VLY_OPEN)->flags = VLY_ACCEPTED;
	return true;
}

enum turn epoll_listener_turn(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	struct vly_env *env = epoll->nic.env;

	for (int left = ACCEPT_BURST; conn->ready & READY_READABLE; left--) {
		if (!left || vly_batch_full(&env->batch))
			return TURN_MORE;
		if (!env->conns.slab.free_count)
			return blocked(epoll, conn, &env->stats->accept_full, false);
		int fd = accept4(conn->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			if (!add_accepted(epoll, conn, fd))
				return blocked(epoll, conn, &env->stats->accept_nofile, true);
			continue;
		}
		switch (errno) {
		case EAGAIN:
			conn->ready &= ~(uint32_t)READY_READABLE;
			break;
		case EMFILE:
		case ENFILE:
		case ENOBUFS:
		case ENOMEM:
			return blocked(epoll, conn, &env->stats->accept_nofile, true);
		default:
			break; /* the client has gone before it was accepted: the next one */
		}
	}
	return TURN_DONE;
}
