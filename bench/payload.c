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

void payload_fill(uint64_t base, uint8_t *out, uint32_t len_bytes)
{
	uint64_t word = base;
	uint64_t wire;

	for (; len_bytes >= 8; len_bytes -= 8) {
		wire = htole64(word);
		memcpy(out, &wire, 8);
		out += 8;
		word += PAYLOAD_WORD;
	}
	wire = htole64(word);
	memcpy(out, &wire, len_bytes);
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
	uint64_t word, wrong = 0;

	if (head > len_bytes)
		head = len_bytes;
	done = bytes_differ(base, offset, data, head);
	if (done < head)
		return done;
	words = (len_bytes - head) / 8;
	word = base + (offset + head) / 8 * PAYLOAD_WORD;
	/* no branch per word: a difference is the exception, and is then looked for */
	for (uint32_t i = 0; i < words; i++) {
		uint64_t wire;

		memcpy(&wire, data + head + 8 * i, 8);
		wrong |= le64toh(wire) ^ word;
		word += PAYLOAD_WORD;
	}
	if (!wrong)
		done += 8 * words;
	return done + bytes_differ(base, offset + done, data + done, len_bytes - done);
}
