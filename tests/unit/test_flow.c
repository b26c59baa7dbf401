/* test_flow.c - the flow table against a plain array */
#include "nic/inet/flow.h"

#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/hash.h"
#include "tests/support/leak.h"

TestSuite(flow, .fini = vly_leak_gate);

#define LIMIT 100u

struct world {
	struct vly_flow_table table;
	void *mem;
	uint32_t hash[LIMIT + 1]; /* by name; 0: not in it */
};

static void world_open(struct world *w)
{
	*w = (struct world){.mem = calloc(1, vly_flow_bytes(LIMIT))};
	vly_flow_init(&w->table, w->mem, LIMIT, 1, 2);
}

static bool finds(struct world *w, uint32_t hash, uint32_t name)
{
	uint32_t at = vly_flow_home(&w->table, hash);
	uint32_t found;

	while ((found = vly_flow_next(&w->table, hash, &at))) {
		if (found == name)
			return true;
	}
	return false;
}

/* Few different hashes near both ends of the table: long runs that wrap. */
static uint32_t crowded_hash(uint64_t random)
{
	return (random & 1 ? 0xffffffffu : 0u) - (uint32_t)(random >> 8) % 8 * 0x1000000u;
}

Test(flow, agrees_with_an_array_through_random_changes)
{
	struct world w;
	uint64_t state = 7;

	world_open(&w);
	for (int step = 0; step < 200000; step++) {
		uint64_t random = vly_hash_u64(state += 0x9e3779b97f4a7c15u);
		uint32_t name = 1 + (uint32_t)(random >> 40) % LIMIT;

		if (w.hash[name]) {
			vly_flow_remove(&w.table, w.hash[name], name);
			cr_assert_not(finds(&w, w.hash[name], name));
			w.hash[name] = 0;
		} else {
			w.hash[name] = step & 1 ? crowded_hash(random) | 1 : (uint32_t)random | 1;
			cr_assert(vly_flow_insert(&w.table, w.hash[name], name));
		}
		if (step % 64)
			continue;
		cr_assert(vly_flow_valid(&w.table));
		for (uint32_t i = 1; i <= LIMIT; i++)
			cr_assert(!w.hash[i] || finds(&w, w.hash[i], i), "lost %u", i);
	}
	free(w.mem);
}

Test(flow, full_it_refuses)
{
	struct world w;

	world_open(&w);
	for (uint32_t i = 1; i <= LIMIT; i++)
		cr_assert(vly_flow_insert(&w.table, i * 0x01234567u, i));
	cr_assert_not(vly_flow_insert(&w.table, 5, LIMIT + 1));
	vly_flow_remove(&w.table, 50 * 0x01234567u, 50);
	cr_assert(vly_flow_insert(&w.table, 5, LIMIT + 1));
	cr_assert(vly_flow_valid(&w.table));
	free(w.mem);
}

Test(flow, hash_depends_on_every_bit_of_the_key_and_on_the_secret)
{
	struct vly_flow_table table = {.k0 = 0x1234567890abcdefu, .k1 = 0xfedcba0987654321u};
	struct vly_flow_table other = {.k0 = 0x1234567890abcdeeu, .k1 = 0xfedcba0987654321u};
	uint32_t hash = vly_flow_hash(&table, 0x0a000001, 0x0a000002, 0x12345678);

	for (int bit = 0; bit < 32; bit++) {
		uint32_t flip = 1u << bit;

		cr_assert_neq(vly_flow_hash(&table, 0x0a000001 ^ flip, 0x0a000002, 0x12345678),
			      hash);
		cr_assert_neq(vly_flow_hash(&table, 0x0a000001, 0x0a000002 ^ flip, 0x12345678),
			      hash);
		cr_assert_neq(vly_flow_hash(&table, 0x0a000001, 0x0a000002, 0x12345678 ^ flip),
			      hash);
	}
	cr_assert_neq(vly_flow_hash(&other, 0x0a000001, 0x0a000002, 0x12345678), hash);
}
