/* test_rx.c - the turnover of receive buffers */
#include "nic/rx.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/leak.h"

#define BUFS 8u
#define BUF_BYTES 1024u

static const struct vly_buf_pool_opts opts = {.count = BUFS, .data_bytes = BUF_BYTES};
static struct vly_buf_pool pool;
static struct vly_rx rx;
static void *memory;

static void setup(void)
{
	memory = aligned_alloc(VLY_CACHE_LINE, vly_buf_pool_bytes(&opts));
	memset(memory, 0, vly_buf_pool_bytes(&opts));
	cr_assert_eq(vly_buf_pool_init(&pool, memory, &opts), 0);
	rx = (struct vly_rx){.pool = &pool, .reserve = 2};
}

static void teardown(void)
{
	vly_rx_fini(&rx);
	cr_assert_eq(vly_buf_free_count(&pool), BUFS);
	vly_buf_pool_fini(&pool);
	free(memory);
	vly_leak_gate();
}

TestSuite(rx, .init = setup, .fini = teardown);

/* A receive of `bytes`; the buffer that it lies in. */
static struct vly_buf *receive(uint32_t min_bytes, uint32_t bytes)
{
	uint32_t room;
	uint8_t *span = vly_rx_span(&rx, min_bytes, &room);

	cr_assert_not_null(span);
	cr_assert_geq(room, min_bytes);
	cr_assert_leq(bytes, room);
	memset(span, 0x77, bytes);
	vly_rx_commit(&rx, bytes);
	return rx.current;
}

/* Pins as vly_hold does. */
static bool pin(struct vly_buf *buf)
{
	if (!vly_rx_may_pin(&rx, buf))
		return false;
	vly_buf_ref(buf);
	return true;
}

Test(rx, small_messages_are_packed_on_cache_lines)
{
	uint32_t room;
	uint8_t *first = vly_rx_span(&rx, 1, &room);

	cr_assert_eq(room, BUF_BYTES);
	vly_rx_commit(&rx, 1);
	cr_assert_eq(vly_rx_span(&rx, 1, &room), first + 64);
	cr_assert_eq(room, BUF_BYTES - 64);
	vly_rx_commit(&rx, 64);
	cr_assert_eq(vly_rx_span(&rx, 1, &room), first + 128);
	vly_rx_commit(&rx, 65);
	cr_assert_eq(vly_rx_span(&rx, 1, &room), first + 256);
	cr_assert_eq(vly_buf_free_count(&pool), BUFS - 1);
}

Test(rx, span_that_is_not_committed_is_given_again)
{
	uint32_t room;
	uint8_t *first = vly_rx_span(&rx, 1, &room);

	cr_assert_eq(vly_rx_span(&rx, 1, &room), first);
	cr_assert_eq(room, BUF_BYTES);
}

Test(rx, turns_over_when_less_than_asked_is_left)
{
	struct vly_buf *first = receive(256, 768);

	cr_assert_eq(receive(256, 256), first, "exactly what was asked is left");
	cr_assert_neq(receive(1, 1), first, "nothing is left");
	struct vly_buf *second = rx.current;

	receive(1, BUF_BYTES - 64 - 255);
	cr_assert_neq(receive(256, 1), second);
	cr_assert_eq(rx.lent_count, 3);
}

Test(rx, commit_up_to_the_end_is_cut_at_the_end)
{
	struct vly_buf *first = receive(1, BUF_BYTES - 63);

	cr_assert_eq(rx.current_used, BUF_BYTES);
	cr_assert_neq(receive(1, 1), first);
}

Test(rx, none_home_is_no_span)
{
	uint32_t room;

	for (unsigned i = 0; i < BUFS; i++)
		receive(BUF_BYTES, BUF_BYTES);
	cr_assert_null(vly_rx_span(&rx, 1, &room));
	cr_assert_eq(rx.lent_count, BUFS);
	vly_rx_recycle(&rx);
	cr_assert_not_null(vly_rx_span(&rx, 1, &room));
	cr_assert_eq(vly_buf_free_count(&pool), BUFS - 1);
}

Test(rx, recycle_without_pins_goes_on_with_the_same_buffer)
{
	struct vly_buf *first = receive(1, 100);
	uint32_t room;

	vly_rx_recycle(&rx);
	cr_assert_eq(rx.current, first);
	cr_assert_eq(vly_rx_span(&rx, 1, &room), first->data);
	cr_assert_eq(room, BUF_BYTES);
	cr_assert_eq(rx.lent_count, 1);
}

