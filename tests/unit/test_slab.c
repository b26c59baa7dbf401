/* test_slab.c - fixed-size objects */
#include "mempool/slab.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>

#include "support/leak.h"

#define COUNT 5u
#define OBJECT_BYTES 40u
#define LINK_BYTES 16u

static struct vly_slab slab;
static uint8_t *mem;

static void setup(void)
{
	mem = calloc(1, vly_slab_bytes(COUNT, OBJECT_BYTES));
	cr_assert_eq(vly_slab_init(&slab, mem, COUNT, OBJECT_BYTES, LINK_BYTES), 0);
}

static void teardown(void)
{
	free(mem);
	vly_leak_gate();
}

TestSuite(slab, .init = setup, .fini = teardown);

Test(slab, bytes_are_count_times_size)
{
	cr_assert_eq(vly_slab_bytes(COUNT, OBJECT_BYTES), 200);
	cr_assert_eq(vly_slab_bytes(UINT32_MAX, 4096), (size_t)UINT32_MAX * 4096);
}

Test(slab, init_refuses_what_can_not_work)
{
	struct vly_slab other;

	cr_assert_eq(vly_slab_init(&other, NULL, COUNT, OBJECT_BYTES, 0), -ENOMEM);
	cr_assert_eq(vly_slab_init(&other, mem, 0, OBJECT_BYTES, 0), -EINVAL);
	cr_assert_eq(vly_slab_init(&other, mem, COUNT, 0, 0), -EINVAL);
	cr_assert_eq(vly_slab_init(&other, mem, COUNT, 36, 0), -EINVAL);
	cr_assert_eq(vly_slab_init(&other, mem, COUNT, 40, 4), -EINVAL);
	cr_assert_eq(vly_slab_init(&other, mem, COUNT, 40, 40), -EINVAL);
	cr_assert_eq(vly_slab_init(&other, mem + 4, 1, 40, 0), -EINVAL);
	/* A failed init leaves a slab that fini accepts. */
	vly_slab_fini(&other);
}

Test(slab, init_takes_up_to_32_gib)
{
	struct vly_slab other;

	/* Nothing is touched by init, so the memory need not be there. */
	cr_assert_eq(vly_slab_init(&other, mem, (1u << 29) - 1, 64, 0), 0);
	cr_assert_eq(vly_slab_init(&other, mem, 1u << 29, 64, 0), -EINVAL);
}

Test(slab, every_link_offset_inside_the_object_works)
{
	for (uint32_t link = 0; link <= OBJECT_BYTES - 8; link += 8) {
		struct vly_slab other;
		void *taken[COUNT];

		cr_assert_eq(vly_slab_init(&other, mem, COUNT, OBJECT_BYTES, link), 0);
		for (uint32_t i = 0; i < COUNT; i++)
			taken[i] = vly_slab_get(&other);
		for (uint32_t i = 0; i < COUNT; i++)
			vly_slab_put(&other, taken[i]);
		cr_assert(vly_slab_valid(&other));
		vly_slab_fini(&other);
	}
}

Test(slab, first_use_walks_memory_in_order)
{
	for (uint32_t i = 0; i < COUNT; i++) {
		uint8_t *obj = vly_slab_get(&slab);

		cr_assert_eq(obj, mem + (size_t)i * OBJECT_BYTES);
		cr_assert(vly_slab_valid(&slab));
	}
}

Test(slab, exactly_count_objects_are_handed_out)
{
	for (uint32_t i = 0; i < COUNT - 1; i++)
		cr_assert_neq(vly_slab_get(&slab), NULL);
	cr_assert_eq(slab.free_count, 1);
	cr_assert_neq(vly_slab_get(&slab), NULL);
	cr_assert_eq(slab.free_count, 0);
	cr_assert_eq(vly_slab_get(&slab), NULL);
	cr_assert_eq(vly_slab_get(&slab), NULL);
	cr_assert_eq(slab.exhausted, 2);
	cr_assert_eq(slab.gets, COUNT);
	cr_assert_eq(slab.free_count, 0);
	cr_assert(vly_slab_valid(&slab));
}

