/* test_comparison.c - verdicts on rows, and the sentences that tell them */
#include "bench/comparison.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/leak.h"
#include "tests/support/runs.h"

TestSuite(comparison, .fini = vly_leak_gate);

#define BLOCKS 6

/* Blocks of "a" and others that cost so many times as much, give or take half a percent. */
static size_t fill(struct run_result *runs, const char *const *names, const double *factors,
		   size_t count)
{
	size_t used = 0;

	for (uint32_t block = 1; block <= BLOCKS; block++)
		for (size_t i = 0; i < count; i++) {
			double noise = (block + i) % 2 ? 1.0025 : 0.9975;
			/* What a block has in common cancels. */
			runs[used++] = run_made_up(names[i], block, block * factors[i] * noise);
		}
	return used;
}

static const char *printed(const char *const *names, size_t names_count,
			   const struct run_result *runs, size_t runs_count)
{
	static char text[8192];

	memset(text, 0, sizeof(text));
	FILE *out = fmemopen(text, sizeof(text) - 1, "w");
	cr_assert_not_null(out);
	comparison_print_rows(out, names, names_count, runs, runs_count);
	fclose(out);
	return text;
}

Test(comparison, every_row_is_judged_against_the_first_by_both_figures)
{
	const char *const names[] = {"a", "b", "c", "d"};
	struct run_result runs[64];
	size_t count = fill(runs, names, (const double[]){1, 1.1, 0.8, 1.0}, 4);
	const char *text = printed(names, 4, runs, count);

	cr_assert_not_null(strstr(text, "b is SLOWER than a by CPU per message: 1.1"), "%s", text);
	cr_assert_not_null(strstr(text, "c is FASTER than a by CPU per message: 0.8"), "%s", text);
	cr_assert_not_null(strstr(text, "d is EQUIVALENT to a by CPU per message"), "%s", text);
	cr_assert_not_null(strstr(text, "b is SLOWER than a by rate: 0.9"), "%s", text);
	cr_assert_not_null(strstr(text, "c is FASTER than a by rate: 1.25"), "%s", text);
	cr_assert_not_null(strstr(text, "with 95% confidence, 6 blocks"), "%s", text);
}

Test(comparison, below_five_blocks_nothing_is_said)
{
	const char *const names[] = {"a", "b"};
	struct run_result runs[64];

	fill(runs, names, (const double[]){1, 2}, 2);
	cr_assert_str_empty(printed(names, 2, runs, 8));
	cr_assert_not_null(strstr(printed(names, 2, runs, 10), "SLOWER"));
}

Test(comparison, rates_of_a_saturated_load_are_not_judged)
{
	const char *const names[] = {"a", "b"};
	struct run_result runs[64];
	size_t count = fill(runs, names, (const double[]){1, 2}, 2);

	runs[3].limited = "client";
	const char *text = printed(names, 2, runs, count);
	cr_assert_not_null(strstr(text, "by CPU per message"), "%s", text);
	cr_assert_null(strstr(text, "by rate"), "%s", text);
}

Test(comparison, a_first_row_without_runs_hands_its_place_on)
{
	const char *const names[] = {"gone", "a", "b"};
	struct run_result runs[64];
	size_t count = fill(runs, names + 1, (const double[]){1, 2}, 2);

	cr_assert_not_null(strstr(printed(names, 3, runs, count), "b is SLOWER than a"));
}

Test(comparison, an_outlier_and_a_drift_are_told)
{
	const char *const names[] = {"a"};
	struct run_result runs[12];

	for (uint32_t i = 0; i < 12; i++)
		runs[i] = run_made_up("a", i + 1, 4 * (1 + 0.01 * i) * (i % 2 ? 1.001 : 0.999));
	const char *text = printed(names, 1, runs, 12);
	cr_assert_not_null(strstr(text, "drift: CPU per message of a changed by +10."), "%s", text);
	for (uint32_t i = 0; i < 12; i++)
		runs[i] = run_made_up("a", i + 1, i == 4 ? 9 : 4 + 0.01 * (i % 3));
	text = printed(names, 1, runs, 12);
	cr_assert_null(strstr(text, "drift"), "%s", text);
	cr_assert_not_null(strstr(text, "a, run 5: outlier by CPU per message"), "%s", text);
	cr_assert_null(strstr(text, "a, run 6: outlier"), "%s", text);
}

