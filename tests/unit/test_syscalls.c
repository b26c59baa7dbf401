/* test_syscalls.c - what perf stat writes becomes counts by name, and what it lacks is told */
#include "bench/syscalls.h"

#include "tests/support/leak.h"

#include <errno.h>
#include <math.h>
#include <string.h>

TestSuite(syscalls, .fini = vly_leak_gate);

static const char csv[] = "# started on Fri Nov 20 14:02:27 2026\n"
			  "\n"
			  "2100,,raw_syscalls:sys_enter,1500000,100.00,,\n"
			  "1000,,syscalls:sys_enter_recvfrom,1500000,100.00,,\n"
			  "1000,,syscalls:sys_enter_sendto,1500000,100.00,,\n"
			  "40,,syscalls:sys_enter_epoll_pwait,1500000,100.00,,\n"
			  "9,,syscalls:sys_enter_epoll_pwait9,1500000,100.00,,\n"
			  "<not counted>,,syscalls:sys_enter_read,0,0.00,,\n";

static double count(const struct syscalls *s, const char *name)
{
	for (size_t i = 0; i < SYSCALLS_NAMES; i++)
		if (strcmp(syscalls_names[i], name) == 0)
			return s->by_name[i];
	return -1;
}

static bool near(double a, double b)
{
	return fabs(a - b) <= 1e-9;
}

Test(syscalls, lines_of_perf_become_counts_and_the_difference_is_other)
{
	struct syscalls s;

	cr_assert_eq(syscalls_parse(csv, &s), 0);
	cr_assert(s.counted);
	cr_assert(near(s.total, 2100));
	cr_assert(near(count(&s, "recvfrom"), 1000));
	cr_assert(near(count(&s, "epoll_pwait"), 40));
	cr_assert(near(count(&s, "read"), 0));
	cr_assert(near(syscalls_other(&s), 60));
	syscalls_scale(&s, 0.001);
	cr_assert(near(s.total, 2.1));
	cr_assert(near(syscalls_other(&s), 0.06));
}

Test(syscalls, a_name_that_was_counted_before_the_total_makes_no_negative_other)
{
	struct syscalls s;

	cr_assert_eq(syscalls_parse("10,,raw_syscalls:sys_enter,1,1,,\n"
				    "11,,syscalls:sys_enter_read,1,1,,\n",
				    &s),
		     0);
	cr_assert(near(syscalls_other(&s), 0));
}

Test(syscalls, without_a_total_nothing_is_counted_and_the_reason_says_so)
{
	static const char *const bad[] = {
		"",
		"\n",
		"garbage",
		"12",
		"12,,",
		"<not supported>,,raw_syscalls:sys_enter,0,0.00,,\n",
		"12,,raw_syscalls:sys_enter_not,0,0.00,,\n",
		"12,,syscalls:sys_enter_read,0,0.00,,\n",
	};
	struct syscalls s;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		cr_assert_eq(syscalls_parse(bad[i], &s), -EBADMSG, "%s", bad[i]);
		cr_assert(!s.counted);
		cr_assert_neq(s.reason[0], '\0');
	}
}

Test(syscalls, counts_survive_the_control_message)
{
	struct syscalls s, back;

	cr_assert_eq(syscalls_parse(csv, &s), 0);
	s.counted_ns = 2000000000;
	json_t *message = syscalls_to_json(&s);
	syscalls_from_json(message, &back);
	json_decref(message);
	cr_assert(back.counted);
	cr_assert_eq(back.counted_ns, 2000000000);
	cr_assert(near(back.total, 2100));
	cr_assert(near(count(&back, "sendto"), 1000));
	/* Of a message without any. */
	syscalls_from_json(NULL, &back);
	cr_assert(!back.counted);
}

Test(syscalls, the_result_line_has_what_was_called_and_the_rest)
{
	struct syscalls s;

	cr_assert_eq(syscalls_parse(csv, &s), 0);
	json_t *names = syscalls_by_name_json(&s);
	cr_assert_eq(json_object_size(names), 4);
	cr_assert(near(json_real_value(json_object_get(names, "other")), 60));
	json_decref(names);
	s.counted = false;
	names = syscalls_by_name_json(&s);
	cr_assert(json_is_null(names));
	json_decref(names);
}

Test(syscalls, the_text_begins_with_the_most_frequent_and_leaves_out_what_rounds_to_nothing)
{
	struct syscalls s;
	char text[256], small[16];

	cr_assert_eq(syscalls_parse(csv, &s), 0);
	syscalls_scale(&s, 0.001);
	cr_assert_str_eq(syscalls_text(&s, text, sizeof(text)),
			 "recvfrom 1, sendto 1, other 0.06, epoll_pwait 0.04");
	syscalls_scale(&s, 0.01);
	cr_assert_str_eq(syscalls_text(&s, text, sizeof(text)),
			 "recvfrom 0.01, sendto 0.01, other 0.0006");
	cr_assert_eq(strlen(syscalls_text(&s, small, sizeof(small))), sizeof(small) - 1);
}
