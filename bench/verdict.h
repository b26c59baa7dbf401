/* verdict.h - what a ratio and its uncertainty allow to say, and when to stop asking */
#ifndef VLY_BENCH_VERDICT_H
#define VLY_BENCH_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/stats.h"

enum verdict {
	VERDICT_NONE,         /* too few runs to say anything */
	VERDICT_INCONCLUSIVE, /* the interval reaches over an end of the zone */
	VERDICT_EQUIVALENT,   /* it lies wholly within the zone */
	VERDICT_FASTER,       /* it lies wholly beyond, on the better side */
	VERDICT_SLOWER,
};

/* "FASTER" */
const char *verdict_name(enum verdict verdict);

/* Whether it will not change by looking on. */
bool verdict_is_decided(enum verdict verdict);

/*
 * The smallest alpha at which the interval with confidence 1 - alpha decides: lies wholly within or
 * wholly beyond the zone of ratios [1 / (1 + zone), 1 + zone]. NAN below STATS_RUNS_MIN. Families of
 * these go through stats_holm().
 */
double verdict_p(const struct stats_estimate *ratio, double zone);

/*
 * The verdict on the ratio tested/base, given its p value, adjusted or not. `more_is_better`: rates;
 * otherwise costs and times.
 */
enum verdict verdict_of(const struct stats_estimate *ratio, double p, double alpha, double zone,
			bool more_is_better);

#define VERDICT_BLOCKS_MAX 1000000

/*
 * Blocks that would decide if mean and deviation stayed what they are; VERDICT_BLOCKS_MAX: so many
 * would not. At least STATS_RUNS_MIN.
 */
uint32_t verdict_blocks_needed(const struct stats_estimate *ratio, double alpha, double zone);

/*
 * A comparison that may stop early: the looks it takes, in blocks. Looking often finds something
 * sooner or later, so alpha is split among the looks (Bonferroni).
 */
#define VERDICT_LOOKS_MAX 5
#define VERDICT_BLOCKS 33 /* the last look, if nobody asks for more or fewer blocks */

struct verdict_plan {
	unsigned int looks;
	uint32_t blocks[VERDICT_LOOKS_MAX];
	double alpha; /* of each look */
};

/*
 * Looks at 5, 10, 20 and 33 blocks, as far as they are below blocks_max, and at blocks_max. With
 * `figures` above 1 any of so many figures may decide, and alpha is split among them as well: all
 * their looks together err no more often than STATS_ALPHA.
 */
void verdict_plan(struct verdict_plan *plan, uint32_t blocks_max, unsigned int figures);

/* How a comparison stands. All zero: nothing was looked at. */
struct verdict_stage {
	unsigned int looks; /* taken */
	uint32_t blocks;    /* at the last of them */
	struct stats_estimate ratio;
	enum verdict verdict;
};

/*
 * Looks if one is due at this number of complete blocks, or if `last` says that no more will come
 * (then the next look is spent early); a stage that is decided stays. True if it is decided.
 */
bool verdict_look(struct verdict_stage *stage, const struct verdict_plan *plan, const double *base,
		  const double *tested, size_t count, bool last, bool more_is_better);

/*
 * A limit of what may get worse, in parts of 1 (0.05: 5%). Regression: SLOWER, and worse by at least
 * the limit in the mean.
 */
enum verdict_gate {
	GATE_PASSED,
	GATE_REGRESSION,
	GATE_UNDECIDED, /* neither shown to be worse nor shown to be within the limit */
};

enum verdict_gate verdict_gate(const struct stats_estimate *ratio, enum verdict verdict,
			       double alpha, double limit, bool more_is_better);

#endif
