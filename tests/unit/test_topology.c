/* test_topology.c - described machines, synthetic and in XML, and choosing CPUs on them */
#include "base/topology.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <criterion/criterion.h>

#include "tests/support/leak.h"

TestSuite(topology, .fini = vly_leak_gate);

/*
 * 8 nodes of 8 cores of 2 threads, as Linux numbers them: the second thread of core n is CPU n +
 * 64. CPUs 5, 69 (a whole core) and 70 (a second thread) are off line; the cpuset leaves out CPU 0
 * and all of node 7.
 */
#define EIGHT_NODES VLY_TEST_DATA "/eight-nodes.xml"
#define EIGHT_NODES_WHOLE "numa:8 core:8 pu:2(indexes=2*64:64*1)"

static struct vly_topology *synthetic(const char *description)
{
	struct vly_topology *t;

	cr_assert_eq(vly_topology_load_synthetic(&t, description, NULL), 0, "%s", description);
	return t;
}

static struct vly_topology *eight_nodes(const char *affinity_text)
{
	struct vly_cpulist affinity;
	struct vly_topology *t;

	if (affinity_text)
		cr_assert_eq(vly_cpulist_parse(affinity_text, false, &affinity, NULL, 0), 0);
	cr_assert_eq(vly_topology_load_xml(&t, EIGHT_NODES, affinity_text ? &affinity : NULL), 0);
	return t;
}

static void list_is(const struct vly_cpulist *list, const char *expected)
{
	char text[256];

	vly_cpulist_format(list, text, sizeof(text));
	cr_assert_str_eq(text, expected);
}

/* Picks, and expects these CPUs in this order. */
static void picks(const struct vly_topology *t, struct vly_topology_wish wish, const char *expected)
{
	int cpus[256];
	char err[256] = "", text[1024] = "";
	size_t len_bytes = 0;

	cr_assert_eq(vly_topology_pick(t, &wish, cpus, err, sizeof(err)), 0, "%s", err);
	for (unsigned int i = 0; i < wish.cores; i++)
		len_bytes += (size_t)snprintf(text + len_bytes, sizeof(text) - len_bytes, "%s%d",
					      i ? "," : "", cpus[i]);
	cr_assert_str_eq(text, expected);
}

/* Expects a refusal in exactly these words. */
static void refuses(const struct vly_topology *t, struct vly_topology_wish wish, int error,
		    const char *message)
{
	int cpus[256];
	char err[256] = "";

	cr_assert_eq(vly_topology_pick(t, &wish, cpus, err, sizeof(err)), error);
	cr_assert_str_eq(err, message);
	cr_assert_eq(vly_topology_pick(t, &wish, cpus, NULL, 0), error, "without a buffer as well");
}

Test(topology, synthetic_machine_is_described_completely)
{
	struct vly_topology *t = synthetic(EIGHT_NODES_WHOLE);

	cr_assert_eq(t->cpu_count, 128);
	cr_assert_eq(t->core_count, 64);
	cr_assert_eq(t->node_count, 8);
	for (int i = 0; i < 128; i++) {
		const struct vly_cpu *cpu = vly_topology_cpu(t, i);

		cr_assert_eq(cpu, &t->cpus[i]);
		cr_assert_eq(cpu->os_index, i);
		cr_assert_eq(cpu->core, i % 64);
		cr_assert_eq(cpu->smt, i / 64);
		cr_assert_eq(cpu->node, i % 64 / 8);
		cr_assert_eq(vly_topology_node_of(t, i), i % 64 / 8);
	}
	cr_assert_null(vly_topology_cpu(t, 128));
	cr_assert_null(vly_topology_cpu(t, -1));
	cr_assert_eq(vly_topology_node_of(t, 128), -ENOENT);
	vly_topology_free(t);
}

Test(topology, machine_without_cores_or_nodes_has_one_core_per_cpu_on_node_0)
{
	struct vly_topology *t = synthetic("pu:3");

	cr_assert_eq(t->cpu_count, 3);
	cr_assert_eq(t->core_count, 3);
	cr_assert_eq(t->node_count, 1);
	cr_assert_eq(vly_topology_node_of(t, 2), 0);
	vly_topology_free(t);
}

