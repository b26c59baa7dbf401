/* udp.c - datagrams on the uring nic */
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "nic/addr.h"
#include "nic/socket.h"
#include "nic/uring/private.h"

int uring_udp_open(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *addr)
{
	struct uring_nic *uring = uring_of(nic);
	struct uring_conn *conn = conn_of(head);

	conn->file = addr->family == VLY_UNIX ? -EAFNOSUPPORT
					      : vly_socket_open(addr, SOCK_DGRAM, 0);
	if (conn->file < 0)
		return conn->file;
	int error = vly_socket_bind(conn->file, addr, nic->env->config->cores > 1);

	if (error) {
		close(conn->file);
		return error;
	}
	if (!uring->udp_count++)
		uring_group_refill(&uring->dgrams, 0, false);
	uring_udp_step(uring, conn);
	return 0;
}

/* --- sending ------------------------------------------------------------------------------------------------------------------ */

/* The first datagram of the queue that is not in flight. */
static struct vly_buf *next_dgram(const struct uring_conn *conn)
{
	struct vly_buf *buf = conn->head.tx_head;

	for (uint32_t i = 0; i < conn->dgrams; i++) {
		for (uint32_t left = buf->mark; left > 0; left--)
			buf = buf->next;
	}
	return buf;
}

static bool send_dgram(struct uring_nic *uring, struct uring_conn *conn, struct vly_buf *buf)
{
	uint32_t pieces = buf->mark;
	unsigned place = (conn->dgram_first + conn->dgrams) % DGRAMS_IN_FLIGHT;
	struct vly_addr addr;
	struct msghdr *message =
		uring_scratch(uring, (uint32_t)(sizeof(*message) + sizeof(struct sockaddr_storage) +
						pieces * sizeof(struct iovec)));

	if (!message)
		return false;
	struct sockaddr_storage *to = (struct sockaddr_storage *)(void *)(message + 1);
	struct iovec *iov = (struct iovec *)(void *)(to + 1);
	struct io_uring_sqe *sqe =
		uring_conn_sqe(uring, conn, IORING_OP_SENDMSG, OP_DGRAM_SEND + place);

	if (!sqe)
		return false;
	memcpy(&addr, buf->data, sizeof(addr));
	*message = (struct msghdr){.msg_name = to,
				   .msg_namelen = vly_addr_to_sockaddr(&addr, to),
				   .msg_iov = iov,
				   .msg_iovlen = pieces};
	for (uint32_t i = 0; i < pieces; i++, buf = buf->next)
		iov[i] = (struct iovec){.iov_base = buf->data, .iov_len = buf->len};
	iov[0].iov_base = (uint8_t *)iov[0].iov_base + sizeof(addr);
	iov[0].iov_len -= sizeof(addr);
	sqe->addr = (uint64_t)(uintptr_t)message;
	sqe->len = 1;
	sqe->msg_flags = MSG_NOSIGNAL;
	conn->dgrams++;
	vly_count(&uring->nic.env->stats->tx_calls, 1);
	return true;
}

/* They may overtake each other, but the queue is given back in its order. */
void uring_dgram_sent(struct uring_nic *uring, struct uring_conn *conn, unsigned place, int result)
{
	struct vly_env *env = uring->nic.env;

	/* Unreachable, too long, forbidden: datagrams may be lost, and this one is. */
	vly_count(result < 0 ? &env->stats->dgrams_dropped : &env->stats->dgrams_tx, 1);
	if (result > 0)
		vly_count(&env->stats->tx_bytes, (uint64_t)result);
	conn->dgrams_done |= 1u << place;
	while (conn->dgrams_done & 1u << conn->dgram_first) {
		conn->dgrams_done &= ~(1u << conn->dgram_first);
		conn->dgram_first = (conn->dgram_first + 1) % DGRAMS_IN_FLIGHT;
		conn->dgrams--;
		vly_env_dgram_done(env, &conn->head);
	}
	uring_udp_step(uring, conn);
}

/* --- receiving ---------------------------------------------------------------------------------------------------------------- */

