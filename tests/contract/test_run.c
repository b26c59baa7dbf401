/* test_run.c - vly_run: a thread per core, start, events, stopping, stop */
#include "tests/contract/harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

TestSuite(run, .fini = vly_leak_gate, .timeout = 120);

#define CORES 2

/* What the callbacks of all cores count; the test's thread judges when vly_run is back. */
struct tally {
	atomic_uint starts, stopping, stops;
	atomic_uint opens, closes, closes_orderly, datas;
	atomic_uint misuse; /* a callback on the wrong thread, with the wrong state, ... */
	atomic_int poll_in_callback;
	int fail_core; /* whose start fails; -1: none */
	bool stop_on_start;
	bool close_on_eof;
	_Atomic(struct vly_engine *) engine;
	struct vly_addr addr; /* of core 0's listener, valid once `ready` */
	atomic_bool ready;
};

/* A core's own. */
struct state {
	struct tally *tally;
	struct vly_core *core;
	pthread_t thread;
	bool used;
};

static struct state states[16];

static int on_start(struct vly_core *core, void *arg, void **state)
{
	struct tally *tally = arg;
	struct state *mine = &states[vly_core_index(core)];
	struct vly_addr any = world_addr(NULL, vly_core_index(core));
	struct vly_event *events;
	vly_conn listener;
	int error = 0;

	*mine = (struct state){tally, core, pthread_self(), true};
	*state = mine;
	atomic_fetch_add(&tally->starts, 1);
	atomic_store(&tally->engine, vly_core_engine(core));
	if ((int)vly_core_index(core) == tally->fail_core)
		return -EADDRINUSE;
	atomic_store(&tally->poll_in_callback, vly_poll(core, &events, 0));
	if (vly_core_index(core) == 0) {
		error = vly_listen(core, &any, NULL, NULL, &listener);
		if (!error)
			error = vly_name(core, listener, &tally->addr, NULL);
		/* pairs with the acquire of whoever connects */
		atomic_store_explicit(&tally->ready, true, memory_order_release);
	}
	if (tally->stop_on_start)
		vly_stop(vly_core_engine(core));
	return error;
}

static void check_state(struct vly_core *core, struct state *state)
{
	if (state != &states[vly_core_index(core)] || state->core != core ||
	    !pthread_equal(state->thread, pthread_self()) || !state->used)
		atomic_fetch_add(&state->tally->misuse, 1);
}

static void on_events(struct vly_core *core, struct vly_event *events, int count, void *arg)
{
	struct state *state = arg;
	struct tally *tally = state->tally;
	struct vly_event *none;

	check_state(core, state);
	atomic_fetch_add(&tally->misuse, count <= 0);
	for (int i = 0; i < count; i++) {
		switch (events[i].kind) {
		case VLY_OPEN:
			atomic_fetch_add(&tally->opens, events[i].status == 0);
			break;
		case VLY_DATA:
			atomic_fetch_add(&tally->datas, 1);
			if (vly_send_event(core, events[i].conn, &events[i]))
				atomic_fetch_add(&tally->misuse, 1);
			break;
		case VLY_EOF:
			if (tally->close_on_eof)
				vly_close(core, events[i].conn);
			break;
		case VLY_CLOSED:
			atomic_fetch_add(&tally->closes, 1);
			atomic_fetch_add(&tally->closes_orderly, events[i].status == 0);
			break;
		default:
			break;
		}
	}
	if (vly_poll(core, &none, 0) != -EBUSY)
		atomic_fetch_add(&tally->misuse, 1);
}

static void on_stopping(struct vly_core *core, void *arg)
{
	struct state *state = arg;

	check_state(core, state);
	if (!vly_stopping(core))
		atomic_fetch_add(&state->tally->misuse, 1);
	atomic_fetch_add(&state->tally->stopping, 1);
}

static void on_stop(struct vly_core *core, void *arg)
{
	struct state *state = arg;

	check_state(core, state);
	state->used = false;
	atomic_fetch_add(&state->tally->stops, 1);
}

static const struct vly_app app = {
	.start = on_start,
	.events = on_events,
	.stopping = on_stopping,
	.stop = on_stop,
};

static void tally_init(struct tally *tally)
{
	memset(tally, 0, sizeof(*tally));
	tally->fail_core = -1;
	tally->close_on_eof = true;
}

/* Runs `app` on a thread of its own, so that the test can play the client. */
struct runner {
	struct vly_config config;
	struct tally *tally;
	pthread_t thread;
	int result;
};

