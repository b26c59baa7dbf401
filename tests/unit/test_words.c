/* test_words.c - a command line as a vector of words */
#include "bench/words.h"

#include "tests/support/leak.h"

#include <errno.h>
#include <string.h>

static char why[256];

/* Splits and joins with '|', so that one string shows every border. */
static const char *split(const char *text)
{
	static char joined[8192];
	struct words words = {.count = 0};

	joined[0] = '\0';
	if (words_split(&words, text, 7007, why, sizeof(why)) != 0) {
		words_fini(&words);
		return "error";
	}
	cr_assert_null(words.argv[words.count]);
	for (unsigned int i = 0; i < words.count; i++) {
		strcat(joined, i ? "|" : "");
		strcat(joined, words.argv[i]);
	}
	words_fini(&words);
	return joined;
}

TestSuite(words, .fini = vly_leak_gate);

Test(words, blanks_separate)
{
	cr_assert_str_eq(split("a"), "a");
	cr_assert_str_eq(split("  a \t b\nc  "), "a|b|c");
}

Test(words, port_is_replaced_everywhere)
{
	cr_assert_str_eq(split("./s {port}"), "./s|7007");
	cr_assert_str_eq(split("s --listen=:{port},{port} '{port}' \"{port}\""),
			 "s|--listen=:7007,7007|7007|7007");
	cr_assert_str_eq(split("s {ports} {por"), "s|{ports}|{por");
}

Test(words, quotes_and_backslashes_are_a_shells)
{
	cr_assert_str_eq(split("sh -c 'a b' c"), "sh|-c|a b|c");
	cr_assert_str_eq(split("x \"it's\" 'say \"a\"'"), "x|it's|say \"a\"");
	cr_assert_str_eq(split("x a\\ b \"a\\\"b\" 'a\\b'"), "x|a b|a\"b|a\\b");
	cr_assert_str_eq(split("x '' y"), "x||y");
	cr_assert_str_eq(split("x a'b'c"), "x|abc");
}

Test(words, open_quote_and_nothing_are_refused)
{
	cr_assert_str_eq(split("a 'b"), "error");
	cr_assert_str_eq(split("a \"b"), "error");
	cr_assert_str_eq(split(""), "error");
	cr_assert_str_eq(split("   "), "error");
	cr_assert_str_eq(split("''"), "error");
}

Test(words, more_than_the_limit_is_refused)
{
	char text[4 * WORDS_MAX + 8] = "";

	for (int i = 0; i < WORDS_MAX; i++)
		strcat(text, "a ");
	cr_assert_str_neq(split(text), "error");
	strcat(text, "a");
	cr_assert_str_eq(split(text), "error");
}

Test(words, word_too_long_is_refused_not_overrun)
{
	char text[8192];

	memset(text, 'a', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	cr_assert_str_eq(split(text), "error");
	for (size_t i = 0; i + 6 < sizeof(text); i += 6)
		memcpy(text + i, "{port}", 6);
	cr_assert_str_eq(split(text), "error");
}

Test(words, json_round_trip_is_exact)
{
	struct words words = {.count = 0}, again = {.count = 0};

	cr_assert_eq(words_split(&words, "a 'b c' {port}", 1, why, sizeof(why)), 0);
	json_t *array = words_to_json(&words);
	cr_assert_eq(words_from_json(&again, array), 0);
	cr_assert_eq(again.count, 3);
	cr_assert_str_eq(again.argv[1], "b c");
	cr_assert_str_eq(again.argv[2], "1");
	json_decref(array);
	words_fini(&words);
	words_fini(&again);
}

Test(words, what_json_cannot_hold_is_refused)
{
	struct words words = {.count = 0};
	json_t *numbers = json_pack("[s, i]", "a", 1);

	cr_assert_eq(words_add(&words, "a\xff"), 0);
	cr_assert_null(words_to_json(&words));
	words_fini(&words);
	cr_assert_eq(words_from_json(&words, numbers), -EINVAL);
	words_fini(&words);
	json_decref(numbers);
}
