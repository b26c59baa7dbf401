/* run.c - applications of callbacks: a pinned thread per core around vly_poll */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/core.h"
#include "engine/engine.h"

struct run {
	struct vly_engine *engine;
	const struct vly_app *app;
	void *arg;
};

struct run_thread {
	struct run *run;
	pthread_t thread;
	unsigned index;
	int error;
};

/* For the signal handler; one vly_run with stop_on_signals at a time. */
static _Atomic(struct vly_engine *) signalled;
/* Handlers at work, on whatever thread: the engine must outlive them. */
static atomic_int handling;

static void on_signal(int signal)
{
	(void)signal;
	/* Announced first, both sequentially consistent: unhook_signals() sees us, or we see NULL. */
	atomic_fetch_add_explicit(&handling, 1, memory_order_seq_cst);
	struct vly_engine *engine = atomic_load_explicit(&signalled, memory_order_seq_cst);

	if (engine)
		vly_stop(engine);
	atomic_fetch_sub_explicit(&handling, 1, memory_order_seq_cst);
}

static void pin(const struct vly_engine *engine, unsigned index)
{
	cpu_set_t set;
	int cpu = engine->seats[index].cpu;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	int error = pthread_setaffinity_np(pthread_self(), sizeof(set), &set);

	if (error)
		vly_log(VLY_LOG_WARN, "core %u could not be pinned to CPU %d: %s", index, cpu,
			strerror(error));
}

static void deliver(struct vly_core *core, const struct run *run, void *state, int64_t timeout_ns)
{
	struct vly_event *events;
	int count = vly_poll(core, &events, timeout_ns);

	if (count <= 0)
		return;
	core->in_callback = true;
	run->app->events(core, events, count, state);
	if (!vly_forked()) /* else the application returned from a fork, without its core */
		core->in_callback = false;
}

/* Whether anything is open; those whose last event was delivered only wait for the next poll. */
static bool any_open(const struct vly_core *core)
{
	const struct vly_conn_table *table = &core->env.conns;

	return table->slab.free_count + core->env.retiring_count < table->count;
}

/* Closes what is open, by `end`: vly_close or vly_abort. */
static void end_all(struct vly_core *core, int (*end)(struct vly_core *core, vly_conn conn))
{
	struct vly_conn_table *table = &core->env.conns;

	for (uint32_t slot = 0; slot < table->count; slot++) {
		struct vly_conn_head *conn = vly_conn_at(table, slot);

		if (conn->state == VLY_FREE || conn->state == VLY_DEAD)
			continue;
		if (conn->type == VLY_LISTENER)
			(void)vly_unlisten(core, conn->handle);
		else
			(void)end(core, conn->handle);
	}
}

/* Delivers events until nothing is open or the time is up. */
static void deliver_until(struct vly_core *core, const struct run *run, void *state,
			  uint64_t until_ns)
{
	while (any_open(core) && !vly_forked()) {
		uint64_t now_ns = vly_clock_ns();

		if (now_ns >= until_ns)
			return;
		deliver(core, run, state, (int64_t)VLY_MIN(until_ns - now_ns, (uint64_t)INT64_MAX));
	}
}

/* How long the nic may take to let go of what was reset. */
#define RESET_TIMEOUT_NS 1000000000u

static void drain(struct vly_core *core, const struct run *run, void *state)
{
	if (run->app->stopping) {
		core->in_callback = true;
		run->app->stopping(core, state);
		core->in_callback = false;
	}
	end_all(core, vly_close);
	deliver_until(core, run, state, vly_clock_after(core->config->stop_timeout_ns));
	end_all(core, vly_abort);
	deliver_until(core, run, state, vly_clock_after(RESET_TIMEOUT_NS));
}

static int start(const struct run *run, struct vly_core *core, void **state)
{
	core->in_callback = true;
	int error = run->app->start ? run->app->start(core, run->arg, state) : 0;

	core->in_callback = false;
	return error < 0 ? error : 0;
}

static int run_core(const struct run *run, struct vly_core *core)
{
	void *state = NULL;
	int error = start(run, core, &state);

	if (error)
		return error;
	while (!vly_stopping(core))
		deliver(core, run, state, -1);
	if (vly_forked())
		return -ECHILD;
	drain(core, run, state);
	core->in_callback = true;
	if (run->app->stop)
		run->app->stop(core, state);
	return 0;
}

static void *run_thread(void *arg)
{
	struct run_thread *thread = arg;
	struct vly_engine *engine = thread->run->engine;
	struct vly_core *core;

	if (engine->config.pin)
		pin(engine, thread->index);
	thread->error = vly_core_open(engine, thread->index, &core);
	if (!thread->error) {
		thread->error = run_core(thread->run, core);
		vly_core_close(core);
	}
	if (thread->error)
		vly_stop(engine);
	return NULL;
}

static int run_threads(struct run *run)
{
	unsigned count = run->engine->config.cores;
	struct run_thread *threads = calloc(count, sizeof(*threads));
	unsigned started = 0;
	int error = threads ? 0 : -ENOMEM;

	while (!error && started < count) {
		threads[started] = (struct run_thread){.run = run, .index = started};
		error = -pthread_create(&threads[started].thread, NULL, run_thread,
					&threads[started]);
		if (!error)
			started++;
	}
	if (error)
		vly_stop(run->engine);
	for (unsigned i = 0; i < started; i++) {
		pthread_join(threads[i].thread, NULL);
		if (!error)
			error = threads[i].error;
	}
	free(threads);
	return error;
}

struct signal_actions {
	struct sigaction on_int, on_term;
};

static void hook_signals(struct vly_engine *engine, struct signal_actions *before)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	atomic_store_explicit(&signalled, engine, memory_order_seq_cst);
	sigaction(SIGINT, &action, &before->on_int);
	sigaction(SIGTERM, &action, &before->on_term);
}

static void unhook_signals(const struct signal_actions *before)
{
	sigaction(SIGINT, &before->on_int, NULL);
	sigaction(SIGTERM, &before->on_term, NULL);
	atomic_store_explicit(&signalled, NULL, memory_order_seq_cst);
	while (atomic_load_explicit(&handling, memory_order_seq_cst))
		sched_yield();
}

int vly_run(const struct vly_config *config, const struct vly_app *app, void *arg)
{
	struct run run = {.app = app, .arg = arg};
	struct signal_actions before;
	int error = vly_engine_open(config, &run.engine);

	if (error)
		return error;
	if (config->stop_on_signals)
		hook_signals(run.engine, &before);
	error = run_threads(&run);
	if (config->stop_on_signals)
		unhook_signals(&before);
	vly_engine_close(run.engine);
	return error;
}
