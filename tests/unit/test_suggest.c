/* test_suggest.c - the valid name that a mistyped one most likely meant */
#include "bench/suggest.h"

#include "tests/support/leak.h"

static const char *const names[] = {"volley_epoll", "c_epoll", "asyncio_proto", "uvloop_proto"};

static const char *nearest(const char *word)
{
	return suggest_nearest(word, names, 4);
}

TestSuite(suggest, .fini = vly_leak_gate);

Test(suggest, exact_name_is_nearest)
{
	for (int i = 0; i < 4; i++)
		cr_assert_str_eq(nearest(names[i]), names[i]);
}

Test(suggest, one_slip_of_each_kind_is_forgiven)
{
	cr_assert_str_eq(nearest("c_epol"), "c_epoll");   /* left out */
	cr_assert_str_eq(nearest("c_eppoll"), "c_epoll"); /* doubled */
	cr_assert_str_eq(nearest("c_epull"), "c_epoll");  /* replaced */
	cr_assert_str_eq(nearest("c_eopll"), "c_epoll");  /* swapped */
	cr_assert_str_eq(nearest("C-EPOLL"), "c_epoll");  /* case and dash */
}

Test(suggest, beginning_of_a_name_is_near)
{
	cr_assert_str_eq(nearest("uv"), "uvloop_proto");
	cr_assert_str_eq(nearest("asyncio"), "asyncio_proto");
}

Test(suggest, word_like_none_gets_no_guess)
{
	cr_assert_null(nearest("xyzzy"));
	cr_assert_null(nearest(""));
	cr_assert_null(nearest("q"));
	cr_assert_null(suggest_nearest("anything", NULL, 0));
}

Test(suggest, long_words_are_cut_not_overrun)
{
	char word[400];

	for (int i = 0; i < 399; i++)
		word[i] = 'v';
	word[399] = '\0';
	cr_assert_null(nearest(word));
}
