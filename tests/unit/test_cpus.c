/* test_cpus.c - CPU lists, and how a machine is split between server and load */
#include "bench/cpus.h"

#include "tests/support/leak.h"

#include <errno.h>
#include <string.h>

static char why[256];
static char text[CPUS_TEXT_MAX];

static struct cpus parsed(const char *list)
{
	struct cpus cpus;

	cr_assert_eq(cpus_parse(list, &cpus, why, sizeof(why)), 0, "%s: %s", list, why);
	return cpus;
}

static void assert_formats(const struct cpus *cpus, const char *want)
{
	cr_assert_str_eq(cpus_format(cpus, text, sizeof(text)), want);
}

TestSuite(cpus, .fini = vly_leak_gate);

Test(cpus, lists_keep_their_order)
{
	static const char *const lists[] = {"0", "0-3", "8,0-3", "3,2,1", "0-1,1023"};

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct cpus cpus = parsed(lists[i]);
		assert_formats(&cpus, lists[i]);
	}
}

Test(cpus, whole_range_fits_and_one_more_does_not)
{
	struct cpus cpus = parsed("0-1023");

	cr_assert_eq(cpus.count, 1024);
	cr_assert_not(cpus_add(&cpus, 1024));
	cr_assert_eq(cpus_parse("0-1024", &cpus, why, sizeof(why)), -EINVAL);
	cr_assert_eq(cpus.count, 0);
}

Test(cpus, what_is_no_list_is_refused_with_a_reason)
{
	static const char *const bad[] = {"",      "x",    "1-",  "-1",   ",",
					  "1,",    "1,,2", "3-1", "1,1",  "0-2,1",
					  "1-2-3", " 1",   "1 ",  "1024", "99999999999999999999"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cpus cpus;
		why[0] = '\0';
		cr_assert_eq(cpus_parse(bad[i], &cpus, why, sizeof(why)), -EINVAL, "'%s'", bad[i]);
		cr_assert_eq(cpus.count, 0);
		cr_assert(strlen(why) > 0, "'%s'", bad[i]);
	}
}

Test(cpus, empty_list_reads_none_and_long_ones_are_cut)
{
	struct cpus cpus = {.count = 0};
	char little[8];

	assert_formats(&cpus, "none");
	for (int cpu = 0; cpu < 200; cpu += 2)
		cpus_add(&cpus, cpu);
	cr_assert_str_eq(cpus_format(&cpus, little, sizeof(little)), "0,2,4,6");
}

Test(cpus, keep_leaves_what_is_in_both)
{
	struct cpus cpus = parsed("5,1,3");
	struct cpus others = parsed("1-4");

	cpus_keep(&cpus, &others);
	assert_formats(&cpus, "1,3");
}

/* CPU numbers far above any that exists have no siblings known to the kernel. */
Test(cpus, split_gives_the_server_the_first_and_the_load_up_to_four_others)
{
	struct cpus allowed = parsed("1000-1009");
	struct cpus server = {.count = 0}, load = {.count = 0};

	cpus_split(&allowed, &server, &load);
	assert_formats(&server, "1000");
	assert_formats(&load, "1001-1004");
}

Test(cpus, split_goes_around_what_was_given)
{
	struct cpus allowed = parsed("1000-1002");
	struct cpus server = {.count = 0}, load = parsed("1000");

	cpus_split(&allowed, &server, &load);
	assert_formats(&server, "1001");
	assert_formats(&load, "1000");

	server = parsed("1001");
	load.count = 0;
	cpus_split(&allowed, &server, &load);
	assert_formats(&server, "1001");
	assert_formats(&load, "1000,1002");
}

Test(cpus, single_cpu_is_shared)
{
	struct cpus allowed = parsed("1000");
	struct cpus server = {.count = 0}, load = {.count = 0};

	cpus_split(&allowed, &server, &load);
	assert_formats(&server, "1000");
	assert_formats(&load, "1000");
}

Test(cpus, allowed_ones_can_be_pinned_to_and_others_cannot)
{
	struct cpus allowed, now;
	struct cpus absent = parsed("1023");

	cr_assert_eq(cpus_allowed(&allowed), 0);
	cr_assert_geq(allowed.count, 1);
	struct cpus first = {.count = 1, .list = {allowed.list[0]}};
	cr_assert_eq(cpus_pin(&first), 0);
	cr_assert_eq(cpus_allowed(&now), 0);
	cr_assert_eq(now.count, 1);
	cr_assert_eq(now.list[0], allowed.list[0]);
	if (!cpus_has(&allowed, 1023))
		cr_assert_eq(cpus_pin(&absent), -EINVAL);
}

Test(cpus, node_that_is_not_there_is_told)
{
	struct cpus cpus;

	cr_assert_eq(cpus_of_node(999, &cpus), -ENOENT);
}
