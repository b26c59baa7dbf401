/* histogram.c - HDR counts: merging, percentiles, and the V2 encoding */
#include "bench/histogram.h"

#include <endian.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

/* Cookies of HdrHistogram's V2 formats; 0x10 tells counts of variable length. */
#define COOKIE_V2 0x1c849313u
#define COOKIE_V2_COMPRESSED 0x1c849314u

#define DIGITS 3
#define VARINT_MAX 9 /* bytes of one count: eight of 7 bits, the last of 8 */

/* The encoded header; all fields big-endian. */
struct wire_header {
	uint32_t cookie;
	uint32_t payload_bytes;
	uint32_t index_offset; /* 0: a shifted histogram is nothing we write */
	uint32_t digits;
	uint64_t lowest;
	uint64_t highest;
	uint64_t ratio; /* of a double: 1.0 */
};

static_assert(sizeof(struct wire_header) == 40, "as HdrHistogram writes it");

/* Before the zlib stream. */
struct wire_envelope {
	uint32_t cookie;
	uint32_t compressed_bytes;
};

#define PAYLOAD_MAX ((size_t)HISTOGRAM_COUNTS * VARINT_MAX)

int histogram_init(struct histogram *histogram)
{
	memset(histogram, 0, sizeof(*histogram));
	histogram->counts = calloc(HISTOGRAM_COUNTS, sizeof(*histogram->counts));
	if (!histogram->counts)
		return -ENOMEM;
	histogram->min_ns = UINT64_MAX;
	return 0;
}

void histogram_fini(struct histogram *histogram)
{
	free(histogram->counts);
	memset(histogram, 0, sizeof(*histogram));
}

void histogram_reset(struct histogram *histogram)
{
	uint64_t *counts = histogram->counts;

	memset(counts, 0, HISTOGRAM_COUNTS * sizeof(*counts));
	*histogram = (struct histogram){.counts = counts, .min_ns = UINT64_MAX};
}

void histogram_merge(struct histogram *histogram, const struct histogram *from)
{
	for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++)
		histogram->counts[i] += from->counts[i];
	histogram->total += from->total;
	histogram->clipped += from->clipped;
	histogram->sum_ns += from->sum_ns;
	if (from->min_ns < histogram->min_ns)
		histogram->min_ns = from->min_ns;
	if (from->max_ns > histogram->max_ns)
		histogram->max_ns = from->max_ns;
}

/* The lowest value counted at `index`, and how many values share that count. */
static uint64_t index_lowest(uint32_t index, uint64_t *width)
{
	uint32_t half = index >> HISTOGRAM_HALF_BITS;
	unsigned bucket = half ? half - 1 : 0;
	uint64_t sub = index - ((uint64_t)bucket << HISTOGRAM_HALF_BITS);

	*width = UINT64_C(1) << bucket;
	return sub << bucket;
}

static uint64_t index_highest(uint32_t index)
{
	uint64_t width;
	uint64_t lowest = index_lowest(index, &width);

	return lowest + width - 1;
}

/* Index of the count where `percent` of all values is reached; the histogram is not empty. */
static uint32_t percentile_index(const struct histogram *histogram, double percent, uint64_t *sum)
{
	double share = fmin(fmax(percent, 0.0), 100.0) / 100.0;
	/* 99.9% of 100,000 are 99,900, not the one above that rounding makes of it */
	double rank = ceil(share * (double)histogram->total * (1.0 - 0x1p-50));
	uint64_t wanted = rank < 1.0 ? 1 : (uint64_t)rank;
	uint32_t last = 0;

	if (wanted > histogram->total)
		wanted = histogram->total;
	*sum = 0;
	for (uint32_t i = 0; i < HISTOGRAM_COUNTS; i++) {
		if (!histogram->counts[i])
			continue;
		*sum += histogram->counts[i];
		last = i;
		if (*sum >= wanted)
			break;
	}
	return last;
}

uint64_t histogram_percentile_ns(const struct histogram *histogram, double percent)
{
	uint64_t sum, highest;

	if (!histogram->total)
		return 0;
	highest = index_highest(percentile_index(histogram, percent, &sum));
	/* the top count holds clipped values, too: only the exact maximum tells about them */
	if (sum == histogram->total)
		return histogram->max_ns;
	return highest < histogram->max_ns ? highest : histogram->max_ns;
}

uint64_t histogram_above(const struct histogram *histogram, double percent)
{
	uint64_t sum;

	if (!histogram->total)
		return 0;
	percentile_index(histogram, percent, &sum);
	return histogram->total - sum;
}

double histogram_mean_ns(const struct histogram *histogram)
{
	if (!histogram->total)
		return 0.0;
	return (double)histogram->sum_ns / (double)histogram->total;
}

uint64_t histogram_count_at(const struct histogram *histogram, uint64_t value_ns, uint64_t *lowest,
			    uint64_t *highest)
{
	uint32_t index = histogram_index(value_ns < HISTOGRAM_MAX_NS ? value_ns : HISTOGRAM_MAX_NS);
	uint64_t width;

	*lowest = index_lowest(index, &width);
	*highest = *lowest + width - 1;
	return histogram->counts[index];
}

