/* reap.c - from completions to events */
#include <errno.h>

#include "nic/uring/private.h"

static struct uring_conn *conn_of_cqe(const struct uring_nic *uring, const struct io_uring_cqe *cqe)
{
	return conn_at(uring, vly_conn_slot(cqe->user_data));
}

/* Answers that make no event do not wait until the batch has room for one. They are not looked at again. */
static void look_at(struct uring_nic *uring, struct io_uring_cqe *cqe)
{
	struct io_uring_cqe copy = *cqe;
	unsigned op = op_of(copy.user_data);

	if (vly_likely(op == OP_RECV)) {
		vly_prefetch_write(&conn_of_cqe(uring, cqe)->file);
		return;
	}
	if (op < OP_SEND || op > OP_RING)
		return;
	cqe->user_data = OP_NONE;
	if (op == OP_RING) {
		uring_bell_failed(copy.user_data);
		return;
	}
	struct uring_conn *conn = conn_of_cqe(uring, &copy);

	switch (op) {
	case OP_QUIET:
		uring_quiet_failed(uring, conn, copy.res);
		break;
	case OP_INSTALL:
		uring_installed(uring, conn, copy.res);
		break;
	case OP_NAME:
		uring->named_fd = copy.res;
		break;
	default:
		uring_sent(uring, conn, &copy);
		break;
	}
}

void uring_settle_sends(struct uring_nic *uring)
{
	/* In this order: every answer to those taken lies below the tail. */
	uint32_t taken = uring->quiet_taken;
	uint32_t tail = uring_ring_tail(&uring->ring);

	for (uint32_t at = uring->scan; at != tail; at++)
		look_at(uring, uring_ring_cqe(&uring->ring, at));
	uring->scan = tail;
	if (vly_unlikely(uring_ring_flags(&uring->ring) & IORING_SQ_CQ_OVERFLOW))
		return; /* a failure may wait outside the queue */
	for (; taken > 0; taken--) {
		struct uring_conn *conn = conn_at(uring, uring->quiet_head);

		/* It may be in the list anew before this returns. */
		uring->quiet_head = conn->quiet_next;
		uring->quiet_count--;
		uring->quiet_taken--;
		vly_prefetch(conn_at(uring, uring->quiet_head)->head.tx_head);
		uring_quiet_done(uring, conn);
	}
}

static void take_turn(struct uring_nic *uring, struct uring_conn *conn)
{
	switch (conn->head.type) {
	case VLY_STREAM:
		uring_stream_turn(uring, conn);
		break;
	case VLY_UDP:
		if (conn->head.state == VLY_OPENED && !(conn->head.flags & VLY_F_PAUSED))
			uring_show_aside(uring, conn);
		uring_udp_step(uring, conn);
		break;
	case VLY_LISTENER:
		uring_accept_step(uring, conn);
		break;
	default:
		uring_watch_step(uring, conn);
		break;
	}
}

void uring_turns(struct uring_nic *uring)
{
	struct vly_batch *batch = &uring->nic.env->batch;
	uint32_t room = batch->max - batch->count;

	/* Half of the room is for what comes fresh. */
	for (uint32_t left = uring->ready.count; left > 0; left--) {
		if (batch->max - batch->count <= room / 2)
			return;
		struct uring_conn *conn = conn_at(uring, uring->ready.head);

		uring_list_remove(uring, conn);
		take_turn(uring, conn);
	}
}

static void dispatch(struct uring_nic *uring, const struct io_uring_cqe *cqe)
{
	struct uring_conn *conn = conn_of_cqe(uring, cqe);
	unsigned op = op_of(cqe->user_data);

	switch (op) {
	case OP_RECV:
		uring_received(uring, conn, cqe);
		break;
	case OP_ACCEPT:
		uring_accepted(uring, cqe);
		break;
	case OP_CONNECT:
		uring_connected(uring, conn, cqe->res);
		break;
	case OP_GUARD:
		uring_guarded(uring, conn, cqe);
		break;
	case OP_WATCH:
		uring_watched(uring, conn, cqe);
		break;
	case OP_DGRAM:
		uring_dgram_received(uring, conn, cqe);
		break;
	case OP_WAKE:
		if (!(cqe->flags & IORING_CQE_F_MORE) && !uring->closing && uring->embed_fd < 0)
			uring_watch_wake(uring);
		break;
	case OP_NONE:
		break;
	default:
		uring_dgram_sent(uring, conn, op - OP_DGRAM_SEND, cqe->res);
		break;
	}
}

void uring_reap(struct uring_nic *uring)
{
	struct uring_ring *ring = &uring->ring;

	/* Only what was looked at; each makes one event and sets one slice aside at most. */
	while (ring->cq_head != uring->scan && !batch_full(uring) && uring->slices.free_count) {
		/* By value: an enter on the way may let the kernel write here. */
		struct io_uring_cqe cqe = *uring_ring_cqe(ring, ring->cq_head++);

		dispatch(uring, &cqe);
	}
	uring_ring_seen(ring);
}
