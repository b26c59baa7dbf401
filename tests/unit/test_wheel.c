/* test_wheel.c - the timing wheel against a naive model, at its boundaries and far beyond them */
#include "base/wheel.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/hash.h"
#include "tests/support/leak.h"

static struct vly_wheel wheel;

TestSuite(wheel, .fini = vly_leak_gate);

#define SHIFT VLY_WHEEL_TICK_SHIFT
#define TICK (UINT64_C(1) << SHIFT)
/* A time with digits in every level, none of them an end of its range. */
#define START_NS ((UINT64_C(0x123456789a) << SHIFT) + 777)

/* Expects `node` to be silent at the last nanosecond before `fire_ns` and to come at that. */
static void fires_at(struct vly_wheel_node *node, uint64_t fire_ns)
{
	cr_assert(vly_wheel_valid(&wheel));
	cr_assert_null(vly_wheel_expire(&wheel, fire_ns - 1));
	cr_assert(vly_wheel_armed(node));
	cr_assert(vly_wheel_valid(&wheel));
	cr_assert_eq(vly_wheel_expire(&wheel, fire_ns), node);
	cr_assert_not(vly_wheel_armed(node));
	cr_assert_null(vly_wheel_expire(&wheel, fire_ns));
	cr_assert(vly_wheel_valid(&wheel));
}

Test(wheel, node_takes_24_bytes)
{
	cr_assert_eq(sizeof(struct vly_wheel_node), 24);
}

Test(wheel, empty_one_never_expires_and_has_no_next)
{
	vly_wheel_init(&wheel, START_NS, SHIFT);
	cr_assert_eq(vly_wheel_next(&wheel), UINT64_MAX);
	cr_assert_null(vly_wheel_expire(&wheel, START_NS));
	cr_assert_null(vly_wheel_expire(&wheel, UINT64_MAX - 1));
	cr_assert(vly_wheel_valid(&wheel));
	vly_wheel_fini(&wheel);
}

Test(wheel, deadline_fires_at_the_tick_at_or_after_it)
{
	const uint64_t tick_start = (START_NS >> SHIFT << SHIFT) + 100 * TICK;
	struct vly_wheel_node node = {0};

	for (int64_t off = -1; off <= 1; off++) {
		uint64_t deadline_ns = tick_start + off;

		vly_wheel_init(&wheel, START_NS, SHIFT);
		vly_wheel_add(&wheel, &node, deadline_ns);
		fires_at(&node, off <= 0 ? tick_start : tick_start + TICK);
	}
}

Test(wheel, every_level_boundary_fires_exactly)
{
	struct vly_wheel_node node = {0};

	/*
	 * distances of 64^k ticks and one to either side, from a start at and around multiples of
	 * the same
	 */
	for (unsigned int level = 0; level <= VLY_WHEEL_LEVELS + 1; level++) {
		uint64_t span = UINT64_C(1) << (level * VLY_WHEEL_LEVEL_BITS);

		for (int64_t from = -1; from <= 1; from++) {
			uint64_t start = 7 * span * 64 + span + from;

			for (int64_t off = -1; off <= 1; off++) {
				uint64_t expiry = start + span + off;

				if (expiry <= start)
					continue;
				vly_wheel_init(&wheel, start << SHIFT, SHIFT);
				vly_wheel_add(&wheel, &node, expiry << SHIFT);
				cr_assert_leq(vly_wheel_next(&wheel), expiry << SHIFT);
				fires_at(&node, expiry << SHIFT);
			}
		}
	}
}

Test(wheel, deadline_in_the_past_is_due_at_once)
{
	struct vly_wheel_node now = {0}, past = {0}, zero = {0};

	vly_wheel_init(&wheel, 1000 * TICK, SHIFT);
	vly_wheel_add(&wheel, &now, 1000 * TICK);
	vly_wheel_add(&wheel, &past, 999 * TICK + 1);
	vly_wheel_add(&wheel, &zero, 0);
	cr_assert_eq(vly_wheel_next(&wheel), 0);
	cr_assert(vly_wheel_valid(&wheel));
	cr_assert_eq(vly_wheel_expire(&wheel, 1000 * TICK), &now, "in the order of adding");
	cr_assert_eq(vly_wheel_expire(&wheel, 1000 * TICK), &past);
	cr_assert_eq(vly_wheel_expire(&wheel, 1000 * TICK), &zero);
	cr_assert_null(vly_wheel_expire(&wheel, 1000 * TICK));
	vly_wheel_fini(&wheel);
}

