/* comparison.c - one row against another by one figure: from estimates to sentences */
#include "bench/comparison.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench/slope.h"

struct comparison comparison_paired(const struct run_result *runs, size_t count, const char *base,
				    const char *tested, enum metric metric)
{
	uint32_t blocks = series_blocks(runs, count);
	double *values = calloc((size_t)blocks * 2 + 1, sizeof(*values));
	struct comparison result = {
		.base = base,
		.tested = tested,
		.metric = metric,
		.unit = "blocks",
		.alpha = STATS_ALPHA,
	};

	if (!values)
		blocks = 0;
	series_by_block(runs, count, base, metric, values, blocks);
	series_by_block(runs, count, tested, metric, values + blocks, blocks);
	result.ratio = stats_paired(values, values + blocks, blocks);
	free(values);
	return result;
}

void comparison_judge(struct comparison *family, size_t count)
{
	double *p = calloc(count + 1, sizeof(*p));

	for (size_t i = 0; p && i < count; i++)
		p[i] = verdict_p(&family[i].ratio, STATS_ZONE);
	if (p)
		stats_holm(p, count);
	for (size_t i = 0; i < count; i++) {
		struct comparison *c = &family[i];
		c->p = p ? p[i] : 1;
		c->verdict = verdict_of(&c->ratio, c->p, STATS_ALPHA, STATS_ZONE,
					metric_more_is_better(c->metric));
	}
	free(p);
}

/* "; about 40 blocks would decide" where nothing is decided. */
static void append_outlook(const struct comparison *c, char *text)
{
	size_t len = strlen(text);
	uint32_t needed = verdict_blocks_needed(&c->ratio, c->alpha, STATS_ZONE);

	if (c->verdict != VERDICT_INCONCLUSIVE)
		return;
	if (needed == VERDICT_BLOCKS_MAX)
		snprintf(
			text + len, COMPARISON_TEXT_BYTES - len,
			"; the ratio is so near to an end of +-%.0f%% that no number of %s would decide",
			STATS_ZONE * 100, c->unit);
	else if (needed <= c->ratio.count)
		/* Alone it would be decided: the family asks for more. */
		snprintf(text + len, COMPARISON_TEXT_BYTES - len,
			 "; more %s are needed because several comparisons share the chance to err",
			 c->unit);
	else
		snprintf(text + len, COMPARISON_TEXT_BYTES - len, "; about %u %s would decide",
			 needed, c->unit);
}

char *comparison_sentence(const struct comparison *c, char *text)
{
	struct stats_interval interval = stats_interval(&c->ratio, c->alpha);
	static const char *const links[] = {
		[VERDICT_INCONCLUSIVE] = "against",
		[VERDICT_EQUIVALENT] = "to",
		[VERDICT_FASTER] = "than",
		[VERDICT_SLOWER] = "than",
	};

	if (c->verdict == VERDICT_NONE) {
		snprintf(text, COMPARISON_TEXT_BYTES,
			 "no verdict on %s against %s by %s: %zu %s, at least %d are needed",
			 c->tested, c->base, metric_name(c->metric), c->ratio.count, c->unit,
			 STATS_RUNS_MIN);
		return text;
	}
	snprintf(
		text, COMPARISON_TEXT_BYTES,
		"%s is %s %s %s by %s: %.4f times as much, %.4f to %.4f with %.4g%% confidence, %zu %s",
		c->tested, verdict_name(c->verdict), links[c->verdict], c->base,
		metric_name(c->metric), interval.mean, interval.lower, interval.upper,
		(1 - c->alpha) * 100, c->ratio.count, c->unit);
	append_outlook(c, text);
	return text;
}

char *comparison_aside(const struct comparison *c, char *text)
{
	struct stats_interval interval = stats_interval(&c->ratio, STATS_ALPHA);

	snprintf(
		text, COMPARISON_TEXT_BYTES,
		"(%s against %s by %s: %.4f times as much, %.4f to %.4f with %.4g%% confidence; not what decides)",
		c->tested, c->base, metric_name(c->metric), interval.mean, interval.lower,
		interval.upper, (1 - STATS_ALPHA) * 100);
	return text;
}

