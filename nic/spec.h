/* spec.h - the grammar that names a nic: name:flag,key=value,key="quoted, value" */
#ifndef VLY_NIC_SPEC_H
#define VLY_NIC_SPEC_H

#include <stddef.h>
#include <stdint.h>

#define VLY_SPEC_TEXT_MAX 1024
#define VLY_SPEC_OPTIONS_MAX 24

struct vly_nic_spec {
	char text[VLY_SPEC_TEXT_MAX]; /* cut into the strings below */
	const char *name;
	unsigned options_count;
	struct {
		const char *key;
		const char *value; /* NULL: a bare word */
	} options[VLY_SPEC_OPTIONS_MAX];
};

/* 0, or -EINVAL with the reason in `why`. */
int vly_spec_parse(struct vly_nic_spec *spec, const char *text, char *why, size_t why_bytes);

/* The value of `key`; "" for a bare word; NULL if it is not there. */
const char *vly_spec_get(const struct vly_nic_spec *spec, const char *key);

/* A number 0..max, `fallback` if the key is not there; -EINVAL with the reason in `why`. */
int vly_spec_number(const struct vly_nic_spec *spec, const char *key, uint64_t max,
		    uint64_t fallback, uint64_t *number, char *why, size_t why_bytes);

/* -EINVAL naming the first option that is not among the `known` ones (a NULL-terminated list). */
int vly_spec_known(const struct vly_nic_spec *spec, const char *const *known, char *why,
		   size_t why_bytes);

#endif
