/* load.c - the phases of a run: opening, connecting, warming up, measuring, judging */
#include "bench/load.h"

#include "bench/child.h"
#include "bench/load_state.h"

#include "volley/volley.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STEP_NS UINT64_C(20000000) /* how often the main thread looks up */
#define PROGRESS_NS UINT64_C(500000000)
#define QUIET_NS UINT64_C(3000000000) /* draining: so long without an echo, and it never comes */
#define DRAIN_NS                                                                                   \
	UINT64_C(6000000000) /* draining: a server that still answers is not waited for longer */
#define SETTLE_NS UINT64_C(1000000000) /* of plain runs, as the study does it */
#define LEAD_NS UINT64_C(2000000)      /* a window is announced so long before it begins */
#define CONNECT_MIN_NS UINT64_C(30000000000)
#define CONNECT_EACH_NS UINT64_C(10000000)
#define DRAIN_STEP_NS UINT64_C(1000000)
#define HANG_UP_NS UINT64_C(1000000000)
#define SETTLE_EACH_NS UINT64_C(20000) /* two round trips of a message, on a CPU each */
#define SETTLE_MIN_NS UINT64_C(10000000)

const char *load_phase_name(enum load_phase phase)
{
	static const char *const names[] = {"connecting", "warm-up", "window",
					    "closing",    "held",    "done"};

	return names[phase];
}

/* Over all cores. */
static uint64_t messages_sum(const struct load *load)
{
	return load_cores_messages(load->cores, load->cores_count);
}

static uint64_t outstanding_sum(const struct load *load)
{
	return load_cores_outstanding(load->cores, load->cores_count);
}

static uint32_t up_sum(const struct load *load)
{
	return load_cores_up(load->cores, load->cores_count);
}

static bool any_failed(const struct load *load)
{
	return load_cores_failed(load->cores, load->cores_count);
}

/* Whether the caller wants an end; remembered, for no error tells it. */
static bool is_cut(struct load *load)
{
	const atomic_bool *interrupted = load->params->interrupted;

	if (interrupted && atomic_load_explicit(interrupted, memory_order_relaxed))
		load->cut = true;
	return load->cut;
}

/*
 * --- orders and waiting --------------------------------------------------------------------------
 */

static void order(struct load *load, enum load_stage stage)
{
	atomic_store_explicit(&load->orders.stage, (int)stage, memory_order_release);
	for (unsigned i = 0; i < load->cores_count; i++)
		vly_wake(load->engine, i);
}

static void announce(struct load *load, enum load_phase phase)
{
	load->phase = phase;
	load->phase_ns = vly_now_ns();
	if (load->params->phase)
		load->params->phase(phase, load->params->arg);
}

static void progress(struct load *load, uint64_t now_ns, uint64_t messages)
{
	uint64_t since_ns = now_ns - load->told_ns;
	struct load_progress told = {
		.phase = load->phase,
		.connected = up_sum(load),
		.connections = load->params->connections,
		.messages = messages,
		.rate_msg_per_s = (double)(messages - load->told_messages) * 1e9 / (double)since_ns,
		.elapsed_s = (double)(now_ns - load->start_ns) * 1e-9,
		.phase_s = (double)(now_ns - load->phase_ns) * 1e-9,
	};

	load->told_ns = now_ns;
	load->told_messages = messages;
	if (load->params->progress)
		load->params->progress(&told, load->params->arg);
}

static void sleep_ns(uint64_t ns)
{
	struct timespec span = {.tv_sec = (time_t)(ns / 1000000000u),
				.tv_nsec = (long)(ns % 1000000000u)};

	/* a signal cuts it short: the caller looks at the clock anyway */
	nanosleep(&span, NULL);
}

