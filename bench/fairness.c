/* fairness.c - quantiles and Jain's index of messages per connection */
#include "bench/fairness.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int by_value(const void *left, const void *right)
{
	const uint64_t *a = left;
	const uint64_t *b = right;

	return (*a > *b) - (*a < *b);
}

/* Nearest rank: the smallest value that at least `percent` of all do not exceed. */
static uint64_t nearest_rank(const uint64_t *sorted, uint32_t count, uint32_t percent)
{
	uint64_t rank = ((uint64_t)count * percent + 99) / 100;

	return sorted[rank ? rank - 1 : 0];
}

int fairness_compute(const uint64_t *counts, uint32_t count, struct fairness *fairness)
{
	double sum = 0.0, sum_squares = 0.0;
	uint64_t *sorted;

	memset(fairness, 0, sizeof(*fairness));
	if (!count)
		return -EINVAL;
	sorted = malloc(count * sizeof(*sorted));
	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, counts, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), by_value);

	for (uint32_t i = 0; i < count; i++) {
		sum += (double)sorted[i];
		sum_squares += (double)sorted[i] * (double)sorted[i];
	}
	fairness->min = sorted[0];
	fairness->p5 = nearest_rank(sorted, count, 5);
	fairness->p50 = nearest_rank(sorted, count, 50);
	fairness->p95 = nearest_rank(sorted, count, 95);
	fairness->max = sorted[count - 1];
	if (sum_squares > 0.0)
		fairness->jain = sum * sum / ((double)count * sum_squares);
	free(sorted);
	return 0;
}
