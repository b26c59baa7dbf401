/* test_checksum.c - the Internet checksum against a naive one, at all lengths and alignments */
#include "nic/inet/checksum.h"

#include <arpa/inet.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "base/hash.h"
#include "tests/support/leak.h"

TestSuite(checksum, .fini = vly_leak_gate);

/* RFC 1071, section 4.1, word by word in network order. */
static uint16_t naive(const uint8_t *data, size_t len_bytes)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len_bytes; i++) {
		sum += i % 2 ? data[i] : (uint32_t)data[i] << 8;
		sum = (sum & 0xffff) + (sum >> 16);
	}
	return htons((uint16_t)sum);
}

static void fill(uint8_t *data, size_t len_bytes, uint64_t seed)
{
	for (size_t i = 0; i < len_bytes; i++)
		data[i] = (uint8_t)vly_hash_u64(seed + i);
}

Test(checksum, agrees_with_the_naive_sum_at_all_lengths_and_alignments)
{
	uint8_t room[400];

	for (size_t offset = 0; offset < 16; offset++) {
		fill(room, sizeof(room), offset);
		for (size_t len = 0; len <= 300; len++)
			cr_assert_eq(vly_checksum_fold(vly_checksum_add(0, room + offset, len)),
				     naive(room + offset, len), "offset %zu, %zu bytes", offset,
				     len);
	}
}

Test(checksum, carries_of_ones_all_over_are_kept)
{
	uint8_t ones[2048];

	memset(ones, 0xff, sizeof(ones));
	for (size_t len = 2; len <= sizeof(ones); len += 2)
		cr_assert_eq(vly_checksum_fold(vly_checksum_add(0, ones, len)), 0xffff);
	cr_assert_eq(vly_checksum_fold(vly_checksum_add(UINT64_MAX, ones, 64)), 0xffff);
}

Test(checksum, the_block_of_this_processor_agrees_with_plain_c)
{
	uint8_t room[80];

	for (uint64_t seed = 0; seed < 500; seed++) {
		uint64_t sum = vly_hash_u64(seed);

		fill(room, sizeof(room), seed * 100);
		const uint8_t *block = room + seed % 16;
		cr_assert_eq(vly_checksum_fold(vly_arch_sum_block(sum, block)),
			     vly_checksum_fold(vly_arch_sum_block_plain(sum, block)));
	}
}

Test(checksum, nothing_sums_to_nothing)
{
	uint8_t none[64] = {0};

	cr_assert_eq(vly_checksum_fold(vly_checksum_add(0, none, 0)), 0);
	cr_assert_eq(vly_checksum_fold(vly_checksum_add(0, none, 64)), 0);
	cr_assert_eq(vly_checksum_finish(0), 0xffff);
}

Test(checksum, lengths_known_to_the_compiler_agree)
{
	uint8_t room[64];

	fill(room, sizeof(room), 7);
#define AGREES(len)                                                                                \
	cr_assert_eq(vly_checksum_fold(vly_checksum_add(0, room, len)), naive(room, len))
	AGREES(1);
	AGREES(2);
	AGREES(3);
	AGREES(8);
	AGREES(20);
	AGREES(32);
	AGREES(40);
	AGREES(63);
	AGREES(64);
#undef AGREES
}

Test(checksum, the_copy_is_equal_and_its_sum_too)
{
	uint8_t from[400], to[400];

	for (size_t offset = 0; offset < 16; offset++) {
		fill(from, sizeof(from), 100 + offset);
		for (size_t len = 0; len <= 300; len++) {
			size_t at = (len * 5 + offset) % 16; /* the target's own alignment */

			memset(to, 0xa5, sizeof(to));
			uint64_t sum = vly_checksum_copy(0, to + at, from + offset, len);
			cr_assert_eq(vly_checksum_fold(sum), naive(from + offset, len));
			cr_assert_eq(memcmp(to + at, from + offset, len), 0);
			cr_assert(at == 0 || to[at - 1] == 0xa5, "written in front");
			cr_assert_eq(to[at + len], 0xa5, "written behind");
		}
	}
}

Test(checksum, pieces_add_up_wherever_they_are_cut)
{
	uint8_t room[200];

	fill(room, sizeof(room), 3);
	for (size_t cut = 0; cut <= sizeof(room); cut++) {
		uint64_t front = vly_checksum_add(0, room, cut);
		uint64_t back = vly_checksum_add(0, room + cut, sizeof(room) - cut);
		uint64_t sum = cut % 2 ? vly_checksum_join_odd(front, back)
				       : vly_checksum_plus(front, back);

		cr_assert_eq(vly_checksum_fold(sum), naive(room, sizeof(room)), "cut at %zu", cut);
	}
}

