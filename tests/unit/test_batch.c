/* test_batch.c - the array of completions, chained per connection */
#include "nic/batch.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/leak.h"

#define EVENTS 16u

static struct vly_event events[EVENTS];
static uint32_t chain[EVENTS];
static struct vly_batch batch;
static struct vly_conn_head a, b;

static void setup(void)
{
	batch = (struct vly_batch){
		.events = events, .chain = chain, .max = EVENTS, .seq = 1, .stamp_ns = 42};
	memset(chain, 0x5a, sizeof(chain));
	a = (struct vly_conn_head){.handle = vly_conn_name(0, 1, 0), .user = &a};
	b = (struct vly_conn_head){.handle = vly_conn_name(0, 9, 1), .user = &b};
}

TestSuite(batch, .init = setup, .fini = vly_leak_gate);

static struct vly_event *add(struct vly_conn_head *conn, enum vly_kind kind)
{
	return vly_batch_add_conn(&batch, conn, kind);
}

/* As the engine does between polls. */
static void next(uint32_t seq)
{
	batch.count = 0;
	batch.seq = seq;
}

Test(batch, event_without_a_connection_is_blank_but_for_kind_and_stamp)
{
	memset(events, 0xff, sizeof(events));
	struct vly_event *event = vly_batch_add(&batch, VLY_TIMER);

	cr_assert_eq(event, &events[0]);
	cr_assert_eq(event->kind, VLY_TIMER);
	cr_assert_eq(event->stamp_ns, 42);
	cr_assert_eq(event->buf, VLY_NO_BUF);
	cr_assert_eq(event->conn, 0);
	cr_assert_null(event->user);
	cr_assert_null(event->data);
	cr_assert_eq(event->len, 0);
	cr_assert_eq(event->status, 0);
	cr_assert_eq(event->flags, 0);
	cr_assert_eq(event->aux, 0);
}

Test(batch, event_of_a_connection_carries_handle_and_user)
{
	struct vly_event *event = add(&b, VLY_DATA);

	cr_assert_eq(event->conn, b.handle);
	cr_assert_eq(event->user, &b);
	cr_assert_eq(b.last_event, 0);
	cr_assert_eq(chain[0], VLY_NO_EVENT);
}

Test(batch, is_full_at_its_maximum)
{
	for (unsigned i = 0; i < EVENTS; i++) {
		cr_assert_not(vly_batch_full(&batch));
		vly_batch_add(&batch, VLY_TIMER);
	}
	cr_assert(vly_batch_full(&batch));
}

Test(batch, chain_links_the_events_of_one_connection_only)
{
	add(&a, VLY_DATA);
	add(&b, VLY_DATA);
	vly_batch_add(&batch, VLY_TIMER);
	add(&a, VLY_DATA);
	add(&a, VLY_EOF);
	cr_assert_eq(a.last_event, 4);
	cr_assert_eq(chain[4], 3);
	cr_assert_eq(chain[3], 0);
	cr_assert_eq(chain[0], VLY_NO_EVENT);
	cr_assert_eq(b.last_event, 1);
	cr_assert_eq(chain[1], VLY_NO_EVENT);
}

Test(batch, blanking_spares_open_sent_closed_and_all_others)
{
	static const enum vly_kind kinds[] = {VLY_DATA,  VLY_SENT,  VLY_EOF,    VLY_DRAINED,
					      VLY_DGRAM, VLY_READY, VLY_CLOSED, VLY_OPEN};
	const unsigned count = sizeof(kinds) / sizeof(kinds[0]);

	for (unsigned i = 0; i < count; i++) {
		add(&a, kinds[i]);
		add(&b, kinds[i]);
	}
	vly_batch_blank(&batch, &a);
	for (unsigned i = 0; i < count; i++) {
		bool stays = kinds[i] == VLY_SENT || kinds[i] == VLY_CLOSED || kinds[i] == VLY_OPEN;

		cr_assert_eq(events[2 * i].kind, stays ? kinds[i] : VLY_NONE, "%u", i);
		cr_assert_eq(events[2 * i + 1].kind, kinds[i], "%u", i);
	}
}

Test(batch, blanking_a_connection_without_events_touches_nothing)
{
	add(&a, VLY_DATA);
	vly_batch_blank(&batch, &b);
	cr_assert_eq(events[0].kind, VLY_DATA);
}

Test(batch, chain_of_an_earlier_batch_is_forgotten)
{
	add(&a, VLY_DATA);
	add(&a, VLY_DATA);
	next(2);
	add(&b, VLY_DATA);
	add(&b, VLY_DATA);
	vly_batch_blank(&batch, &a);
	cr_assert_eq(events[0].kind, VLY_DATA, "the place is another's now");
	cr_assert_eq(events[1].kind, VLY_DATA);
	add(&a, VLY_DATA);
	cr_assert_eq(chain[2], VLY_NO_EVENT);
	vly_batch_blank(&batch, &a);
	cr_assert_eq(events[2].kind, VLY_NONE);
	cr_assert_eq(events[1].kind, VLY_DATA);
}

Test(batch, wrap_of_its_number_forgets_the_chain_too)
{
	next(UINT32_MAX);
	add(&a, VLY_DATA);
	next(1); /* 0 is left out: it is what a fresh record says */
	add(&b, VLY_DATA);
	vly_batch_blank(&batch, &a);
	cr_assert_eq(events[0].kind, VLY_DATA);
	add(&a, VLY_DATA);
	cr_assert_eq(chain[1], VLY_NO_EVENT);
}

Test(batch, fresh_record_belongs_to_no_batch)
{
	struct vly_conn_head fresh = {.handle = vly_conn_name(0, 1, 0)};

	add(&a, VLY_DATA);
	vly_batch_blank(&batch, &fresh);
	cr_assert_eq(events[0].kind, VLY_DATA);
	add(&fresh, VLY_OPEN);
	cr_assert_eq(chain[1], VLY_NO_EVENT);
}
