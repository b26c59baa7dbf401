/* route.h - the addresses of a core, and the way out of its network */
#ifndef VLY_NIC_INET_ROUTE_H
#define VLY_NIC_INET_ROUTE_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nic/inet/wire.h"
#include "nic/spec.h"

/* In network order where it is an address. */
struct vly_route {
	uint32_t ip;      /* the first own address */
	uint32_t ips;     /* how many, consecutive */
	uint32_t mask;    /* of the network */
	uint32_t gateway; /* 0: none */
	uint32_t probe;   /* who is asked whether frames come in where they should; 0: nobody */
};

static inline bool vly_route_own(const struct vly_route *route, uint32_t addr)
{
	return ntohl(addr) - ntohl(route->ip) < route->ips;
}

/* A host of our network; its first and last address are none (but of a /31: RFC 3021). */
static inline bool vly_route_near(const struct vly_route *route, uint32_t addr)
{
	uint32_t host = ntohl(addr & ~route->mask), last = ntohl(~route->mask);

	return (addr & route->mask) == (route->ip & route->mask) &&
	       (last == 1 || (host != 0 && host != last));
}

/* The neighbour by way of whom `dst` is reached: itself, or the gateway; 0: there is no way. */
uint32_t vly_route_next(const struct vly_route *route, uint32_t dst);

/* From ip=, ips=, gw=, probe=; `wire` says whether each core has its own. 0 or -EINVAL with `why`. */
int vly_route_parse(struct vly_route *route, const struct vly_nic_spec *spec,
		    const struct vly_wire *wire, char *why, size_t why_bytes);

#endif
