/* test_generator.c - what the generator offers arrives in order, whole, once, and stays until it is given back */
#include "pyshim/generator.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "pyshim/meter.h"
#include "tests/support/leak.h"
#include "volley/volley.h"

TestSuite(generator, .fini = vly_leak_gate, .timeout = 60);

#define FASTEST 1000000000u
#define BATCH_MAX 700u

static struct meter *meter;
static struct generator *generator;
static struct source_spec spec;
static bool hold;

static void begin(uint64_t ring, uint64_t len, uint64_t rate, uint64_t ms, uint64_t seed)
{
	meter = aligned_alloc(alignof(struct meter), sizeof(*meter));
	memset(meter, 0, sizeof(*meter));
	spec = (struct source_spec){
		.conns = 7,
		.len = len,
		.batch = 64,
		.seed = seed,
		.cpu = -1,
		.held = hold,
		.ring = ring,
		.steps = {{rate, ms}},
		.steps_count = 1,
	};
	cr_assert_eq(generator_open(&spec, meter, &generator), 0);
	generator_start(generator);
}

static void end(void)
{
	generator_close(generator);
	free(meter);
}

static bool is_done(void)
{
	return atomic_load_explicit(&meter->done, memory_order_acquire) != 0;
}

static void check_message(const struct generator_message *message)
{
	uint64_t words[2];

	memcpy(words, message->data, sizeof(words));
	cr_assert_eq(words[0], message->number);
	cr_assert_eq(words[1], message->stamp_ns);
	cr_assert_lt(message->index, spec.conns);
}

/* Takes everything, in batches of changing sizes; returns how many there were. */
static uint64_t take_all(void)
{
	static struct generator_message batch[BATCH_MAX];
	uint64_t taken = 0, number = 0, stamp_ns = 0;
	bool last = false;

	for (uint32_t size = 1; !last; size = size * 7 % BATCH_MAX + 1) {
		uint32_t count = 0;

		last = is_done(); /* looked at before: what was put until then is found */
		generator_release(generator);
		while (count < size && generator_next(generator, &batch[count]))
			count++;
		for (uint32_t i = 0; i < count; i++) {
			check_message(&batch[i]);
			cr_assert(taken + i == 0 || batch[i].number > number);
			cr_assert_geq(batch[i].stamp_ns, stamp_ns);
			number = batch[i].number;
			stamp_ns = batch[i].stamp_ns;
		}
		taken += count;
		last = last && count < size;
	}
	return taken;
}

static void expect_all(uint64_t ring, uint64_t len, uint64_t rate, uint64_t ms)
{
	begin(ring, len, rate, ms, 5);
	uint64_t taken = take_all();

	cr_expect_gt(taken, 0u);
	cr_expect_eq(taken + meter_read(&meter->dropped), meter_read(&meter->offered));
	end();
}

Test(generator, each_message_arrives_whole_and_once_from_the_smallest_ring)
{
	expect_all(SOURCE_RING_MIN, 64, FASTEST, 50);
}

Test(generator, each_message_arrives_whole_and_once_from_a_ring_of_many_chunks)
{
	expect_all(16 * SOURCE_RING_MIN, 64, FASTEST, 50);
}

Test(generator, large_and_odd_messages_arrive_whole)
{
	expect_all(SOURCE_RING_MIN, 16, FASTEST, 20);
	expect_all(SOURCE_RING_MIN, 1001, FASTEST, 20);
	expect_all(SOURCE_RING_MIN, 65536, FASTEST, 20);
}

Test(generator, at_a_slow_rate_all_are_offered_and_due_in_even_intervals)
{
	struct generator_message message;
	uint64_t first_ns = 0, taken = 0;
	bool last = false;

	begin(SOURCE_RING_MIN, 64, 3000, 100, 5);
	while (!last) {
		last = is_done();
		generator_release(generator);
		while (generator_next(generator, &message)) {
			cr_assert_eq(message.number, taken);
			first_ns = taken ? first_ns : message.stamp_ns;
			if (!meter_read(&meter->generator_taken_ns)) {
				uint64_t due_ns = first_ns + taken * 1000000000u / 3000;

				cr_expect(message.stamp_ns + 2 >= due_ns &&
					  message.stamp_ns <= due_ns + 2);
			}
			taken++;
		}
	}
	/* the last one is due when the step ends */
	cr_expect(taken == 299 || taken == 300);
	cr_expect_eq(meter_read(&meter->offered), taken);
	end();
}

Test(generator, what_was_handed_out_stays_until_it_is_given_back)
{
	static struct generator_message held[SOURCE_RING_MIN];
	uint32_t count = 0;

	begin(SOURCE_RING_MIN, 64, FASTEST, 50, 5);
	while (count < SOURCE_RING_MIN)
		count += generator_next(generator, &held[count]);
	/* the generator goes on and drops what finds no room */
	while (!is_done())
		;
	cr_expect_gt(meter_read(&meter->dropped), 0u);
	for (uint32_t i = 0; i < count; i++)
		check_message(&held[i]);
	cr_expect_eq(meter_read(&meter->dropped) + SOURCE_RING_MIN, meter_read(&meter->offered));
	end();
}

