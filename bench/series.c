/* series.c - one figure of one row over its runs, as statistics want it */
#include "bench/series.h"

#include <math.h>
#include <string.h>

#define UNKNOWN ((double)NAN)

static const struct {
	const char *name;
	size_t offset;
	bool more_is_better;
} metrics[METRICS] = {
	[METRIC_CPU] = {"CPU per message", offsetof(struct run_result, server_cpu_us_per_msg),
			false},
	[METRIC_CPU_SCALED] = {"CPU per message at nominal clock",
			       offsetof(struct run_result, server_cpu_us_per_msg_scaled), false},
	[METRIC_RATE] = {"rate", offsetof(struct run_result, rate_msg_per_s), true},
};

const char *metric_name(enum metric metric)
{
	return metrics[metric].name;
}

bool metric_more_is_better(enum metric metric)
{
	return metrics[metric].more_is_better;
}

static double value_of(const struct run_result *run, enum metric metric)
{
	double value;

	memcpy(&value, (const char *)run + metrics[metric].offset, sizeof(value));
	return value;
}

static bool belongs(const struct run_result *run, const char *row)
{
	return run->status == RUN_OK && (!row || strcmp(run->variant, row) == 0);
}

bool series_counts(const struct run_result *run, const char *row)
{
	return belongs(run, row) && !run->canary;
}

void series_by_block(const struct run_result *runs, size_t count, const char *row,
		     enum metric metric, double *values, uint32_t blocks)
{
	for (uint32_t i = 0; i < blocks; i++)
		values[i] = UNKNOWN;
	for (size_t i = 0; i < count; i++)
		if (series_counts(&runs[i], row) && runs[i].run >= 1 && runs[i].run <= blocks)
			values[runs[i].run - 1] = value_of(&runs[i], metric);
}

size_t series_all(const struct run_result *runs, size_t count, const char *row, enum metric metric,
		  bool canaries, double *values)
{
	size_t used = 0;

	for (size_t i = 0; i < count; i++)
		if (belongs(&runs[i], row) && (canaries || !runs[i].canary))
			values[used++] = value_of(&runs[i], metric);
	return used;
}

double series_plain_mean(const struct run_result *runs, size_t count, const char *row,
			 size_t offset)
{
	double sum = 0, value;
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		if (!series_counts(&runs[i], row))
			continue;
		memcpy(&value, (const char *)&runs[i] + offset, sizeof(value));
		sum += value;
		used++;
	}
	return used ? sum / (double)used : UNKNOWN;
}

struct series_spread series_spread(const struct run_result *runs, size_t count, const char *row)
{
	struct series_spread spread = {.least = INFINITY};
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		if (!series_counts(&runs[i], row))
			continue;
		spread.least = fmin(spread.least, (double)runs[i].fairness.min);
		spread.p5 += (double)runs[i].fairness.p5;
		spread.p50 += (double)runs[i].fairness.p50;
		spread.p95 += (double)runs[i].fairness.p95;
		spread.jain += runs[i].fairness.jain;
		used++;
	}
	if (!used)
		return (struct series_spread){UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN};
	spread.p5 /= (double)used;
	spread.p50 /= (double)used;
	spread.p95 /= (double)used;
	spread.jain /= (double)used;
	return spread;
}

double series_unsent_share(const struct run_result *runs, size_t count, const char *row)
{
	uint64_t scheduled = 0, unsent = 0;

	for (size_t i = 0; i < count; i++) {
		if (!series_counts(&runs[i], row))
			continue;
		scheduled += runs[i].load.scheduled;
		unsent += runs[i].load.unsent;
	}
	return scheduled ? (double)unsent / (double)scheduled : UNKNOWN;
}

uint32_t series_blocks(const struct run_result *runs, size_t count)
{
	uint32_t blocks = 0;

	for (size_t i = 0; i < count; i++)
		if (runs[i].run > blocks)
			blocks = runs[i].run;
	return blocks;
}

bool series_limited(const struct run_result *runs, size_t count, const char *row,
		    const char *limited)
{
	for (size_t i = 0; i < count; i++)
		if (belongs(&runs[i], row) && runs[i].limited &&
		    strcmp(runs[i].limited, limited) == 0)
			return true;
	return false;
}

bool series_rates_count(const struct run_result *runs, size_t count, const char *base,
			const char *tested)
{
	return !series_limited(runs, count, NULL, "client") &&
	       !series_limited(runs, count, base, "both") &&
	       !series_limited(runs, count, tested, "both");
}
