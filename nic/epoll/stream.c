/* stream.c - stream connections of the epoll nic: connecting, receiving, sending, closing */
#include "nic/epoll/private.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "nic/addr.h"
#include "nic/epoll/calls.h"
#include "nic/socket.h"

#define STREAM_EDGES (EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET)
#define SEND_PIECES 64
/* Unix sockets tell a full backlog by EAGAIN and never say when to come again. */
#define CONNECT_RETRY_NS 1000000u
/* One receive that discards input of a closing connection. */
#define DISCARD_BYTES (1u << 20)

/* --- connecting --- */

/*
 * An address that must be tried again waits in the queue of sends: nothing else can be there before
 * OPEN.
 */
static bool keep_address(struct vly_env *env, struct vly_conn_head *head, const struct vly_addr *to)
{
	struct vly_buf *buf = vly_buf_get(&env->tx_pool);

	if (!buf)
		return false;
	memcpy(vly_buf_append(buf, sizeof(*to)), to, sizeof(*to));
	head->tx_head = head->tx_tail = buf;
	return true;
}

static void drop_address(struct vly_conn_head *head)
{
	if (head->tx_head)
		vly_buf_put(head->tx_head);
	head->tx_head = head->tx_tail = NULL;
}

static void retry_later(struct vly_env *env, struct vly_conn_head *head)
{
	head->alarm.kind = VLY_ALARM_NIC;
	vly_wheel_add(&env->wheel, &head->alarm.node, env->batch.stamp_ns + CONNECT_RETRY_NS);
}

/* Starts connecting the socket: 0 also when it goes on in the background. */
static int start_connect(struct epoll_nic *epoll, struct epoll_conn *conn,
			 const struct vly_addr *to)
{
	struct sockaddr_storage storage;
	socklen_t len = vly_addr_to_sockaddr(to, &storage);

	if (!len)
		return -EINVAL;
	if (connect(conn->fd, (struct sockaddr *)&storage, len) == 0 || errno == EINPROGRESS)
		return epoll_register(epoll, conn, STREAM_EDGES);
	return -errno;
}

int epoll_connect(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *to,
		  const struct vly_addr *from)
{
	struct epoll_nic *epoll = epoll_of(nic);
	struct epoll_conn *conn = conn_of(head);
	int error = 0;

	conn->fd = vly_socket_open(to, SOCK_STREAM, SOCK_NONBLOCK);
	if (conn->fd < 0)
		return conn->fd;
	if (to->family == VLY_UNIX)
		head->flags |= VLY_F_LOCAL;
	if (to->family == VLY_UNIX)
		conn->ready |= READY_PIECES;
	if (from)
		error = vly_socket_bind_from(conn->fd, from);
	if (!error) {
		error = start_connect(epoll, conn, to);
		if (error == -EAGAIN && to->family == VLY_UNIX &&
		    keep_address(nic->env, head, to)) {
			retry_later(nic->env, head);
			return 0;
		}
		/*
		 * The other side's refusal is a completion like any other; only our own mistakes
		 * and limits return at once.
		 */
		if (error && error != -EINVAL && error != -EAFNOSUPPORT && error != -EPROTOTYPE) {
			epoll_let_go(epoll, conn, error);
			return 0;
		}
	}
	if (error)
		close(conn->fd);
	return error;
}

void epoll_connect_again(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	struct vly_addr to;

	memcpy(&to, conn->head.tx_head->data, sizeof(to));
	int error = start_connect(epoll, conn, &to);

	if (error == -EAGAIN) {
		retry_later(epoll->nic.env, &conn->head);
		return;
	}
	drop_address(&conn->head);
	if (error)
		epoll_let_go(epoll, conn, error);
}

/* The first writable edge, or an error: the one OPEN. */
static enum turn connect_done(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	struct vly_env *env = epoll->nic.env;
	int error = 0;
	socklen_t len = sizeof(error);

	if (!(conn->ready & (READY_WRITABLE | READY_ERROR | READY_HANGUP)))
		return TURN_DONE;
	if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len))
		error = errno;
	if (error) {
		epoll_let_go(epoll, conn, -error);
		return TURN_DEAD;
	}
	conn->ready &= ~(uint32_t)(READY_WRITABLE | READY_ERROR);
	conn->head.state = VLY_OPENED;
	vly_count(&env->stats->connected, 1);
	vly_batch_add_conn(&env->batch, &conn->head, VLY_OPEN);
	/*
	 * Input that has come already is of the next batch: OPEN is its connection's last event in
	 * this one.
	 */
	return conn->ready & READY_READABLE ? TURN_MORE : TURN_DONE;
}

