/* test_finding_distance.c - CPUs that stay where they are, are moved about, or are threads of one core */
#include <math.h>
#include <string.h>

#include "bench/finding.h"
#include "tests/support/leak.h"

TestSuite(finding_distance, .fini = vly_leak_gate);

#define UNKNOWN ((double)NAN)
#define LOOKS 8

static struct finding told(const struct finding_look *looks)
{
	struct findings findings = {.count = 0};

	finding_add_distance(&findings, "CPUs 0 and 1", looks, LOOKS);
	cr_assert_eq(findings.count, 1u);
	return findings.list[0];
}

/* `odd` of the looks are like the second one. */
static struct finding told_of(struct finding_look look, struct finding_look other, int odd)
{
	struct finding_look looks[LOOKS];

	for (int i = 0; i < LOOKS; i++)
		looks[i] = i < odd ? other : look;
	return told(looks);
}

static const struct finding_look near = {16, {110, 16}}, less_near = {16, {150, 8.5}},
				 far = {16, {500, 16}}, siblings = {16, {50, 8}},
				 taken = {UNKNOWN, {UNKNOWN, UNKNOWN}};

Test(finding_distance, cpus_that_stay_are_well)
{
	struct finding f = told_of(near, taken, 1);

	cr_expect_eq(f.level, FINDING_OK);
	cr_expect_str_eq(f.text,
			 "a cache line there and back between server and load (CPUs 0 and 1) "
			 "in 110 to 110 ns");
	cr_expect_str_empty(f.mend);
	/* a neighbour of one of them came between two readings, once */
	f = told_of(near, less_near, 1);
	cr_expect_eq(f.level, FINDING_OK);
	cr_expect(strstr(f.text, "in 110 to 150 ns"), "%s", f.text);
}

Test(finding_distance, cpus_that_are_moved_about_are_warned_of)
{
	struct finding f = told_of(near, far, 1);

	cr_expect_eq(f.level, FINDING_WARN);
	cr_expect(strstr(f.text, "in 110 to 500 ns"), "%s", f.text);
	cr_expect(strstr(f.mend, "--turns"), "%s", f.mend);
}

Test(finding_distance, threads_of_one_core_are_warned_of)
{
	struct finding f = told_of(siblings, siblings, 0);

	cr_expect_eq(f.level, FINDING_WARN);
	cr_expect(strstr(f.text, "at 8 of 8 looks they were threads of one core"), "%s", f.text);
	cr_expect(strstr(f.mend, "--server-cpus"), "%s", f.mend);
	/* so are those that are moved there and away again, in other words */
	f = told_of(near, siblings, 3);
	cr_expect_eq(f.level, FINDING_WARN);
	cr_expect(strstr(f.text, "at 3 of 8 looks"), "%s", f.text);
	cr_expect(strstr(f.mend, "--turns"), "%s", f.mend);
}

Test(finding_distance, cpus_that_are_not_to_be_had_are_not_known)
{
	struct finding f = told_of(taken, taken, 0);

	cr_expect_eq(f.level, FINDING_NOTE);
	cr_expect_str_eq(f.text, "not known: CPUs 0 and 1 are busy");
}
