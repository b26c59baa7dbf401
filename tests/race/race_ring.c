/* race_ring.c - two threads on one ring: content, order, and no wake-up lost in either direction */
#include "base/ring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/hash.h"

#define SLOTS 8u /* of the roomy ring; a ring of one forgives no lost wake-up */
#define WORDS 3u
#define PHASE_NS 400000000u /* each of four phases, or as many slots as these: */
#define SLOTS_MAX 400000u
#define WATCHDOG_S 60 /* a wake-up that takes so long is lost */

struct shared {
	struct vly_ring *ring;
	uint32_t slots;       /* the phase: how many, */
	bool producer_sleeps; /* and which side sleeps, rather than spins, when it can not go on */
	bool consumer_sleeps;
	sem_t producer_wakes; /* posted by the consumer */
	sem_t consumer_wakes; /* posted by the producer */
	alignas(VLY_WRITER_GAP) atomic_bool consumer_asleep;
	uint64_t sent;   /* read by the other side only after the join */
	uint64_t blocks; /* how often the producer really slept */
	alignas(VLY_WRITER_GAP) uint64_t received;
	uint64_t naps; /* how often the consumer did */
};

/* The last message: nobody else has word 0 at its greatest. */
#define END UINT64_MAX

static void fail(const char *what, uint64_t n)
{
	fprintf(stderr, "race_ring: %s at %llu\n", what, (unsigned long long)n);
	exit(1);
}

static void sleep_on(sem_t *sem, const char *who, uint64_t n)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WATCHDOG_S;
	while (sem_timedwait(sem, &until) != 0) {
		if (errno != EINTR)
			fail(who, n);
	}
}

static void slot_fill(uint64_t *words, uint64_t n)
{
	words[0] = n;
	words[1] = vly_hash_u64(n);
	words[2] = ~n;
}

static void slot_check(const uint64_t *words, uint64_t n)
{
	if (words[0] != n)
		fail("order lost", n);
	if (words[1] != vly_hash_u64(n) || words[2] != ~n)
		fail("content torn", n);
}

/* Shows `n` slots, and wakes a consumer that sleeps. */
static void publish(struct shared *s, uint32_t n)
{
	if (!s->consumer_sleeps) {
		vly_ring_publish(s->ring, n);
		return;
	}
	vly_ring_publish_ordered(s->ring, n);
	if (atomic_load_explicit(&s->consumer_asleep, memory_order_seq_cst) &&
	    atomic_exchange_explicit(&s->consumer_asleep, false, memory_order_seq_cst))
		sem_post(&s->consumer_wakes);
}

/* Some turns before a sleep, so that it is decided upon while the other side is at work. */
static void spin(uint64_t turns)
{
	while (turns--)
		vly_arch_relax();
}

/* One turn of a side that only spins: the other may need this very CPU. */
static void turn(uint32_t turns)
{
	if (turns % 256 == 0)
		sched_yield();
	else
		vly_arch_relax();
}

/* At least one and at most `want` free slots. */
static uint32_t reserve(struct shared *s, uint32_t want)
{
	uint64_t random = s->sent;
	uint32_t got, turns = 0;

	while ((got = vly_ring_reserve(s->ring, want)) == 0) {
		if (!s->producer_sleeps) {
			turn(++turns);
			continue;
		}
		random = vly_hash_u64(random + 1);
		spin(random % 8);
		if (vly_ring_block(s->ring)) {
			s->blocks++;
			sleep_on(&s->producer_wakes, "producer never woken", s->sent);
		}
	}
	return got;
}

static void *produce(void *arg)
{
	struct shared *s = arg;
	uint64_t end_ns = vly_clock_gettime_ns() + PHASE_NS;
	uint64_t random = 1;

	/* at least until it was full: the other thread starts then */
	while (s->sent < s->slots || (s->sent < SLOTS_MAX && vly_clock_gettime_ns() < end_ns)) {
		uint32_t n;

		random = vly_hash_u64(random + 0x9e3779b97f4a7c15u);
		n = reserve(s, 1 + (uint32_t)(random % (s->slots + 2)));
		for (uint32_t i = 0; i < n; i++)
			slot_fill(vly_ring_slot_in(s->ring, i), s->sent + i);
		s->sent += n;
		publish(s, n);
		/* now and then an empty ring, so that the consumer sleeps, too */
		if (random % 16 == 0)
			sched_yield();
	}
	reserve(s, 1);
	slot_fill(vly_ring_slot_in(s->ring, 0), END);
	publish(s, 1);
	return NULL;
}

