/* listener.c - accepting on the epoll nic */
#include "nic/epoll/private.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nic/socket.h"

int epoll_listen(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *addr,
		 const struct vly_listen_opts *opts)
{
	struct epoll_conn *conn = conn_of(head);
	int fd = vly_socket_listen(addr, opts, SOCK_NONBLOCK);

	if (fd < 0)
		return fd;
	conn->fd = fd;
	if (addr->family == VLY_UNIX)
		head->flags |= VLY_F_LOCAL;
	int error = epoll_register(epoll_of(nic), conn, EPOLLIN | EPOLLET);

	if (error) {
		vly_socket_unlink(fd);
		close(fd);
	}
	return error;
}

void epoll_unlisten(struct vly_nic *nic, struct vly_conn_head *head)
{
	struct epoll_conn *conn = conn_of(head);

	vly_wheel_cancel(&nic->env->wheel, &head->alarm.node);
	vly_socket_unlink(conn->fd);
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
	vly_batch_add_conn(&env->batch, head, VLY_OPEN)->flags = VLY_ACCEPTED;
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
