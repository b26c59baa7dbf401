/* verdict.c - what a ratio and its uncertainty allow to say, and when to stop asking */
#include "bench/verdict.h"

#include <gsl/gsl_cdf.h>
#include <math.h>

#define UNKNOWN ((double)NAN)

const char *verdict_name(enum verdict verdict)
{
	static const char *const names[] = {"-", "INCONCLUSIVE", "EQUIVALENT", "FASTER", "SLOWER"};

	return names[verdict];
}

bool verdict_is_decided(enum verdict verdict)
{
	return verdict >= VERDICT_EQUIVALENT;
}

/* From the estimate to the nearer end of the zone: the half width that an interval may have. */
static double distance(const struct stats_estimate *ratio, double zone)
{
	return fabs(fabs(ratio->mean) - log1p(zone));
}

static bool can_tell(const struct stats_estimate *ratio)
{
	return ratio->count >= STATS_RUNS_MIN && isfinite(ratio->mean) && isfinite(ratio->error);
}

double verdict_p(const struct stats_estimate *ratio, double zone)
{
	double room = distance(ratio, zone);

	if (!can_tell(ratio))
		return UNKNOWN;
	if (ratio->error <= 0)
		return room > 0 ? 0 : 1;
	return fmin(1, 2 * gsl_cdf_tdist_Q(room / ratio->error, ratio->freedom));
}

enum verdict verdict_of(const struct stats_estimate *ratio, double p, double alpha, double zone,
			bool more_is_better)
{
	if (!can_tell(ratio) || isnan(p))
		return VERDICT_NONE;
	if (!(p < alpha))
		return VERDICT_INCONCLUSIVE;
	if (fabs(ratio->mean) < log1p(zone))
		return VERDICT_EQUIVALENT;
	return (ratio->mean > 0) == more_is_better ? VERDICT_FASTER : VERDICT_SLOWER;
}

/* Whether `blocks` of them would decide. */
static bool would_decide(const struct stats_estimate *ratio, double alpha, double zone,
			 uint32_t blocks)
{
	/* Pairs have one degree less than there are of them; Welch's grow alike. */
	double freedom = ratio->freedom * ((double)blocks - 1) / ((double)ratio->count - 1);
	double error = ratio->error * sqrt((double)ratio->count / (double)blocks);

	return gsl_cdf_tdist_Qinv(alpha / 2, freedom) * error < distance(ratio, zone);
}

uint32_t verdict_blocks_needed(const struct stats_estimate *ratio, double alpha, double zone)
{
	uint32_t too_few = STATS_RUNS_MIN - 1;
	uint32_t enough = VERDICT_BLOCKS_MAX;

	if (!can_tell(ratio) || !would_decide(ratio, alpha, zone, enough))
		return VERDICT_BLOCKS_MAX;
	/* More blocks only narrow the interval. */
	while (enough - too_few > 1) {
		uint32_t middle = too_few + (enough - too_few) / 2;
		if (would_decide(ratio, alpha, zone, middle))
			enough = middle;
		else
			too_few = middle;
	}
	return enough;
}

void verdict_plan(struct verdict_plan *plan, uint32_t blocks_max, unsigned int figures)
{
	static const uint32_t looks[] = {5, 10, 20, VERDICT_BLOCKS};

	plan->looks = 0;
	for (size_t i = 0; i < sizeof(looks) / sizeof(looks[0]) && looks[i] < blocks_max; i++)
		plan->blocks[plan->looks++] = looks[i];
	plan->blocks[plan->looks++] = blocks_max;
	plan->alpha = STATS_ALPHA / plan->looks / figures;
}

bool verdict_look(struct verdict_stage *stage, const struct verdict_plan *plan, const double *base,
		  const double *tested, size_t count, bool last, bool more_is_better)
{
	if (verdict_is_decided(stage->verdict))
		return true;
	struct stats_estimate ratio = stats_paired(base, tested, count);
	/* The same blocks a second time would be a look for nothing. */
	if (ratio.count == stage->blocks || stage->looks == plan->looks)
		return false;
	if (ratio.count < plan->blocks[stage->looks] && !last)
		return false;
	stage->looks++;
	stage->blocks = (uint32_t)ratio.count;
	stage->ratio = ratio;
	stage->verdict = verdict_of(&ratio, verdict_p(&ratio, STATS_ZONE), plan->alpha, STATS_ZONE,
				    more_is_better);
	return verdict_is_decided(stage->verdict);
}

enum verdict_gate verdict_gate(const struct stats_estimate *ratio, enum verdict verdict,
			       double alpha, double limit, bool more_is_better)
{
	struct stats_interval interval = stats_interval(ratio, alpha);
	/* As a factor by which it got worse. */
	double mean = more_is_better ? 1 / interval.mean : interval.mean;
	double worst = more_is_better ? 1 / interval.lower : interval.upper;

	if (verdict == VERDICT_NONE || isnan(worst))
		return GATE_UNDECIDED;
	if (verdict == VERDICT_SLOWER)
		return mean >= 1 + limit ? GATE_REGRESSION : GATE_PASSED;
	if (verdict_is_decided(verdict) || worst < 1 + limit)
		return GATE_PASSED;
	return GATE_UNDECIDED;
}
