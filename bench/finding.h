/* finding.h - read-only checks of this machine: what limits a bench here and how to mend it */
#ifndef VLY_BENCH_FINDING_H
#define VLY_BENCH_FINDING_H

#include <jansson.h>
#include <stdbool.h>

#include "bench/cpupair.h"

#define FINDING_BYTES 256

enum finding_level {
	FINDING_OK,
	FINDING_NOTE,
	FINDING_WARN
};

struct finding {
	enum finding_level level;
	char name[32];
	char text[FINDING_BYTES];
	char mend[FINDING_BYTES]; /* a command; empty: none */
};

#define FINDINGS_MAX 32

struct findings {
	unsigned int count;
	struct finding list[FINDINGS_MAX];
};

/* One more; where there is no room, the last ones are lost. */
struct finding *finding_add(struct findings *findings, enum finding_level level, const char *name,
			    const char *format, ...) __attribute__((format(printf, 4, 5)));
void finding_mend(struct finding *finding, const char *command);

/* Looks at everything but what CPUs do; changes nothing. Some milliseconds. */
void findings_collect(struct findings *findings);

/* Measures every CPU that this process may use: some 10 ms each. */
void findings_cpu_speed(struct findings *findings);

/* Looks again and again, for some 200 ms, at the CPUs that server and load get by default. */
void findings_cpu_distance(struct findings *findings);

/* A look at them: each while the others rest, and all of both sides at once (cpupair.h). */
struct finding_look {
	double alone_op_per_ns; /* pace.h, of the slowest */
	struct cpupair at_once;
};

/* What these looks tell; `cpus` names the CPUs. */
void finding_add_distance(struct findings *findings, const char *cpus,
			  const struct finding_look *looks, unsigned int count);

/* What a port of DPDK's needs, by the steps of docs/10gbe.md: nothing else needs it, so no finding warns. */
void findings_port(struct findings *findings);

/*
 * What a result file says about this machine: hardware, kernel, limits, settings, libraries and the
 * findings that are no OK.
 */
json_t *findings_environment(const struct findings *findings);

#endif
