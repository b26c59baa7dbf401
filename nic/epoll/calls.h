/* calls.h - the three system calls of every message, without the C library's cancellation points */
#ifndef VLY_NIC_EPOLL_CALLS_H
#define VLY_NIC_EPOLL_CALLS_H

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/*
 * In a process of several threads glibc's recv, send and epoll_wait switch cancellation on and off
 * around the call, some 3% of a message. Results and errno are the same. Nobody cancels a core's
 * thread.
 */
static inline ssize_t call_recv(int fd, void *data, size_t len, int flags)
{
	return syscall(SYS_recvfrom, fd, data, len, flags, NULL, NULL);
}

static inline ssize_t call_send(int fd, const void *data, size_t len, int flags)
{
	return syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
}

static inline ssize_t call_sendmsg(int fd, const struct msghdr *message, int flags)
{
	return syscall(SYS_sendmsg, fd, message, flags);
}

static inline ssize_t call_recvmsg(int fd, struct msghdr *message, int flags)
{
	return syscall(SYS_recvmsg, fd, message, flags);
}

/* `timeout` NULL: for ever. */
static inline int call_epoll_wait(int epoll_fd, struct epoll_event *edges, int max,
				  const struct timespec *timeout)
{
	return (int)syscall(SYS_epoll_pwait2, epoll_fd, edges, max, timeout, NULL, 0);
}

#endif
