/* test_wire_impair.c - faults: as many as asked for, the same from the same seed, and nothing else */
#include "nic/inet/wire_impair.h"

#include <stdio.h>

#include "tests/support/leak.h"
#include "tests/support/wire_rig.h"

TestSuite(wire_impair, .fini = vly_leak_gate, .timeout = 120);

#define MS 1000000ull

struct pair {
	struct wire_rig rig;
	struct vly_wire *a, *b;
};

static void open_pair(struct pair *p, const char *options)
{
	static char text[200]; /* the rig's config points to it */

	snprintf(text, sizeof(text), "inet:impair,hub%s", options);
	rig_open(&p->rig, text, 2);
	p->a = rig_wire(&p->rig, 0);
	p->b = rig_wire(&p->rig, 1);
}

static void close_pair(struct pair *p)
{
	p->a->ops->close(p->a);
	p->b->ops->close(p->b);
	rig_close(&p->rig);
}

/* What became of frames sent one every 10 us. */
struct fate {
	uint32_t received, spoilt, doubled, overtaken;
	uint64_t sum; /* of what was received, in its order */
};

static struct fate run(const char *options, uint32_t count)
{
	static uint8_t seen[20000];
	struct pair p;
	struct fate fate = {0};
	struct vly_frame frames[64];
	uint32_t last = 0;

	cr_assert_leq(count, sizeof(seen));
	memset(seen, 0, sizeof(seen));
	open_pair(&p, options);
	for (uint32_t i = 0; i < count + 1000; i++) {
		uint64_t now_ns = i * 10000ull;

		if (i < count)
			cr_assert_eq(wire_send(p.a, p.b->mac, 100, i, 1, now_ns), 1);
		uint32_t got = wire_receive(p.b, frames, 64, now_ns);

		for (uint32_t f = 0; f < got; f++) {
			uint32_t number = frame_number(&frames[f]);

			fate.received++;
			fate.sum = fate.sum * 31 + number;
			if (number >= count || !frame_intact(&frames[f], 100)) {
				fate.spoilt++;
				continue;
			}
			fate.doubled += seen[number]++ > 0;
			fate.overtaken += number < last;
			last = VLY_MAX(last, number);
		}
	}
	cr_assert_not(p.b->ops->has_work(p.b, UINT64_MAX));
	close_pair(&p);
	return fate;
}

Test(wire_impair, without_faults_nothing_happens)
{
	struct fate fate = run("", 5000);

	cr_assert_eq(fate.received, 5000);
	cr_assert_eq(fate.spoilt + fate.doubled + fate.overtaken, 0);
}

Test(wire_impair, loses_as_many_as_asked_for)
{
	struct fate fate = run(",loss=0.1", 20000);

	cr_assert(fate.received > 17700 && fate.received < 18300, "%u", fate.received);
	cr_assert_eq(fate.spoilt + fate.doubled + fate.overtaken, 0);
	cr_assert_eq(run(",loss=1", 100).received, 0);
}

Test(wire_impair, doubles_as_many_as_asked_for)
{
	struct fate fate = run(",dup=0.05", 20000);

	cr_assert(fate.doubled > 850 && fate.doubled < 1150, "%u", fate.doubled);
	cr_assert_eq(fate.received, 20000 + fate.doubled);
	cr_assert_eq(fate.spoilt, 0);
}

Test(wire_impair, corrupts_one_bit_of_as_many_as_asked_for)
{
	struct fate fate = run(",corrupt=0.1", 20000);

	/* a bit of the addresses is not looked at here: 14 of 100 bytes */
	cr_assert(fate.spoilt > 1500 && fate.spoilt < 1950, "%u", fate.spoilt);
	cr_assert_eq(fate.received, 20000);
}

Test(wire_impair, reorders_as_many_as_asked_for)
{
	struct fate fate = run(",reorder=0.02,late=500", 20000);

	cr_assert(fate.overtaken > 300 && fate.overtaken < 500, "%u", fate.overtaken);
	cr_assert_eq(fate.received, 20000);
}

Test(wire_impair, jitter_alone_reorders_nothing)
{
	struct fate fate = run(",delay=100,jitter=1000", 20000);

	cr_assert_eq(fate.received, 20000);
	cr_assert_eq(fate.overtaken, 0);
}

