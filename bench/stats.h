/* stats.h - means, intervals and tests on logarithms of what runs measured */
#ifndef VLY_BENCH_STATS_H
#define VLY_BENCH_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The unit is one run: one value. Rates, times and costs are positive and err by factors, so that
 * all is computed on natural logarithms: means are geometric, differences are ratios.
 */

#define STATS_RUNS_MIN 5      /* with fewer nothing that claims a confidence is told */
#define STATS_ALPHA 0.05      /* of what is told on its own */
#define STATS_ZONE 0.02       /* ratios that differ by less make no difference */
#define STATS_OUTLIER 3.5     /* scaled median absolute deviations */
#define STATS_LITTLE_MAX 0.05 /* by which rate and latency may contradict each other */

/* Geometric mean or ratio, and its bounds; NAN where there is none. */
struct stats_interval {
	double mean, lower, upper;
};

/* Of logarithms. */
struct stats_logs {
	size_t count;
	double mean, deviation; /* standard deviation of the sample; NAN below two values */
};

/* A mean or a difference of logarithms, with what is needed to judge it. */
struct stats_estimate {
	size_t count;   /* runs, or pairs of them; of two samples, the smaller one */
	double mean;    /* NAN: no value at all */
	double error;   /* standard error; NAN below STATS_RUNS_MIN */
	double freedom; /* degrees of freedom of Student's t */
};

/* Values that are not positive numbers were not measured, and are left out. */
struct stats_logs stats_logs(const double *values, size_t count);

/* The mean of one sample. */
struct stats_estimate stats_mean(const struct stats_logs *logs);

/*
 * The ratio of `tested` to `base`: values of the same index belong to the same block, and only
 * blocks that have both count.
 */
struct stats_estimate stats_paired(const double *base, const double *tested, size_t count);

/*
 * The ratio of two samples that have nothing to do with each other (Welch 1947; degrees of freedom
 * by Satterthwaite).
 */
struct stats_estimate stats_unpaired(const struct stats_logs *base,
				     const struct stats_logs *tested);

/* Student's t interval with confidence 1 - alpha, as a ratio. Bounds are NAN below STATS_RUNS_MIN. */
struct stats_interval stats_interval(const struct stats_estimate *estimate, double alpha);

/*
 * +-1.96 standard deviations: where single runs lie, not how well their mean is known. Bounds are
 * NAN below STATS_RUNS_MIN.
 */
struct stats_interval stats_spread(const struct stats_logs *logs);

/*
 * Holm's step-down procedure: replaces each p value by the smallest family-wise error rate at which
 * its test would reject. NAN (no test) stays and does not count.
 */
void stats_holm(double *p_values, size_t count);

/*
 * Runs that a pilot of `count` runs with this deviation of logarithms asks for, so that the mean's
 * interval lies within +-zone: ceil((t * s / ln(1 + zone))^2), at least `least`. `least` if the
 * pilot is too small to tell.
 */
uint32_t stats_runs_needed(const struct stats_logs *pilot, double zone, uint32_t least);

/*
 * How far values[index] lies from the median of all, on logarithms and in median absolute
 * deviations scaled to a standard deviation; NAN below STATS_RUNS_MIN or where it was not measured.
 * Beyond STATS_OUTLIER it is flagged, never deleted.
 */
double stats_outlyingness(const double *values, size_t count, size_t index);

/*
 * Little's law: rate times mean latency is the number of messages under way. Returns that product
 * over what really was under way; NAN if one of them was not measured.
 */
double stats_little(double rate_per_s, double latency_mean_ns, double under_way);

/* Whether a result of stats_little() lets rate and latency stand beside each other. */
bool stats_little_agrees(double little);

#endif
