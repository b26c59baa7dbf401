/* finding_distance.c - how far apart the CPUs of server and load are by default, and whether they stay so */
#include "bench/finding.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench/cpus.h"
#include "bench/pace.h"

#define NAME "CPU distance"
#define LOOKS 20
#define PAUSE_NS 10000000
#define VARIES 2.0
/* Of all looks: a neighbour that comes or goes within one looks the same as a thread of the same core. */
#define SIBLINGS_SHARE 0.25

void finding_add_distance(struct findings *findings, const char *cpus,
			  const struct finding_look *looks, unsigned int count)
{
	double least = (double)NAN, most = (double)NAN; /* fmin() and fmax() pass it by */
	unsigned int seen = 0, halved = 0;

	for (unsigned int i = 0; i < count; i++) {
		seen += !isnan(looks[i].at_once.line_ns);
		least = fmin(least, looks[i].at_once.line_ns);
		most = fmax(most, looks[i].at_once.line_ns);
		halved += looks[i].at_once.pace_op_per_ns < PACE_FULL * looks[i].alone_op_per_ns;
	}
	if (!seen) {
		finding_add(findings, FINDING_NOTE, NAME, "not known: %.40s are busy", cpus);
		return;
	}
	bool varies = most > VARIES * least, siblings = halved >= SIBLINGS_SHARE * seen;
	struct finding *f = finding_add(
		findings, varies || siblings ? FINDING_WARN : FINDING_OK, NAME,
		"a cache line there and back between server and load (%.40s) in %.0f to %.0f ns",
		cpus, least, most);
	char *end = f->text + strlen(f->text);
	size_t room = sizeof(f->text) - strlen(f->text);

	if (siblings)
		snprintf(end, room,
			 "; at %u of %u looks they were threads of one core, half of it each",
			 halved, seen);
	if (varies)
		finding_mend(f, "the host moves the CPUs about: compare in turns (--turns)");
	else if (siblings)
		finding_mend(f, "name others by --server-cpus and --load-cpus");
}

/* Each while the others rest. */
static struct cpupair alone(const struct cpus *cpus)
{
	struct cpupair worst = {.line_ns = (double)NAN, .pace_op_per_ns = (double)INFINITY};

	for (unsigned int i = 0; i < cpus->count; i++)
		worst = cpupair_worse(worst, cpupair_probe(cpus->list[i], cpus->list[i]));
	return worst;
}

void findings_cpu_distance(struct findings *findings)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	struct cpus allowed, server = {.count = 0}, load = {.count = 0};
	struct finding_look looks[LOOKS];
	char servers[CPUS_TEXT_MAX], loads[CPUS_TEXT_MAX], text[64];

	/* a single one has no distance, and a finding of its own */
	if (cpus_allowed(&allowed) != 0 || allowed.count < 2)
		return;
	cpus_split(&allowed, &server, &load);
	for (unsigned int i = 0; i < LOOKS; i++) {
		nanosleep(&pause, NULL);
		looks[i].alone_op_per_ns =
			cpupair_worse(alone(&server), alone(&load)).pace_op_per_ns;
		looks[i].at_once = cpupair_probe_sides(&server, &load);
	}
	snprintf(text, sizeof(text), "CPUs %.16s and %.16s",
		 cpus_format(&server, servers, sizeof(servers)),
		 cpus_format(&load, loads, sizeof(loads)));
	finding_add_distance(findings, text, looks, LOOKS);
}
