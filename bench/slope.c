/* slope.c - whether what was measured again and again stood still: Theil-Sen lines */
#include "bench/slope.h"

#include <errno.h>
#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define CONFIDENCE_ALPHA 0.05
#define COUNT_MIN 3 /* two points are always on a line */
#define UNKNOWN ((double)NAN)

/* k * (k - 1) * (2 * k + 5), the term of Kendall's variance for k values, or for k that are tied */
static double kendall_term(size_t k)
{
	return (double)k * ((double)k - 1) * (2 * (double)k + 5);
}

/* Variance of Kendall's statistic for values sorted in rising order; the indexes have no ties. */
static double kendall_variance(const double *sorted, size_t count)
{
	double sum = kendall_term(count);

	for (size_t i = 0; i < count;) {
		size_t tied = 1;
		while (i + tied < count && sorted[i + tied] <= sorted[i])
			tied++;
		sum -= kendall_term(tied);
		i += tied;
	}
	return sum / 18;
}

/* The order statistics of the pairwise slopes that bound the true one. */
static void bound(struct slope *slope, const double *slopes, size_t pairs, double variance)
{
	double reach = gsl_cdf_ugaussian_Qinv(CONFIDENCE_ALPHA / 2) * sqrt(variance);
	double above = nearbyint(((double)pairs + reach) / 2);
	double below = nearbyint(((double)pairs - reach) / 2) - 1;

	slope->upper = slopes[above < (double)pairs ? (size_t)above : pairs - 1];
	slope->lower = slopes[below > 0 ? (size_t)below : 0];
}

int slope_fit(const double *values, size_t count, struct slope *slope)
{
	if (count < 2)
		return -EINVAL;
	for (size_t i = 0; i < count; i++)
		if (!isfinite(values[i]))
			return -EINVAL;
	size_t pairs = count * (count - 1) / 2;
	double *slopes = malloc((pairs + count) * sizeof(*slopes));
	if (!slopes)
		return -ENOMEM;
	double *sorted = slopes + pairs;
	size_t used = 0;
	for (size_t i = 0; i < count; i++)
		for (size_t j = i + 1; j < count; j++)
			slopes[used++] = (values[j] - values[i]) / (double)(j - i);
	gsl_sort(slopes, 1, pairs);
	memcpy(sorted, values, count * sizeof(*sorted));
	gsl_sort(sorted, 1, count);
	slope->slope = gsl_stats_median_from_sorted_data(slopes, 1, pairs);
	slope->intercept = gsl_stats_median_from_sorted_data(sorted, 1, count) -
			   slope->slope * (double)(count - 1) / 2;
	bound(slope, slopes, pairs, kendall_variance(sorted, count));
	free(slopes);
	return 0;
}

double slope_change(const struct slope *slope, size_t count)
{
	double span = slope->slope * (double)(count - 1);

	return span / (slope->intercept + span / 2);
}

bool slope_is_steady(const double *slices, size_t count, double *change)
{
	struct slope slope;

	*change = UNKNOWN;
	if (count < COUNT_MIN || slope_fit(slices, count, &slope) != 0)
		return true;
	*change = slope_change(&slope, count);
	return fabs(*change) <= SLOPE_MAX;
}

bool slope_drifts(const double *blocks, size_t count, double *change)
{
	struct slope slope;

	*change = UNKNOWN;
	if (count < COUNT_MIN || slope_fit(blocks, count, &slope) != 0)
		return false;
	*change = slope_change(&slope, count);
	return fabs(*change) > SLOPE_MAX && (slope.lower > 0 || slope.upper < 0);
}
