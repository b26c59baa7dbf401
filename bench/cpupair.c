/* cpupair.c - two CPUs that work at once: how far apart they are, and how much each gets done */
#include "bench/cpupair.h"

#include <errno.h>
#include <gsl/gsl_sort.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#include "bench/pace.h"
#include "volley/core.h"

#define GROUPS 5 /* the fastest counts: the first one meets cold lines, any an interrupt */
#define TRIPS 64
/* The middle one counts: the fastest may be that during which the other CPU was interrupted. */
#define PACES 5
#define SPINS 1024 /* between looks at the clock */
#define NS_PER_S UINT64_C(1000000000)
#define UNKNOWN ((double)NAN)
#define ALIGN_BYTES 128

/* A thread, and the line that it writes. */
struct worker {
	alignas(ALIGN_BYTES) atomic_uint step; /* release by it, acquire by the others */
	alignas(ALIGN_BYTES) struct probe *probe;
	pthread_t thread;
	double line_ns, pace_op_per_ns; /* by it, before it ends */
};

/* On no stack: a worker whose CPU is not to be had ends when it is, long after the caller went on. */
struct probe {
	atomic_uint holders; /* caller and workers; the last one frees it */
	sem_t go;
	uint64_t deadline_ns; /* by the caller, before `go` */
	unsigned int count;
	struct worker workers[];
};

static void put(struct probe *probe)
{
	if (atomic_fetch_sub_explicit(&probe->holders, 1, memory_order_acq_rel) > 1)
		return;
	sem_destroy(&probe->go);
	free(probe);
}

/* --- a worker --- */

static unsigned int advance(struct worker *worker)
{
	unsigned int step = atomic_load_explicit(&worker->step, memory_order_relaxed) + 1;

	atomic_store_explicit(&worker->step, step, memory_order_release);
	return step;
}

/* Until the other one has come so far; false: it has not in time. */
static bool await(const struct worker *other, unsigned int step)
{
	for (unsigned int spins = 1;
	     atomic_load_explicit(&other->step, memory_order_acquire) < step; spins++)
		if (spins % SPINS == 0 && vly_now_ns() > other->probe->deadline_ns)
			return false;
	return true;
}

/* The next step of all, which they take together. */
static bool meet(struct worker *worker)
{
	const struct probe *probe = worker->probe;
	unsigned int step = advance(worker);

	for (unsigned int i = 0; i < probe->count; i++)
		if (!await(&probe->workers[i], step))
			return false;
	return true;
}

/* The next step of two: the first one tells the second, which answers. */
static bool trip(struct worker *worker, const struct worker *other)
{
	bool first = worker < other;
	unsigned int had = atomic_load_explicit(&worker->step, memory_order_relaxed);

	if (!first && !await(other, had + 1))
		return false;
	advance(worker);
	return !first || await(other, had + 1);
}

static double line_ns(struct worker *worker)
{
	struct probe *probe = worker->probe;
	double best = UNKNOWN; /* fmin() passes it by */

	if (probe->count != 2 || !meet(worker))
		return UNKNOWN;
	const struct worker *other = &probe->workers[worker == probe->workers];

	for (int group = 0; group < GROUPS; group++) {
		uint64_t begin_ns = vly_now_ns();

		for (int i = 0; i < TRIPS; i++)
			if (!trip(worker, other))
				return UNKNOWN;
		best = fmin(best, (double)(vly_now_ns() - begin_ns) / TRIPS);
	}
	return best;
}

static double pace_op_per_ns(struct worker *worker)
{
	double paces[PACES];

	for (int i = 0; i < PACES; i++) {
		if (!meet(worker))
			return UNKNOWN;
		paces[i] = pace_probe();
	}
	gsl_sort(paces, 1, PACES);
	return paces[PACES / 2];
}

static void *run(void *arg)
{
	struct worker *worker = arg;
	struct probe *probe = worker->probe;

	while (sem_wait(&probe->go) != 0)
		;
	/* Passed on before it spins: that may starve a caller of a lower class, who has not told all yet. */
	sem_post(&probe->go);
	if (vly_now_ns() <= probe->deadline_ns) {
		worker->line_ns = line_ns(worker);
		worker->pace_op_per_ns = pace_op_per_ns(worker);
	}
	put(probe);
	return NULL;
}

/* --- the caller --- */

