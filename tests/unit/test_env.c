/* test_env.c - the bookkeeping that nic and engine share */
#include "nic/env.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "tests/support/leak.h"

#define RECORDS 8u
#define BUFS 16u

static struct vly_env env;
static struct vly_stats stats;
static void *tx_memory, *ref_memory, *rx_memory;

static void *pool_open(struct vly_buf_pool *pool, uint32_t data_bytes)
{
	struct vly_buf_pool_opts opts = {.count = BUFS, .data_bytes = data_bytes};
	void *memory = aligned_alloc(VLY_CACHE_LINE, vly_buf_pool_bytes(&opts));

	memset(memory, 0, vly_buf_pool_bytes(&opts));
	cr_assert_eq(vly_buf_pool_init(pool, memory, &opts), 0);
	return memory;
}

static void setup(void)
{
	size_t bytes = RECORDS * sizeof(struct vly_conn_head);

	memset(&env, 0, sizeof(env));
	env.conns.record_bytes = sizeof(struct vly_conn_head);
	env.conns.count = RECORDS;
	env.conns.base = aligned_alloc(16, bytes);
	memset(env.conns.base, 0, bytes);
	cr_assert_eq(vly_slab_init(&env.conns.slab, env.conns.base, RECORDS, env.conns.record_bytes,
				   offsetof(struct vly_conn_head, tx_head)),
		     0);
	tx_memory = pool_open(&env.tx_pool, 256);
	ref_memory = pool_open(&env.ref_pool, 0);
	rx_memory = pool_open(&env.rx_pool, 1024);
	env.starved[VLY_TX_COPIES].head = env.starved[VLY_TX_COPIES].tail = VLY_NO_SLOT;
	env.pending_head = env.pending_tail = VLY_NO_SLOT;
	env.stats = &stats;
	vly_wheel_init(&env.wheel, 0, VLY_WHEEL_TICK_SHIFT);
}

static void teardown(void)
{
	vly_buf_put_chain(env.sent_head);
	vly_buf_pool_fini(&env.tx_pool);
	vly_buf_pool_fini(&env.ref_pool);
	vly_buf_pool_fini(&env.rx_pool);
	vly_wheel_fini(&env.wheel);
	free(tx_memory);
	free(ref_memory);
	free(rx_memory);
	free(env.conns.base);
	vly_leak_gate();
}

TestSuite(env, .init = setup, .fini = teardown);

static struct vly_conn_head *take(enum vly_conn_state state)
{
	struct vly_conn_head *conn = vly_conn_take(&env.conns, VLY_STREAM, state, NULL, 100000);

	cr_assert_not_null(conn);
	return conn;
}

static void queue(struct vly_conn_head *conn, struct vly_buf *buf)
{
	if (conn->tx_tail)
		conn->tx_tail->next = buf;
	else
		conn->tx_head = buf;
	conn->tx_tail = buf;
	conn->tx_bytes += buf->len;
}

static struct vly_buf *queue_copy(struct vly_conn_head *conn, uint32_t len)
{
	struct vly_buf *buf = vly_buf_get(&env.tx_pool);

	cr_assert_not_null(vly_buf_append(buf, len));
	queue(conn, buf);
	return buf;
}

static struct vly_buf *queue_owned(struct vly_conn_head *conn, uint32_t len, void *cookie)
{
	static uint8_t memory[4096];
	struct vly_buf *buf = vly_buf_get(&env.ref_pool);

	vly_buf_borrow(buf, memory, len, cookie);
	queue(conn, buf);
	return buf;
}

/* A view of a received buffer, whose batch is over. */
static struct vly_buf *queue_view(struct vly_conn_head *conn, uint32_t len)
{
	struct vly_buf *parent = vly_buf_get(&env.rx_pool);
	struct vly_buf *buf = vly_buf_get(&env.ref_pool);

