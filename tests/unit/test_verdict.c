/* test_verdict.c - verdicts, their staged looks and what they get wrong, in simulations whose truth is known */
#include "bench/verdict.h"

#include <math.h>

#include "tests/support/golden.h"
#include "tests/support/leak.h"

TestSuite(verdict, .fini = vly_leak_gate);

#define SIMULATIONS 4000

static struct stats_estimate estimate(double ratio, double error, size_t count)
{
	return (struct stats_estimate){
		.count = count, .mean = log(ratio), .error = error, .freedom = (double)count - 1};
}

static enum verdict judged(double ratio, double error, size_t count, bool more_is_better)
{
	struct stats_estimate e = estimate(ratio, error, count);

	return verdict_of(&e, verdict_p(&e, STATS_ZONE), STATS_ALPHA, STATS_ZONE, more_is_better);
}

Test(verdict, p_values_and_blocks_needed_are_those_of_scipy)
{
	json_t *golden = golden_load();
	double base[GOLDEN_VALUES_MAX], tested[GOLDEN_VALUES_MAX];
	const json_t *one;
	size_t i;

	json_array_foreach(json_object_get(golden, "cases"), i, one)
	{
		const json_t *wanted = json_object_get(one, "paired");
		size_t count = golden_numbers(one, "base", base);
		golden_numbers(one, "tested", tested);
		struct stats_estimate paired = stats_paired(base, tested, count);
		golden_expect_p(verdict_p(&paired, STATS_ZONE), golden_number(wanted, "decides"),
				"paired p", i);
		const json_t *blocks = json_object_get(wanted, "blocks_needed");
		cr_assert_eq(verdict_blocks_needed(&paired, 0.0125, STATS_ZONE),
			     json_is_null(blocks) ? VERDICT_BLOCKS_MAX
						  : (uint32_t)json_integer_value(blocks),
			     "case %zu", i);

		struct stats_logs x = stats_logs(base, count);
		struct stats_logs y =
			stats_logs(tested, (size_t)golden_number(one, "unpaired_tested_count"));
		struct stats_estimate unpaired = stats_unpaired(&x, &y);
		golden_expect_p(verdict_p(&unpaired, STATS_ZONE),
				golden_number(json_object_get(one, "unpaired"), "decides"),
				"unpaired p", i);
	}
	cr_assert_eq(i, 8);
	json_decref(golden);
}

Test(verdict, more_rate_is_faster_more_cost_is_slower)
{
	cr_assert_eq(judged(1.1, 0.001, 10, true), VERDICT_FASTER);
	cr_assert_eq(judged(1.1, 0.001, 10, false), VERDICT_SLOWER);
	cr_assert_eq(judged(0.9, 0.001, 10, true), VERDICT_SLOWER);
	cr_assert_eq(judged(0.9, 0.001, 10, false), VERDICT_FASTER);
	cr_assert_eq(judged(1.001, 0.001, 10, true), VERDICT_EQUIVALENT);
	cr_assert_eq(judged(1.02, 0.001, 10, true), VERDICT_INCONCLUSIVE);
	cr_assert_eq(judged(1.1, 0.001, 4, true), VERDICT_NONE);
	cr_assert_str_eq(verdict_name(VERDICT_INCONCLUSIVE), "INCONCLUSIVE");
	cr_assert_str_eq(verdict_name(VERDICT_SLOWER), "SLOWER");
}

