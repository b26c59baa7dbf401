/* words.c - a command line as a vector of words */
#include "bench/words.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORD_BYTES 4096
#define PORT_MARK "{port}"

int words_add(struct words *words, const char *format, ...)
{
	va_list args;

	if (words->count == WORDS_MAX)
		return -E2BIG;
	va_start(args, format);
	int len = vasprintf(&words->argv[words->count], format, args);
	va_end(args);
	if (len < 0) {
		words->argv[words->count] = NULL;
		return -ENOMEM;
	}
	words->argv[++words->count] = NULL;
	return 0;
}

/*
 * Reads one word at *at, which it passes. Its length, or -EINVAL: an open quote, or longer than
 * WORD_BYTES.
 */
static int split_word(const char **at, unsigned int port, char *word)
{
	size_t len = 0;
	char quote = '\0';

	for (; **at && (quote || !isspace((unsigned char)**at)); (*at)++) {
		char c = **at;
		if (len > WORD_BYTES - 16)
			return -EINVAL;
		if (quote && c == quote) {
			quote = '\0';
		} else if (!quote && (c == '\'' || c == '"')) {
			quote = c;
		} else if (strncmp(*at, PORT_MARK, strlen(PORT_MARK)) == 0) {
			len += (size_t)snprintf(word + len, WORD_BYTES - len, "%u", port);
			*at += strlen(PORT_MARK) - 1;
		} else {
			if (c == '\\' && quote != '\'' && (*at)[1])
				c = *++*at;
			word[len++] = c;
		}
	}
	word[len] = '\0';
	return quote ? -EINVAL : (int)len;
}

int words_split(struct words *words, const char *text, unsigned int port, char *why,
		size_t why_bytes)
{
	char word[WORD_BYTES];

	for (const char *at = text;;) {
		at += strspn(at, " \t\n");
		if (!*at)
			break;
		if (split_word(&at, port, word) < 0) {
			snprintf(why, why_bytes,
				 "'%s' has a quote that is never closed, or a word too long", text);
			return -EINVAL;
		}
		if (words_add(words, "%s", word) != 0) {
			snprintf(why, why_bytes, "'%s' has more than %d words", text, WORDS_MAX);
			return -EINVAL;
		}
	}
	if (words->count == 0 || !*words->argv[0]) {
		snprintf(why, why_bytes, "the command is empty");
		return -EINVAL;
	}
	return 0;
}

json_t *words_to_json(const struct words *words)
{
	json_t *array = json_array();

	for (unsigned int i = 0; array && i < words->count; i++) {
		/* Fails for what is not UTF-8, too. */
		if (json_array_append_new(array, json_string(words->argv[i])) != 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

int words_from_json(struct words *words, const json_t *array)
{
	for (size_t i = 0; i < json_array_size(array); i++) {
		const char *word = json_string_value(json_array_get(array, i));
		if (!word || words_add(words, "%s", word) != 0)
			return -EINVAL;
	}
	return words->count ? 0 : -EINVAL;
}

void words_fini(struct words *words)
{
	for (unsigned int i = 0; i < words->count; i++)
		free(words->argv[i]);
	memset(words, 0, sizeof(*words));
}