Test(wheel, far_deadlines_wait_for_days_and_fire_on_time)
{
	const uint64_t day_ns = UINT64_C(86400) * 1000000000;
	struct vly_wheel_node nodes[4] = {0};
	static const unsigned int days[] = {1, 2, 30, 3650};

	vly_wheel_init(&wheel, START_NS, SHIFT);
	for (int i = 0; i < 4; i++)
		vly_wheel_add(&wheel, &nodes[i], START_NS + days[i] * day_ns);
	for (int i = 0; i < 4; i++) {
		uint64_t deadline_ns = START_NS + days[i] * day_ns;

		fires_at(&nodes[i], (deadline_ns + TICK - 1) >> SHIFT << SHIFT);
	}
	vly_wheel_fini(&wheel);
}

Test(wheel, deadlines_at_the_end_of_time_are_kept_and_cancelled)
{
	struct vly_wheel_node last = {0}, never = {0};

	vly_wheel_init(&wheel, START_NS, SHIFT);
	vly_wheel_add(&wheel, &last, UINT64_MAX - TICK + 1); /* the start of the last tick */
	vly_wheel_add(&wheel, &never, UINT64_MAX);
	cr_assert(vly_wheel_valid(&wheel));
	fires_at(&last, UINT64_MAX - TICK + 1);
	cr_assert_null(vly_wheel_expire(&wheel, UINT64_MAX));
	cr_assert(vly_wheel_armed(&never));
	cr_assert(vly_wheel_cancel(&wheel, &never));
	vly_wheel_fini(&wheel);
}

Test(wheel, a_jump_over_everything_returns_all_in_order_of_ticks)
{
	enum {
		COUNT = 500
	};
	static struct vly_wheel_node nodes[COUNT];
	uint64_t last = 0;
	unsigned int count = 0;

	vly_wheel_init(&wheel, START_NS, SHIFT);
	for (uint64_t i = 0; i < COUNT; i++)
		vly_wheel_add(&wheel, &nodes[i],
			      START_NS + TICK + (vly_hash_u64(i) >> (20 + i % 40)));
	for (;;) {
		struct vly_wheel_node *node = vly_wheel_expire(&wheel, UINT64_MAX / 2);
		uint64_t expiry;

		if (!node)
			break;
		expiry = (node->deadline_ns + TICK - 1) >> SHIFT;
		cr_assert_geq(expiry, last);
		last = expiry;
		count++;
		cr_assert(vly_wheel_valid(&wheel));
	}
	cr_assert_eq(count, COUNT);
	vly_wheel_fini(&wheel);
}

Test(wheel, caller_may_stop_and_the_rest_stays_due)
{
	struct vly_wheel_node nodes[10] = {0};

	vly_wheel_init(&wheel, START_NS, SHIFT);
	for (int i = 0; i < 10; i++)
		vly_wheel_add(&wheel, &nodes[i], START_NS + (i < 5 ? TICK : 9 * TICK));
	for (int left = 10; left > 0; left--) {
		cr_assert_not_null(vly_wheel_expire(&wheel, START_NS + 100 * TICK));
		cr_assert(vly_wheel_valid(&wheel));
		/* next may be early, but never tells a sleeper to oversleep what is overdue */
		if (left > 1)
			cr_assert_leq(vly_wheel_next(&wheel), START_NS + 100 * TICK);
	}
	cr_assert_eq(vly_wheel_next(&wheel), UINT64_MAX);
}

