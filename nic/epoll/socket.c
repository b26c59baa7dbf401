/* socket.c - what several kinds of kernel socket need */
#include "nic/epoll/private.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nic/addr.h"

int epoll_socket(const struct vly_addr *addr, int type)
{
	int family = addr->family == VLY_IP4   ? AF_INET
		     : addr->family == VLY_IP6 ? AF_INET6
					       : AF_UNIX;

	if (addr->family == VLY_NO_FAMILY)
		return -EAFNOSUPPORT;
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (type == SOCK_STREAM && addr->family != VLY_UNIX) {
		int on = 1;

		/* On a listener: accepted sockets inherit it. */
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	return fd;
}

int epoll_bind(int fd, const struct vly_addr *addr, bool reuse_port)
{
	struct sockaddr_storage storage;
	socklen_t len = vly_addr_to_sockaddr(addr, &storage);
	int on = 1;

	if (!len)
		return -EINVAL;
	if (addr->family == VLY_IP6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (reuse_port && addr->family != VLY_UNIX &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)))
		return -errno;
	return bind(fd, (struct sockaddr *)&storage, len) ? -errno : 0;
}

int epoll_name_of(struct vly_nic *nic, struct vly_conn_head *head, struct vly_addr *local,
		  struct vly_addr *peer)
{
	struct epoll_conn *conn = conn_of(head);
	struct sockaddr_storage storage;
	socklen_t len = sizeof(storage);

	(void)nic;
	*local = *peer = (struct vly_addr){0};
	if (head->type == VLY_WATCH)
		return 0;
	if (getsockname(conn->fd, (struct sockaddr *)&storage, &len) == 0)
		vly_addr_from_sockaddr(&storage, len, local);
	len = sizeof(storage);
	if (head->type == VLY_STREAM &&
	    getpeername(conn->fd, (struct sockaddr *)&storage, &len) == 0)
		vly_addr_from_sockaddr(&storage, len, peer);
	return 0;
}
