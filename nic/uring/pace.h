/* pace.h - how many completions an enter waits for: what the last batches carried */
#ifndef VLY_NIC_URING_PACE_H
#define VLY_NIC_URING_PACE_H

#include <stdint.h>

#include "nic/uring/ring.h"

/* The kernel runs this many pieces of deferred work per enter, or as many as are waited for. */
#define PACE_CAP 20u

struct uring_pace {
	uint32_t load;     /* completions per enter, smoothed, in sixteenths */
	uint32_t count_max; /* never wait for more: what a batch holds */
};

void uring_pace_init(struct uring_pace *pace, uint32_t count_max);

/* What the next enter that may take `timeout_ns` is to wait for. */
void uring_pace_next(const struct uring_pace *pace, int64_t timeout_ns, struct uring_wait *wait);

/* An enter has brought `count` completions. */
void uring_pace_learn(struct uring_pace *pace, uint32_t count);

#endif