Test(wheel, cancel_disarms_from_every_place)
{
	static const uint64_t distances[] = {0,      1,        63,       64,      5000,
					     300000, 20000000, 1u << 30, 1u << 31};
	enum {
		COUNT = sizeof(distances) / sizeof(distances[0])
	};
	struct vly_wheel_node nodes[COUNT][3] = {0};

	/* three of each: cancelled as middle, as first or last, and as the only one left */
	for (int round = 0; round < 6; round++) {
		static const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
						 {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};

		vly_wheel_init(&wheel, START_NS, SHIFT);
		for (int i = 0; i < COUNT; i++) {
			for (int j = 0; j < 3; j++)
				vly_wheel_add(&wheel, &nodes[i][j],
					      ((START_NS >> SHIFT) + distances[i]) << SHIFT);
		}
		cr_assert_eq(wheel.armed_count, 3 * COUNT);
		for (int i = 0; i < COUNT; i++) {
			for (int j = 0; j < 3; j++) {
				struct vly_wheel_node *node = &nodes[i][orders[round][j]];

				cr_assert(vly_wheel_cancel(&wheel, node));
				cr_assert_not(vly_wheel_armed(node));
				cr_assert_not(vly_wheel_cancel(&wheel, node));
				cr_assert(vly_wheel_valid(&wheel));
			}
		}
		cr_assert_eq(vly_wheel_next(&wheel), UINT64_MAX);
		cr_assert_null(vly_wheel_expire(&wheel, UINT64_MAX / 2));
		vly_wheel_fini(&wheel);
	}
}

Test(wheel, cancel_during_expiry_reaches_nodes_that_are_due)
{
	struct vly_wheel_node nodes[6] = {0};
	struct vly_wheel_node *first;
	int left = 0;

	vly_wheel_init(&wheel, START_NS, SHIFT);
	for (int i = 0; i < 6; i++)
		vly_wheel_add(&wheel, &nodes[i], START_NS + TICK);
	first = vly_wheel_expire(&wheel, START_NS + 5 * TICK);
	cr_assert_not_null(first);
	/* the other five stand in the due list: cancel its ends and its middle, keep the rest */
	for (int i = 0; i < 6; i += 2) {
		if (&nodes[i] != first)
			cr_assert(vly_wheel_cancel(&wheel, &nodes[i]));
		cr_assert(vly_wheel_valid(&wheel));
	}
	for (int i = 0; i < 6; i++)
		left += vly_wheel_armed(&nodes[i]);
	/* appending after the last due one was cancelled must find the new end */
	vly_wheel_add(&wheel, first, 0);
	cr_assert(vly_wheel_valid(&wheel));
	for (left++; left > 0; left--)
		cr_assert_not_null(vly_wheel_expire(&wheel, START_NS + 5 * TICK));
	cr_assert_null(vly_wheel_expire(&wheel, START_NS + 5 * TICK));
	vly_wheel_fini(&wheel);
}

Test(wheel, re_arming_an_expired_node_while_expiring_works)
{
	struct vly_wheel_node node = {0};
	uint64_t now_ns = START_NS;

	vly_wheel_init(&wheel, now_ns, SHIFT);
	vly_wheel_add(&wheel, &node, now_ns + 3 * TICK);
	for (int i = 0; i < 1000; i++) {
		struct vly_wheel_node *expired;

		now_ns += TICK;
		expired = vly_wheel_expire(&wheel, now_ns);
		cr_assert_eq(expired != NULL, i % 4 == 3, "%d", i);
		if (expired)
			vly_wheel_add(&wheel, expired, now_ns + 3 * TICK);
		cr_assert(vly_wheel_valid(&wheel));
	}
}

Test(wheel, time_that_stands_still_or_steps_back_does_no_harm)
{
	struct vly_wheel_node node = {0};

	vly_wheel_init(&wheel, START_NS, SHIFT);
	vly_wheel_add(&wheel, &node, START_NS + 200 * TICK);
	cr_assert_null(vly_wheel_expire(&wheel, START_NS + 150 * TICK));
	cr_assert_null(vly_wheel_expire(&wheel, START_NS));
	cr_assert(vly_wheel_valid(&wheel));
	cr_assert_null(vly_wheel_expire(&wheel, START_NS + 199 * TICK));
	cr_assert_eq(vly_wheel_expire(&wheel, START_NS + 201 * TICK), &node);
}

