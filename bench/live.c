/* live.c - a run while it goes on: its server and its load, brought up, watched, ended */
#include "bench/live.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "bench/doubt.h"
#include "bench/load.h"
#include "bench/own_stack.h"
#include "bench/preflight.h"
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

bool live_is_interrupted(const struct live *live)
{
	return atomic_load_explicit(live->spec->interrupted, memory_order_relaxed);
}

/* --- the server --- */

/* Waits for READY. False: it failed, or we were interrupted. */
static bool await_ready(struct live *live)
{
	while (!live->own.ready && !live->own.failed && !live_is_interrupted(live)) {
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
		bool taken = spec->port == 0 && !live_is_interrupted(live) &&
			     preflight_port(&addr, why, sizeof(why)) == -EADDRINUSE;
		server_stop(&live->own, NULL, 0);
		if (!taken || preflight_port(&addr, why, sizeof(why)) != -EADDRINUSE)
			break;
	}
	if (live_is_interrupted(live))
		doubt_reason(live->result, RUN_INTERRUPTED,
			     "by a signal, while the server started");
	else
		doubt_reason(live->result, RUN_FAILED, "%s", live->own.reason);
	return false;
}

/* --- the load --- */

/* The window opens, once more after others had their turns. */
static void open_window(struct live *live)
{
	if (live->began) {
		sample_skip(&live->before, &live->last, &live->server->before);
		disturbance_skip(&live->calm, &live->calm_after, &live->calm_before);
	} else {
		live->before = live->server->before;
		live->calm = live->calm_before;
	}
	live->began = live->opened = true;
	live->result->window_begin_ns = vly_now_ns();
	loader_open_window(&live->loader);
}

/* Whether a sample of the window's end is still to come. */
static bool awaits_sample(const struct live *live)
{
	return live->end_asked && !live->server->after.taken && live->server->control.fd >= 0 &&
	       !live->server->failed && vly_now_ns() < live->sample_by_ns;
}

static void pass_samples(struct live *live)
{
	struct loader *loader = &live->loader;
	uint64_t now = vly_now_ns();

	if (loader->begun && !live->begin_asked) {
		live->begin_asked = true;
		live->last = live->server->after;
		memset(&live->server->before, 0, sizeof(live->server->before));
		memset(&live->server->after, 0, sizeof(live->server->after));
		disturbance_take(&live->calm_before);
		live->sample_by_ns = now + SAMPLE_PATIENCE_NS;
		server_ask_sample(live->server, false);
	}
	/* A server that nobody can sample must not stop the load. */
	if (live->begin_asked && !live->opened &&
	    (live->server->before.taken || live->server->control.fd < 0 ||
	     now > live->sample_by_ns))
		open_window(live);
	if (loader->ended && !live->end_asked) {
		live->end_asked = true;
		live->result->window_end_ns = now;
		disturbance_take(&live->calm_after);
		live->sample_by_ns = now + SAMPLE_PATIENCE_NS;
		server_ask_sample(live->server, true);
	}
	if (live->end_asked && !live->closed && !awaits_sample(live)) {
		live->closed = true;
		/* between turns the load goes on until the sample is taken: an idle server would look cheap */
		if (live->spec->turns > 1)
			loader_close_window(loader);
	}
}

