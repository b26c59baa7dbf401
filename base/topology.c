/* topology.c - which CPUs this process may use, and which share a core or a NUMA node */
#include "base/topology.h"

#include <errno.h>
#include <hwloc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

#define CPUS_TEXT_BYTES 160

/* ---- loading ---- */

static int hwloc_error(void)
{
	return errno ? -errno : -EIO;
}

/* CPUs beyond the list's end are left out: they can be neither named nor chosen. */
static void bitmap_to_list(hwloc_const_bitmap_t set, struct vly_cpulist *list)
{
	for (int cpu = hwloc_bitmap_first(set); cpu >= 0 && cpu < VLY_CPULIST_MAX;
	     cpu = hwloc_bitmap_next(set, cpu))
		vly_cpulist_add(list, (unsigned int)cpu);
}

/*
 * OS index of the node that a PU belongs to: the lowest, where one has several kinds of memory; 0
 * without NUMA.
 */
static int node_of_pu(hwloc_topology_t hw, hwloc_obj_t pu)
{
	hwloc_obj_t node = NULL;
	int lowest = -1;

	while ((node = hwloc_get_next_obj_by_type(hw, HWLOC_OBJ_NUMANODE, node))) {
		if (hwloc_bitmap_isset(node->cpuset, pu->os_index) &&
		    (lowest < 0 || (int)node->os_index < lowest))
			lowest = (int)node->os_index;
	}
	return lowest < 0 ? 0 : lowest;
}

static bool node_seen(const struct vly_topology *t, uint32_t count, int node)
{
	for (uint32_t i = 0; i < count; i++) {
		if (t->cpus[i].node == node)
			return true;
	}
	return false;
}

/* Fills cpus[] and the counts from `usable`. 0 or -ENOMEM. */
static int cpus_fill(struct vly_topology *t, hwloc_topology_t hw)
{
	uint32_t count = 0;
	hwloc_obj_t *cores;

	t->cpus = calloc(t->usable.count, sizeof(*t->cpus));
	cores = calloc(t->usable.count, sizeof(hwloc_obj_t));
	if (!t->cpus || !cores) {
		free(cores);
		return -ENOMEM; /* cpus goes with the topology */
	}
	for (unsigned int os_index = 0; os_index < VLY_CPULIST_MAX; os_index++) {
		struct vly_cpu *cpu = &t->cpus[count];
		hwloc_obj_t pu;

		if (!vly_cpulist_has(&t->usable, os_index))
			continue;
		pu = hwloc_get_pu_obj_by_os_index(hw, os_index);
		/* A machine that tells nothing of cores has one per thread. */
		cores[count] = hwloc_get_ancestor_obj_by_type(hw, HWLOC_OBJ_CORE, pu);
		if (!cores[count])
			cores[count] = pu;
		cpu->os_index = (int)os_index;
		cpu->node = node_of_pu(hw, pu);
		cpu->core = -1;
		for (uint32_t i = 0; i < count; i++) {
			if (cores[i] == cores[count]) {
				cpu->core = t->cpus[i].core;
				cpu->smt++;
			}
		}
		if (cpu->core < 0)
			cpu->core = (int)t->core_count++;
		if (!node_seen(t, count, cpu->node))
			t->node_count++;
		count++;
	}
	t->cpu_count = count;
	free(cores);
	return 0;
}

/* Which CPUs exist, are on line and may be used. 0 or -errno. */
static int sets_fill(struct vly_topology *t, hwloc_topology_t hw,
		     const struct vly_cpulist *affinity)
{
	hwloc_bitmap_t usable = hwloc_bitmap_alloc();
	hwloc_bitmap_t bound = hwloc_bitmap_alloc();
	int rc = 0;

	if (!usable || !bound) {
		rc = -ENOMEM;
		goto out;
	}
	bitmap_to_list(hwloc_topology_get_complete_cpuset(hw), &t->existing);
	bitmap_to_list(hwloc_topology_get_topology_cpuset(hw), &t->online);
	hwloc_bitmap_and(usable, hwloc_topology_get_topology_cpuset(hw),
			 hwloc_topology_get_allowed_cpuset(hw));
	/*
	 * The mask of the calling thread is what the threads it starts inherit. Refused only by odd
	 * sandboxes.
	 */
	if (hwloc_topology_is_thissystem(hw) &&
	    hwloc_get_cpubind(hw, bound, HWLOC_CPUBIND_THREAD) == 0)
		hwloc_bitmap_and(usable, usable, bound);
	if (affinity) {
		for (int cpu = hwloc_bitmap_first(usable); cpu >= 0;
		     cpu = hwloc_bitmap_next(usable, cpu)) {
			if (!vly_cpulist_has(affinity, (unsigned int)cpu))
				hwloc_bitmap_clr(usable, (unsigned int)cpu);
		}
	}
	if (hwloc_bitmap_last(usable) >= VLY_CPULIST_MAX)
		vly_log(VLY_LOG_WARN, "topology: CPUs from %d on are left out", VLY_CPULIST_MAX);
	bitmap_to_list(usable, &t->usable);
	if (t->usable.count == 0)
		rc = -ENODEV;
out:
	hwloc_bitmap_free(bound);
	hwloc_bitmap_free(usable);
	return rc;
}

