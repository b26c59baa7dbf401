/* probe.h - which parts of io_uring this kernel has, found out by trying each */
#ifndef VLY_NIC_URING_PROBE_H
#define VLY_NIC_URING_PROBE_H

#include <stdbool.h>
#include <stddef.h>

#include "volley/config.h"

/* Indexes of uring_features(). What none of them covers is required: kernel 6.1. */
enum uring_feature {
	URING_NO_MMAP,
	URING_NO_SQARRAY,
	URING_DIRECT,
	URING_INCREMENTAL,
	URING_QUIET_SEND,
	URING_SEND_ZC,
	URING_MIN_WAIT,
	URING_NO_IOWAIT,
	URING_NAPI,
	URING_MSG_RING,
	URING_FEATURES,
};

/*
 * 0 if the required parts work here, or -errno with the reason and the way out in `why`. Tries once per process, some
 * milliseconds; any thread.
 */
int uring_probe(char *why, size_t why_bytes);

/* The table, tried. Entries named in VOLLEY_URING_OFF are not `used`. */
const struct vly_nic_feature *uring_features(unsigned *count);

/* Whether it works here and was not switched off. */
bool uring_has(enum uring_feature feature);

#endif
