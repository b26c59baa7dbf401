/* words.h - a command line as a vector of words */
#ifndef VLY_BENCH_WORDS_H
#define VLY_BENCH_WORDS_H

#include <jansson.h>
#include <stddef.h>

#define WORDS_MAX 64

/* argv[count] is NULL. All zero is the empty vector. */
struct words {
	char *argv[WORDS_MAX + 1]; /* owned */
	unsigned int count;
};

/* Appends a formatted word. 0, -E2BIG, -ENOMEM. */
int words_add(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Splits `text` at blanks as a shell would, with '...', "..." and \, but without variables,
 * patterns or pipes, and replaces {port} in every word. 0, or -EINVAL (open quote, nothing there,
 * too many words) with one line in `why`.
 */
int words_split(struct words *words, const char *text, unsigned int port, char *why,
		size_t why_bytes);

/* To and from a JSON array of strings. NULL, or -EINVAL. */
json_t *words_to_json(const struct words *words);
int words_from_json(struct words *words, const json_t *array);

void words_fini(struct words *words);

#endif