/* One step of waiting, at most until `until_ns`. Updates when a message last came back. */
static void step(struct load *load, uint64_t until_ns)
{
	uint64_t now_ns = vly_now_ns();
	uint64_t messages;

	if (now_ns < until_ns)
		sleep_ns(until_ns - now_ns < STEP_NS ? until_ns - now_ns : STEP_NS);
	now_ns = vly_now_ns();
	messages = messages_sum(load);
	/* nobody is owed an echo: between two sends silence is as it should be */
	if (messages != load->heard_messages ||
	    (load->phase != LOAD_CONNECTING && !outstanding_sum(load))) {
		load->heard_messages = messages;
		load->heard_ns = now_ns;
	}
	slices_step(&load->result->slices, now_ns, messages);
	if (now_ns - load->told_ns >= PROGRESS_NS)
		progress(load, now_ns, messages);
}

/*
 * Waits while the server answers. 0 at `until_ns`; -ECANCELED (interrupted: `cut` is set, or a
 * connection failed); -ETIMEDOUT.
 */
static int watch(struct load *load, uint64_t until_ns)
{
	for (;;) {
		if (is_cut(load) || any_failed(load))
			return -ECANCELED;
		if (vly_now_ns() >= until_ns)
			return 0;
		step(load, until_ns);
		if (vly_now_ns() - load->heard_ns > load->stall_ns)
			return load_refuse(load->result, -ETIMEDOUT,
					   "the server stopped answering: no echo on any of %u "
					   "connections for %.1f s",
					   load->params->connections,
					   (double)load->stall_ns * 1e-9);
	}
}

/*
 * --- phases --------------------------------------------------------------------------------------
 */

static int connect_all(struct load *load)
{
	const struct load_params *params = load->params;
	uint64_t until_ns;
	char target[VLY_ADDR_TEXT_MAX];

	announce(load, LOAD_CONNECTING);
	load->heard_ns = vly_now_ns();
	until_ns = load->heard_ns + params->ramp_ns + load->connect_ns;
	for (unsigned i = 0; i < load->cores_count; i++) {
		int err = load_core_start(&load->cores[i]);

		if (err < 0)
			return load_refuse(load->result, err,
					   "could not start load thread %u on CPU %d: %s", i,
					   load->cores[i].cpu, strerror(-err));
	}
	child_step_back(); /* its samples would take milliseconds from the cores */
	while (up_sum(load) < params->connections) {
		uint64_t now_ns;

		if (is_cut(load) || any_failed(load))
			return -ECANCELED;
		step(load, until_ns);
		now_ns = vly_now_ns();
		if (now_ns < until_ns &&
		    now_ns - load->heard_ns <= load->stall_ns + params->ramp_ns)
			continue;
		vly_addr_format(&params->target, target, sizeof(target));
		return load_refuse(
			load->result, -ETIMEDOUT,
			"only %u of %u connections to %s were accepted and answered within %.1f s",
			up_sum(load), params->connections, target,
			(double)(now_ns - load->phase_ns) * 1e-9);
	}
	load->result->connecting_s = (double)(vly_now_ns() - load->phase_ns) * 1e-9;
	return 0;
}

/*
 * A window begins a little after all cores may know of it: what is due or comes back in it is counted
 * from its first moment on.
 */
static struct load_window *open_window(struct load *load)
{
	unsigned count = atomic_load_explicit(&load->orders.windows_count, memory_order_relaxed);
	struct load_window *window = &load->orders.windows[count];

	window->begin_ns = vly_now_ns() + LEAD_NS;
	atomic_store_explicit(&window->end_ns,
			      window->begin_ns + load->params->duration_ns / load->turns,
			      memory_order_relaxed);
	/* take_window() of load_core.c acquires it */
	atomic_store_explicit(&load->orders.windows_count, count + 1, memory_order_release);
	return window;
}

/* The window ends: now, if not at its time. */
static void close_window(struct load *load, struct load_window *window, bool early)
{
	uint64_t now_ns = vly_now_ns();

	if (early)
		atomic_store_explicit(&window->end_ns,
				      now_ns > window->begin_ns ? now_ns : window->begin_ns,
				      memory_order_relaxed);
	load->times.end_ns = atomic_load_explicit(&window->end_ns, memory_order_relaxed);
	load->times.window_ns += load->times.end_ns - window->begin_ns;
}

