/* test_conn.c - taking and retiring the records of connections */
#include "nic/conn.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/leak.h"

#define RECORD_BYTES 128u
#define RECORDS 4u

static struct vly_conn_table table;

static void setup(void)
{
	memset(&table, 0, sizeof(table));
	table.base = aligned_alloc(VLY_CACHE_LINE, RECORDS * RECORD_BYTES);
	memset(table.base, 0, RECORDS * RECORD_BYTES);
	table.record_bytes = RECORD_BYTES;
	table.count = RECORDS;
	table.core = 5;
	cr_assert_eq(vly_slab_init(&table.slab, table.base, RECORDS, RECORD_BYTES,
				   offsetof(struct vly_conn_head, tx_head)),
		     0);
}

static void teardown(void)
{
	vly_slab_fini(&table.slab);
	free(table.base);
	vly_leak_gate();
}

TestSuite(conn, .init = setup, .fini = teardown);

static struct vly_conn_head *take(void)
{
	return vly_conn_take(&table, VLY_STREAM, VLY_OPENED, NULL, 0);
}

static void retire(struct vly_conn_head *conn)
{
	conn->state = VLY_DEAD;
	vly_conn_retire(&table, conn);
}

Test(conn, taken_one_is_clean_but_for_what_was_said)
{
	int user;
	struct vly_conn_head *conn = vly_conn_take(&table, VLY_UDP, VLY_CONNECTING, &user, 12345);

	cr_assert_eq(conn->type, VLY_UDP);
	cr_assert_eq(conn->state, VLY_CONNECTING);
	cr_assert_eq(conn->user, &user);
	cr_assert_eq(conn->tx_budget, 12345);
	cr_assert_eq(conn->flags, 0);
	cr_assert_eq(conn->tx_bytes, 0);
	cr_assert_null(conn->tx_head);
	cr_assert_eq(vly_conn_index(conn), 0);
	cr_assert_eq(conn->starved_next, VLY_NO_SLOT);
	cr_assert_eq(conn->starved_prev, VLY_NO_SLOT);
	retire(conn);
}

Test(conn, nothing_of_the_previous_one_is_left_even_in_the_nics_part)
{
	struct vly_conn_head *conn = take();
	uint32_t generation = vly_conn_generation(conn->handle);

	memset((uint8_t *)conn + sizeof(*conn), 0xff, RECORD_BYTES - sizeof(*conn));
	conn->flags = 0xffff;
	conn->batch_seq = 77;
	conn->tx_bytes = 99;
	retire(conn);
	cr_assert_eq(take(), conn);
	cr_assert_eq(vly_conn_generation(conn->handle), generation + 1);
	cr_assert_eq(conn->flags, 0);
	cr_assert_eq(conn->batch_seq, 0);
	cr_assert_eq(conn->tx_bytes, 0);
	for (size_t i = sizeof(*conn); i < RECORD_BYTES; i++)
		cr_assert_eq(((uint8_t *)conn)[i], 0);
	retire(conn);
}

Test(conn, handle_holds_core_generation_and_slot)
{
	struct vly_conn_head *first = take(), *second = take();
	vly_conn handle = second->handle;

	cr_assert_eq(vly_conn_core(handle), 5);
	cr_assert_eq(vly_conn_slot(handle), 1);
	cr_assert_eq(vly_conn_generation(handle), 1);
	cr_assert_eq(vly_conn_find(&table, handle), second);
	retire(first);
	retire(second);
}

Test(conn, full_table_gives_none)
{
	struct vly_conn_head *conns[RECORDS];

	for (unsigned i = 0; i < RECORDS; i++) {
		conns[i] = take();
		cr_assert_not_null(conns[i]);
		cr_assert_eq(vly_conn_index(conns[i]), i);
	}
	cr_assert_null(take());
	retire(conns[2]);
	cr_assert_eq(take(), conns[2]);
	for (unsigned i = 0; i < RECORDS; i++)
		retire(conns[i]);
}

Test(conn, stale_handle_finds_nothing_free_or_reused)
{
	struct vly_conn_head *conn = take();
	vly_conn handle = conn->handle;

	retire(conn);
	cr_assert_null(vly_conn_find(&table, handle));
	cr_assert_eq(take(), conn);
	cr_assert_null(vly_conn_find(&table, handle));
	cr_assert_neq(conn->handle, handle);
	retire(conn);
}

Test(conn, handle_of_a_slot_never_used_or_beyond_the_table_finds_nothing)
{
	cr_assert_null(vly_conn_find(&table, 0));
	cr_assert_null(vly_conn_find(&table, (vly_conn)1 << VLY_SLOT_BITS | 3));
	cr_assert_null(vly_conn_find(&table, (vly_conn)1 << VLY_SLOT_BITS | RECORDS));
	cr_assert_null(vly_conn_find(&table, UINT64_MAX));
}

Test(conn, generation_wraps_past_30_bits_and_is_never_0)
{
	struct vly_conn_head *conn = take();
	vly_conn last;

	conn->handle = vly_conn_name(5, VLY_GENERATION_MAX - 1, 0);
	retire(conn);
	cr_assert_eq(vly_conn_generation(take()->handle), VLY_GENERATION_MAX);
	last = conn->handle;
	cr_assert_eq(vly_conn_core(last), 5, "the generation stays out of the core's bits");
	cr_assert_eq(vly_conn_find(&table, last), conn);
	retire(conn);
	cr_assert_eq(vly_conn_generation(take()->handle), 1);
	cr_assert_null(vly_conn_find(&table, last));
	cr_assert_eq(vly_conn_find(&table, conn->handle), conn);
	retire(conn);
}

Test(conn, first_generation_of_another_opening_is_another_one)
{
	table.first_generation = 3u << 20;
	struct vly_conn_head *conn = take();

	cr_assert_eq(vly_conn_generation(conn->handle), (3u << 20) + 1);
	retire(conn);
	cr_assert_eq(vly_conn_generation(take()->handle), (3u << 20) + 2);
	retire(conn);
}

Test(conn, first_generation_wraps_too_and_is_never_0)
{
	table.first_generation = 4095u << 20 | 0xfffff; /* more than 30 bits, all set */
	struct vly_conn_head *conn = take();

	cr_assert_eq(vly_conn_generation(conn->handle), 1);
	retire(conn);
}

Test(conn, slots_and_cores_at_their_limits_make_distinct_handles)
{
	struct vly_conn_head *conn = take();
	vly_conn handle = vly_conn_name(255, VLY_GENERATION_MAX, (1u << VLY_SLOT_BITS) - 2);

	cr_assert_eq(vly_conn_core(handle), 255);
	cr_assert_eq(vly_conn_slot(handle), (1u << VLY_SLOT_BITS) - 2);
	cr_assert_null(vly_conn_find(&table, handle), "beyond this table");
	retire(conn);
}