	parent->len = parent->cap;
	vly_buf_attach(buf, parent, parent->data, len);
	vly_buf_put(parent);
	queue(conn, buf);
	return buf;
}

static unsigned pending_count(void)
{
	unsigned count = 0;

	for (uint32_t slot = env.pending_head; slot != VLY_NO_SLOT; count++)
		slot = vly_conn_at(&env.conns, slot)->next_pending;
	return count;
}

Test(env, tx_done_takes_whole_and_partial_segments_of_every_kind)
{
	struct vly_conn_head *conn = take(VLY_OPENED);
	int cookie;

	queue_copy(conn, 100);
	queue_owned(conn, 50, &cookie);
	queue_view(conn, 600);
	struct vly_buf *last = queue_copy(conn, 10);

	vly_env_tx_done(&env, conn, 99);
	cr_assert_eq(conn->tx_bytes, 661);
	cr_assert_eq(conn->tx_head->len, 1);
	vly_env_tx_done(&env, conn, 1 + 49);
	cr_assert_null(env.sent_head, "one byte of it is still to go");
	vly_env_tx_done(&env, conn, 1);
	cr_assert_not_null(env.sent_head);
	cr_assert_eq(env.sent_head->cookie, &cookie);
	cr_assert_eq(env.sent_head->mark, vly_conn_index(conn));
	cr_assert_eq(env.sent_head->len, 0, "status 0");
	vly_env_tx_done(&env, conn, 600 + 3);
	cr_assert_eq(vly_buf_free_count(&env.rx_pool), BUFS, "the view's buffer is home");
	cr_assert_eq(conn->tx_head, last);
	cr_assert_eq(last->len, 7);
	vly_env_tx_done(&env, conn, 7);
	cr_assert_eq(conn->tx_bytes, 0);
	cr_assert_null(conn->tx_head);
	cr_assert_null(conn->tx_tail);
	cr_assert_eq(vly_buf_free_count(&env.tx_pool), BUFS);
}

Test(env, tx_done_of_everything_at_once_empties_the_queue)
{
	struct vly_conn_head *conn = take(VLY_OPENED);
	int cookies[3];

	for (int i = 0; i < 3; i++) {
		queue_copy(conn, 10);
		queue_owned(conn, 20, &cookies[i]);
		queue_view(conn, 30);
	}
	vly_env_tx_done(&env, conn, 180);
	cr_assert_null(conn->tx_head);
	struct vly_buf *sent = env.sent_head;

	for (int i = 0; i < 3; i++, sent = sent->next)
		cr_assert_eq(sent->cookie, &cookies[i], "in the order of the sends");
	cr_assert_null(sent);
	cr_assert_eq(env.sent_tail->cookie, &cookies[2]);
}

Test(env, tx_done_of_nothing_changes_nothing)
{
	struct vly_conn_head *conn = take(VLY_OPENED);
	struct vly_buf *buf = queue_copy(conn, 10);

	vly_env_tx_done(&env, conn, 0);
	cr_assert_eq(conn->tx_head, buf);
	cr_assert_eq(conn->tx_bytes, 10);
	vly_env_tx_done(&env, conn, 10);
}

/* An owned piece of no bytes: nothing is left to send of it once what is before it was sent. */
Test(env, tx_done_lets_empty_segments_go)
{
	struct vly_conn_head *conn = take(VLY_OPENED);
	int cookies[2];

	queue_owned(conn, 0, &cookies[0]);
	queue_copy(conn, 10);
	queue_owned(conn, 0, &cookies[1]);
	vly_env_tx_done(&env, conn, 10);
	cr_assert_null(conn->tx_head, "a segment of 0 bytes stays for ever");
	cr_assert_eq(env.sent_head->cookie, &cookies[0]);
	cr_assert_eq(env.sent_tail->cookie, &cookies[1]);
}

