/* test_histogram.c - the layout, percentiles, and the encoding against other implementations */
#include "bench/histogram.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "tests/support/leak.h"

TestSuite(histogram, .fini = vly_leak_gate);

static struct histogram made(void)
{
	struct histogram histogram;

	cr_assert_eq(histogram_init(&histogram), 0);
	return histogram;
}

/* As HdrHistogram's own tests do: 10,000 times 1,000, once 100,000,000. */
static void record_standard(struct histogram *histogram)
{
	for (int i = 0; i < 10000; i++)
		histogram_record(histogram, 1000);
	histogram_record(histogram, 100000000);
}

static bool same_counts(const struct histogram *a, const struct histogram *b)
{
	return a->total == b->total &&
	       !memcmp(a->counts, b->counts, HISTOGRAM_COUNTS * sizeof(*a->counts));
}

/* A pseudo-random value over all magnitudes. */
static uint64_t scattered(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (*state >> 20) % (HISTOGRAM_MAX_NS >> (*state >> 59)) + 1;
}

Test(histogram, empty_has_no_percentiles)
{
	struct histogram h = made();

	cr_assert_eq(histogram_percentile_ns(&h, 99), 0);
	cr_assert_eq(histogram_above(&h, 50), 0);
	cr_assert_eq(histogram_mean_ns(&h), 0.0);
	histogram_fini(&h);
}

Test(histogram, each_value_lies_within_its_count_and_within_one_part_in_1024)
{
	struct histogram h = made();
	uint64_t state = 1;

	for (int i = 0; i < 100000; i++) {
		uint64_t value = scattered(&state), lowest, highest;

		histogram_count_at(&h, value, &lowest, &highest);
		cr_assert(lowest <= value && value <= highest);
		cr_assert((highest - lowest) * 1024 <= value, "%lu: %lu..%lu", value, lowest,
			  highest);
	}
	histogram_fini(&h);
}

Test(histogram, neighbouring_counts_meet_without_gap_or_overlap)
{
	struct histogram h = made();
	uint64_t value = 0, lowest, highest;
	uint32_t index = 0;

	while (value <= HISTOGRAM_MAX_NS) {
		histogram_count_at(&h, value, &lowest, &highest);
		cr_assert_eq(lowest, value);
		cr_assert_eq(histogram_index(value), index);
		if (highest <= HISTOGRAM_MAX_NS)
			cr_assert_eq(histogram_index(highest), index);
		value = highest + 1;
		index++;
	}
	cr_assert(index <= HISTOGRAM_COUNTS);
	histogram_fini(&h);
}

Test(histogram, values_below_2048_are_exact)
{
	struct histogram h = made();

	for (uint64_t value = 0; value < 2048; value++)
		histogram_record(&h, value);
	for (uint64_t value = 0; value < 2048; value++)
		cr_assert_eq(histogram_percentile_ns(&h, 100.0 * (double)(value + 1) / 2048.0),
			     value);
	histogram_fini(&h);
}

Test(histogram, percentiles_are_of_values_not_of_counts)
{
	struct histogram h = made();

	record_standard(&h);
	cr_assert_eq(histogram_percentile_ns(&h, 0), 1000);
	cr_assert_eq(histogram_percentile_ns(&h, 50), 1000);
	cr_assert_eq(histogram_percentile_ns(&h, 99.99), 1000);
	cr_assert_eq(histogram_percentile_ns(&h, 99.999), 100000000);
	cr_assert_eq(histogram_percentile_ns(&h, 100), 100000000);
	cr_assert_eq(histogram_above(&h, 50), 1);
	cr_assert_eq(histogram_above(&h, 100), 0);
	cr_assert_float_eq(histogram_mean_ns(&h), (1000.0 * 10000 + 1e8) / 10001, 1e-6);
	histogram_fini(&h);
}

Test(histogram, percentile_is_never_above_the_exact_maximum)
{
	struct histogram h = made();

	histogram_record(&h, 1000001);
	cr_assert_eq(histogram_percentile_ns(&h, 50), 1000001);
	cr_assert_eq(histogram_percentile_ns(&h, 100), 1000001);
	histogram_fini(&h);
}

