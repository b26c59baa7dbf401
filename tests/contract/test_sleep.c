/* test_sleep.c - a core that sleeps for ever is woken by every event that is due, and by nothing else it needs */
#include "tests/contract/harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

/* A wake-up that is lost is a poll without end: only the suite's own time limit ends that. */
TestSuite(sleep, .fini = vly_leak_gate, .timeout = 60);

#define ROUNDS 40
#define CONNS 4

/* The other end: a core of its own on a thread of its own, which takes whatever comes, when it is told to. */
struct taker {
	struct vly_engine *engine;
	pthread_t thread;
	struct vly_addr addr, udp_addr;
	atomic_bool listens, taking, done;
	vly_conn conns[CONNS];
	unsigned count;
	bool paused;
};

static void take_events(struct taker *taker, struct vly_core *core)
{
	struct vly_event *events;
	int count = vly_poll(core, &events, MSEC / 5);

	for (int i = 0; i < count; i++) {
		if (events[i].kind == VLY_OPEN && taker->count < CONNS)
			taker->conns[taker->count++] = events[i].conn;
		if (events[i].kind == VLY_OPEN && taker->paused)
			vly_pause(core, events[i].conn);
		if (events[i].kind == VLY_EOF)
			vly_close(core, events[i].conn);
	}
}

static void *take_on(void *arg)
{
	struct taker *taker = arg;
	struct vly_core *core;
	struct vly_addr any = world_addr(NULL, SERVER);
	vly_conn listener, udp;

	if (vly_core_open(taker->engine, SERVER, &core) ||
	    vly_listen(core, &any, NULL, NULL, &listener) ||
	    vly_name(core, listener, &taker->addr, NULL) || vly_udp_open(core, &any, NULL, &udp) ||
	    vly_name(core, udp, &taker->udp_addr, NULL))
		abort();
	atomic_store(&taker->listens, true);
	while (!atomic_load(&taker->done)) {
		bool paused = !atomic_load(&taker->taking);

		for (unsigned i = 0; paused != taker->paused && i < taker->count; i++) {
			if (paused)
				vly_pause(core, taker->conns[i]);
			else
				vly_resume(core, taker->conns[i]);
		}
		taker->paused = paused;
		take_events(taker, core);
	}
	vly_core_close(core);
	return NULL;
}

/* The core under test, which only ever sleeps without an end. */
struct sleeper {
	struct vly_engine *engine;
	struct vly_core *core;
	struct taker taker;
	vly_conn conns[CONNS];
	unsigned seen[VLY_MAIL + 1];
};

static void sleep_until(struct sleeper *s, enum vly_kind kind, unsigned count)
{
	while (s->seen[kind] < count) {
		struct vly_event *events;
		int got = vly_poll(s->core, &events, -1);

		cr_assert(got >= 0);
		for (int i = 0; i < got; i++)
			s->seen[events[i].kind]++;
	}
}

static void small_pools(struct vly_config *config)
{
	world_config(config, 2);
	config->tx_budget = 4096;
	config->tx_bufs = 16;
	config->tx_buf_bytes = 512;
	config->tx_refs = 8;
	config->mail_slots = 8;
}

static void sleeper_open(struct sleeper *s, const struct vly_config *config, bool taking)
{
	memset(s, 0, sizeof(*s));
	check_eq(vly_engine_open(config, &s->engine), 0);
	check_eq(vly_core_open(s->engine, CLIENT, &s->core), 0);
	s->taker.engine = s->engine;
	atomic_init(&s->taker.listens, false);
	atomic_init(&s->taker.done, false);
	atomic_init(&s->taker.taking, taking);
	s->taker.paused = !taking;
	check_eq(pthread_create(&s->taker.thread, NULL, take_on, &s->taker), 0);
	while (!atomic_load(&s->taker.listens))
		sched_yield();
	for (unsigned i = 0; i < CONNS; i++) {
		check_eq(vly_connect(s->core, &s->taker.addr, NULL, NULL, &s->conns[i]), 0);
		sleep_until(s, VLY_OPEN, i + 1);
	}
}

static void sleeper_close(struct sleeper *s)
{
	atomic_store(&s->taker.done, true);
	check_eq(pthread_join(s->taker.thread, NULL), 0);
	vly_core_close(s->core);
	vly_engine_close(s->engine);
}

static const uint8_t words[4096];

/* Sends until it is refused; how often it was taken. */
static unsigned send_until_refused(struct sleeper *s, vly_conn conn, uint32_t len)
{
	unsigned taken = 0;
	int status;

	while ((status = vly_send(s->core, conn, words, len)) == 0)
		taken++;
	check_eq(status, -EAGAIN);
	return taken;
}

/* `tx_buf_bytes`: the budget in many buffers, or all of it in one. */
static void fill_budget(uint32_t tx_buf_bytes)
{
	struct vly_config config;
	struct sleeper s;

	small_pools(&config);
	config.tx_bufs = 256;
	config.tx_buf_bytes = tx_buf_bytes;
	sleeper_open(&s, &config, true);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		send_until_refused(&s, s.conns[0], 1 + round * 13);
		sleep_until(&s, VLY_DRAINED, round);
	}
	sleeper_close(&s);
}

Test(sleep, until_the_budget_is_free_ends)
{
	fill_budget(512);
	fill_budget(4096);
}

