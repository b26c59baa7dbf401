/* end.c - letting go of a record: everything in flight is cancelled, and only its last completion ends it */
#include <errno.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "nic/uring/private.h"

/* Those that may wait for something outside; the others end by themselves. */
#define WAITING                                                                                    \
	(1u << OP_RECV | 1u << OP_SEND | 1u << OP_SEND_ZC | 1u << OP_CONNECT | 1u << OP_WATCH |    \
	 1u << OP_GUARD | 1u << OP_DGRAM)

/* How long a closing core waits for the kernel to give back its records. */
#define SETTLE_NS 10000000000u

static bool cancel_all(struct uring_nic *uring, struct uring_conn *conn)
{
	for (unsigned ops = conn->ops & WAITING; ops; ops &= ops - 1) {
		unsigned op = (unsigned)__builtin_ctz(ops);

		if (!uring_cancel(uring, user_data_of(conn, op)))
			return false;
	}
	for (unsigned i = 0; i < conn->dgrams; i++) {
		unsigned place = (conn->dgram_first + i) % DGRAMS_IN_FLIGHT;

		if (!uring_cancel(uring, user_data_of(conn, OP_DGRAM_SEND + place)))
			return false;
	}
	return true;
}

/* False: no entry to be had at the moment. */
static bool close_file(struct uring_nic *uring, struct uring_conn *conn)
{
	bool fixed = conn->marks & MARK_FIXED;
	bool closed = conn->head.type == VLY_WATCH;

	if (!closed && conn->marks & MARK_RESET)
		closed = uring_reset_file(uring, conn->file, fixed, conn->head.flags & VLY_F_LOCAL);
	else if (!closed)
		closed = uring_close_file(uring, conn->file, fixed);
	if (closed && fixed)
		uring->fixed_count--;
	return closed;
}

/* The kernel has let go, and the file is closed. */
static void ended(struct uring_nic *uring, struct uring_conn *conn)
{
	uring_list_remove(uring, conn);
	uring->ending_count--;
	uring->no_files = false;
	conn->file = -1;
	conn->head.state = conn->marks & MARK_CONNECTING ? VLY_CONNECTING : VLY_OPENED;
	/* A reset after the peer's FIN is an EPIPE to the kernel; to the application a reset is a reset. */
	vly_env_dead(uring->nic.env, &conn->head,
		     conn->status == -EPIPE ? -ECONNRESET : conn->status);
}

void uring_end_step(struct uring_nic *uring, struct uring_conn *conn)
{
	if (!(conn->marks & MARK_CANCELLING)) {
		if (!cancel_all(uring, conn)) {
			uring_ready(uring, conn);
			return;
		}
		conn->marks |= MARK_CANCELLING;
	}
	if (conn->ops || conn->dgrams)
		return;
	if (conn->notices) {
		/* What the peer does not take stays in the socket and keeps our memory, until a reset drops it. */
		if (conn->marks & MARK_RESET && uring_reset(uring, conn))
			conn->marks &= (uint16_t)~MARK_RESET;
		else if (conn->marks & MARK_RESET)
			uring_ready(uring, conn);
		return;
	}
	if (!close_file(uring, conn)) {
		uring_ready(uring, conn);
		return;
	}
	ended(uring, conn);
}

void uring_let_go(struct uring_nic *uring, struct uring_conn *conn, int status)
{
	struct vly_conn_head *head = &conn->head;
	struct vly_env *env = uring->nic.env;

	if (conn->marks & MARK_ENDING)
		return;
	conn->marks |= MARK_ENDING;
	conn->marks &= (uint16_t) ~(MARK_CANCELLING | MARK_EOF_NEXT | MARK_FAIL_NEXT);
	if (head->state == VLY_CONNECTING)
		conn->marks |= MARK_CONNECTING;
	conn->status = status;
	uring->ending_count++;
	if (head->type == VLY_UDP)
		uring->udp_count--;
	uring_list_remove(uring, conn);
	uring_drop_aside(uring, conn);
	vly_wheel_cancel(&env->wheel, &head->alarm.node);
	vly_env_unstarve(env, head);
	/* To the engine it is dead from now on; its last event follows when the kernel has let go, too. */
	head->state = VLY_DEAD;
	uring_end_step(uring, conn);
}

void uring_abort(struct vly_nic *nic, struct vly_conn_head *head, int status)
{
	struct uring_conn *conn = conn_of(head);

	if (head->type == VLY_STREAM && head->state != VLY_CONNECTING)
		conn->marks |= MARK_RESET;
	uring_let_go(uring_of(nic), conn, status);
}

/*
 * Another thread than the one that opened the ring may not enter it (an event loop that ran on a thread of its own, and is
 * closed when that has ended): nothing can be asked or heard. What was in flight the kernel has ended with that thread, and
 * sockets in the table end with the ring; our buffers, and descriptors, are given back here, those whose closing was
 * not submitted, too.
 */
static void settle_from_outside(struct uring_nic *uring)
{
	const struct vly_conn_table *table = &uring->nic.env->conns;
	struct uring_ring *ring = &uring->ring;

	for (uint32_t slot = 0; slot < table->count; slot++) {
		struct uring_conn *conn = conn_of(vly_conn_at(table, slot));

		if (conn->head.state != VLY_DEAD || !(conn->marks & MARK_ENDING) || conn->file < 0)
			continue;
		if (!(conn->marks & MARK_FIXED) && conn->head.type != VLY_WATCH)
			close(conn->file);
		ended(uring, conn);
	}
	for (uint32_t left = uring_ring_filled(ring); left > 0; left--) {
		const struct io_uring_sqe *sqe =
			&ring->sqes[(ring->sq_tail - left) & ring->sq_mask];

		if (sqe->opcode == IORING_OP_CLOSE && !sqe->file_index)
			close(sqe->fd);
	}
}

void uring_settle(struct vly_nic *nic)
{
	struct uring_nic *uring = uring_of(nic);
	struct uring_wait wait = {.count = 1, .timeout_ns = 10000000};
	uint64_t end_ns = vly_clock_ns() + SETTLE_NS;

	uring->closing = true;
	if (uring->ring.owner != gettid()) {
		settle_from_outside(uring);
		return;
	}
	uring_push(nic);
	while (uring->ending_count && vly_clock_ns() < end_ns) {
		nic->env->batch.count = 0; /* nobody will look at it */
		uring_recycle(uring);
		uring_turns(uring);
		uring_reap(uring);
		uring_ring_seen(&uring->ring);
		if (uring->ending_count)
			uring_enter(uring, &wait);
	}
	uring_push(nic);
	if (uring->ending_count)
		vly_log(VLY_LOG_ERROR, "uring: the kernel keeps %u connections",
			uring->ending_count);
}