/*
 * hwloc's default filters stay, which leave devices out: dropping caches or groups as well would
 * lift the memory that hangs below them, and a node would lose its own CPU set.
 */
static int source_configure(hwloc_topology_t hw, const char *synthetic, const char *xml)
{
	if (hwloc_topology_set_flags(hw, HWLOC_TOPOLOGY_FLAG_INCLUDE_DISALLOWED) != 0)
		return hwloc_error();
	if (synthetic && hwloc_topology_set_synthetic(hw, synthetic) != 0)
		return -EINVAL;
	if (xml && hwloc_topology_set_xml(hw, xml) != 0)
		return -EINVAL;
	return 0;
}

static int load(struct vly_topology **topology, const char *synthetic, const char *xml,
		const struct vly_cpulist *affinity)
{
	struct vly_topology *t;
	hwloc_topology_t hw;
	int rc;

	*topology = NULL;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	errno = 0;
	if (hwloc_topology_init(&hw) != 0) {
		rc = hwloc_error();
		goto free_topology;
	}
	rc = source_configure(hw, synthetic, xml);
	if (rc)
		goto destroy_hw;
	if (hwloc_topology_load(hw) != 0) {
		rc = synthetic || xml ? -EINVAL : hwloc_error();
		goto destroy_hw;
	}
	rc = sets_fill(t, hw, affinity);
	if (rc)
		goto destroy_hw;
	rc = cpus_fill(t, hw);
	if (rc)
		goto destroy_hw;
	hwloc_topology_destroy(hw);
	*topology = t;
	return 0;

destroy_hw:
	hwloc_topology_destroy(hw);
free_topology:
	vly_topology_free(t);
	return rc;
}

int vly_topology_load(struct vly_topology **topology)
{
	return load(topology, NULL, NULL, NULL);
}

int vly_topology_load_synthetic(struct vly_topology **topology, const char *description,
				const struct vly_cpulist *affinity)
{
	return load(topology, description, NULL, affinity);
}

int vly_topology_load_xml(struct vly_topology **topology, const char *path,
			  const struct vly_cpulist *affinity)
{
	if (access(path, R_OK) != 0) {
		*topology = NULL;
		return -errno;
	}
	return load(topology, NULL, path, affinity);
}

void vly_topology_free(struct vly_topology *topology)
{
	if (!topology)
		return;
	free(topology->cpus);
	free(topology);
}

/* ---- asking ---- */

const struct vly_cpu *vly_topology_cpu(const struct vly_topology *topology, int os_index)
{
	for (uint32_t i = 0; i < topology->cpu_count; i++) {
		if (topology->cpus[i].os_index == os_index)
			return &topology->cpus[i];
	}
	return NULL;
}

int vly_topology_node_of(const struct vly_topology *topology, int os_index)
{
	const struct vly_cpu *cpu = vly_topology_cpu(topology, os_index);

	return cpu ? cpu->node : -ENOENT;
}

/* ---- choosing ---- */

/* A choice under way. */
struct pick {
	const struct vly_topology *topology;
	int *cpu_out;
	uint32_t count; /* chosen so far */
	uint32_t cores; /* wanted */
	char *err;
	size_t err_bytes;
};

__attribute__((format(printf, 3, 4))) static int refuse(const struct pick *p, int error,
							const char *fmt, ...)
{
	va_list args;

	if (p->err && p->err_bytes) {
		va_start(args, fmt);
		vsnprintf(p->err, p->err_bytes, fmt, args);
		va_end(args);
	}
	return error;
}

static const char *list_text(const struct vly_cpulist *list, char text[CPUS_TEXT_BYTES])
{
	size_t len_bytes = vly_cpulist_format(list, text, CPUS_TEXT_BYTES);

	if (len_bytes >= CPUS_TEXT_BYTES)
		snprintf(text + CPUS_TEXT_BYTES - 4, 4, "...");
	return text;
}

/* The first thread of each core of a node: how many cores it offers. */
static uint32_t node_cores(const struct vly_topology *t, int node)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < t->cpu_count; i++)
		count += t->cpus[i].node == node && t->cpus[i].smt == 0;
	return count;
}

