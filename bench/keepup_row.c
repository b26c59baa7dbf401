/* keepup_row.c - all trials of one consumer: two searches, overloads, and what they say */
#include "bench/keepup.h"
#include "bench/pace.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OVERLOAD_ATTEMPTS 3
#define GOODPUT_MIN 0.9
#define PROOF_ATTEMPTS 5
#define SLOWED_MAX 5 /* attempts more, where others used the core */
#define RECOVERY_MAX_NS 1e9
#define MISSET                                                                                     \
	1.15 /* times as long without --slow as it was seen to take: its delay is too short */
#define PROOF_MIN 100e3 /* msg/s: any generator can do less */
#define FASTEST 1e9     /* as fast as it can */

const double keepup_overloads[KEEPUP_OVERLOADS] = {1.1, 1.5, 2};

static bool is_interrupted(const struct keepup *keepup)
{
	return atomic_load_explicit(&keepup->interrupted, memory_order_relaxed);
}

int keepup_past_add(struct keepup *keepup, const char *name, const struct trial *trial)
{
	if (keepup->pasts_count == keepup->pasts_size) {
		size_t size = keepup->pasts_size * 2 + 64;
		struct keepup_past *pasts = realloc(keepup->pasts, size * sizeof(*pasts));

		if (!pasts)
			return -1;
		keepup->pasts = pasts;
		keepup->pasts_size = size;
	}
	keepup->pasts[keepup->pasts_count++] = (struct keepup_past){name, *trial};
	return 0;
}

static bool same(double a, double b)
{
	return (isnan(a) && isnan(b)) || fabs(a - b) < 0.5;
}

static const struct trial *find(const struct keepup *keepup, const char *name,
				const struct trial_spec *spec)
{
	double rest = spec->rest_rate > 0 ? spec->rest_rate : (double)NAN;

	for (size_t i = 0; i < keepup->pasts_count; i++) {
		const struct keepup_past *past = &keepup->pasts[i];

		if (strcmp(past->name, name) == 0 && past->trial.kind == spec->kind &&
		    same(past->trial.rate, spec->rate) && same(past->trial.rest_rate, rest) &&
		    past->trial.run.attempt == spec->attempt)
			return &past->trial;
	}
	return NULL;
}

static void announce(struct keepup *keepup, const struct trial_spec *spec)
{
	char label[96];

	snprintf(label, sizeof(label), "%.30s: %s %.0f msg/s%s", spec->consumer->variant.name,
		 trial_kind_name(spec->kind), spec->rate, spec->attempt > 1 ? " again" : "");
	progress_run(&keepup->progress, label, 1, false);
}

const struct trial *keepup_trial(struct keepup *keepup, struct keepup_row *row,
				 enum trial_kind kind, double rate, double rest_rate,
				 uint32_t attempt)
{
	struct trial_spec spec = {
		.plan = &keepup->plan,
		.consumer = row->consumer,
		.kind = kind,
		.rate = rate,
		.rest_rate = rest_rate,
		.number = ++row->trials,
		.attempt = attempt,
	};
	const struct trial *past = find(keepup, row->consumer->variant.name, &spec);
	struct trial trial;

	if (past || is_interrupted(keepup))
		return past;
	announce(keepup, &spec);
	trial_execute(&spec, &trial);
	keepup_file_trial(keepup, row, &trial);
	keepup->progress.runs_done++;
	trial_fini(&trial); /* what it owned is in the file */
	if (keepup_past_add(keepup, row->consumer->variant.name, &trial) != 0 ||
	    trial.run.status == RUN_INTERRUPTED)
		return NULL;
	return &keepup->pasts[keepup->pasts_count - 1].trial;
}

/* The row cannot be measured. */
static void give_up(struct keepup_row *row, const struct trial *trial)
{
	row->answer.status = trial->run.status;
	snprintf(row->answer.reason, sizeof(row->answer.reason), "%s",
		 trial->run.reasons_count ? trial->run.reasons[0] : "see the result file");
}

