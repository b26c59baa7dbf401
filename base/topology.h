/* topology.h - which CPUs this process may use, and which share a core or a NUMA node */
#ifndef VLY_BASE_TOPOLOGY_H
#define VLY_BASE_TOPOLOGY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cpulist.h"

/* One usable hardware thread. */
struct vly_cpu {
	int os_index; /* as in /proc/cpuinfo and "taskset -c" */
	int core;     /* number of its physical core, 0 to core_count - 1 */
	int smt;      /* its place among the core's usable threads: 0 is the first */
	int node;     /* OS index of its NUMA node */
};

/* Read-only after loading; taken from malloc() once, at start. */
struct vly_topology {
	uint32_t cpu_count;          /* of usable CPUs */
	uint32_t core_count;         /* of physical cores with a usable CPU */
	uint32_t node_count;         /* of NUMA nodes with a usable CPU */
	struct vly_cpulist existing; /* all that the machine has, off line or not */
	struct vly_cpulist online;
	struct vly_cpulist usable;
	struct vly_cpu *cpus; /* ascending by os_index */
};

/*
 * This machine: on line, allowed by the cpuset, and in the calling thread's affinity mask. 0;
 * -ENOMEM; -ENODEV: no CPU is left; or what hwloc says. hwloc's own variables (HWLOC_SYNTHETIC,
 * HWLOC_XMLFILE) are honoured; affinity then does not apply. Returns a topology for
 * vly_topology_free().
 */
__attribute__((warn_unused_result)) int vly_topology_load(struct vly_topology **topology);

/*
 * A described one, for tests: hwloc's synthetic syntax ("numa:2 core:4 pu:2"), or a file that
 * lstopo wrote. `affinity` stands for the thread's mask (NULL: all). -EINVAL: not understood;
 * -ENOENT: no such file.
 */
__attribute__((warn_unused_result)) int
vly_topology_load_synthetic(struct vly_topology **topology, const char *description,
			    const struct vly_cpulist *affinity);
__attribute__((warn_unused_result)) int vly_topology_load_xml(struct vly_topology **topology,
							      const char *path,
							      const struct vly_cpulist *affinity);

/* NULL is ignored. */
void vly_topology_free(struct vly_topology *topology);

/* The usable CPU of that OS index, or NULL. */
const struct vly_cpu *vly_topology_cpu(const struct vly_topology *topology, int os_index);

/* The NUMA node (OS index) of a usable CPU; -ENOENT if it is not one. */
int vly_topology_node_of(const struct vly_topology *topology, int os_index);

struct vly_topology_wish {
	const char *cpus;   /* "0-3,8": these, in this order; NULL: chosen */
	unsigned int cores; /* how many CPUs, at least 1 */
	int numa_node;      /* choose on this node (OS index) only; -1: any. Not for a list */
	bool allow_overlap; /* CPUs may serve, and be listed, more than once */
};

/*
 * Chooses `wish->cores` CPUs into cpu_out[]; of a longer list the first ones. Without a list: the
 * first thread of each physical core of one node (the lowest node that holds them all, else the one
 * with most cores), then of the further nodes in their order, then the second threads in the same
 * order of nodes, and so on. 0; -EINVAL, -ERANGE: a list (see vly_cpulist_parse()) or number that
 * makes no sense; -ENOENT: a CPU or node that does not exist; -EACCES: a CPU that exists but is off
 * line or not ours to use; -E2BIG: more cores than CPUs and no overlap allowed. `err` (may be NULL)
 * then says so in one line that names the CPU or the numbers.
 */
__attribute__((warn_unused_result)) int vly_topology_pick(const struct vly_topology *topology,
							  const struct vly_topology_wish *wish,
							  int *cpu_out, char *err,
							  size_t err_bytes);

#endif