/*
 * --- counts of variable length: zigzag, 7 bits per byte, lowest first, at most 9 bytes -----------
 */

static size_t varint_put(uint8_t *out, int64_t value)
{
	uint64_t rest = ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
	size_t n = 0;

	while (rest >= 0x80 && n < VARINT_MAX - 1) {
		out[n++] = (uint8_t)(rest | 0x80);
		rest >>= 7;
	}
	out[n++] = (uint8_t)rest;
	return n;
}

/* Bytes taken, 0 if `in` ends within the number. */
static size_t varint_get(const uint8_t *in, size_t len_bytes, int64_t *value)
{
	uint64_t bits = 0;
	size_t n = 0;

	for (;;) {
		uint8_t byte;

		if (n == len_bytes)
			return 0;
		byte = in[n];
		if (n == VARINT_MAX - 1) {
			bits |= (uint64_t)byte << 56;
			n++;
			break;
		}
		bits |= (uint64_t)(byte & 0x7f) << (7 * n);
		n++;
		if (!(byte & 0x80))
			break;
	}
	*value = (int64_t)(bits >> 1) ^ -(int64_t)(bits & 1);
	return n;
}

/*
 * Counts as numbers, runs of two and more zeros as one negative number; stops at the last count
 * that is not 0.
 */
static size_t counts_put(const struct histogram *histogram, uint8_t *out)
{
	uint32_t end = HISTOGRAM_COUNTS;
	uint32_t i = 0;
	size_t n = 0;

	while (end && !histogram->counts[end - 1])
		end--;
	while (i < end) {
		uint32_t zeros = 0;

		while (!histogram->counts[i + zeros]) /* ends: counts[end - 1] is not 0 */
			zeros++;
		if (zeros > 1) {
			n += varint_put(out + n, -(int64_t)zeros);
			i += zeros;
			continue;
		}
		n += varint_put(out + n, (int64_t)histogram->counts[i]);
		i++;
	}
	return n;
}

static int counts_get(struct histogram *histogram, const uint8_t *in, size_t len_bytes)
{
	uint64_t index = 0, width;

	while (len_bytes) {
		int64_t value;
		size_t n = varint_get(in, len_bytes, &value);

		if (!n)
			return -EINVAL;
		in += n;
		len_bytes -= n;
		if (value <= 0) {
			/* one zero is written as 0, a run as its negative length */
			uint64_t run = value ? -(uint64_t)value : 1;

			if (run > HISTOGRAM_COUNTS)
				return -EINVAL;
			index += run;
			if (index > (UINT64_C(1) << 32))
				return -EINVAL;
			continue;
		}
		/*
		 * a histogram with a higher range may have zeros beyond our counts, but nothing
		 * else
		 */
		if (index >= HISTOGRAM_COUNTS ||
		    __builtin_add_overflow(histogram->total, (uint64_t)value, &histogram->total))
			return -EINVAL;
		histogram->counts[index] = (uint64_t)value;
		if (histogram->min_ns == UINT64_MAX)
			histogram->min_ns = index_lowest((uint32_t)index, &width);
		histogram->max_ns = index_highest((uint32_t)index);
		/* the middle of the count: what other readers take its values for */
		histogram->sum_ns += (unsigned __int128)(uint64_t)value *
				     (index_lowest((uint32_t)index, &width) + width / 2);
		index++;
	}
	return 0;
}

/*
 * --- base64 (RFC 4648, padded) -------------------------------------------------------------------
 */

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void base64_put(const uint8_t *in, size_t len_bytes, char *out)
{
	size_t i;

	for (i = 0; i + 2 < len_bytes; i += 3) {
		uint32_t bits = (uint32_t)in[i] << 16 | (uint32_t)in[i + 1] << 8 | in[i + 2];

		*out++ = base64_digits[bits >> 18];
		*out++ = base64_digits[bits >> 12 & 63];
		*out++ = base64_digits[bits >> 6 & 63];
		*out++ = base64_digits[bits & 63];
	}
	if (i < len_bytes) {
		uint32_t bits = (uint32_t)in[i] << 16;

		if (i + 1 < len_bytes)
			bits |= (uint32_t)in[i + 1] << 8;
		*out++ = base64_digits[bits >> 18];
		*out++ = base64_digits[bits >> 12 & 63];
		*out++ = i + 1 < len_bytes ? base64_digits[bits >> 6 & 63] : '=';
		*out++ = '=';
	}
	*out = '\0';
}

