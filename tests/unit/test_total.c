/* test_total.c - a server's total is read exactly and held against what was sent */
#include "bench/total.h"

#include <string.h>

#include "tests/support/leak.h"

TestSuite(total, .fini = vly_leak_gate);

Test(total, line_is_read)
{
	struct total total = total_parse("TOTAL 12 18446744073709551615");

	cr_assert(total.known);
	cr_assert_eq(total.messages, 12);
	cr_assert_eq(total.sum, UINT64_MAX);
	cr_assert(total_parse("TOTAL 0 0\r").known);
}

Test(total, other_lines_are_no_total)
{
	static const char *const lines[] = {"",
					    "READY 80",
					    "TOTAL",
					    "TOTAL 1",
					    "TOTAL 1 ",
					    "TOTAL  1 2",
					    "TOTAL 1  2",
					    "TOTAL 1 2 3",
					    "TOTAL -1 2",
					    "TOTAL 1 +2",
					    "TOTAL 1 2x",
					    "TOTAL 1.0 2",
					    "total 1 2",
					    "TOTAL 1 18446744073709551616",
					    "TOTAL 99999999999999999999 2"};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		cr_assert_not(total_parse(lines[i]).known, "%s", lines[i]);
}

Test(total, agrees_only_with_its_equal)
{
	struct total sent = {.known = true, .messages = 10, .sum = 77};
	struct total less = {.known = true, .messages = 9, .sum = 77};
	struct total other = {.known = true, .messages = 10, .sum = 78};
	struct total unknown = {.known = false, .messages = 10, .sum = 77};
	char why[256] = "";

	cr_assert(total_agrees(&sent, &sent, why, sizeof(why)));
	cr_assert_str_eq(why, "");
	cr_assert_not(total_agrees(&less, &sent, why, sizeof(why)));
	cr_assert(strstr(why, "saw 9 messages, but 10 were sent"), "%s", why);
	cr_assert_not(total_agrees(&other, &sent, why, sizeof(why)));
	cr_assert(strstr(why, "is 78, not 77"), "%s", why);
	cr_assert_not(total_agrees(&unknown, &sent, why, sizeof(why)));
	cr_assert(strstr(why, "did not end with the TOTAL"), "%s", why);
	cr_assert_not(total_agrees(&sent, &unknown, why, sizeof(why)));
	cr_assert(strstr(why, "proves nothing"), "%s", why);
}

Test(total, survives_the_way_through_json)
{
	struct total total = {.known = true, .messages = 3, .sum = UINT64_MAX - 1};
	struct total unknown = {.known = false};
	json_t *json = total_to_json(&total);
	struct total back = total_from_json(json);

	cr_assert(back.known);
	cr_assert_eq(back.messages, total.messages);
	cr_assert_eq(back.sum, total.sum);
	json_decref(json);
	json = total_to_json(&unknown);
	cr_assert_not(total_from_json(json).known);
	json_decref(json);
}
