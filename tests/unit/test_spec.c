/* test_spec.c - the grammar that names a nic */
#include "nic/spec.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/leak.h"

TestSuite(spec, .fini = vly_leak_gate);

static char why[256];

static int parse(struct vly_nic_spec *spec, const char *text)
{
	why[0] = '\0';
	return vly_spec_parse(spec, text, why, sizeof(why));
}

static void check_value(const struct vly_nic_spec *spec, const char *key, const char *want)
{
	const char *value = vly_spec_get(spec, key);

	cr_assert_not_null(value, "%s", key);
	cr_assert_str_eq(value, want);
}

Test(spec, name_alone_has_no_options)
{
	struct vly_nic_spec spec;

	cr_assert_eq(parse(&spec, "epoll"), 0);
	cr_assert_str_eq(spec.name, "epoll");
	cr_assert_eq(spec.options_count, 0);
	cr_assert_eq(parse(&spec, "epoll:"), 0);
	cr_assert_str_eq(spec.name, "epoll");
	cr_assert_eq(spec.options_count, 0);
}

Test(spec, options_are_words_and_pairs_in_their_order)
{
	struct vly_nic_spec spec;

	cr_assert_eq(parse(&spec, "inet:loop,fd=5,side=0,ip=10.0.0.1/16,mac=02:00:00:00:00:01"), 0);
	cr_assert_str_eq(spec.name, "inet");
	cr_assert_eq(spec.options_count, 5);
	cr_assert_str_eq(spec.options[0].key, "loop");
	cr_assert_null(spec.options[0].value);
	check_value(&spec, "loop", "");
	check_value(&spec, "fd", "5");
	check_value(&spec, "ip", "10.0.0.1/16");
	check_value(&spec, "mac", "02:00:00:00:00:01");
	cr_assert_null(vly_spec_get(&spec, "gw"));
	cr_assert_null(vly_spec_get(&spec, "f"));
	cr_assert_null(vly_spec_get(&spec, "fdx"));
}

Test(spec, quoted_value_holds_commas_and_equals)
{
	struct vly_nic_spec spec;

	cr_assert_eq(parse(&spec, "dpdk:eal=\"-l 0,1 --vdev=net_tap0\",port=1,none=\"\""), 0);
	cr_assert_eq(spec.options_count, 3);
	check_value(&spec, "eal", "-l 0,1 --vdev=net_tap0");
	check_value(&spec, "port", "1");
	check_value(&spec, "none", "");
}

Test(spec, unquoted_value_keeps_further_equals)
{
	struct vly_nic_spec spec;

	cr_assert_eq(parse(&spec, "x:a=b=c,d="), 0);
	check_value(&spec, "a", "b=c");
	check_value(&spec, "d", "");
}

Test(spec, quotes_that_do_not_match_are_einval)
{
	static const char *const bad[] = {"x:a=\"b", "x:a=\"b\"c", "x:a=\"b\"c,d=1", "x:a=\""};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vly_nic_spec spec;

		cr_assert_eq(parse(&spec, bad[i]), -EINVAL, "%s", bad[i]);
		cr_assert(strstr(why, "quotes"), "%s: %s", bad[i], why);
	}
}

Test(spec, option_without_a_name_is_einval)
{
	static const char *const bad[] = {"x:,", "x:a,,b", "x:=1", "x:,a=1"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vly_nic_spec spec;

		cr_assert_eq(parse(&spec, bad[i]), -EINVAL, "%s", bad[i]);
		cr_assert(strstr(why, "without a name"), "%s: %s", bad[i], why);
	}
}

Test(spec, text_is_bounded_and_the_bound_is_told)
{
	char text[VLY_SPEC_TEXT_MAX + 1];
	struct vly_nic_spec spec;

	cr_assert_eq(parse(&spec, NULL), -EINVAL);
	cr_assert_eq(parse(&spec, ""), -EINVAL);
	memset(text, 'n', sizeof(text));
	text[VLY_SPEC_TEXT_MAX - 1] = '\0';
	cr_assert_eq(parse(&spec, text), 0);
	cr_assert_eq(strlen(spec.name), VLY_SPEC_TEXT_MAX - 1);
	text[VLY_SPEC_TEXT_MAX - 1] = 'n';
	text[VLY_SPEC_TEXT_MAX] = '\0';
	cr_assert_eq(parse(&spec, text), -EINVAL);
	cr_assert(strstr(why, "1 to 1023 characters"), "%s", why);
}