Test(topology, nodes_keep_their_os_index)
{
	struct vly_topology *t = synthetic("numa:2(indexes=3,1) core:2 pu:1");

	cr_assert_eq(vly_topology_node_of(t, 0), 3);
	cr_assert_eq(vly_topology_node_of(t, 3), 1);
	picks(t, (struct vly_topology_wish){.cores = 2, .numa_node = -1}, "2,3");
	vly_topology_free(t);
}

Test(topology, node_below_a_cache_keeps_its_cpus)
{
	struct vly_topology *t = synthetic("pack:2 l3:2 [numa] core:2 pu:1");

	cr_assert_eq(t->node_count, 4);
	cr_assert_eq(vly_topology_node_of(t, 7), 3);
	vly_topology_free(t);
}

Test(topology, offline_and_disallowed_cpus_are_not_usable)
{
	struct vly_topology *t = eight_nodes(NULL);

	list_is(&t->existing, "0-127");
	list_is(&t->online, "0-4,6-68,71-127");
	list_is(&t->usable, "1-4,6-55,64-68,71-119");
	cr_assert_eq(t->cpu_count, 108);
	cr_assert_eq(t->core_count, 55);
	cr_assert_eq(t->node_count, 7);
	cr_assert_eq(vly_topology_node_of(t, 5), -ENOENT);
	cr_assert_eq(vly_topology_node_of(t, 63), -ENOENT);
	cr_assert_eq(vly_topology_node_of(t, 119), 6);
	vly_topology_free(t);
}

Test(topology, thread_whose_first_sibling_is_gone_counts_as_first)
{
	struct vly_topology *t = eight_nodes(NULL);

	cr_assert_eq(vly_topology_cpu(t, 64)->smt, 0, "CPU 0 is not ours");
	cr_assert_eq(vly_topology_cpu(t, 65)->smt, 1);
	cr_assert_eq(vly_topology_cpu(t, 6)->smt, 0);
	cr_assert_eq(vly_topology_cpu(t, 65)->core, vly_topology_cpu(t, 1)->core);
	vly_topology_free(t);
}

Test(topology, affinity_narrows_what_the_cpuset_allows)
{
	struct vly_topology *t = eight_nodes("0-9,60-70,200");

	list_is(&t->usable, "1-4,6-9,64-68");
	list_is(&t->online, "0-4,6-68,71-127");
	vly_topology_free(t);
}

Test(topology, affinity_that_leaves_nothing_is_enodev)
{
	struct vly_cpulist affinity;
	struct vly_topology *t;

	cr_assert_eq(vly_cpulist_parse("0,5,56-63", false, &affinity, NULL, 0), 0);
	cr_assert_eq(vly_topology_load_xml(&t, EIGHT_NODES, &affinity), -ENODEV);
	cr_assert_null(t);
}

Test(topology, bad_sources_are_refused)
{
	char path[] = "/tmp/volley-topology-XXXXXX";
	struct vly_topology *t;
	int fd;

	cr_assert_eq(vly_topology_load_xml(&t, "/nonexistent/machine.xml", NULL), -ENOENT);
	cr_assert_null(t);
	fd = mkstemp(path);
	cr_assert_geq(fd, 0);
	cr_assert_eq(write(fd, "<topology><obj", 14), 14);
	close(fd);
	cr_assert_eq(vly_topology_load_xml(&t, path, NULL), -EINVAL);
	cr_assert_null(t);
	unlink(path);
	cr_assert_eq(vly_topology_load_synthetic(&t, "sockets galore", NULL), -EINVAL);
	cr_assert_null(t);
	vly_topology_free(NULL);
}

Test(topology, this_machine_offers_what_the_affinity_mask_does)
{
	struct vly_topology *t;
	cpu_set_t mask;

	cr_assert_eq(vly_topology_load(&t), 0);
	cr_assert_eq(sched_getaffinity(0, sizeof(mask), &mask), 0);
	for (unsigned int cpu = 0; cpu < VLY_CPULIST_MAX; cpu++)
		cr_assert_eq(vly_cpulist_has(&t->usable, cpu), !!CPU_ISSET(cpu, &mask), "%u", cpu);
	vly_topology_free(t);
}

