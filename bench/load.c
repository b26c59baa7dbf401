/* load.c - the phases of a run: opening, connecting, warming up, measuring, judging */
#include "bench/load.h"

#include "bench/load_core.h"
#include "bench/load_outcome.h"
#include "bench/load_usage.h"
#include "bench/own_stack.h"

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
#define HANG_UP_NS UINT64_C(1000000000)
#define CONNECTING_MAX 128u /* connections under way in the whole process */
#define SPARE_CONNS 16u     /* slots of failed connections come back late */

struct load {
	const struct load_params *params;
	struct load_result *result;
	struct vly_engine *engine;
	struct load_core *cores;
	unsigned cores_count;
	struct load_orders orders;
	struct schedule schedule;
	enum load_phase phase;
	uint64_t start_ns, phase_ns;
	struct load_times times;
	uint64_t told_ns, told_messages;   /* the last progress */
	uint64_t heard_ns, heard_messages; /* when a message last came back */
	uint64_t stall_ns, connect_ns;
	bool polls; /* cores never sleep */
	bool cut;   /* the run was interrupted before its end */
};

const char *load_phase_name(enum load_phase phase)
{
	static const char *const names[] = {"connecting", "warm-up", "window", "closing", "done"};

	return names[phase];
}

/*
 * --- sums over cores -----------------------------------------------------------------------------
 */

static uint64_t messages_sum(const struct load *load)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < load->cores_count; i++)
		sum += atomic_load_explicit(&load->cores[i].messages, memory_order_relaxed);
	return sum;
}

static uint64_t outstanding_sum(const struct load *load)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < load->cores_count; i++)
		sum += atomic_load_explicit(&load->cores[i].outstanding, memory_order_relaxed);
	return sum;
}

static uint32_t up_sum(const struct load *load)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < load->cores_count; i++)
		sum += atomic_load_explicit(&load->cores[i].up, memory_order_relaxed);
	return sum;
}

