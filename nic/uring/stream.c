/* stream.c - stream connections: opening, and whatever their state asks for next */
#include <errno.h>
#include <unistd.h>

#include "nic/addr.h"
#include "nic/socket.h"
#include "nic/uring/private.h"

int uring_connect(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *to,
		  const struct vly_addr *from)
{
	struct uring_nic *uring = uring_of(nic);
	struct uring_conn *conn = conn_of(head);
	int error = 0;

	/* Blocking: the ring never waits in a call, and on others it would not wait at all. */
	conn->file = vly_socket_open(to, SOCK_STREAM, 0);
	if (conn->file < 0)
		return conn->file;
	if (to->family == VLY_UNIX)
		head->flags |= VLY_F_LOCAL;
	if (from)
		error = vly_socket_bind_from(conn->file, from);
	struct sockaddr_storage *name = error ? NULL : uring_scratch(uring, sizeof(*name));
	struct io_uring_sqe *sqe = name ? uring_conn_sqe(uring, conn, IORING_OP_CONNECT, OP_CONNECT)
					: NULL;

	if (!sqe) {
		close(conn->file);
		return error ? error : -EAGAIN;
	}
	sqe->off = vly_addr_to_sockaddr(to, name);
	sqe->addr = (uint64_t)(uintptr_t)name;
	conn->ops |= 1u << OP_CONNECT;
	return 0;
}

/*
 * A socket that we connected moves into the ring's table, as accepted ones begin there: no look-up of a descriptor
 * per send. It takes no place from those: the table holds all connections, or it stays what it is.
 */
static void move_in(struct uring_nic *uring, struct uring_conn *conn)
{
	struct io_uring_sqe *sqe;

	if (!uring->direct || uring->fixed_max < uring->nic.env->config->conns_max)
		return;
	sqe = uring_conn_sqe(uring, conn, IORING_OP_FILES_UPDATE, OP_INSTALL);
	if (!sqe)
		return;
	conn->place = conn->file;
	sqe->addr = (uint64_t)(uintptr_t)&conn->place;
	sqe->len = 1;
	sqe->off = IORING_FILE_INDEX_ALLOC;
	conn->ops |= 1u << OP_INSTALL;
	uring->fixed_count++;
}

static void move_out(struct uring_nic *uring, const struct uring_conn *conn)
{
	int32_t none = -1;
	struct io_uring_files_update update = {.offset = (uint32_t)conn->place,
					       .fds = (uint64_t)(uintptr_t)&none};

	(void)io_uring_register((unsigned)uring->ring.fd, IORING_REGISTER_FILES_UPDATE, &update, 1);
}

void uring_moved_in(struct uring_nic *uring, struct uring_conn *conn, int result)
{
	bool moved = result == 1;

	conn->ops &= (uint16_t) ~(1u << OP_INSTALL);
	/* By an entry: those before it may still name the descriptor. */
	if (moved && !uring_close_file(uring, conn->file, false)) {
		move_out(uring, conn);
		moved = false;
	}
	if (moved) {
		conn->file = conn->place;
		conn->marks |= MARK_FIXED | MARK_MOVED;
	} else {
		uring->fixed_count--;
	}
	if (conn->marks & MARK_ENDING)
		uring_end_step(uring, conn);
}

void uring_connected(struct uring_nic *uring, struct uring_conn *conn, int result)
{
	struct vly_env *env = uring->nic.env;

	conn->ops &= (uint16_t) ~(1u << OP_CONNECT);
	if (conn->marks & MARK_ENDING) {
		uring_end_step(uring, conn);
		return;
	}
	if (result < 0) {
		uring_let_go(uring, conn, result);
		return;
	}
	conn->head.state = VLY_OPENED;
	vly_count(&env->stats->connected, 1);
	vly_batch_add_conn(&env->batch, &conn->head, VLY_OPEN);
	/* Input goes into the next batch: OPEN is its connection's last event in this one. */
	conn->share_seq = env->batch.seq;
	uring_recv_step(uring, conn);
	move_in(uring, conn);
}

void uring_stream_step(struct uring_nic *uring, struct uring_conn *conn)
{
	if (vly_unlikely(conn->marks & MARK_ENDING)) {
		uring_end_step(uring, conn);
		return;
	}
	if (vly_unlikely(conn->head.state == VLY_CONNECTING))
		return;
	if (uring_send_step(uring, conn))
		uring_recv_step(uring, conn);
}

void uring_stream_turn(struct uring_nic *uring, struct uring_conn *conn)
{
	bool quiet = conn->marks & MARK_QUIET;

	if (conn->head.state == VLY_OPENED && !(conn->head.flags & VLY_F_PAUSED))
		uring_show_aside(uring, conn);
	uring_stream_step(uring, conn);
	if (quiet && !(conn->marks & MARK_ENDING))
		uring_guard(uring, conn);
}