Test(topology, this_machine_narrowed_to_one_cpu_offers_that)
{
	struct vly_topology *t;
	cpu_set_t mask;
	int last = 0;

	cr_assert_eq(sched_getaffinity(0, sizeof(mask), &mask), 0);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		last = CPU_ISSET(cpu, &mask) ? cpu : last;
	CPU_ZERO(&mask);
	CPU_SET(last, &mask);
	cr_assert_eq(sched_setaffinity(0, sizeof(mask), &mask), 0);
	cr_assert_eq(vly_topology_load(&t), 0);
	cr_assert_eq(t->cpu_count, 1);
	cr_assert_eq(t->cpus[0].os_index, last);
	vly_topology_free(t);
}

/* ---- choosing without a list ---- */

static struct vly_topology_wish any(unsigned int cores)
{
	return (struct vly_topology_wish){.cores = cores, .numa_node = -1};
}

Test(topology, picks_one_thread_per_core_of_the_first_node_that_holds_all)
{
	struct vly_topology *t = synthetic(EIGHT_NODES_WHOLE);

	picks(t, any(1), "0");
	picks(t, any(8), "0,1,2,3,4,5,6,7");
	vly_topology_free(t);

	/* node 0 has 7 cores left: 8 fit on node 1 */
	t = eight_nodes(NULL);
	picks(t, any(7), "1,2,3,4,6,7,64");
	picks(t, any(8), "8,9,10,11,12,13,14,15");
	vly_topology_free(t);
}

Test(topology, picks_further_nodes_before_second_threads)
{
	struct vly_topology *t = synthetic("numa:2 core:2 pu:2");

	/* siblings are neighbours here: 0,1 share a core */
	picks(t, any(2), "0,2");
	picks(t, any(3), "0,2,4");
	picks(t, any(4), "0,2,4,6");
	picks(t, any(5), "0,2,4,6,1");
	picks(t, any(8), "0,2,4,6,1,3,5,7");
	vly_topology_free(t);
}

Test(topology, picks_begin_on_the_largest_node_when_none_holds_all)
{
	struct vly_topology *t = eight_nodes("1,2,16-19,24,25,80");

	/* node 0: 1,2; node 2: 16-19 and 80, the sibling of 16; node 3: 24,25 */
	picks(t, any(4), "16,17,18,19");
	picks(t, any(5), "16,17,18,19,1");
	picks(t, any(8), "16,17,18,19,1,2,24,25");
	picks(t, any(9), "16,17,18,19,1,2,24,25,80");
	vly_topology_free(t);
}

Test(topology, picks_no_cpu_twice_and_none_that_is_not_usable)
{
	struct vly_topology *t = eight_nodes(NULL);
	struct vly_topology_wish wish = any(108);
	struct vly_cpulist seen = {0};
	int cpus[108];

	cr_assert_eq(vly_topology_pick(t, &wish, cpus, NULL, 0), 0);
	for (int i = 0; i < 108; i++) {
		cr_assert(vly_cpulist_has(&t->usable, (unsigned int)cpus[i]));
		cr_assert(vly_cpulist_add(&seen, (unsigned int)cpus[i]), "%d twice", cpus[i]);
		cr_assert_eq(vly_topology_cpu(t, cpus[i])->smt, i < 55 ? 0 : 1);
	}
	vly_topology_free(t);
}

Test(topology, picks_stay_on_the_node_that_was_asked_for)
{
	struct vly_topology *t = synthetic("numa:2 core:2 pu:2");

	picks(t, (struct vly_topology_wish){.cores = 2, .numa_node = 1}, "4,6");
	picks(t, (struct vly_topology_wish){.cores = 4, .numa_node = 1}, "4,6,5,7");
	refuses(t, (struct vly_topology_wish){.cores = 5, .numa_node = 1}, -E2BIG,
		"5 cores but only 4 usable CPUs on that NUMA node (allowed are 0-7); "
		"allow overlap?");
	picks(t, (struct vly_topology_wish){.cores = 5, .numa_node = 1, .allow_overlap = true},
	      "4,6,5,7,4");
	refuses(t, (struct vly_topology_wish){.cores = 1, .numa_node = 2}, -ENOENT,
		"NUMA node 2 does not exist or has no CPU for this process");
	refuses(t, (struct vly_topology_wish){.cores = 1, .numa_node = -2}, -EINVAL,
		"NUMA node -2 makes no sense: -1 means any");
	vly_topology_free(t);
}