/* The next higher node that has usable CPUs, -1 past the last; begin with -1. */
static int node_after(const struct vly_topology *t, int node)
{
	int next = -1;

	for (uint32_t i = 0; i < t->cpu_count; i++) {
		int candidate = t->cpus[i].node;

		if (candidate > node && (next < 0 || candidate < next))
			next = candidate;
	}
	return next;
}

static int node_first(const struct vly_topology *t, uint32_t cores)
{
	uint32_t best_cores = 0;
	int best = -1;

	for (int node = node_after(t, -1); node >= 0; node = node_after(t, node)) {
		uint32_t count = node_cores(t, node);

		if (count >= cores)
			return node;
		if (best < 0 || count > best_cores) {
			best = node;
			best_cores = count;
		}
	}
	return best;
}

static void node_take(struct pick *p, int node, int smt)
{
	const struct vly_topology *t = p->topology;

	for (uint32_t i = 0; i < t->cpu_count && p->count < p->cores; i++) {
		if (t->cpus[i].node == node && t->cpus[i].smt == smt)
			p->cpu_out[p->count++] = t->cpus[i].os_index;
	}
}

static void take_by_nearness(struct pick *p, int only_node)
{
	const struct vly_topology *t = p->topology;
	int first = only_node >= 0 ? only_node : node_first(t, p->cores);
	int smt_end = 0;

	for (uint32_t i = 0; i < t->cpu_count; i++)
		smt_end = t->cpus[i].smt >= smt_end ? t->cpus[i].smt + 1 : smt_end;
	for (int smt = 0; smt < smt_end; smt++) {
		node_take(p, first, smt);
		if (only_node >= 0)
			continue;
		for (int node = node_after(t, -1); node >= 0; node = node_after(t, node)) {
			if (node != first)
				node_take(p, node, smt);
		}
	}
}

/* Every CPU of the list is checked, needed or not: a wrong list is a wrong list. */
static int take_listed(struct pick *p, const struct vly_topology_wish *wish)
{
	const struct vly_topology *t = p->topology;
	struct vly_cpulist list;
	char text[CPUS_TEXT_BYTES];
	int rc;

	rc = vly_cpulist_parse(wish->cpus, wish->allow_overlap, &list, p->err, p->err_bytes);
	if (rc)
		return rc;
	for (uint32_t i = 0; i < list.count; i++) {
		unsigned int cpu = list.order[i];

		if (!vly_cpulist_has(&t->existing, cpu))
			return refuse(p, -ENOENT, "CPU %u does not exist: this machine has %s", cpu,
				      list_text(&t->existing, text));
		if (!vly_cpulist_has(&t->online, cpu))
			return refuse(p, -EACCES, "CPU %u is off line; on line are %s", cpu,
				      list_text(&t->online, text));
		if (!vly_cpulist_has(&t->usable, cpu))
			return refuse(p, -EACCES, "CPU %u is not allowed; allowed are %s", cpu,
				      list_text(&t->usable, text));
		if (p->count < p->cores)
			p->cpu_out[p->count++] = (int)cpu;
	}
	return 0;
}

int vly_topology_pick(const struct vly_topology *topology, const struct vly_topology_wish *wish,
		      int *cpu_out, char *err, size_t err_bytes)
{
	struct pick p = {
		.topology = topology,
		.cpu_out = cpu_out,
		.cores = wish->cores,
		.err = err,
		.err_bytes = err_bytes,
	};
	char text[CPUS_TEXT_BYTES];
	uint32_t distinct;

	if (wish->cores == 0)
		return refuse(&p, -EINVAL, "no cores were asked for: at least 1 is needed");
	if (wish->cpus) {
		int rc = take_listed(&p, wish);

		if (rc)
			return rc;
	} else {
		if (wish->numa_node < -1)
			return refuse(&p, -EINVAL, "NUMA node %d makes no sense: -1 means any",
				      wish->numa_node);
		if (wish->numa_node >= 0 && !node_cores(topology, wish->numa_node))
			return refuse(&p, -ENOENT,
				      "NUMA node %d does not exist or has no CPU for this process",
				      wish->numa_node);
		take_by_nearness(&p, wish->numa_node);
	}
	if (p.count < p.cores && !wish->allow_overlap)
		return refuse(&p, -E2BIG,
			      "%u cores but only %u %s (allowed are %s); allow overlap?", p.cores,
			      p.count,
			      wish->cpus             ? "CPUs are listed"
			      : wish->numa_node >= 0 ? "usable CPUs on that NUMA node"
						     : "usable CPUs",
			      list_text(&topology->usable, text));
	distinct = p.count;
	for (; p.count < p.cores; p.count++)
		cpu_out[p.count] = cpu_out[p.count % distinct];
	return 0;
}