Test(wheel, step_back_after_an_expiry_does_not_turn_it_back)
{
	const uint64_t turn_ns = UINT64_C(0x1000) * TICK; /* two digits carry here */
	struct vly_wheel_node first = {0}, second = {0};

	vly_wheel_init(&wheel, turn_ns - 10 * TICK, SHIFT);
	vly_wheel_add(&wheel, &first, turn_ns);
	vly_wheel_add(&wheel, &second, turn_ns + 5 * TICK);
	cr_assert_eq(vly_wheel_expire(&wheel, turn_ns), &first);
	cr_assert_null(vly_wheel_expire(&wheel, turn_ns - TICK));
	cr_assert(vly_wheel_valid(&wheel));
	fires_at(&second, turn_ns + 5 * TICK);
}

Test(wheel, sleeping_until_next_wakes_few_times_and_never_late)
{
	struct vly_wheel_node node = {0};

	for (uint64_t i = 0; i < 2000; i++) {
		uint64_t now_ns = vly_hash_u64(i) >> 8;
		uint64_t deadline_ns = now_ns + (vly_hash_u64(~i) >> (9 + i % 50));
		uint64_t fire_ns = ((deadline_ns + TICK - 1) >> SHIFT) << SHIFT;
		uint64_t spans = ((fire_ns - now_ns) >> SHIFT >> VLY_WHEEL_SPAN_BITS) + 1;
		unsigned int wakes = 0;

		vly_wheel_init(&wheel, now_ns, SHIFT);
		vly_wheel_add(&wheel, &node, deadline_ns);
		for (;;) {
			uint64_t next_ns = vly_wheel_next(&wheel);

			cr_assert_leq(next_ns, VLY_MAX(fire_ns, now_ns));
			now_ns = VLY_MAX(now_ns, next_ns);
			wakes++;
			if (vly_wheel_expire(&wheel, now_ns))
				break;
			/* one per level, and one per 2^30 ticks of waiting: jump those */
			cr_assert_leq(wakes, VLY_WHEEL_LEVELS + 2);
			if (spans > 2)
				now_ns = VLY_MAX(now_ns, fire_ns - (TICK << VLY_WHEEL_SPAN_BITS));
		}
		cr_assert_geq(now_ns, fire_ns);
	}
}

/* ---- the naive model ---- */

#define NODES 300

static struct vly_wheel_node nodes[NODES];
static bool armed[NODES]; /* the model: a node, if armed, and its deadline */
static uint64_t deadlines[NODES];
static uint64_t seed;

static uint64_t next_random(void)
{
	seed += 0x9e3779b97f4a7c15u;
	return vly_hash_u64(seed);
}

/* Distances of every magnitude, sometimes whole ticks, sometimes in the past. */
static uint64_t deadline_random(uint64_t now_ns, uint32_t shift)
{
	uint64_t distance_ns = next_random() >> (16 + next_random() % 48);
	uint64_t deadline_ns = now_ns + distance_ns;

	switch (next_random() % 8) {
	case 0:
		return deadline_ns >> shift << shift;
	case 1:
		return now_ns - VLY_MIN(now_ns, distance_ns >> 10);
	default:
		return deadline_ns;
	}
}

static uint64_t model_fire_ns(int i, uint32_t shift)
{
	uint64_t tick_mask = (UINT64_C(1) << shift) - 1;

	return (deadlines[i] + tick_mask) & ~tick_mask;
}

/* What is armed in the model and should have come by now. */
static int model_due_count(uint64_t now_ns, uint32_t shift)
{
	int count = 0;

	for (int i = 0; i < NODES; i++)
		count += armed[i] && model_fire_ns(i, shift) <= now_ns;
	return count;
}

static void model_next_check(uint32_t shift)
{
	uint64_t earliest_ns = UINT64_MAX;

	for (int i = 0; i < NODES; i++) {
		cr_assert_eq(vly_wheel_armed(&nodes[i]), armed[i]);
		if (armed[i])
			earliest_ns = VLY_MIN(earliest_ns, model_fire_ns(i, shift));
	}
	cr_assert_leq(vly_wheel_next(&wheel), earliest_ns);
	cr_assert_eq(vly_wheel_next(&wheel) == UINT64_MAX, earliest_ns == UINT64_MAX);
}

