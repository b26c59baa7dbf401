/* pace.h - how many completions an enter waits for: about what the last one found ready */
#ifndef VLY_NIC_URING_PACE_H
#define VLY_NIC_URING_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "nic/uring/ring.h"

/* The kernel runs this many pieces of deferred work per enter, or as many as are waited for. */
#define PACE_CAP 20u

struct uring_pace {
	uint32_t count;     /* to wait for; below PACE_LOW it is not worth it */
	uint32_t count_max; /* what a batch holds */
};

void uring_pace_init(struct uring_pace *pace, uint32_t count_max);

/*
 * What the next enter that may take `timeout_ns` is to wait for, and take at most, with so many connections open. All answers
 * leave together at the next enter: were all connections in one batch, the two ends would work in turns and not at once.
 */
void uring_pace_next(const struct uring_pace *pace, int64_t timeout_ns, uint32_t conns,
		     struct uring_wait *wait);

/* An enter has brought `brought` completions; `more`: deferred work was left, so its count was too small. */
void uring_pace_learn(struct uring_pace *pace, uint32_t brought, bool more);

#endif