/* --- sending --- */

static ssize_t send_pieces(struct epoll_conn *conn, uint32_t *asked)
{
	struct iovec pieces[SEND_PIECES];
	struct msghdr message = {.msg_iov = pieces};
	size_t bytes = 0;

	for (struct vly_buf *buf = conn->head.tx_head; buf && message.msg_iovlen < SEND_PIECES;
	     buf = buf->next) {
		pieces[message.msg_iovlen++] =
			(struct iovec){.iov_base = buf->data, .iov_len = buf->len};
		bytes += buf->len;
	}
	*asked = (uint32_t)bytes;
	return call_sendmsg(conn->fd, &message, MSG_NOSIGNAL);
}

/* Sends what is queued until the socket takes no more. 0, or -errno: the connection is broken. */
static int send_queue(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	struct vly_env *env = epoll->nic.env;
	struct vly_conn_head *head = &conn->head;

	while (head->tx_head && !(conn->ready & READY_STALLED)) {
		uint32_t asked = head->tx_head->len;
		ssize_t sent;

		if (vly_likely(!head->tx_head->next))
			sent = call_send(conn->fd, head->tx_head->data, asked, MSG_NOSIGNAL);
		else
			sent = send_pieces(conn, &asked);
		vly_count(&env->stats->tx_calls, 1);
		if (vly_unlikely(sent < 0)) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				return -errno;
			conn->ready |= READY_STALLED;
			return 0;
		}
		vly_count(&env->stats->tx_bytes, (uint64_t)sent);
		if ((uint32_t)sent < asked)
			conn->ready |= READY_STALLED;
		vly_env_tx_done(env, head, (uint32_t)sent);
	}
	return 0;
}

/* --- closing --- */

/*
 * Everything is sent: FIN, or the descriptor goes if the peer has finished, too. True if it is
 * gone.
 */
static bool finish_sending(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	struct vly_conn_head *head = &conn->head;

	if (head->state == VLY_CLOSING && head->flags & VLY_F_EOF) {
		if (vly_unlikely(__atomic_load_n(epoll->nic.env->forks, __ATOMIC_RELAXED)) &&
		    !(head->flags & VLY_F_FIN_SENT))
			shutdown(conn->fd, SHUT_WR); /* a child may keep the socket open */
		epoll_let_go(epoll, conn, 0);        /* nothing is unread, so this is a FIN, too */
		return true;
	}
	if (!(head->flags & VLY_F_FIN_SENT)) {
		shutdown(conn->fd, SHUT_WR);
		head->flags |= VLY_F_FIN_SENT;
	}
	return false;
}

void epoll_stream_abort(struct epoll_nic *epoll, struct epoll_conn *conn, int status)
{
	struct linger reset = {.l_onoff = 1};

	if (conn->head.state == VLY_CONNECTING)
		drop_address(&conn->head);
	setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	epoll_let_go(epoll, conn, status);
}

void epoll_stream_flush(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	struct vly_conn_head *head = &conn->head;

	if (vly_unlikely(head->state == VLY_CONNECTING))
		return; /* its queue holds an address */
	int error = send_queue(epoll, conn);

	if (vly_unlikely(error)) {
		epoll_let_go(epoll, conn, error);
		return;
	}
	if (vly_unlikely(head->flags & VLY_F_SHUT && !head->tx_head) && finish_sending(epoll, conn))
		return;
	/* Reading was resumed, or what is unread is to be discarded. */
	if (vly_unlikely(conn->ready & READY_READABLE) &&
	    (!(head->flags & VLY_F_PAUSED) || head->state == VLY_CLOSING))
		epoll_queue(epoll, conn);
}

/* --- receiving --- */

/* The connection is broken. Data events of this batch stay; CLOSED follows in the next one. */
static enum turn broken(struct epoll_nic *epoll, struct epoll_conn *conn, int error)
{
	epoll_let_go(epoll, conn, error);
	return TURN_DEAD;
}

