/* race_stop.c - vly_wake, vly_stop and vly_stats while cores open, sleep and close */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "volley/volley.h"

#define CORES 2
#define ROUNDS 50
#define WAKES 50

struct shared {
	struct vly_engine *engine;
	atomic_uint polls[CORES];
	atomic_uint faults;
};

struct sleeper {
	struct shared *shared;
	unsigned index;
};

static void *sleep_on(void *arg)
{
	struct sleeper *sleeper = arg;
	struct shared *shared = sleeper->shared;
	struct vly_core *core;

	if (vly_core_open(shared->engine, sleeper->index, &core)) {
		atomic_fetch_add(&shared->faults, 1);
		return NULL;
	}
	while (!vly_stopping(core)) {
		struct vly_event *events;

		if (vly_poll(core, &events, -1) != 0)
			atomic_fetch_add(&shared->faults, 1);
		atomic_fetch_add(&shared->polls[sleeper->index], 1);
	}
	vly_core_close(core);
	return NULL;
}

/* Each wake ends a sleep: the count of polls moves on, or the core is not open yet. */
static void *wake_on(void *arg)
{
	struct shared *shared = arg;

	for (unsigned i = 0; i < WAKES; i++) {
		struct vly_stats stats;

		vly_wake(shared->engine, i % CORES);
		(void)vly_stats(shared->engine, i % CORES, &stats);
		if (i % 16 == 0)
			nanosleep(&(struct timespec){0, 200000}, NULL);
	}
	return NULL;
}

static void *stop(void *arg)
{
	struct shared *shared = arg;

	vly_stop(shared->engine);
	return NULL;
}

/* One engine: sleepers, two wakers at once, then two stops at once. */
static unsigned one_round(const struct vly_config *config, unsigned round)
{
	struct shared shared;
	struct sleeper sleepers[CORES];
	pthread_t threads[CORES], wakers[2], stoppers[2];

	memset(&shared, 0, sizeof(shared));
	if (vly_engine_open(config, &shared.engine))
		return 1;
	for (unsigned i = 0; i < CORES; i++) {
		sleepers[i] = (struct sleeper){&shared, i};
		if (pthread_create(&threads[i], NULL, sleep_on, &sleepers[i]))
			return 1;
	}
	for (unsigned i = 0; i < 2; i++)
		if (pthread_create(&wakers[i], NULL, wake_on, &shared))
			return 1;
	if (round % 2)
		for (unsigned i = 0; i < 2; i++)
			pthread_join(wakers[i], NULL);
	for (unsigned i = 0; i < 2; i++)
		if (pthread_create(&stoppers[i], NULL, stop, &shared))
			return 1;
	for (unsigned i = 0; i < CORES; i++)
		pthread_join(threads[i], NULL);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(stoppers[i], NULL);
		if (round % 2 == 0)
			pthread_join(wakers[i], NULL);
	}
	vly_engine_close(shared.engine);
	return atomic_load(&shared.faults);
}

/* vly_run owns its engine: it must not go before the call that stops it has returned. */
static int give_engine(struct vly_core *core, void *arg, void **state)
{
	_Atomic(struct vly_engine *) *engine = arg;

	(void)state;
	if (vly_core_index(core) == CORES - 1)
		atomic_store(engine, vly_core_engine(core));
	return 0;
}

static void no_events(struct vly_core *core, struct vly_event *events, int count, void *state)
{
	(void)core;
	(void)events;
	(void)count;
	(void)state;
}

static void *stop_run(void *arg)
{
	_Atomic(struct vly_engine *) *engine = arg;

	while (!atomic_load(engine))
		nanosleep(&(struct timespec){0, 100000}, NULL);
	vly_stop(atomic_load(engine));
	return NULL;
}

static unsigned one_run(const struct vly_config *config)
{
	const struct vly_app app = {.start = give_engine, .events = no_events};
	_Atomic(struct vly_engine *) engine = NULL;
	pthread_t stopper;
	int status;

	if (pthread_create(&stopper, NULL, stop_run, &engine))
		return 1;
	status = vly_run(config, &app, &engine);
	pthread_join(stopper, NULL);
	return status != 0;
}

int main(void)
{
	struct vly_config config;
	unsigned faults = 0;

	alarm(100);
	vly_config_init(&config);
	config.cores = CORES;
	config.nic = getenv("VOLLEY_TEST_NIC") ? getenv("VOLLEY_TEST_NIC") : "epoll";
	config.allow_overlap = true;
	config.idle = VLY_IDLE_SLEEP;
	config.conns_max = 16;
	config.tx_bufs = config.rx_bufs = 16;
	config.huge_pages = config.lock_memory = false;
	for (unsigned round = 0; round < ROUNDS; round++)
		faults += one_round(&config, round);
	config.pin = false;
	for (unsigned round = 0; round < ROUNDS; round++) {
		config.idle = round % 2 ? VLY_IDLE_SLEEP : VLY_IDLE_BUSY;
		faults += one_run(&config);
	}
	printf("%u engines stopped, %u faults\n", 2 * ROUNDS, faults);
	return faults != 0;
}
