/* test_uring_probe.c - what io_uring can do here is found out by trying, and each part can be switched off */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nic/uring/probe.h"
#include "tests/support/leak.h"
#include "volley/log.h"

TestSuite(uring_probe, .fini = vly_leak_gate, .timeout = 60);

static unsigned lines;

static void count_line(enum vly_log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
	lines++;
}

Test(uring_probe, table_names_each_feature_its_kernel_and_its_worth_once)
{
	unsigned count;
	const struct vly_nic_feature *features = vly_nic_features("uring", &count);

	cr_assert_eq(count, URING_FEATURES);
	for (unsigned i = 0; i < count; i++) {
		cr_assert(features[i].name && features[i].kernel && features[i].worth);
		cr_assert(!features[i].used || features[i].present);
		for (unsigned j = 0; j < i; j++)
			cr_assert_neq(strcmp(features[i].name, features[j].name), 0);
	}
}

/* The contract runs once without each: tests/meson.build lists them. */
Test(uring_probe, each_switch_has_its_run_of_the_contract)
{
	const char *list = getenv("VOLLEY_TEST_URING_SWITCHES");
	char known[256] = "";
	unsigned count;
	const struct vly_nic_feature *features = uring_features(&count);

	if (!list)
		cr_skip_test("run by hand");
	for (unsigned i = 0; i < count; i++) {
		strncat(known, i ? "," : "", sizeof(known) - strlen(known) - 1);
		strncat(known, features[i].name, sizeof(known) - strlen(known) - 1);
	}
	cr_assert_str_eq(list, known);
}

Test(uring_probe, other_nics_have_no_table)
{
	unsigned count = 7;

	cr_assert_null(vly_nic_features("epoll", &count));
	cr_assert_eq(count, 0);
	cr_assert_null(vly_nic_features("nosuch", &count));
}

/* Each test runs in a process of its own: the environment is read at the first look. */
Test(uring_probe, switch_takes_away_what_it_names_and_nothing_else)
{
	char why[256];
	unsigned count;

	setenv("VOLLEY_URING_OFF", "incremental,quiet_send", 1);
	if (uring_probe(why, sizeof(why)))
		cr_skip_test("%s", why);
	const struct vly_nic_feature *features = uring_features(&count);

	for (unsigned i = 0; i < count; i++) {
		bool off = i == URING_INCREMENTAL || i == URING_QUIET_SEND;

		cr_assert_eq(features[i].used, features[i].present && !off);
		cr_assert_eq(uring_has((enum uring_feature)i), features[i].used);
	}
}

Test(uring_probe, switch_of_an_unknown_name_is_one_line)
{
	char why[256];

	setenv("VOLLEY_URING_OFF", "no_such_thing", 1);
	vly_log_set(count_line, NULL, VLY_LOG_WARN);
	if (uring_probe(why, sizeof(why)))
		cr_skip_test("%s", why);
	cr_assert_eq(lines, 1);
	uring_has(URING_DIRECT);
	cr_assert_eq(lines, 1);
}

Test(uring_probe, options_that_it_does_not_know_are_einval_with_the_reason)
{
	char why[256];

	cr_assert_eq(vly_nic_check("uring:nosuch=1", why, sizeof(why)), -EINVAL);
	cr_assert(strstr(why, "nosuch"));
	cr_assert_eq(vly_nic_check("uring:cq=many", why, sizeof(why)), -EINVAL);
	cr_assert(strstr(why, "cq=many"));
}
