/* test_pieces.c - turns during which the cores were all ours are told from the others */
#include "bench/pieces.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/pace.h"
#include "bench/run.h"
#include "tests/support/leak.h"
#include "tests/support/runs.h"

#define GHZ 4.0
#define OURS 16.0 /* operations per nanosecond */
#define SHARED 8.0
#define NEAR 105.0 /* nanoseconds of a line */
#define FAR 500.0
#define UNKNOWN ((double)NAN)
#define PACE(pace) ((struct cpupair){.line_ns = UNKNOWN, .pace_op_per_ns = (pace)})

TestSuite(pieces, .fini = vly_leak_gate);

static struct run_result run_of(const char *variant)
{
	struct run_result run = run_made_up(variant, 1, 1);

	run.server_ghz = run.load_ghz = GHZ;
	return run;
}

static void add_at(struct run_result *run, double line_ns, double pace, double rate)
{
	pieces_add(&run->pieces, (struct cpupair){.line_ns = line_ns, .pace_op_per_ns = pace}, 0.5);
	run->pieces.piece[run->pieces.count - 1].rate_msg_per_s = rate;
}

static void add(struct run_result *run, double pace, double rate)
{
	add_at(run, UNKNOWN, pace, rate);
}

Test(pieces, means_are_over_turns_with_cores_of_their_own)
{
	struct run_result runs[] = {run_of("a"), run_of("b"), run_of("a")};

	add(&runs[0], OURS, 3e6);
	add(&runs[0], SHARED, 1e6);
	add(&runs[1], OURS, 9e6);
	add(&runs[2], OURS * 0.9, 2e6);
	add(&runs[2], UNKNOWN, 8e6);
	struct pieces_mean mean = pieces_mean("a", PIECES_ARE_NEAR, runs, 3);

	cr_expect_eq(mean.count, 2u);
	cr_expect_eq(mean.all, 4u);
	cr_expect_float_eq(mean.rate_msg_per_s, 2.5e6, 1);
	/* half a CPU each, for five millions in two seconds */
	cr_expect_float_eq(mean.cpu_us_per_msg, 0.2, 1e-9);
	cr_expect_float_eq(mean.cycles_per_msg, 800, 1e-6);
}

Test(pieces, a_core_that_was_shared_all_the_time_is_not_called_ours)
{
	struct run_result run = run_of("a");

	add(&run, SHARED, 1e6);
	add(&run, SHARED, 1e6);
	struct pieces_mean mean = pieces_mean("a", PIECES_ARE_NEAR, &run, 1);

	cr_expect_eq(mean.count, PACE_PER_CYCLE_MIN > SHARED / GHZ ? 0u : 2u);
	cr_expect_eq(isnan(mean.rate_msg_per_s), mean.count == 0);
}

Test(pieces, runs_that_do_not_count_tell_nothing)
{
	struct run_result runs[] = {run_of("a"), run_of("a"), run_of("a")};

	runs[0].canary = true;
	runs[1].status = RUN_INVALID;
	add(&runs[0], OURS, 1e6);
	add(&runs[1], OURS, 1e6);
	struct pieces_mean mean = pieces_mean("a", PIECES_ARE_NEAR, runs, 3);

	cr_expect_eq(mean.all, 0u);
	cr_expect(isnan(mean.rate_msg_per_s));
	cr_expect(isnan(mean.cycles_per_msg));
}

Test(pieces, a_turn_that_counted_nothing_has_no_rate)
{
	struct slices slices = {.count = 1, .rate_per_s = {5e6}};
	struct run_result run = run_of("a");

	pieces_add(&run.pieces, PACE(OURS), 1);
	pieces_add(&run.pieces, PACE(OURS), 1);
	pieces_take_rates(&run.pieces, &slices);
	cr_expect_eq(pieces_mean("a", PIECES_ARE_NEAR, &run, 1).count, 1u);
	json_t *list = pieces_json(&run.pieces);

	cr_assert_eq(json_array_size(list), 2u);
	cr_expect_float_eq(
		json_number_value(json_object_get(json_array_get(list, 0), "cpu_us_per_msg")), 0.2,
		1e-9);
	cr_expect(json_is_null(json_object_get(json_array_get(list, 1), "rate_msg_per_s")));
	cr_expect(json_is_null(json_object_get(json_array_get(list, 1), "cpu_us_per_msg")));
	json_decref(list);
}