/* Its delay was set while others used the core: what passed would not, at its full pace. */
static bool is_misset(const struct keepup_row *row, const struct trial *trial)
{
	struct consumer *consumer = row->consumer;
	double *least = &consumer->least_ns, *second = &consumer->second_ns;
	double ns = trial->unslowed_ns;

	if (ns > 0 && (*least <= 0 || ns < *least)) {
		*second = *least;
		*least = ns;
	} else if (ns > *least && (*second <= 0 || ns < *second)) { /* the same: seen before */
		*second = ns;
	}
	/* one lucky process does not make all others slow, and one lucky trial is no second */
	consumer->unslowed_ns = *second > 0 ? fmin(*second, MISSET * *least) : *least;
	return ns > MISSET * consumer->unslowed_ns;
}

/* The first rate stands on a trial that passed: the confirming one, or until then that of the highest rate. */
static void stand_on(struct keepup_answer *answer, const struct trial *trial, bool first_limit)
{
	bool confirms = trial->kind == TRIAL_CONFIRM;

	if (first_limit ? !confirms && trial->rate <= answer->stands_rate
			: !confirms || trial->rate <= answer->stands_rate)
		return;
	answer->stands_rate = trial->rate;
	answer->ghz = trial->run.server_ghz;
	answer->pace = trial->pace;
	answer->slowed_by_ns = trial->slowed_by_ns;
	answer->unslowed_ns = trial->unslowed_ns;
}

static void stand_on_none(struct keepup_answer *answer)
{
	answer->stands_rate = 0;
	answer->ghz = answer->pace = answer->slowed_by_ns = answer->unslowed_ns = (double)NAN;
}

/* 1: it keeps up, 0: it does not; -1: there is no saying. */
static int keeps_up(struct keepup *keepup, struct keepup_row *row, enum trial_kind kind,
		    double rate, double limit_ns)
{
	uint32_t slowed = 0;

	for (uint32_t attempt = 1; attempt <= keepup->attempts + slowed; attempt++) {
		const struct trial *trial = keepup_trial(keepup, row, kind, rate, 0, attempt);

		if (!trial)
			return -1;
		if (trial->run.status == RUN_FAILED) {
			give_up(row, trial);
			return -1;
		}
		bool misset = is_misset(row, trial);

		if (!misset && trial_keeps_up(trial, limit_ns)) {
			if (kind == TRIAL_CONFIRM || isnan(row->answer.cpu_us_per_msg)) {
				row->answer.cpu_us_per_msg = trial->run.server_cpu_us_per_msg;
				row->answer.batch_p50 = trial->batch_p50;
			}
			stand_on(&row->answer, trial, limit_ns >= keepup->limits_ns[0]);
			return 1;
		}
		if (trial_generator_limited(trial))
			row->answer.limited = true;
		if (keepup->attempts > 1 && slowed < SLOWED_MAX &&
		    (misset || trial_slowed(trial, keepup->full_pace))) {
			slowed++;
			continue;
		}
		row->answer.slowed |= misset || trial_slowed(trial, keepup->full_pace);
		if (!trial_doubtful(trial))
			return 0;
		row->answer.taken_share = fmax(row->answer.taken_share, trial->taken_share);
	}
	return 0;
}

static void expect(struct keepup *keepup, unsigned int left)
{
	keepup->progress.runs = keepup->progress.runs_done + (left ? left : 1);
}

static bool search(struct keepup *keepup, struct keepup_row *row, unsigned int index)
{
	struct search *search = &row->answer.searches[index];
	unsigned int after = keepup->no_overload || index > 0 ? 0 : KEEPUP_OVERLOADS;

	double full_pace = keepup->full_pace[0];

	search_begin(search, keepup->start, keepup->min, keepup->max);
	while (search->phase != SEARCH_DONE) {
		/* what failed may have failed on a core that was not all ours: look at it again */
		if (keepup->full_pace[0] * PACE_FULL > full_pace) {
			full_pace = keepup->full_pace[0];
			search_begin(search, keepup->start, keepup->min, keepup->max);
			if (index == 0)
				stand_on_none(&row->answer);
		}
		expect(keepup, search_left(search) + after);
		int passed =
			keeps_up(keepup, row,
				 search->phase == SEARCH_CONFIRMING ? TRIAL_CONFIRM : TRIAL_SEARCH,
				 search->rate, keepup->limits_ns[index]);

		if (passed < 0)
			return false;
		search_tell(search, passed);
	}
	row->answer.known[index] = true;
	/* it went down from there, and nothing below was confirmed */
	if (index == 0 && row->answer.stands_rate > search->rate)
		stand_on_none(&row->answer);
	return true;
}