/* Whether the run goes on. */
static bool load_goes_on(struct live *live)
{
	uint64_t now = vly_now_ns();

	if (live->loader.done)
		return awaits_sample(live);
	if (live_is_interrupted(live) && !live->interrupt_sent) {
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

static void start_load(struct live *live)
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
	live->load_polls = bench_own_stack(nic);
	live->deadline_ns = vly_now_ns() + o->shape.ramp_ns +
			    (o->connect_timeout_ns ? o->connect_timeout_ns
						   : load_connect_timeout_ns(o->connections)) +
			    o->warmup_ns + o->duration_ns + o->stall_timeout_ns + SPARE_NS;
	/* what goes wrong is in its result, and it is done */
	(void)loader_start(&live->loader, workload, &live->target, nic, o, live->spec->turns,
			   o->seed + live->spec->run);
}

bool live_step(struct live *live)
{
	struct pollfd ready[] = {
		{.fd = live->loader.control.fd, .events = POLLIN},
		{.fd = live->server->control.fd, .events = POLLIN},
	};

	if (!load_goes_on(live)) {
		if (!live->loader.done)
			snprintf(live->loader.result.reason, sizeof(live->loader.result.reason),
				 "%s",
				 live->server->failed ? ""
						      : "the load process did not end in time");
		return false;
	}
	(void)poll(ready, 2, TICK_MS);
	loader_handle(&live->loader);
	server_handle(live->server);
	pass_samples(live);
	progress_tick(live->spec->progress, &live->loader.progress);
	return true;
}

/* --- turns --- */

/* "sleep": it waits in the kernel, as we know of it. */
static bool server_sleeps(const struct live *live)
{
	const struct variant *variant = live->spec->variant;

	return !variant || strcmp(variant->idle_policy, "sleep") == 0;
}

void live_pause(struct live *live)
{
	live->paused = true;
	if (live->load_polls && live->loader.pid)
		kill(live->loader.pid, SIGSTOP);
	if (!server_sleeps(live))
		server_pause(live->server, strcmp(live->spec->variant->idle_policy, "busy") == 0);
}

static void unpause(struct live *live)
{
	if (!server_sleeps(live))
		server_go_on(live->server);
	if (live->load_polls && live->loader.pid)
		kill(live->loader.pid, SIGCONT);
	live->paused = false;
}

void live_go_on(struct live *live, uint64_t patience_ns)
{
	if (live->paused)
		unpause(live);
	live->begin_asked = live->opened = live->end_asked = live->closed = false;
	live->deadline_ns = vly_now_ns() + patience_ns;
	loader_go_on(&live->loader);
}

bool live_is_held(const struct live *live)
{
	return live->loader.held && !live->loader.done && !awaits_sample(live);
}

/* --- beginning and end --- */

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
	opts.slots = variant_loop_slots(spec->variant,
					o->connections * o->depth / rings * (rings > 1 ? 2 : 1),
					o->size_bytes);
	return vly_loop_make(&opts);
}

bool live_open(struct live *live, const struct run_spec *spec, struct run_result *result)
{
	const struct load_options *o = spec->options;

	*live = (struct live){.spec = spec, .result = result, .loop = -1};
	live->loader.control.fd = live->own.control.fd = -1;
	live->server = spec->variant ? &live->own : &spec->peer->server;
	run_describe(spec, result);
	if (spec->variant && spec->variant->loop) {
		live->loop = make_loop(spec);
		if (live->loop < 0) {
			doubt_reason(result, RUN_FAILED, "no wire in memory: %s",
				     strerror(-live->loop));
			return false;
		}
	}
	if (spec->variant) {
		speed_measure(&o->server_cpus, &live->server_before);
	} else {
		live->target = spec->peer->addr;
		memset(&live->server->before, 0, sizeof(live->server->before));
		memset(&live->server->after, 0, sizeof(live->server->after));
	}
	speed_measure(&o->load_cpus, &live->load_before);
	if (spec->variant && !start_server(live))
		return false;
	if (spec->server_is_up)
		spec->server_is_up(spec->server_is_up_arg);
	start_load(live);
	return true;
}

void live_close(struct live *live)
{
	const struct run_spec *spec = live->spec;

	if (live->paused)
		unpause(live);
	loader_stop_process(&live->loader);
	if (spec->variant)
		server_stop(&live->own, NULL, 0);
	if (spec->probe)
		*spec->probe = live->own.syscalls;
	speed_measure(&spec->options->load_cpus, &live->load_after);
	if (spec->variant)
		speed_measure(&spec->options->server_cpus, &live->server_after);
	if (!live->began)
		return;
	live->server->before = live->before;
	live->calm_before = live->calm;
}

void live_fini(struct live *live)
{
	loader_stop(&live->loader);
	if (live->loop >= 0)
		vly_loop_close(live->loop);
}