/* `out` holds 3/4 of the text's length. Bytes written, or -EINVAL. */
static ssize_t base64_get(const char *text, size_t text_len, uint8_t *out)
{
	size_t n = 0, pad = 0;

	if (text_len % 4)
		return -EINVAL;
	while (pad < 2 && text_len > pad && text[text_len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i < text_len; i += 4) {
		uint32_t bits = 0;

		for (size_t k = 0; k < 4; k++) {
			const char *digit = NULL;

			bits <<= 6;
			if (i + k >= text_len - pad)
				continue;
			digit = memchr(base64_digits, text[i + k], 64);
			if (!digit)
				return -EINVAL;
			bits |= (uint32_t)(digit - base64_digits);
		}
		out[n++] = (uint8_t)(bits >> 16);
		out[n++] = (uint8_t)(bits >> 8);
		out[n++] = (uint8_t)bits;
	}
	return (ssize_t)(n - pad);
}

/*
 * --- the whole encoding --------------------------------------------------------------------------
 */

int histogram_encode(const struct histogram *histogram, char **text)
{
	struct wire_header header = {
		.cookie = htobe32(COOKIE_V2),
		.digits = htobe32(DIGITS),
		.lowest = htobe64(1),
		.highest = htobe64(HISTOGRAM_MAX_NS),
		.ratio = htobe64(UINT64_C(0x3ff0000000000000)),
	};
	struct wire_envelope envelope = {.cookie = htobe32(COOKIE_V2_COMPRESSED)};
	uLongf compressed_bytes = compressBound(sizeof(header) + PAYLOAD_MAX);
	uint8_t *plain = malloc(sizeof(header) + PAYLOAD_MAX);
	uint8_t *packed = malloc(sizeof(envelope) + compressed_bytes);
	size_t payload_bytes;
	int err = -ENOMEM;

	if (!plain || !packed)
		goto out;
	payload_bytes = counts_put(histogram, plain + sizeof(header));
	header.payload_bytes = htobe32((uint32_t)payload_bytes);
	memcpy(plain, &header, sizeof(header));
	/* the buffer is as long as compressBound() asks for: only memory can fail */
	if (compress2(packed + sizeof(envelope), &compressed_bytes, plain,
		      sizeof(header) + payload_bytes, 6) != Z_OK)
		goto out;
	envelope.compressed_bytes = htobe32((uint32_t)compressed_bytes);
	memcpy(packed, &envelope, sizeof(envelope));

	*text = malloc((sizeof(envelope) + compressed_bytes + 2) / 3 * 4 + 1);
	if (!*text)
		goto out;
	base64_put(packed, sizeof(envelope) + compressed_bytes, *text);
	err = 0;
out:
	free(packed);
	free(plain);
	return err;
}

/* Unpacks the plain encoding; `plain` holds sizeof(struct wire_header) + PAYLOAD_MAX. */
static int unpack(const uint8_t *packed, size_t packed_bytes, uint8_t *plain, size_t *plain_bytes)
{
	uLongf room = sizeof(struct wire_header) + PAYLOAD_MAX;
	struct wire_envelope envelope;
	int zerr;

	if (packed_bytes < sizeof(envelope))
		return -EINVAL;
	memcpy(&envelope, packed, sizeof(envelope));
	if (be32toh(envelope.cookie) != COOKIE_V2_COMPRESSED ||
	    be32toh(envelope.compressed_bytes) != packed_bytes - sizeof(envelope))
		return -EINVAL;
	zerr = uncompress(plain, &room, packed + sizeof(envelope), packed_bytes - sizeof(envelope));
	*plain_bytes = room;
	return zerr == Z_OK ? 0 : zerr == Z_MEM_ERROR ? -ENOMEM : -EINVAL;
}

static int parse(struct histogram *histogram, const uint8_t *plain, size_t plain_bytes)
{
	struct wire_header header;
	uint32_t payload_bytes;

	if (plain_bytes < sizeof(header))
		return -EINVAL;
	memcpy(&header, plain, sizeof(header));
	payload_bytes = be32toh(header.payload_bytes);
	/* early versions of HdrHistogram_c counted the header, too */
	if (payload_bytes != plain_bytes - sizeof(header) && payload_bytes != plain_bytes)
		return -EINVAL;
	/* the highest value does not change where a value is counted */
	if (be32toh(header.cookie) != COOKIE_V2 || header.index_offset ||
	    be32toh(header.digits) != DIGITS || be64toh(header.lowest) != 1)
		return -EINVAL;
	return counts_get(histogram, plain + sizeof(header), plain_bytes - sizeof(header));
}

int histogram_decode(struct histogram *histogram, const char *text)
{
	size_t text_len = strlen(text), plain_bytes;
	uint8_t *packed = malloc(text_len / 4 * 3 + 1);
	uint8_t *plain = malloc(sizeof(struct wire_header) + PAYLOAD_MAX);
	struct histogram read = {0};
	ssize_t packed_bytes;
	int err = -ENOMEM;

	if (!packed || !plain || histogram_init(&read) < 0)
		goto out;
	err = -EINVAL;
	packed_bytes = base64_get(text, text_len, packed);
	if (packed_bytes < 0)
		goto out;
	err = unpack(packed, (size_t)packed_bytes, plain, &plain_bytes);
	if (err < 0)
		goto out;
	err = parse(&read, plain, plain_bytes);
	if (err < 0)
		goto out;
	histogram_merge(histogram, &read);
out:
	histogram_fini(&read);
	free(plain);
	free(packed);
	return err;
}
