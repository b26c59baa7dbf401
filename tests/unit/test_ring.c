/* test_ring.c - the ring on one thread: limits, wrap, batches, the blocked producer */
#include "base/ring.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/support/leak.h"

TestSuite(ring, .fini = vly_leak_gate);

#define SLOTS 8u
#define SLOT_BYTES 24u

struct slot {
	uint64_t words[SLOT_BYTES / 8];
};

/* Indices that make a test cross the end of 32 bits at each possible place. */
static const uint32_t starts[] = {0, 1, UINT32_MAX - 9, UINT32_MAX - 7, UINT32_MAX - 3, UINT32_MAX};

#define STARTS (sizeof(starts) / sizeof(starts[0]))

static struct vly_ring *ring_new(uint32_t slots, uint32_t start)
{
	void *mem = aligned_alloc(VLY_WRITER_GAP, vly_ring_bytes(slots, SLOT_BYTES));

	cr_assert_not_null(mem);
	return vly_ring_init_at(mem, slots, SLOT_BYTES, start);
}

static struct slot slot_of(uint64_t n)
{
	return (struct slot){{n, ~n, n * n}};
}

static bool push(struct vly_ring *r, uint64_t n)
{
	struct slot slot = slot_of(n);

	return vly_ring_push(r, &slot);
}

static void pop_expect(struct vly_ring *r, uint64_t n)
{
	struct slot expected = slot_of(n), got;

	cr_assert(vly_ring_pop(r, &got));
	cr_assert_arr_eq(&got, &expected, sizeof(got));
}

Test(ring, bytes_are_the_header_and_the_slots_rounded_to_the_gap)
{
	cr_assert_eq(vly_ring_bytes(1, 8), 3 * 128 + 128);
	cr_assert_eq(vly_ring_bytes(16, 8), 3 * 128 + 128);
	cr_assert_eq(vly_ring_bytes(32, 8), 3 * 128 + 256);
	cr_assert_eq(vly_ring_bytes(8, 24), 3 * 128 + 256);
	cr_assert_eq(vly_ring_bytes(VLY_RING_SLOTS_MAX, 64), 3 * 128 + (UINT64_C(1) << 37));
}

Test(ring, new_ring_is_empty_and_valid)
{
	for (size_t s = 0; s < STARTS; s++) {
		struct vly_ring *r = ring_new(SLOTS, starts[s]);
		struct slot slot;

		cr_assert(vly_ring_valid(r));
		cr_assert_eq(vly_ring_count(r), 0);
		cr_assert_eq(vly_ring_peek(r, SLOTS), 0);
		cr_assert_not(vly_ring_pending(r));
		cr_assert_not(vly_ring_pop(r, &slot));
		free(r);
	}
}

Test(ring, push_when_full_takes_none)
{
	for (size_t s = 0; s < STARTS; s++) {
		struct vly_ring *r = ring_new(SLOTS, starts[s]);

		for (uint32_t i = 0; i < SLOTS; i++) {
			cr_assert_eq(vly_ring_count(r), i);
			cr_assert(push(r, i));
			cr_assert(vly_ring_valid(r));
		}
		cr_assert_not(push(r, 99));
		cr_assert_eq(vly_ring_count(r), SLOTS);
		for (uint32_t i = 0; i < SLOTS; i++)
			pop_expect(r, i);
		cr_assert_eq(vly_ring_count(r), 0);
		free(r);
	}
}

Test(ring, one_slot_is_enough)
{
	struct vly_ring *r = ring_new(1, UINT32_MAX);

	for (uint64_t i = 0; i < 5; i++) {
		cr_assert(push(r, i));
		cr_assert_not(push(r, i));
		pop_expect(r, i);
		cr_assert(vly_ring_valid(r));
	}
	free(r);
}

