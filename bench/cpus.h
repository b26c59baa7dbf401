/* cpus.h - which CPUs the server under test and the load generator run on */
#ifndef VLY_BENCH_CPUS_H
#define VLY_BENCH_CPUS_H

#include <stdbool.h>
#include <stddef.h>

#define CPUS_MAX 1024
#define CPUS_TEXT_MAX 256

/* CPU numbers in the order given; plain memory, all zero is the empty list. */
struct cpus {
	unsigned int count;
	int list[CPUS_MAX];
};

/* Reads "0-3,8". 0, or -EINVAL with one line in `why` that says what is wrong. */
int cpus_parse(const char *text, struct cpus *cpus, char *why, size_t why_bytes);

/* Writes "0-3,8" in list order; "none" if empty. Returns `text`. */
char *cpus_format(const struct cpus *cpus, char *text, size_t size_bytes);

bool cpus_has(const struct cpus *cpus, int cpu);
bool cpus_add(struct cpus *cpus, int cpu); /* false: there already, or no room */

/* What the calling thread may run on. 0 or -errno. */
int cpus_allowed(struct cpus *cpus);

/* Only what is in both, in the order of `cpus`. */
void cpus_keep(struct cpus *cpus, const struct cpus *others);

/* CPUs of a NUMA node. 0, or -ENOENT: no such node. */
int cpus_of_node(int node, struct cpus *cpus);

/*
 * The first CPU of `a` that is a sibling thread of (but not the same as) one in `b`; -1 if there is
 * none.
 */
int cpus_smt_clash(const struct cpus *a, const struct cpus *b);

/*
 * The default split of `allowed`: the server gets the first, the load up to CPUS_LOAD_DEFAULT
 * others that share no physical core with it; if all share one, others all the same; with a single
 * CPU both get it. What the caller has given already (count above 0) stays, the other is chosen
 * around it.
 */
#define CPUS_LOAD_DEFAULT 4
void cpus_split(const struct cpus *allowed, struct cpus *server, struct cpus *load);

/* Pins the calling thread. 0 or -errno. */
int cpus_pin(const struct cpus *cpus);

#endif
