/* pace.c - waiting for as much as is likely to be there, and hardly longer */
#include "nic/uring/pace.h"

/* What a batch that does not fill may cost. */
#define MIN_WAIT_US 30u

void uring_pace_init(struct uring_pace *pace, uint32_t count_max)
{
	*pace = (struct uring_pace){.count_max = count_max};
}

void uring_pace_next(const struct uring_pace *pace, int64_t timeout_ns, struct uring_wait *wait)
{
	uint32_t load = pace->load / 16;

	*wait = (struct uring_wait){.timeout_ns = timeout_ns};
	if (load < PACE_CAP - PACE_CAP / 4) {
		wait->count = timeout_ns ? 1 : 0;
		return;
	}
	wait->count = VLY_MIN(load + load / 2, pace->count_max);
	wait->min_wait_us = timeout_ns ? MIN_WAIT_US : 0;
}

void uring_pace_learn(struct uring_pace *pace, uint32_t count)
{
	pace->load += count * 4 - pace->load / 4;
}
