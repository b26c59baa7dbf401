/* keepup_internal.c - a trial from inside: the generator in the consumer's process, watched through its meter */
#include "bench/keepup_trial.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench/child.h"
#include "bench/doubt.h"
#include "bench/keepup_meter.h"
#include "bench/keepup_pace.h"
#include "bench/server.h"
#include "bench/speed.h"
#include "volley/core.h"

#define NS_PER_MS UINT64_C(1000000)
#define NS_PER_S UINT64_C(1000000000)
#define TICK_MS 5
#define BLOCKED_NS                                                                                 \
	(NS_PER_S * 3 / 2)      /* nothing taken for so long, and something waits: it blocks */
#define DRAIN_NS (2 * NS_PER_S) /* for what is left when the schedule is over */
#define BEGIN_NS (5 * NS_PER_S) /* from READY until it asks for messages */
#define OVERLOAD_NS (500 * NS_PER_MS)
#define REST_NS (1500 * NS_PER_MS)
#define RING_NS (50 * NS_PER_MS)
#define RING_MIN 4096u
#define RING_MAX 262144u
#define RING_ENDLESS                                                                               \
	8192u /* beside a generator that never waits: it lies in the caches, as a few chunks of the others do */
#define RING_BYTES (256u << 20)

/* One trial while it goes on. */
struct live {
	const struct trial_spec *spec;
	struct trial *trial;
	struct keepup_pace *pace;
	struct server server;
	struct meter_file meter;
	struct speed server_before, server_after, load_before, load_after;
	uint64_t ready_ns, consumed, consumed_ns, done_ns;
	bool released, begin_asked, end_asked;
};

/* What may wait: bounded, as a network card's ring is; 50 ms of messages where that is less. */
static uint32_t ring_of(const struct trial_spec *spec)
{
	double rate = spec->kind == TRIAL_OVERLOAD ? spec->rest_rate * 2 : spec->rate;
	uint32_t ring = RING_MIN;

	if (spec->kind == TRIAL_GENERATOR || spec->kind == TRIAL_CEILING)
		ring = RING_ENDLESS;
	else
		while (ring < RING_MAX && ring < rate * RING_NS / 1e9)
			ring *= 2;
	while (ring > RING_MIN && (uint64_t)ring * spec->plan->options->size_bytes > RING_BYTES)
		ring /= 2;
	return ring;
}

static uint64_t window_ns(const struct trial_spec *spec)
{
	if (spec->kind == TRIAL_OVERLOAD)
		return OVERLOAD_NS;
	return spec->kind == TRIAL_CONFIRM ? trial_confirm_ns(spec) : spec->plan->window_ns;
}

static void describe_source(const struct trial_spec *spec, char *text, size_t text_bytes)
{
	const struct load_options *o = spec->plan->options;
	uint64_t warm_ms = spec->plan->warmup_ns / NS_PER_MS,
		 window_ms = window_ns(spec) / NS_PER_MS;
	char steps[128], cpu[32] = "";

	if (spec->kind == TRIAL_OVERLOAD)
		snprintf(steps, sizeof(steps), "%.0fx%llu+%.0fx%llu+%.0fx%llu", spec->rest_rate,
			 (unsigned long long)warm_ms, spec->rate, (unsigned long long)window_ms,
			 spec->rest_rate, (unsigned long long)(REST_NS / NS_PER_MS));
	else
		snprintf(steps, sizeof(steps), "%.0fx%llu", spec->rate,
			 (unsigned long long)(warm_ms + window_ms + 20));
	if (o->load_cpus.count)
		snprintf(cpu, sizeof(cpu), ",cpu=%d", o->load_cpus.list[0]);
	snprintf(
		text, text_bytes,
		"held=1,conns=%u,len=%u,batch=1024,seed=%llu,ring=%u,from=%llu,until=%llu,steps=%s,meter=%s%s%s",
		o->connections, o->size_bytes,
		(unsigned long long)(o->seed % UINT32_MAX + spec->number), ring_of(spec),
		(unsigned long long)warm_ms, (unsigned long long)(warm_ms + window_ms), steps,
		spec->plan->setting->meter, cpu, spec->kind == TRIAL_GENERATOR ? ",skim=1" : "");
}

