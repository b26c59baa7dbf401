/* histogram.h - durations counted in HDR layout: 1 ns to 60 s, three significant digits */
#ifndef VLY_BENCH_HISTOGRAM_H
#define VLY_BENCH_HISTOGRAM_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The layout of HdrHistogram with lowest value 1, highest 60 * 10^9 and 3 significant digits, so
 * that any HDR tool reads what histogram_encode() writes. Values below 2,048 have a count each;
 * above, every power of two is cut into 1,024 steps: a value is known to 1 part in 1,024 at worst.
 * 27,648 counts, 216 KiB.
 */
#define HISTOGRAM_MAX_NS UINT64_C(60000000000)
#define HISTOGRAM_SUB_BITS 11 /* 2 * 10^3 rounded up to a power of two */
#define HISTOGRAM_HALF_BITS (HISTOGRAM_SUB_BITS - 1)
#define HISTOGRAM_BUCKETS 26 /* 2^(11 + 25) is the first such product above 60 * 10^9 */
#define HISTOGRAM_COUNTS ((HISTOGRAM_BUCKETS + 1) << HISTOGRAM_HALF_BITS)

static_assert((UINT64_C(1) << (HISTOGRAM_SUB_BITS + HISTOGRAM_BUCKETS - 1)) > HISTOGRAM_MAX_NS,
	      "the last bucket reaches the highest value");
static_assert((UINT64_C(1) << (HISTOGRAM_SUB_BITS + HISTOGRAM_BUCKETS - 2)) <= HISTOGRAM_MAX_NS,
	      "and no bucket lies wholly above it: HDR readers would compute another layout");

/* Belongs to one thread at a time. */
struct histogram {
	uint64_t *counts;         /* HISTOGRAM_COUNTS of them, owned */
	uint64_t total;           /* values recorded */
	uint64_t clipped;         /* of them, above HISTOGRAM_MAX_NS: counted there */
	uint64_t min_ns;          /* exact; UINT64_MAX if empty */
	uint64_t max_ns;          /* exact, even if clipped; 0 if empty */
	unsigned __int128 sum_ns; /* exact, but for a decoded histogram */
};

/* Allocates the counts. 0, or -ENOMEM. */
__attribute__((warn_unused_result)) int histogram_init(struct histogram *histogram);

/* Frees; a zeroed or finished histogram is allowed. */
void histogram_fini(struct histogram *histogram);

/* Forgets all values. */
void histogram_reset(struct histogram *histogram);

/* Adds the values of `from`: the result is what recording both would have given. */
void histogram_merge(struct histogram *histogram, const struct histogram *from);

/*
 * The smallest recorded value (to the layout's precision: the highest that is counted with it, but
 * never above the exact maximum) that at least `percent` of all values do not exceed. 0 if empty.
 * `percent` is 0..100.
 */
uint64_t histogram_percentile_ns(const struct histogram *histogram, double percent);

/*
 * Values that lie above the count where `percent` falls: a percentile with fewer than 100 is best
 * not shown.
 */
uint64_t histogram_above(const struct histogram *histogram, double percent);

/* 0 if empty. */
double histogram_mean_ns(const struct histogram *histogram);

/*
 * Values counted with those of `value_ns`, from `lowest` to `highest` inclusive. For charts and
 * tests.
 */
uint64_t histogram_count_at(const struct histogram *histogram, uint64_t value_ns, uint64_t *lowest,
			    uint64_t *highest);

/*
 * HdrHistogram's V2 compressed encoding (zlib level 6) in base64, terminated. Exact but for min,
 * max and mean, which a reader recovers to the layout's precision. Returns 0 and a string for
 * free(), or -ENOMEM.
 */
__attribute__((warn_unused_result)) int histogram_encode(const struct histogram *histogram,
							 char **text);

/*
 * Adds what `text` encodes. 0; -EINVAL: not base64, not a V2 compressed histogram, damaged, or of
 * another layout; -ENOMEM. On an error the histogram is as before.
 */
__attribute__((warn_unused_result)) int histogram_decode(struct histogram *histogram,
							 const char *text);

/* Where a value (at most HISTOGRAM_MAX_NS) is counted. */
static inline uint32_t histogram_index(uint64_t value_ns)
{
	/* index of the highest bit, at least that of the first bucket's */
	unsigned top = 63u - (unsigned)__builtin_clzll(value_ns | ((1u << HISTOGRAM_SUB_BITS) - 1));
	unsigned bucket = top - (HISTOGRAM_SUB_BITS - 1);
	uint32_t sub = (uint32_t)(value_ns >> bucket);

	/* bucket 0 has both halves; each later one only the upper half: sub >= 1,024 there */
	return (bucket << HISTOGRAM_HALF_BITS) + sub;
}

/* Counts a value `times`: O(1), one random cache line. */
static inline void histogram_record_times(struct histogram *histogram, uint64_t value_ns,
					  uint32_t times)
{
	uint64_t counted = value_ns;

	if (__builtin_expect(value_ns > HISTOGRAM_MAX_NS, 0)) {
		counted = HISTOGRAM_MAX_NS;
		histogram->clipped += times;
	}
	histogram->counts[histogram_index(counted)] += times;
	histogram->total += times;
	histogram->sum_ns += (unsigned __int128)value_ns * times;
	if (value_ns < histogram->min_ns)
		histogram->min_ns = value_ns;
	if (value_ns > histogram->max_ns)
		histogram->max_ns = value_ns;
}

static inline void histogram_record(struct histogram *histogram, uint64_t value_ns)
{
	histogram_record_times(histogram, value_ns, 1);
}

/*
 * Counts `count` values: as if each was recorded, with less work for those that follow their like, as round trips do
 * that began with one flush and ended with one poll.
 */
static inline void histogram_record_all(struct histogram *histogram, const uint64_t *values_ns,
					uint32_t count)
{
	uint32_t same;

	for (uint32_t i = 0; i < count; i += same) {
		uint64_t value_ns = values_ns[i];

		for (same = 1; i + same < count && values_ns[i + same] == value_ns; same++)
			;
		histogram_record_times(histogram, value_ns, same);
	}
}

#endif
