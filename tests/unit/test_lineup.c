/* test_lineup.c - the rows that a command line names */
#include "bench/lineup.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/leak.h"

TestSuite(lineup, .fini = vly_leak_gate);

static struct lineup *parsed(bool twice, int argc, const char *const *words)
{
	struct lineup *lineup = calloc(1, sizeof(*lineup));
	char *argv[16] = {(char *)(uintptr_t) "volley"};

	for (int i = 0; i < argc; i++)
		argv[i + 1] = (char *)(uintptr_t)words[i];
	lineup->command = "test";
	lineup->twice = twice;
	cr_assert_eq(argp_parse(&lineup_argp, argc + 1, argv, ARGP_IN_ORDER | ARGP_NO_EXIT, NULL,
				lineup),
		     0);
	return lineup;
}

Test(lineup, rows_stand_in_the_order_of_the_words)
{
	const char *const words[] = {"--exec",   "x {port}", "c_epoll",
				     "--port=7", "--exec=y", "volley_epoll"};
	static const char *const names[] = {"exec", "c_epoll", "exec-2", "volley_epoll"};
	struct lineup *lineup = parsed(false, 6, words);

	cr_assert_eq(lineup->session.rows_count, 4);
	for (int i = 0; i < 4; i++)
		cr_assert_str_eq(lineup->session.rows[i].name, names[i]);
	cr_assert_str_eq(lineup->session.rows[0].variant->exec, "x {port}");
	cr_assert_str_eq(lineup->session.rows[2].variant->exec, "y");
	cr_assert_eq(lineup->port, 7);
	free(lineup);
}

Test(lineup, a_variant_named_again_gets_a_name_of_its_own)
{
	const char *const words[] = {"c_epoll", "c_epoll"};
	struct lineup *lineup = parsed(true, 2, words);
	const struct session_row *rows = lineup->session.rows;

	cr_assert_eq(lineup->session.rows_count, 2);
	cr_assert_str_eq(rows[0].name, "c_epoll");
	cr_assert_str_eq(rows[1].name, "c_epoll-2");
	cr_assert_str_eq(rows[1].variant->name, "c_epoll-2");
	cr_assert_eq(rows[0].variant->command, rows[1].variant->command);
	free(lineup);
}
