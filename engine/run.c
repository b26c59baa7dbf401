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

static void on_signal(int signal)
{
	struct vly_engine *engine = atomic_load_explicit(&signalled, memory_order_acquire);

	(void)signal;
	if (engine)
		vly_stop(engine);
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
	core->in_callback = false;
}

/* Closes what is open; true while something is. */
static bool close_all(struct vly_core *core, bool first)
{
	struct vly_conn_table *table = &core->env.conns;

	for (uint32_t slot = 0; first && slot < table->count; slot++) {
		struct vly_conn_head *conn = vly_conn_at(table, slot);

		if (conn->state == VLY_FREE || conn->state == VLY_DEAD)
			continue;
		if (conn->type == VLY_LISTENER)
			(void)vly_unlisten(core, vly_conn_handle(table, conn));
		else
			(void)vly_close(core, vly_conn_handle(table, conn));
	}
	/* Those whose last event was delivered only wait for the next poll. */
	return table->slab.free_count + core->env.retiring_count < table->count;
}

static void drain(struct vly_core *core, const struct run *run, void *state)
{
	uint64_t until_ns = vly_clock_ns() + core->config->stop_timeout_ns;

	if (run->app->stopping) {
		core->in_callback = true;
		run->app->stopping(core, state);
		core->in_callback = false;
	}
	for (bool first = true; close_all(core, first); first = false) {
		uint64_t now_ns = vly_clock_ns();

		if (now_ns >= until_ns)
			break; /* vly_core_close resets the rest */
		deliver(core, run, state, (int64_t)(until_ns - now_ns));
	}
}

static int run_core(const struct run *run, struct vly_core *core)
{
	void *state = NULL;
	int error = run->app->start ? run->app->start(core, run->arg, &state) : 0;

	if (error < 0)
		return error;
	while (!vly_stopping(core))
		deliver(core, run, state, -1);
	drain(core, run, state);
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

int vly_run(const struct vly_config *config, const struct vly_app *app, void *arg)
{
	struct run run = {.app = app, .arg = arg};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct sigaction before_int, before_term;
	int error = vly_engine_open(config, &run.engine);

	if (error)
		return error;
	if (config->stop_on_signals) {
		atomic_store_explicit(&signalled, run.engine, memory_order_release);
		sigaction(SIGINT, &action, &before_int);
		sigaction(SIGTERM, &action, &before_term);
	}
	error = run_threads(&run);
	if (config->stop_on_signals) {
		sigaction(SIGINT, &before_int, NULL);
		sigaction(SIGTERM, &before_term, NULL);
		atomic_store_explicit(&signalled, NULL, memory_order_release);
	}
	vly_engine_close(run.engine);
	return error;
}