Test(histogram, values_above_60_seconds_are_clipped_and_counted)
{
	struct histogram h = made();

	histogram_record(&h, HISTOGRAM_MAX_NS - 1);
	histogram_record(&h, HISTOGRAM_MAX_NS);
	cr_assert_eq(h.clipped, 0);
	histogram_record(&h, HISTOGRAM_MAX_NS + 1);
	histogram_record(&h, UINT64_MAX);
	cr_assert_eq(h.clipped, 2);
	cr_assert_eq(h.total, 4);
	cr_assert_eq(h.max_ns, UINT64_MAX);
	cr_assert_eq(histogram_percentile_ns(&h, 100), UINT64_MAX);
	histogram_fini(&h);
}

/* Also where one of them lies beyond what is counted. */
Test(histogram, recording_many_equals_recording_each)
{
	struct histogram each = made(), many = made();
	uint64_t values[64], state = 5;

	for (int round = 0; round < 100; round++) {
		for (int i = 0; i < 64; i++) {
			if (i % 4 < 2)
				values[i] = scattered(&state);
			else
				values[i] = values[i - 1]; /* as those are that ended together */
			if (round == 50 && i == 7)
				values[i] = UINT64_MAX;
			histogram_record(&each, values[i]);
		}
		histogram_record_all(&many, values, 64);
	}
	histogram_record_all(&many, values, 0);
	cr_assert(same_counts(&each, &many));
	cr_assert_eq(many.clipped, 1);
	cr_assert_eq(many.min_ns, each.min_ns);
	cr_assert_eq(many.max_ns, each.max_ns);
	cr_assert(many.sum_ns == each.sum_ns);
	histogram_fini(&each);
	histogram_fini(&many);
}

Test(histogram, merging_equals_recording_both)
{
	struct histogram both = made(), left = made(), right = made();
	uint64_t state = 7;

	for (int i = 0; i < 20000; i++) {
		uint64_t value = scattered(&state);

		histogram_record(&both, value);
		histogram_record(i % 3 ? &left : &right, value);
	}
	histogram_merge(&left, &right);
	cr_assert(same_counts(&both, &left));
	cr_assert_eq(both.min_ns, left.min_ns);
	cr_assert_eq(both.max_ns, left.max_ns);
	cr_assert(both.sum_ns == left.sum_ns);
	histogram_fini(&both);
	histogram_fini(&left);
	histogram_fini(&right);
}

Test(histogram, reset_forgets_all)
{
	struct histogram h = made(), fresh = made();

	record_standard(&h);
	histogram_reset(&h);
	cr_assert(same_counts(&h, &fresh));
	cr_assert_eq(h.max_ns, 0);
	cr_assert_eq(h.min_ns, UINT64_MAX);
	histogram_fini(&h);
	histogram_fini(&fresh);
}

Test(histogram, encoding_and_decoding_restores_every_count)
{
	struct histogram h = made(), back = made();
	uint64_t state = 3;
	char *text;

	for (int i = 0; i < 50000; i++)
		histogram_record(&h, scattered(&state));
	h.counts[5] += UINT64_C(1) << 60; /* nine bytes */
	h.total += UINT64_C(1) << 60;
	cr_assert_eq(histogram_encode(&h, &text), 0);
	cr_assert_eq(strncmp(text, "HISTFAAA", 8), 0);
	cr_assert_eq(histogram_decode(&back, text), 0);
	cr_assert(same_counts(&h, &back));
	free(text);
	histogram_fini(&h);
	histogram_fini(&back);
}

Test(histogram, empty_survives_encoding)
{
	struct histogram h = made(), back = made();
	char *text;

	cr_assert_eq(histogram_encode(&h, &text), 0);
	cr_assert_eq(histogram_decode(&back, text), 0);
	cr_assert_eq(back.total, 0);
	free(text);
	histogram_fini(&h);
	histogram_fini(&back);
}

/* Written by HdrHistogram_c from the standard values, with a range of one hour in microseconds. */
Test(histogram, decodes_what_hdrhistogram_c_wrote)
{
	struct histogram h = made(), expected = made();

	record_standard(&expected);
	cr_assert_eq(histogram_decode(&h, "HISTFAAAACl4nJNpmSzMwMBgyAABzFCaEURcm7yEwf4DROA8/4I5"
					  "jNM7mJgAlWkH9g=="),
		     0);
	cr_assert(same_counts(&h, &expected));
	histogram_fini(&h);
	histogram_fini(&expected);
}

