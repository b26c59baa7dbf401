/* keepup_trial.c - one trial of volley keepup: a consumer, a rate, and what became of the messages */
#include "bench/keepup_trial.h"

#include "bench/keepup_pace.h"
#include "bench/number.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define UNKNOWN ((double)NAN)
#define OFFERED_MIN 0.99    /* of what was meant */
#define PAUSED_MAX 0.01     /* of the window */
#define SLOPE_NOISE 0.002   /* of the rate: a backlog that grows by less is not seen to grow */
#define LATE_LIMIT_NS 100e3 /* the generator's median lateness beyond which it is the limit */
#define TAKEN_MIN 0.003     /* of a CPU: a third of what the 99th percentile looks at */
#define EXCLUDED_MAX 0.5    /* of the messages: what is left says nothing about the whole */
#define HOPELESS 1.25       /* as fast by its pace, and so much more: still behind */
#define CLEARLY_BEHIND 0.9  /* of what was offered */

const char *trial_kind_name(enum trial_kind kind)
{
	static const char *const names[TRIAL_KINDS] = {"generator", "search", "confirm", "overload",
						       "ceiling"};

	return names[kind];
}

void trial_blank(const struct trial_spec *spec, struct trial *trial)
{
	const struct run_spec run = {
		.workload = "keepup",
		.variant = &spec->consumer->variant,
		.options = spec->plan->options,
		.run = spec->number,
		.order = 1,
		.attempt = spec->attempt,
		.interrupted = spec->plan->interrupted,
		.progress = spec->plan->progress,
	};

	memset(trial, 0, sizeof(*trial));
	/* every figure is a double, from the first to the last */
	for (double *figure = &trial->rate; figure <= &trial->recovery_ns; figure++)
		*figure = UNKNOWN;
	run_describe(&run, &trial->run);
	trial->run.nic = feed_name(spec->plan->setting->feed);
	trial->kind = spec->kind;
	trial->rate = spec->rate;
	trial->rest_rate = spec->rest_rate > 0 ? spec->rest_rate : UNKNOWN;
}

uint64_t trial_confirm_ns(const struct trial_spec *spec)
{
	uint64_t ns = spec->plan->confirm_ns;

	for (uint32_t i = 1; i < spec->attempt && ns / 2 >= spec->plan->window_ns; i++)
		ns /= 2;
	return ns;
}

void trial_execute(const struct trial_spec *spec, struct trial *trial)
{
	struct keepup_pace pace;

	trial_blank(spec, trial);
	keepup_pace_begin(&pace, spec);
	if (spec->plan->setting->feed == FEED_INTERNAL)
		trial_internal(spec, &pace, trial);
	else
		trial_network(spec, &pace, trial);
	keepup_pace_end(&pace, spec, trial);
}

void trial_fini(struct trial *trial)
{
	run_result_fini(&trial->run);
}

/* What the generator should have offered in the time that it had. */
static double meant(const struct trial *trial)
{
	double had = isnan(trial->generator_taken_share) ? 1 : 1 - trial->generator_taken_share;

	return trial->rate * trial->run.window_s * had;
}

/* While others had the consumer's CPU nobody could have emptied the ring. */
static bool dropped_any(const struct trial *trial)
{
	double excused = isnan(trial->taken_share)
				 ? 0
				 : trial->rate * trial->run.window_s * trial->taken_share;

	return trial->dropped > excused;
}

static bool all_taken(const struct trial *trial)
{
	return !dropped_any(trial) && !(trial->lost > 0) &&
	       !(trial->backlog_slope > SLOPE_NOISE * trial->rate) &&
	       !(trial->paused_share > PAUSED_MAX) && !(trial->excluded_share > EXCLUDED_MAX) &&
	       trial->offered >= OFFERED_MIN * meant(trial);
}

bool trial_keeps_up(const struct trial *trial, double lag_ns)
{
	return trial->run.status == RUN_OK && all_taken(trial) && trial->lag_ns[RUN_P99] <= lag_ns;
}

/* From inside the generator has time to spare. */
static bool load_matters(const struct trial *trial)
{
	return isnan(trial->generator_taken_share);
}

bool trial_slowed(const struct trial *trial, const double full_pace[2])
{
	double slowed = full_pace[0] / trial->pace;

	if (load_matters(trial))
		slowed = fmax(slowed, full_pace[1] / trial->load_pace_low);
	/* nobody doubles what it does */
	if (trial->consumed * HOPELESS * slowed < trial->offered)
		return false;
	return trial->pace_low < PACE_FULL * full_pace[0] ||
	       (load_matters(trial) && trial->load_pace_low < PACE_FULL * full_pace[1]);
}

bool trial_doubtful(const struct trial *trial)
{
	if (trial->run.status == RUN_INVALID)
		return true;
	if (trial->run.status != RUN_OK || trial->consumed < CLEARLY_BEHIND * trial->offered)
		return false;
	return trial->taken_share > TAKEN_MIN || isnan(trial->taken_share);
}

bool trial_generator_limited(const struct trial *trial)
{
	if (trial->run.limited && strcmp(trial->run.limited, "client") == 0)
		return true;
	return trial->run.status == RUN_OK && trial->late_p99_ns > LATE_LIMIT_NS &&
	       trial->offered < OFFERED_MIN * meant(trial);
}

/* ---- in a result file ---- */