static bool is_interrupted(const struct live *live)
{
	return atomic_load_explicit(live->spec->plan->interrupted, memory_order_relaxed);
}

static bool start(struct live *live)
{
	const struct trial_plan *plan = live->spec->plan;
	const struct load_options *o = plan->options;
	struct words words = {.count = 0};
	char why[RUN_REASON_BYTES] = "";
	struct variant_setting setting = {
		.host = "127.0.0.1",
		.port = 1,
		.cpus = &o->server_cpus,
		.connections = o->connections,
		.size_bytes = o->size_bytes,
		.python = o->python,
	};
	int err = live->spec->consumer->variant.command(&live->spec->consumer->variant, &setting,
							&words, why, sizeof(why));

	if (!err)
		err = server_start(&live->server, &words, &o->server_cpus,
				   (int64_t)o->ready_timeout_ns, false);
	words_fini(&words);
	while (!err && !live->server.ready && !live->server.failed && !is_interrupted(live)) {
		struct pollfd ready = {.fd = live->server.control.fd, .events = POLLIN};

		(void)poll(&ready, 1, 10 * TICK_MS);
		server_handle(&live->server);
		progress_tick(plan->progress, NULL);
	}
	if (err || live->server.failed)
		doubt_reason(&live->trial->run, RUN_FAILED, "%s",
			     why[0] ? why : live->server.reason);
	live->ready_ns = live->consumed_ns = vly_now_ns();
	return live->trial->run.status == RUN_OK && !is_interrupted(live);
}

static void tell_progress(struct live *live, uint64_t now_ns)
{
	struct meter_view view = meter_file_view(&live->meter);
	bool window = view.began_ns && now_ns >= view.window_begin_ns;
	struct load_progress progress = {
		.phase = window ? LOAD_WINDOW_BEGIN : LOAD_WARMUP,
		.connected = live->spec->plan->options->connections,
		.connections = live->spec->plan->options->connections,
		.messages = view.consumed,
		.rate_msg_per_s = live->spec->rate,
		.elapsed_s = (double)(now_ns - live->ready_ns) / 1e9,
		.phase_s = (double)(now_ns - live->ready_ns) / 1e9,
	};

	progress_tick(live->spec->plan->progress, &progress);
}

/* Whether it goes on. */
static bool watch(struct live *live)
{
	struct meter_view view = meter_file_view(&live->meter);
	uint64_t now_ns = vly_now_ns();

	if (is_interrupted(live) || live->server.failed)
		return false;
	/* here, and not before its process began: a core that is all ours does not stay so for long */
	if (view.asked_ns && !live->released && keepup_pace_reached(live->pace, live->spec)) {
		live->released = true;
		live->consumed_ns = now_ns; /* until now it could take nothing */
		meter_file_release(&live->meter);
	}
	if (view.began_ns && !live->begin_asked && now_ns >= view.window_begin_ns) {
		live->begin_asked = true;
		server_ask_sample(&live->server, false);
	}
	if (view.began_ns && !live->end_asked && now_ns >= view.window_end_ns) {
		live->end_asked = true;
		server_ask_sample(&live->server, true);
	}
	if (view.consumed != live->consumed || live->spec->kind == TRIAL_GENERATOR) {
		live->consumed = view.consumed;
		live->consumed_ns = now_ns;
	}
	uint64_t waiting = view.offered - view.dropped - view.lost - view.consumed;

	if (live->spec->kind == TRIAL_GENERATOR)
		waiting = 0;
	if (!view.asked_ns && now_ns > live->ready_ns + BEGIN_NS) {
		doubt_reason(&live->trial->run, RUN_FAILED,
			     "the consumer blocks: it asked for no message in the first %.0f s",
			     (double)BEGIN_NS / 1e9);
		return false;
	}
	if (view.began_ns && waiting && now_ns > live->consumed_ns + BLOCKED_NS) {
		doubt_reason(
			&live->trial->run, RUN_FAILED,
			"the consumer blocks: it took %llu messages and then none for %.0f s, with %llu waiting",
			(unsigned long long)view.consumed, (double)BLOCKED_NS / 1e9,
			(unsigned long long)waiting);
		return false;
	}
	if (view.done && !live->done_ns)
		live->done_ns = now_ns;
	if (!view.done || !live->end_asked)
		return true;
	return waiting && now_ns < live->done_ns + DRAIN_NS;
}