static enum turn discard(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	char scratch[4096];
	bool local = conn->head.flags & VLY_F_LOCAL;

	for (int left = 16; conn->ready & READY_READABLE; left--) {
		if (!left)
			return TURN_MORE;
		/* TCP drops without copying, and wants no buffer: one shorter than it is told is EFAULT. */
		ssize_t got = local ? call_recv(conn->fd, scratch, sizeof(scratch), 0)
				    : call_recv(conn->fd, NULL, DISCARD_BYTES, MSG_TRUNC);

		if (got == 0) {
			conn->head.flags |= VLY_F_EOF;
			conn->ready &= ~(uint32_t)READY_READABLE;
		} else if (got < 0 && errno == EAGAIN) {
			conn->ready &= ~(uint32_t)READY_READABLE;
		} else if (got < 0 && errno != EINTR) {
			return broken(epoll, conn, -errno);
		}
	}
	if (!conn->head.tx_head && conn->head.flags & VLY_F_EOF && finish_sending(epoll, conn))
		return TURN_DEAD;
	return TURN_DONE;
}

static void add_data(struct vly_env *env, struct vly_conn_head *head, uint8_t *data, uint32_t len)
{
	struct vly_event *event = vly_batch_add_conn(&env->batch, head, VLY_DATA);

	event->data = data;
	event->len = len;
	event->buf = env->rx.current->index;
	vly_rx_commit(&env->rx, len);
	vly_count(&env->stats->rx_events, 1);
	vly_count(&env->stats->rx_bytes, len);
}

/* Receives this turn's share. */
static enum turn receive(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	struct vly_env *env = epoll->nic.env;
	uint32_t events_left = env->config->burst_max;
	uint32_t bytes_left = env->config->burst_bytes;

	while (conn->ready & READY_READABLE) {
		uint32_t room;

		if (vly_batch_full(&env->batch))
			return TURN_MORE;
		if (!events_left || !bytes_left) {
			vly_count(&env->stats->rx_capped, 1);
			return TURN_MORE;
		}
		uint8_t *span = vly_rx_span(&env->rx, env->config->rx_buf_bytes / 4, &room);

		if (vly_unlikely(!span)) {
			vly_count(&env->stats->rx_starved, 1);
			return TURN_MORE;
		}
		uint32_t asked = VLY_MIN(room, VLY_MIN(bytes_left, env->config->rx_buf_bytes));
		ssize_t got = call_recv(conn->fd, span, asked, 0);

		if (vly_likely(got > 0)) {
			add_data(env, &conn->head, span, (uint32_t)got);
			events_left--;
			bytes_left -= (uint32_t)got;
			if ((uint32_t)got < asked &&
			    !(conn->ready & (READY_HANGUP | READY_ERROR | READY_PIECES)))
				conn->ready &= ~(uint32_t)READY_READABLE;
		} else if (got == 0) {
			conn->ready &= ~(uint32_t)READY_READABLE;
			conn->head.flags |= VLY_F_EOF;
			vly_batch_add_conn(&env->batch, &conn->head, VLY_EOF);
		} else if (errno == EAGAIN) {
			conn->ready &= ~(uint32_t)READY_READABLE;
		} else if (errno != EINTR) {
			return broken(epoll, conn, -errno);
		}
	}
	return TURN_DONE;
}

/* Reading is paused, or the end was read before the reset: no receive will tell the error. */
static enum turn pending_error(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	int error = 0;
	socklen_t len = sizeof(error);

	conn->ready &= ~(uint32_t)READY_ERROR;
	if (getsockopt(conn->fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error)
		return broken(epoll, conn, -error);
	return TURN_DONE;
}

enum turn epoll_stream_turn(struct epoll_nic *epoll, struct epoll_conn *conn)
{
	struct vly_conn_head *head = &conn->head;

	if (vly_unlikely(head->state == VLY_CONNECTING))
		return connect_done(epoll, conn);
	if (conn->ready & READY_WRITABLE) {
		conn->ready &= ~(uint32_t)READY_WRITABLE;
		if (vly_unlikely(conn->ready & READY_STALLED)) {
			conn->ready &= ~(uint32_t)READY_STALLED;
			epoll_stream_flush(epoll, conn);
			if (head->state == VLY_DEAD)
				return TURN_DEAD;
		}
	}
	if (vly_unlikely(head->state == VLY_CLOSING))
		return discard(epoll, conn);
	if (vly_unlikely(head->flags & VLY_F_EOF))
		conn->ready &= ~(
			/* hang-up edges after the end bring nothing more */
			uint32_t)READY_READABLE;
	enum turn turn = head->flags & VLY_F_PAUSED ? TURN_DONE : receive(epoll, conn);

	if (vly_unlikely(turn == TURN_DONE && conn->ready & READY_ERROR))
		return pending_error(epoll, conn);
	return turn;
}
