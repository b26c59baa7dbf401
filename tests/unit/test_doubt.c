/* test_doubt.c - what makes a run invalid, and what a reader is told of one that counts */
#include "bench/doubt.h"

#include "tests/support/leak.h"
#include "tests/support/runs.h"

#include <math.h>

TestSuite(doubt, .fini = vly_leak_gate);

/* A run without any doubt. */
static struct run_result calm(void)
{
	struct run_result r = run_made_up("a", 1, 4);

	r.messages = 100000;
	r.fairness.jain = 1;
	r.little = 1;
	r.server_busy_share = 0.8;
	r.load_busy_share = 0.8;
	r.steal_share = 0;
	r.server_cpus_other_share = 0.01;
	r.retransmits = 0;
	r.throttled_s = 0;
	r.steady_change = 0.01;
	return r;
}

static const char *warned(struct run_result *r)
{
	r->warnings_count = 0;
	doubt_limits(r);
	cr_assert_leq(r->warnings_count, 1);
	return r->warnings_count ? r->warnings[0] : "";
}

Test(doubt, a_calm_run_raises_none)
{
	struct run_result r = calm();

	cr_assert_str_eq(warned(&r), "");
	cr_assert_str_eq(r.limited, "no");
	/* Nor does what nobody could measure. */
	r.server_busy_share = r.steal_share = r.server_cpus_other_share = r.little = (double)NAN;
	r.retransmits = r.throttled_s = r.steady_change = (double)NAN;
	cr_assert_str_eq(warned(&r), "");
}

Test(doubt, a_saturated_load_limits_unless_the_server_is_saturated_too)
{
	struct run_result r = calm();

	r.load_busy_share = 0.951;
	r.server_busy_share = 0.949;
	cr_assert_not_null(strstr(warned(&r), "client-limited"));
	cr_assert_str_eq(r.limited, "client");
	r.server_busy_share = 0.951;
	cr_assert_str_eq(warned(&r), "");
	cr_assert_str_eq(r.limited, "both");
}

Test(doubt, each_disturbance_has_its_line)
{
	struct run_result r = calm();

	r.unfair = true;
	cr_assert_not_null(strstr(warned(&r), "UNFAIR"));
	r = calm();
	r.steal_share = 0.06;
	cr_assert_not_null(strstr(warned(&r), "hypervisor took 6%"));
	r = calm();
	r.server_cpus_other_share = 0.2;
	cr_assert_not_null(strstr(warned(&r), "something else used 20%"));
	r = calm();
	r.throttled_s = 0.25;
	cr_assert_not_null(
		strstr(warned(&r), "quota of the control group stopped its threads for 0.250 s"));
	r = calm();
	r.steady = false;
	r.steady_change = -0.043;
	cr_assert_not_null(strstr(warned(&r), "not steady: the rate moved by -4.3%"));
}

Test(doubt, retransmits_matter_from_one_in_ten_thousand_and_ten_in_all)
{
	struct run_result r = calm();

	r.messages = 50000;
	r.retransmits = 9;
	cr_assert_str_eq(warned(&r), "");
	r.retransmits = 10;
	cr_assert_not_null(strstr(warned(&r), "TCP sent 10 segments again"));
	r.messages = 1000000;
	r.retransmits = 100;
	cr_assert_str_eq(warned(&r), "");
	r.retransmits = 101;
	cr_assert_not_null(strstr(warned(&r), "TCP sent 101 segments again"));
}

Test(doubt, a_cpu_whose_speed_changed_by_more_than_a_tenth_makes_the_run_invalid)
{
	struct run_result r = calm();
	struct cpus cpus = {.count = 1, .list = {3}};
	struct speed before = {.count = 1, .ghz = {4.0}}, after = {.count = 1, .ghz = {3.65}};

	doubt_speed(&r, "server", &cpus, &before, &after);
	cr_assert_eq(r.status, RUN_OK);
	after.ghz[0] = 3.5;
	doubt_speed(&r, "server", &cpus, &before, &after);
	cr_assert_eq(r.status, RUN_INVALID);
	cr_assert_not_null(strstr(r.reasons[0], "server CPU 3 changed from 4.00 to 3.50 GHz"));
}

Test(doubt, the_first_cause_stands_and_there_is_an_end_to_reasons)
{
	struct run_result r = calm();

	doubt_reason(&r, RUN_FAILED, "it broke");
	doubt_reason(&r, RUN_INVALID, "and more");
	cr_assert_eq(r.status, RUN_FAILED);
	for (int i = 0; i < 100; i++) {
		doubt_reason(&r, RUN_FAILED, "again");
		doubt_warn(&r, "again");
	}
	cr_assert_eq(r.reasons_count, RUN_REASONS_MAX);
	cr_assert_eq(r.warnings_count, RUN_WARNINGS_MAX);
	cr_assert_str_eq(r.reasons[0], "it broke");
}
