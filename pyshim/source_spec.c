/* source_spec.c - what follows "source:" in a nic's name */
#include "pyshim/source_spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN_MAX 65536u

static int parse_value(struct source_spec *s, const char *key, const char *value)
{
	const struct {
		const char *name;
		uint64_t *place, min, max;
	} numbers[] = {
		{"conns", &s->conns, 1, 1u << 24}, {"len", &s->len, 1, LEN_MAX},
		{"batch", &s->batch, 1, 65536},    {"rate", &s->rate, 0, 1000000000},
		{"seed", &s->seed, 1, UINT64_MAX}, {"count", &s->count, 0, UINT64_MAX},
	};
	char *tail;

	if (strcmp(key, "order") == 0) {
		s->linear = strcmp(value, "linear") == 0;
		return s->linear || strcmp(value, "random") == 0 ? 0 : -EINVAL;
	}
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strcmp(key, numbers[i].name) != 0)
			continue;
		errno = 0;
		*numbers[i].place = strtoull(value, &tail, 10);
		return errno || *tail || tail == value || *numbers[i].place < numbers[i].min ||
				       *numbers[i].place > numbers[i].max
			       ? -EINVAL
			       : 0;
	}
	return -EINVAL;
}

int source_spec_parse(struct source_spec *s, const char *spec, char *why, size_t why_bytes)
{
	char copy[512];
	char *rest = copy, *part;

	*s = (struct source_spec){.conns = 1000, .len = 64, .batch = 64, .seed = 1};
	snprintf(copy, sizeof(copy), "%s", spec);
	while ((part = strsep(&rest, ","))) {
		char *value = strchr(part, '=');

		if (!*part)
			continue;
		if (value)
			*value++ = '\0';
		if (!value || parse_value(s, part, value)) {
			snprintf(
				why, why_bytes,
				"'%s=%s' is none of conns, len, batch, rate, seed, count=NUMBER or "
				"order=random|linear in its range",
				part, value ? value : "");
			return -EINVAL;
		}
	}
	return 0;
}
