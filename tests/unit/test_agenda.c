/* test_agenda.c - a heap gives things out in the order of their times */
#include "bench/agenda.h"

#include "tests/support/leak.h"

TestSuite(agenda, .fini = vly_leak_gate);

static uint64_t next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return *state >> 33;
}

Test(agenda, empty_is_never_due)
{
	struct agenda agenda;

	cr_assert_eq(agenda_init(&agenda, 1), 0);
	cr_assert_eq(agenda_next_ns(&agenda), UINT64_MAX);
	agenda_fini(&agenda);
	agenda_fini(&agenda);
}

Test(agenda, everything_comes_once_in_order)
{
	static bool seen[1000];
	struct agenda agenda;
	uint64_t state = 5, last_ns = 0;

	cr_assert_eq(agenda_init(&agenda, 1000), 0);
	for (uint32_t i = 0; i < 1000; i++) {
		agenda_push(&agenda, next(&state) % 300, i); /* many at once */
		cr_assert(agenda_valid(&agenda));
	}
	for (int i = 0; i < 1000; i++) {
		uint64_t due_ns = agenda_next_ns(&agenda);
		uint32_t index = agenda_pop(&agenda);

		cr_assert_leq(last_ns, due_ns);
		cr_assert_not(seen[index]);
		cr_assert(agenda_valid(&agenda));
		seen[index] = true;
		last_ns = due_ns;
	}
	cr_assert_eq(agenda_next_ns(&agenda), UINT64_MAX);
	agenda_fini(&agenda);
}

Test(agenda, what_is_pushed_in_between_finds_its_place)
{
	struct agenda agenda;
	uint64_t state = 9, now_ns = 0;

	cr_assert_eq(agenda_init(&agenda, 64), 0);
	for (uint32_t i = 0; i < 64; i++)
		agenda_push(&agenda, i, i);
	for (int i = 0; i < 10000; i++) {
		uint32_t index;

		cr_assert_geq(agenda_next_ns(&agenda), now_ns);
		now_ns = agenda_next_ns(&agenda);
		index = agenda_pop(&agenda);
		agenda_push(&agenda, now_ns + next(&state) % 1000, index);
		cr_assert(agenda_valid(&agenda));
	}
	cr_assert_eq(agenda.count + agenda.line_count, 64);
	agenda_fini(&agenda);
}

Test(agenda, delaying_the_first_is_a_pop_and_a_push)
{
	static int seen[64];
	struct agenda agenda;
	uint64_t state = 11, now_ns = 0;

	cr_assert_eq(agenda_init(&agenda, 64), 0);
	for (uint32_t i = 0; i < 64; i++)
		agenda_push(&agenda, i, i);
	for (int i = 0; i < 10000; i++) {
		uint32_t first = agenda_first(&agenda);

		cr_assert_geq(agenda_next_ns(&agenda), now_ns);
		now_ns = agenda_next_ns(&agenda);
		agenda_delay(&agenda, now_ns + next(&state) % 100);
		cr_assert(agenda_valid(&agenda));
		cr_assert_eq(agenda.count + agenda.line_count, 64);
		seen[first]++;
	}
	for (int i = 0; i < 64; i++)
		cr_assert_gt(seen[i], 0);
	agenda_fini(&agenda);
}

Test(agenda, evenly_spaced_things_stay_out_of_the_heap)
{
	struct agenda agenda;

	cr_assert_eq(agenda_init(&agenda, 7), 0);
	for (uint32_t i = 0; i < 7; i++)
		agenda_push(&agenda, i, i);
	for (uint32_t i = 0; i < 100; i++) {
		cr_assert_eq(agenda_first(&agenda), i % 7);
		cr_assert_eq(agenda_next_ns(&agenda), i);
		agenda_delay(&agenda, i + 7);
		cr_assert_eq(agenda.count, 0);
	}
	agenda_fini(&agenda);
}
