/* watch.c - foreign descriptors, and the one that wakes the core itself */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nic/uring/private.h"
#include "nic/uring/probe.h"

static bool is_watched(const struct uring_nic *uring, int fd)
{
	for (uint32_t slot = uring->watches.head; slot != VLY_NO_SLOT;) {
		const struct uring_conn *conn = conn_at(uring, slot);

		if (conn->file == fd)
			return true;
		slot = conn->next;
	}
	return false;
}

int uring_watch(struct vly_nic *nic, struct vly_conn_head *head, int fd, short poll_events)
{
	struct uring_nic *uring = uring_of(nic);
	struct uring_conn *conn = conn_of(head);
	struct stat status;

	if (fstat(fd, &status))
		return -errno;
	if (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))
		return -EPERM; /* always ready */
	if (is_watched(uring, fd))
		return -EEXIST;
	conn->file = fd;
	conn->poll_events = (uint16_t)poll_events;
	uring_watch_step(uring, conn);
	return 0;
}

/* Asked anew for each batch: READY as long as it holds, not once per change. */
void uring_watch_step(struct uring_nic *uring, struct uring_conn *conn)
{
	if (conn->marks & MARK_ENDING) {
		uring_end_step(uring, conn);
		return;
	}
	if (conn->head.state == VLY_CLOSING) {
		uring_let_go(uring, conn, 0);
		return;
	}
	if (conn->ops & 1u << OP_WATCH)
		return;
	struct io_uring_sqe *sqe = uring_conn_sqe(uring, conn, IORING_OP_POLL_ADD, OP_WATCH);

	if (!sqe) {
		uring_ready(uring, conn);
		return;
	}
	sqe->poll32_events = conn->poll_events;
	conn->ops |= 1u << OP_WATCH;
	if (!(conn->marks & MARK_LISTED))
		uring_list_push(uring, &uring->watches, conn, MARK_WATCHED);
}

void uring_watched(struct uring_nic *uring, struct uring_conn *conn, const struct io_uring_cqe *cqe)
{
	struct vly_env *env = uring->nic.env;

	conn->ops &= (uint16_t) ~(1u << OP_WATCH);
	if (!(conn->marks & MARK_ENDING) && conn->head.state == VLY_OPENED &&
	    cqe->res != -ECANCELED)
		vly_batch_add_conn(&env->batch, &conn->head, VLY_READY)->status =
			cqe->res < 0 ? POLLNVAL : cqe->res;
	uring_watch_step(uring, conn);
}

int uring_bell(struct vly_nic *nic)
{
	return uring_has(URING_MSG_RING) ? uring_of(nic)->ring.fd : -1;
}

/* Posts a completion that nobody looks at in the other core's ring: the wait there ends. */
bool uring_ring_bell(struct vly_nic *nic, int bell_fd, int wake_fd)
{
	struct io_uring_sqe *sqe = uring_sqe(uring_of(nic));

	if (!sqe)
		return false;
	sqe->opcode = IORING_OP_MSG_RING;
	sqe->flags = IOSQE_CQE_SKIP_SUCCESS;
	sqe->fd = bell_fd;
	sqe->off = OP_NONE; /* the other side's user_data */
	sqe->user_data = (uint64_t)OP_RING << (VLY_SLOT_BITS + VLY_GENERATION_BITS) |
			 (uint32_t)wake_fd;
	return true;
}

void uring_bell_failed(uint64_t user_data)
{
	uint64_t one = 1;
	ssize_t ignored = write((int)(uint32_t)user_data, &one, sizeof(one));

	(void)ignored; /* full means that it was rung already */
}

bool uring_watch_wake(struct uring_nic *uring)
{
	struct io_uring_sqe *sqe = uring_sqe(uring);

	if (!sqe)
		return false;
	sqe->opcode = IORING_OP_POLL_ADD;
	sqe->fd = uring->nic.env->wake_fd;
	/* Never read: each write to it is a completion. */
	sqe->len = IORING_POLL_ADD_MULTI;
	sqe->poll32_events = POLLIN;
	sqe->user_data = uring_wake_data();
	return true;
}
