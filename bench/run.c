/* run.c - one run: server, load, samples around the window, and what came out of it */
#include "bench/run.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/child.h"
#include "bench/doubt.h"
#include "bench/live.h"
#include "bench/load.h"
#include "bench/run_cost.h"
#include "bench/run_load.h"

#define UNKNOWN ((double)NAN)

static void blank(struct run_result *r)
{
	double *const unknown[] = {
		&r->window_s,
		&r->rate_msg_per_s,
		&r->latency_mean_ns,
		&r->latency_max_ns,
		&r->little,
		&r->server_cpu_us_per_msg,
		&r->server_cpu_us_per_msg_scaled,
		&r->user_share,
		&r->load_cpu_us_per_msg,
		&r->server_cycles_per_msg,
		&r->load_cycles_per_msg,
		&r->server_ghz,
		&r->load_ghz,
		&r->tsc_ghz,
		&r->server_busy_share,
		&r->load_busy_share,
		&r->server_cpus_other_share,
		&r->server_cpus_busy_share,
		&r->server_cpus_split.user,
		&r->server_cpus_split.system,
		&r->server_cpus_split.irq,
		&r->server_cpus_split.softirq,
		&r->steal_share,
		&r->server_rss_bytes,
		&r->server_threads,
		&r->switches_voluntary_per_msg,
		&r->switches_involuntary_per_msg,
		&r->steady_change,
		&r->retransmits,
		&r->throttled_s,
		&r->server_unbilled.ksoftirqd_us,
		&r->server_unbilled.irq_us,
		&r->server_unbilled.softirq_us,
		&r->load_unbilled.ksoftirqd_us,
		&r->load_unbilled.irq_us,
		&r->load_unbilled.softirq_us,
	};

	for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++)
		*unknown[i] = UNKNOWN;
	for (int i = 0; i < RUN_PERCENTILES; i++)
		r->latency_ns[i] = UNKNOWN;
	run_load_blank(&r->load);
}

