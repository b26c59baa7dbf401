/* test_uring_bell.c - mail wakes a sleeping neighbour by a ring message, and by its eventfd where that cannot be */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "engine/core.h"
#include "engine/engine.h"
#include "nic/uring/probe.h"
#include "tests/support/uring_rig.h"

TestSuite(uring_bell, .fini = vly_leak_gate, .timeout = 60);

#define ROUNDS 500u

struct pair {
	struct vly_engine *engine;
	struct vly_core *near;
	pthread_t thread;
	atomic_bool opened;
};

static void pair_config(struct vly_config *config)
{
	need_uring("uring");
	if (!uring_has(URING_MSG_RING))
		cr_skip_test("no messages between rings here");
	small_config(config, "uring");
	config->conns_max = 16;
	config->cores = 2;
	config->allow_overlap = true;
}

/* What was written to the eventfd of core `index` since the last look: nobody else reads it. */
static uint64_t eventfd_rings(const struct pair *pair, unsigned index)
{
	uint64_t count = 0;

	if (read(pair->engine->seats[index].mailbox->wake_fd, &count, sizeof(count)) < 0)
		cr_assert_eq(errno, EAGAIN);
	return count;
}

/* Answers each mail, sleeping without an end in between, until one is empty. */
static void *answer(void *arg)
{
	struct pair *pair = arg;
	struct vly_core *core;
	bool done = false;

	cr_assert_eq(vly_core_open(pair->engine, 1, &core), 0);
	atomic_store(&pair->opened, true);
	while (!done) {
		struct vly_event *events;
		int count = vly_poll(core, &events, -1);

		for (int i = 0; i < count; i++) {
			if (events[i].kind != VLY_MAIL)
				continue;
			done = events[i].len == 0;
			cr_assert_eq(vly_mail(core, 0, events[i].data, events[i].len), 0);
		}
	}
	vly_flush(core);
	vly_core_close(core);
	return NULL;
}

static void start(struct pair *pair, const struct vly_config *config)
{
	memset(pair, 0, sizeof(*pair));
	atomic_init(&pair->opened, false);
	cr_assert_eq(vly_engine_open(config, &pair->engine), 0);
	cr_assert_eq(vly_core_open(pair->engine, 0, &pair->near), 0);
	cr_assert_eq(pthread_create(&pair->thread, NULL, answer, pair), 0);
	while (!atomic_load(&pair->opened))
		sched_yield();
}

static void ask(struct pair *pair, uint32_t len)
{
	struct vly_event *events;
	int count = 0;

	cr_assert_eq(vly_mail(pair->near, 1, "mail", len), 0);
	while (count == 0)
		count = vly_poll(pair->near, &events, -1);
	cr_assert_eq(count, 1);
	cr_assert_eq(events[0].kind, VLY_MAIL);
	cr_assert_eq(events[0].len, len);
}

static void finish(struct pair *pair)
{
	ask(pair, 0);
	cr_assert_eq(pthread_join(pair->thread, NULL), 0);
	vly_core_close(pair->near);
	vly_engine_close(pair->engine);
}

Test(uring_bell, mail_wakes_by_messages_and_leaves_the_eventfds_alone)
{
	struct vly_config config;
	struct pair pair;

	pair_config(&config);
	start(&pair, &config);
	for (unsigned i = 0; i < ROUNDS; i++)
		ask(&pair, 4);
	cr_assert_eq(eventfd_rings(&pair, 0), 0);
	cr_assert_eq(eventfd_rings(&pair, 1), 0);
	finish(&pair);
}

Test(uring_bell, sixteenth_mail_of_a_batch_rings_at_once_by_the_eventfd)
{
	struct vly_config config;
	struct pair pair;

	pair_config(&config);
	start(&pair, &config);
	/* It sleeps, sooner or later; then the sender's next hand-over may be far away. */
	while (!atomic_load(&pair.engine->seats[1].mailbox->sleeping))
		sched_yield();
	for (unsigned i = 0; i < VLY_MAIL_BATCH; i++)
		cr_assert_eq(vly_mail(pair.near, 1, "mail", 4), 0);
	cr_assert_eq(eventfd_rings(&pair, 1), 1);
	for (unsigned got = 0; got < VLY_MAIL_BATCH;) {
		struct vly_event *events;

		got += (unsigned)vly_poll(pair.near, &events, -1);
	}
	finish(&pair);
}

Test(uring_bell, core_that_has_closed_is_no_ring_and_its_eventfd_is_written)
{
	struct vly_config config;
	struct pair pair;

	pair_config(&config);
	start(&pair, &config);
	ask(&pair, 0);
	cr_assert_eq(pthread_join(pair.thread, NULL), 0);
	const struct vly_mailbox *box = pair.engine->seats[1].mailbox;

	cr_assert_not(atomic_load(&box->has_bell));
	cr_assert_eq(eventfd_rings(&pair, 1), 0);
	/* A sender that had looked just before. */
	cr_assert(pair.engine->ops->ring(pair.near->nic, box->bell_fd, box->wake_fd));
	vly_flush(pair.near);
	cr_assert_eq(eventfd_rings(&pair, 1), 1);
	vly_core_close(pair.near);
	vly_engine_close(pair.engine);
}

Test(uring_bell, core_opened_again_is_rung_again)
{
	struct vly_config config;
	struct pair pair;

	pair_config(&config);
	start(&pair, &config);
	for (unsigned i = 0; i < 5; i++) {
		ask(&pair, 4);
		ask(&pair, 0);
		cr_assert_eq(pthread_join(pair.thread, NULL), 0);
		atomic_store(&pair.opened, false);
		cr_assert_eq(pthread_create(&pair.thread, NULL, answer, &pair), 0);
		while (!atomic_load(&pair.opened))
			sched_yield();
		ask(&pair, 4);
	}
	cr_assert_eq(eventfd_rings(&pair, 1), 0);
	finish(&pair);
}

Test(uring_bell, embedded_core_is_told_by_its_eventfd)
{
	struct vly_config config;
	struct pair pair;
	struct vly_event *events;

	pair_config(&config);
	start(&pair, &config);
	ask(&pair, 4);
	cr_assert_geq(vly_core_fd(pair.near), 0);
	cr_assert_not(atomic_load(&pair.engine->seats[0].mailbox->has_bell));
	cr_assert_eq(vly_mail(pair.near, 1, "mail", 4), 0);
	while (vly_poll(pair.near, &events, 1000000) == 0)
		;
	cr_assert_eq(events[0].kind, VLY_MAIL);
	finish(&pair);
}
