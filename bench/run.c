/* run.c - one run: server, load, samples around the window, and what came out of it */
#include "bench/run.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/child.h"
#include "bench/disturbance.h"
#include "bench/doubt.h"
#include "bench/load.h"
#include "bench/loader.h"
#include "bench/preflight.h"
#include "bench/run_cost.h"
#include "bench/run_load.h"
#include "bench/speed.h"
#include "volley/core.h"
#include "volley/loop.h"

#define NS_PER_S UINT64_C(1000000000)
#define SAMPLE_PATIENCE_NS (2 * NS_PER_S)
#define CAUSE_PATIENCE_NS (1 * NS_PER_S) /* for the loader to see what a dead server means */
#define INTERRUPT_PATIENCE_NS (5 * NS_PER_S)
#define SPARE_NS (30 * NS_PER_S)
#define TICK_MS 100
#define LOOP_QUEUES_MAX 16 /* of a side: volley/loop.h */
#define START_TRIES 3
#define UNKNOWN ((double)NAN)

/* One run while it goes on. */
struct live {
	const struct run_spec *spec;
	struct run_result *result;
	struct server own;     /* of a variant */
	struct server *server; /* the one in use */
	struct loader loader;
	struct vly_addr target;
	bool loading; /* `loader` was started */
	int loop;     /* of a row on one; -1 */
	bool begin_asked, opened, end_asked, interrupt_sent;
	uint64_t deadline_ns, sample_by_ns;
	struct speed server_before, server_after, load_before, load_after;
	struct disturbance calm_before, calm_after;
};

static bool is_interrupted(const struct live *live)
{
	return atomic_load_explicit(live->spec->interrupted, memory_order_relaxed);
}

/* --- the server --- */

/* Waits for READY. False: it failed, or we were interrupted. */
static bool await_ready(struct live *live)
{
	while (!live->own.ready && !live->own.failed && !is_interrupted(live)) {
		struct pollfd ready = {.fd = live->own.control.fd, .events = POLLIN};
		(void)poll(&ready, 1, TICK_MS);
		server_handle(&live->own);
		progress_tick(live->spec->progress, NULL);
	}
	return live->own.ready && !live->own.failed;
}

/* One attempt to start the variant on `port`. */
static bool start_on(struct live *live, uint16_t port)
{
	const struct run_spec *spec = live->spec;
	struct variant_setting setting = {
		.host = "127.0.0.1",
		.port = port,
		.cpus = &spec->options->server_cpus,
		.connections = spec->options->connections,
		.size_bytes = spec->options->size_bytes,
		.python = spec->options->python,
		.loop = live->loop,
	};
	struct words words = {.count = 0};
	char why[RUN_REASON_BYTES];

	memset(&live->own, 0, sizeof(live->own));
	live->own.control.fd = -1;
	if (spec->variant->command(spec->variant, &setting, &words, why, sizeof(why)) != 0) {
		words_fini(&words);
		snprintf(live->own.reason, sizeof(live->own.reason), "%.300s", why);
		live->own.failed = true;
		return false;
	}
	int err = server_start(&live->own, &words, &spec->options->server_cpus,
			       (int64_t)spec->options->ready_timeout_ns, spec->probe != NULL);
	words_fini(&words);
	if (err || !await_ready(live))
		return false;
	live->target = (struct vly_addr){.family = VLY_IP4, .ip4 = {127, 0, 0, 1}};
	if (spec->variant->loop && vly_addr_parse(VARIANT_LOOP_HOST ":1", &live->target) != 0)
		return false;
	live->target.port = live->own.port ? live->own.port : port;
	return true;
}

