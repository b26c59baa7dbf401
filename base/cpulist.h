/* cpulist.h - a set of CPU numbers that remembers the order it was written in: "8,0-3" */
#ifndef VLY_BASE_CPULIST_H
#define VLY_BASE_CPULIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VLY_CPULIST_MAX 1024 /* CPUs 0 to 1023, as in glibc's cpu_set_t */

/* Plain memory; all zero is the empty list. */
struct vly_cpulist {
	uint32_t count;
	uint16_t order[VLY_CPULIST_MAX]; /* the first `count`: as written */
	uint64_t bits[VLY_CPULIST_MAX / 64];
};

/*
 * Reads numbers and ranges separated by commas, in the order given, blanks around them ignored. 0;
 * -EINVAL: empty, not of that form, a range that runs backwards, or a CPU named twice although
 * `repeats` is false; -ERANGE: a number of VLY_CPULIST_MAX or more; -E2BIG: more than
 * VLY_CPULIST_MAX of them. On error the list is empty and `err` (may be NULL) says in one line what
 * is wrong and where.
 */
__attribute__((warn_unused_result)) int vly_cpulist_parse(const char *text, bool repeats,
							  struct vly_cpulist *list, char *err,
							  size_t err_bytes);

/*
 * Writes the set ascending, runs of two and more as ranges ("0-3,8"), "" if empty. Returns the
 * length it has, as snprintf() does: `text` is complete if that is less than `text_bytes`, else
 * cut; always terminated if text_bytes is not 0.
 */
size_t vly_cpulist_format(const struct vly_cpulist *list, char *text, size_t text_bytes);

/* Appends a CPU; false if it is there already or out of range. */
bool vly_cpulist_add(struct vly_cpulist *list, unsigned int cpu);

/* Whether `cpu` is in the set; any number may be asked. */
static inline bool vly_cpulist_has(const struct vly_cpulist *list, unsigned int cpu)
{
	return cpu < VLY_CPULIST_MAX && ((list->bits[cpu / 64] >> (cpu % 64)) & 1);
}

#endif
