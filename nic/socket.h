/* socket.h - what every nic over kernel sockets needs: opening, binding, naming them */
#ifndef VLY_NIC_SOCKET_H
#define VLY_NIC_SOCKET_H

#include <stdbool.h>

#include "volley/core.h"

/* A stream or datagram socket of the address's family, without Nagle's delay; `flags` as of socket(2). Its descriptor or -errno. */
int vly_socket_open(const struct vly_addr *addr, int type, int flags);

/* 0 or -errno. */
int vly_socket_bind(int fd, const struct vly_addr *addr, bool reuse_port);

/* Binds to where a connection is to come from; its port may be 0. 0 or -errno. */
int vly_socket_bind_from(int fd, const struct vly_addr *from);

/* A bound and listening socket; a stale Unix path is replaced. Its descriptor or -errno. */
int vly_socket_listen(const struct vly_addr *addr, const struct vly_listen_opts *opts, int flags);

/* Removes the path of a listening Unix socket. */
void vly_socket_unlink(int fd);

/* Local address, and the peer's if `peer` is not NULL. VLY_NO_FAMILY where there is none. */
void vly_socket_name(int fd, struct vly_addr *local, struct vly_addr *peer);

#endif
