/* test_uring_group.c - receive buffers in the kernel's hands: whose bytes came, and when a buffer may be used again */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nic/uring/group.h"
#include "nic/uring/probe.h"
#include "tests/support/leak.h"

TestSuite(uring_group, .fini = vly_leak_gate, .timeout = 30);

#define BUFS 4u
#define BUF_BYTES 4096u

struct bench {
	struct vly_region region;
	struct vly_buf_pool pool;
	struct vly_rx rx;
	struct uring_ring ring;
	struct uring_group group;
	int pair[2];
};

static void bench_open(struct bench *b, uint32_t chunk_bytes)
{
	struct vly_region_opts region = {.size_bytes = 1 << 20, .numa_node = -1};
	struct vly_buf_pool_opts pool = {.count = BUFS, .data_bytes = BUF_BYTES};
	struct uring_ring_opts ring = {.sq_entries = 8, .cq_entries = 64};
	struct uring_group_opts group = {
		.buffers = BUFS, .buf_bytes = BUF_BYTES, .chunk_bytes = chunk_bytes};
	char why[256];

	memset(b, 0, sizeof(*b));
	if (uring_probe(why, sizeof(why)))
		cr_skip_test("%s", why);
	if (!chunk_bytes && !uring_has(URING_INCREMENTAL))
		cr_skip_test("no incremental buffers here");
	cr_assert_eq(vly_region_open(&b->region, &region), 0);
	void *memory = vly_region_take(&b->region, vly_buf_pool_bytes(&pool), 64);

	cr_assert_eq(vly_buf_pool_init(&b->pool, memory, &pool), 0);
	b->rx.pool = &b->pool;
	cr_assert_eq(uring_ring_open(&b->ring, &ring), 0);
	cr_assert_eq(uring_group_open(&b->group, &group, &b->rx, &b->region, &b->ring), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, b->pair), 0);
}

static void bench_close(struct bench *b)
{
	close(b->pair[0]);
	close(b->pair[1]);
	uring_ring_close(&b->ring);
	uring_group_close(&b->group);
	vly_rx_fini(&b->rx);
	vly_buf_pool_fini(&b->pool);
	vly_region_close(&b->region);
}

/* Sends `text` and receives it; the completion is left to be taken. */
static struct io_uring_cqe receive(struct bench *b, const char *text)
{
	struct uring_wait wait = {.count = 1, .timeout_ns = 1000000000};
	struct io_uring_sqe *sqe = uring_ring_sqe(&b->ring);

	cr_assert_eq(write(b->pair[1], text, strlen(text)), (ssize_t)strlen(text));
	sqe->opcode = IORING_OP_RECV;
	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->fd = b->pair[0];
	sqe->buf_group = b->group.id;
	cr_assert_eq(uring_ring_enter(&b->ring, &wait), 0);
	cr_assert_neq(b->ring.cq_head, uring_ring_tail(&b->ring));
	struct io_uring_cqe cqe = *uring_ring_cqe(&b->ring, b->ring.cq_head++);

	uring_ring_seen(&b->ring);
	cr_assert(cqe.flags & IORING_CQE_F_BUFFER);
	cr_assert_eq(cqe.res, (int)strlen(text));
	return cqe;
}

static void expect(struct bench *b, const struct io_uring_cqe *cqe, const char *text,
		   struct uring_span *span)
{
	uring_group_take(&b->group, cqe, (uint32_t)cqe->res, span);
	cr_assert_eq(span->len, strlen(text));
	cr_assert_eq(memcmp(span->data, text, span->len), 0);
}

Test(uring_group, whole_messages_lie_one_behind_the_other_and_the_next_batch_begins_anew)
{
	struct bench b;
	struct uring_span first, second, third;

	bench_open(&b, 0);
	uring_group_refill(&b.group, 1, true);
	cr_assert_eq(vly_buf_free_count(&b.pool), 1);
	struct io_uring_cqe cqe = receive(&b, "one");

	expect(&b, &cqe, "one", &first);
	cqe = receive(&b, "two");
	expect(&b, &cqe, "two", &second);
	cr_assert_eq(second.data, first.data + 3);
	uring_group_refill(&b.group, 1, true);
	cqe = receive(&b, "three");
	expect(&b, &cqe, "three", &third);
	cr_assert_eq(third.data, first.data);
	bench_close(&b);
}