/* Four comparisons that would each be decided alone. */
Test(comparison, a_family_shares_the_chance_to_err)
{
	struct comparison family[4];

	for (int i = 0; i < 4; i++)
		family[i] = (struct comparison){
			.base = "a",
			.tested = "b",
			.unit = "runs",
			.alpha = 0.05,
			/* t = (ln 1.1 - ln 1.02) / 0.03 = 2.5 at 9 degrees: p = 0.033 */
			.ratio = {.count = 10, .mean = 0.09531, .error = 0.03, .freedom = 9},
		};
	char text[COMPARISON_TEXT_BYTES];

	comparison_judge(family, 1);
	cr_assert_eq(family[0].verdict, VERDICT_SLOWER);
	comparison_judge(family, 4);
	cr_assert_eq(family[0].verdict, VERDICT_INCONCLUSIVE);
	cr_assert_not_null(strstr(comparison_sentence(&family[0], text), "several comparisons"),
			   "%s", text);
}

/*
 * Each figure alone would be decided (p = 0.033), both together not: as Holm asks of two, the
 * smaller p has to be below 0.025.
 */
Test(comparison, both_figures_are_one_family)
{
	const char *const names[] = {"a", "b"};
	static const double noise[] = {1.06, 0.95, 1.05, 0.93, 1.02, 0.99};
	struct run_result runs[12];
	double p;

	for (uint32_t i = 0; i < 6; i++) {
		runs[2 * i] = run_made_up("a", i + 1, 1);
		runs[2 * i + 1] = run_made_up("b", i + 1, 1.089 * noise[i]);
	}
	struct comparison alone = comparison_paired(runs, 12, "a", "b", METRIC_CPU);
	comparison_judge(&alone, 1);
	p = alone.p;
	cr_assert(p > 0.025 && p < 0.05, "%f", p);
	cr_assert_eq(alone.verdict, VERDICT_SLOWER);
	const char *text = printed(names, 2, runs, 12);
	cr_assert_not_null(strstr(text, "b is INCONCLUSIVE against a by CPU per message"), "%s",
			   text);
	cr_assert_not_null(strstr(text, "b is INCONCLUSIVE against a by rate"), "%s", text);
}

Test(comparison, a_figure_that_does_not_decide_has_no_verdict)
{
	char text[COMPARISON_TEXT_BYTES];
	struct comparison c = {
		.base = "a",
		.tested = "b",
		.metric = METRIC_RATE,
		.unit = "blocks",
		.alpha = 0.0125,
		.verdict = VERDICT_SLOWER,
		.ratio = {.count = 10, .mean = -0.1, .error = 0.01, .freedom = 9},
	};

	comparison_aside(&c, text);
	cr_assert_null(strstr(text, "SLOWER"), "%s", text);
	cr_assert_not_null(strstr(text, "b against a by rate: 0.9048 times as much, 0.88"), "%s",
			   text);
	cr_assert_not_null(strstr(text, "95% confidence"), "%s", text);
}

Test(comparison, a_sentence_says_what_would_decide)
{
	char text[COMPARISON_TEXT_BYTES];
	struct comparison c = {
		.base = "a",
		.tested = "b",
		.unit = "blocks",
		.alpha = 0.0125,
		.verdict = VERDICT_INCONCLUSIVE,
		.ratio = {.count = 10, .mean = 0.03, .error = 0.01, .freedom = 9},
	};

	cr_assert_not_null(strstr(comparison_sentence(&c, text), "98.75% confidence"), "%s", text);
	cr_assert_not_null(strstr(text, "blocks would decide"), "%s", text);
	c.ratio.mean = log1p(STATS_ZONE);
	cr_assert_not_null(strstr(comparison_sentence(&c, text), "no number of blocks"), "%s",
			   text);
	c.verdict = VERDICT_NONE;
	c.ratio.count = 3;
	cr_assert_str_eq(
		comparison_sentence(&c, text),
		"no verdict on b against a by CPU per message: 3 blocks, at least 5 are needed");
}
