/* send.c - sending on streams: one send in flight, all that is queued behind it in the next */
#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#include "nic/uring/private.h"

#define SEND_PIECES 64u
#define SENDING (1u << OP_QUIET | 1u << OP_SEND | 1u << OP_SEND_ZC)

/* The part of the queue that is to be sent: from `skip` bytes on, so many pieces. */
struct part {
	struct iovec *pieces;
	uint32_t count;
	uint32_t bytes;
};

static void gather(const struct uring_conn *conn, struct part *part)
{
	uint32_t skip = conn->kept;

	for (struct vly_buf *buf = conn->head.tx_head; buf && part->count < SEND_PIECES;
	     buf = buf->next) {
		if (skip >= buf->len) {
			skip -= buf->len;
			continue;
		}
		part->pieces[part->count++] =
			(struct iovec){.iov_base = buf->data + skip, .iov_len = buf->len - skip};
		part->bytes += buf->len - skip;
		skip = 0;
	}
}

/* Describes several pieces to the kernel, in memory that lives until they are submitted. */
static bool fill_pieces(struct uring_nic *uring, const struct uring_conn *conn, struct part *part,
			struct msghdr **message)
{
	uint32_t pieces = 0;

	for (struct vly_buf *buf = conn->head.tx_head; buf && pieces < SEND_PIECES; buf = buf->next)
		pieces++;
	*message =
		uring_scratch(uring, (uint32_t)(sizeof(**message) + pieces * sizeof(struct iovec)));
	if (!*message)
		return false;
	part->pieces = (struct iovec *)(void *)(*message + 1);
	gather(conn, part);
	**message = (struct msghdr){.msg_iov = part->pieces, .msg_iovlen = part->count};
	return true;
}

/*
 * A quiet send is known to be done when the next enter returns, and that may sleep for ever. So only
 * one whose end nobody waits for may be quiet: a copy, all that is queued, of a connection that is
 * neither refused sends nor half-closed, while no pool is short.
 */
static bool may_be_quiet(const struct uring_nic *uring, const struct uring_conn *conn)
{
	const struct vly_env *env = uring->nic.env;
	const struct vly_buf *first = conn->head.tx_head;

	return uring->quiet_sends && !first->next && !conn->kept && first->cap > 0 &&
	       !(conn->head.flags & (VLY_F_TX_BLOCKED | VLY_F_SHUT)) &&
	       env->starved[VLY_TX_COPIES].head == VLY_NO_SLOT &&
	       env->starved[VLY_TX_REFS].head == VLY_NO_SLOT;
}

/* Copies are small pieces in the caches: what pinning each costs is more than another copy. */
static bool is_borrowed(const struct uring_conn *conn)
{
	const struct vly_buf *buf = conn->head.tx_head;
	uint32_t skip = conn->kept;

	for (; buf && skip >= buf->len; buf = buf->next)
		skip -= buf->len;
	return buf && buf->cap == 0;
}

static unsigned op_for(const struct uring_nic *uring, const struct uring_conn *conn, bool may_wait)
{
	if (unsent(conn) >= uring->zc_floor && !(conn->marks & MARK_COPIED) &&
	    !(conn->head.flags & VLY_F_LOCAL) && is_borrowed(conn))
		return OP_SEND_ZC;
	return !may_wait && may_be_quiet(uring, conn) ? OP_QUIET : OP_SEND;
}

