/* source_spec.c - what follows "source:" in a nic's name */
#include "pyshim/source_spec.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEN_MAX 65536u
#define RATE_MAX 1000000000u
#define STEP_MS_MAX 86400000u

/* A number of [min, max] up to `end`, which must be there. */
static int parse_number(const char *value, char end, uint64_t min, uint64_t max, uint64_t *number,
			const char **rest)
{
	char *tail;

	errno = 0;
	*number = strtoull(value, &tail, 10);
	if (errno || tail == value || *tail != end || *number < min || *number > max)
		return -EINVAL;
	*rest = end ? tail + 1 : tail;
	return 0;
}

/* RATExMS+RATExMS+... */
static int parse_steps(struct source_spec *s, const char *value)
{
	s->steps_count = 0;
	for (;;) {
		struct source_step *step = &s->steps[s->steps_count];
		bool more = strchr(value, '+') != NULL;

		if (s->steps_count++ == SOURCE_STEPS_MAX ||
		    parse_number(value, 'x', 0, RATE_MAX, &step->rate, &value) ||
		    parse_number(value, more ? '+' : '\0', 0, STEP_MS_MAX, &step->ms, &value))
			return -EINVAL;
		if (!more)
			return 0;
	}
}

static int parse_path(struct source_spec *s, const char *value)
{
	if (!*value || strlen(value) >= sizeof(s->meter))
		return -EINVAL;
	strcpy(s->meter, value);
	return 0;
}

static int parse_value(struct source_spec *s, const char *key, const char *value)
{
	uint64_t cpu = (uint64_t)s->cpu, skim = s->skim, held = s->held;
	const struct {
		const char *name;
		uint64_t *place, min, max;
	} numbers[] = {
		{"conns", &s->conns, 1, 1u << 24},
		{"len", &s->len, 1, LEN_MAX},
		{"batch", &s->batch, 1, 65536},
		{"rate", &s->rate, 0, 1000000000},
		{"seed", &s->seed, 1, UINT64_MAX},
		{"count", &s->count, 0, UINT64_MAX},
		{"ring", &s->ring, SOURCE_RING_MIN, 1u << 24},
		{"from", &s->from_ms, 0, STEP_MS_MAX},
		{"cpu", &cpu, 0, 4095},
		{"until", &s->until_ms, 1, STEP_MS_MAX},
		{"skim", &skim, 0, 1},
		{"held", &held, 0, 1},
	};
	const char *rest;

	if (strcmp(key, "order") == 0) {
		s->linear = strcmp(value, "linear") == 0;
		return s->linear || strcmp(value, "random") == 0 ? 0 : -EINVAL;
	}
	if (strcmp(key, "steps") == 0)
		return parse_steps(s, value);
	if (strcmp(key, "meter") == 0)
		return parse_path(s, value);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		if (strcmp(key, numbers[i].name) != 0)
			continue;
		if (parse_number(value, '\0', numbers[i].min, numbers[i].max, numbers[i].place,
				 &rest))
			return -EINVAL;
		s->cpu = (int)cpu;
		s->skim = skim;
		s->held = held;
		return 0;
	}
	return -EINVAL;
}

int source_spec_parse(struct source_spec *s, const char *spec, char *why, size_t why_bytes)
{
	char copy[512];
	char *rest = copy, *part;

	*s = (struct source_spec){
		.conns = 1000, .len = 64, .batch = 64, .seed = 1, .ring = 65536, .cpu = -1};
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
				"'%s=%s' is none of conns, len, batch, rate, seed, count, ring, cpu, "
				"from, until, skim, held=NUMBER, order=random|linear, meter=FILE or "
				"steps=RATExMS+RATExMS in its range",
				part, value ? value : "");
			return -EINVAL;
		}
	}
	if (s->meter[0] && (!s->steps_count || (s->ring & (s->ring - 1)) || s->len < 16)) {
		snprintf(why, why_bytes,
			 "a source with a meter needs steps=RATExMS, a ring that is a power "
			 "of two, and messages of 16 bytes or more");
		return -EINVAL;
	}
	return 0;
}