/* The verdict by p is the verdict by where the interval lies. */
Test(verdict, the_interval_lies_where_the_verdict_says)
{
	uint64_t random = 5;
	int seen[VERDICT_SLOWER + 1] = {0};

	for (int i = 0; i < 20000; i++) {
		struct stats_estimate e = estimate(exp(0.05 * golden_normal(&random)),
						   0.02 * golden_uniform(&random),
						   5 + (size_t)(28 * golden_uniform(&random)));
		struct stats_interval interval = stats_interval(&e, 0.0125);
		enum verdict wanted = VERDICT_INCONCLUSIVE;
		if (interval.lower > 1.02)
			wanted = VERDICT_FASTER;
		else if (interval.upper < 1 / 1.02)
			wanted = VERDICT_SLOWER;
		else if (interval.lower > 1 / 1.02 && interval.upper < 1.02)
			wanted = VERDICT_EQUIVALENT;
		enum verdict found =
			verdict_of(&e, verdict_p(&e, STATS_ZONE), 0.0125, STATS_ZONE, true);
		cr_assert_eq(found, wanted, "%s, not %s", verdict_name(found),
			     verdict_name(wanted));
		seen[found]++;
	}
	for (int v = VERDICT_INCONCLUSIVE; v <= VERDICT_SLOWER; v++)
		cr_assert_gt(seen[v], 500, "%s was not tried", verdict_name((enum verdict)v));
}

Test(verdict, without_deviation_the_mean_decides)
{
	cr_assert_eq(judged(1.05, 0, 5, true), VERDICT_FASTER);
	cr_assert_eq(judged(1.0, 0, 5, true), VERDICT_EQUIVALENT);
	struct stats_estimate e = estimate(1.05, 0, 5);
	cr_assert_eq(verdict_blocks_needed(&e, 0.05, STATS_ZONE), STATS_RUNS_MIN);
}

Test(verdict, blocks_needed_decide_and_one_fewer_do_not)
{
	struct stats_estimate e = estimate(1.03, 0.006, 10);
	uint32_t needed = verdict_blocks_needed(&e, 0.0125, STATS_ZONE);
	double deviation = 0.006 * sqrt(10);

	cr_assert_eq(judged(1.03, deviation / sqrt(10), 10, true), VERDICT_INCONCLUSIVE);
	for (uint32_t blocks = needed - 1; blocks <= needed; blocks++) {
		struct stats_estimate then = estimate(1.03, deviation / sqrt(blocks), blocks);
		bool decided = verdict_p(&then, STATS_ZONE) < 0.0125;
		cr_assert_eq(decided, blocks == needed, "%u of %u", blocks, needed);
	}
}

Test(verdict, on_the_edge_of_the_zone_no_number_of_blocks_decides)
{
	struct stats_estimate e = estimate(1.02, 0.01, 10);

	cr_assert_eq(verdict_blocks_needed(&e, 0.0125, STATS_ZONE), VERDICT_BLOCKS_MAX);
	e = estimate(1.5, 0.01, 4);
	cr_assert_eq(verdict_blocks_needed(&e, 0.0125, STATS_ZONE), VERDICT_BLOCKS_MAX);
}

Test(verdict, looks_are_at_5_10_20_and_33_blocks_with_alpha_split_among_them)
{
	static const struct {
		uint32_t blocks_max;
		unsigned int looks;
	} cases[] = {{5, 1},  {6, 2},  {10, 2}, {11, 3}, {20, 3},
		     {21, 4}, {33, 4}, {34, 5}, {999, 5}};
	struct verdict_plan plan;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		verdict_plan(&plan, cases[i].blocks_max, 1);
		cr_assert_eq(plan.looks, cases[i].looks, "%u", cases[i].blocks_max);
		cr_assert_eq(plan.blocks[plan.looks - 1], cases[i].blocks_max);
		cr_assert_float_eq(plan.alpha * plan.looks, 0.05, 1e-15);
	}
	verdict_plan(&plan, VERDICT_BLOCKS, 1);
	cr_assert_eq(plan.blocks[0], 5);
	cr_assert_eq(plan.blocks[1], 10);
	cr_assert_eq(plan.blocks[2], 20);
	cr_assert_eq(plan.blocks[3], 33);
}

Test(verdict, figures_that_may_each_decide_share_alpha)
{
	struct verdict_plan plan;

	verdict_plan(&plan, 33, 2);
	cr_assert_eq(plan.looks, 4);
	cr_assert_float_eq(plan.alpha * plan.looks * 2, 0.05, 1e-15);
}

