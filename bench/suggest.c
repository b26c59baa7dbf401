/* suggest.c - the valid name that a mistyped one most likely meant */
#include "bench/suggest.h"

#include <ctype.h>
#include <string.h>

#define WORD_MAX 64

static int folded(char c)
{
	return c == '-' ? '_' : tolower((unsigned char)c);
}

static size_t min_of(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Optimal string alignment; words are cut to WORD_MAX. */
static size_t distance(const char *a, const char *b)
{
	size_t rows[3][WORD_MAX + 1];
	size_t a_len = min_of(strlen(a), WORD_MAX);
	size_t b_len = min_of(strlen(b), WORD_MAX);

	for (size_t j = 0; j <= b_len; j++)
		rows[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *row = rows[i % 3];
		const size_t *above = rows[(i - 1) % 3];
		const size_t *two_above = rows[(i + 1) % 3]; /* (i - 2) mod 3 */
		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			int x = folded(a[i - 1]);
			int y = folded(b[j - 1]);
			row[j] = min_of(above[j - 1] + (x != y), min_of(above[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && x == folded(b[j - 2]) && y == folded(a[i - 2]))
				row[j] = min_of(row[j], two_above[j - 2] + 1);
		}
	}
	return rows[a_len % 3][b_len];
}

const char *suggest_nearest(const char *word, const char *const *names, size_t count)
{
	const char *best = NULL;
	size_t best_distance = 0;

	for (size_t i = 0; i < count; i++) {
		size_t d = distance(word, names[i]);
		/*
		 * A word that begins a name ("uv" of "uvloop_proto") is near, however much is
		 * missing.
		 */
		if (strlen(word) >= 2 && strncmp(word, names[i], strlen(word)) == 0)
			d = 1;
		/* More than half of it wrong: a guess, not a typo. */
		if (2 * d > strlen(names[i]))
			continue;
		if (!best || d < best_distance) {
			best = names[i];
			best_distance = d;
		}
	}
	return best;
}