Test(env, drained_is_pending_once_at_the_mark)
{
	struct vly_conn_head *conn = take(VLY_OPENED);

	queue_copy(conn, 200);
	conn->flags |= VLY_F_TX_BLOCKED;
	conn->tx_mark = 100;
	vly_env_tx_done(&env, conn, 99);
	cr_assert_eq(pending_count(), 0, "101 bytes are above the mark");
	vly_env_tx_done(&env, conn, 1);
	cr_assert_eq(pending_count(), 1);
	cr_assert(conn->flags & VLY_F_PEND_DRAINED);
	vly_env_tx_done(&env, conn, 100);
	cr_assert_eq(pending_count(), 1);
}

Test(env, drained_of_a_starved_one_waits_for_its_grant)
{
	struct vly_conn_head *conn = take(VLY_OPENED);

	queue_copy(conn, 200);
	conn->flags |= VLY_F_TX_BLOCKED | VLY_F_TX_STARVED;
	vly_env_tx_done(&env, conn, 200);
	cr_assert_eq(pending_count(), 0);
}

Test(env, pending_keeps_its_order_and_each_only_once)
{
	struct vly_conn_head *a = take(VLY_OPENED), *b = take(VLY_OPENED), *c = take(VLY_OPENED);

	vly_env_pend(&env, b, VLY_F_PEND_DRAINED);
	vly_env_pend(&env, a, VLY_F_PEND_DRAINED);
	vly_env_pend(&env, b, VLY_F_PEND_CLOSED);
	vly_env_pend(&env, c, VLY_F_PEND_OPEN);
	cr_assert_eq(pending_count(), 3);
	cr_assert_eq(env.pending_head, vly_conn_index(b));
	cr_assert_eq(b->next_pending, vly_conn_index(a));
	cr_assert_eq(env.pending_tail, vly_conn_index(c));
	cr_assert(b->flags & VLY_F_PEND_DRAINED && b->flags & VLY_F_PEND_CLOSED);
}

Test(env, dead_gives_everything_back_and_owned_memory_with_the_status)
{
	struct vly_conn_head *conn = take(VLY_OPENED);
	int cookies[2];

	queue_copy(conn, 10);
	queue_owned(conn, 20, &cookies[0]);
	queue_view(conn, 30);
	queue_owned(conn, 40, &cookies[1]);
	vly_wheel_add(&env.wheel, &conn->alarm.node, 1000000000);
	vly_env_dead(&env, conn, -ECONNRESET);
	cr_assert_eq(conn->state, VLY_DEAD);
	cr_assert_eq(conn->status, -ECONNRESET);
	cr_assert_eq(conn->tx_bytes, 0);
	cr_assert_null(conn->tx_head);
	cr_assert_not(vly_wheel_armed(&conn->alarm.node));
	cr_assert_eq(env.sent_head->cookie, &cookies[0]);
	cr_assert_eq(-(int32_t)env.sent_head->len, -ECONNRESET);
	cr_assert_eq(env.sent_tail->cookie, &cookies[1]);
	cr_assert_eq(vly_buf_free_count(&env.tx_pool), BUFS);
	cr_assert_eq(vly_buf_free_count(&env.rx_pool), BUFS);
	cr_assert_eq(vly_buf_free_count(&env.ref_pool), BUFS - 2);
	cr_assert_eq(pending_count(), 1);
	cr_assert(conn->flags & VLY_F_PEND_CLOSED);
}

Test(env, dead_in_order_still_calls_unsent_memory_unsent)
{
	struct vly_conn_head *conn = take(VLY_CLOSING);
	int cookie;

	queue_owned(conn, 20, &cookie);
	vly_env_dead(&env, conn, 0);
	cr_assert_eq(-(int32_t)env.sent_head->len, -ECONNABORTED);
	cr_assert_eq(conn->status, 0);
}

