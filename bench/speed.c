/* speed.c - how fast the CPUs of a role really run, before and after a window */
#include "bench/speed.h"

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

#include "bench/cpuspeed.h"
#include "volley/core.h"

void speed_measure(const struct cpus *cpus, struct speed *speed)
{
	memset(speed, 0, sizeof(*speed));
	for (unsigned int i = 0; i < cpus->count && i < SPEED_CPUS_MAX; i++) {
		double ghz = 0;
		if (cpuspeed_measure(cpus->list[i], &ghz) != 0)
			ghz = 0;
		speed->ghz[speed->count++] = ghz;
	}
}

double speed_mean(const struct speed *before, const struct speed *after)
{
	double sum = 0;
	unsigned int count = 0;

	for (unsigned int i = 0; i < before->count && i < after->count; i++) {
		if (before->ghz[i] <= 0 || after->ghz[i] <= 0)
			continue;
		sum += before->ghz[i] + after->ghz[i];
		count += 2;
	}
	return count ? sum / count : (double)NAN;
}

double speed_change(const struct speed *before, const struct speed *after, unsigned int *index)
{
	double worst = 0;

	*index = 0;
	for (unsigned int i = 0; i < before->count && i < after->count; i++) {
		if (before->ghz[i] <= 0 || after->ghz[i] <= 0)
			continue;
		double change = cpuspeed_change(before->ghz[i], after->ghz[i]);
		if (change > worst) {
			worst = change;
			*index = i;
		}
	}
	return worst;
}

double speed_tsc_ghz(void)
{
#if defined(__x86_64__)
	static double known;

	if (known > 0)
		return known;
	struct timespec pause = {.tv_nsec = 20000000};
	uint64_t ns = vly_now_ns();
	uint64_t ticks = __rdtsc();
	nanosleep(&pause, NULL);
	ticks = __rdtsc() - ticks;
	ns = vly_now_ns() - ns;
	known = ns ? (double)ticks / (double)ns : (double)NAN;
	return known;
#else
	return (double)NAN;
#endif
}