static void arm(struct uring_nic *uring, struct uring_conn *conn)
{
	struct io_uring_sqe *sqe =
		uring->dgrams.free_entries
			? uring_conn_sqe(uring, conn, IORING_OP_RECVMSG, OP_DGRAM)
			: NULL;

	if (!sqe) {
		uring_ready(uring, conn); /* the batch that shows the buffers gives them back */
		return;
	}
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = uring->dgrams.id;
	sqe->ioprio = IORING_RECV_MULTISHOT;
	sqe->addr = (uint64_t)(uintptr_t)&uring->dgram_shape;
	sqe->len = 1;
	conn->ops |= 1u << OP_DGRAM;
}

static void recv_step(struct uring_nic *uring, struct uring_conn *conn)
{
	bool paused = conn->head.flags & VLY_F_PAUSED;

	if (conn->ops & 1u << OP_DGRAM) {
		if ((!paused && !uring_has_aside(conn)) || conn->marks & MARK_CANCELLING)
			return;
		if (uring_cancel(uring, user_data_of(conn, OP_DGRAM)))
			conn->marks |= MARK_CANCELLING;
		else
			uring_ready(uring, conn);
	} else if (uring_has_aside(conn)) {
		if (!paused)
			uring_ready(uring, conn);
	} else if (!paused) {
		arm(uring, conn);
	}
}

void uring_udp_step(struct uring_nic *uring, struct uring_conn *conn)
{
	if (conn->marks & MARK_ENDING) {
		uring_end_step(uring, conn);
		return;
	}
	for (struct vly_buf *buf; conn->dgrams < DGRAMS_IN_FLIGHT && (buf = next_dgram(conn));) {
		if (!send_dgram(uring, conn, buf)) {
			uring_ready(uring, conn);
			break;
		}
	}
	if (conn->head.state == VLY_CLOSING) {
		if (!conn->head.tx_head)
			uring_let_go(uring, conn, 0);
		return;
	}
	recv_step(uring, conn);
}

/* The kernel's layout: a header, the sender's name, the datagram. Ours: vly_addr, the datagram. */
static void bring(struct uring_nic *uring, struct uring_conn *conn, struct uring_span *span)
{
	struct vly_env *env = uring->nic.env;
	struct io_uring_recvmsg_out out;
	struct sockaddr_storage name = {0};
	struct vly_addr from;

	memcpy(&out, span->data, sizeof(out));
	memcpy(&name, span->data + sizeof(out), DGRAM_NAME_BYTES);
	vly_addr_from_sockaddr(&name, VLY_MIN(out.namelen, DGRAM_NAME_BYTES), &from);
	span->data += DGRAM_HEAD_BYTES;
	span->len -= DGRAM_HEAD_BYTES;
	memcpy(span->data - sizeof(from), &from, sizeof(from));
	vly_count(&env->stats->dgrams_rx, 1);
	if (out.flags & MSG_TRUNC || span->len > env->config->dgram_max) {
		span->len = VLY_MIN(span->len, env->config->dgram_max);
		span->flags |= VLY_TRUNCATED;
		vly_count(&env->stats->dgrams_truncated, 1);
	}
	uring_bring_dgram(uring, conn, span);
}

void uring_dgram_received(struct uring_nic *uring, struct uring_conn *conn,
			  const struct io_uring_cqe *cqe)
{
	if (cqe->flags & IORING_CQE_F_BUFFER) {
		struct uring_span span;
		bool wanted = !(conn->marks & MARK_ENDING) && conn->head.state == VLY_OPENED;

		uring_group_take(&uring->dgrams, cqe, cqe->res > 0 ? (uint32_t)cqe->res : 0, &span);
		span.token |= TOKEN_DGRAM;
		if (wanted && span.len >= DGRAM_HEAD_BYTES)
			bring(uring, conn, &span);
		else
			uring_give(uring, span.token);
	}
	if (!(cqe->flags & IORING_CQE_F_MORE)) {
		conn->ops &= (uint16_t) ~(1u << OP_DGRAM);
		conn->marks &= (uint16_t) ~(conn->marks & MARK_ENDING ? 0 : MARK_CANCELLING);
		if (cqe->res == -ENOBUFS)
			vly_count(&uring->nic.env->stats->rx_starved, 1);
	}
	if (!(conn->ops & 1u << OP_DGRAM) || uring_has_aside(conn))
		uring_udp_step(uring, conn);
}