Test(env, dead_while_connecting_owes_an_open_not_a_closed)
{
	struct vly_conn_head *conn = take(VLY_CONNECTING);

	vly_env_dead(&env, conn, -ECONNREFUSED);
	cr_assert(conn->flags & VLY_F_PEND_OPEN);
	cr_assert_not(conn->flags & VLY_F_PEND_CLOSED);
}

Test(env, dead_owes_no_drained_any_more)
{
	struct vly_conn_head *conn = take(VLY_OPENED);

	queue_copy(conn, 10);
	conn->flags |= VLY_F_TX_BLOCKED;
	vly_env_tx_done(&env, conn, 10);
	cr_assert(conn->flags & VLY_F_PEND_DRAINED);
	vly_env_dead(&env, conn, 0);
	cr_assert_not(conn->flags & VLY_F_PEND_DRAINED);
	cr_assert_eq(pending_count(), 1);
}

/* Puts `count` fresh connections into the FIFO of the starved. */
static void starve(struct vly_conn_head **conns, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct vly_conn_head *conn = conns[i] = take(VLY_OPENED);

		conn->flags |= VLY_F_TX_STARVED;
		conn->starved_prev = env.starved[VLY_TX_COPIES].tail;
		if (env.starved[VLY_TX_COPIES].tail == VLY_NO_SLOT)
			env.starved[VLY_TX_COPIES].head = vly_conn_index(conn);
		else
			vly_conn_at(&env.conns, env.starved[VLY_TX_COPIES].tail)->starved_next =
				vly_conn_index(conn);
		env.starved[VLY_TX_COPIES].tail = vly_conn_index(conn);
	}
}

/* Both directions of the FIFO name just these. */
static void check_starved(struct vly_conn_head *const *want, unsigned count)
{
	uint32_t slot = env.starved[VLY_TX_COPIES].head, prev = VLY_NO_SLOT;

	for (unsigned i = 0; i < count; i++) {
		struct vly_conn_head *conn = vly_conn_at(&env.conns, slot);

		cr_assert_eq(conn, want[i], "place %u", i);
		cr_assert_eq(conn->starved_prev, prev);
		prev = slot;
		slot = conn->starved_next;
	}
	cr_assert_eq(slot, VLY_NO_SLOT);
	cr_assert_eq(env.starved[VLY_TX_COPIES].tail, prev);
}

Test(env, unstarve_takes_out_head_middle_tail_and_the_only_one)
{
	struct vly_conn_head *c[5];

	starve(c, 5);
	vly_env_unstarve(&env, c[0]);
	check_starved((struct vly_conn_head *[]){c[1], c[2], c[3], c[4]}, 4);
	vly_env_unstarve(&env, c[2]);
	check_starved((struct vly_conn_head *[]){c[1], c[3], c[4]}, 3);
	vly_env_unstarve(&env, c[4]);
	check_starved((struct vly_conn_head *[]){c[1], c[3]}, 2);
	vly_env_unstarve(&env, c[1]);
	vly_env_unstarve(&env, c[3]);
	check_starved(NULL, 0);
	for (unsigned i = 0; i < 5; i++) {
		cr_assert_eq(c[i]->starved_next, VLY_NO_SLOT);
		cr_assert_eq(c[i]->starved_prev, VLY_NO_SLOT);
		cr_assert_not(c[i]->flags & VLY_F_TX_STARVED);
	}
}

Test(env, unstarve_of_one_that_is_not_starved_is_nothing)
{
	struct vly_conn_head *c[2], *other = take(VLY_OPENED);

	starve(c, 2);
	vly_env_unstarve(&env, other);
	check_starved(c, 2);
	vly_env_unstarve(&env, c[0]);
	vly_env_unstarve(&env, c[0]);
	check_starved(c + 1, 1);
}

Test(env, dead_leaves_the_fifo_of_the_starved)
{
	struct vly_conn_head *c[3];

	starve(c, 3);
	vly_env_dead(&env, c[1], -ECONNRESET);
	check_starved((struct vly_conn_head *[]){c[0], c[2]}, 2);
}

