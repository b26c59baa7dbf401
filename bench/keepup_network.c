/* keepup_network.c - a trial over a network: the load generator's open loop against a consumer that answers */
#include "bench/keepup_trial.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "bench/doubt.h"
#include "bench/histogram.h"
#include "bench/keepup_meter.h"
#include "bench/keepup_pace.h"

#define OVERLOAD_NS UINT64_C(500000000)
#define SURGE_NS UINT64_C(250000000)
#define RECOVERY_MAX_NS UINT64_C(1000000000)
#define UNDER_WAY_MIN 3 /* messages, at either end of the window */

static void set_up(const struct trial_spec *spec, struct load_options *o)
{
	*o = *spec->plan->options;
	o->shape.rate_msg_per_s = spec->rate;
	o->duration_ns = spec->kind == TRIAL_CONFIRM ? trial_confirm_ns(spec)
						     : spec->plan->window_ns;
	if (spec->kind == TRIAL_OVERLOAD)
		o->duration_ns = OVERLOAD_NS;
}

struct patience {
	const struct trial_spec *spec;
	struct keepup_pace *pace;
};

static void await_pace(void *arg)
{
	const struct patience *patience = arg;

	keepup_pace_await(patience->pace, patience->spec);
}

/* `pace`: to be waited for beside the server, which may take longer to start than a core stays all ours; or NULL. */
static void execute(const struct trial_spec *spec, const struct load_options *o,
		    struct keepup_pace *pace, struct run_result *result)
{
	struct patience patience = {spec, pace};
	struct variant *variant = &spec->consumer->variant;
	const struct run_spec run = {
		.workload = "pingpong",
		.variant = variant,
		.options = o,
		.load_nic = o->shape.nic,
		.run = spec->number,
		.order = 1,
		.attempt = spec->attempt,
		.server_is_up = pace ? await_pace : NULL,
		.server_is_up_arg = &patience,
		.interrupted = spec->plan->interrupted,
		.progress = spec->plan->progress,
	};

	run_execute(&run, result);
	result->nic = feed_name(spec->plan->setting->feed);
}

/* Of few messages, too: it has to be judged. */
static double p99_ns(const struct run_result *result)
{
	struct histogram histogram = {0};
	double p99 = result->latency_ns[RUN_P99];

	if (isnan(p99) && result->hdr && histogram_init(&histogram) == 0 &&
	    histogram_decode(&histogram, result->hdr) == 0)
		p99 = (double)histogram_percentile_ns(&histogram, 99);
	histogram_fini(&histogram);
	return p99;
}

static void take(struct trial *trial, double limit_ns)
{
	const struct run_result *r = &trial->run;

	if (!r->measured)
		return;
	trial->offered = (double)r->load.scheduled;
	trial->consumed = trial->replied = (double)r->messages;
	trial->delivered = (double)(r->load.scheduled - r->load.unsent);
	/* what was due and is not answered yet has to be waited for, but for what may still be under way */
	trial->backlog_slope = fmax(0, (trial->offered - trial->consumed - UNDER_WAY_MIN -
					trial->rate * limit_ns / 1e9) /
					       r->window_s);
	trial->backlog_max = r->load.under_way + (double)r->load.unsent;
	for (int i = 0; i < RUN_PERCENTILES; i++)
		trial->lag_ns[i] = r->latency_ns[i];
	trial->lag_ns[RUN_P99] = p99_ns(r);
	trial->lag_max_ns = r->latency_max_ns;
	trial->late_max_ns = r->load.lag_max_ns;
	trial->dropped = trial->lost = 0;
	trial->taken_share = r->steal_share;
	if (r->load.unsent > 0 && r->limited && strcmp(r->limited, "client") == 0)
		snprintf(trial->culprit, sizeof(trial->culprit),
			 "the load generator: its CPU was saturated with %llu messages not sent",
			 (unsigned long long)r->load.unsent);
	else if (trial->consumed < 0.99 * trial->offered)
		snprintf(trial->culprit, sizeof(trial->culprit),
			 "the consumer answered %.0f of %.0f messages", trial->consumed,
			 trial->offered);
}

/* A short surge, half the rate for a second, and then everything has to be as before. */
static void recover(const struct trial_spec *spec, struct trial *trial)
{
	struct load_options o = *spec->plan->options;
	struct run_result result;

	o.shape.surge_msg_per_s = spec->rate;
	o.shape.surge_ns = SURGE_NS;
	o.shape.rate_msg_per_s = spec->rest_rate;
	o.warmup_ns = SURGE_NS + RECOVERY_MAX_NS;
	o.duration_ns = OVERLOAD_NS;
	execute(spec, &o, NULL, &result);
	if (result.status == RUN_OK)
		trial->recovery_ns = p99_ns(&result) <= spec->plan->limit_ns
					     ? (double)RECOVERY_MAX_NS
					     : (double)INFINITY;
	run_result_fini(&result);
}

void trial_network(const struct trial_spec *spec, struct keepup_pace *pace, struct trial *trial)
{
	struct consumer_setting *setting = spec->plan->setting;
	struct meter_file meter = {NULL};
	struct load_options o;

	if (keepup_files_make(setting, &meter) != 0) {
		doubt_reason(&trial->run, RUN_FAILED, "no shared memory for the meter");
		return;
	}
	meter_file_open_window(&meter);
	set_up(spec, &o);
	execute(spec, &o, pace, &trial->run);
	take(trial, spec->plan->limit_ns);
	if (spec->consumer->metered)
		meter_file_take_consumer(&meter, spec->plan->options->size_bytes, trial);
	keepup_report_take(spec->plan, trial);
	if (spec->kind == TRIAL_OVERLOAD && trial->run.status == RUN_OK) {
		trial->goodput = trial->consumed / trial->run.window_s;
		keepup_files_remove(setting, &meter);
		if (keepup_files_make(setting, &meter) == 0)
			recover(spec, trial);
	}
	keepup_files_remove(setting, &meter);
}