/* `may_wait`: the socket was full a moment ago; the kernel goes on when it is not. */
static bool send_queue(struct uring_nic *uring, struct uring_conn *conn, bool may_wait)
{
	struct vly_buf *first = conn->head.tx_head;
	unsigned op = op_for(uring, conn, may_wait);
	struct part part = {.count = 0};
	struct msghdr *message = NULL;

	if ((first->next || conn->kept) && !fill_pieces(uring, conn, &part, &message))
		return false;
	struct io_uring_sqe *sqe = uring_conn_sqe(uring, conn, IORING_OP_SEND, op);

	if (!sqe)
		return false;
	sqe->msg_flags = MSG_NOSIGNAL | MSG_WAITALL;
	if (message) {
		sqe->opcode = op == OP_SEND_ZC ? IORING_OP_SENDMSG_ZC : IORING_OP_SENDMSG;
		sqe->addr = (uint64_t)(uintptr_t)message;
		sqe->len = 1;
		conn->sending = part.bytes;
	} else {
		sqe->opcode = op == OP_SEND_ZC ? IORING_OP_SEND_ZC : IORING_OP_SEND;
		sqe->addr = (uint64_t)(uintptr_t)first->data;
		sqe->len = first->len;
		conn->sending = first->len;
	}
	if (op == OP_SEND_ZC)
		sqe->ioprio = IORING_SEND_ZC_REPORT_USAGE;
	if (op == OP_QUIET) {
		sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
		sqe->msg_flags |= MSG_DONTWAIT;
		if (uring->quiet_count++)
			conn_at(uring, uring->quiet_tail)->quiet_next = vly_conn_index(&conn->head);
		else
			uring->quiet_head = vly_conn_index(&conn->head);
		uring->quiet_tail = vly_conn_index(&conn->head);
	}
	conn->ops |= (uint16_t)(1u << op);
	vly_count(&uring->nic.env->stats->tx_calls, 1);
	return true;
}

/* --- what comes behind the last byte ------------------------------------------------------------------------------------------ */

/* A direct socket is half-closed by way of a descriptor; the ring's own operation would be carried to another thread. */
static bool send_fin(struct uring_nic *uring, struct uring_conn *conn)
{
	if (conn->marks & MARK_FIXED) {
		struct io_uring_sqe *sqe =
			uring_conn_sqe(uring, conn, VLY_IORING_OP_FIXED_FD_INSTALL, OP_INSTALL);

		if (!sqe)
			return false;
		conn->ops |= 1u << OP_INSTALL;
	} else {
		shutdown(conn->file, SHUT_WR);
	}
	conn->head.flags |= VLY_F_FIN_SENT;
	return true;
}

void uring_installed(struct uring_nic *uring, struct uring_conn *conn, int result)
{
	if (!(conn->marks & MARK_FIXED)) {
		uring_moved_in(uring, conn, result);
		return;
	}
	conn->ops &= (uint16_t) ~(1u << OP_INSTALL);
	if (result >= 0) {
		shutdown(result, SHUT_WR);
		close(result);
	} else {
		/* No descriptor to be had: the slow way needs none. */
		struct io_uring_sqe *sqe = uring_conn_sqe(uring, conn, IORING_OP_SHUTDOWN, OP_NONE);

		if (sqe)
			sqe->len = SHUT_WR;
		else
			conn->head.flags &= (uint16_t)~VLY_F_FIN_SENT;
	}
	if (conn->marks & MARK_ENDING)
		uring_end_step(uring, conn);
	else
		uring_stream_step(uring, conn);
}

/* All is sent. */
static bool finish_sending(struct uring_nic *uring, struct uring_conn *conn)
{
	struct vly_conn_head *head = &conn->head;

	/* Memory that is still read keeps the record: until then the close's own time limit holds. */
	if (head->state == VLY_CLOSING && head->flags & VLY_F_EOF && !conn->notices) {
		bool never_a_descriptor = (conn->marks & (MARK_FIXED | MARK_MOVED)) == MARK_FIXED;

		/* a child may keep the socket open */
		if (vly_unlikely(__atomic_load_n(uring->nic.env->forks, __ATOMIC_RELAXED)) &&
		    !never_a_descriptor && !(head->flags & VLY_F_FIN_SENT) &&
		    !send_fin(uring, conn)) {
			uring_ready(uring, conn);
			return false;
		}
		uring_let_go(uring, conn, 0); /* nothing is unread, so this is a FIN, too */
		return false;
	}
	if (!(head->flags & VLY_F_FIN_SENT) && !send_fin(uring, conn)) {
		uring_ready(uring, conn);
		return false;
	}
	return true;
}