static bool any_failed(const struct load *load)
{
	for (unsigned i = 0; i < load->cores_count; i++)
		if (atomic_load_explicit(&load->cores[i].failed, memory_order_acquire))
			return true;
	return false;
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
 * The window begins a little after all cores may know of it: what is due or comes back in it is counted
 * from its first moment on.
 */
static void open_window(struct load *load)
{
	load->times.begin_ns = vly_now_ns() + LEAD_NS;
	load->times.end_ns = load->times.begin_ns + load->params->duration_ns;
	atomic_store_explicit(&load->orders.end_ns, load->times.end_ns, memory_order_relaxed);
	/* take_window() of load_core.c acquires it */
	atomic_store_explicit(&load->orders.begin_ns, load->times.begin_ns, memory_order_release);
}

static int measure(struct load *load)
{
	struct load_usage *usage = calloc(2, sizeof(*usage)); /* at both ends of the window */
	int err;

	if (!usage)
		return load_refuse(load->result, -ENOMEM, "out of memory");
	announce(load, LOAD_WINDOW_BEGIN);
	open_window(load);
	err = watch(load, load->times.begin_ns);
	load_usage_take(load->params, load->cores, load->cores_count, &usage[0]);
	slices_begin(&load->result->slices, load->times.begin_ns, load->params->duration_ns,
		     messages_sum(load));
	if (!err)
		err = watch(load, load->times.end_ns);
	if (err) {
		uint64_t now_ns = vly_now_ns();

		load->times.end_ns = now_ns > load->times.begin_ns ? now_ns : load->times.begin_ns;
		atomic_store_explicit(&load->orders.end_ns, load->times.end_ns,
				      memory_order_relaxed);
	}
	load_usage_take(load->params, load->cores, load->cores_count, &usage[1]);
	load_usage_judge(usage, load->times.end_ns - load->times.begin_ns, load->polls,
			 load->result);
	free(usage);
	announce(load, LOAD_WINDOW_END);
	return err;
}

/* Every core stopped sending, so that no echo is owed but for what was counted. */
static bool all_draining(const struct load *load)
{
	for (unsigned i = 0; i < load->cores_count; i++)
		if (atomic_load_explicit(&load->cores[i].stage_done, memory_order_acquire) !=
		    LOAD_STAGE_DRAIN)
			return false;
	return true;
}

/* Awaits what is under way: a server that swallowed messages is found here at the latest. */
static int drain(struct load *load)
{
	uint64_t until_ns = vly_now_ns() + DRAIN_NS;
	uint64_t quiet_ns = load->stall_ns < QUIET_NS ? load->stall_ns : QUIET_NS;
	uint64_t outstanding;

	order(load, LOAD_STAGE_DRAIN);
	load->heard_ns = vly_now_ns();
	while (!all_draining(load) || outstanding_sum(load)) {
		if (any_failed(load))
			return -ECANCELED;
		if (is_cut(load) || vly_now_ns() >= until_ns)
			return 0;
		step(load, until_ns);
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

/* Orderly closes; who does not answer them in time is reset. */
static void hang_up(struct load *load)
{
	uint64_t until_ns = vly_now_ns() + HANG_UP_NS;
	bool all = false;

	order(load, LOAD_STAGE_HANG_UP);
	while (!all && vly_now_ns() < until_ns) {
		step(load, until_ns);
		all = true;
		for (unsigned i = 0; i < load->cores_count; i++) {
			const struct load_core *core = &load->cores[i];

			all = all &&
			      atomic_load_explicit(&core->stage_done, memory_order_acquire) ==
				      LOAD_STAGE_HANG_UP &&
			      !atomic_load_explicit(&core->closing, memory_order_relaxed);
		}
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
		err = drain(load);
	if (!err && load->params->plain)
		hang_up(load);
	return err;
}

/*
 * --- opening -------------------------------------------------------------------------------------
 */

static int check(const struct load_params *params, struct load_result *result)
{
	if (!params->target.family)
		return load_refuse(result, -EINVAL, "no target address");
	if (!params->connections)
		return load_refuse(result, -EINVAL, "connections must be at least 1");
	if (params->size_bytes < LOAD_SIZE_MIN || params->size_bytes > LOAD_SIZE_MAX)
		return load_refuse(result, -EINVAL, "size must be %u..%u bytes, not %u",
				   LOAD_SIZE_MIN, LOAD_SIZE_MAX, params->size_bytes);
	if (!params->depth || params->depth > LOAD_DEPTH_MAX)
		return load_refuse(result, -EINVAL, "depth must be 1..%u, not %u", LOAD_DEPTH_MAX,
				   params->depth);
	if ((uint64_t)params->size_bytes * params->depth > LOAD_INFLIGHT_MAX)
		return load_refuse(result, -EINVAL,
				   "size * depth must be at most %u bytes, not %llu",
				   LOAD_INFLIGHT_MAX,
				   (unsigned long long)params->size_bytes * params->depth);
	if (params->cpus_count > LOAD_CPUS_MAX)
		return load_refuse(result, -EINVAL, "at most %u load CPUs", LOAD_CPUS_MAX);
	if (!params->duration_ns)
		return load_refuse(result, -EINVAL, "duration must be above 0");
	if (params->think_max_ns < params->think_min_ns ||
	    (params->think_max_ns && (params->depth > 1 || params->schedule.steps_count)))
		return load_refuse(result, -EINVAL,
				   "thinking takes depth 1, a closed loop, and a span");
	return 0;
}

/* "0,2,5" for the config; `text` is long enough. */
static void format_cpus(const int *cpus, unsigned count, char *text, size_t size_bytes)
{
	size_t used = 0;

	for (unsigned i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, size_bytes - used, "%s%d", i ? "," : "",
					 cpus[i]);
}

static int open_engine(struct load *load)
{
	const struct load_params *params = load->params;
	uint32_t inflight = params->size_bytes * params->depth;
	struct vly_config config;
	char cpus[LOAD_CPUS_MAX * 8];
	int err;

	assert(load->cores_count > 0);
	vly_config_init(&config);
	config.nic = params->nic ? params->nic : "epoll";
	config.cores = load->cores_count;
	config.allow_overlap = true; /* the bench has looked at that already */
	load->polls = bench_own_stack(config.nic);
	config.idle = load->polls ? VLY_IDLE_BUSY : VLY_IDLE_SLEEP;
	config.conns_max =
		(params->connections + load->cores_count - 1) / load->cores_count + SPARE_CONNS;
	if (params->reconnect) /* the next is opened while the last still closes */
		config.conns_max *= 2;
	if (bench_own_stack(config.nic))
		bench_own_stack_config(&config, params->size_bytes);
	config.events_max = LOAD_BATCH;
	config.ports_max = 1;
	config.mail_slots = 2;
	if (config.tx_budget < inflight)
		config.tx_budget = inflight;
	/* two connections' worth at least: one that is stuck leaves room for the others */
	if ((uint64_t)config.tx_bufs * config.tx_buf_bytes < 2 * (uint64_t)config.tx_budget)
		config.tx_bufs = 2 * config.tx_budget / config.tx_buf_bytes + 1;
	if (params->cpus_count) {
		format_cpus(params->cpus, load->cores_count, cpus, sizeof(cpus));
		config.cpus = cpus;
	}
	err = vly_engine_open(&config, &load->engine);
	if (err < 0)
		return load_refuse(load->result, err,
				   "the load generator's engine did not open: %s", strerror(-err));
	return 0;
}

static uint32_t connecting_max(const struct load_params *params)
{
	return params->connecting_max ? params->connecting_max : CONNECTING_MAX;
}

/* Spreads connections evenly over cores. */
static int make_cores(struct load *load)
{
	const struct load_params *params = load->params;
	uint32_t first = 0;

	load->cores = aligned_alloc(128, load->cores_count * sizeof(*load->cores));
	if (!load->cores)
		return load_refuse(load->result, -ENOMEM, "out of memory");
	memset(load->cores, 0, load->cores_count * sizeof(*load->cores));
	for (unsigned i = 0; i < load->cores_count; i++) {
		struct load_core *core = &load->cores[i];
		uint32_t share = params->connections / load->cores_count +
				 (i < params->connections % load->cores_count);
		uint32_t connecting = connecting_max(params) / load->cores_count;

		core->engine = load->engine;
		core->orders = &load->orders;
		core->index = i;
		core->cpu = params->cpus_count ? params->cpus[i] : -1;
		core->params = (struct pingpong_params){
			.target = params->target,
			.sources = &params->sources,
			.schedule = &load->schedule,
			.connections = share,
			.first_id = first,
			.connecting_max = connecting ? connecting : 1,
			.ramp_ns = params->ramp_ns,
			.size_bytes = params->size_bytes,
			.depth = params->depth,
			.think_min_ns = params->think_min_ns,
			.think_max_ns = params->think_max_ns,
			.reconnect = params->reconnect,
			.seed = params->seed,
			.plain = params->plain,
		};
		first += share;
	}
	return 0;
}

uint64_t load_connect_timeout_ns(uint32_t connections)
{
	uint64_t each_ns = connections * CONNECT_EACH_NS;

	return each_ns > CONNECT_MIN_NS ? each_ns : CONNECT_MIN_NS;
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
		.stall_ns = timeout_or(params->stall_timeout_ns, LOAD_STALL_TIMEOUT_NS),
		.connect_ns = params->connect_timeout_ns > 0
				      ? (uint64_t)params->connect_timeout_ns
				      : load_connect_timeout_ns(params->connections),
	};
	int err;

	memset(result, 0, sizeof(*result));
	err = check(params, result);
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
	err = open_engine(&load);
	if (err)
		return err;
	err = make_cores(&load);
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