Test(pieces, a_turn_tells_the_state_of_its_cpus)
{
	struct run_result run = run_of("a");

	add_at(&run, NEAR, OURS, 1e6);
	add_at(&run, UNKNOWN, UNKNOWN, 1e6);
	json_t *list = pieces_json(&run.pieces), *known = json_array_get(list, 0),
	       *unknown = json_array_get(list, 1);

	cr_expect_float_eq(json_number_value(json_object_get(known, "line_ns")), NEAR, 1e-9);
	cr_expect_float_eq(json_number_value(json_object_get(known, "pace_op_per_ns")), OURS, 1e-9);
	cr_expect(json_is_null(json_object_get(unknown, "line_ns")));
	cr_expect(json_is_null(json_object_get(unknown, "pace_op_per_ns")));
	json_decref(list);
}

Test(pieces, a_turn_whose_cost_is_not_known_counts_by_its_rate)
{
	struct run_result run = run_of("a");

	add(&run, OURS, 1e6);
	pieces_add(&run.pieces, PACE(OURS), UNKNOWN);
	run.pieces.piece[1].rate_msg_per_s = 3e6;
	struct pieces_mean mean = pieces_mean("a", PIECES_ARE_NEAR, &run, 1);

	cr_expect_float_eq(mean.rate_msg_per_s, 2e6, 1);
	cr_expect_float_eq(mean.cpu_us_per_msg, 0.5, 1e-9);
}

Test(pieces, near_and_far_are_told_apart_by_the_shortest_way_of_all_rows)
{
	struct run_result runs[] = {run_of("a"), run_of("b")};

	add_at(&runs[0], NEAR * 1.4, OURS, 3e6);
	add_at(&runs[0], NEAR * PIECES_NEAR, OURS, 5e6);
	add_at(&runs[0], NEAR * PIECES_NEAR + 1, OURS, 2e6);
	add_at(&runs[0], FAR, OURS, 1e6);
	add_at(&runs[1], NEAR, OURS, 9e6);
	struct pieces_mean near = pieces_mean("a", PIECES_ARE_NEAR, runs, 2);
	struct pieces_mean far = pieces_mean("a", PIECES_ARE_FAR, runs, 2);

	cr_expect_eq(near.count, 2u);
	cr_expect_float_eq(near.rate_msg_per_s, 4e6, 1);
	cr_expect_float_eq(near.line_least_ns, NEAR * 1.4, 1e-9);
	cr_expect_float_eq(near.line_most_ns, NEAR * PIECES_NEAR, 1e-9);
	cr_expect_eq(far.count, 2u);
	cr_expect_float_eq(far.rate_msg_per_s, 1.5e6, 1);
	cr_expect_float_eq(far.line_most_ns, FAR, 1e-9);
	cr_expect_eq(near.all, 4u);
	cr_expect_eq(far.all, 4u);
	cr_expect_eq(pieces_mean("b", PIECES_ARE_FAR, runs, 2).count, 0u);
}

Test(pieces, the_way_between_threads_of_a_core_is_not_the_shortest)
{
	struct run_result run = run_of("a");

	add_at(&run, NEAR, OURS, 3e6);
	add_at(&run, NEAR / 2, SHARED, 1e6);
	cr_expect_eq(pieces_mean("a", PIECES_ARE_NEAR, &run, 1).count, 1u);
	cr_expect_eq(pieces_mean("a", PIECES_ARE_FAR, &run, 1).count, 0u);
}

Test(pieces, a_way_that_is_not_known_is_not_far)
{
	struct run_result run = run_of("a");

	add_at(&run, UNKNOWN, OURS, 3e6);
	cr_expect_eq(pieces_mean("a", PIECES_ARE_NEAR, &run, 1).count, 1u);
	add_at(&run, NEAR, OURS, 3e6);
	cr_expect_eq(pieces_mean("a", PIECES_ARE_NEAR, &run, 1).count, 2u);
	cr_expect_float_eq(pieces_mean("a", PIECES_ARE_NEAR, &run, 1).line_least_ns, NEAR, 1e-9);
}

