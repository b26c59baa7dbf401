/* pace.c - how much a CPU gets done beside whoever else uses its core */
#include "bench/pace.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "volley/core.h"

#define PIECES 2 /* the fastest counts: an interrupt, or the way out of an idle state, meets one */
#define ROUNDS 4000u
#define ROUND_OPERATIONS 12u
#define NS_PER_S UINT64_C(1000000000)

/* Six chains beside each other, more than any core has units for; barriers keep rounds apart. */
static void work(void)
{
	uint64_t a = 1, b = 2, c = 3, d = 4, e = 5, f = 6;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		a += 1, b += 1, c += 1, d += 1, e += 1, f += 1;
		__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
		a ^= 3, b ^= 3, c ^= 3, d ^= 3, e ^= 3, f ^= 3;
		__asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f));
	}
}

double pace_probe(void)
{
	uint64_t best_ns = UINT64_MAX, begin_ns = vly_now_ns();

	for (int i = 0; i < PIECES; i++) {
		work();
		uint64_t now_ns = vly_now_ns();

		if (now_ns - begin_ns < best_ns)
			best_ns = now_ns - begin_ns;
		begin_ns = now_ns;
	}
	return (double)(ROUNDS * ROUND_OPERATIONS) / (double)(best_ns ? best_ns : 1);
}

static void *run(void *arg)
{
	struct pace_watch *watch = arg;
	uint64_t next_ns = vly_now_ns();

	while (!atomic_load_explicit(&watch->over, memory_order_relaxed)) {
		unsigned int count = atomic_load_explicit(&watch->count, memory_order_relaxed);

		if (count < PACE_SAMPLES) {
			double pace = pace_probe();

			watch->samples[count] = (struct pace_sample){vly_now_ns(), pace};
			atomic_store_explicit(&watch->count, count + 1, memory_order_release);
		}
		next_ns += PACE_PERIOD_NS;
		struct timespec until = {.tv_sec = (time_t)(next_ns / NS_PER_S),
					 .tv_nsec = (long)(next_ns % NS_PER_S)};

		(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
	}
	return NULL;
}

int pace_watch_start(struct pace_watch *watch, int cpu)
{
	struct sched_param first = {.sched_priority = 1};
	pthread_attr_t attr;
	cpu_set_t set;

	memset(watch, 0, sizeof(*watch));
	watch->cpu = cpu;
	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return -EINVAL;
	watch->samples = calloc(PACE_SAMPLES, sizeof(*watch->samples));
	if (!watch->samples)
		return -ENOMEM;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	int err = pthread_attr_init(&attr);

	if (err)
		return -err;
	(void)pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	(void)pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
	(void)pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
	(void)pthread_attr_setschedparam(&attr, &first);
	err = pthread_create(&watch->thread, &attr, run, watch);
	if (err == EPERM) {
		(void)pthread_attr_setinheritsched(&attr, PTHREAD_INHERIT_SCHED);
		err = pthread_create(&watch->thread, &attr, run, watch);
	}
	pthread_attr_destroy(&attr);
	watch->started = !err;
	return -err;
}

void pace_watch_stop(struct pace_watch *watch)
{
	atomic_store_explicit(&watch->over, true, memory_order_relaxed);
	if (watch->started)
		pthread_join(watch->thread, NULL);
	watch->started = false;
}

void pace_watch_fini(struct pace_watch *watch)
{
	pace_watch_stop(watch);
	free(watch->samples);
	watch->samples = NULL;
}

unsigned int pace_watch_count(const struct pace_watch *watch)
{
	/* pairs with the release in run() */
	return atomic_load_explicit(&watch->count, memory_order_acquire);
}

unsigned int pace_watch_streak(const struct pace_watch *watch, double pace)
{
	unsigned int count = pace_watch_count(watch), streak = 0;

	while (streak < count && watch->samples[count - 1 - streak].pace >= pace)
		streak++;
	return streak;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double pace_watch_percentile(const struct pace_watch *watch, uint64_t begin_ns, uint64_t end_ns,
			     double percent)
{
	unsigned int count = pace_watch_count(watch), kept = 0;
	double *paces = calloc((size_t)count + 1, sizeof(*paces));
	double value = (double)NAN;

	for (unsigned int i = 0; paces && i < count; i++)
		if (watch->samples[i].stamp_ns >= begin_ns && watch->samples[i].stamp_ns < end_ns)
			paces[kept++] = watch->samples[i].pace;
	if (kept) {
		qsort(paces, kept, sizeof(*paces), by_value);
		value = paces[(unsigned int)((double)(kept - 1) * percent / 100 + 0.5)];
	}
	free(paces);
	return value;
}
