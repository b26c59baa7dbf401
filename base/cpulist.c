/* cpulist.c - a set of CPU numbers that remembers the order it was written in */
#include "base/cpulist.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What is being read, and where complaints go. */
struct reader {
	const char *text; /* all of it, for messages */
	const char *at;
	bool repeats;
	char *err;
	size_t err_bytes;
};

__attribute__((format(printf, 3, 4))) static int refuse(const struct reader *r, int error,
							const char *fmt, ...)
{
	va_list args;

	if (r->err && r->err_bytes) {
		va_start(args, fmt);
		vsnprintf(r->err, r->err_bytes, fmt, args);
		va_end(args);
	}
	return error;
}

static void blanks_skip(struct reader *r)
{
	while (*r->at == ' ' || *r->at == '\t')
		r->at++;
}

static int number_read(struct reader *r, unsigned int *number)
{
	unsigned int value = 0;
	const char *from;

	blanks_skip(r);
	from = r->at;
	for (; *r->at >= '0' && *r->at <= '9'; r->at++) {
		/* once beyond the limit the value only has to stay there */
		if (value < VLY_CPULIST_MAX)
			value = value * 10 + (unsigned int)(*r->at - '0');
	}
	if (r->at == from)
		return refuse(r, -EINVAL, "CPU list \"%s\": no number at \"%.16s\"", r->text, from);
	if (value >= VLY_CPULIST_MAX)
		return refuse(r, -ERANGE, "CPU list \"%s\": %.*s is beyond the highest CPU, %d",
			      r->text, (int)(r->at - from), from, VLY_CPULIST_MAX - 1);
	blanks_skip(r);
	*number = value;
	return 0;
}

static int range_add(const struct reader *r, struct vly_cpulist *list, unsigned int first,
		     unsigned int last)
{
	if (last < first)
		return refuse(r, -EINVAL, "CPU list \"%s\": %u-%u runs backwards", r->text, first,
			      last);
	for (unsigned int cpu = first; cpu <= last; cpu++) {
		if (vly_cpulist_add(list, cpu))
			continue;
		if (!r->repeats)
			return refuse(r, -EINVAL, "CPU list \"%s\": CPU %u is named twice", r->text,
				      cpu);
		if (list->count == VLY_CPULIST_MAX)
			return refuse(r, -E2BIG, "CPU list: more than %d CPUs are named",
				      VLY_CPULIST_MAX);
		list->order[list->count++] = (uint16_t)cpu;
	}
	return 0;
}

static int list_read(struct reader *r, struct vly_cpulist *list)
{
	blanks_skip(r);
	if (*r->at == '\0')
		return refuse(r, -EINVAL, "CPU list is empty");
	for (;;) {
		unsigned int first, last;
		int rc = number_read(r, &first);

		if (rc)
			return rc;
		last = first;
		if (*r->at == '-') {
			r->at++;
			rc = number_read(r, &last);
			if (rc)
				return rc;
		}
		rc = range_add(r, list, first, last);
		if (rc)
			return rc;
		if (*r->at == '\0')
			return 0;
		if (*r->at != ',')
			return refuse(r, -EINVAL, "CPU list \"%s\": not understood at \"%.16s\"",
				      r->text, r->at);
		r->at++;
	}
}

int vly_cpulist_parse(const char *text, bool repeats, struct vly_cpulist *list, char *err,
		      size_t err_bytes)
{
	struct reader r = {
		.text = text,
		.at = text,
		.repeats = repeats,
		.err = err,
		.err_bytes = err_bytes,
	};
	int rc;

	memset(list, 0, sizeof(*list));
	rc = list_read(&r, list);
	if (rc)
		memset(list, 0, sizeof(*list));
	return rc;
}

bool vly_cpulist_add(struct vly_cpulist *list, unsigned int cpu)
{
	if (cpu >= VLY_CPULIST_MAX || vly_cpulist_has(list, cpu) || list->count == VLY_CPULIST_MAX)
		return false;
	list->bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
	list->order[list->count++] = (uint16_t)cpu;
	return true;
}

size_t vly_cpulist_format(const struct vly_cpulist *list, char *text, size_t text_bytes)
{
	size_t len_bytes = 0;

	if (text_bytes)
		text[0] = '\0';
	for (unsigned int first = 0; first < VLY_CPULIST_MAX; first++) {
		unsigned int last = first;
		char part[16];
		int part_bytes;

		if (!vly_cpulist_has(list, first))
			continue;
		while (vly_cpulist_has(list, last + 1))
			last++;
		part_bytes = last == first ? snprintf(part, sizeof(part), "%u", first)
					   : snprintf(part, sizeof(part), "%u-%u", first, last);
		if (len_bytes + 1 < text_bytes)
			snprintf(text + len_bytes, text_bytes - len_bytes, "%s%s",
				 len_bytes ? "," : "", part);
		len_bytes += (size_t)part_bytes + (len_bytes ? 1 : 0);
		first = last;
	}
	return len_bytes;
}
