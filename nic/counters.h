/* counters.h - what a device counts by names of its own: written by whoever asks it, read by anyone */
#ifndef VLY_NIC_COUNTERS_H
#define VLY_NIC_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "volley/stats.h"

#define VLY_COUNTERS_MAX 512u

/* Lives as long as the process. Names are there before `count` tells of them, and stay. */
struct vly_counter_list {
	_Atomic uint32_t count;
	char name[VLY_COUNTERS_MAX][sizeof(((struct vly_counter *)0)->name)];
	_Atomic uint64_t value[VLY_COUNTERS_MAX];
};

/* Where a core's nic shows its list; NULL: it has none. */
typedef const struct vly_counter_list *_Atomic vly_counter_seat;

#endif
