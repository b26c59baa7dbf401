/* flow.h - the table from the addresses of a packet to what it belongs to */
#ifndef VLY_NIC_INET_FLOW_H
#define VLY_NIC_INET_FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

/*
 * Open addressing with linear probing, 8 bytes per entry: the hash, and a name that only the owner
 * understands, in whose record the key itself is. Sized at start for its greatest load of two thirds;
 * deleting moves later entries back, so there are no tombstones and no rehashing.
 */
struct vly_flow_entry {
	uint32_t hash; /* its place is hash * size / 2^32 or the next free one; 0 and name 0: free */
	uint32_t name; /* never 0 */
};

/* Addresses and ports in network order; the remote is 0 for listeners and UDP sockets. */
struct vly_flow_key {
	uint32_t raddr, laddr;
	uint16_t rport, lport;
};

struct vly_flow_table {
	struct vly_flow_entry *entries;
	uint64_t k0, k1; /* secret, so that peers cannot choose what collides */
	uint32_t size, count, limit;
};

/* Entries for `limit` names. */
static inline uint32_t vly_flow_size(uint32_t limit)
{
	return limit + limit / 2 + 8;
}

static inline size_t vly_flow_bytes(uint32_t limit)
{
	return (size_t)vly_flow_size(limit) * sizeof(struct vly_flow_entry);
}

/* `mem` is vly_flow_bytes(limit) of zeros, aligned to a line. */
void vly_flow_init(struct vly_flow_table *table, void *mem, uint32_t limit, uint64_t k0,
		   uint64_t k1);

/* False when `limit` names are in it. The caller has made sure that the key is not. */
bool vly_flow_insert(struct vly_flow_table *table, uint32_t hash, uint32_t name);

/* Takes out the entry of `name`, which must be there. */
void vly_flow_remove(struct vly_flow_table *table, uint32_t hash, uint32_t name);

/* Invariants, for tests: walks the table. */
bool vly_flow_valid(const struct vly_flow_table *table);

/* Two multiplications of 64 x 64 bits folded (the core of wyhash). */
static inline uint32_t vly_flow_hash(const struct vly_flow_table *table, uint32_t raddr,
				     uint32_t laddr, uint32_t ports)
{
	unsigned __int128 m = (unsigned __int128)(((uint64_t)raddr << 32 | ports) ^ table->k0) *
			      (laddr ^ table->k1);
	uint64_t x = (uint64_t)m ^ (uint64_t)(m >> 64);

	m = (unsigned __int128)(x ^ table->k1) * (table->k0 | 1);
	return (uint32_t)((uint64_t)m ^ (uint64_t)(m >> 64));
}

static inline uint32_t vly_flow_home(const struct vly_flow_table *table, uint32_t hash)
{
	return (uint32_t)((uint64_t)hash * table->size >> 32);
}

/*
 * Walks the entries of a hash: `*at` starts at vly_flow_home(). The next name whose hash is the same, or
 * 0.
 */
static inline uint32_t vly_flow_next(const struct vly_flow_table *table, uint32_t hash,
				     uint32_t *at)
{
	for (;;) {
		const struct vly_flow_entry *entry = &table->entries[*at];

		if (++*at == table->size)
			*at = 0;
		if (!entry->name)
			return 0;
		if (entry->hash == hash)
			return entry->name;
	}
}

#endif