/* Blocks that alternate around a ratio. */
static void fill(double *base, double *tested, size_t count, double ratio, double deviation)
{
	for (size_t i = 0; i < count; i++) {
		base[i] = 1;
		tested[i] = ratio * exp(i % 2 ? deviation : -deviation);
	}
}

Test(verdict, looks_are_taken_when_due_and_only_then)
{
	double base[33], tested[33];
	struct verdict_plan plan;
	struct verdict_stage stage = {0};

	fill(base, tested, 33, 1.0, 0.2);
	verdict_plan(&plan, 33, 1);
	for (size_t count = 0; count <= 33; count++) {
		cr_assert_not(verdict_look(&stage, &plan, base, tested, count, false, true));
		unsigned int due = (count >= 5) + (count >= 10) + (count >= 20) + (count >= 33);
		cr_assert_eq(stage.looks, due, "%zu blocks, %u looks", count, stage.looks);
	}
	cr_assert_eq(stage.verdict, VERDICT_INCONCLUSIVE);
	cr_assert_eq(stage.blocks, 33);
	cr_assert_not(verdict_look(&stage, &plan, base, tested, 33, true, true));
	cr_assert_eq(stage.looks, 4, "nothing is looked at twice");
}

Test(verdict, a_decided_stage_stays)
{
	double base[10], tested[10];
	struct verdict_plan plan;
	struct verdict_stage stage = {0};

	verdict_plan(&plan, 33, 1);
	fill(base, tested, 10, 1.2, 0.001);
	cr_assert(verdict_look(&stage, &plan, base, tested, 5, false, true));
	cr_assert_eq(stage.verdict, VERDICT_FASTER);
	fill(base, tested, 10, 0.5, 0.001);
	cr_assert(verdict_look(&stage, &plan, base, tested, 10, false, true));
	cr_assert_eq(stage.verdict, VERDICT_FASTER);
	cr_assert_eq(stage.blocks, 5);
}

Test(verdict, the_last_look_may_come_early)
{
	double base[10], tested[10];
	struct verdict_plan plan;
	struct verdict_stage stage = {0};

	verdict_plan(&plan, 33, 1);
	fill(base, tested, 10, 1.2, 0.001);
	cr_assert_not(verdict_look(&stage, &plan, base, tested, 4, true, true));
	cr_assert_eq(stage.verdict, VERDICT_NONE);
	stage = (struct verdict_stage){0};
	cr_assert(verdict_look(&stage, &plan, base, tested, 7, true, true));
	cr_assert_eq(stage.blocks, 7);
}

struct outcomes {
	double share[VERDICT_SLOWER + 1];
	double by_ten; /* decided within 10 blocks */
};

/* Staged comparisons of two variants whose true ratio of costs is known. */
static struct outcomes simulate(double ratio, double deviation)
{
	struct outcomes outcomes = {.by_ten = 0};
	struct verdict_plan plan;
	uint64_t random = 20 + (uint64_t)(ratio * 1000);
	double base[33], tested[33];

	verdict_plan(&plan, 33, 1);
	for (int run = 0; run < SIMULATIONS; run++) {
		struct verdict_stage stage = {0};
		for (size_t count = 0; count < 33;) {
			base[count] = exp(deviation * M_SQRT1_2 * golden_normal(&random));
			tested[count] = ratio * exp(deviation * M_SQRT1_2 * golden_normal(&random));
			count++;
			if (verdict_look(&stage, &plan, base, tested, count, count == 33, false))
				break;
		}
		outcomes.share[stage.verdict] += 1.0 / SIMULATIONS;
		if (verdict_is_decided(stage.verdict) && stage.blocks <= 10)
			outcomes.by_ten += 1.0 / SIMULATIONS;
	}
	return outcomes;
}

