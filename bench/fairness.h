/* fairness.h - how evenly connections were served */
#ifndef VLY_BENCH_FAIRNESS_H
#define VLY_BENCH_FAIRNESS_H

#include <stdint.h>

/* Below this Jain's index a run is called UNFAIR. */
#define FAIRNESS_JAIN_MIN 0.9

/* Of messages per connection. */
struct fairness {
	uint64_t min, p5, p50, p95, max; /* nearest rank */
	double jain; /* (sum x)^2 / (n * sum x^2): 1 all alike, 1/n one got all, 0 nobody got any */
};

/* `counts` is left as it is. 0; -EINVAL for count 0; -ENOMEM. */
__attribute__((warn_unused_result)) int fairness_compute(const uint64_t *counts, uint32_t count,
							 struct fairness *fairness);

#endif
