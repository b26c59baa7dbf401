/* slope.h - whether what was measured again and again stood still: Theil-Sen lines */
#ifndef VLY_BENCH_SLOPE_H
#define VLY_BENCH_SLOPE_H

#include <stdbool.h>
#include <stddef.h>

#define SLOPE_MAX 0.02 /* relative change from first to last that still counts as standing still */

/* y = intercept + slope * i for values[i]: medians, so that a few bad values do not matter. */
struct slope {
	double slope, intercept;
	double lower, upper; /* of the slope, with 95% confidence (Sen 1968, equation 2.6) */
};

/* 0; -EINVAL below two values or if one is not finite; -ENOMEM. Pairs are compared: count^2 / 2. */
int slope_fit(const double *values, size_t count, struct slope *slope);

/* Change along the line from the first to the last of `count` values over the middle of the line. */
double slope_change(const struct slope *slope, size_t count);

/*
 * Steady state of one run: rates of equal slices of its window. True if the line changes by no more
 * than SLOPE_MAX; `change` is by how much. Below three slices, true with change NAN: not known.
 */
bool slope_is_steady(const double *slices, size_t count, double *change);

/*
 * Drift of the machine over a session: the same variant's value in block after block. True if the
 * line changes by more than SLOPE_MAX and its interval excludes standing still; `change` as above.
 */
bool slope_drifts(const double *blocks, size_t count, double *change);

#endif