Test(checksum, a_header_with_its_checksum_sums_to_ones)
{
	/* The header of the IPv4 examples: 45 00 00 73 ..., checksum b861. */
	uint8_t header[20] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
			      0x00, 0x00, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
	uint16_t check = vly_checksum_finish(vly_checksum_add(0, header, sizeof(header)));

	cr_assert_eq(ntohs(check), 0xb861);
	memcpy(header + 10, &check, 2);
	cr_assert_eq(vly_checksum_fold(vly_checksum_add(0, header, sizeof(header))), 0xffff);
	header[3] ^= 1;
	cr_assert_neq(vly_checksum_fold(vly_checksum_add(0, header, sizeof(header))), 0xffff);
}

/* Around every multiple of 65535 that matters, and anywhere. */
Test(checksum, is_intact_where_it_folds_to_ffff_and_nowhere_else)
{
	uint64_t state = 11;

	cr_assert_not(vly_checksum_intact(0));
	cr_assert(vly_checksum_intact(UINT64_MAX));
	for (uint64_t times = 1; times < 70000; times++) {
		cr_assert(vly_checksum_intact(times * 65535));
		cr_assert_not(vly_checksum_intact(times * 65535 + 1));
		cr_assert_not(vly_checksum_intact(times * 65535 - 1));
	}
	for (int i = 0; i < 1000000; i++) {
		state = state * 6364136223846793005u + 1442695040888963407u;
		uint64_t sum = i % 2 ? state : state - state % 65535;

		cr_assert_eq(vly_checksum_intact(sum), vly_checksum_fold(sum) == 0xffff, "%llx",
			     (unsigned long long)sum);
	}
}

Test(checksum, the_pseudo_header_is_that_of_rfc_9293)
{
	uint8_t pseudo[12] = {192, 0, 2, 1, 198, 51, 100, 2, 0, 6, 0, 0};

	for (uint32_t len = 0; len <= 65535; len += 257) {
		uint32_t src, dst;

		pseudo[10] = (uint8_t)(len >> 8);
		pseudo[11] = (uint8_t)len;
		memcpy(&src, pseudo, 4);
		memcpy(&dst, pseudo + 4, 4);
		cr_assert_eq(vly_checksum_fold(vly_checksum_pseudo(src, dst, 6, len)),
			     naive(pseudo, sizeof(pseudo)), "%u bytes", len);
	}
	/* protocol and length are two words: their sum may carry */
	uint32_t one = htonl(1);
	uint8_t largest[12] = {0, 0, 0, 1, 0, 0, 0, 1, 0, 17, 0xff, 0xff};
	cr_assert_eq(vly_checksum_fold(vly_checksum_pseudo(one, one, 17, 65535)),
		     naive(largest, sizeof(largest)));
}

Test(checksum, an_update_equals_the_sum_made_anew)
{
	uint8_t room[64];

	for (uint64_t seed = 0; seed < 2000; seed++) {
		fill(room, sizeof(room), seed * 100);
		uint16_t check = vly_checksum_finish(vly_checksum_add(0, room, sizeof(room)));
		size_t at = vly_hash_u64(seed) % 31 * 2;
		uint16_t from, to = (uint16_t)vly_hash_u64(~seed);

		memcpy(&from, room + at, 2);
		memcpy(room + at, &to, 2);
		check = vly_checksum_update16(check, from, to);
		cr_assert_eq(check, vly_checksum_finish(vly_checksum_add(0, room, sizeof(room))));

		uint32_t wide_from, wide_to = (uint32_t)vly_hash_u64(seed ^ 77);
		at = vly_hash_u64(seed + 1) % 30 * 2;
		memcpy(&wide_from, room + at, 4);
		memcpy(room + at, &wide_to, 4);
		check = vly_checksum_update32(check, wide_from, wide_to);
		cr_assert_eq(check, vly_checksum_finish(vly_checksum_add(0, room, sizeof(room))));
	}
}

Test(checksum, an_update_keeps_the_zero_of_rfc_1624)
{
	/* Section 4: the sum was dd2f, 5555 becomes 3285; equation 2 would say ffff. */
	cr_assert_eq(vly_checksum_update16(0xdd2f, 0x5555, 0x3285), 0x0000);
}
