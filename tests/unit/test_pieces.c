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

TestSuite(pieces, .fini = vly_leak_gate);

static struct run_result run_of(const char *variant)
{
	struct run_result run = run_made_up(variant, 1, 1);

	run.server_ghz = run.load_ghz = GHZ;
	return run;
}

static void add(struct run_result *run, double pace, double rate)
{
	pieces_add(&run->pieces, pace, 0.5);
	run->pieces.piece[run->pieces.count - 1].rate_msg_per_s = rate;
}

Test(pieces, means_are_over_turns_with_cores_of_their_own)
{
	struct run_result runs[] = {run_of("a"), run_of("b"), run_of("a")};

	add(&runs[0], OURS, 3e6);
	add(&runs[0], SHARED, 1e6);
	add(&runs[1], OURS, 9e6);
	add(&runs[2], OURS * 0.9, 2e6);
	add(&runs[2], (double)NAN, 8e6);
	struct pieces_mean mean = pieces_mean("a", runs, 3);

	cr_expect_eq(mean.full, 2u);
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
	struct pieces_mean mean = pieces_mean("a", &run, 1);

	cr_expect_eq(mean.full, PACE_PER_CYCLE_MIN > SHARED / GHZ ? 0u : 2u);
	cr_expect_eq(isnan(mean.rate_msg_per_s), mean.full == 0);
}

Test(pieces, runs_that_do_not_count_tell_nothing)
{
	struct run_result runs[] = {run_of("a"), run_of("a"), run_of("a")};

	runs[0].canary = true;
	runs[1].status = RUN_INVALID;
	add(&runs[0], OURS, 1e6);
	add(&runs[1], OURS, 1e6);
	struct pieces_mean mean = pieces_mean("a", runs, 3);

	cr_expect_eq(mean.all, 0u);
	cr_expect(isnan(mean.rate_msg_per_s));
	cr_expect(isnan(mean.cycles_per_msg));
}

Test(pieces, a_turn_that_counted_nothing_has_no_rate)
{
	struct slices slices = {.count = 1, .rate_per_s = {5e6}};
	struct run_result run = run_of("a");

	pieces_add(&run.pieces, OURS, 1);
	pieces_add(&run.pieces, OURS, 1);
	pieces_take_rates(&run.pieces, &slices);
	cr_expect_eq(pieces_mean("a", &run, 1).full, 1u);
	json_t *list = pieces_json(&run.pieces);

	cr_assert_eq(json_array_size(list), 2u);
	cr_expect_float_eq(
		json_number_value(json_object_get(json_array_get(list, 0), "cpu_us_per_msg")), 0.2,
		1e-9);
	cr_expect(json_is_null(json_object_get(json_array_get(list, 1), "rate_msg_per_s")));
	cr_expect(json_is_null(json_object_get(json_array_get(list, 1), "cpu_us_per_msg")));
	json_decref(list);
}

Test(pieces, a_turn_whose_cost_is_not_known_counts_by_its_rate)
{
	struct run_result run = run_of("a");

	add(&run, OURS, 1e6);
	pieces_add(&run.pieces, OURS, (double)NAN);
	run.pieces.piece[1].rate_msg_per_s = 3e6;
	struct pieces_mean mean = pieces_mean("a", &run, 1);

	cr_expect_float_eq(mean.rate_msg_per_s, 2e6, 1);
	cr_expect_float_eq(mean.cpu_us_per_msg, 0.5, 1e-9);
}

/* What is printed of these runs, as a string to be freed. */
static char *printed(const struct run_result *runs, size_t count)
{
	const char *const names[] = {"a"};
	char *text = NULL;
	size_t bytes = 0;
	FILE *out = open_memstream(&text, &bytes);

	pieces_print(out, names, 1, runs, count);
	fclose(out);
	return text;
}

Test(pieces, what_is_not_known_is_not_printed)
{
	struct run_result run = run_of("a");
	char *text;

	pieces_add(&run.pieces, (double)NAN, 1);
	run.pieces.piece[0].rate_msg_per_s = 1e6;
	text = printed(&run, 1);
	cr_expect_str_empty(text);
	free(text);
	run.pieces.piece[0].pace_op_per_ns = OURS;
	run.server_ghz = (double)NAN;
	text = printed(&run, 1);
	cr_expect_str_eq(text,
			 "a, cores all ours in 1 of 1 turns: 1,000,000 msg/s, CPU 1 us/msg\n");
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
		pieces_add(&pieces, OURS, 1);
	cr_expect_eq(pieces.count, (unsigned int)SLICES_MAX);
}

Test(pieces, the_pace_is_read_where_both_sides_run)
{
	static struct load_options options;

	cr_expect(isnan(pieces_pace(&options)), "no CPU was named");
	cr_assert_eq(cpus_allowed(&options.server_cpus), 0);
	cr_expect(isnan(pieces_pace(&options)), "the load may be anywhere");
	cr_assert_eq(cpus_allowed(&options.load_cpus), 0);
	cr_expect_gt(pieces_pace(&options), 0);
	struct cpus after;

	/* and the caller may run where it might before */
	cr_assert_eq(cpus_allowed(&after), 0);
	cr_expect_eq(after.count, options.server_cpus.count);
}
