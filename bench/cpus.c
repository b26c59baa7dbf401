/* cpus.c - which CPUs the server under test and the load generator run on */
#include "bench/cpus.h"

#include <ctype.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sysfile.h"

bool cpus_has(const struct cpus *cpus, int cpu)
{
	for (unsigned int i = 0; i < cpus->count; i++)
		if (cpus->list[i] == cpu)
			return true;
	return false;
}

bool cpus_add(struct cpus *cpus, int cpu)
{
	if (cpus->count == CPUS_MAX || cpus_has(cpus, cpu))
		return false;
	cpus->list[cpus->count++] = cpu;
	return true;
}

/* A CPU number at *at, which it passes; -1 if there is none or it is too large. */
static int parse_number(const char **at)
{
	char *end;

	if (!isdigit((unsigned char)**at))
		return -1;
	unsigned long value = strtoul(*at, &end, 10);
	*at = end;
	return value < CPUS_MAX ? (int)value : -1;
}

int cpus_parse(const char *text, struct cpus *cpus, char *why, size_t why_bytes)
{
	const char *at = text;

	memset(cpus, 0, sizeof(*cpus));
	do {
		const char *piece = at;
		int first = parse_number(&at);
		int last = first;
		if (first >= 0 && *at == '-') {
			at++;
			last = parse_number(&at);
		}
		if (first < 0 || last < 0 || (*at && *at != ',')) {
			snprintf(why, why_bytes,
				 "'%s' at '%s': a CPU list is written 0-3,8 (CPUs 0 to %d)", text,
				 piece, CPUS_MAX - 1);
			goto bad;
		}
		if (last < first) {
			snprintf(why, why_bytes, "'%s': the range %d-%d runs backwards", text,
				 first, last);
			goto bad;
		}
		for (int cpu = first; cpu <= last; cpu++) {
			if (!cpus_add(cpus, cpu)) {
				snprintf(why, why_bytes, "'%s' names CPU %d twice", text, cpu);
				goto bad;
			}
		}
	} while (*at++ == ',');
	return 0;
bad:
	cpus->count = 0;
	return -EINVAL;
}

char *cpus_format(const struct cpus *cpus, char *text, size_t size_bytes)
{
	size_t len = 0;

	if (cpus->count == 0)
		snprintf(text, size_bytes, "none");
	for (unsigned int i = 0; i < cpus->count && len < size_bytes;) {
		unsigned int last = i;
		while (last + 1 < cpus->count && cpus->list[last + 1] == cpus->list[last] + 1)
			last++;
		const char *comma = i ? "," : "";
		if (last == i)
			len += (size_t)snprintf(text + len, size_bytes - len, "%s%d", comma,
						cpus->list[i]);
		else
			len += (size_t)snprintf(text + len, size_bytes - len, "%s%d-%d", comma,
						cpus->list[i], cpus->list[last]);
		i = last + 1;
	}
	return text;
}

int cpus_allowed(struct cpus *cpus)
{
	cpu_set_t set;

	memset(cpus, 0, sizeof(*cpus));
	if (sched_getaffinity(0, sizeof(set), &set) != 0)
		return -errno;
	for (int cpu = 0; cpu < CPUS_MAX; cpu++)
		if (CPU_ISSET(cpu, &set))
			cpus_add(cpus, cpu);
	return 0;
}

void cpus_keep(struct cpus *cpus, const struct cpus *others)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < cpus->count; i++)
		if (cpus_has(others, cpus->list[i]))
			cpus->list[kept++] = cpus->list[i];
	cpus->count = kept;
}

int cpus_of_node(int node, struct cpus *cpus)
{
	char path[96], text[4096], why[128];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d/cpulist", node);
	if (sysfile_read(path, text, sizeof(text)) < 0)
		return -ENOENT;
	return cpus_parse(text, cpus, why, sizeof(why)) == 0 ? 0 : -ENOENT;
}

/*
 * The hardware threads of the CPU's core, itself included; itself alone where the kernel does not
 * tell.
 */
static void siblings_of(int cpu, struct cpus *siblings)
{
	char path[96], text[1024], why[128];

	snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list",
		 cpu);
	if (sysfile_read(path, text, sizeof(text)) < 0 ||
	    cpus_parse(text, siblings, why, sizeof(why)) != 0) {
		siblings->count = 1;
		siblings->list[0] = cpu;
	}
}

int cpus_smt_clash(const struct cpus *a, const struct cpus *b)
{
	for (unsigned int i = 0; i < a->count; i++) {
		struct cpus siblings;
		siblings_of(a->list[i], &siblings);
		for (unsigned int j = 0; j < siblings.count; j++)
			if (siblings.list[j] != a->list[i] && cpus_has(b, siblings.list[j]))
				return a->list[i];
	}
	return -1;
}

/*
 * Adds to `out` what is in `allowed` but not in `taken`; with `whole_cores` nothing that shares a
 * core with `taken`.
 */
static void add_rest(const struct cpus *allowed, const struct cpus *taken, bool whole_cores,
		     struct cpus *out)
{
	for (unsigned int i = 0; i < allowed->count && out->count < CPUS_LOAD_DEFAULT; i++) {
		struct cpus one = {.count = 1, .list = {allowed->list[i]}};
		if (cpus_has(taken, allowed->list[i]))
			continue;
		if (whole_cores && cpus_smt_clash(&one, taken) >= 0)
			continue;
		cpus_add(out, allowed->list[i]);
	}
}

void cpus_split(const struct cpus *allowed, struct cpus *server, struct cpus *load)
{
	if (allowed->count == 0)
		return;
	if (server->count == 0) {
		struct cpus rest = {.count = 0};
		add_rest(allowed, load, true, &rest);
		if (rest.count == 0)
			add_rest(allowed, load, false, &rest);
		server->count = 1;
		server->list[0] = rest.count ? rest.list[0] : allowed->list[0];
	}
	if (load->count == 0) {
		add_rest(allowed, server, true, load);
		if (load->count == 0)
			add_rest(allowed, server, false, load);
		if (load->count == 0)
			cpus_add(load, allowed->list[0]);
	}
}

int cpus_pin(const struct cpus *cpus)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (unsigned int i = 0; i < cpus->count; i++)
		CPU_SET(cpus->list[i], &set);
	return sched_setaffinity(0, sizeof(set), &set) == 0 ? 0 : -errno;
}