Test(ring, order_and_content_survive_the_wrap_of_slots_and_indices)
{
	for (size_t s = 0; s < STARTS; s++) {
		struct vly_ring *r = ring_new(SLOTS, starts[s]);
		uint64_t in = 0, out = 0;

		/* 3 in, 2 out until full, so that every fill level meets every position */
		for (int round = 0; round < 200; round++) {
			for (int i = 0; i < 3; i++)
				in += push(r, in);
			for (int i = 0; i < 2; i++)
				pop_expect(r, out++);
			cr_assert(vly_ring_valid(r));
			cr_assert_eq(vly_ring_count(r), in - out);
		}
		free(r);
	}
}

Test(ring, reserve_gives_at_most_what_is_free)
{
	for (size_t s = 0; s < STARTS; s++) {
		struct vly_ring *r = ring_new(SLOTS, starts[s]);

		cr_assert_eq(vly_ring_reserve(r, 0), 0);
		cr_assert_eq(vly_ring_reserve(r, SLOTS - 1), SLOTS - 1);
		cr_assert_eq(vly_ring_reserve(r, SLOTS), SLOTS);
		cr_assert_eq(vly_ring_reserve(r, SLOTS + 1), SLOTS);
		cr_assert_eq(vly_ring_reserve(r, UINT32_MAX), SLOTS);
		vly_ring_publish(r, 5);
		cr_assert_eq(vly_ring_reserve(r, UINT32_MAX), SLOTS - 5);
		cr_assert_eq(vly_ring_peek(r, 2), 2);
		vly_ring_release(r, 2);
		cr_assert_eq(vly_ring_reserve(r, UINT32_MAX), SLOTS - 3);
		free(r);
	}
}

Test(ring, batch_is_invisible_until_published_and_partly_publishable)
{
	for (size_t s = 0; s < STARTS; s++) {
		struct vly_ring *r = ring_new(SLOTS, starts[s]);

		cr_assert_eq(vly_ring_reserve(r, 6), 6);
		for (uint32_t i = 0; i < 6; i++)
			*(struct slot *)vly_ring_slot_in(r, i) = slot_of(i);
		cr_assert_eq(vly_ring_peek(r, SLOTS), 0);
		vly_ring_publish(r, 4);
		cr_assert_eq(vly_ring_peek(r, SLOTS), 4);
		vly_ring_publish_ordered(r, 2);
		cr_assert_eq(vly_ring_peek(r, SLOTS), 6);
		cr_assert(vly_ring_pending(r));
		for (uint32_t i = 0; i < 6; i++)
			cr_assert_eq(((struct slot *)vly_ring_slot_out(r, i))->words[0], i);
		free(r);
	}
}

Test(ring, peeked_slots_stay_until_released)
{
	struct vly_ring *r = ring_new(SLOTS, UINT32_MAX - 2);

	for (uint64_t i = 0; i < SLOTS; i++)
		cr_assert(push(r, i));
	cr_assert_eq(vly_ring_peek(r, SLOTS), SLOTS);
	cr_assert_not(push(r, 8));
	vly_ring_release(r, 3);
	for (uint64_t i = 8; i < 11; i++)
		cr_assert(push(r, i));
	cr_assert_not(push(r, 11));
	for (uint32_t i = 0; i < 5; i++)
		cr_assert_eq(((struct slot *)vly_ring_slot_out(r, i))->words[0], 3 + i);
	for (uint64_t i = 3; i < 11; i++)
		pop_expect(r, i);
	free(r);
}

Test(ring, slots_do_not_overlap_and_end_within_the_bytes)
{
	struct vly_ring *r = ring_new(SLOTS, 0);
	const char *end = (const char *)r + vly_ring_bytes(SLOTS, SLOT_BYTES);

	cr_assert_eq((const char *)vly_ring_slot(r, 0), (const char *)r + sizeof(*r));
	for (uint32_t i = 1; i < SLOTS; i++)
		cr_assert_eq((char *)vly_ring_slot(r, i) - (char *)vly_ring_slot(r, i - 1),
			     SLOT_BYTES);
	cr_assert_leq((const char *)vly_ring_slot(r, SLOTS - 1) + SLOT_BYTES, end);
	cr_assert_eq(vly_ring_slot(r, SLOTS), vly_ring_slot(r, 0));
	free(r);
}

