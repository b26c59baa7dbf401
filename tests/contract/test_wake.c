/* test_wake.c - vly_wake and vly_stop from other threads and from signal handlers */
#include "tests/contract/harness.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

TestSuite(wake, .fini = vly_leak_gate, .timeout = 120);

static void nap(uint64_t ns)
{
	struct timespec time = {(time_t)(ns / SEC), (long)(ns % SEC)};

	nanosleep(&time, NULL);
}

static void open_one(struct world *w, enum vly_idle idle)
{
	struct vly_config config;

	world_config(&config, 1);
	config.idle = idle;
	world_open_config(w, &config);
}

Test(wake, before_a_poll_makes_that_poll_return)
{
	const enum vly_idle idles[] = {VLY_IDLE_SLEEP, VLY_IDLE_ADAPTIVE, VLY_IDLE_BUSY};

	for (int i = 0; i < 3; i++) {
		struct world w;

		open_one(&w, idles[i]);
		for (int j = 0; j < 50; j++) {
			vly_wake(w.engine, 0);
			check_eq(world_poll(&w, 0, -1), 0);
		}
		check_at_least(world_stats(&w, 0).wakes, 1);
		world_close(&w);
	}
}

Test(wake, is_used_up_by_one_poll)
{
	struct world w;
	uint64_t before;

	open_one(&w, VLY_IDLE_SLEEP);
	vly_wake(w.engine, 0);
	vly_wake(w.engine, 0);
	check_eq(world_poll(&w, 0, -1), 0);
	/* Not necessarily the very next, but soon the core sleeps again. */
	world_poll(&w, 0, 0);
	world_poll(&w, 0, 0);
	before = vly_now_ns();
	check_eq(world_poll(&w, 0, 5 * MSEC), 0);
	check_at_least(vly_now_ns() - before, 5 * MSEC);
	world_close(&w);
}

Test(wake, of_a_core_that_does_not_exist_or_is_not_open_is_nothing)
{
	struct vly_config config;
	struct vly_engine *engine;

	world_config(&config, 2);
	check_eq(vly_engine_open(&config, &engine), 0);
	vly_wake(engine, 0);
	vly_wake(engine, 2);
	vly_wake(engine, UINT32_MAX);
	vly_stop(engine);
	vly_engine_close(engine);
}

Test(wake, does_not_reach_the_neighbour)
{
	struct world w;

	world_open(&w);
	for (int i = 0; i < 3; i++)
		world_round(&w);
	vly_wake(w.engine, SERVER);
	check_eq(world_poll(&w, SERVER, -1), 0);
	check_eq(world_stats(&w, CLIENT).wakes, 0);
	world_close(&w);
}

/* Another thread that wakes, again and again, a core that sleeps for ever. */
struct waker {
	struct vly_engine *engine;
	atomic_uint polls; /* returned so far: the poller's */
	unsigned count;
};

static void *wake_each_time(void *arg)
{
	struct waker *waker = arg;

	for (unsigned i = 0; i < waker->count; i++) {
		/* pairs with the release in the poller: one wake for each poll that returned */
		while (atomic_load_explicit(&waker->polls, memory_order_acquire) < i)
			nap(MSEC / 20);
		if (i % 3)
			nap(MSEC / 2);
		vly_wake(waker->engine, 0);
	}
	return NULL;
}

static void woken_in_turn(enum vly_idle idle)
{
	struct world w;
	struct waker waker = {.count = 100};
	pthread_t thread;

	open_one(&w, idle);
	waker.engine = w.engine;
	atomic_init(&waker.polls, 0);
	check_eq(pthread_create(&thread, NULL, wake_each_time, &waker), 0);
	for (unsigned i = 0; i < waker.count; i++) {
		check_eq(world_poll(&w, 0, -1), 0);
		atomic_fetch_add_explicit(&waker.polls, 1, memory_order_release);
	}
	check_eq(pthread_join(thread, NULL), 0);
	world_close(&w);
}

Test(wake, from_another_thread_ends_an_endless_sleep)
{
	woken_in_turn(VLY_IDLE_SLEEP);
}

Test(wake, from_another_thread_ends_an_endless_adaptive_wait)
{
	woken_in_turn(VLY_IDLE_ADAPTIVE);
}

Test(wake, from_another_thread_ends_an_endless_spin)
{
	woken_in_turn(VLY_IDLE_BUSY);
}

static struct vly_engine *signalled_engine;
static atomic_int signals_seen;

static void wake_in_handler(int signal)
{
	(void)signal;
	atomic_fetch_add_explicit(&signals_seen, 1, memory_order_relaxed);
	vly_wake(signalled_engine, 0);
}

static void stop_in_handler(int signal)
{
	(void)signal;
	atomic_fetch_add_explicit(&signals_seen, 1, memory_order_relaxed);
	vly_stop(signalled_engine);
}

static void *raise_later(void *arg)
{
	for (int i = 0; i < 10; i++) {
		nap(2 * MSEC);
		pthread_kill(*(pthread_t *)arg, SIGUSR1);
		/* Two that wait for delivery would be one. */
		while (atomic_load(&signals_seen) == i)
			nap(MSEC / 10);
	}
	return NULL;
}

Test(wake, from_a_signal_handler_ends_an_endless_sleep)
{
	struct world w;
	struct sigaction action = {.sa_handler = wake_in_handler, .sa_flags = SA_RESTART};
	pthread_t thread, self = pthread_self();

	open_one(&w, VLY_IDLE_SLEEP);
	signalled_engine = w.engine;
	check_eq(sigaction(SIGUSR1, &action, NULL), 0);
	check_eq(pthread_create(&thread, NULL, raise_later, &self), 0);
	while (atomic_load(&signals_seen) < 10)
		check_eq(world_poll(&w, 0, -1), 0);
	check_eq(pthread_join(thread, NULL), 0);
	world_close(&w);
}

Test(wake, stop_from_a_signal_handler_ends_an_endless_sleep)
{
	struct world w;
	struct sigaction action = {.sa_handler = stop_in_handler};
	pthread_t thread, self = pthread_self();

	open_one(&w, VLY_IDLE_SLEEP);
	signalled_engine = w.engine;
	check_eq(sigaction(SIGUSR1, &action, NULL), 0);
	check_eq(pthread_create(&thread, NULL, raise_later, &self), 0);
	cr_assert(!vly_stopping(w.core[0]));
	while (!vly_stopping(w.core[0]))
		check_eq(world_poll(&w, 0, -1), 0);
	check_eq(pthread_join(thread, NULL), 0);
	world_close(&w);
}

static void *stop_later(void *arg)
{
	nap(3 * MSEC);
	vly_stop(arg);
	return NULL;
}

Test(wake, stop_reaches_every_core_and_lasts)
{
	struct world w;
	pthread_t thread;

	world_open(&w);
	check_eq(pthread_create(&thread, NULL, stop_later, w.engine), 0);
	check_eq(world_poll(&w, SERVER, -1), 0);
	check_eq(world_poll(&w, CLIENT, -1), 0);
	check_eq(pthread_join(thread, NULL), 0);
	cr_assert(vly_stopping(w.core[SERVER]));
	cr_assert(vly_stopping(w.core[CLIENT]));
	/* Only a mark: without vly_run the cores go on as they like. */
	world_listen(&w, SERVER, NULL, NULL);
	world_link(&w);
	cr_assert(vly_stopping(w.core[SERVER]));
	world_close(&w);
}