static bool start_server(struct live *live)
{
	const struct run_spec *spec = live->spec;
	struct vly_addr addr = {.family = VLY_IP4, .ip4 = {127, 0, 0, 1}};
	char why[RUN_REASON_BYTES];

	live->server = &live->own;
	for (int tries = 0; tries < START_TRIES; tries++) {
		uint16_t port = spec->port;
		if (port == 0 &&
		    preflight_choose_port(vly_now_ns() + (uint64_t)tries, &port) != 0) {
			doubt_reason(live->result, RUN_FAILED, "no free port was found");
			return false;
		}
		if (start_on(live, port))
			return true;
		/*
		 * Somebody may have taken the port since it was chosen; any other failure is the
		 * row's own.
		 */
		addr.port = port;
		bool taken = spec->port == 0 && !is_interrupted(live) &&
			     preflight_port(&addr, why, sizeof(why)) == -EADDRINUSE;
		server_stop(&live->own, NULL, 0);
		if (!taken || preflight_port(&addr, why, sizeof(why)) != -EADDRINUSE)
			break;
	}
	if (is_interrupted(live))
		doubt_reason(live->result, RUN_INTERRUPTED,
			     "by a signal, while the server started");
	else
		doubt_reason(live->result, RUN_FAILED, "%s", live->own.reason);
	return false;
}

/* --- the load --- */

static void pass_samples(struct live *live)
{
	struct loader *loader = &live->loader;
	uint64_t now = vly_now_ns();

	if (loader->begun && !live->begin_asked) {
		live->begin_asked = true;
		disturbance_take(&live->calm_before);
		live->sample_by_ns = now + SAMPLE_PATIENCE_NS;
		server_ask_sample(live->server, false);
	}
	/* A server that nobody can sample must not stop the load. */
	if (live->begin_asked && !live->opened &&
	    (live->server->before.taken || live->server->control.fd < 0 ||
	     now > live->sample_by_ns)) {
		live->opened = true;
		loader_open_window(loader);
	}
	if (loader->ended && !live->end_asked) {
		live->end_asked = true;
		disturbance_take(&live->calm_after);
		live->sample_by_ns = now + SAMPLE_PATIENCE_NS;
		server_ask_sample(live->server, true);
	}
}

/* Whether the run goes on. */
static bool load_goes_on(struct live *live)
{
	uint64_t now = vly_now_ns();

	if (live->loader.done)
		return live->end_asked && !live->server->after.taken &&
		       live->server->control.fd >= 0 && !live->server->failed &&
		       now < live->sample_by_ns;
	if (is_interrupted(live) && !live->interrupt_sent) {
		live->interrupt_sent = true;
		live->deadline_ns = now + INTERRUPT_PATIENCE_NS;
		loader_interrupt(&live->loader);
	}
	if (live->server->failed && !live->interrupt_sent) {
		/* The load sees its connections end; if it does not, it is told. */
		live->interrupt_sent = true;
		live->deadline_ns = now + CAUSE_PATIENCE_NS;
	}
	return now < live->deadline_ns;
}

static void run_load(struct live *live)
{
	const struct load_options *o = live->spec->options;

	const struct variant *variant = live->spec->variant;
	const char *workload = live->spec->workload, *nic = live->spec->load_nic;
	char loop_nic[VARIANT_NIC_BYTES];

	if (variant && variant->workload)
		workload = variant->workload;
	if (live->loop >= 0) {
		variant_loop_nic(variant, live->loop, true, loop_nic, sizeof(loop_nic));
		nic = loop_nic;
	}
	live->loading = true;
	if (loader_start(&live->loader, workload, &live->target, nic, o, o->seed + live->spec->run))
		return;
	live->deadline_ns = vly_now_ns() + o->shape.ramp_ns +
			    (o->connect_timeout_ns ? o->connect_timeout_ns
						   : load_connect_timeout_ns(o->connections)) +
			    o->warmup_ns + o->duration_ns + o->stall_timeout_ns + SPARE_NS;
	while (load_goes_on(live)) {
		struct pollfd ready[] = {
			{.fd = live->loader.control.fd, .events = POLLIN},
			{.fd = live->server->control.fd, .events = POLLIN},
		};
		(void)poll(ready, 2, TICK_MS);
		loader_handle(&live->loader);
		server_handle(live->server);
		pass_samples(live);
		progress_tick(live->spec->progress, &live->loader.progress);
	}
	if (!live->loader.done)
		snprintf(live->loader.result.reason, sizeof(live->loader.result.reason), "%s",
			 live->server->failed ? "" : "the load process did not end in time");
}