static void overload(struct keepup *keepup, struct keepup_row *row, unsigned int index)
{
	struct keepup_overload *o = &row->answer.overloads[index];
	double base = row->answer.searches[0].rate;
	double rate = floor(base * keepup_overloads[index]);

	expect(keepup, KEEPUP_OVERLOADS - index);
	for (uint32_t attempt = 1;
	     attempt <= OVERLOAD_ATTEMPTS && attempt <= keepup->attempts && !o->held; attempt++) {
		const struct trial *trial =
			keepup_trial(keepup, row, TRIAL_OVERLOAD, rate, floor(base / 2), attempt);

		if (!trial || trial->run.status == RUN_FAILED)
			return;
		double share = trial->goodput / base;

		if (o->known && !(share > o->goodput_share))
			continue;
		o->known = true;
		o->goodput_share = share;
		o->recovery_ns = trial->recovery_ns;
		o->held = share >= GOODPUT_MIN && trial->recovery_ns <= RECOVERY_MAX_NS;
	}
}

void keepup_search_row(struct keepup *keepup, struct keepup_row *row)
{
	struct keepup_answer *answer = &row->answer;

	answer->status = RUN_OK;
	answer->cpu_us_per_msg = answer->batch_p50 = answer->kappa = (double)NAN;
	stand_on_none(answer);
	if (row->unavailable[0]) {
		answer->status = RUN_UNAVAILABLE;
		snprintf(answer->reason, sizeof(answer->reason), "%s", row->unavailable);
		return;
	}
	for (unsigned int i = 0; i < keepup->limits_count && search(keepup, row, i); i++)
		;
	/* within a tenth of a lag is within that lag: the machine was calmer in the second search */
	if (answer->known[1] && answer->searches[1].confirmed &&
	    answer->searches[1].rate > answer->searches[0].rate)
		answer->searches[0] = answer->searches[1];
	if (answer->known[0] && answer->searches[0].rate > 0 && !keepup->no_overload)
		for (unsigned int i = 0; i < KEEPUP_OVERLOADS && !is_interrupted(keepup); i++)
			overload(keepup, row, i);
	if (is_interrupted(keepup) && answer->status == RUN_OK &&
	    !answer->known[keepup->limits_count - 1])
		answer->status = RUN_INTERRUPTED;
	if (answer->known[0] &&
	    answer->searches[0].rate > keepup->generator / KEEPUP_GENERATOR_MARGIN)
		answer->limited = true;
}

/* A trial of the generator, again while the machine spoils it: the answers would all be lower bounds. */
static const struct trial *prove(struct keepup *keepup, struct keepup_row *null,
				 enum trial_kind kind)
{
	const struct trial *trial = NULL;

	for (uint32_t attempt = 1; attempt <= PROOF_ATTEMPTS; attempt++) {
		trial = keepup_trial(keepup, null, kind, FASTEST, 0, attempt);
		if (!trial || trial->run.status != RUN_INVALID)
			break;
	}
	return trial && trial->run.status == RUN_OK ? trial : NULL;
}

void keepup_prove_generator(struct keepup *keepup)
{
	struct keepup_row null = {.consumer = consumer_find("c_null", NULL)};
	const struct trial *trial;

	keepup->generator = keepup->ceiling = (double)NAN;
	if (keepup->setting.feed != FEED_INTERNAL || keepup->max < PROOF_MIN)
		return;
	consumer_set_up(null.consumer, &keepup->setting);
	expect(keepup, 2);
	trial = prove(keepup, &null, TRIAL_GENERATOR);
	if (trial)
		keepup->generator = trial->run.rate_msg_per_s;
	trial = prove(keepup, &null, TRIAL_CEILING);
	if (trial) {
		keepup->ceiling = trial->run.rate_msg_per_s;
		/* what the generator can do while somebody takes the memory away from under it */
		keepup->generator = fmin(keepup->generator, trial->generator_pace);
	}
}