static void *run_app(void *arg)
{
	struct runner *runner = arg;

	runner->result = vly_run(&runner->config, &app, runner->tally);
	return NULL;
}

static void runner_start(struct runner *runner, struct tally *tally)
{
	runner->tally = tally;
	check_eq(pthread_create(&runner->thread, NULL, run_app, runner), 0);
	while (!atomic_load_explicit(&tally->ready, memory_order_acquire))
		nanosleep(&(struct timespec){0, MSEC}, NULL);
}

static void runner_join(struct runner *runner)
{
	check_eq(pthread_join(runner->thread, NULL), 0);
	check_eq(runner->result, 0);
	check_eq(runner->tally->misuse, 0);
	check_eq(runner->tally->starts, CORES);
	check_eq(runner->tally->stopping, CORES);
	check_eq(runner->tally->stops, CORES);
	/* Each successful OPEN has had its CLOSED. */
	check_eq(runner->tally->closes, runner->tally->opens);
}

/* A client world with `count` connections to the runner's listener. */
static void clients_open(struct world *client, struct tally *tally, vly_conn *conn, unsigned count)
{
	struct vly_config config;

	world_config(&config, 1);
	world_open_config(client, &config);
	for (unsigned i = 0; i < count; i++) {
		check_eq(vly_connect(client->core[0], &tally->addr, NULL, NULL, &conn[i]), 0);
		pump_until(client, seen(client, conn[i], VLY_OPEN));
		check_eq(track_of(client, conn[i])->open_status, 0);
		check_eq(vly_send(client->core[0], conn[i], "hello", 5), 0);
		pump_until(client, got_text(client, conn[i], "hello"));
	}
}

static void close_on_eof(struct world *w, unsigned core, struct vly_event *event)
{
	if (event->kind == VLY_EOF)
		check_eq(vly_close(w->core[core], event->conn), 0);
}

Test(run, stop_from_a_callback_ends_it_with_0)
{
	struct vly_config config;
	struct tally tally;

	tally_init(&tally);
	tally.stop_on_start = true;
	world_config(&config, CORES);
	check_eq(vly_run(&config, &app, &tally), 0);
	check_eq(tally.misuse, 0);
	check_eq(tally.starts, CORES);
	check_eq(tally.stopping, CORES);
	check_eq(tally.stops, CORES);
}

Test(run, poll_inside_a_callback_is_ebusy)
{
	struct vly_config config;
	struct tally tally;

	tally_init(&tally);
	tally.stop_on_start = true;
	world_config(&config, 1);
	check_eq(vly_run(&config, &app, &tally), 0);
	check_eq(tally.poll_in_callback, -EBUSY);
}

Test(run, start_that_fails_stops_all_and_is_the_result)
{
	for (int core = 0; core < 3; core++) {
		struct vly_config config;
		struct tally tally;

		tally_init(&tally);
		tally.fail_core = core;
		world_config(&config, 3);
		check_eq(vly_run(&config, &app, &tally), -EADDRINUSE);
		check_eq(tally.misuse, 0);
		/* `stop` is for those whose start returned 0. */
		check_eq(tally.stops, tally.starts - 1);
		check_eq(states[core].used, true);
	}
}

Test(run, of_a_bad_config_is_an_error_and_calls_nothing)
{
	struct vly_config config;
	struct tally tally;

	harness_hush();
	tally_init(&tally);
	world_config(&config, 0);
	check_eq(vly_run(&config, &app, &tally), -EINVAL);
	check_eq(tally.starts, 0);
	check_eq(tally.stops, 0);
}

static void only_events(struct vly_core *core, struct vly_event *events, int count, void *state)
{
	(void)events;
	(void)count;
	(void)state;
	vly_stop(vly_core_engine(core));
}

struct killer {
	int signal;
	atomic_bool done;
};

static void *kill_until_done(void *arg)
{
	struct killer *killer = arg;

	while (!atomic_load(&killer->done)) {
		nanosleep(&(struct timespec){0, 5 * MSEC}, NULL);
		kill(getpid(), killer->signal);
	}
	return NULL;
}