Test(generator, a_message_that_was_put_back_comes_again_at_any_place_of_a_chunk)
{
	struct generator_message message, again;

	begin(4 * SOURCE_RING_MIN, 64, FASTEST, 50, 5);
	for (uint32_t i = 0; i < 3 * SOURCE_RING_MIN; i++) {
		while (!generator_next(generator, &message))
			;
		generator_put_back(generator);
		cr_assert(generator_next(generator, &again));
		cr_assert_eq(again.number, message.number);
		cr_assert_eq(again.data, message.data);
		check_message(&again);
	}
	end();
}

Test(generator, what_is_held_is_not_offered_before_it_is_let_go)
{
	const struct timespec nap = {.tv_nsec = 5000000};

	hold = true;
	begin(SOURCE_RING_MIN, 64, FASTEST, 5, 1);
	while (!meter_read(&meter->asked_ns))
		nanosleep(&nap, NULL);
	nanosleep(&nap, NULL);
	cr_expect_eq(meter_read(&meter->began_ns), 0u);
	cr_expect_eq(meter_read(&meter->offered), 0u);
	atomic_store_explicit(&meter->released, 1, memory_order_relaxed);
	cr_expect_gt(take_all(), 0u);
	cr_expect_gt(meter_read(&meter->began_ns), meter_read(&meter->asked_ns));
	end();

	/* nor does it keep who closes it */
	begin(SOURCE_RING_MIN, 64, FASTEST, 5, 1);
	end();
}

Test(generator, what_is_skimmed_was_offered)
{
	uint64_t skimmed = 0;

	begin(SOURCE_RING_MIN, 64, FASTEST, 20, 5);
	while (!is_done())
		skimmed += generator_skim(generator);
	cr_expect_gt(skimmed, 0u);
	cr_expect_leq(skimmed, meter_read(&meter->offered) - meter_read(&meter->dropped));
	end();
}

/* The connections of the first messages. */
static void order(uint64_t seed, uint32_t indexes[SOURCE_RING_MIN])
{
	struct generator_message message;
	uint32_t count = 0;

	begin(SOURCE_RING_MIN, 64, FASTEST, 5, seed);
	while (count < SOURCE_RING_MIN)
		if (generator_next(generator, &message))
			indexes[count++] = message.index;
	end();
}

Test(generator, the_same_seed_gives_the_same_connections_in_the_same_order)
{
	static uint32_t first[SOURCE_RING_MIN], again[SOURCE_RING_MIN], other[SOURCE_RING_MIN];

	order(11, first);
	order(11, again);
	order(12, other);
	cr_expect_arr_eq(first, again, sizeof(first));
	cr_expect_arr_neq(first, other, sizeof(first));
}

/* One message that came at `stamp_ns`, taken now. */
static void take_one(uint64_t stamp_ns)
{
	struct vly_event event = {.kind = VLY_DATA, .len = 64, .stamp_ns = stamp_ns};
	uint64_t now_ns = vly_now_ns();

	meter_batch(meter, &event, 1, now_ns, now_ns);
}

Test(generator, a_long_callback_is_the_consumers_own_whoever_took_some_of_it)
{
	const struct timespec nap = {.tv_nsec = 2000000};
	uint64_t begin_ns = vly_now_ns(), cpu_ns, ran_ns, gone_ns, excluded;

	meter = aligned_alloc(alignof(struct meter), sizeof(*meter));
	memset(meter, 0, sizeof(*meter));
	atomic_store_explicit(&meter->polls_only, 1, memory_order_relaxed);
	atomic_store_explicit(&meter->window_end_ns, UINT64_MAX, memory_order_relaxed);
	take_one(begin_ns);
	/* others had the CPU, and nothing else happened */
	excluded = meter_read(&meter->excluded);
	nanosleep(&nap, NULL);
	take_one(begin_ns);
	cr_expect_eq(meter_read(&meter->excluded), excluded + 1);
	/* that is made up for */
	for (int i = 0; i < 1000 && meter_read(&meter->disturbed); i++)
		take_one(vly_now_ns());
	excluded = meter_read(&meter->excluded);
	begin_ns = vly_now_ns();
	cpu_ns = meter_thread_cpu_ns();
	nanosleep(&nap, NULL);
	do {
		ran_ns = meter_thread_cpu_ns() - cpu_ns;
		gone_ns = vly_now_ns() - begin_ns;
	} while (ran_ns * 4 < gone_ns * 3 && gone_ns < 2000000000u);
	take_one(begin_ns);
	/* on a CPU that others use for most of two seconds nothing can be said */
	if (ran_ns * 4 >= gone_ns * 3)
		cr_expect_eq(meter_read(&meter->excluded), excluded);
	free(meter);
}
