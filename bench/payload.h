/* payload.h - what a message holds: a pattern of its connection, number and place */
#ifndef VLY_BENCH_PAYLOAD_H
#define VLY_BENCH_PAYLOAD_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/*
 * Word i (little-endian) of message m on a connection is (key + m * C) * D + i * E, with odd
 * constants: messages of one connection all differ, those of others differ by their keys, and so do
 * the words of one message. An echo that is stale, swapped, shifted or cut is found by comparing
 * every byte, at the price of one addition per word.
 */
#define PAYLOAD_MESSAGE UINT64_C(0x9e3779b97f4a7c15)
#define PAYLOAD_SCATTER UINT64_C(0xbf58476d1ce4e5b9)
#define PAYLOAD_WORD UINT64_C(0x94d049bb133111eb)

/* The key of connection `id` in a run with `seed`. */
uint64_t payload_key(uint64_t seed, uint64_t id);

/* The first word of message `number`. */
static inline uint64_t payload_base(uint64_t key, uint64_t number)
{
	return (key + number * PAYLOAD_MESSAGE) * PAYLOAD_SCATTER;
}

/* That of the message after it. */
static inline uint64_t payload_after(uint64_t base)
{
	return base + PAYLOAD_MESSAGE * PAYLOAD_SCATTER;
}

/* The byte at `offset`: what the others are defined by. */
static inline uint8_t payload_byte(uint64_t base, uint32_t offset)
{
	return (uint8_t)((base + offset / 8 * PAYLOAD_WORD) >> (offset % 8 * 8));
}

/*
 * Two words at a time: they are written as they will be read, 16 bytes at once. A processor that has to
 * put such a read together from two writes that are still on their way waits for them.
 */
typedef uint64_t payload_pair __attribute__((vector_size(16)));

static const payload_pair payload_next_pair = {2 * PAYLOAD_WORD, 2 * PAYLOAD_WORD};

static inline payload_pair payload_pair_at(uint64_t word)
{
	return (payload_pair){word, word + PAYLOAD_WORD};
}

/* Nothing to do where the machine is little-endian. */
static inline payload_pair payload_pair_sent(payload_pair two)
{
	return (payload_pair){htole64(two[0]), htole64(two[1])};
}

/* Writes the first `len_bytes` of a message; 64 bytes by the inline one. */
void payload_fill_any(uint64_t base, uint8_t *out, uint32_t len_bytes);

static inline void payload_fill(uint64_t base, uint8_t *out, uint32_t len_bytes)
{
	payload_pair words = payload_pair_at(base);

	if (__builtin_expect(len_bytes != 64, 0)) {
		payload_fill_any(base, out, len_bytes);
		return;
	}
#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++) {
		payload_pair two = payload_pair_sent(words);

		memcpy(out + 16 * i, &two, 16);
		words += payload_next_pair;
	}
}

/* Whether the 64 bytes at `data` are those of a message of that length. */
static inline bool payload_is_64(uint64_t base, const uint8_t *data)
{
	payload_pair wrong = {0, 0}, right = payload_pair_at(base);

#pragma GCC unroll 4
	for (unsigned i = 0; i < 4; i++) {
		payload_pair two;

		memcpy(&two, data + 16 * i, 16);
		wrong |= two ^ payload_pair_sent(right);
		right += payload_next_pair;
	}
	return !(wrong[0] | wrong[1]);
}

/*
 * Compares a message's bytes from `offset` on with `data`. The index into `data` of the first that
 * differs; `len_bytes` if none does.
 */
uint32_t payload_differs(uint64_t base, uint32_t offset, const uint8_t *data, uint32_t len_bytes);

/*
 * The sum, modulo 2^64, of the first 8 bytes (little-endian, missing ones are 0) of the first
 * `count` messages of `size_bytes` on a connection.
 */
uint64_t payload_sum(uint64_t key, uint64_t count, uint32_t size_bytes);

#endif
