/* route.c - the addresses of a core, and the way out of its network */
#include "nic/inet/route.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nic/inet/ipv4.h"

/* "10.0.0.1/24"; without a length: a host of its own (/32 would have no neighbours), so /24. */
static int parse_network(struct vly_route *route, const char *text, char *why, size_t why_bytes)
{
	char address[INET_ADDRSTRLEN];
	size_t len = strcspn(text, "/");
	unsigned long bits = 24;
	struct in_addr in;

	if (text[len] == '/') {
		char *end;

		bits = strtoul(text + len + 1, &end, 10);
		if (text[len + 1] < '0' || text[len + 1] > '9' || *end || bits < 1 || bits > 31)
			bits = 0;
	}
	if (len < sizeof(address)) {
		memcpy(address, text, len);
		address[len] = '\0';
	}
	if (bits == 0 || len >= sizeof(address) || inet_pton(AF_INET, address, &in) != 1 ||
	    vly_ipv4_is_martian(in.s_addr)) {
		snprintf(why, why_bytes,
			 "ip=%s: a host's address and the length of its network are expected, such "
			 "as 10.0.0.1/24",
			 text);
		return -EINVAL;
	}
	route->ip = in.s_addr;
	route->mask = htonl(UINT32_MAX << (32 - bits));
	return 0;
}

/* All own addresses are hosts of the network: neither its first nor its last address. */
static int check_range(const struct vly_route *route, uint64_t hosts, char *why, size_t why_bytes)
{
	uint64_t host = ntohl(route->ip & ~route->mask);
	uint64_t size = (uint64_t)ntohl(~route->mask) + 1;
	bool point_to_point = size == 2; /* RFC 3021: both are hosts */

	if (host + hosts > (point_to_point ? size : size - 1) || (!point_to_point && host == 0)) {
		snprintf(why, why_bytes, "the network of ip= has no room for %llu addresses there",
			 (unsigned long long)hosts);
		return -EINVAL;
	}
	return 0;
}

int vly_route_parse(struct vly_route *route, const struct vly_nic_spec *spec,
		    const struct vly_wire *wire, char *why, size_t why_bytes)
{
	const char *ip = vly_spec_get(spec, "ip");
	const char *gw = vly_spec_get(spec, "gw");
	const char *probe = vly_spec_get(spec, "probe");
	uint64_t ips;

	*route = (struct vly_route){0};
	if (!ip) {
		snprintf(why, why_bytes, "nic %s needs an address: ip=10.0.0.1/24", spec->name);
		return -EINVAL;
	}
	int error = parse_network(route, ip, why, why_bytes);

	if (!error)
		error = vly_spec_number(spec, "ips", 1u << 16, 1, &ips, why, why_bytes);
	if (error)
		return error;
	if (ips == 0) {
		snprintf(why, why_bytes, "ips=0: one address at least");
		return -EINVAL;
	}
	bool each = wire && wire->caps & VLY_WIRE_HOST_PER_CORE;

	error = check_range(route, ips * (each ? wire->queues : 1), why, why_bytes);
	if (error)
		return error;
	route->ips = (uint32_t)ips;
	if (each)
		route->ip = htonl(ntohl(route->ip) + wire->queue * route->ips);
	struct in_addr in = {0};

	if (probe && (inet_pton(AF_INET, probe, &in) != 1 || vly_ipv4_is_martian(in.s_addr) ||
		      vly_route_own(route, in.s_addr))) {
		snprintf(why, why_bytes, "probe=%s: the address of a peer is expected", probe);
		return -EINVAL;
	}
	route->probe = in.s_addr;
	if (!gw)
		return 0;
	if (inet_pton(AF_INET, gw, &in) != 1 || !vly_route_near(route, in.s_addr) ||
	    vly_route_own(route, in.s_addr)) {
		snprintf(why, why_bytes, "gw=%s: a neighbour in the network of ip= is expected",
			 gw);
		return -EINVAL;
	}
	route->gateway = in.s_addr;
	if (!probe)
		route->probe = in.s_addr;
	return 0;
}

uint32_t vly_route_next(const struct vly_route *route, uint32_t dst)
{
	if (vly_ipv4_is_martian(dst))
		return 0;
	if (vly_route_near(route, dst))
		return dst;
	return (dst & route->mask) == (route->ip & route->mask) ? 0 : route->gateway;
}
