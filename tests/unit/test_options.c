/* test_options.c - strict numbers and times of the command line */
#include "bench/options.h"

#include "tests/support/leak.h"

#include <errno.h>
#include <string.h>

#define S UINT64_C(1000000000)

static char why[256];

TestSuite(options, .fini = vly_leak_gate);

Test(options, numbers_at_the_limits_are_taken)
{
	uint64_t value = 0;

	cr_assert_eq(option_number("1", 1, 9, &value, why, sizeof(why)), 0);
	cr_assert_eq(value, 1);
	cr_assert_eq(option_number("9", 1, 9, &value, why, sizeof(why)), 0);
	cr_assert_eq(value, 9);
	cr_assert_eq(option_number("18446744073709551615", 0, UINT64_MAX, &value, why, sizeof(why)),
		     0);
	cr_assert_eq(value, UINT64_MAX);
	cr_assert_eq(option_number("007", 1, 9, &value, why, sizeof(why)), 0);
	cr_assert_eq(value, 7);
}

Test(options, numbers_beyond_the_limits_are_refused_with_the_range)
{
	static const char *const bad[] = {"0", "10", "18446744073709551616",
					  "99999999999999999999999"};
	uint64_t value = 5;

	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(option_number(bad[i], 1, 9, &value, why, sizeof(why)), -EINVAL, "%s",
			     bad[i]);
		cr_assert_not_null(strstr(why, "out of range; 1 to 9 are allowed"), "%s", why);
		cr_assert_eq(value, 5);
	}
}

Test(options, what_is_no_number_is_refused)
{
	static const char *const bad[] = {"",   "-1",  "+1",  " 1",  "1 ",
					  "1x", "0x1", "1.0", "1e0", "one"};
	uint64_t value = 5;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(option_number(bad[i], 1, 9, &value, why, sizeof(why)), -EINVAL, "'%s'",
			     bad[i]);
		cr_assert_not_null(strstr(why, "is not a whole number"), "%s", why);
		cr_assert_eq(value, 5);
	}
}

Test(options, times_take_all_units)
{
	static const struct {
		const char *text;
		uint64_t ns;
	} good[] = {{"3", 3 * S},        {"3s", 3 * S},   {"250ms", S / 4},
		    {"1.5s", 3 * S / 2}, {"2m", 120 * S}, {"1h", 3600 * S},
		    {"0.5m", 30 * S},    {"0", 0},        {"24h", 86400 * S}};
	uint64_t ns;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		cr_assert_eq(option_duration(good[i].text, 0, 86400 * S, &ns, why, sizeof(why)), 0,
			     "%s: %s", good[i].text, why);
		cr_assert_eq(ns, good[i].ns, "%s", good[i].text);
	}
}

Test(options, what_is_no_time_is_refused)
{
	static const char *const bad[] = {"",    "s",   "-1s", "+1s",    "1 s", "1e3",
					  "0x1", "inf", "nan", "1.2.3s", "1us", "1d",
					  ".5s", "1ss", "1s ", "infs"};
	uint64_t ns = 5;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(option_duration(bad[i], 0, 86400 * S, &ns, why, sizeof(why)), -EINVAL,
			     "'%s'", bad[i]);
		cr_assert_eq(ns, 5);
	}
}

Test(options, times_beyond_the_limits_are_refused)
{
	uint64_t ns;

	cr_assert_eq(option_duration("999999999999999999999h", 0, 86400 * S, &ns, why, sizeof(why)),
		     -EINVAL);
	cr_assert_eq(option_duration("0", 1, S, &ns, why, sizeof(why)), -EINVAL);
	cr_assert_eq(option_duration("1001ms", 1, S, &ns, why, sizeof(why)), -EINVAL);
	cr_assert_not_null(strstr(why, "to 1 s are allowed"), "%s", why);
}

Test(options, times_are_written_as_people_read_them)
{
	char text[32];

	cr_assert_str_eq(option_duration_format(500 * S / 1000, text, sizeof(text)), "500 ms");
	cr_assert_str_eq(option_duration_format(10 * S, text, sizeof(text)), "10 s");
	cr_assert_str_eq(option_duration_format(119 * S, text, sizeof(text)), "119 s");
	cr_assert_str_eq(option_duration_format(125 * S, text, sizeof(text)), "2 min 5 s");
	cr_assert_str_eq(option_duration_format(7500 * S, text, sizeof(text)), "2 h 5 min");
}

Test(options, limits_are_percentages_that_matter)
{
	static const char *const bad[] = {"5",   "1%",  "1.9%", "1001%", "%",    "",
					  "-5%", "5%%", "5 %",  "nan%",  "1e3%", ".5%"};
	double value = 0;

	cr_assert_eq(option_percent("5%", &value, why, sizeof(why)), 0);
	cr_assert_float_eq(value, 0.05, 1e-15);
	cr_assert_eq(option_percent("2%", &value, why, sizeof(why)), 0);
	cr_assert_eq(option_percent("2.5%", &value, why, sizeof(why)), 0);
	cr_assert_eq(option_percent("1000%", &value, why, sizeof(why)), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(option_percent(bad[i], &value, why, sizeof(why)), -EINVAL, "%s",
			     bad[i]);
		cr_assert_not_null(strstr(why, "1000%"), "%s", why);
	}
}
