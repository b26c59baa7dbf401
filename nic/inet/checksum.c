/* checksum.c - the Internet checksum: sums, sums of what is copied, changes of a few bytes */
#include "nic/inet/checksum.h"

/* Fewer than eight bytes; the missing ones count as 0. */
static inline uint64_t add_rest(uint64_t sum, const uint8_t *data, size_t len_bytes)
{
	uint64_t word = 0;

	if (len_bytes & 4) {
		memcpy(&word, data, 4);
		sum = vly_checksum_plus(sum, word);
		data += 4;
	}
	if (len_bytes & 2) {
		word = 0;
		memcpy(&word, data, 2);
		sum = vly_checksum_plus(sum, word);
		data += 2;
	}
	if (len_bytes & 1) {
		word = 0;
		memcpy(&word, data, 1);
		sum = vly_checksum_plus(sum, word);
	}
	return sum;
}

uint64_t vly_checksum_add_long(uint64_t sum, const uint8_t *data, size_t len_bytes)
{
	for (; len_bytes >= 64; len_bytes -= 64, data += 64)
		sum = vly_arch_sum_block(sum, data);
	for (; len_bytes >= 8; len_bytes -= 8, data += 8)
		sum = vly_checksum_plus(sum, vly_checksum_load(data));
	return add_rest(sum, data, len_bytes);
}

uint64_t vly_checksum_copy_long(uint64_t sum, uint8_t *to, const uint8_t *from, size_t len_bytes)
{
	for (; len_bytes >= 64; len_bytes -= 64, from += 64, to += 64) {
		memcpy(to, from, 64);
		sum = vly_arch_sum_block(sum, from);
	}
	for (; len_bytes >= 8; len_bytes -= 8, from += 8, to += 8) {
		uint64_t word = vly_checksum_load(from);

		memcpy(to, &word, sizeof(word));
		sum = vly_checksum_plus(sum, word);
	}
	if (len_bytes) {
		memcpy(to, from, len_bytes);
		sum = add_rest(sum, from, len_bytes);
	}
	return sum;
}