/* 0 or an error number. */
static int start(struct worker *worker, int cpu)
{
	const struct sched_param usual = {.sched_priority = 0};
	pthread_attr_t attr;
	cpu_set_t set;

	if (cpu < 0 || cpu >= CPU_SETSIZE)
		return EINVAL;
	int err = pthread_attr_init(&attr);

	if (err)
		return err;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	err = pthread_attr_setaffinity_np(&attr, sizeof(set), &set);
	if (!err)
		err = pthread_create(&worker->thread, &attr, run, worker);
	pthread_attr_destroy(&attr);
	/*
	 * An idle caller's class would leave the CPU to whoever else runs there. From here, and not by the attributes: a
	 * thread that may not have its class is waited for by pthread_create(), on whatever CPU. Not everybody may leave
	 * SCHED_IDLE.
	 */
	if (!err)
		(void)pthread_setschedparam(worker->thread, SCHED_OTHER, &usual);
	return err;
}

static struct probe *probe_new(unsigned int count)
{
	struct probe *probe =
		aligned_alloc(ALIGN_BYTES, sizeof(*probe) + count * sizeof(probe->workers[0]));

	if (!probe)
		return NULL;
	*probe = (struct probe){.count = count};
	sem_init(&probe->go, 0, 0);
	for (unsigned int i = 0; i < count; i++)
		probe->workers[i] = (struct worker){
			.probe = probe,
			.line_ns = UNKNOWN,
			.pace_op_per_ns = UNKNOWN,
		};
	return probe;
}

/* Whether it has ended in time; else it will end by itself. */
static bool has_ended(const struct worker *worker, const struct timespec *until)
{
	if (pthread_clockjoin_np(worker->thread, NULL, CLOCK_MONOTONIC, until) == 0)
		return true;
	pthread_detach(worker->thread);
	return false;
}

/* When patience ends, by the kernel's clock: that of vly_now_ns() may be a little beside it. */
static struct timespec patience_ends(void)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	uint64_t ns = (uint64_t)until.tv_nsec + CPUPAIR_PATIENCE_NS;

	until.tv_sec += (time_t)(ns / NS_PER_S);
	until.tv_nsec = (long)(ns % NS_PER_S);
	return until;
}

/* All of them at once; the line is known of two. */
static struct cpupair look_at(const struct cpus *cpus)
{
	const struct cpupair unknown = {.line_ns = UNKNOWN, .pace_op_per_ns = UNKNOWN};
	struct probe *probe = probe_new(cpus->count);
	struct cpupair pair = unknown;
	unsigned int started = 0, ended = 0;

	if (!probe)
		return unknown;
	while (started < cpus->count && start(&probe->workers[started], cpus->list[started]) == 0)
		started++;
	atomic_store_explicit(&probe->holders, started + 1, memory_order_relaxed);
	/* some without the others have nothing to do */
	probe->deadline_ns = started == cpus->count ? vly_now_ns() + CPUPAIR_PATIENCE_NS : 0;
	struct timespec until = patience_ends();

	for (unsigned int i = 0; i < started; i++)
		sem_post(&probe->go);
	for (unsigned int i = 0; i < started; i++) {
		const struct worker *worker = &probe->workers[i];

		if (!has_ended(worker, &until))
			continue;
		struct cpupair seen = {worker->line_ns, worker->pace_op_per_ns};

		pair = ended++ ? cpupair_worse(pair, seen) : seen;
	}
	put(probe);
	return ended == cpus->count ? pair : unknown;
}

struct cpupair cpupair_probe(int a, int b)
{
	return look_at(&(struct cpus){.count = a == b ? 1 : 2, .list = {a, b}});
}

struct cpupair cpupair_worse(struct cpupair a, struct cpupair b)
{
	return (struct cpupair){
		.line_ns = fmax(a.line_ns, b.line_ns), /* passes NAN by */
		.pace_op_per_ns = isnan(a.pace_op_per_ns) || isnan(b.pace_op_per_ns)
					  ? UNKNOWN
					  : fmin(a.pace_op_per_ns, b.pace_op_per_ns),
	};
}

struct cpupair cpupair_probe_sides(const struct cpus *a, const struct cpus *b)
{
	unsigned int count = a->count > b->count ? a->count : b->count;
	struct cpupair worst = {.line_ns = UNKNOWN, .pace_op_per_ns = UNKNOWN};
	struct cpus all = *a;

	if (!a->count || !b->count)
		return worst;
	for (unsigned int i = 0; i < count; i++) {
		struct cpupair pair = cpupair_probe(a->list[i % a->count], b->list[i % b->count]);

		worst = i ? cpupair_worse(worst, pair) : pair;
	}
	if (count == 1)
		return worst; /* those were all */
	for (unsigned int i = 0; i < b->count; i++)
		(void)cpus_add(&all, b->list[i]);
	return cpupair_worse(worst, (struct cpupair){UNKNOWN, look_at(&all).pace_op_per_ns});
}