Test(topology, more_cores_than_cpus_need_overlap)
{
	struct vly_topology *t = synthetic("core:2 pu:1");

	picks(t, any(2), "0,1");
	refuses(t, any(3), -E2BIG,
		"3 cores but only 2 usable CPUs (allowed are 0-1); allow overlap?");
	picks(t, (struct vly_topology_wish){.cores = 5, .numa_node = -1, .allow_overlap = true},
	      "0,1,0,1,0");
	refuses(t, any(0), -EINVAL, "no cores were asked for: at least 1 is needed");
	vly_topology_free(t);
}

/* ---- choosing from a list ---- */

static struct vly_topology_wish listed(const char *cpus, unsigned int cores)
{
	return (struct vly_topology_wish){.cpus = cpus, .cores = cores, .numa_node = -1};
}

Test(topology, list_is_taken_in_its_order)
{
	struct vly_topology *t = eight_nodes(NULL);

	picks(t, listed("8,1-3", 4), "8,1,2,3");
	picks(t, listed("64,1", 2), "64,1");
	picks(t, listed("8,1-3", 2), "8,1");
	vly_topology_free(t);
}

Test(topology, list_overrides_the_node)
{
	struct vly_topology *t = synthetic("numa:2 core:2 pu:1");

	picks(t, (struct vly_topology_wish){.cpus = "3,0", .cores = 2, .numa_node = 0}, "3,0");
	picks(t, (struct vly_topology_wish){.cpus = "3", .cores = 1, .numa_node = 77}, "3");
	vly_topology_free(t);
}

Test(topology, list_with_cpus_that_can_not_serve_is_refused_by_name)
{
	struct vly_topology *t = eight_nodes("1-8,64-70");

	refuses(t, listed("1,128", 1), -ENOENT, "CPU 128 does not exist: this machine has 0-127");
	refuses(t, listed("1,5", 2), -EACCES, "CPU 5 is off line; on line are 0-4,6-68,71-127");
	refuses(t, listed("0", 1), -EACCES, "CPU 0 is not allowed; allowed are 1-4,6-8,64-68");
	refuses(t, listed("9", 1), -EACCES, "CPU 9 is not allowed; allowed are 1-4,6-8,64-68");
	vly_topology_free(t);
}

Test(topology, list_that_can_not_be_read_is_refused_in_the_lists_words)
{
	struct vly_topology *t = synthetic("pu:4");

	refuses(t, listed("", 1), -EINVAL, "CPU list is empty");
	refuses(t, listed("3-1", 1), -EINVAL, "CPU list \"3-1\": 3-1 runs backwards");
	refuses(t, listed("1,1", 1), -EINVAL, "CPU list \"1,1\": CPU 1 is named twice");
	refuses(t, listed("4096", 1), -ERANGE,
		"CPU list \"4096\": 4096 is beyond the highest CPU, 1023");
	vly_topology_free(t);
}

Test(topology, list_that_is_too_short_needs_overlap)
{
	struct vly_topology *t = synthetic("pu:4");

	refuses(t, listed("2,3", 3), -E2BIG,
		"3 cores but only 2 CPUs are listed (allowed are 0-3); allow overlap?");
	picks(t,
	      (struct vly_topology_wish){
		      .cpus = "2,3", .cores = 5, .numa_node = -1, .allow_overlap = true},
	      "2,3,2,3,2");
	picks(t,
	      (struct vly_topology_wish){
		      .cpus = "1,1,0", .cores = 3, .numa_node = -1, .allow_overlap = true},
	      "1,1,0");
	vly_topology_free(t);
}

Test(topology, long_lists_in_messages_are_cut_with_dots)
{
	struct vly_topology *t = synthetic("pu:200");
	struct vly_cpulist odd = {0};
	struct vly_topology_wish wish = listed("0", 1);
	char err[400] = "";
	int cpu;

	vly_topology_free(t);
	for (unsigned int i = 1; i < 200; i += 2)
		vly_cpulist_add(&odd, i);
	cr_assert_eq(vly_topology_load_synthetic(&t, "pu:200", &odd), 0);
	cr_assert_eq(vly_topology_pick(t, &wish, &cpu, err, sizeof(err)), -EACCES);
	cr_assert_str_eq(err + strlen(err) - 3, "...");
	vly_topology_free(t);
}
