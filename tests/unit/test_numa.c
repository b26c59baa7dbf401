/* test_numa.c - the memory of a core and of its seat lies on the node of its CPU */
#include "mempool/region.h"

#include <numaif.h>
#include <stdlib.h>

#include "tests/support/rig.h"

TestSuite(numa, .fini = vly_leak_gate, .timeout = 60);

#define CALLS_MAX 16

static struct {
	uint8_t *base;
	size_t bytes;
	unsigned long mask;
} calls[CALLS_MAX];
static int calls_count;

/* Stands in front of libnuma's: this machine has one node, the described one has two. */
long mbind(void *addr, unsigned long len, int mode, const unsigned long *mask,
	   unsigned long maxnode, unsigned flags)
{
	(void)mode;
	(void)maxnode;
	(void)flags;
	cr_assert_lt(calls_count, CALLS_MAX);
	calls[calls_count].base = addr;
	calls[calls_count].bytes = len;
	calls[calls_count++].mask = mask[0];
	return 0;
}

/* The nodes that the mapping which holds `at` was bound to. */
static unsigned long bound_to(const void *at)
{
	for (int i = 0; i < calls_count; i++) {
		if ((const uint8_t *)at >= calls[i].base &&
		    (const uint8_t *)at < calls[i].base + calls[i].bytes)
			return calls[i].mask;
	}
	return 0;
}

static void open_two(struct rig *rig, const char *machine)
{
	struct vly_config config;

	setenv("HWLOC_SYNTHETIC", machine, 1);
	rig_config(&config);
	config.cores = 2;
	config.cpus = "1,3";
	rig_open(rig, &config);
	unsetenv("HWLOC_SYNTHETIC");
}

Test(numa, regions_of_core_and_seat_are_bound_to_the_node_of_the_cpu)
{
	struct rig rig;

	open_two(&rig, "numa:2 core:2 pu:1"); /* CPUs 0 and 1, 2 and 3 */
	cr_assert_eq(vly_engine_cpu(rig.engine, 0), 1);
	cr_assert_eq(vly_engine_cpu(rig.engine, 1), 3);
	for (unsigned i = 0; i < 2; i++) {
		struct vly_stats stats;

		cr_assert_eq(rig.engine->seats[i].numa_node, (int)i);
		cr_assert_eq(bound_to(rig.core[i]), 1ul << i, "core %u", i);
		cr_assert_eq(bound_to(rig.core[i]->env.rx_pool.slab.base), 1ul << i);
		cr_assert_eq(bound_to(rig.engine->seats[i].mailbox), 1ul << i, "seat %u", i);
		cr_assert_eq(bound_to(rig.engine->seats[i].rings), 1ul << i);
		cr_assert_eq(vly_stats(rig.engine, i, &stats), 0);
		cr_assert_eq(stats.region_node, (int)i);
	}
	rig_close(&rig);
}

Test(numa, machine_of_one_node_binds_nothing)
{
	struct vly_stats stats;
	struct rig rig;

	open_two(&rig, "numa:1 core:4 pu:1");
	cr_assert_eq(calls_count, 0);
	cr_assert_eq(vly_stats(rig.engine, 1, &stats), 0);
	cr_assert_eq(stats.region_node, -1);
	rig_close(&rig);
}
