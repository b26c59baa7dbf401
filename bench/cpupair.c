/* cpupair.c - two CPUs that work at once: how far apart they are, and how much each gets done */
#include "bench/cpupair.h"

#include <gsl/gsl_sort.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/pace.h"
#include "volley/core.h"

#define GROUPS 5 /* the fastest counts: the first one meets cold lines, any an interrupt */
#define TRIPS 64
/* The middle one counts: the fastest may be that during which the other CPU was interrupted. */
#define PACES 5
#define SPINS 1024 /* between looks at the clock */
#define UNKNOWN ((double)NAN)

/* A thread, and the line that it writes. */
struct side {
	alignas(128) atomic_uint step; /* how far it has come: release by it, acquire by the other */
	alignas(128) const struct side *other; /* NULL: alone */
	bool first;
	uint64_t deadline_ns;
	double line_ns, pace_op_per_ns;
};

/* Until the other one has come so far; false: it has not in time. */
static bool await(const struct side *side, unsigned int step)
{
	for (unsigned int spins = 1;
	     atomic_load_explicit(&side->other->step, memory_order_acquire) < step; spins++)
		if (spins % SPINS == 0 && vly_now_ns() > side->deadline_ns)
			return false;
	return true;
}

/* The next step of both: the first one tells the second, which answers. */
static bool meet(struct side *side)
{
	unsigned int step = atomic_load_explicit(&side->step, memory_order_relaxed) + 1;

	if (!side->other)
		return true;
	if (!side->first && !await(side, step))
		return false;
	atomic_store_explicit(&side->step, step, memory_order_release);
	return !side->first || await(side, step);
}

static double line_ns(struct side *side)
{
	double best = UNKNOWN; /* fmin() passes it by */

	if (!side->other || !meet(side))
		return UNKNOWN;
	for (int group = 0; group < GROUPS; group++) {
		uint64_t begin_ns = vly_now_ns();

		for (int trip = 0; trip < TRIPS; trip++)
			if (!meet(side))
				return UNKNOWN;
		best = fmin(best, (double)(vly_now_ns() - begin_ns) / TRIPS);
	}
	return best;
}

static double pace_op_per_ns(struct side *side)
{
	double paces[PACES];

	for (int i = 0; i < PACES; i++) {
		if (!meet(side))
			return UNKNOWN;
		paces[i] = pace_probe();
	}
	gsl_sort(paces, 1, PACES);
	return paces[PACES / 2];
}

static void *run(void *arg)
{
	struct side *side = arg;

	side->line_ns = line_ns(side);
	side->pace_op_per_ns = pace_op_per_ns(side);
	return NULL;
}

static bool start(pthread_t *thread, int cpu, struct side *side)
{
	pthread_attr_t attr;
	cpu_set_t set;

	if (cpu < 0 || cpu >= CPU_SETSIZE || pthread_attr_init(&attr) != 0)
		return false;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	bool started = pthread_attr_setaffinity_np(&attr, sizeof(set), &set) == 0 &&
		       pthread_create(thread, &attr, run, side) == 0;

	pthread_attr_destroy(&attr);
	return started;
}

struct cpupair cpupair_probe(int a, int b)
{
	const int cpus[] = {a, b};
	unsigned int count = a == b ? 1 : 2, started = 0;
	uint64_t deadline_ns = vly_now_ns() + CPUPAIR_PATIENCE_NS;
	struct side sides[2];
	pthread_t threads[2];
	struct cpupair pair = {.line_ns = UNKNOWN, .pace_op_per_ns = UNKNOWN};

	for (unsigned int i = 0; i < 2; i++)
		sides[i] = (struct side){
			.other = count == 2 ? &sides[!i] : NULL,
			.first = i == 0,
			.deadline_ns = deadline_ns,
		};
	while (started < count && start(&threads[started], cpus[started], &sides[started]))
		started++;
	for (unsigned int i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	if (started < count)
		return pair;
	pair.line_ns = sides[0].line_ns;
	pair.pace_op_per_ns = sides[0].pace_op_per_ns;
	if (count == 2)
		pair = cpupair_worse(pair,
				     (struct cpupair){sides[1].line_ns, sides[1].pace_op_per_ns});
	return pair;
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

	if (!a->count || !b->count)
		return worst;
	for (unsigned int i = 0; i < count; i++) {
		struct cpupair pair = cpupair_probe(a->list[i % a->count], b->list[i % b->count]);

		worst = i ? cpupair_worse(worst, pair) : pair;
	}
	return worst;
}
