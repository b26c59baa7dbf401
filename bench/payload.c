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

void payload_fill_any(uint64_t base, uint8_t *out, uint32_t len_bytes)
{
	payload_pair words = payload_pair_at(base);
	uint64_t wire;

#pragma GCC unroll 4
	for (; len_bytes >= 16; len_bytes -= 16) {
		payload_pair two = payload_pair_sent(words);

		memcpy(out, &two, 16);
		out += 16;
		words += payload_next_pair;
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
	payload_pair wrong = {0, 0}, right = payload_pair_at(word);
	uint64_t last = 0;

#pragma GCC unroll 4
	for (; words >= 2; words -= 2) {
		payload_pair two;

		memcpy(&two, data, 16);
		wrong |= two ^ payload_pair_sent(right);
		data += 16;
		right += payload_next_pair;
	}
	if (words) {
		memcpy(&last, data, 8);
		last ^= htole64(right[0]);
	}
	return wrong[0] | wrong[1] | last;
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