Test(sleep, until_a_peer_that_stopped_reads_again_ends)
{
	struct vly_config config;
	struct sleeper s;

	small_pools(&config);
	config.tx_bufs = 256;
	config.tx_budget = 1 << 16;
	for (int i = 0; i < 2; i++) {
		unsigned refusals = 0;

		sleeper_open(&s, &config, false);
		/* As much as the sockets hold, and the budget on top: DRAINED stays away. */
		while (refusals < 20) {
			struct vly_event *events;

			if (vly_send(s.core, s.conns[0], words, sizeof(words)) == -EAGAIN)
				refusals++;
			else
				refusals = 0;
			for (int n = vly_poll(s.core, &events, MSEC); n > 0; n--)
				cr_assert(events[n - 1].kind == VLY_DRAINED);
		}
		atomic_store(&s.taker.taking, true);
		sleep_until(&s, VLY_DRAINED, 1);
		sleeper_close(&s);
	}
}

/* All buffers are in one connection's sends; those that wait for one hear of it. */
Test(sleep, until_the_pool_has_room_ends_for_each_that_waits)
{
	struct vly_config config;
	struct sleeper s;

	small_pools(&config);
	config.tx_budget = 1 << 16;
	sleeper_open(&s, &config, true);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		for (unsigned i = 0; i < CONNS; i++)
			send_until_refused(&s, s.conns[i], 500);
		sleep_until(&s, VLY_DRAINED, round * CONNS);
	}
	sleeper_close(&s);
}

/* One buffer each for all but one connection, and no event of theirs is due: only the last one's DRAINED is. */
Test(sleep, until_the_only_buffer_comes_home_ends)
{
	struct vly_config config;
	struct sleeper s;

	if (!harness_kernel_sockets())
		cr_skip_test("%s: buffers come home one by one, as they are acknowledged",
			     harness_nic());
	small_pools(&config);
	config.tx_bufs = CONNS - 1;
	config.tx_buf_bytes = 4096;
	sleeper_open(&s, &config, true);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		/* First the one that was refused last: a buffer is kept for it. */
		unsigned first = (round - 1) * (CONNS - 1);

		for (unsigned i = 0; i < CONNS - 1; i++)
			check_eq(vly_send(s.core, s.conns[(first + i) % CONNS], words, 100), 0);
		check_eq(vly_send(s.core, s.conns[(first + CONNS - 1) % CONNS], words, 100),
			 -EAGAIN);
		sleep_until(&s, VLY_DRAINED, round);
	}
	sleeper_close(&s);
}

Test(sleep, until_borrowed_memory_comes_back_ends)
{
	struct vly_config config;
	struct sleeper s;
	unsigned lent = 0;

	small_pools(&config);
	sleeper_open(&s, &config, true);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		check_eq(vly_send_owned(s.core, s.conns[round % CONNS], words, round * 50, &s), 0);
		sleep_until(&s, VLY_SENT, ++lent);
	}
	sleeper_close(&s);
}

Test(sleep, until_the_pool_of_references_has_room_ends)
{
	struct vly_config config;
	struct sleeper s;
	unsigned drained = 0, lent = 0;

	small_pools(&config);
	sleeper_open(&s, &config, true);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		int status;

		while ((status = vly_send_owned(s.core, s.conns[0], words, 10, &s)) == 0)
			lent++;
		check_eq(status, -EAGAIN);
		sleep_until(&s, VLY_DRAINED, ++drained);
		sleep_until(&s, VLY_SENT, lent);
	}
	sleeper_close(&s);
}

Test(sleep, until_datagrams_have_left_ends)
{
	struct vly_config config;
	struct sleeper s;
	struct vly_addr any = world_addr(NULL, CLIENT);
	vly_conn udp;

	small_pools(&config);
	sleeper_open(&s, &config, true);
	check_eq(vly_udp_open(s.core, &any, NULL, &udp), 0);
	for (unsigned round = 1; round <= ROUNDS; round++) {
		int status;

		while ((status = vly_sendto(s.core, udp, &s.taker.udp_addr, words, 300)) == 0)
			;
		check_eq(status, -EAGAIN);
		sleep_until(&s, VLY_DRAINED, round);
	}
	sleeper_close(&s);
}

Test(sleep, until_a_close_with_data_queued_is_done_ends)
{
	struct vly_config config;
	struct sleeper s;

	small_pools(&config);
	config.tx_bufs = 256;
	for (int i = 0; i < 10; i++) {
		sleeper_open(&s, &config, true);
		for (unsigned conn = 0; conn < CONNS; conn++) {
			check_eq(vly_send(s.core, s.conns[conn], words, 100 + conn), 0);
			check_eq(vly_close(s.core, s.conns[conn]), 0);
		}
		sleep_until(&s, VLY_CLOSED, CONNS);
		sleeper_close(&s);
	}
}

Test(sleep, until_a_full_mail_ring_has_room_ends)
{
	struct vly_config config;
	struct sleeper s;

	small_pools(&config);
	sleeper_open(&s, &config, true);
	for (unsigned round = 1; round <= 10 * ROUNDS; round++) {
		int status;

		while ((status = vly_mail(s.core, SERVER, words, 8)) == 0)
			;
		check_eq(status, -EAGAIN);
		sleep_until(&s, VLY_DRAINED, round);
	}
	sleeper_close(&s);
}
