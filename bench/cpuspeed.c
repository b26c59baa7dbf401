/* cpuspeed.c - a chain of dependent instructions, timed on one CPU */
#include "bench/cpuspeed.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

#define ROUNDS 5
#define STEP_LINKS 40000 /* some 60 us: reading the clock in between costs a system call */
#define ROUND_NS UINT64_C(2000000)

/* The thread's own time: others on the CPU do not make it slower. */
static uint64_t run_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/*
 * `links` dependent multiply-adds. The barrier keeps the compiler from folding two of them into
 * one.
 */
static uint64_t chain(uint64_t x, uint32_t links)
{
	for (uint32_t i = 0; i < links; i += 4) {
		x = x * UINT64_C(6364136223846793005) + 1;
		__asm__("" : "+r"(x));
		x = x * UINT64_C(6364136223846793005) + 1;
		__asm__("" : "+r"(x));
		x = x * UINT64_C(6364136223846793005) + 1;
		__asm__("" : "+r"(x));
		x = x * UINT64_C(6364136223846793005) + 1;
		__asm__("" : "+r"(x));
	}
	return x;
}

/* On the pinned thread; the fastest round in core cycles per nanosecond goes to `arg`. */
static void *measure(void *arg)
{
	double *effective_ghz = arg;
	uint64_t x = run_ns();

	for (int round = 0; round < ROUNDS; round++) {
		uint64_t begin_ns = run_ns(), end_ns;
		uint64_t links = 0;
		double ghz;

		do {
			x = chain(x, STEP_LINKS);
			links += STEP_LINKS;
			end_ns = run_ns();
		} while (end_ns - begin_ns < ROUND_NS);
		ghz = (double)(CPUSPEED_CHAIN_CYCLES * links) / (double)(end_ns - begin_ns);
		if (ghz > *effective_ghz)
			*effective_ghz = ghz;
	}
	/* the chain's end is used, or it would not be computed */
	__asm__ volatile("" : : "r"(x));
	return NULL;
}

int cpuspeed_measure(int cpu, double *effective_ghz)
{
	pthread_attr_t attr;
	pthread_t thread;
	cpu_set_t set;
	int err;

	*effective_ghz = 0.0;
	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return -EINVAL;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	err = pthread_attr_init(&attr);
	if (err)
		return -err;
	err = pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (!err)
		err = pthread_create(&thread, &attr, measure, effective_ghz);
	pthread_attr_destroy(&attr);
	if (!err)
		err = pthread_join(thread, NULL);
	return -err;
}

double cpuspeed_change(double before_ghz, double after_ghz)
{
	double larger = fmax(before_ghz, after_ghz);

	return larger > 0.0 ? fabs(after_ghz - before_ghz) / larger : 0.0;
}