static void run(struct live *live)
{
	while (watch(live)) {
		struct pollfd ready = {.fd = live->server.control.fd, .events = POLLIN};

		(void)poll(&ready, 1, TICK_MS);
		server_handle(&live->server);
		tell_progress(live, vly_now_ns());
	}
	/* the last sample is on its way */
	for (int i = 0;
	     i < 100 && live->end_asked && !live->server.after.taken && !live->server.failed; i++) {
		struct pollfd ready = {.fd = live->server.control.fd, .events = POLLIN};

		(void)poll(&ready, 1, TICK_MS);
		server_handle(&live->server);
	}
}

static void take_cost(struct live *live)
{
	struct run_result *r = &live->trial->run;
	const struct server *server = &live->server;

	r->server_ghz = speed_mean(&live->server_before, &live->server_after);
	r->load_ghz = speed_mean(&live->load_before, &live->load_after);
	r->tsc_ghz = speed_tsc_ghz();
	if (!server->before.taken || !server->after.taken)
		return;
	struct cost spent = cost_between(&server->before.cost, &server->after.cost);

	r->server_rss_bytes = (double)spent.rss_bytes;
	r->server_threads = spent.threads;
}

/* Its own count against what was handed to it. */
static void judge_total(struct live *live)
{
	const struct total *total = &live->server.total;
	struct meter_view view = meter_file_view(&live->meter);

	if (!total->known && !live->spec->consumer->variant.counts)
		return;
	if (!total->known)
		doubt_reason(&live->trial->run, RUN_FAILED,
			     "the consumer did not say what it has seen");
	else if (total->messages != view.delivered || total->sum != view.delivered_sum)
		doubt_reason(
			&live->trial->run, RUN_INVALID,
			"the consumer counted %llu messages with sum %llu, it was given %llu with %llu",
			(unsigned long long)total->messages, (unsigned long long)total->sum,
			(unsigned long long)view.delivered, (unsigned long long)view.delivered_sum);
}

static void judge(struct live *live)
{
	struct run_result *r = &live->trial->run;
	const struct load_options *o = live->spec->plan->options;

	if (is_interrupted(live))
		doubt_reason(r, RUN_INTERRUPTED, "by a signal");
	else if (live->server.failed)
		doubt_reason(r, RUN_FAILED, "%s", live->server.reason);
	meter_file_take(&live->meter, live->spec, live->trial);
	keepup_report_take(live->spec->plan, live->trial);
	take_cost(live);
	if (r->status != RUN_OK)
		return;
	doubt_speed(r, "server", &o->server_cpus, &live->server_before, &live->server_after);
	doubt_speed(r, "load", &o->load_cpus, &live->load_before, &live->load_after);
	if (live->spec->kind != TRIAL_GENERATOR)
		judge_total(live);
	if (live->spec->kind == TRIAL_CEILING && isnan(live->trial->generator_pace))
		doubt_reason(r, RUN_INVALID,
			     "the consumer made no room in the window: it did not get its CPU");
	if (r->status == RUN_OK && r->window_s > 0)
		r->rate_msg_per_s = live->trial->consumed / r->window_s;
}

void trial_internal(const struct trial_spec *spec, struct keepup_pace *pace, struct trial *trial)
{
	struct live live = {.spec = spec, .trial = trial, .pace = pace, .server.control.fd = -1};
	struct consumer_setting *setting = spec->plan->setting;
	const struct load_options *o = spec->plan->options;
	int err = keepup_files_make(setting, &live.meter);

	if (err) {
		doubt_reason(&trial->run, RUN_FAILED, "no shared memory for the meter: %s",
			     strerror(-err));
		return;
	}
	describe_source(spec, setting->source, sizeof(setting->source));
	speed_measure(&o->server_cpus, &live.server_before);
	speed_measure(&o->load_cpus, &live.load_before);
	if (start(&live))
		run(&live);
	server_stop(&live.server, NULL, 0);
	speed_measure(&o->server_cpus, &live.server_after);
	speed_measure(&o->load_cpus, &live.load_after);
	judge(&live);
	keepup_files_remove(setting, &live.meter);
	(void)child_kill_all();
}
