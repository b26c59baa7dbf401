/* disturbance.c - what the kernel did meanwhile that no server asked for */
#include "bench/disturbance.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sysfile.h"

#define TEXT_BYTES 8192

bool disturbance_parse_snmp(const char *text, uint64_t *retransmits)
{
	/* Two lines, headings and numbers: "Tcp: RtoAlgorithm ..." and "Tcp: 1 ...". */
	const char *names = strncmp(text, "Tcp: ", 5) == 0 ? text : strstr(text, "\nTcp: ");
	const char *numbers = names ? strstr(names + 1, "\nTcp: ") : NULL;

	if (!numbers)
		return false;
	names += names[0] == '\n';
	numbers++;
	for (;;) {
		size_t name = strcspn(names, " \n"), number = strcspn(numbers, " \n");
		if (name == strlen("RetransSegs") && strncmp(names, "RetransSegs", name) == 0) {
			*retransmits = strtoull(numbers, NULL, 10);
			return number > 0;
		}
		if (names[name] != ' ' || numbers[number] != ' ')
			return false;
		names += name + 1;
		numbers += number + 1;
	}
}

/* cpu.stat of the control group (version 2) that this process is in. */
static bool throttled(uint64_t *us)
{
	char groups[1024], path[1200];

	if (sysfile_read("/proc/self/cgroup", groups, sizeof(groups)) <= 0)
		return false;
	const char *own = strncmp(groups, "0::", 3) == 0 ? groups : strstr(groups, "\n0::");
	if (!own)
		return false;
	own = strchr(own, '/');
	if (!own)
		return false;
	snprintf(path, sizeof(path), "/sys/fs/cgroup%.*s/cpu.stat", (int)strcspn(own, "\n"), own);
	return sysfile_field(path, "throttled_usec", us) == 0;
}

void disturbance_take(struct disturbance *disturbance)
{
	char text[TEXT_BYTES];

	memset(disturbance, 0, sizeof(*disturbance));
	disturbance->retransmits_known = sysfile_read("/proc/net/snmp", text, sizeof(text)) > 0 &&
					 disturbance_parse_snmp(text, &disturbance->retransmits);
	disturbance->throttled_known = throttled(&disturbance->throttled_us);
}

void disturbance_skip(struct disturbance *before, const struct disturbance *from,
		      const struct disturbance *to)
{
	before->retransmits_known &= from->retransmits_known && to->retransmits_known;
	before->throttled_known &= from->throttled_known && to->throttled_known;
	before->retransmits += to->retransmits - from->retransmits;
	before->throttled_us += to->throttled_us - from->throttled_us;
}

double disturbance_retransmits(const struct disturbance *before, const struct disturbance *after)
{
	if (!before->retransmits_known || !after->retransmits_known)
		return (double)NAN;
	return (double)(after->retransmits - before->retransmits);
}

double disturbance_throttled_s(const struct disturbance *before, const struct disturbance *after)
{
	if (!before->throttled_known || !after->throttled_known)
		return (double)NAN;
	return (double)(after->throttled_us - before->throttled_us) / 1e6;
}
