/* cpupair.h - two CPUs that work at once: how far apart they are, and how much each gets done */
#ifndef VLY_BENCH_CPUPAIR_H
#define VLY_BENCH_CPUPAIR_H

#include "bench/cpus.h"

/*
 * What a virtual machine is told about its CPUs need not be so, nor stay so: the host puts two of them now on the
 * threads of one core, now on cores with a cache in common, now on others. NAN: not known.
 */
struct cpupair {
	/*
	 * For a cache line that one writes and the other waits for, there and back; NAN, too, for a CPU with itself.
	 * Threads of one core are the closest, and have half of it each.
	 */
	double line_ns;
	double pace_op_per_ns; /* of the slower one (pace.h) while the other works, too */
};

/*
 * On a thread for each that is pinned to it, of SCHED_OTHER if that is permitted; some 400 us. It is given up after
 * CPUPAIR_PATIENCE_NS, with nothing known, if one of them does not get its CPU meanwhile; that thread ends when it does,
 * and nobody waits for it.
 */
#define CPUPAIR_PATIENCE_NS UINT64_C(2000000)
struct cpupair cpupair_probe(int a, int b);

/* The longer way and the lower pace; nothing is known of a pace if one of them is not. */
struct cpupair cpupair_worse(struct cpupair a, struct cpupair b);

/*
 * The worst of the pairs of one CPU of each side, in the order of both lists, of which the shorter one begins again; and
 * of the pace of all CPUs of both sides at once, since those of one side may be threads of one core, too.
 */
struct cpupair cpupair_probe_sides(const struct cpus *a, const struct cpus *b);

#endif