bool uring_send_step(struct uring_nic *uring, struct uring_conn *conn)
{
	if (conn->ops & SENDING)
		return true;
	if (unsent(conn)) {
		if (vly_likely(send_queue(uring, conn, false)))
			return true;
		uring_ready(uring, conn);
		return false;
	}
	return vly_likely(!(conn->head.flags & VLY_F_SHUT)) || finish_sending(uring, conn);
}

/* --- answers ------------------------------------------------------------------------------------------------------------------ */

static void give_back(struct uring_nic *uring, struct uring_conn *conn, uint32_t bytes)
{
	struct vly_env *env = uring->nic.env;

	vly_count(&env->stats->tx_bytes, bytes);
	vly_env_tx_done(env, &conn->head, bytes);
}

/* The queue is given back from its front: what is behind memory that the kernel still reads waits for it. */
static void sent_bytes(struct uring_nic *uring, struct uring_conn *conn, uint32_t bytes)
{
	if (vly_unlikely(conn->notices))
		conn->kept += bytes;
	else
		give_back(uring, conn, bytes);
}

static void go_on(struct uring_nic *uring, struct uring_conn *conn)
{
	if (vly_unlikely(conn->marks & MARK_ENDING))
		uring_end_step(uring, conn);
	else if (conn->head.tx_head || conn->head.flags & VLY_F_SHUT)
		uring_send_step(uring, conn);
}

void uring_quiet_done(struct uring_nic *uring, struct uring_conn *conn)
{
	if (vly_unlikely(!(conn->ops & 1u << OP_QUIET)))
		return; /* it has answered */
	conn->ops &= (uint16_t) ~(1u << OP_QUIET);
	sent_bytes(uring, conn, conn->sending);
	go_on(uring, conn);
}

void uring_quiet_failed(struct uring_nic *uring, struct uring_conn *conn, int result)
{
	conn->ops &= (uint16_t) ~(1u << OP_QUIET);
	if (result > 0)
		sent_bytes(uring, conn, (uint32_t)result);
	if (conn->marks & MARK_ENDING) {
		uring_end_step(uring, conn);
		return;
	}
	if (result < 0 && result != -EAGAIN && result != -EINTR) {
		uring_let_go(uring, conn, result);
		return;
	}
	if (!unsent(conn) || !send_queue(uring, conn, true))
		uring_ready(uring, conn);
}

static void memory_free(struct uring_nic *uring, struct uring_conn *conn, int result)
{
	if ((uint32_t)result & IORING_NOTIF_USAGE_ZC_COPIED)
		conn->marks |= MARK_COPIED;
	if (--conn->notices > 0)
		return;
	uint32_t kept = conn->kept;

	conn->kept = 0;
	give_back(uring, conn, kept);
	go_on(uring, conn);
}

void uring_sent(struct uring_nic *uring, struct uring_conn *conn, const struct io_uring_cqe *cqe)
{
	int result = cqe->res;

	if (cqe->flags & IORING_CQE_F_NOTIF) {
		memory_free(uring, conn, result);
		return;
	}
	conn->ops &= (uint16_t) ~(1u << op_of(cqe->user_data));
	if (cqe->flags & IORING_CQE_F_MORE)
		conn->notices++;
	if (result > 0)
		sent_bytes(uring, conn, (uint32_t)result);
	if (conn->marks & MARK_ENDING) {
		uring_end_step(uring, conn);
		return;
	}
	if (result == -EOPNOTSUPP && op_of(cqe->user_data) == OP_SEND_ZC)
		conn->marks |= MARK_COPIED;
	else if (result < 0 && result != -EAGAIN && result != -EINTR) {
		uring_let_go(uring, conn, result);
		return;
	}
	go_on(uring, conn);
}