/* Expires up to `batch` nodes, each of which the model must have due. */
static void model_expire(uint64_t now_ns, uint32_t shift, int batch)
{
	int due = model_due_count(now_ns, shift);

	for (int taken = 0; taken < batch; taken++) {
		struct vly_wheel_node *node = vly_wheel_expire(&wheel, now_ns);
		long i;

		if (!node) {
			cr_assert_eq(due, 0, "%d nodes are overdue", due);
			return;
		}
		i = node - nodes;
		cr_assert(armed[i], "expired though not armed");
		cr_assert_geq(now_ns, deadlines[i], "early");
		cr_assert_leq(model_fire_ns((int)i, shift), now_ns);
		armed[i] = false;
		due--;
		/* cancelling and re-arming from within the batch */
		if (next_random() % 4 == 0) {
			int other = (int)(next_random() % NODES);

			if (armed[other] && model_fire_ns(other, shift) <= now_ns)
				due--;
			cr_assert_eq(vly_wheel_cancel(&wheel, &nodes[other]), armed[other]);
			armed[other] = false;
		}
	}
}

static void model_run(uint64_t seed_start, uint32_t shift, int operations)
{
	uint64_t now_ns;

	seed = seed_start;
	now_ns = next_random() >> 12;
	memset(nodes, 0, sizeof(nodes));
	memset(armed, 0, sizeof(armed));
	vly_wheel_init(&wheel, now_ns, shift);
	for (int op = 0; op < operations; op++) {
		int i = (int)(next_random() % NODES);

		switch (next_random() % 4) {
		case 0:
		case 1:
			if (armed[i]) {
				cr_assert(vly_wheel_cancel(&wheel, &nodes[i]));
				armed[i] = false;
				break;
			}
			deadlines[i] = deadline_random(now_ns, shift);
			vly_wheel_add(&wheel, &nodes[i], deadlines[i]);
			armed[i] = true;
			break;
		case 2:
			now_ns += next_random() >> (17 + next_random() % 47);
			model_expire(now_ns, shift, NODES * 2);
			break;
		default:
			model_expire(now_ns, shift, (int)(next_random() % 4));
			break;
		}
		cr_assert(vly_wheel_valid(&wheel), "seed %llu, operation %d",
			  (unsigned long long)seed_start, op);
		model_next_check(shift);
	}
}

Test(wheel, random_operations_agree_with_a_naive_model)
{
	for (uint64_t s = 1; s <= 8; s++)
		model_run(s, SHIFT, 3000);
}

Test(wheel, other_ticks_agree_with_the_model_too)
{
	model_run(100, 0, 3000);
	model_run(101, 3, 3000);
	model_run(102, 30, 3000);
}

Test(wheel, valid_finds_broken_links_and_bits)
{
	struct vly_wheel_node near = {0}, far = {0};
	struct vly_wheel_node **link;

	vly_wheel_init(&wheel, START_NS, SHIFT);
	vly_wheel_add(&wheel, &near, START_NS + 3 * TICK);
	vly_wheel_add(&wheel, &far, START_NS + (TICK << 32));
	cr_assert(vly_wheel_valid(&wheel));
	wheel.occupied[0] ^= 2;
	cr_assert_not(vly_wheel_valid(&wheel));
	wheel.occupied[0] ^= 2;
	wheel.armed_count++;
	cr_assert_not(vly_wheel_valid(&wheel));
	wheel.armed_count--;
	link = near.pprev;
	near.pprev = &wheel.far;
	cr_assert_not(vly_wheel_valid(&wheel));
	near.pprev = link;
	near.deadline_ns += TICK;
	cr_assert_not(vly_wheel_valid(&wheel));
	near.deadline_ns -= TICK;
	wheel.next_ns = UINT64_MAX;
	cr_assert_not(vly_wheel_valid(&wheel));
	wheel.next_ns = 0;
	cr_assert(vly_wheel_valid(&wheel));
}
