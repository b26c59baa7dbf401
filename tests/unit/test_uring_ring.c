/* test_uring_ring.c - one io_uring set up by hand, in each of its layouts */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#include "nic/uring/probe.h"
#include "nic/uring/ring.h"
#include "tests/support/leak.h"

TestSuite(uring_ring, .fini = vly_leak_gate, .timeout = 30);

#define MSEC 1000000ll

static void fill_nop(struct uring_ring *ring, uint64_t user_data)
{
	struct io_uring_sqe *sqe = uring_ring_sqe(ring);

	cr_assert_not_null(sqe);
	sqe->opcode = IORING_OP_NOP;
	sqe->user_data = user_data;
}

static void open_ring(struct uring_ring *ring, const struct uring_ring_opts *opts)
{
	char why[256];

	if (uring_probe(why, sizeof(why)))
		cr_skip_test("%s", why);
	cr_assert_eq(uring_ring_open(ring, opts), 0);
}

/* Many times around both queues, every answer in its order. */
static void go_round(struct uring_ring *ring)
{
	struct uring_wait wait = {.count = 0};
	uint64_t sent = 0, got = 0;

	for (unsigned round = 0; round < 1000; round++) {
		for (unsigned i = 0; i <= round % 4; i++)
			fill_nop(ring, sent++);
		cr_assert_eq(uring_ring_enter(ring, &wait), 0);
		for (; ring->cq_head != uring_ring_tail(ring); ring->cq_head++)
			cr_assert_eq(uring_ring_cqe(ring, ring->cq_head)->user_data, got++);
		uring_ring_seen(ring);
		cr_assert_eq(got, sent);
	}
}

Test(uring_ring, every_layout_goes_round_its_queues)
{
	for (unsigned layout = 0; layout < 4; layout++) {
		size_t bytes = uring_ring_bytes(4, 8);
		void *memory = layout & 1 ? aligned_alloc(4096, bytes) : NULL;
		struct uring_ring_opts opts = {.sq_entries = 4, .cq_entries = 8, .memory = memory};
		struct uring_ring ring;

		opts.no_sqarray = layout & 2 && uring_has(URING_NO_SQARRAY);
		open_ring(&ring, &opts);
		cr_assert_eq(ring.own_memory, memory && uring_has(URING_NO_MMAP));
		go_round(&ring);
		uring_ring_close(&ring);
		free(memory);
	}
}

Test(uring_ring, full_submission_queue_has_no_entry_until_it_is_submitted)
{
	struct uring_ring_opts opts = {.sq_entries = 4, .cq_entries = 8};
	struct uring_ring ring;

	open_ring(&ring, &opts);
	for (unsigned i = 0; i < 4; i++)
		fill_nop(&ring, i);
	cr_assert_null(uring_ring_sqe(&ring));
	cr_assert_eq(uring_ring_filled(&ring), 4);
	cr_assert_eq(uring_ring_submit(&ring), 0);
	cr_assert_eq(uring_ring_filled(&ring), 0);
	cr_assert_not_null(uring_ring_sqe(&ring));
	uring_ring_close(&ring);
}

/* Else two ends that wait for each other's batch would wait for ever. */
Test(uring_ring, wait_for_a_batch_ends_though_it_never_fills)
{
	for (int min_wait = 0; min_wait < 2; min_wait++) {
		struct uring_ring_opts opts = {.sq_entries = 4, .cq_entries = 8};
		struct uring_wait wait = {.count = 100, .min_wait_us = 30, .timeout_ns = -1};
		struct uring_ring ring;

		opts.min_wait = min_wait && uring_has(URING_MIN_WAIT);
		open_ring(&ring, &opts);
		fill_nop(&ring, 1);
		uring_ring_enter(&ring, &wait);
		cr_assert_eq(uring_ring_tail(&ring) - ring.cq_head, 1);
		uring_ring_close(&ring);
	}
}

Test(uring_ring, wait_for_one_ends_at_its_timeout)
{
	struct uring_ring_opts opts = {.sq_entries = 4, .cq_entries = 8};
	struct uring_wait wait = {.count = 1, .timeout_ns = MSEC};
	struct uring_ring ring;

	open_ring(&ring, &opts);
	cr_assert_eq(uring_ring_enter(&ring, &wait), -ETIME);
	uring_ring_close(&ring);
}
