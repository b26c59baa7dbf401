/* socket.c - kernel sockets as every nic over them needs them */
#include "nic/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nic/addr.h"

int vly_socket_open(const struct vly_addr *addr, int type, int flags)
{
	int family = addr->family == VLY_IP4   ? AF_INET
		     : addr->family == VLY_IP6 ? AF_INET6
					       : AF_UNIX;
	int on = 1;

	if (addr->family == VLY_NO_FAMILY)
		return -EAFNOSUPPORT;
	int fd = socket(family, type | SOCK_CLOEXEC | flags, 0);

	if (fd < 0)
		return -errno;
	/* On a listener: accepted sockets inherit it. */
	if (type == SOCK_STREAM && addr->family != VLY_UNIX)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

int vly_socket_bind(int fd, const struct vly_addr *addr, bool reuse_port)
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

int vly_socket_bind_from(int fd, const struct vly_addr *from)
{
	int on = 1;

	/* The port is chosen when the destination is known: 28,000 per destination instead of 28,000 in all. */
	if (from->family != VLY_UNIX && from->port == 0)
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
	else if (from->family != VLY_UNIX)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return vly_socket_bind(fd, from, false);
}

static void path_text(const struct vly_addr *addr, char *path)
{
	memcpy(path, addr->path, addr->path_len);
	path[addr->path_len] = '\0';
}

/* A path that refuses connections is a server's that is gone: it may be replaced. */
static bool path_is_stale(const struct vly_addr *addr)
{
	struct sockaddr_storage storage;
	socklen_t len = vly_addr_to_sockaddr(addr, &storage);
	struct stat status;
	char path[sizeof(addr->path) + 1];

	path_text(addr, path);
	if (lstat(path, &status) || !S_ISSOCK(status.st_mode))
		return false; /* somebody's file */
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return false;
	bool stale = connect(fd, (struct sockaddr *)&storage, len) && errno == ECONNREFUSED;

	close(fd);
	return stale;
}

static int bind_listener(int fd, const struct vly_addr *addr, bool reuse_port)
{
	char path[sizeof(addr->path) + 1];
	int on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	int error = vly_socket_bind(fd, addr, reuse_port);

	if (error != -EADDRINUSE || addr->family != VLY_UNIX || !addr->path[0] ||
	    !path_is_stale(addr))
		return error;
	path_text(addr, path);
	unlink(path);
	return vly_socket_bind(fd, addr, reuse_port);
}

int vly_socket_listen(const struct vly_addr *addr, const struct vly_listen_opts *opts, int flags)
{
	int fd = vly_socket_open(addr, SOCK_STREAM, flags);

	if (fd < 0)
		return fd;
	int error = bind_listener(fd, addr, opts->reuse_port);

	if (!error && addr->family == VLY_UNIX && addr->path[0] && opts->unix_mode) {
		char path[sizeof(addr->path) + 1];

		path_text(addr, path);
		error = chmod(path, (mode_t)opts->unix_mode) ? -errno : 0;
	}
	if (!error)
		error = listen(fd, opts->backlog) ? -errno : 0;
	if (!error)
		return fd;
	close(fd);
	return error;
}

void vly_socket_unlink(int fd)
{
	struct vly_addr local;

	vly_socket_name(fd, &local, NULL);
	if (local.family == VLY_UNIX && local.path_len && local.path[0]) {
		char path[sizeof(local.path) + 1];

		path_text(&local, path);
		unlink(path);
	}
}

void vly_socket_name(int fd, struct vly_addr *local, struct vly_addr *peer)
{
	struct sockaddr_storage storage;
	socklen_t len = sizeof(storage);

	*local = (struct vly_addr){0};
	if (getsockname(fd, (struct sockaddr *)&storage, &len) == 0)
		vly_addr_from_sockaddr(&storage, len, local);
	if (!peer)
		return;
	*peer = (struct vly_addr){0};
	len = sizeof(storage);
	if (getpeername(fd, (struct sockaddr *)&storage, &len) == 0)
		vly_addr_from_sockaddr(&storage, len, peer);
}
