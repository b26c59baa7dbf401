/* checksum.h - the Internet checksum: sums, sums of what is copied, changes of a few bytes */
#ifndef VLY_NIC_INET_CHECKSUM_H
#define VLY_NIC_INET_CHECKSUM_H

#include <arpa/inet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arch_compat.h"
#include "base/compiler.h"

/*
 * RFC 1071. A sum in progress is a 64-bit ones' complement number over words as they lie in memory:
 * it is folded once, at the end, and the folded value is stored as it is, whatever the byte order of
 * the machine. Sums of pieces may be added in any order; a piece that begins at an odd offset of the
 * whole is put in by vly_checksum_join_odd().
 *
 *	header->check = 0;
 *	header->check = vly_checksum_finish(vly_checksum_add(0, header, len));
 *	intact = vly_checksum_intact(vly_checksum_add(0, header, len));
 */

/* Ones' complement addition: the carry comes back in at the low end. */
static inline uint64_t vly_checksum_plus(uint64_t a, uint64_t b)
{
	uint64_t sum = a + b;

	return sum + (sum < b);
}

/* `sum` and `len_bytes` at `data`, of any alignment; a last odd byte counts as if a 0 followed. */
static inline uint64_t vly_checksum_add(uint64_t sum, const void *data, size_t len_bytes);

/* The same while copying to `to`, which does not overlap. */
static inline uint64_t vly_checksum_copy(uint64_t sum, void *to, const void *from,
					 size_t len_bytes);

/* `sum` and the sum of a piece that begins at an odd offset: its bytes stand in the other halves. */
static inline uint64_t vly_checksum_join_odd(uint64_t sum, uint64_t piece)
{
	return vly_checksum_plus(sum, piece << 8 | piece >> 56);
}

/* What TCP and UDP sum besides their own bytes; addresses as in the header, length in bytes. */
static inline uint64_t vly_checksum_pseudo(uint32_t src_net, uint32_t dst_net, uint8_t protocol,
					   uint32_t len_bytes)
{
	return (uint64_t)src_net + dst_net + htons(protocol) + htons((uint16_t)len_bytes);
}

/* 16 bits of a sum: 0xffff over an intact header that contains its checksum. */
static inline uint16_t vly_checksum_fold(uint64_t sum)
{
	/* added to itself with its halves swapped, the carry of the lower half goes into the upper one */
	sum += sum << 32 | sum >> 32;
	uint32_t half = (uint32_t)(sum >> 32);

	half += half << 16 | half >> 16;
	return (uint16_t)(half >> 16);
}

/*
 * Whether the sum folds to 0xffff, as over an intact header that contains its checksum. A sum that is not 0
 * does exactly if 65535 divides it, and a product tells that: 2^64 - 1 is a multiple of it, so 64-bit carries
 * change nothing, and only multiples are small when multiplied by its inverse (Granlund and Montgomery 1994, 9).
 */
static inline bool vly_checksum_intact(uint64_t sum)
{
	return sum * UINT64_C(0xfffefffefffeffff) - 1 < UINT64_MAX / 65535;
}

/* What goes into the header. */
static inline uint16_t vly_checksum_finish(uint64_t sum)
{
	return (uint16_t)~vly_checksum_fold(sum);
}

/*
 * A header's checksum after a field at an even offset changed (RFC 1624, equation 3); the fields as
 * they lie in memory.
 */
static inline uint16_t vly_checksum_update16(uint16_t check, uint16_t from, uint16_t to)
{
	return vly_checksum_finish((uint64_t)(uint16_t)~check + (uint16_t)~from + to);
}

static inline uint16_t vly_checksum_update32(uint16_t check, uint32_t from, uint32_t to)
{
	return vly_checksum_finish((uint64_t)(uint16_t)~check + (uint32_t)~from + to);
}

/* Whole blocks of 64 bytes and a rest: what the inline functions leave over. */
uint64_t vly_checksum_add_long(uint64_t sum, const uint8_t *data, size_t len_bytes);
uint64_t vly_checksum_copy_long(uint64_t sum, uint8_t *to, const uint8_t *from, size_t len_bytes);

/* ---- inline bodies ---- */

static inline uint64_t vly_checksum_load(const uint8_t *p)
{
	uint64_t word;

	memcpy(&word, p, sizeof(word));
	return word;
}

static inline uint64_t vly_checksum_add(uint64_t sum, const void *data, size_t len_bytes)
{
	const uint8_t *p = data;

	if (__builtin_constant_p(len_bytes) && len_bytes == 20)
		return vly_arch_sum_header(sum, p);
	if (__builtin_constant_p(len_bytes) && len_bytes < 64) {
		/* A header of known length: unrolled. */
		size_t left_bytes = len_bytes;

		for (; left_bytes >= 8; left_bytes -= 8, p += 8)
			sum = vly_checksum_plus(sum, vly_checksum_load(p));
		if (left_bytes) {
			uint64_t last = 0;

			memcpy(&last, p, left_bytes);
			sum = vly_checksum_plus(sum, last);
		}
		return sum;
	}
	if (vly_likely(len_bytes == 64))
		return vly_arch_sum_block(sum, p);
	return vly_checksum_add_long(sum, p, len_bytes);
}

static inline uint64_t vly_checksum_copy(uint64_t sum, void *to, const void *from, size_t len_bytes)
{
	if (vly_likely(len_bytes == 64)) {
		memcpy(to, from, 64);
		return vly_arch_sum_block(sum, from);
	}
	return vly_checksum_copy_long(sum, to, from, len_bytes);
}

#endif
