/* addr.h - between struct vly_addr and the kernel's socket addresses */
#ifndef VLY_NIC_ADDR_H
#define VLY_NIC_ADDR_H

#include <sys/socket.h>

#include "volley/addr.h"

/* Fills `storage`; returns its length, or 0 for an address of no family. */
socklen_t vly_addr_to_sockaddr(const struct vly_addr *addr, struct sockaddr_storage *storage);

/*
 * Anything that is not IPv4, IPv6 or Unix becomes VLY_NO_FAMILY. `len` is what the kernel returned.
 */
void vly_addr_from_sockaddr(const struct sockaddr_storage *storage, socklen_t len,
			    struct vly_addr *addr);

#endif
