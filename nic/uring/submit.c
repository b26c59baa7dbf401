/* submit.c - submission entries of the uring nic, and entering without waiting */
#include <errno.h>

#include "nic/uring/private.h"

/* Quiet sends up to here are in the kernel's hands; what their entries pointed to is no longer needed. */
static void note_taken(struct uring_nic *uring)
{
	if (uring_ring_filled(&uring->ring))
		return;
	uring->quiet_taken = uring->quiet_count;
	uring->scratch_used = 0;
}

void uring_submit(struct uring_nic *uring)
{
	uring_ring_submit(&uring->ring);
	note_taken(uring);
}

struct io_uring_sqe *uring_sqe(struct uring_nic *uring)
{
	struct io_uring_sqe *sqe = uring_ring_sqe(&uring->ring);

	if (vly_likely(sqe))
		return sqe;
	uring_submit(uring);
	return uring_ring_sqe(&uring->ring);
}

struct io_uring_sqe *uring_conn_sqe(struct uring_nic *uring, struct uring_conn *conn,
				    unsigned opcode, unsigned op)
{
	struct io_uring_sqe *sqe = uring_sqe(uring);

	if (vly_unlikely(!sqe))
		return NULL;
	sqe->opcode = (uint8_t)opcode;
	sqe->fd = conn->file;
	sqe->flags = conn->marks & MARK_FIXED ? IOSQE_FIXED_FILE : 0;
	sqe->user_data = user_data_of(conn, op);
	return sqe;
}

void *uring_scratch(struct uring_nic *uring, uint32_t bytes)
{
	bytes = VLY_ALIGN_UP(bytes, 16u);
	/*
	 * The entry that will point here must be had without submitting: that would give the memory to
	 * the next one before the kernel has seen the entry.
	 */
	if (vly_unlikely(uring->scratch_used + bytes > SCRATCH_BYTES ||
			 uring_ring_full(&uring->ring))) {
		uring_submit(uring);
		if (uring->scratch_used || uring_ring_full(&uring->ring))
			return NULL;
	}
	void *at = uring->scratch + uring->scratch_used;

	uring->scratch_used += bytes;
	return at;
}

bool uring_cancel(struct uring_nic *uring, uint64_t user_data)
{
	struct io_uring_sqe *sqe = uring_sqe(uring);

	if (!sqe)
		return false;
	sqe->opcode = IORING_OP_ASYNC_CANCEL;
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->fd = -1;
	sqe->addr = user_data;
	return true;
}

bool uring_close_file(struct uring_nic *uring, int32_t file, bool fixed)
{
	struct io_uring_sqe *sqe = uring_sqe(uring);

	if (!sqe)
		return false;
	sqe->opcode = IORING_OP_CLOSE;
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	if (fixed)
		sqe->file_index = (uint32_t)file + 1;
	else
		sqe->fd = file;
	return true;
}

/* Connecting to an address of no family is what closing with SO_LINGER 0 does inside, and needs no descriptor. */
static bool reset(struct uring_nic *uring, int32_t file, bool fixed)
{
	struct io_uring_sqe *sqe = uring_sqe(uring);

	if (!sqe)
		return false;
	sqe->opcode = IORING_OP_CONNECT;
	sqe->flags = (uint8_t)(IOSQE_CQE_SKIP_SUCCESS | (fixed ? IOSQE_FIXED_FILE : 0));
	sqe->fd = file;
	sqe->addr = (uint64_t)(uintptr_t)&uring->unspec;
	sqe->off = sizeof(uring->unspec);
	return true;
}

bool uring_reset(struct uring_nic *uring, const struct uring_conn *conn)
{
	return reset(uring, conn->file, conn->marks & MARK_FIXED);
}

bool uring_reset_file(struct uring_nic *uring, int32_t file, bool fixed, bool local)
{
	/* Entries are carried out in their order. */
	return (local || reset(uring, file, fixed)) && uring_close_file(uring, file, fixed);
}

uint32_t uring_enter(struct uring_nic *uring, const struct uring_wait *wait)
{
	uint32_t before = uring_ring_tail(&uring->ring);

	uring_ring_enter(&uring->ring, wait);
	note_taken(uring);
	uint32_t count = uring_ring_tail(&uring->ring) - before;

	uring_settle_sends(uring);
	return count;
}

void uring_push(struct vly_nic *nic)
{
	struct uring_nic *uring = uring_of(nic);
	struct uring_wait wait = {.count = 0};

	/* What a send leaves over, and a FIN behind it, make further entries. */
	for (unsigned left = 8; left > 0 && uring_ring_filled(&uring->ring); left--)
		uring_enter(uring, &wait);
}