Test(ring, push_and_pop_read_no_foreign_index_while_their_copy_suffices)
{
	struct vly_ring *r = ring_new(SLOTS, 0);

	/* A foreign index that moves unseen shows that it was not read. */
	for (uint64_t i = 0; i < 4; i++)
		cr_assert(push(r, i));
	cr_assert_eq(vly_ring_peek(r, 4), 4);
	vly_ring_release(r, 2);
	cr_assert(push(r, 4));
	cr_assert_eq(r->head_seen, 0, "the producer had free slots enough");
	cr_assert_eq(vly_ring_peek(r, 2), 2);
	cr_assert_eq(r->tail_seen, 4, "the consumer had filled slots enough");
	cr_assert_eq(vly_ring_reserve(r, 5), 5);
	cr_assert_eq(r->head_seen, 2, "the producer had to look");
	cr_assert_eq(vly_ring_peek(r, 3), 3);
	cr_assert_eq(r->tail_seen, 5, "the consumer had to look");
	free(r);
}

Test(ring, block_is_refused_while_a_slot_is_free)
{
	struct vly_ring *r = ring_new(SLOTS, UINT32_MAX - 3);

	cr_assert_not(vly_ring_block(r));
	for (uint64_t i = 0; i < SLOTS - 1; i++)
		cr_assert(push(r, i));
	cr_assert_not(vly_ring_block(r));
	cr_assert_eq(vly_ring_peek(r, 1), 1);
	cr_assert_not(vly_ring_release_unblocks(r, 1), "a refused request leaves nothing behind");
	free(r);
}

Test(ring, first_release_after_block_unblocks_once)
{
	struct vly_ring *r = ring_new(SLOTS, UINT32_MAX - 3);

	for (uint64_t i = 0; i < SLOTS; i++)
		cr_assert(push(r, i));
	cr_assert(vly_ring_block(r));
	cr_assert(vly_ring_block(r), "asking twice is harmless");
	cr_assert_eq(vly_ring_peek(r, 3), 3);
	cr_assert(vly_ring_release_unblocks(r, 1));
	cr_assert_not(vly_ring_release_unblocks(r, 2));
	cr_assert_eq(vly_ring_reserve(r, SLOTS), 3);
	free(r);
}

Test(ring, release_between_full_and_block_is_noticed)
{
	struct vly_ring *r = ring_new(SLOTS, 0);

	for (uint64_t i = 0; i < SLOTS; i++)
		cr_assert(push(r, i));
	cr_assert_not(push(r, 9));
	cr_assert_eq(vly_ring_peek(r, 1), 1);
	cr_assert_not(vly_ring_release_unblocks(r, 1), "nobody had asked yet");
	cr_assert_not(vly_ring_block(r), "a slot is free: the producer must not sleep");
	cr_assert(push(r, 9));
	free(r);
}

Test(ring, valid_finds_each_broken_invariant)
{
	struct vly_ring *r = ring_new(SLOTS, UINT32_MAX);

	for (uint64_t i = 0; i < 3; i++)
		cr_assert(push(r, i));
	cr_assert(vly_ring_valid(r));
	r->slots = 7;
	cr_assert_not(vly_ring_valid(r));
	r->slots = 0;
	cr_assert_not(vly_ring_valid(r));
	r->slots = SLOTS;
	r->slot_bytes = 20;
	cr_assert_not(vly_ring_valid(r));
	r->slot_bytes = SLOT_BYTES;
	r->tail += 6; /* nine filled of eight */
	cr_assert_not(vly_ring_valid(r));
	r->tail -= 6;
	r->tail -= 4; /* the tail behind the head */
	cr_assert_not(vly_ring_valid(r));
	r->tail += 4;
	r->head_seen += 1; /* a copy ahead of its original */
	cr_assert_not(vly_ring_valid(r));
	r->head_seen -= 1;
	r->tail_seen += 4;
	cr_assert_not(vly_ring_valid(r));
	r->tail_seen -= 4;
	cr_assert(vly_ring_valid(r));
	free(r);
}
