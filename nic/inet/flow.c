/* flow.c - the table from the addresses of a packet to what it belongs to */
#include "nic/inet/flow.h"

#include <assert.h>

#include "base/check.h"

void vly_flow_init(struct vly_flow_table *table, void *mem, uint32_t limit, uint64_t k0,
		   uint64_t k1)
{
	*table = (struct vly_flow_table){
		.entries = mem,
		.k0 = k0,
		.k1 = k1,
		.size = vly_flow_size(limit),
		.limit = limit,
	};
}

static uint32_t next_place(const struct vly_flow_table *table, uint32_t at)
{
	return at + 1 == table->size ? 0 : at + 1;
}

bool vly_flow_insert(struct vly_flow_table *table, uint32_t hash, uint32_t name)
{
	uint32_t at = vly_flow_home(table, hash);

	assert(name);
	if (table->count == table->limit)
		return false;
	while (table->entries[at].name)
		at = next_place(table, at);
	table->entries[at] = (struct vly_flow_entry){.hash = hash, .name = name};
	table->count++;
	return true;
}

/* How far `at` lies behind where its entry would like to be. */
static uint32_t distance(const struct vly_flow_table *table, uint32_t at)
{
	uint32_t home = vly_flow_home(table, table->entries[at].hash);

	return at >= home ? at - home : at + table->size - home;
}

void vly_flow_remove(struct vly_flow_table *table, uint32_t hash, uint32_t name)
{
	uint32_t hole = vly_flow_home(table, hash);

	while (table->entries[hole].name != name) {
		VLY_CHECK(table->entries[hole].name);
		hole = next_place(table, hole);
	}
	/*
	 * Entries behind the hole move into it unless they would come to lie before their home: what
	 * is at `at` may move back by at most its distance.
	 */
	for (uint32_t at = next_place(table, hole); table->entries[at].name;
	     at = next_place(table, at)) {
		uint32_t back = at > hole ? at - hole : at + table->size - hole;

		if (distance(table, at) < back)
			continue;
		table->entries[hole] = table->entries[at];
		hole = at;
	}
	table->entries[hole] = (struct vly_flow_entry){0};
	table->count--;
}

bool vly_flow_valid(const struct vly_flow_table *table)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < table->size; i++) {
		uint32_t at = vly_flow_home(table, table->entries[i].hash);

		if (!table->entries[i].name)
			continue;
		count++;
		for (; at != i; at = next_place(table, at)) {
			if (!table->entries[at].name)
				return false; /* nobody would find it */
		}
	}
	return count == table->count && count <= table->limit;
}
