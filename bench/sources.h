/* sources.h - the local addresses that connections are made from */
#ifndef VLY_BENCH_SOURCES_H
#define VLY_BENCH_SOURCES_H

#include "volley/addr.h"

#include <stddef.h>
#include <stdint.h>

#define SOURCES_MAX 65536u
#define SOURCES_TEXT_MAX (2 * VLY_ADDR_TEXT_MAX + 2)

/* `count` addresses from `first` on, port 0. Count 0: whatever the system chooses. */
struct sources {
	struct vly_addr first;
	uint32_t count;
};

/*
 * "A" (one address), "A-B" (from A to B), "A/PREFIX" (from A to the end of that network, without
 * the addresses that name the network and everybody in it). IPv4 or IPv6, at most SOURCES_MAX: a
 * wider network is cut there, a wider range is an error. 0, or -EINVAL with one line in `why`.
 */
int sources_parse(const char *text, struct sources *sources, char *why, size_t why_bytes);

/* "192.0.2.1-192.0.2.9", or one address; "" if there is none. Returns `text`. */
char *sources_format(const struct sources *sources, char *text, size_t size_bytes);

/* The one of connection `id`: they take turns. There is at least one. */
struct vly_addr sources_at(const struct sources *sources, uint32_t id);

/* 127.0.0.1 and following, so that `connections` need at most `ports_max` of each. */
void sources_on_loopback(struct sources *sources, uint32_t connections, uint32_t ports_max);

#endif