/* What was spent so far begins to count, or goes on counting after a pause. */
static void count_usage(struct load *load)
{
	struct load_usage *usage = load->usage;

	load_usage_take(load->params, load->cores, load->cores_count, &usage[2]);
	if (load->times.begin_ns)
		load_usage_skip(&usage[0], &usage[1], &usage[2]);
	else
		usage[0] = usage[2];
}

/* A turn, or the whole window. */
static int measure_turn(struct load *load)
{
	struct slices *slices = &load->result->slices;
	struct load_window *window;
	uint64_t messages;
	int err;

	announce(load, LOAD_WINDOW_BEGIN);
	window = open_window(load);
	err = watch(load, window->begin_ns);
	count_usage(load);
	if (!load->times.begin_ns)
		load->times.begin_ns = window->begin_ns;
	messages = messages_sum(load);
	if (load->turns == 1)
		slices_begin(slices, window->begin_ns, load->params->duration_ns, messages);
	if (!err)
		err = watch(load, atomic_load_explicit(&window->end_ns, memory_order_relaxed));
	if (load->turns > 1)
		slices_add(slices, vly_now_ns() - window->begin_ns, messages_sum(load) - messages);
	close_window(load, window, err != 0);
	load_usage_take(load->params, load->cores, load->cores_count, &load->usage[1]);
	announce(load, LOAD_WINDOW_END);
	return err;
}

/* Awaits what is under way: a server that swallowed messages is found here at the latest. */
static int drain(struct load *load, enum load_stage stage)
{
	uint64_t until_ns = vly_now_ns() + DRAIN_NS;
	uint64_t quiet_ns = load->stall_ns < QUIET_NS ? load->stall_ns : QUIET_NS;
	uint64_t outstanding;

	order(load, stage);
	load->heard_ns = vly_now_ns();
	/* every core stops sending first, so that no echo is owed but for what was counted */
	while (!load_cores_reached(load->cores, load->cores_count, stage) ||
	       outstanding_sum(load)) {
		uint64_t now_ns = vly_now_ns();

		if (any_failed(load))
			return -ECANCELED;
		if (is_cut(load) || now_ns >= until_ns)
			return 0;
		step(load, now_ns + DRAIN_STEP_NS);
		if (vly_now_ns() - load->heard_ns <= quiet_ns)
			continue;
		load->times.silent_ns = vly_now_ns();
		outstanding = outstanding_sum(load);
		return load_refuse(load->result, -ETIMEDOUT,
				   "%llu message%s never came back: no echo for %.1f s",
				   (unsigned long long)outstanding, outstanding == 1 ? "" : "s",
				   (double)quiet_ns * 1e-9);
	}
	/* the last batch may have brought a wrong byte */
	return any_failed(load) ? -ECANCELED : 0;
}

/* Sends nothing until the caller gives the word. */
static int hold(struct load *load)
{
	int err = drain(load, LOAD_STAGE_HOLD);

	if (!err)
		announce(load, LOAD_HELD);
	load->heard_ns = vly_now_ns();
	return err;
}

static int resume(struct load *load)
{
	const struct load_params *params = load->params;

	order(load, LOAD_STAGE_RUN);
	return watch(load, load->heard_ns + load_settle_ns(params->connections, params->depth));
}

static int measure(struct load *load)
{
	int err = 0;

	load->usage = calloc(3, sizeof(*load->usage));
	if (!load->usage)
		return load_refuse(load->result, -ENOMEM, "out of memory");
	for (uint32_t turn = 0; turn < load->turns && !err; turn++) {
		if (load->turns > 1)
			err = hold(load);
		if (load->turns > 1 && !err)
			err = resume(load);
		if (!err)
			err = measure_turn(load);
	}
	/* connections are closed when nobody has a turn any more */
	if (load->turns > 1 && !err)
		err = hold(load);
	if (load->times.begin_ns)
		load_usage_judge(load->usage, load->times.window_ns, load->polls, load->result);
	free(load->usage);
	return err;
}