Test(env, dgram_done_takes_just_the_first_datagram)
{
	struct vly_conn_head *conn = take(VLY_OPENED);

	queue_copy(conn, 120)->mark = 2;
	queue_copy(conn, 200);
	struct vly_buf *second = queue_copy(conn, 116);

	second->mark = 1;
	vly_env_dgram_done(&env, conn);
	cr_assert_eq(conn->tx_head, second);
	cr_assert_eq(conn->tx_bytes, 116);
	vly_env_dgram_done(&env, conn);
	cr_assert_null(conn->tx_head);
	cr_assert_null(conn->tx_tail);
	cr_assert_eq(conn->tx_bytes, 0);
}

/* --- plain queues --- */

static struct vly_conn_head *take_plain(uint32_t len)
{
	struct vly_conn_head *conn = take(VLY_OPENED);
	struct vly_buf *buf = vly_buf_get(&env.tx_pool);

	memset(vly_env_tx_data(&env, buf), 'x', len);
	conn->tx_head = conn->tx_tail = buf;
	conn->tx_bytes = len;
	conn->flags |= VLY_F_TX_PLAIN;
	return conn;
}

Test(env, the_header_of_a_plain_buffer_is_true_before_it_is_read)
{
	struct vly_conn_head *conn = take_plain(100);

	vly_env_tx_done(&env, conn, 40);
	cr_assert_not(conn->flags & VLY_F_TX_PLAIN);
	cr_assert_eq(conn->tx_bytes, 60);
	cr_assert_eq(conn->tx_head->len, 60);
	cr_assert_eq(*conn->tx_head->data, 'x');
	vly_env_tx_done(&env, conn, 60);
	cr_assert_null(conn->tx_head);
	cr_assert_eq(vly_buf_free_count(&env.tx_pool), BUFS);
}

Test(env, an_acknowledged_plain_buffer_is_at_hand_as_it_was_got)
{
	struct vly_conn_head *conn = take_plain(100);

	vly_env_tx_plain_done(&env, conn);
	cr_assert_null(conn->tx_head);
	cr_assert_null(conn->tx_tail);
	cr_assert_eq(conn->tx_bytes, 0);
	cr_assert_eq(env.near.count, 1);
	cr_assert_eq(env.near.bufs[0]->len, 0);
	cr_assert_eq(env.near.bufs[0]->refs, 1);
	vly_env_near_home(&env);
	cr_assert_eq(env.near.count, 0);
	cr_assert_eq(vly_buf_free_count(&env.tx_pool), BUFS);
}

Test(env, who_starves_for_buffers_finds_those_of_plain_queues_in_the_pool)
{
	struct vly_conn_head *conn = take_plain(100), *waits = take(VLY_OPENED);

	env.starved[VLY_TX_COPIES].head = env.starved[VLY_TX_COPIES].tail = vly_conn_index(waits);
	vly_env_tx_plain_done(&env, conn);
	cr_assert_eq(env.near.count, 0);
	cr_assert_eq(vly_buf_free_count(&env.tx_pool), BUFS);
}

Test(env, no_more_buffers_are_at_hand_than_there_is_room_for)
{
	struct vly_conn_head *conn = take_plain(100);

	env.near.count = VLY_TX_NEAR;
	vly_env_tx_plain_done(&env, conn);
	cr_assert_eq(env.near.count, VLY_TX_NEAR);
	cr_assert_eq(vly_buf_free_count(&env.tx_pool), BUFS);
	env.near.count = 0;
}

Test(env, the_plain_buffer_of_a_dead_connection_goes_home)
{
	struct vly_conn_head *conn = take_plain(100);

	vly_env_dead(&env, conn, -ECONNRESET);
	cr_assert_null(conn->tx_head);
	cr_assert_eq(vly_buf_free_count(&env.tx_pool), BUFS);
}