/* --- the result --- */

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
	r->measured = live->loader.begun && load->window_s > 0;
	if (!r->measured)
		return;
	r->messages = load->messages;
	r->window_s = load->window_s;
	r->fairness = load->fairness;
	r->load_busy_share = load->busy_share;
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

	if (is_interrupted(live))
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
	doubt_speed(r, "server", &o->server_cpus, &live->server_before, &live->server_after);
	doubt_speed(r, "load", &o->load_cpus, &live->load_before, &live->load_after);
	judge_total(live);
	r->unfair = r->fairness.jain < run_load_jain_min(r, o);
	doubt_limits(r);
	run_load_judge(r, o);
	if (r->status == RUN_OK)
		r->rate_msg_per_s = (double)r->messages / r->window_s;
}

/* A queue for each core of a side. */
static uint16_t queues_for(const struct cpus *cpus, unsigned cores_max)
{
	unsigned count = cpus->count ? (unsigned)cpus->count : 1;

	count = cores_max && count > cores_max ? cores_max : count;
	return (uint16_t)(count < LOOP_QUEUES_MAX ? count : LOOP_QUEUES_MAX);
}

static int make_loop(const struct run_spec *spec)
{
	const struct load_options *o = spec->options;
	struct vly_loop_opts opts = {0};

	/* frames without TCP are one core's on each side */
	if (!spec->variant->workload) {
		opts.queues[0] = queues_for(&o->server_cpus, spec->variant->threads_max);
		opts.queues[1] = queues_for(&o->load_cpus, 0);
	}
	uint32_t rings =
		(opts.queues[0] ? opts.queues[0] : 1u) * (opts.queues[1] ? opts.queues[1] : 1u);

	/* several rings are filled by chance, not evenly */
	opts.slots = variant_loop_slots(o->connections * o->depth / rings * (rings > 1 ? 2 : 1));
	return vly_loop_make(&opts);
}

void run_execute(const struct run_spec *spec, struct run_result *result)
{
	const struct load_options *o = spec->options;
	struct live live = {.spec = spec, .result = result, .loop = -1};

	run_describe(spec, result);
	if (spec->variant && spec->variant->loop) {
		live.loop = make_loop(spec);
		if (live.loop < 0) {
			doubt_reason(result, RUN_FAILED, "no wire in memory: %s",
				     strerror(-live.loop));
			return;
		}
	}
	live.loader.control.fd = -1;
	live.own.control.fd = -1;
	if (spec->variant) {
		speed_measure(&o->server_cpus, &live.server_before);
	} else {
		live.server = &spec->peer->server;
		live.target = spec->peer->addr;
		memset(&live.server->before, 0, sizeof(live.server->before));
		memset(&live.server->after, 0, sizeof(live.server->after));
	}
	speed_measure(&o->load_cpus, &live.load_before);
	if (!spec->variant || start_server(&live)) {
		run_load(&live);
		loader_stop_process(&live.loader);
		if (spec->variant)
			server_stop(&live.own, NULL, 0);
		if (spec->probe)
			*spec->probe = live.own.syscalls;
		speed_measure(&o->load_cpus, &live.load_after);
		if (spec->variant)
			speed_measure(&o->server_cpus, &live.server_after);
		take_speed(&live);
		take_load(&live);
		run_cost_take(spec, live.server, result);
		judge(&live);
		loader_stop(&live.loader);
	}
	if (live.loop >= 0)
		vly_loop_close(live.loop);
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