Test(rx, recycle_brings_all_unpinned_home)
{
	for (unsigned i = 0; i < 5; i++)
		receive(BUF_BYTES, BUF_BYTES);
	vly_rx_recycle(&rx);
	cr_assert_eq(vly_buf_free_count(&pool), BUFS - 1);
	cr_assert_eq(rx.lent_count, 1);
	cr_assert_null(rx.lent);
}

Test(rx, recycle_leaves_a_pinned_current_to_its_holder)
{
	struct vly_buf *held = receive(1, 100);

	cr_assert(pin(held));
	vly_rx_recycle(&rx);
	cr_assert_null(rx.current);
	cr_assert_eq(rx.lent_count, 0);
	cr_assert_eq(held->refs, 1);
	cr_assert_neq(receive(1, 1), held);
	cr_assert_eq(held->data[0], 0x77);
	vly_buf_put(held);
	cr_assert_eq(vly_buf_free_count(&pool), BUFS - 1);
}

Test(rx, recycle_leaves_a_pinned_lent_one_to_its_holder)
{
	struct vly_buf *held = receive(BUF_BYTES, BUF_BYTES);

	cr_assert(pin(held));
	receive(BUF_BYTES, BUF_BYTES);
	receive(BUF_BYTES, BUF_BYTES);
	vly_rx_recycle(&rx);
	cr_assert_eq(held->refs, 1);
	cr_assert_null(held->next);
	cr_assert_eq(vly_buf_free_count(&pool), BUFS - 2);
	vly_buf_put(held);
	cr_assert_eq(vly_buf_free_count(&pool), BUFS - 1);
}

Test(rx, pin_that_ends_inside_its_batch_costs_nothing)
{
	struct vly_buf *held = receive(1, 100);

	cr_assert(pin(held));
	vly_buf_put(held);
	vly_rx_recycle(&rx);
	cr_assert_eq(rx.current, held);
	cr_assert_eq(rx.lent_pins, 0);
}

Test(rx, pins_of_one_batch_leave_the_reserve)
{
	struct vly_buf *held[BUFS];
	unsigned pinned = 0;

	for (unsigned i = 0; i < BUFS; i++) {
		struct vly_buf *buf = receive(BUF_BYTES, BUF_BYTES);

		if (pin(buf))
			held[pinned++] = buf;
	}
	cr_assert_eq(pinned, BUFS - rx.reserve);
	vly_rx_recycle(&rx);
	cr_assert_eq(vly_buf_free_count(&pool) + rx.lent_count, rx.reserve);
	while (pinned > 0)
		vly_buf_put(held[--pinned]);
}

Test(rx, pins_of_many_batches_leave_the_reserve)
{
	struct vly_buf *held[BUFS];
	unsigned pinned = 0;

	for (unsigned i = 0; i < 3 * BUFS; i++) {
		struct vly_buf *buf = receive(1, 1);

		if (pin(buf))
			held[pinned++] = buf;
		vly_rx_recycle(&rx);
	}
	cr_assert_eq(pinned, BUFS - rx.reserve);
	/* One comes back: one more may be pinned. */
	vly_buf_put(held[--pinned]);
	struct vly_buf *again = receive(1, 1);

	cr_assert(pin(again));
	held[pinned++] = again;
	vly_rx_recycle(&rx);
	cr_assert_not(pin(receive(1, 1)));
	while (pinned > 0)
		vly_buf_put(held[--pinned]);
}

Test(rx, further_pin_of_a_pinned_one_is_free)
{
	struct vly_buf *held[BUFS];
	unsigned pinned = 0;

	while (pinned < BUFS - 2) {
		held[pinned] = receive(BUF_BYTES, BUF_BYTES);
		cr_assert(pin(held[pinned++]));
	}
	cr_assert_not(pin(receive(BUF_BYTES, BUF_BYTES)));
	cr_assert(pin(held[0]));
	vly_buf_put(held[0]);
	while (pinned > 0)
		vly_buf_put(held[--pinned]);
}

Test(rx, reserve_of_all_allows_no_pin)
{
	rx.reserve = BUFS;
	cr_assert_not(vly_rx_may_pin(&rx, receive(1, 1)));
	cr_assert_eq(rx.lent_pins, 0);
}

Test(rx, fini_gives_all_back_but_the_pinned)
{
	struct vly_buf *held = receive(BUF_BYTES, BUF_BYTES);

	receive(BUF_BYTES, BUF_BYTES);
	receive(1, 1);
	cr_assert(pin(held));
	vly_rx_fini(&rx);
	cr_assert_eq(vly_buf_free_count(&pool), BUFS - 1);
	vly_buf_put(held);
}
