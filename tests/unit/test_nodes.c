/* test_nodes.c - on a machine of several NUMA nodes, every page lies where it was asked for */
#include "mempool/region.h"

#include <inttypes.h>
#include <numaif.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/topology.h"
#include "tests/support/rig.h"

TestSuite(nodes, .fini = vly_leak_gate, .timeout = 120);

#define NODES_MAX 8
#define MIB ((size_t)1 << 20)

/* One CPU of each node. */
static int node_cpu[NODES_MAX];
static int node_id[NODES_MAX];
static int nodes;

static void need_nodes(void)
{
	struct vly_topology *t;

	cr_assert_eq(vly_topology_load(&t), 0);
	for (uint32_t i = 0; i < t->cpu_count && nodes < NODES_MAX; i++) {
		bool seen = false;

		for (int n = 0; n < nodes; n++)
			seen |= node_id[n] == t->cpus[i].node;
		if (!seen) {
			node_id[nodes] = t->cpus[i].node;
			node_cpu[nodes++] = t->cpus[i].os_index;
		}
	}
	vly_topology_free(t);
	if (nodes < 2)
		cr_skip_test("one NUMA node here, two are needed (tests/vm has them)");
}

/* Runs the test's thread on another CPU, so that first touch alone would place pages there. */
static void move_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	cr_assert_eq(sched_setaffinity(0, sizeof(set), &set), 0);
}

/* Pages of [base, base + bytes) that do not lie on `node`; each was written. */
static size_t strays(const void *base, size_t bytes, int node)
{
	size_t count = 0;

	for (size_t at = 0; at < bytes; at += VLY_REGION_PAGE_BYTES) {
		void *page = (uint8_t *)(uintptr_t)base + at;
		int where = -1;

		cr_assert_eq(move_pages(0, 1, &page, NULL, &where, 0), 0);
		count += where != node;
	}
	return count;
}

static long node_number(int node, const char *name)
{
	char path[160];
	long number = -1;

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/%s", node, name);
	FILE *file = fopen(path, "re");
	if (file) {
		if (fscanf(file, "%ld", &number) != 1)
			number = -1;
		fclose(file);
	}
	return number;
}

static bool set_node_huge(int node, long pages)
{
	char path[160];

	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/nr_hugepages", node);
	FILE *file = fopen(path, "we");
	if (!file)
		return false;
	fprintf(file, "%ld\n", pages);
	return fclose(file) == 0 && node_number(node, "nr_hugepages") == pages;
}

/* ---- regions ---- */

/* Opens a region for each node from a CPU of every node. */
static void check_regions(bool huge, enum vly_page_kind pages)
{
	for (int from = 0; from < nodes; from++) {
		move_to(node_cpu[from]);
		for (int n = 0; n < nodes; n++) {
			struct vly_region_opts opts = {
				.size_bytes = 6 * MIB, .numa_node = node_id[n], .try_huge = huge};
			struct vly_region region;

			cr_assert_eq(vly_region_open(&region, &opts), 0);
			cr_assert_eq(region.pages, pages, "got %s pages",
				     vly_page_kind_name(region.pages));
			cr_assert(region.bound);
			cr_assert_eq(region.numa_node, node_id[n]);
			cr_assert_eq(strays(region.base, region.size_bytes, node_id[n]), 0,
				     "%zu of %zu pages are not on node %d",
				     strays(region.base, region.size_bytes, node_id[n]),
				     region.size_bytes / VLY_REGION_PAGE_BYTES, node_id[n]);
			vly_region_close(&region);
		}
	}
}

Test(nodes, small_pages_lie_on_the_node_of_their_region)
{
	need_nodes();
	check_regions(false, VLY_PAGE_4K);
}

Test(nodes, hugetlb_pages_lie_on_the_node_of_their_region)
{
	need_nodes();
	for (int n = 0; n < nodes; n++) {
		if (node_number(node_id[n], "free_hugepages") < 3)
			cr_skip_test("node %d has no 3 free pages of 2 MiB", node_id[n]);
	}
	check_regions(true, VLY_PAGE_2M);
}

/* The pages of the other nodes must not stand in: a strict binding finds none and smaller ones come. */
Test(nodes, a_node_without_hugetlb_pages_takes_smaller_ones_of_its_own)
{
	need_nodes();
	for (int n = 0; n < nodes; n++) {
		long had = node_number(node_id[n], "nr_hugepages");
		struct vly_region_opts opts = {
			.size_bytes = 6 * MIB, .numa_node = node_id[n], .try_huge = true};
		struct vly_region region;

		if (node_number(node_id[(n + 1) % nodes], "free_hugepages") < 3)
			cr_skip_test("no free pages of 2 MiB on the other node");
		if (!set_node_huge(node_id[n], 0))
			cr_skip_test("the huge pages of node %d cannot be given back", node_id[n]);
		int error = vly_region_open(&region, &opts);
		cr_expect(set_node_huge(node_id[n], had));
		cr_assert_eq(error, 0);
		cr_assert_neq(region.pages, VLY_PAGE_2M);
		cr_assert_eq(strays(region.base, region.size_bytes, node_id[n]), 0);
		vly_region_close(&region);
	}
}