Test(slab, an_exhausted_slab_serves_again_after_one_put)
{
	void *last = NULL;

	for (uint32_t i = 0; i < COUNT; i++)
		last = vly_slab_get(&slab);
	cr_assert_eq(vly_slab_get(&slab), NULL);
	vly_slab_put(&slab, last);
	cr_assert_eq(vly_slab_get(&slab), last);
	cr_assert_eq(vly_slab_get(&slab), NULL);
}

Test(slab, last_put_is_first_got)
{
	void *a = vly_slab_get(&slab);
	void *b = vly_slab_get(&slab);
	void *c = vly_slab_get(&slab);

	vly_slab_put(&slab, b);
	vly_slab_put(&slab, c);
	vly_slab_put(&slab, a);
	cr_assert(vly_slab_valid(&slab));
	cr_assert_eq(vly_slab_get(&slab), a);
	cr_assert_eq(vly_slab_get(&slab), c);
	cr_assert_eq(vly_slab_get(&slab), b);
	/* Used objects go first, fresh ones follow. */
	cr_assert_eq(vly_slab_index(&slab, vly_slab_get(&slab)), 3);
}

Test(slab, contents_survive_home_except_the_link)
{
	uint8_t *obj = vly_slab_get(&slab);

	memset(obj, 0xa5, OBJECT_BYTES);
	vly_slab_put(&slab, obj);
	cr_assert_eq(vly_slab_get(&slab), obj);
	for (uint32_t i = 0; i < OBJECT_BYTES; i++) {
		bool link = i >= LINK_BYTES && i < LINK_BYTES + 8;

		cr_assert_eq(obj[i], link ? 0 : 0xa5, "byte %u", i);
	}
}

Test(slab, neighbours_are_never_written)
{
	uint8_t *a = vly_slab_get(&slab);
	uint8_t *b = vly_slab_get(&slab);
	uint8_t *c = vly_slab_get(&slab);

	memset(a, 1, OBJECT_BYTES);
	memset(c, 3, OBJECT_BYTES);
	memset(b, 2, OBJECT_BYTES);
	vly_slab_put(&slab, b);
	for (uint32_t i = 0; i < OBJECT_BYTES; i++) {
		cr_assert_eq(a[i], 1);
		cr_assert_eq(c[i], 3);
	}
}

Test(slab, index_and_at_are_inverse_for_every_stride)
{
	static uint64_t space[64 * 13];

	for (uint32_t stride = 8; stride <= 512; stride += 8) {
		struct vly_slab other;

		cr_assert_eq(vly_slab_init(&other, space, 13, stride, 0), 0);
		for (uint32_t i = 0; i < 13; i++) {
			uint8_t *obj = vly_slab_at(&other, i);

			cr_assert_eq(obj, (uint8_t *)space + (size_t)i * stride);
			cr_assert_eq(vly_slab_index(&other, obj), i, "stride %u", stride);
		}
	}
}

Test(slab, index_is_exact_at_the_end_of_32_gib)
{
	struct vly_slab other;
	uint32_t count = UINT32_MAX / 9 - 1;

	/* Addresses only: nothing there is touched. */
	cr_assert_eq(vly_slab_init(&other, mem, count, 72, 0), 0);
	cr_assert_eq(vly_slab_index(&other, vly_slab_at(&other, count - 1)), count - 1);
	cr_assert_eq(vly_slab_index(&other, vly_slab_at(&other, count / 2)), count / 2);
}

Test(slab, home_tells_free_from_held)
{
	void *fresh = vly_slab_at(&slab, 0);

	cr_assert(vly_slab_home(&slab, fresh));
	void *obj = vly_slab_get(&slab);
	cr_assert_eq(obj, fresh);
	cr_assert_not(vly_slab_home(&slab, obj));
	vly_slab_put(&slab, obj);
	cr_assert(vly_slab_home(&slab, obj));
}

