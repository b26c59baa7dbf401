/* udp.c - datagrams on the epoll nic */
#include "nic/epoll/private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nic/addr.h"
#include "nic/epoll/calls.h"
#include "nic/socket.h"

int epoll_udp_open(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *addr)
{
	struct epoll_conn *conn = conn_of(head);

	conn->fd = addr->family == VLY_UNIX ? -EAFNOSUPPORT
					    : vly_socket_open(addr, SOCK_DGRAM, SOCK_NONBLOCK);
	if (conn->fd < 0)
		return conn->fd;
	int error = vly_socket_bind(conn->fd, addr, nic->env->config->cores > 1);

	if (!error)
		error = epoll_register(epoll_of(nic), conn, EPOLLIN | EPOLLOUT | EPOLLET);
	if (error)
		close(conn->fd);
	return error;
}

static ssize_t send_first(struct epoll_conn *conn)
{
	struct vly_buf *buf = conn->head.tx_head;
	struct iovec pieces[VLY_DGRAM_PIECES_MAX];
	struct sockaddr_storage to;
	struct vly_addr addr;
	struct msghdr message = {.msg_name = &to, .msg_iov = pieces};

	memcpy(&addr, buf->data, sizeof(addr));
	message.msg_namelen = vly_addr_to_sockaddr(&addr, &to);
	for (uint32_t i = 0; i < conn->head.tx_head->mark; i++, buf = buf->next)
		pieces[message.msg_iovlen++] =
			(struct iovec){.iov_base = buf->data, .iov_len = buf->len};
	pieces[0].iov_base = (uint8_t *)pieces[0].iov_base + sizeof(addr);
	pieces[0].iov_len -= sizeof(addr);
	return call_sendmsg(conn->fd, &message, MSG_NOSIGNAL);
}

void epoll_udp_flush(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	struct vly_env *env = epoll->nic.env;
	struct vly_conn_head *head = &conn->head;

	while (head->tx_head && !(conn->ready & READY_STALLED)) {
		ssize_t sent = send_first(conn);

		vly_count(&env->stats->tx_calls, 1);
		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN) {
			conn->ready |= READY_STALLED;
			break;
		}
		/* Unreachable, too long, forbidden: datagrams may be lost, and this one is. */
		vly_count(sent < 0 ? &env->stats->dgrams_dropped : &env->stats->dgrams_tx, 1);
		if (sent > 0)
			vly_count(&env->stats->tx_bytes, (uint64_t)sent);
		vly_env_dgram_done(env, head);
	}
	if (head->state == VLY_CLOSING && !head->tx_head)
		epoll_let_go(epoll, conn, 0);
	else if (conn->ready & READY_READABLE && !(head->flags & VLY_F_PAUSED))
		epoll_queue(epoll, conn);
}

static void add_dgram(struct vly_env *env, struct vly_conn_head *head, uint8_t *data, uint32_t len,
		      const struct msghdr *message)
{
	struct vly_addr from;
	struct vly_event *event = vly_batch_add_conn(&env->batch, head, VLY_DGRAM);

	vly_addr_from_sockaddr(message->msg_name, message->msg_namelen, &from);
	memcpy(data - sizeof(from), &from, sizeof(from));
	event->data = data;
	event->len = len;
	event->buf = env->rx.current->index;
	vly_rx_commit(&env->rx, VLY_RX_HEAD_BYTES + len);
	vly_count(&env->stats->dgrams_rx, 1);
	vly_count(&env->stats->rx_events, 1);
	vly_count(&env->stats->rx_bytes, len);
	if (message->msg_flags & MSG_TRUNC) {
		event->flags |= VLY_TRUNCATED;
		vly_count(&env->stats->dgrams_truncated, 1);
	}
}

static enum turn receive(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	struct vly_env *env = epoll->nic.env;
	uint32_t events_left = env->config->burst_max;

	while (conn->ready & READY_READABLE) {
		uint32_t room;

		if (vly_batch_full(&env->batch))
			return TURN_MORE;
		if (!events_left--) {
			vly_count(&env->stats->rx_capped, 1);
			return TURN_MORE;
		}
		uint8_t *span =
			vly_rx_span(&env->rx, VLY_RX_HEAD_BYTES + env->config->dgram_max, &room);

		if (!span) {
			vly_count(&env->stats->rx_starved, 1);
			return TURN_MORE;
		}
		struct sockaddr_storage from;
		struct iovec piece = {.iov_base = span + VLY_RX_HEAD_BYTES,
				      .iov_len = env->config->dgram_max};
		struct msghdr message = {.msg_name = &from,
					 .msg_namelen = sizeof(from),
					 .msg_iov = &piece,
					 .msg_iovlen = 1};
		ssize_t got = call_recvmsg(conn->fd, &message, 0);

		if (got >= 0)
			add_dgram(env, &conn->head, piece.iov_base, (uint32_t)got, &message);
		else if (errno == EAGAIN)
			conn->ready &= ~(uint32_t)READY_READABLE;
	}
	return TURN_DONE;
}

enum turn epoll_udp_turn(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	if (conn->ready & READY_WRITABLE) {
		conn->ready &= ~(uint32_t)(READY_WRITABLE | READY_STALLED);
		epoll_udp_flush(epoll, conn);
		if (conn->head.state == VLY_DEAD)
			return TURN_DEAD;
	}
	conn->ready &= ~(uint32_t)READY_ERROR;
	if (conn->head.flags & VLY_F_PAUSED || conn->head.state != VLY_OPENED)
		return TURN_DONE;
	return receive(epoll, conn);
}
