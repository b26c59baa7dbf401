/* test_cpulist.c - CPU lists read, refused and written */
#include "base/cpulist.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/support/leak.h"

TestSuite(cpulist, .fini = vly_leak_gate);

static void accept(const char *text, const char *formatted)
{
	struct vly_cpulist list;
	char out[64];

	cr_assert_eq(vly_cpulist_parse(text, false, &list, NULL, 0), 0, "%s", text);
	cr_assert_eq(vly_cpulist_format(&list, out, sizeof(out)), strlen(formatted));
	cr_assert_str_eq(out, formatted);
}

static void refuse(const char *text, int error, const char *message)
{
	struct vly_cpulist list;
	char err[200] = "";

	cr_assert_eq(vly_cpulist_parse(text, false, &list, err, sizeof(err)), error, "%s", text);
	cr_assert_str_eq(err, message);
	cr_assert_eq(list.count, 0);
	for (unsigned int cpu = 0; cpu < VLY_CPULIST_MAX; cpu++)
		cr_assert_not(vly_cpulist_has(&list, cpu));
}

Test(cpulist, numbers_and_ranges_are_read)
{
	accept("0", "0");
	accept("0-3,8", "0-3,8");
	accept("7-7", "7");
	accept("0,1,2", "0-2");
	accept(" 1 - 3 ,\t5 ", "1-3,5");
	accept("63-64,127,128", "63-64,127-128");
	accept("007", "7");
}

Test(cpulist, order_is_kept_as_written)
{
	static const uint16_t expected[] = {8, 0, 1, 2, 3, 5};
	struct vly_cpulist list;

	cr_assert_eq(vly_cpulist_parse("8,0-3,5", false, &list, NULL, 0), 0);
	cr_assert_eq(list.count, 6);
	cr_assert_arr_eq(list.order, expected, sizeof(expected));
}

Test(cpulist, highest_cpu_is_1023)
{
	accept("1022", "1022");
	accept("1023", "1023");
	refuse("1024", -ERANGE, "CPU list \"1024\": 1024 is beyond the highest CPU, 1023");
	refuse("0-1024", -ERANGE, "CPU list \"0-1024\": 1024 is beyond the highest CPU, 1023");
	refuse("4294967296", -ERANGE,
	       "CPU list \"4294967296\": 4294967296 is beyond the highest CPU, 1023");
	refuse("99999999999999999999999", -ERANGE,
	       "CPU list \"99999999999999999999999\": 99999999999999999999999 is beyond the "
	       "highest CPU, 1023");
}

Test(cpulist, empty_lists_are_refused)
{
	refuse("", -EINVAL, "CPU list is empty");
	refuse(" \t", -EINVAL, "CPU list is empty");
}

Test(cpulist, reversed_ranges_are_refused)
{
	refuse("3-1", -EINVAL, "CPU list \"3-1\": 3-1 runs backwards");
	refuse("0,12-11", -EINVAL, "CPU list \"0,12-11\": 12-11 runs backwards");
}

Test(cpulist, malformed_lists_are_refused_where_they_break)
{
	refuse(",1", -EINVAL, "CPU list \",1\": no number at \",1\"");
	refuse("1,", -EINVAL, "CPU list \"1,\": no number at \"\"");
	refuse("1,,2", -EINVAL, "CPU list \"1,,2\": no number at \",2\"");
	refuse("-1", -EINVAL, "CPU list \"-1\": no number at \"-1\"");
	refuse("1-", -EINVAL, "CPU list \"1-\": no number at \"\"");
	refuse("1-2-3", -EINVAL, "CPU list \"1-2-3\": not understood at \"-3\"");
	refuse("1 2", -EINVAL, "CPU list \"1 2\": not understood at \"2\"");
	refuse("0x3", -EINVAL, "CPU list \"0x3\": not understood at \"x3\"");
	refuse("all", -EINVAL, "CPU list \"all\": no number at \"all\"");
	refuse("0-3/2", -EINVAL, "CPU list \"0-3/2\": not understood at \"/2\"");
}

Test(cpulist, a_cpu_named_twice_is_refused)
{
	refuse("1,1", -EINVAL, "CPU list \"1,1\": CPU 1 is named twice");
	refuse("0-3,2", -EINVAL, "CPU list \"0-3,2\": CPU 2 is named twice");
	refuse("2,0-3", -EINVAL, "CPU list \"2,0-3\": CPU 2 is named twice");
}