static uint32_t peek(struct shared *s, uint32_t want)
{
	uint64_t random = s->received;
	uint32_t got, turns = 0;

	while ((got = vly_ring_peek(s->ring, want)) == 0) {
		if (!s->consumer_sleeps) {
			turn(++turns);
			continue;
		}
		random = vly_hash_u64(random + 2);
		spin(random % 8);
		atomic_store_explicit(&s->consumer_asleep, true, memory_order_seq_cst);
		if (!vly_ring_pending(s->ring)) {
			s->naps++;
			sleep_on(&s->consumer_wakes, "consumer never woken", s->received);
		}
		/*
		 * still set if it did not sleep; a producer that took it meanwhile posts one spare
		 * wake-up
		 */
		atomic_store_explicit(&s->consumer_asleep, false, memory_order_relaxed);
	}
	return got;
}

static void *consume(void *arg)
{
	struct shared *s = arg;
	uint64_t random = 2;

	for (;;) {
		uint32_t n;

		random = vly_hash_u64(random + 0x9e3779b97f4a7c15u);
		n = peek(s, 1 + (uint32_t)(random % (s->slots + 2)));
		for (uint32_t i = 0; i < n; i++) {
			const uint64_t *words = vly_ring_slot_out(s->ring, i);

			if (words[0] == END)
				return NULL;
			slot_check(words, s->received++);
		}
		if (!s->producer_sleeps)
			vly_ring_release(s->ring, n);
		else if (vly_ring_release_unblocks(s->ring, n))
			sem_post(&s->producer_wakes);
		/* now and then a full ring */
		if (random % 16 == 0)
			sched_yield();
	}
}

static void phase(struct shared *s, void *mem, uint32_t slots, bool producer_sleeps,
		  bool consumer_sleeps)
{
	pthread_t producer, consumer;

	/* crosses the end of 32 bits early on */
	s->ring = vly_ring_init_at(mem, slots, WORDS * 8, UINT32_MAX - 5000);
	s->slots = slots;
	s->producer_sleeps = producer_sleeps;
	s->consumer_sleeps = consumer_sleeps;
	s->blocks = 0;
	s->naps = 0;
	s->sent = 0;
	s->received = 0;
	if (pthread_create(&producer, NULL, produce, s) != 0)
		fail("no thread", 0);
	/* the first meeting with a full ring is not left to luck */
	while (vly_ring_count(s->ring) < slots)
		sched_yield();
	if (pthread_create(&consumer, NULL, consume, s) != 0)
		fail("no thread", 1);
	pthread_join(producer, NULL);
	pthread_join(consumer, NULL);
	if (s->received != s->sent || s->sent < slots)
		fail("count", s->received);
	if (!vly_ring_valid(s->ring))
		fail("invalid ring", s->received);
	printf("race_ring: %u slots: %llu messages, producer slept %llu times, consumer %llu\n",
	       slots, (unsigned long long)s->sent, (unsigned long long)s->blocks,
	       (unsigned long long)s->naps);
}

int main(void)
{
	static struct shared shared;
	void *mem = aligned_alloc(VLY_WRITER_GAP, vly_ring_bytes(SLOTS, WORDS * 8));

	if (!mem || sem_init(&shared.producer_wakes, 0, 0) != 0 ||
	    sem_init(&shared.consumer_wakes, 0, 0) != 0)
		return 1;
	phase(&shared, mem, SLOTS, false, false);
	phase(&shared, mem, SLOTS, true, true);
	phase(&shared, mem, 1, true, false);
	phase(&shared, mem, 1, false, true);
	sem_destroy(&shared.producer_wakes);
	sem_destroy(&shared.consumer_wakes);
	free(mem);
	return 0;
}