Test(slab, low_water_mark_remembers_the_worst)
{
	struct vly_slab_stats stats;
	void *a = vly_slab_get(&slab);
	void *b = vly_slab_get(&slab);

	vly_slab_put(&slab, a);
	vly_slab_put(&slab, b);
	a = vly_slab_get(&slab);
	vly_slab_stats(&slab, &stats);
	cr_assert_eq(stats.count, COUNT);
	cr_assert_eq(stats.free_count, COUNT - 1);
	cr_assert_eq(stats.low_water, COUNT - 2);
	cr_assert_eq(stats.gets, 3);
	cr_assert_eq(stats.exhausted, 0);
	vly_slab_put(&slab, a);
}

Test(slab, random_gets_and_puts_never_hand_out_a_held_object)
{
	void *held[COUNT];
	uint32_t held_count = 0;
	bool out[COUNT] = {false};
	uint64_t seed = 42;

	for (int step = 0; step < 20000; step++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		uint32_t draw = (uint32_t)(seed >> 33);

		if (draw & 1) {
			void *obj = vly_slab_get(&slab);

			cr_assert_eq(obj == NULL, held_count == COUNT);
			if (!obj)
				continue;
			cr_assert_not(out[vly_slab_index(&slab, obj)]);
			out[vly_slab_index(&slab, obj)] = true;
			held[held_count++] = obj;
		} else if (held_count > 0) {
			uint32_t pick = (draw >> 1) % held_count;

			out[vly_slab_index(&slab, held[pick])] = false;
			vly_slab_put(&slab, held[pick]);
			held[pick] = held[--held_count];
		}
		cr_assert_eq(slab.free_count, COUNT - held_count);
		cr_assert(vly_slab_valid(&slab));
	}
	while (held_count > 0)
		vly_slab_put(&slab, held[--held_count]);
	vly_slab_fini(&slab);
}

Test(slab, valid_sees_a_damaged_link)
{
	uint8_t *obj = vly_slab_get(&slab);

	vly_slab_put(&slab, obj);
	cr_assert(vly_slab_valid(&slab));
	obj[LINK_BYTES + 7] ^= 1;
	cr_assert_not(vly_slab_valid(&slab));
}

Test(slab, valid_sees_a_circle)
{
	uint8_t *a = vly_slab_get(&slab);
	uint8_t *b = vly_slab_get(&slab);

	vly_slab_put(&slab, a);
	vly_slab_put(&slab, b);
	/* The first object's next becomes the second, which already leads to the first. */
	vly_slab_set_link(&slab, a,
			  vly_slab_link(&slab, a) >> 32 << 32 | vly_slab_offset(&slab, b));
	cr_assert_not(vly_slab_valid(&slab));
}

/* At once where assert() is compiled in, else at the next get that trusts the list. */
Test(slab, a_second_put_is_caught, .signal = SIGABRT)
{
	void *obj = vly_slab_get(&slab);

	vly_slab_put(&slab, obj);
	vly_slab_put(&slab, obj);
	vly_slab_get(&slab);
	vly_slab_get(&slab);
}

Test(slab, a_write_into_a_home_object_is_caught, .signal = SIGABRT)
{
	uint8_t *obj = vly_slab_get(&slab);

	vly_slab_put(&slab, obj);
	memset(obj, 0, OBJECT_BYTES);
	vly_slab_get(&slab);
}

Test(slab, fini_passes_when_all_are_home)
{
	vly_slab_put(&slab, vly_slab_get(&slab));
	vly_slab_fini(&slab);
	cr_assert_eq(slab.base, NULL);
	vly_slab_fini(&slab);
}

Test(slab, fini_aborts_while_one_is_out, .signal = SIGABRT)
{
	cr_assert_neq(vly_slab_get(&slab), NULL);
	vly_slab_fini(&slab);
}
