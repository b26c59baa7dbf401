/* pace.c - taking all that is ready in one enter, and hardly waiting for what is not */
#include "nic/uring/pace.h"

/* Fewer come within the kernel's own cap: any one of them ends the wait. */
#define PACE_LOW (PACE_CAP - PACE_CAP / 4)
/* A batch is to carry at most this part of the open connections, so that their peers work meanwhile. */
#define CONNS_SHARE 2u
/* What a batch that does not fill may cost. */
#define MIN_WAIT_US 30u

void uring_pace_init(struct uring_pace *pace, uint32_t count_max)
{
	*pace = (struct uring_pace){.count_max = count_max};
}

void uring_pace_next(const struct uring_pace *pace, int64_t timeout_ns, uint32_t conns,
		     struct uring_wait *wait)
{
	uint32_t count = VLY_MIN(pace->count, conns / CONNS_SHARE);

	*wait = (struct uring_wait){.timeout_ns = timeout_ns};
	if (count < PACE_LOW) {
		wait->count = timeout_ns ? 1 : 0;
		return;
	}
	wait->count = count;
	wait->min_wait_us = timeout_ns ? MIN_WAIT_US : 0;
}

void uring_pace_learn(struct uring_pace *pace, uint32_t brought, bool more)
{
	/* Up fast, or the cap would leave ready ones behind; down a little each time, or every enter would wait in vain. */
	uint32_t count = more ? 2 * VLY_MAX(brought, PACE_CAP) : brought - brought / 4;

	pace->count = VLY_MIN(count, pace->count_max);
}