void run_describe(const struct run_spec *spec, struct run_result *r)
{
	time_t now = time(NULL);
	struct tm utc;

	memset(r, 0, sizeof(*r));
	blank(r);
	if (spec->variant) {
		r->variant = spec->variant->name;
		r->idle_policy = spec->variant->idle_policy;
		r->nic = spec->variant->nic;
	} else {
		r->variant = spec->peer->variant;
		r->idle_policy = spec->peer->idle_policy;
		r->nic = spec->peer->nic[0] ? spec->peer->nic : NULL;
	}
	r->run = spec->run;
	r->order = spec->order;
	r->attempt = spec->attempt;
	r->turns = spec->turns;
	r->canary = spec->canary;
	r->syscalls = spec->syscalls;
	if (r->syscalls && !r->syscalls->counted)
		doubt_warn(r, "system calls were not counted: %s", r->syscalls->reason);
	gmtime_r(&now, &utc);
	strftime(r->began, sizeof(r->began), "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static void take_load(struct live *live)
{
	const struct load_result *load = &live->loader.result;
	struct run_result *r = live->result;

	r->connected = load->connected;
	r->connect_retries = load->connect_retries;
	r->errors = load->errors;
	r->lost = load->lost;
	r->wrong = load->wrong;
	r->excess = load->excess;
	r->silent = load->silent;
	r->measured = live->began && load->window_s > 0;
	if (!r->measured)
		return;
	r->messages = load->messages;
	r->window_s = load->window_s;
	r->fairness = load->fairness;
	r->load_busy_share = load->busy_share;
	pieces_take_rates(&r->pieces, &load->slices);
	r->steady = slices_steady(&load->slices, &r->steady_change);
	r->retransmits = disturbance_retransmits(&live->calm_before, &live->calm_after);
	r->throttled_s = disturbance_throttled_s(&live->calm_before, &live->calm_after);
	run_load_take(r, &live->loader);
	if (load->messages > 0) {
		r->load_cpu_us_per_msg = (double)load->cpu_ns / 1e3 / (double)load->messages;
		r->load_cycles_per_msg = r->load_cpu_us_per_msg * 1e3 * r->load_ghz;
		if (load->unbilled_known)
			run_cost_unbilled(&load->unbilled, 1.0 / (double)load->messages,
					  &r->load_unbilled);
	}
	if (load->latency.total == 0)
		return;
	r->latency_mean_ns = load->latency_mean_ns;
	r->latency_max_ns = (double)load->latency.max_ns;
	r->little = load->little;
	run_take_percentiles(&load->latency, r->latency_ns);
	r->hdr = live->loader.hdr;
	live->loader.hdr = NULL;
}

static void take_speed(struct live *live)
{
	struct run_result *r = live->result;

	r->server_ghz = speed_mean(&live->server_before, &live->server_after);
	r->load_ghz = speed_mean(&live->load_before, &live->load_after);
	r->tsc_ghz = speed_tsc_ghz();
}

/* A server that tells what its code has seen is held to it, whether it had to tell or not. */
static void judge_total(struct live *live)
{
	char why[RUN_REASON_BYTES];

	if (!live->spec->variant || (!live->spec->variant->counts && !live->own.total.known))
		return;
	if (!total_agrees(&live->own.total, &live->loader.result.total, why, sizeof(why)))
		doubt_reason(live->result, RUN_INVALID, "%s", why);
}

static void judge(struct live *live)
{
	struct run_result *r = live->result;
	const struct load_result *load = &live->loader.result;
	const struct load_options *o = live->spec->options;

	if (live_is_interrupted(live))
		doubt_reason(r, RUN_INTERRUPTED, "by a signal, while %s",
			     load_phase_name(live->loader.phase));
	else if (live->server->failed)
		doubt_reason(r, RUN_FAILED, "%s", live->server->reason);
	if (r->status != RUN_INTERRUPTED &&
	    (live->loader.failed || live->loader.err || !live->loader.done)) {
		if (load->reason[0])
			doubt_reason(r, RUN_FAILED, "%s", load->reason);
		else if (r->status == RUN_OK)
			doubt_reason(r, RUN_FAILED, "the load failed: %s",
				     strerror(-live->loader.err));
	}
	if (r->status == RUN_OK && load->interrupted)
		doubt_reason(r, RUN_INTERRUPTED, "%s",
			     load->reason[0] ? load->reason : "the load was interrupted");
	if (r->status == RUN_OK && r->messages == 0)
		doubt_reason(r, RUN_FAILED, LOAD_NOTHING_CAME);
	if (r->status != RUN_OK)
		return;
	/* in turns with others, whatever the CPUs did they did to all */
	if (r->turns <= 1 || !live->spec->others) {
		doubt_speed(r, "server", &o->server_cpus, &live->server_before,
			    &live->server_after);
		doubt_speed(r, "load", &o->load_cpus, &live->load_before, &live->load_after);
	}
	judge_total(live);
	r->unfair = r->fairness.jain < run_load_jain_min(r, o);
	doubt_limits(r);
	run_load_judge(r, o);
	if (r->status == RUN_OK)
		r->rate_msg_per_s = (double)r->messages / r->window_s;
}

void run_conclude(struct live *live)
{
	take_speed(live);
	take_load(live);
	run_cost_take(live->spec, live->server, live->result);
	judge(live);
}

void run_execute(const struct run_spec *spec, struct run_result *result)
{
	struct live live;

	if (live_open(&live, spec, result)) {
		while (live_step(&live))
			;
		live_close(&live);
		run_conclude(&live);
	} else {
		live_close(&live);
	}
	live_fini(&live);
	/* Orphans of a supervisor that was killed have come to us. */
	(void)child_kill_all();
}

void run_unavailable(const struct run_spec *spec, const char *reason, struct run_result *result)
{
	run_describe(spec, result);
	doubt_reason(result, RUN_UNAVAILABLE, "%s", reason);
}

void run_result_fini(struct run_result *result)
{
	free(result->hdr);
	result->hdr = NULL;
	run_load_fini(&result->load);
}

const char *run_status_name(enum run_status status)
{
	static const char *const names[] = {"ok", "invalid", "failed", "unavailable",
					    "interrupted"};

	return names[status];
}

const double run_percentiles[RUN_PERCENTILES] = {50, 90, 95, 99, 99.9, 99.99};
const char *const run_percentile_names[RUN_PERCENTILES] = {"p50", "p90",  "p95",
							   "p99", "p999", "p9999"};

void run_take_percentiles(const struct histogram *histogram, double *percentiles_ns)
{
	for (int i = 0; i < RUN_PERCENTILES; i++)
		if (histogram_above(histogram, run_percentiles[i]) >= RUN_SAMPLES_ABOVE_MIN)
			percentiles_ns[i] =
				(double)histogram_percentile_ns(histogram, run_percentiles[i]);
}
