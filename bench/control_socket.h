/* control_socket.h - the port above a server's, on which serve tells load what it costs */
#ifndef VLY_BENCH_CONTROL_SOCKET_H
#define VLY_BENCH_CONTROL_SOCKET_H

#include "volley/addr.h"

/* A non-blocking listener on the port above that of `addr`, which is below 65535; or -errno. */
int control_listen(const struct vly_addr *addr);

/* A socket connected to it within a second; or -errno. */
int control_connect(const struct vly_addr *addr);

#endif
