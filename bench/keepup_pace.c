/* keepup_pace.c - trials at the full pace of their CPUs: when to begin one, and how it was meanwhile */
#include "bench/keepup_pace.h"

#include <math.h>
#include <time.h>

#include "volley/core.h"

#define NS_PER_MS UINT64_C(1000000)
#define FIRST_NS (1000 * NS_PER_MS) /* of the first trial: to see a full pace at all */
#define STREAK 8u                   /* readings in a row */
#define BEST_PERCENT 90             /* of a watch: a full pace is reached more than once */
#define BEST_READINGS_MIN 50u
#define LOW_PERCENT 10

static int first_of(const struct cpus *cpus)
{
	return cpus->count ? cpus->list[0] : -1;
}

static void note_best(const struct pace_watch *watch, double *full)
{
	double best = pace_watch_percentile(watch, 0, UINT64_MAX, BEST_PERCENT);

	if (pace_watch_count(watch) >= BEST_READINGS_MIN && best > *full)
		*full = best;
}

static bool ready(const struct pace_watch *watch, double full)
{
	return !watch->started || pace_watch_streak(watch, full * PACE_FULL) >= STREAK;
}

void keepup_pace_begin(struct keepup_pace *pace, const struct trial_spec *spec)
{
	const struct trial_plan *plan = spec->plan;

	pace->asked_ns = 0;
	(void)pace_watch_start(&pace->consumer, first_of(&plan->options->server_cpus));
	(void)pace_watch_start(&pace->load, first_of(&plan->options->load_cpus));
}

bool keepup_pace_reached(struct keepup_pace *pace, const struct trial_spec *spec)
{
	const struct trial_plan *plan = spec->plan;
	uint64_t now_ns = vly_now_ns(), waited_ns;
	bool first = plan->full_pace[0] == 0;
	/* from there the generator has time to spare */
	bool inside = plan->setting->feed == FEED_INTERNAL;

	if (!plan->patience_ns)
		return true;
	if (!pace->asked_ns)
		pace->asked_ns = now_ns;
	waited_ns = now_ns - pace->asked_ns;
	if (waited_ns >= plan->patience_ns)
		return true;
	if (first && waited_ns < FIRST_NS)
		return false;
	note_best(&pace->consumer, &plan->full_pace[0]);
	note_best(&pace->load, &plan->full_pace[1]);
	return ready(&pace->consumer, plan->full_pace[0]) &&
	       (inside || ready(&pace->load, plan->full_pace[1]));
}

void keepup_pace_await(struct keepup_pace *pace, const struct trial_spec *spec)
{
	const struct timespec pause = {.tv_nsec = (long)PACE_PERIOD_NS};

	while (!keepup_pace_reached(pace, spec) &&
	       !atomic_load_explicit(spec->plan->interrupted, memory_order_relaxed))
		nanosleep(&pause, NULL);
}

void keepup_pace_end(struct keepup_pace *pace, const struct trial_spec *spec, struct trial *trial)
{
	const struct trial_plan *plan = spec->plan;
	uint64_t begin_ns = trial->run.window_begin_ns, end_ns = trial->run.window_end_ns;

	pace_watch_stop(&pace->consumer);
	pace_watch_stop(&pace->load);
	note_best(&pace->consumer, &plan->full_pace[0]);
	note_best(&pace->load, &plan->full_pace[1]);
	trial->pace = pace_watch_percentile(&pace->consumer, begin_ns, end_ns, 50);
	trial->pace_low = pace_watch_percentile(&pace->consumer, begin_ns, end_ns, LOW_PERCENT);
	trial->load_pace_low = pace_watch_percentile(&pace->load, begin_ns, end_ns, LOW_PERCENT);
	trial->full_pace = plan->full_pace[0];
	trial->load_full_pace = plan->full_pace[1];
	pace_watch_fini(&pace->consumer);
	pace_watch_fini(&pace->load);
}
