/* embed.c - a descriptor that tells of completions, for a core inside another event loop */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "nic/uring/private.h"

/*
 * The ring's own descriptor does not do: with deferred work nobody who polls it is woken, since to the kernel there is nothing
 * yet. Deferred work does signal a registered eventfd, but while another eventfd is being written, as the core's wake-up is,
 * only some time later or never. So an epoll instance is handed out that covers both, and the timer, and from then on the ring
 * watches the wake-up no more. All of them are edges: whoever arms it has taken the earlier ones. The kernel writes the eventfd
 * only between uring_embed_arm() and the next poll.
 */
static int cover(struct uring_nic *uring, int fd)
{
	struct epoll_event edge = {.events = EPOLLIN | EPOLLET};

	return epoll_ctl(uring->embed_fd, EPOLL_CTL_ADD, fd, &edge) ? -errno : 0;
}

static int embed_open(struct uring_nic *uring)
{
	uring->embed_fd = epoll_create1(EPOLL_CLOEXEC);
	if (uring->embed_fd < 0)
		return -errno;
	uring->signal_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int error = uring->signal_fd < 0 ? -errno : cover(uring, uring->signal_fd);

	if (!error)
		error = cover(uring, uring->nic.env->wake_fd);
	if (!error)
		error = io_uring_register((unsigned)uring->ring.fd, IORING_REGISTER_EVENTFD,
					  &uring->signal_fd, 1);
	if (error)
		uring_embed_close(uring);
	else
		uring_cancel(uring, uring_wake_data());
	return error;
}

void uring_embed_close(struct uring_nic *uring)
{
	if (uring->signal_fd >= 0)
		close(uring->signal_fd);
	if (uring->embed_fd >= 0)
		close(uring->embed_fd);
	uring->signal_fd = uring->embed_fd = -1;
}

int uring_poll_fd(struct vly_nic *nic)
{
	struct uring_nic *uring = uring_of(nic);
	int error = uring->embed_fd < 0 ? embed_open(uring) : 0;

	if (!error && !uring->timer_covered && nic->env->timer_fd >= 0) {
		error = cover(uring, nic->env->timer_fd);
		uring->timer_covered = !error;
	}
	uring_push(nic);
	return error ? error : uring->embed_fd;
}

void uring_embed_disarm(struct uring_nic *uring)
{
	__atomic_store_n(uring->ring.cq_kflags, IORING_CQ_EVENTFD_DISABLED, __ATOMIC_RELAXED);
}

/* The kernel signals from now on. Whether there is something that it signalled before. */
static bool signal_on(struct uring_nic *uring)
{
	/* Nothing may wait for an enter that does not come. */
	uring_push(&uring->nic);
	/* Ordered before the look at the queue: the kernel fills the queue before it looks at the flag. */
	__atomic_exchange_n(uring->ring.cq_kflags, 0, __ATOMIC_SEQ_CST);
	return uring_ring_tail(&uring->ring) != uring->ring.cq_head ||
	       uring_ring_flags(&uring->ring) & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW);
}

void uring_embed_arm(struct uring_nic *uring)
{
	struct epoll_event edges[4];
	uint64_t one = 1;
	ssize_t ignored = epoll_wait(uring->embed_fd, edges, 4, 0);

	if (signal_on(uring))
		ignored = write(uring->signal_fd, &one, sizeof(one));
	(void)ignored; /* nothing to take, or signalled already: both are what is wanted */
}

void uring_embed_wait(struct uring_nic *uring, int64_t timeout_ns)
{
	struct epoll_event edges[4];
	struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
				   .tv_nsec = timeout_ns % 1000000000};

	if (!signal_on(uring))
		epoll_pwait2(uring->embed_fd, edges, 4, timeout_ns < 0 ? NULL : &timeout, NULL);
	uring_embed_disarm(uring);
}
