/* spec.c - parsing the name of a nic and its options */
#include "nic/spec.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Ends the value that starts at `at`: returns the character after it (its separator), which becomes
 * NUL; NULL: open quote.
 */
static char *cut_value(char **at)
{
	char *end;

	if (**at != '"') {
		end = *at + strcspn(*at, ",");
		return end;
	}
	(*at)++;
	end = strchr(*at, '"');
	if (!end)
		return NULL;
	*end++ = '\0';
	return end;
}

static int parse_options(struct vly_nic_spec *spec, char *at, char *why, size_t why_bytes)
{
	while (at && *at) {
		if (spec->options_count == VLY_SPEC_OPTIONS_MAX) {
			snprintf(why, why_bytes, "more than %d options", VLY_SPEC_OPTIONS_MAX);
			return -EINVAL;
		}
		char *key = at;
		char *end = at + strcspn(at, "=,");
		const char *value = NULL;

		if (end == key) {
			snprintf(why, why_bytes, "an option without a name at \"%s\"", key);
			return -EINVAL;
		}
		if (*end == '=') {
			*end = '\0';
			char *start = end + 1;

			end = cut_value(&start);
			if (!end || (*end && *end != ',')) {
				snprintf(why, why_bytes, "the quotes of option \"%s\" do not match",
					 key);
				return -EINVAL;
			}
			value = start;
		}
		at = *end ? end + 1 : NULL;
		*end = '\0';
		spec->options[spec->options_count].key = key;
		spec->options[spec->options_count++].value = value;
	}
	return 0;
}

int vly_spec_parse(struct vly_nic_spec *spec, const char *text, char *why, size_t why_bytes)
{
	size_t len = text ? strlen(text) : 0;

	*spec = (struct vly_nic_spec){.name = spec->text};
	if (len == 0 || len >= sizeof(spec->text)) {
		snprintf(why, why_bytes, "a nic's name has 1 to %zu characters",
			 sizeof(spec->text) - 1);
		return -EINVAL;
	}
	memcpy(spec->text, text, len + 1);
	char *colon = strchr(spec->text, ':');

	if (!colon)
		return 0;
	*colon = '\0';
	return parse_options(spec, colon + 1, why, why_bytes);
}

const char *vly_spec_get(const struct vly_nic_spec *spec, const char *key)
{
	for (unsigned i = 0; i < spec->options_count; i++) {
		if (strcmp(spec->options[i].key, key) == 0)
			return spec->options[i].value ? spec->options[i].value : "";
	}
	return NULL;
}

int vly_spec_number(const struct vly_nic_spec *spec, const char *key, uint64_t max,
		    uint64_t fallback, uint64_t *number, char *why, size_t why_bytes)
{
	const char *text = vly_spec_get(spec, key);
	char *end;

	*number = fallback;
	if (!text)
		return 0;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 0);

	if (errno || *text < '0' || *text > '9' || *end || value > max) {
		snprintf(why, why_bytes, "%s=%s: a number from 0 to %llu is expected", key, text,
			 (unsigned long long)max);
		return -EINVAL;
	}
	*number = value;
	return 0;
}

int vly_spec_known(const struct vly_nic_spec *spec, const char *const *known, char *why,
		   size_t why_bytes)
{
	for (unsigned i = 0; i < spec->options_count; i++) {
		const char *const *candidate = known;

		while (*candidate && strcmp(*candidate, spec->options[i].key) != 0)
			candidate++;
		if (!*candidate) {
			snprintf(why, why_bytes, "nic %s has no option \"%s\"", spec->name,
				 spec->options[i].key);
			return -EINVAL;
		}
	}
	return 0;
}