Test(spec, as_many_options_as_there_is_room_for_are_taken_and_one_more_is_einval)
{
	char text[VLY_SPEC_TEXT_MAX] = "x:o";
	struct vly_nic_spec spec;

	for (int i = 1; i < VLY_SPEC_OPTIONS_MAX; i++)
		strcat(text, ",o");
	cr_assert_eq(parse(&spec, text), 0);
	cr_assert_eq(spec.options_count, VLY_SPEC_OPTIONS_MAX);
	strcat(text, ",o");
	cr_assert_eq(parse(&spec, text), -EINVAL);
	cr_assert(strstr(why, "more than 24 options"), "%s", why);
}

Test(spec, why_is_cut_to_its_size)
{
	struct vly_nic_spec spec;
	char small[8];

	memset(small, 'x', sizeof(small));
	cr_assert_eq(vly_spec_parse(&spec, "x:a=\"b", small, sizeof(small)), -EINVAL);
	cr_assert_eq(strnlen(small, sizeof(small)), sizeof(small) - 1);
	cr_assert_eq(vly_spec_parse(&spec, "x:a=\"b", NULL, 0), -EINVAL);
}

Test(spec, number_is_taken_up_to_its_maximum)
{
	struct vly_nic_spec spec;
	uint64_t number;

	cr_assert_eq(parse(&spec, "x:a=0,b=41,c=42,d=43,e=0x10,f=18446744073709551615"), 0);
	cr_assert_eq(vly_spec_number(&spec, "a", 42, 7, &number, why, sizeof(why)), 0);
	cr_assert_eq(number, 0);
	cr_assert_eq(vly_spec_number(&spec, "b", 42, 7, &number, why, sizeof(why)), 0);
	cr_assert_eq(number, 41);
	cr_assert_eq(vly_spec_number(&spec, "c", 42, 7, &number, why, sizeof(why)), 0);
	cr_assert_eq(number, 42);
	cr_assert_eq(vly_spec_number(&spec, "d", 42, 7, &number, why, sizeof(why)), -EINVAL);
	cr_assert(strstr(why, "42"), "%s", why);
	cr_assert_eq(vly_spec_number(&spec, "e", 42, 7, &number, why, sizeof(why)), 0);
	cr_assert_eq(number, 16);
	cr_assert_eq(vly_spec_number(&spec, "f", UINT64_MAX, 7, &number, why, sizeof(why)), 0);
	cr_assert_eq(number, UINT64_MAX);
	cr_assert_eq(vly_spec_number(&spec, "missing", 42, 7, &number, why, sizeof(why)), 0);
	cr_assert_eq(number, 7);
}

Test(spec, number_that_is_none_is_einval_and_named)
{
	static const char *const bad[] = {
		"x:a",    "x:a=",   "x:a=-1",
		"x:a=+1", "x:a= 1", "x:a=1x",
		"x:a=x",  "x:a=1 ", "x:a=18446744073709551616",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vly_nic_spec spec;
		uint64_t number;

		cr_assert_eq(parse(&spec, bad[i]), 0, "%s", bad[i]);
		cr_assert_eq(vly_spec_number(&spec, "a", UINT64_MAX, 7, &number, why, sizeof(why)),
			     -EINVAL, "%s", bad[i]);
		cr_assert(strstr(why, "a="), "%s: %s", bad[i], why);
	}
}

Test(spec, unknown_option_is_named)
{
	static const char *const known[] = {"port", "ip", NULL};
	static const char *const none[] = {NULL};
	struct vly_nic_spec spec;

	cr_assert_eq(parse(&spec, "x:ip=1,port=2"), 0);
	cr_assert_eq(vly_spec_known(&spec, known, why, sizeof(why)), 0);
	cr_assert_eq(vly_spec_known(&spec, none, why, sizeof(why)), -EINVAL);
	cr_assert_eq(parse(&spec, "x:ip=1,prot=2"), 0);
	cr_assert_eq(vly_spec_known(&spec, known, why, sizeof(why)), -EINVAL);
	cr_assert(strstr(why, "prot"), "%s", why);
	cr_assert_eq(parse(&spec, "x"), 0);
	cr_assert_eq(vly_spec_known(&spec, none, why, sizeof(why)), 0);
}
