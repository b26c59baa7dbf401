/* sockname.h - addresses as the system's calls take them */
#ifndef VLY_BENCH_SOCKNAME_H
#define VLY_BENCH_SOCKNAME_H

#include <stdint.h>
#include <sys/socket.h>

#include "volley/addr.h"

/*
 * Writes `addr`, with `port` for its own, into `name`. Returns the bytes to pass; 0: it is neither
 * IPv4 nor IPv6.
 */
socklen_t sockname_of(const struct vly_addr *addr, uint16_t port, struct sockaddr_storage *name);

#endif