/* Orderly closes; who does not answer them in time is reset. */
static void hang_up(struct load *load)
{
	uint64_t until_ns = vly_now_ns() + HANG_UP_NS;
	bool all = false;

	order(load, LOAD_STAGE_HANG_UP);
	while (!all && vly_now_ns() < until_ns) {
		step(load, until_ns);
		all = load_cores_reached(load->cores, load->cores_count, LOAD_STAGE_HANG_UP);
		for (unsigned i = 0; i < load->cores_count; i++)
			all = all &&
			      !atomic_load_explicit(&load->cores[i].closing, memory_order_relaxed);
	}
}

static int run_phases(struct load *load)
{
	int err = connect_all(load);

	if (err)
		return err;
	/* a server that accepts all before it answers any shall have the time */
	load->heard_ns = vly_now_ns();
	if (load->params->plain)
		err = watch(load, load->heard_ns + SETTLE_NS);
	if (err)
		return err;
	atomic_store_explicit(&load->orders.start_ns, vly_now_ns(), memory_order_relaxed);
	order(load, LOAD_STAGE_RUN);
	announce(load, LOAD_WARMUP);
	load->heard_ns = load->orders.start_ns;
	err = watch(load, load->heard_ns + load->params->warmup_ns);
	if (!err)
		err = measure(load);
	if (!err)
		err = drain(load, LOAD_STAGE_DRAIN);
	if (!err && load->params->plain)
		hang_up(load);
	return err;
}

uint64_t load_connect_timeout_ns(uint32_t connections)
{
	uint64_t each_ns = connections * CONNECT_EACH_NS;

	return each_ns > CONNECT_MIN_NS ? each_ns : CONNECT_MIN_NS;
}

uint64_t load_settle_ns(uint32_t connections, uint32_t depth)
{
	uint64_t all_ns = (uint64_t)connections * depth * SETTLE_EACH_NS;

	return all_ns > SETTLE_MIN_NS ? all_ns : SETTLE_MIN_NS;
}

static uint64_t timeout_or(int64_t timeout_ns, int64_t default_ns)
{
	return (uint64_t)(timeout_ns > 0 ? timeout_ns : default_ns);
}

int load_run(const struct load_params *params, struct load_result *result)
{
	struct load load = {
		.params = params,
		.result = result,
		.cores_count = params->cpus_count ? params->cpus_count : 1,
		.start_ns = vly_now_ns(),
		.turns = params->turns ? params->turns : 1,
		.stall_ns = timeout_or(params->stall_timeout_ns, LOAD_STALL_TIMEOUT_NS),
		.connect_ns = params->connect_timeout_ns > 0
				      ? (uint64_t)params->connect_timeout_ns
				      : load_connect_timeout_ns(params->connections),
	};
	int err;

	memset(result, 0, sizeof(*result));
	err = load_check(params, result);
	if (err)
		return err;
	/* a core without a connection would only stand in the way */
	if (load.cores_count > params->connections)
		load.cores_count = params->connections;
	if (histogram_init(&result->latency) < 0 || histogram_init(&result->service) < 0)
		return load_refuse(result, -ENOMEM, "out of memory");
	load.schedule = params->schedule;
	load.schedule.seed = params->seed;
	load.schedule.connections = params->connections;
	load.told_ns = load.start_ns;
	err = load_open_engine(&load);
	if (err)
		return err;
	err = load_make_cores(&load);
	if (!err) {
		err = run_phases(&load);
		order(&load, LOAD_STAGE_QUIT);
		for (unsigned i = 0; i < load.cores_count; i++)
			load_core_join(&load.cores[i]);
		load.times.stall_ns = load.stall_ns;
		err = load_outcome(params, load.cores, load.cores_count, &load.times, load.cut, err,
				   result);
		announce(&load, LOAD_DONE);
		for (unsigned i = 0; i < load.cores_count; i++)
			load_core_fini(&load.cores[i]);
		free(load.cores);
	}
	vly_engine_close(load.engine);
	return err;
}

void load_result_fini(struct load_result *result)
{
	histogram_fini(&result->latency);
	histogram_fini(&result->service);
	free(result->per_conn);
	result->per_conn = NULL;
}