/* ---- engines ---- */

/* What the mapping that holds `at` has on each node, by /proc/self/numa_maps. */
static void check_maps(const void *at, int node)
{
	char line[1024], want[16];
	uintptr_t start;
	bool found = false;
	FILE *file = fopen("/proc/self/numa_maps", "re");

	cr_assert_not_null(file);
	while (!found && fgets(line, sizeof(line), file)) {
		cr_assert_eq(sscanf(line, "%" SCNxPTR, &start), 1);
		found = start == (uintptr_t)at;
	}
	fclose(file);
	cr_assert(found, "no mapping begins at %p", at);
	snprintf(want, sizeof(want), " N%d=", node);
	cr_assert(strstr(line, want), "%s", line);
	for (int n = 0; n < nodes; n++) {
		snprintf(want, sizeof(want), " N%d=", node_id[n]);
		if (node_id[n] != node)
			cr_assert(!strstr(line, want), "%s", line);
	}
}

static void check_region(const struct vly_region *region, int node)
{
	cr_assert_eq(region->numa_node, node);
	cr_assert_eq(strays(region->base, region->size_bytes, node), 0);
	check_maps(region->base, node);
}

static void check_engine(const char *nic, bool huge)
{
	struct vly_config config;
	struct rig rig;
	char cpus[64] = "", why[256];
	size_t used = 0;

	if (vly_nic_check(nic, why, sizeof(why)) != 0)
		cr_skip_test("%s", why);
	for (int n = 0; n < nodes; n++)
		used += (size_t)snprintf(cpus + used, sizeof(cpus) - used, "%s%d", n ? "," : "",
					 node_cpu[n]);
	rig_config(&config);
	config.nic = nic;
	config.cores = (unsigned)nodes;
	config.cpus = cpus;
	config.huge_pages = huge;
	config.rx_bufs = 256;
	/* Whose core it is decides, not what the opening thread would take. */
	unsigned long last = 1ul << node_id[nodes - 1];
	cr_assert_eq(set_mempolicy(MPOL_PREFERRED, &last, 8 * sizeof(last)), 0);
	rig_open(&rig, &config);
	cr_assert_eq(set_mempolicy(MPOL_DEFAULT, NULL, 0), 0);
	for (int n = 0; n < nodes; n++) {
		struct vly_stats stats;

		cr_assert_eq(vly_engine_cpu(rig.engine, (unsigned)n), node_cpu[n]);
		cr_assert_eq(rig.engine->seats[n].numa_node, node_id[n]);
		cr_assert_eq(vly_stats(rig.engine, (unsigned)n, &stats), 0);
		cr_assert_eq(stats.region_node, node_id[n]);
		check_region(&rig.core[n]->region, node_id[n]);
		check_region(&rig.engine->seats[n].shared, node_id[n]);
	}
	rig_close(&rig);
}

Test(nodes, pools_of_every_core_lie_on_its_node_over_epoll)
{
	need_nodes();
	check_engine("epoll", false);
	check_engine("epoll", true);
}

Test(nodes, pools_of_every_core_lie_on_its_node_over_uring)
{
	need_nodes();
	check_engine("uring", false);
	check_engine("uring", true);
}

Test(nodes, pools_of_every_core_lie_on_its_node_over_inet)
{
	need_nodes();
	check_engine("inet:hub,ip=10.0.0.1/24", false);
	check_engine("inet:hub,ip=10.0.0.1/24", true);
}

/* For nics that only the virtual machine has: ports of PCI cards. */
Test(nodes, pools_of_every_core_lie_on_its_node_over_the_nic_of_the_environment)
{
	const char *nic = getenv("VOLLEY_TEST_NIC");

	if (!nic || !*nic)
		cr_skip_test("VOLLEY_TEST_NIC names no nic");
	need_nodes();
	check_engine(nic, true);
}

/* ---- choosing CPUs ---- */

Test(nodes, cores_are_placed_on_one_node_while_it_has_cpus)
{
	need_nodes();
	for (int n = 0; n < nodes; n++) {
		struct vly_topology_wish wish = {.cores = 1, .numa_node = node_id[n]};
		struct vly_topology *t;
		char why[256];
		int cpu;

		cr_assert_eq(vly_topology_load(&t), 0);
		cr_assert_eq(vly_topology_pick(t, &wish, &cpu, why, sizeof(why)), 0, "%s", why);
		cr_assert_eq(vly_topology_node_of(t, cpu), node_id[n]);
		vly_topology_free(t);
	}
}
