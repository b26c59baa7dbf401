/* name.c - addresses of sockets, the direct ones included */
#include <errno.h>
#include <unistd.h>

#include "nic/socket.h"
#include "nic/uring/private.h"

/* A descriptor for a direct socket, for the length of a call: it is carried out and answered within one enter. */
static int borrow_fd(struct uring_nic *uring, struct uring_conn *conn)
{
	struct uring_wait wait = {.count = 0};
	struct io_uring_sqe *sqe =
		uring_conn_sqe(uring, conn, VLY_IORING_OP_FIXED_FD_INSTALL, OP_NAME);

	uring->named_fd = -EAGAIN;
	if (sqe)
		uring_enter(uring, &wait);
	return uring->named_fd;
}

int uring_name_of(struct vly_nic *nic, struct vly_conn_head *head, struct vly_addr *local,
		  struct vly_addr *peer)
{
	struct uring_conn *conn = conn_of(head);
	int fd = conn->file;

	*local = *peer = (struct vly_addr){0};
	if (head->type == VLY_WATCH)
		return 0;
	if (conn->marks & MARK_FIXED) {
		fd = borrow_fd(uring_of(nic), conn);
		if (fd < 0)
			return fd;
	}
	vly_socket_name(fd, local, head->type == VLY_STREAM ? peer : NULL);
	if (conn->marks & MARK_FIXED)
		close(fd);
	return 0;
}
