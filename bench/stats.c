/* stats.c - means, intervals and tests on logarithms of what runs measured */
#include "bench/stats.h"

#include <gsl/gsl_cdf.h>
#include <gsl/gsl_sort.h>
#include <gsl/gsl_statistics_double.h>
#include <math.h>
#include <stdlib.h>

#define UNKNOWN ((double)NAN)
/* Of a normal distribution: both tails beyond it hold 5%. */
#define SPREAD_DEVIATIONS 1.96
/* 1 / (third quartile of the standard normal distribution): makes a median absolute deviation one
 * of a normal distribution's standard deviations. */
#define MAD_SCALE 1.4826022185056018

static bool measured(double value)
{
	return value > 0 && isfinite(value);
}

/* Of `count` logarithms, which are many enough to be worth two passes. */
static struct stats_logs summarise(const double *logs, size_t count)
{
	struct stats_logs result = {.count = count, .mean = UNKNOWN, .deviation = UNKNOWN};

	if (count > 0)
		result.mean = gsl_stats_mean(logs, 1, count);
	if (count > 1)
		result.deviation = gsl_stats_sd_m(logs, 1, count, result.mean);
	return result;
}

struct stats_logs stats_logs(const double *values, size_t count)
{
	double *logs = malloc((count ? count : 1) * sizeof(*logs));
	size_t used = 0;

	for (size_t i = 0; logs && i < count; i++)
		if (measured(values[i]))
			logs[used++] = log(values[i]);
	struct stats_logs result = summarise(logs, used);
	free(logs);
	return result;
}

struct stats_estimate stats_mean(const struct stats_logs *logs)
{
	struct stats_estimate estimate = {
		.count = logs->count,
		.mean = logs->mean,
		.error = UNKNOWN,
		.freedom = (double)logs->count - 1,
	};

	if (logs->count >= STATS_RUNS_MIN)
		estimate.error = logs->deviation / sqrt((double)logs->count);
	return estimate;
}

struct stats_estimate stats_paired(const double *base, const double *tested, size_t count)
{
	double *ratios = malloc((count ? count : 1) * sizeof(*ratios));
	size_t used = 0;

	for (size_t i = 0; ratios && i < count; i++)
		if (measured(base[i]) && measured(tested[i]))
			ratios[used++] = log(tested[i]) - log(base[i]);
	struct stats_logs logs = summarise(ratios, used);
	free(ratios);
	return stats_mean(&logs);
}

struct stats_estimate stats_unpaired(const struct stats_logs *base, const struct stats_logs *tested)
{
	struct stats_estimate estimate = {
		.count = base->count < tested->count ? base->count : tested->count,
		.mean = tested->mean - base->mean,
		.error = UNKNOWN,
		.freedom = (double)(base->count + tested->count) - 2,
	};

	if (estimate.count < STATS_RUNS_MIN)
		return estimate;
	double base_variance = base->deviation * base->deviation / (double)base->count;
	double tested_variance = tested->deviation * tested->deviation / (double)tested->count;
	double variance = base_variance + tested_variance;
	estimate.error = sqrt(variance);
	/* Without any deviation the quotient would be 0 / 0, and any number does. */
	if (variance > 0)
		estimate.freedom =
			variance * variance /
			(base_variance * base_variance / (double)(base->count - 1) +
			 tested_variance * tested_variance / (double)(tested->count - 1));
	return estimate;
}

struct stats_interval stats_interval(const struct stats_estimate *estimate, double alpha)
{
	struct stats_interval interval = {exp(estimate->mean), UNKNOWN, UNKNOWN};

	if (estimate->count < STATS_RUNS_MIN || isnan(estimate->error))
		return interval;
	double half = gsl_cdf_tdist_Qinv(alpha / 2, estimate->freedom) * estimate->error;
	interval.lower = exp(estimate->mean - half);
	interval.upper = exp(estimate->mean + half);
	return interval;
}

struct stats_interval stats_spread(const struct stats_logs *logs)
{
	struct stats_interval spread = {exp(logs->mean), UNKNOWN, UNKNOWN};

	if (logs->count < STATS_RUNS_MIN)
		return spread;
	spread.lower = exp(logs->mean - SPREAD_DEVIATIONS * logs->deviation);
	spread.upper = exp(logs->mean + SPREAD_DEVIATIONS * logs->deviation);
	return spread;
}

void stats_holm(double *p_values, size_t count)
{
	size_t *order = malloc((count ? count : 1) * sizeof(*order));
	size_t tests = 0;
	double largest = 0;

	for (size_t i = 0; order && i < count; i++) {
		if (isnan(p_values[i]))
			continue;
		/* Sorted by insertion: a family is a table's rows. */
		size_t at = tests++;
		for (; at > 0 && p_values[order[at - 1]] > p_values[i]; at--)
			order[at] = order[at - 1];
		order[at] = i;
	}
	for (size_t i = 0; i < tests; i++) {
		double adjusted = p_values[order[i]] * (double)(tests - i);
		/* Never below one that is more significant, never above 1. */
		largest = fmax(largest, fmin(adjusted, 1));
		p_values[order[i]] = largest;
	}
	/* Without memory nothing may look significant. */
	for (size_t i = 0; !order && i < count; i++)
		p_values[i] = 1;
	free(order);
}

uint32_t stats_runs_needed(const struct stats_logs *pilot, double zone, uint32_t least)
{
	if (pilot->count < STATS_RUNS_MIN || isnan(pilot->deviation))
		return least;
	double t = gsl_cdf_tdist_Qinv(STATS_ALPHA / 2, (double)pilot->count - 1);
	double needed = ceil(pow(t * pilot->deviation / log1p(zone), 2));
	if (needed <= least)
		return least;
	return needed < UINT32_MAX ? (uint32_t)needed : UINT32_MAX;
}

double stats_outlyingness(const double *values, size_t count, size_t index)
{
	double *logs = malloc((count ? count : 1) * sizeof(*logs));
	double result = UNKNOWN;
	size_t used = 0;

	for (size_t i = 0; logs && i < count; i++)
		if (measured(values[i]))
			logs[used++] = log(values[i]);
	if (used >= STATS_RUNS_MIN && measured(values[index])) {
		double median = gsl_stats_median(logs, 1, used);
		for (size_t i = 0; i < used; i++)
			logs[i] = fabs(logs[i] - median);
		double mad = MAD_SCALE * gsl_stats_median(logs, 1, used);
		double distance = fabs(log(values[index]) - median);
		/* More than half of the values alike: anything else is infinitely far. */
		result = distance > 0 ? distance / mad : 0;
	}
	free(logs);
	return result;
}

double stats_little(double rate_per_s, double latency_mean_ns, double under_way)
{
	if (!measured(rate_per_s) || !measured(latency_mean_ns) || !measured(under_way))
		return UNKNOWN;
	return rate_per_s * latency_mean_ns * 1e-9 / under_way;
}

bool stats_little_agrees(double little)
{
	return fabs(little - 1) <= STATS_LITTLE_MAX;
}