/*
 * Java and C agree on this one byte for byte: range 1..2048, one value of 2048, the first that
 * shares its count.
 */
Test(histogram, decodes_what_java_wrote_at_the_first_bucket_boundary)
{
	struct histogram h = made();
	uint64_t lowest, highest;

	cr_assert_eq(histogram_decode(&h, "HISTFAAAACB4nJNpmSzMwMDAzAABMJoRQnEw2H+AsP7LMwEARZgD"
					  "pQ=="),
		     0);
	cr_assert_eq(h.total, 1);
	cr_assert_eq(histogram_count_at(&h, 2048, &lowest, &highest), 1);
	cr_assert_eq(lowest, 2048);
	cr_assert_eq(highest, 2049);
	histogram_fini(&h);
}

/* From hdr-histogram-js: one value of 42. */
Test(histogram, decodes_what_javascript_wrote)
{
	struct histogram h = made();

	cr_assert_eq(histogram_decode(&h, "HISTFAAAAB542pNpmSzMwMDAxAABzFCaEUoz2X+AMIKZAEARAtM="),
		     0);
	cr_assert_eq(h.total, 1);
	cr_assert_eq(h.max_ns, 42);
	cr_assert_eq(histogram_mean_ns(&h), 42.0);
	histogram_fini(&h);
}

/* Undoes base64 and zlib; the bytes of the plain encoding. */
static size_t plain_of(const char *text, uint8_t *plain, size_t room_bytes)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t packed[512];
	uLongf plain_bytes = room_bytes;
	uint32_t bits = 0;
	size_t n = 0, count = 0;

	for (; *text && *text != '='; text++) {
		bits = bits << 6 | (uint32_t)(strchr(digits, *text) - digits);
		if (++count % 4 == 1)
			continue;
		cr_assert_lt(n, sizeof(packed));
		packed[n++] = (uint8_t)(bits >> (6 - (count - 1) % 4 * 2));
	}
	cr_assert_eq(uncompress(plain, &plain_bytes, packed + 8, n - 8), Z_OK);
	return plain_bytes;
}

/*
 * The counts as HdrHistogram_c wrote them, behind the header that the format prescribes for our
 * range.
 */
Test(histogram, encodes_byte_for_byte_what_the_format_says)
{
	static const uint8_t expected[] = {
		0x1c, 0x84, 0x93, 0x13, 0,    0,    0,    9,    0,
		0,    0,    0,    0,    0,    0,    3, /* cookie, length, shift, digits */
		0,    0,    0,    0,    0,    0,    0,    1,    0,
		0,    0,    0x0d, 0xf8, 0x47, 0x58, 0,       /* lowest, 60 * 10^9 */
		0x3f, 0xf0, 0,    0,    0,    0,    0,    0, /* 1.0 */
		0xcf, 0x0f, 0xa0, 0x9c, 0x01, 0x97, 0x88, 0x02, 0x02,
	};
	struct histogram h = made();
	uint8_t plain[512];
	char *text;

	record_standard(&h);
	cr_assert_eq(histogram_encode(&h, &text), 0);
	cr_assert_eq(plain_of(text, plain, sizeof(plain)), sizeof(expected));
	cr_assert_arr_eq(plain, expected, sizeof(expected));
	free(text);
	histogram_fini(&h);
}

Test(histogram, decoding_adds)
{
	struct histogram h = made();
	char *text;

	record_standard(&h);
	cr_assert_eq(histogram_encode(&h, &text), 0);
	cr_assert_eq(histogram_decode(&h, text), 0);
	cr_assert_eq(h.total, 20002);
	free(text);
	histogram_fini(&h);
}

Test(histogram, damaged_text_is_refused_and_changes_nothing)
{
	static const char *const bad[] = {
		"",
		"A",
		"====",
		"HISTFAAA",
		"not base64!!",
		/* another precision: 2 digits */
		"HISTFAAAACF4nJNpmSzMwMDAzAABTFCaEUJxMNh/gLD+yzMBAEV8A6Q=",
		/* the envelope's length is wrong */
		"HISTFAAAACh4nJNpmSzMwMBgyAABzFCaEURcm7yEwf4DROA8/4I5jNM7mJgAlWkH9g==",
		/* one character of the stream changed */
		"HISTFAAAACl4nJNpmSzMwMBgyAABzFCaEURcm8yEwf4DROA8/4I5jNM7mJgAlWkH9g==",
		/* cut */
		"HISTFAAAACl4nJNpmSzMwMBgyAABzFCaEURcm7yEwf4DROA8/4I5jNM7mJgA",
	};
	struct histogram h = made(), fresh = made();

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(histogram_decode(&h, bad[i]), -EINVAL, "%s", bad[i]);
	cr_assert(same_counts(&h, &fresh));
	histogram_fini(&h);
	histogram_fini(&fresh);
}