static void print_outliers_of(FILE *out, const char *name, const struct run_result *runs,
			      size_t count, enum metric metric, double *values)
{
	uint32_t blocks = series_blocks(runs, count);

	series_by_block(runs, count, name, metric, values, blocks);
	for (uint32_t i = 0; i < blocks; i++) {
		double distance = stats_outlyingness(values, blocks, i);
		if (distance > STATS_OUTLIER)
			fprintf(out,
				"%s, run %u: outlier by %s, %.1f scaled deviations from the median; it was kept\n",
				name, i + 1, metric_name(metric), fmin(distance, 1e6));
	}
}

void comparison_print_outliers(FILE *out, const char *const *names, size_t names_count,
			       const struct run_result *runs, size_t runs_count)
{
	double *values = calloc((size_t)series_blocks(runs, runs_count) + 1, sizeof(*values));

	for (size_t i = 0; values && i < names_count; i++) {
		print_outliers_of(out, names[i], runs, runs_count, METRIC_CPU, values);
		print_outliers_of(out, names[i], runs, runs_count, METRIC_RATE, values);
	}
	free(values);
}

void comparison_print_drift(FILE *out, const char *row, const struct run_result *runs,
			    size_t runs_count)
{
	double *values = calloc(runs_count + 1, sizeof(*values));
	static const enum metric by[] = {METRIC_CPU, METRIC_RATE};
	double change;

	for (size_t i = 0; values && i < 2; i++) {
		size_t used = series_all(runs, runs_count, row, by[i], true, values);
		if (used >= STATS_RUNS_MIN && slope_drifts(values, used, &change))
			fprintf(out,
				"drift: %s of %s changed by %+.1f%% from the first run to the last; blocks cancel it in comparisons\n",
				metric_name(by[i]), row, change * 100);
	}
	free(values);
}

/* The first row that was measured: others are compared with it. NULL: none. */
static const char *reference_of(const char *const *names, size_t names_count,
				const struct run_result *runs, size_t runs_count)
{
	for (size_t i = 0; i < names_count; i++)
		for (size_t j = 0; j < runs_count; j++)
			if (runs[j].status == RUN_OK && strcmp(runs[j].variant, names[i]) == 0)
				return names[i];
	return NULL;
}

/* Every row but the base by one figure, as far as it was measured. Returns how many. */
static size_t gather(struct comparison *family, const char *base, const char *const *names,
		     size_t names_count, const struct run_result *runs, size_t runs_count,
		     enum metric metric)
{
	size_t used = 0;

	for (size_t i = 0; i < names_count; i++) {
		if (strcmp(names[i], base) == 0)
			continue;
		family[used] = comparison_paired(runs, runs_count, base, names[i], metric);
		bool ranked = metric != METRIC_RATE ||
			      series_rates_count(runs, runs_count, base, names[i]);
		/* Too few blocks are told, a row that never ran is not. */
		used += ranked && family[used].ratio.count > 0;
	}
	return used;
}

void comparison_print_rows(FILE *out, const char *const *names, size_t names_count,
			   const struct run_result *runs, size_t runs_count)
{
	const char *base = reference_of(names, names_count, runs, runs_count);
	struct comparison *family = calloc(2 * names_count + 1, sizeof(*family));
	char text[COMPARISON_TEXT_BYTES];
	size_t told = 0;

	if (!family || !base || series_blocks(runs, runs_count) < STATS_RUNS_MIN)
		goto out;
	/* Both figures in one: whichever a reader picks, the chance to err is what was said. */
	told = gather(family, base, names, names_count, runs, runs_count, METRIC_CPU);
	told += gather(family + told, base, names, names_count, runs, runs_count, METRIC_RATE);
	comparison_judge(family, told);
	for (size_t i = 0; i < told; i++)
		fprintf(out, "%s\n", comparison_sentence(&family[i], text));
	if (told > 0)
		fprintf(out,
			"(paired by block; FASTER or SLOWER: beyond +-%.0f%%; verdicts by Holm's procedure over all rows and both figures)\n",
			STATS_ZONE * 100);
	comparison_print_drift(out, base, runs, runs_count);
	comparison_print_outliers(out, names, names_count, runs, runs_count);
out:
	free(family);
}