/* What is printed of these runs, as a string to be freed. */
static char *printed(const struct run_result *runs, size_t count)
{
	const char *const names[] = {"a", "b"};
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	pieces_print(out, names, 2, runs, count);
	fclose(out);
	return text;
}

Test(pieces, what_is_not_known_is_not_printed)
{
	struct run_result run = run_of("a");
	char *text;

	pieces_add(&run.pieces, PACE(UNKNOWN), 1);
	run.pieces.piece[0].rate_msg_per_s = 1e6;
	text = printed(&run, 1);
	cr_expect_str_empty(text);
	free(text);
	run.pieces.piece[0].cpus.pace_op_per_ns = OURS;
	run.server_ghz = UNKNOWN;
	text = printed(&run, 1);
	cr_expect_str_eq(text,
			 "a, cores all ours in 1 of 1 turns: 1,000,000 msg/s, CPU 1 us/msg\n");
	free(text);
}

Test(pieces, cpus_that_stay_have_one_line_that_says_how_far)
{
	struct run_result run = run_of("a");

	add_at(&run, FAR, OURS, 1e6);
	add_at(&run, FAR, SHARED, 1e6);
	char *text = printed(&run, 1);

	cr_expect_str_eq(text,
			 "a, cores all ours (a line there and back in 500 ns) in 1 of 2 turns: "
			 "1,000,000 msg/s, CPU 0.5 us/msg, 2000 cycles\n");
	free(text);
}

Test(pieces, cpus_that_are_moved_about_have_a_line_for_near_and_one_for_far)
{
	struct run_result runs[] = {run_of("a"), run_of("b")};

	add_at(&runs[0], NEAR, OURS, 2e6);
	add_at(&runs[0], NEAR + 9, OURS, 2e6);
	add_at(&runs[0], FAR, OURS, 1e6);
	add_at(&runs[1], FAR, OURS, 1e6);
	char *text = printed(runs, 2);

	cr_expect_str_eq(
		text,
		"a, cores all ours and near (a line there and back in 105 to 114 ns) in 2 of 3 turns: "
		"2,000,000 msg/s, CPU 0.25 us/msg, 1000 cycles\n"
		"a, cores all ours but far apart (a line there and back in 500 ns) in 1 of 3 turns: "
		"1,000,000 msg/s, CPU 0.5 us/msg, 2000 cycles\n"
		"b, cores all ours and near: in none of 1 turns\n"
		"b, cores all ours but far apart (a line there and back in 500 ns) in 1 of 1 turns: "
		"1,000,000 msg/s, CPU 0.5 us/msg, 2000 cycles\n");
	free(text);
}

Test(pieces, a_whole_window_has_none)
{
	struct pieces none = {0};
	json_t *list = pieces_json(&none);

	cr_expect(json_is_null(list));
	json_decref(list);
}

Test(pieces, no_more_than_a_load_has_turns)
{
	struct pieces pieces = {0};

	for (int i = 0; i < SLICES_MAX + 1; i++)
		pieces_add(&pieces, PACE(OURS), 1);
	cr_expect_eq(pieces.count, (unsigned int)SLICES_MAX);
}

Test(pieces, cpus_are_looked_at_where_both_sides_run)
{
	static struct load_options options;
	struct cpupair pair = {.pace_op_per_ns = UNKNOWN};

	cr_expect(isnan(pieces_probe(&options).pace_op_per_ns), "no CPU was named");
	cr_assert_eq(cpus_allowed(&options.server_cpus), 0);
	cr_expect(isnan(pieces_probe(&options).pace_op_per_ns), "the load may be anywhere");
	cr_assert_eq(cpus_allowed(&options.load_cpus), 0);
	/* whoever else runs may take a CPU away now and then, but not always */
	for (int i = 0; i < 1000 && isnan(pair.pace_op_per_ns); i++)
		pair = pieces_probe(&options);
	cr_expect_gt(pair.pace_op_per_ns, 0);
	cr_expect(isnan(pair.line_ns), "each CPU is both sides'");
}