Test(wire_impair, the_same_seed_gives_the_same_faults)
{
	const char *options = ",loss=0.05,dup=0.05,corrupt=0.05,reorder=0.05,jitter=300";

	cr_assert_eq(run(options, 5000).sum, run(options, 5000).sum);
}

Test(wire_impair, a_frame_is_seen_when_its_delay_is_over_and_next_ns_says_when)
{
	struct pair p;
	struct vly_frame frames[4];

	open_pair(&p, ",delay=1000");
	cr_assert_eq(p.b->ops->next_ns(p.b), UINT64_MAX);
	wire_send(p.a, p.b->mac, 100, 1, 1, 5 * MS);
	cr_assert(p.b->ops->has_work(p.b, 5 * MS));
	cr_assert_eq(wire_receive(p.b, frames, 4, 5 * MS), 0);
	cr_assert_eq(p.b->ops->next_ns(p.b), 6 * MS);
	cr_assert_not(p.b->ops->has_work(p.b, 6 * MS - 1));
	cr_assert(p.b->ops->arm(p.b, 6 * MS - 1, false));
	p.b->ops->disarm(p.b);
	cr_assert_not(p.b->ops->arm(p.b, 6 * MS, false));
	cr_assert_eq(wire_receive(p.b, frames, 4, 6 * MS - 1), 0);
	cr_assert_eq(wire_receive(p.b, frames, 4, 6 * MS), 1);
	close_pair(&p);
}

Test(wire_impair, more_than_the_limit_on_its_way_is_lost_and_counted)
{
	struct pair p;
	struct vly_frame frames[64];
	uint32_t received = 0, got;

	open_pair(&p, ",delay=1000,limit=50");
	cr_assert_eq(wire_send(p.a, p.b->mac, 100, 0, 60, 0), 60);
	cr_assert_eq(wire_receive(p.b, frames, 64, 0), 0);
	cr_assert_eq(p.b->rx_dropped, 10);
	while ((got = wire_receive(p.b, frames, 7, MS)))
		received += got;
	cr_assert_eq(received, 50);
	/* all of them came home */
	cr_assert_eq(wire_send(p.a, p.b->mac, 100, 0, 60, MS), 60);
	cr_assert_eq(wire_receive(p.b, frames, 64, MS), 0);
	cr_assert_eq(wire_receive(p.b, frames, 64, 2 * MS), 50);
	close_pair(&p);
}

Test(wire_impair, a_link_that_goes_down_and_comes_back_loses_what_is_sent_meanwhile)
{
	struct pair p;
	struct vly_frame frames[4];

	open_pair(&p, ",up=10,down=5");
	cr_assert_eq(wire_receive(p.b, frames, 4, 9 * MS), 0);
	cr_assert(p.b->link_up);
	cr_assert_eq(wire_send(p.a, p.b->mac, 100, 1, 1, 9 * MS), 1);
	cr_assert_eq(wire_receive(p.b, frames, 4, 9 * MS), 1);
	cr_assert_eq(wire_send(p.a, p.b->mac, 100, 2, 1, 12 * MS), 1);
	cr_assert_eq(p.a->tx_dropped, 1);
	cr_assert_not(p.a->link_up);
	cr_assert_eq(wire_receive(p.b, frames, 4, 12 * MS), 0);
	cr_assert_not(p.b->link_up);
	cr_assert_eq(wire_send(p.a, p.b->mac, 100, 3, 1, 16 * MS), 1);
	cr_assert_eq(wire_receive(p.b, frames, 4, 16 * MS), 1);
	cr_assert_eq(frame_number(&frames[0]), 3);
	close_pair(&p);
}

Test(wire_impair, options_that_cannot_be_are_refused)
{
	static const char *const wrong[] = {"loss=2",  "loss=x",      "loss=-1", "loss=0.5x",
					    "limit=0", "up=5",        "down=5",  "delay=-1",
					    "dup=",    "corrupt=1.01"};
	struct vly_nic_spec spec;
	const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1];

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char why[200] = "", text[100];

		snprintf(text, sizeof(text), "inet:impair,hub,%s", wrong[i]);
		cr_assert_eq(vly_spec_parse(&spec, text, why, sizeof(why)), 0);
		cr_assert_eq(vly_wire_resolve(&spec, stack, why, sizeof(why)), 0);
		cr_assert_lt(stack[0]->check(&spec, stack, why, sizeof(why)), 0, "%s", wrong[i]);
		cr_assert_str_neq(why, "");
	}
}