Test(run, needs_no_callback_but_events_and_signals_stop_it)
{
	const struct vly_app least = {.events = only_events};
	const int signals[] = {SIGTERM, SIGINT};

	for (int i = 0; i < 2; i++) {
		struct killer killer = {.signal = signals[i]};
		struct sigaction ours = {.sa_handler = SIG_IGN}, after;
		struct vly_config config;
		pthread_t thread;

		/* Before vly_run has its own handler, and after it, a signal must not harm us. */
		check_eq(sigaction(signals[i], &ours, NULL), 0);
		world_config(&config, CORES);
		config.stop_on_signals = true;
		check_eq(pthread_create(&thread, NULL, kill_until_done, &killer), 0);
		check_eq(vly_run(&config, &least, NULL), 0);
		atomic_store(&killer.done, true);
		check_eq(pthread_join(thread, NULL), 0);
		check_eq(sigaction(signals[i], NULL, &after), 0);
		cr_assert(after.sa_handler == SIG_IGN, "the handler was not put back");
	}
}

Test(run, serves_until_another_thread_stops_it_and_closes_orderly)
{
	struct tally tally;
	struct runner runner = {.result = 1};
	struct world client;
	vly_conn conn[10];

	need_one_network();
	tally_init(&tally);
	world_config(&runner.config, CORES);
	runner_start(&runner, &tally);
	clients_open(&client, &tally, conn, 10);
	client.on_event = close_on_eof;
	vly_stop(atomic_load(&tally.engine));
	/* The clients see an orderly end. */
	for (int i = 0; i < 10; i++) {
		pump_until(&client, seen(&client, conn[i], VLY_CLOSED));
		check_eq(seen(&client, conn[i], VLY_EOF), 1);
		check_eq(track_of(&client, conn[i])->closed_status, 0);
	}
	runner_join(&runner);
	check_eq(tally.opens, 10);
	check_eq(tally.closes_orderly, 10);
	check_eq(tally.datas, 10);
	world_close(&client);
}

Test(run, stop_does_not_wait_longer_than_its_timeout_for_a_peer)
{
	struct tally tally;
	struct runner runner = {.result = 1};
	struct world client;
	vly_conn conn[3];

	need_one_network();
	tally_init(&tally);
	world_config(&runner.config, CORES);
	runner.config.close_timeout_ns = 3600 * SEC;
	runner.config.stop_timeout_ns = 50 * MSEC;
	runner_start(&runner, &tally);
	clients_open(&client, &tally, conn, 3);
	vly_stop(atomic_load(&tally.engine));
	/* These never close. */
	runner_join(&runner);
	check_eq(tally.opens, 3);
	check_eq(tally.closes_orderly, 0);
	for (int i = 0; i < 3; i++)
		pump_until(&client, seen(&client, conn[i], VLY_CLOSED));
	world_close(&client);
}

Test(run, connections_that_come_and_go_are_all_accounted_for)
{
	struct tally tally;
	struct runner runner = {.result = 1};
	struct world client;
	vly_conn conn[10];

	need_one_network();
	tally_init(&tally);
	world_config(&runner.config, CORES);
	runner_start(&runner, &tally);
	clients_open(&client, &tally, conn, 10);
	for (int i = 0; i < 10; i++) {
		if (i % 2)
			check_eq(vly_close(client.core[0], conn[i]), 0);
		else
			check_eq(vly_abort(client.core[0], conn[i]), 0);
		pump_until(&client, seen(&client, conn[i], VLY_CLOSED));
	}
	vly_stop(atomic_load(&tally.engine));
	runner_join(&runner);
	check_eq(tally.opens, 10);
	world_close(&client);
}

Test(run, engine_outlives_the_stop_that_ends_it)
{
	/* Cores that spin see the stop before the call that stops them has returned. */
	for (int i = 0; i < 30; i++) {
		struct tally tally;
		struct runner runner = {.result = 1};

		tally_init(&tally);
		world_config(&runner.config, CORES);
		runner.config.idle = VLY_IDLE_BUSY;
		runner_start(&runner, &tally);
		vly_stop(atomic_load(&tally.engine));
		runner_join(&runner);
	}
}

Test(run, twice_in_one_process_is_two_engines)
{
	for (int i = 0; i < 5; i++) {
		struct vly_config config;
		struct tally tally;

		tally_init(&tally);
		tally.stop_on_start = true;
		world_config(&config, CORES);
		check_eq(vly_run(&config, &app, &tally), 0);
		check_eq(tally.stops, CORES);
	}
}

Test(run, more_cores_than_cpus_without_overlap_is_e2big)
{
	struct vly_config config;
	struct tally tally;
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	if (cpus >= 256)
		cr_skip_test("more CPUs than an engine has cores");
	harness_hush();
	tally_init(&tally);
	world_config(&config, (unsigned)cpus + 1);
	config.allow_overlap = false;
	check_eq(vly_run(&config, &app, &tally), -E2BIG);
	check_eq(tally.starts, 0);
}