Test(verdict, the_same_variant_twice_is_hardly_ever_told_apart)
{
	for (int deviation = 1; deviation <= 10; deviation += 3) {
		struct outcomes o = simulate(1.0, deviation / 100.0);
		cr_assert_lt(o.share[VERDICT_FASTER] + o.share[VERDICT_SLOWER], 0.02,
			     "deviation %d%%: %.4f FASTER, %.4f SLOWER", deviation,
			     o.share[VERDICT_FASTER], o.share[VERDICT_SLOWER]);
	}
	struct outcomes quiet = simulate(1.0, 0.02);
	cr_assert_gt(quiet.share[VERDICT_EQUIVALENT], 0.95, "%.4f",
		     quiet.share[VERDICT_EQUIVALENT]);
}

/*
 * The worst case for a verdict is a truth on the edge of its zone. All looks together may then go
 * wrong to either side in 2.5% of all comparisons, and 0.5% more is what 4,000 simulations err by.
 */
Test(verdict, all_looks_together_go_wrong_no_more_often_than_one_may)
{
	static const double deviations[] = {0.005, 0.02, 0.05};

	for (size_t i = 0; i < 3; i++) {
		struct outcomes o = simulate(1.02, deviations[i]);
		cr_assert_lt(o.share[VERDICT_SLOWER], 0.03, "%.4f", o.share[VERDICT_SLOWER]);
		cr_assert_lt(o.share[VERDICT_EQUIVALENT], 0.03, "%.4f",
			     o.share[VERDICT_EQUIVALENT]);
		cr_assert_lt(o.share[VERDICT_FASTER], 0.005);
	}
	/* The test is not merely timid: looking early has its price, but not much more. */
	cr_assert_gt(simulate(1.02, 0.005).share[VERDICT_SLOWER], 0.01);
}

Test(verdict, five_percent_slower_is_found_within_ten_blocks)
{
	struct outcomes o = simulate(1.05, 0.015);

	cr_assert_gt(o.share[VERDICT_SLOWER], 0.98, "%.4f", o.share[VERDICT_SLOWER]);
	cr_assert_gt(o.by_ten, 0.95, "%.4f", o.by_ten);
	cr_assert_lt(o.share[VERDICT_FASTER] + o.share[VERDICT_EQUIVALENT], 0.001);
}

static enum verdict_gate gated(double ratio, double error, double limit, bool more_is_better)
{
	struct stats_estimate e = estimate(ratio, error, 10);
	enum verdict verdict =
		verdict_of(&e, verdict_p(&e, STATS_ZONE), STATS_ALPHA, STATS_ZONE, more_is_better);

	return verdict_gate(&e, verdict, STATS_ALPHA, limit, more_is_better);
}

Test(verdict, gate_closes_for_what_is_slower_by_the_limit)
{
	cr_assert_eq(gated(1.06, 0.001, 0.05, false), GATE_REGRESSION);
	cr_assert_eq(gated(1.04, 0.001, 0.05, false), GATE_PASSED);
	cr_assert_eq(gated(0.9, 0.001, 0.05, false), GATE_PASSED);
	cr_assert_eq(gated(1 / 1.06, 0.001, 0.05, true), GATE_REGRESSION);
	cr_assert_eq(gated(1 / 1.04, 0.001, 0.05, true), GATE_PASSED);
	cr_assert_eq(gated(1.0, 0.001, 0.05, true), GATE_PASSED);
}

Test(verdict, gate_says_when_it_cannot_tell)
{
	/* The interval reaches from within the zone to beyond the limit. */
	cr_assert_eq(gated(1.03, 0.02, 0.05, false), GATE_UNDECIDED);
	/* INCONCLUSIVE, but the limit is out of reach. */
	cr_assert_eq(gated(1.02, 0.002, 0.05, false), GATE_PASSED);
	struct stats_estimate few = estimate(1.5, 0.001, 4);
	cr_assert_eq(verdict_gate(&few, VERDICT_NONE, 0.05, 0.05, false), GATE_UNDECIDED);
}
