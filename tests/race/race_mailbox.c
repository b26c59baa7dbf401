/* race_mailbox.c - two threads and two mailboxes: content, order, and no wake-up lost */
#include "pyshim/mailbox.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"

#define LETTERS 64u /* they go round and round */
#define PHASE_NS 400000000u
#define WATCHDOG_S 60

struct message {
	struct letter letter;
	uint64_t number, check;
};

static struct {
	struct mailbox full, empty;
	alignas(VLY_WRITER_GAP) atomic_bool consumer_asleep;
	alignas(VLY_WRITER_GAP) atomic_bool producer_asleep;
	sem_t consumer_wakes, producer_wakes;
	struct message messages[LETTERS];
	bool sleeps;                      /* the phase: sides sleep, or spin */
	uint64_t sent, received, naps[2]; /* read after the join */
} shared;

static void fail(const char *what, uint64_t n)
{
	fprintf(stderr, "race_mailbox: %s at %llu\n", what, (unsigned long long)n);
	exit(1);
}

static void sleep_on(sem_t *sem, uint64_t n)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WATCHDOG_S;
	while (sem_timedwait(sem, &until))
		if (time(NULL) > until.tv_sec)
			fail("a wake-up was lost", n);
}

/* All that is in `box`; waits for something. */
static struct letters await(struct mailbox *box, atomic_bool *asleep, sem_t *sem, uint64_t *naps)
{
	for (;;) {
		struct letters letters = mailbox_take(box);

		if (letters.first || !shared.sleeps) {
			if (letters.first)
				return letters;
			continue;
		}
		atomic_store_explicit(asleep, true, memory_order_seq_cst);
		if (mailbox_pending(box)) {
			/* who saw the flag has posted: one spare wake-up, as an eventfd may have */
			atomic_store_explicit(asleep, false, memory_order_seq_cst);
			continue;
		}
		++*naps;
		sleep_on(sem, *naps);
	}
}

static void put(struct mailbox *box, struct letters *letters, atomic_bool *asleep, sem_t *sem)
{
	mailbox_put(box, letters);
	if (atomic_load_explicit(asleep, memory_order_seq_cst) &&
	    atomic_exchange_explicit(asleep, false, memory_order_seq_cst))
		sem_post(sem);
}

static void *produce(void *unused)
{
	uint64_t until_ns = vly_clock_ns() + PHASE_NS;
	struct letters blank = {NULL}, written = {NULL};

	for (bool more = true; more;) {
		if (!blank.first)
			blank = await(&shared.empty, &shared.producer_asleep,
				      &shared.producer_wakes, &shared.naps[0]);
		struct message *message = (struct message *)letters_pop(&blank);

		more = vly_clock_ns() < until_ns;
		message->number = more ? shared.sent++ : UINT64_MAX;
		message->check = vly_hash_u64(message->number);
		letters_add(&written, &message->letter);
		/* chains of one and of several */
		if (!more || shared.sent % 7 < 3)
			put(&shared.full, &written, &shared.consumer_asleep,
			    &shared.consumer_wakes);
	}
	return unused;
}

static void *consume(void *unused)
{
	for (;;) {
		struct letters letters = await(&shared.full, &shared.consumer_asleep,
					       &shared.consumer_wakes, &shared.naps[1]);
		struct letters home = {NULL};
		struct letter *letter;

		while ((letter = letters_pop(&letters))) {
			struct message *message = (struct message *)letter;

			if (message->check != vly_hash_u64(message->number))
				fail("other content than was sent", shared.received);
			if (message->number == UINT64_MAX)
				return unused;
			if (message->number != shared.received++)
				fail("not the next one", shared.received);
			letters_add(&home, letter);
		}
		put(&shared.empty, &home, &shared.producer_asleep, &shared.producer_wakes);
	}
}

static void run(bool sleeps, uint32_t count)
{
	pthread_t threads[2];
	struct letters blank = {NULL};

	mailbox_take(&shared.full);
	mailbox_take(&shared.empty);
	for (uint32_t i = 0; i < count; i++)
		letters_add(&blank, &shared.messages[i].letter);
	mailbox_put(&shared.empty, &blank);
	shared.sleeps = sleeps;
	shared.sent = shared.received = shared.naps[0] = shared.naps[1] = 0;
	sem_init(&shared.consumer_wakes, 0, 0);
	sem_init(&shared.producer_wakes, 0, 0);
	atomic_store(&shared.consumer_asleep, false);
	atomic_store(&shared.producer_asleep, false);
	if (pthread_create(&threads[0], NULL, produce, NULL) ||
	    pthread_create(&threads[1], NULL, consume, NULL))
		fail("no thread", 0);
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	if (shared.received != shared.sent || shared.sent == 0)
		fail("not all arrived", shared.received);
	printf("%s, %u letters: %llu messages, %llu and %llu naps\n",
	       sleeps ? "sleeping" : "spinning", count, (unsigned long long)shared.received,
	       (unsigned long long)shared.naps[0], (unsigned long long)shared.naps[1]);
}

int main(void)
{
	run(true, LETTERS);
	run(true, 7); /* the least with which every chain can be finished */
	run(false, LETTERS);
	return 0;
}