Test(uring_group, whole_buffer_is_not_begun_anew_while_a_completion_waits)
{
	struct bench b;
	struct uring_span first, second;

	bench_open(&b, 0);
	uring_group_refill(&b.group, 1, true);
	struct io_uring_cqe one = receive(&b, "one");
	struct io_uring_cqe two = receive(&b, "two");

	expect(&b, &one, "one", &first);
	uring_group_refill(&b.group, 1, false);
	struct io_uring_cqe three = receive(&b, "three");

	expect(&b, &two, "two", &second);
	expect(&b, &three, "three", &second);
	bench_close(&b);
}

Test(uring_group, whole_buffer_that_is_held_is_exchanged_down_to_the_last)
{
	struct bench b;
	struct uring_span span;
	struct vly_buf *held[BUFS];
	unsigned count = 0;

	bench_open(&b, 0);
	for (; count < BUFS - 1; count++) {
		uring_group_refill(&b.group, 1, true);
		struct io_uring_cqe cqe = receive(&b, "keep");

		expect(&b, &cqe, "keep", &span);
		held[count] = vly_buf_ref(span.buf);
		for (unsigned i = 0; i < count; i++)
			cr_assert_neq(held[i], span.buf);
	}
	uring_group_refill(&b.group, 1, true);
	struct io_uring_cqe cqe = receive(&b, "goes on");

	expect(&b, &cqe, "goes on", &span);
	for (unsigned i = 0; i < count; i++) {
		cr_assert_eq(memcmp(held[i]->data, "keep", 4), 0);
		vly_buf_put(held[i]);
	}
	bench_close(&b);
}

Test(uring_group, cut_chunks_return_by_their_tokens_unless_the_buffer_is_held)
{
	struct bench b;
	struct uring_span span;

	bench_open(&b, 1024);
	cr_assert_eq(b.group.chunks, 4);
	uring_group_refill(&b.group, 0, false);
	cr_assert_eq(b.group.free_entries, 16);
	struct io_uring_cqe cqe = receive(&b, "one");

	expect(&b, &cqe, "one", &span);
	cr_assert_eq(b.group.free_entries, 15);
	uring_group_give(&b.group, span.token);
	cr_assert_eq(b.group.free_entries, 16);
	cqe = receive(&b, "two");
	expect(&b, &cqe, "two", &span);
	vly_buf_ref(span.buf);
	uring_group_give(&b.group, span.token);
	cr_assert_eq(b.group.free_entries, 15);
	cr_assert_eq(b.rx.lent_count, BUFS - 1);
	uring_group_refill(&b.group, 0, false);
	cr_assert_eq(b.group.free_entries, 15);
	vly_buf_put(span.buf);
	uring_group_refill(&b.group, 0, false);
	cr_assert_eq(b.group.free_entries, 16);
	cr_assert_eq(b.rx.lent_count, BUFS);
	bench_close(&b);
}

/* 16 chunks, taken and given for a long time: each serves again and again, none twice at once. */
Test(uring_group, cut_goes_round_many_times)
{
	struct bench b;
	struct uring_span span[8];
	char text[16];

	bench_open(&b, 1024);
	uring_group_refill(&b.group, 0, false);
	for (unsigned round = 0; round < 200; round++) {
		for (unsigned i = 0; i < 8; i++) {
			snprintf(text, sizeof(text), "%u/%u", round, i);
			struct io_uring_cqe cqe = receive(&b, text);

			expect(&b, &cqe, text, &span[i]);
		}
		for (unsigned i = 0; i < 8; i++) {
			snprintf(text, sizeof(text), "%u/%u", round, i);
			cr_assert_eq(memcmp(span[i].data, text, span[i].len), 0);
			uring_group_give(&b.group, span[i].token);
		}
		uring_group_refill(&b.group, 0, false);
		cr_assert_eq(b.group.free_entries, 16);
	}
	bench_close(&b);
}