static const struct {
	const char *key;
	size_t offset;
} figures[] = {
#define FIGURE(name)                                                                               \
	{                                                                                          \
#name, offsetof(struct trial, name)                                                \
	}
	{"offered_rate_msg_per_s", offsetof(struct trial, rate)},
	{"rest_rate_msg_per_s", offsetof(struct trial, rest_rate)},
	FIGURE(offered),
	FIGURE(delivered),
	FIGURE(consumed),
	FIGURE(replied),
	FIGURE(dropped),
	FIGURE(lost),
	FIGURE(backlog_max),
	{"backlog_slope_msg_per_s", offsetof(struct trial, backlog_slope)},
	FIGURE(lag_max_ns),
	FIGURE(batch_p50),
	FIGURE(batch_max),
	FIGURE(callback_share),
	FIGURE(gil_wait_share),
	FIGURE(gil_wait_p99_ns),
	FIGURE(paused_share),
	FIGURE(turn_lag_p99_ns),
	FIGURE(late_p99_ns),
	FIGURE(late_max_ns),
	{"generator_pace_msg_per_s", offsetof(struct trial, generator_pace)},
	FIGURE(taken_share),
	FIGURE(generator_taken_share),
	FIGURE(excluded_share),
	{"pace_op_per_ns", offsetof(struct trial, pace)},
	{"pace_low_op_per_ns", offsetof(struct trial, pace_low)},
	{"load_pace_low_op_per_ns", offsetof(struct trial, load_pace_low)},
	{"full_pace_op_per_ns", offsetof(struct trial, full_pace)},
	{"load_full_pace_op_per_ns", offsetof(struct trial, load_full_pace)},
	FIGURE(gc_pauses),
	FIGURE(gc_pause_total_ns),
	FIGURE(gc_pause_max_ns),
	FIGURE(blocks_growth),
	FIGURE(rss_growth_bytes),
	FIGURE(exceptions),
	FIGURE(slowed_by_ns),
	FIGURE(unslowed_ns),
	{"goodput_msg_per_s", offsetof(struct trial, goodput)},
	FIGURE(recovery_ns),
#undef FIGURE
};

#define FIGURES_COUNT (sizeof(figures) / sizeof(figures[0]))

static double *figure_of(struct trial *trial, size_t index)
{
	return (double *)(void *)((char *)trial + figures[index].offset);
}

json_t *trial_to_json(const struct trial *trial)
{
	json_t *object = json_pack("{s:s, s:s?}", "trial", trial_kind_name(trial->kind), "culprit",
				   trial->culprit[0] ? trial->culprit : NULL);
	json_t *lag = json_object();

	for (size_t i = 0; i < FIGURES_COUNT; i++)
		json_object_set_new(object, figures[i].key,
				    number(*figure_of((struct trial *)(uintptr_t)trial, i)));
	for (int i = 0; i < RUN_PERCENTILES; i++)
		json_object_set_new(lag, run_percentile_names[i], number(trial->lag_ns[i]));
	json_object_set_new(object, "lag_ns", lag);
	return object;
}

static double number_of(const json_t *value)
{
	return json_is_number(value) ? json_number_value(value) : UNKNOWN;
}

static const char *limited_of(const json_t *line)
{
	static const char *const names[] = {"no", "client", "both"};
	const char *text = json_string_value(json_object_get(line, "limited"));

	for (size_t i = 0; text && i < 3; i++)
		if (strcmp(text, names[i]) == 0)
			return names[i];
	return NULL;
}

int trial_from_json(const json_t *line, struct trial *trial)
{
	const json_t *object = json_object_get(line, "keepup");
	const char *kind = json_string_value(json_object_get(object, "trial"));
	const char *status = json_string_value(json_object_get(line, "status"));
	const char *culprit = json_string_value(json_object_get(object, "culprit"));

	memset(trial, 0, sizeof(*trial));
	if (!kind || !status)
		return -1;
	while (trial->kind < TRIAL_KINDS && strcmp(kind, trial_kind_name(trial->kind)) != 0)
		trial->kind++;
	while (trial->run.status <= RUN_INTERRUPTED &&
	       strcmp(status, run_status_name(trial->run.status)) != 0)
		trial->run.status++;
	if (trial->kind == TRIAL_KINDS || trial->run.status > RUN_INTERRUPTED)
		return -1;
	for (size_t i = 0; i < FIGURES_COUNT; i++)
		*figure_of(trial, i) = number_of(json_object_get(object, figures[i].key));
	for (int i = 0; i < RUN_PERCENTILES; i++)
		trial->lag_ns[i] = number_of(json_object_get(json_object_get(object, "lag_ns"),
							     run_percentile_names[i]));
	trial->run.window_s = number_of(json_object_get(line, "window_s"));
	trial->run.rate_msg_per_s = number_of(json_object_get(line, "rate_msg_per_s"));
	trial->run.server_ghz =
		number_of(json_object_get(json_object_get(line, "effective_ghz"), "server"));
	trial->run.server_cpu_us_per_msg = number_of(json_object_get(line, "cpu_us_per_msg"));
	trial->run.attempt = (uint32_t)json_integer_value(json_object_get(line, "attempt"));
	trial->run.limited = limited_of(line);
	snprintf(trial->culprit, sizeof(trial->culprit), "%s", culprit ? culprit : "");
	return 0;
}
