/* test_uring_pace.c - how long an enter waits follows what the last ones brought, within bounds */
#include <criterion/criterion.h>

#include "nic/uring/pace.h"
#include "tests/support/leak.h"

TestSuite(uring_pace, .fini = vly_leak_gate, .timeout = 20);

#define COUNT_MAX 512
#define CONNS 10000

static struct uring_wait after(uint32_t brought, unsigned times, int64_t timeout_ns, bool more)
{
	struct uring_pace pace;
	struct uring_wait wait;

	uring_pace_init(&pace, COUNT_MAX);
	for (unsigned i = 0; i < times; i++)
		uring_pace_learn(&pace, brought, more);
	uring_pace_next(&pace, timeout_ns, CONNS, &wait);
	return wait;
}

Test(uring_pace, fresh_or_idle_waits_for_one_and_never_for_a_batch)
{
	for (uint32_t brought = 0; brought <= 10; brought++) {
		struct uring_wait wait = after(brought, 50, -1, false);

		cr_assert_eq(wait.count, 1);
		cr_assert_eq(wait.min_wait_us, 0);
	}
}

Test(uring_pace, without_a_timeout_an_idle_one_does_not_wait_at_all)
{
	cr_assert_eq(after(1, 50, 0, false).count, 0);
	cr_assert_eq(after(1, 50, 0, false).timeout_ns, 0);
}

Test(uring_pace, busy_lifts_the_kernels_cap_and_bounds_the_wait)
{
	struct uring_wait wait = after(200, 50, -1, false);

	cr_assert_gt(wait.count, PACE_CAP);
	cr_assert_leq(wait.count, 200);
	cr_assert_gt(wait.min_wait_us, 0);
	cr_assert_leq(wait.min_wait_us, 100);
}

Test(uring_pace, never_waits_for_more_than_a_batch_holds)
{
	cr_assert_leq(after(100000, 100, -1, true).count, COUNT_MAX);
}

Test(uring_pace, grows_past_the_cap_of_twenty_by_itself)
{
	struct uring_pace pace;
	struct uring_wait wait;
	uint32_t ready = 400, most = 0;

	uring_pace_init(&pace, COUNT_MAX);
	for (unsigned i = 0; i < 60; i++) {
		uring_pace_next(&pace, -1, CONNS, &wait);
		/* What the kernel does: max(20, count) pieces of work, as far as there are any. */
		uint32_t brought = VLY_MIN(VLY_MAX(PACE_CAP, wait.count), ready);

		uring_pace_learn(&pace, brought, brought < ready);
		most = VLY_MAX(most, brought);
	}
	cr_assert_eq(most, ready);
}

Test(uring_pace, batch_is_a_part_of_the_connections_so_that_both_ends_work_at_once)
{
	struct uring_pace pace;
	struct uring_wait wait;

	uring_pace_init(&pace, COUNT_MAX);
	uring_pace_learn(&pace, 400, true);
	for (uint32_t conns = 0; conns < 2000; conns += 50) {
		uring_pace_next(&pace, -1, conns, &wait);
		cr_assert_geq(wait.count, 1);
		cr_assert(wait.count == 1 || wait.count <= conns / 2);
	}
}
