/* test_keepup_search.c - the search finds a consumer's limit to 1%, and asks the same questions every time */
#include "bench/keepup_search.h"

#include <math.h>

#include "tests/support/leak.h"

TestSuite(keepup_search, .fini = vly_leak_gate);

#define START 10e3
#define MIN 100.0
#define MAX 40e6

/* Runs a search against a consumer that keeps up with `limit`; how many trials it took. */
static unsigned int run(struct search *search, double limit, double confirm_limit)
{
	unsigned int trials = 0;

	search_begin(search, START, MIN, MAX);
	while (search->phase != SEARCH_DONE) {
		double holds = search->phase == SEARCH_CONFIRMING ? confirm_limit : limit;

		cr_assert_lt(trials++, 100u);
		search_tell(search, search->rate <= holds);
	}
	return trials;
}

Test(keepup_search, any_limit_is_found_to_one_percent)
{
	struct search search;

	for (double limit = 150; limit < MAX; limit *= 1.37) {
		run(&search, limit, limit);
		cr_assert(search.confirmed);
		cr_assert_leq(search.rate, limit);
		cr_assert_gt(search.rate * 1.011 + 1, limit, "%f of %f", search.rate, limit);
	}
}

Test(keepup_search, the_highest_rate_is_a_lower_bound)
{
	struct search search;

	run(&search, 1e12, 1e12);
	cr_assert_eq(search.rate, MAX);
	cr_assert(search.at_max);
	cr_assert(search.confirmed);
}

Test(keepup_search, who_fails_at_the_lowest_rate_gets_zero)
{
	struct search search;

	run(&search, 99, 99);
	cr_assert_eq(search.rate, 0);
	cr_assert_not(search.confirmed);
}

Test(keepup_search, a_confirmation_that_fails_steps_down)
{
	struct search search;

	run(&search, 1e6, 0.9e6);
	cr_assert(search.confirmed);
	cr_assert_leq(search.rate, 0.9e6);
	cr_assert_gt(search.rate, 0.9e6 * SEARCH_STEP_DOWN * SEARCH_STEP_DOWN);
}

Test(keepup_search, what_never_confirms_says_so)
{
	struct search search;

	run(&search, 1e6, 0);
	cr_assert_eq(search.confirms, SEARCH_CONFIRMS_MAX);
	cr_assert_not(search.confirmed);
}

Test(keepup_search, rates_are_whole_numbers_so_that_a_resumed_search_finds_them)
{
	struct search search;

	search_begin(&search, START, MIN, MAX);
	while (search.phase != SEARCH_DONE) {
		cr_assert_eq(search.rate, floor(search.rate));
		search_tell(&search, search.rate <= 123456.7);
	}
}

Test(keepup_search, what_is_left_is_never_below_what_comes_once_it_bisects)
{
	struct search search;
	unsigned int left = 0, trials = 0;

	search_begin(&search, START, MIN, MAX);
	while (search.phase != SEARCH_DONE) {
		if (search.phase == SEARCH_BISECTING && !left)
			left = search_left(&search);
		trials += left > 0;
		search_tell(&search, search.rate <= 777777);
	}
	cr_assert_leq(trials, left);
}