Test(cpulist, repeats_are_kept_in_order_where_allowed)
{
	static const uint16_t expected[] = {0, 1, 0, 0, 1};
	struct vly_cpulist list;
	char out[16];

	cr_assert_eq(vly_cpulist_parse("0,1,0,0-1", true, &list, NULL, 0), 0);
	cr_assert_eq(list.count, 5);
	cr_assert_arr_eq(list.order, expected, sizeof(expected));
	cr_assert_eq(vly_cpulist_format(&list, out, sizeof(out)), 3);
	cr_assert_str_eq(out, "0-1");
}

Test(cpulist, repeats_beyond_the_order_s_end_are_refused)
{
	struct vly_cpulist list;

	cr_assert_eq(vly_cpulist_parse("0-1023", true, &list, NULL, 0), 0);
	cr_assert_eq(list.count, 1024);
	cr_assert_eq(vly_cpulist_parse("0-1023,5", true, &list, NULL, 0), -E2BIG);
	cr_assert_eq(list.count, 0);
	cr_assert_eq(vly_cpulist_parse("0,0-1022", true, &list, NULL, 0), 0);
	cr_assert_eq(vly_cpulist_parse("0,0-1023", true, &list, NULL, 0), -E2BIG);
}

Test(cpulist, message_is_cut_to_its_buffer)
{
	struct vly_cpulist list;
	char err[8] = "-------";

	cr_assert_eq(vly_cpulist_parse("", false, &list, err, 4), -EINVAL);
	cr_assert_str_eq(err, "CPU");
	cr_assert_eq(err[4], '-');
	cr_assert_eq(vly_cpulist_parse("", false, &list, err, 0), -EINVAL);
	cr_assert_str_eq(err, "CPU");
}

Test(cpulist, add_refuses_what_is_there_or_out_of_range)
{
	struct vly_cpulist list = {0};

	cr_assert(vly_cpulist_add(&list, 1023));
	cr_assert_not(vly_cpulist_add(&list, 1023));
	cr_assert_not(vly_cpulist_add(&list, 1024));
	cr_assert_eq(list.count, 1);
	cr_assert(vly_cpulist_has(&list, 1023));
	cr_assert_not(vly_cpulist_has(&list, 1022));
	cr_assert_not(vly_cpulist_has(&list, 1024));
	cr_assert_not(vly_cpulist_has(&list, UINT32_MAX));
}

Test(cpulist, format_returns_the_full_length_and_always_terminates)
{
	struct vly_cpulist list;
	char out[16];

	cr_assert_eq(vly_cpulist_parse("0-3,8,10-11", false, &list, NULL, 0), 0);
	for (size_t bytes = 1; bytes <= sizeof(out); bytes++) {
		memset(out, '#', sizeof(out));
		cr_assert_eq(vly_cpulist_format(&list, out, bytes), 11);
		cr_assert_eq(strlen(out), bytes - 1 < 11 ? bytes - 1 : 11);
		cr_assert_eq(strncmp(out, "0-3,8,10-11", strlen(out)), 0);
	}
	memset(out, '#', sizeof(out));
	cr_assert_eq(vly_cpulist_format(&list, out, 0), 11);
	cr_assert_eq(out[0], '#');
}

Test(cpulist, empty_list_formats_as_nothing)
{
	struct vly_cpulist list = {0};
	char out[4] = "###";

	cr_assert_eq(vly_cpulist_format(&list, out, sizeof(out)), 0);
	cr_assert_str_eq(out, "");
}

Test(cpulist, longest_text_reads_back)
{
	struct vly_cpulist list = {0}, back;
	static char out[8192];

	for (unsigned int cpu = 0; cpu < VLY_CPULIST_MAX; cpu += 2)
		cr_assert(vly_cpulist_add(&list, cpu));
	cr_assert_lt(vly_cpulist_format(&list, out, sizeof(out)), sizeof(out));
	cr_assert_eq(vly_cpulist_parse(out, false, &back, NULL, 0), 0);
	cr_assert_arr_eq(&back, &list, sizeof(list));
}
