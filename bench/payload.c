/* payload.c - writing and checking the pattern of a message */
#include "bench/payload.h"

/* The finaliser of splitmix64: neighbouring ids get unrelated keys. */
uint64_t payload_key(uint64_t seed, uint64_t id)
{
	uint64_t x = seed + (id + 1) * PAYLOAD_MESSAGE;

	x = (x ^ x >> 30) * PAYLOAD_SCATTER;
	x = (x ^ x >> 27) * PAYLOAD_WORD;
	return x ^ x >> 31;
}

/*
 * Two words at a time: they are written as they will be read, 16 bytes at once. A processor that has to
 * put such a read together from two writes that are still on their way waits for them.
 */
typedef uint64_t pair __attribute__((vector_size(16)));

static const pair next_pair = {2 * PAYLOAD_WORD, 2 * PAYLOAD_WORD};

static inline pair pair_at(uint64_t word)
{
	return (pair){word, word + PAYLOAD_WORD};
}

/* Nothing to do where the machine is little-endian. */
static inline pair as_sent(pair two)
{
	return (pair){htole64(two[0]), htole64(two[1])};
}

static inline void fill(uint64_t base, uint8_t *out, uint32_t len_bytes)
{
	pair words = pair_at(base);
	uint64_t wire;

#pragma GCC unroll 4
	for (; len_bytes >= 16; len_bytes -= 16) {
		pair two = as_sent(words);

		memcpy(out, &two, 16);
		out += 16;
		words += next_pair;
	}
	base = words[0];
	for (; len_bytes; len_bytes -= len_bytes < 8 ? len_bytes : 8) {
		wire = htole64(base);
		memcpy(out, &wire, len_bytes < 8 ? len_bytes : 8);
		out += 8;
		base += PAYLOAD_WORD;
	}
}

/* Where bits of `words` words at `data` differ from the pattern that begins with `word`. */
static inline uint64_t differing_bits(uint64_t word, const uint8_t *data, uint32_t words)
{
	pair wrong = {0, 0}, right = pair_at(word);
	uint64_t last = 0;

#pragma GCC unroll 4
	for (; words >= 2; words -= 2) {
		pair two;

		memcpy(&two, data, 16);
		wrong |= two ^ as_sent(right);
		data += 16;
		right += next_pair;
	}
	if (words) {
		memcpy(&last, data, 8);
		last ^= htole64(right[0]);
	}
	return wrong[0] | wrong[1] | last;
}

/* 64 bytes have loops without a branch. */
void payload_fill(uint64_t base, uint8_t *out, uint32_t len_bytes)
{
	if (len_bytes == 64)
		fill(base, out, 64);
	else
		fill(base, out, len_bytes);
}

uint64_t payload_sum(uint64_t key, uint64_t count, uint32_t size_bytes)
{
	uint64_t sum = 0;

	if (size_bytes >= 8) {
		/* an arithmetic series: of count and count - 1 one is even */
		uint64_t pairs = count % 2 ? (count - 1) / 2 * count : count / 2 * (count - 1);
		return (count * key + pairs * PAYLOAD_MESSAGE) * PAYLOAD_SCATTER;
	}
	for (uint64_t i = 0; i < count; i++)
		sum += payload_base(key, i) & ((UINT64_C(1) << 8 * size_bytes) - 1);
	return sum;
}

/* Byte by byte: the ends of a span, and where a word differs. */
static uint32_t bytes_differ(uint64_t base, uint32_t offset, const uint8_t *data,
			     uint32_t len_bytes)
{
	uint32_t i = 0;

	while (i < len_bytes && data[i] == payload_byte(base, offset + i))
		i++;
	return i;
}

uint32_t payload_differs(uint64_t base, uint32_t offset, const uint8_t *data, uint32_t len_bytes)
{
	uint32_t head = (8 - offset % 8) % 8;
	uint32_t done, words;
	uint64_t word;

	if (offset == 0 && len_bytes == 64 && !differing_bits(base, data, 8))
		return 64;
	if (head > len_bytes)
		head = len_bytes;
	done = bytes_differ(base, offset, data, head);
	if (done < head)
		return done;
	words = (len_bytes - head) / 8;
	word = base + (offset + head) / 8 * PAYLOAD_WORD;
	/* no branch per word: a difference is the exception, and is then looked for */
	if (!differing_bits(word, data + head, words))
		done += 8 * words;
	return done + bytes_differ(base, offset + done, data + done, len_bytes - done);
}