Test(histogram, a_percentile_that_is_a_whole_number_of_values_is_not_rounded_up)
{
	struct histogram h = made();

	for (uint64_t i = 1; i <= 1000; i++)
		for (int k = 0; k < 100; k++)
			histogram_record(&h, i);
	/* 99,900 values are at most 999 */
	cr_assert_eq(histogram_percentile_ns(&h, 99.9), 999);
	cr_assert_eq(histogram_above(&h, 99.9), 100);
	histogram_fini(&h);
}

/*
 * --- values of data/histogram_golden.txt, which HdrHistogram's own implementation wrote -----------
 */

#define GOLDEN_LINE_BYTES 65536
#define GOLDEN_PERCENTILES 6

struct golden {
	char name[32];
	uint64_t count, bits, total, min_ns, max_ns;
	double mean_ns;
	uint64_t percentiles[GOLDEN_PERCENTILES];
	char encoded[GOLDEN_LINE_BYTES];
};

static bool golden_read(FILE *file, struct golden *g)
{
	static char line[GOLDEN_LINE_BYTES];

	if (!fgets(line, sizeof(line), file))
		return false;
	cr_assert_eq(sscanf(line, "%31s %lu %lu %lu %lu %lu %lf %lu %lu %lu %lu %lu %lu %65535s",
			    g->name, &g->count, &g->bits, &g->total, &g->min_ns, &g->max_ns,
			    &g->mean_ns, &g->percentiles[0], &g->percentiles[1], &g->percentiles[2],
			    &g->percentiles[3], &g->percentiles[4], &g->percentiles[5], g->encoded),
		     14);
	return true;
}

/* As fill() of data/HistogramGolden.java does. */
static void golden_fill(struct histogram *h, const struct golden *g)
{
	uint64_t state = 1;

	for (uint64_t i = 0; i < g->count; i++) {
		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		histogram_record(h,
				 1 + (state >> 20) % (HISTOGRAM_MAX_NS >> (state >> 59) % g->bits));
	}
}

Test(histogram, agrees_with_hdrhistogram_in_counts_percentiles_mean_and_encoding)
{
	static const double percents[GOLDEN_PERCENTILES] = {50, 90, 95, 99, 99.9, 99.99};
	FILE *file = fopen(VLY_TEST_DATA "/histogram_golden.txt", "r");
	static struct golden g;
	int cases = 0;

	cr_assert_not_null(file);
	while (golden_read(file, &g)) {
		struct histogram ours = made(), theirs = made(), back = made();
		char *text = NULL;

		golden_fill(&ours, &g);
		cr_assert_eq(histogram_decode(&theirs, g.encoded), 0, "%s", g.name);
		cr_assert(same_counts(&ours, &theirs), "%s", g.name);
		cr_assert_eq(ours.total, g.total);
		cr_assert_float_eq(histogram_mean_ns(&theirs), g.mean_ns, 1e-6 * g.mean_ns, "%s",
				   g.name);
		for (int i = 0; i < GOLDEN_PERCENTILES; i++) {
			cr_assert_eq(histogram_percentile_ns(&theirs, percents[i]),
				     g.percentiles[i], "%s p%g: %lu", g.name, percents[i],
				     histogram_percentile_ns(&theirs, percents[i]));
			/* ours knows the maximum exactly */
			cr_assert_eq(histogram_percentile_ns(&ours, percents[i]),
				     g.percentiles[i] < ours.max_ns ? g.percentiles[i]
								    : ours.max_ns);
		}
		cr_assert_eq(histogram_encode(&ours, &text), 0);
		cr_assert_eq(histogram_decode(&back, text), 0);
		cr_assert(same_counts(&back, &theirs), "%s", g.name);
		free(text);
		histogram_fini(&ours);
		histogram_fini(&theirs);
		histogram_fini(&back);
		cases++;
	}
	fclose(file);
	cr_assert_eq(cases, 6);
}
