/* control_socket.c - the port above a server's, on which serve tells load what it costs */
#include "bench/control_socket.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/sockname.h"

#define CONNECT_PATIENCE_MS 1000
#define BACKLOG 16

/* A non-blocking socket, and the name of the port above `addr`; or -errno. */
static int open_socket(const struct vly_addr *addr, struct sockaddr_storage *name,
		       socklen_t *name_bytes)
{
	int fd;

	*name_bytes = sockname_of(addr, (uint16_t)(addr->port + 1), name);
	if (!*name_bytes)
		return -EAFNOSUPPORT;
	fd = socket(name->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	return fd < 0 ? -errno : fd;
}

int control_listen(const struct vly_addr *addr)
{
	struct sockaddr_storage name;
	socklen_t name_bytes;
	int one = 1, err;
	int fd = open_socket(addr, &name, &name_bytes);

	if (fd < 0)
		return fd;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&name, name_bytes) == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	err = -errno;
	close(fd);
	return err;
}

/* How the connect that was begun on `fd` ended: 0 or -errno. */
static int await_connect(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	int err = 0;
	socklen_t err_bytes = sizeof(err);

	if (poll(&ready, 1, CONNECT_PATIENCE_MS) <= 0)
		return -ETIMEDOUT;
	(void)getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &err_bytes);
	return -err;
}

int control_connect(const struct vly_addr *addr)
{
	struct sockaddr_storage name;
	socklen_t name_bytes;
	int err = 0;
	int fd = open_socket(addr, &name, &name_bytes);

	if (fd < 0)
		return fd;
	if (connect(fd, (struct sockaddr *)&name, name_bytes) != 0)
		err = errno == EINPROGRESS ? await_connect(fd) : -errno;
	if (!err)
		return fd;
	close(fd);
	return err;
}
