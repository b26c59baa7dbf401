/* test_payload.c - the pattern tells connection, message and place */
#include "bench/payload.h"

#include <string.h>

#include "tests/support/leak.h"

TestSuite(payload, .fini = vly_leak_gate);

#define LEN 67

Test(payload, filled_bytes_are_those_defined)
{
	uint8_t bytes[LEN];
	uint64_t base = payload_base(payload_key(1, 2), 3);

	payload_fill(base, bytes, LEN);
	for (uint32_t i = 0; i < LEN; i++)
		cr_assert_eq(bytes[i], payload_byte(base, i));
}

Test(payload, filling_writes_no_byte_too_many)
{
	for (uint32_t len = 0; len < LEN; len++) {
		uint8_t bytes[LEN + 1];

		memset(bytes, 0xa5, sizeof(bytes));
		payload_fill(12345, bytes, len);
		for (uint32_t i = len; i < sizeof(bytes); i++)
			cr_assert_eq(bytes[i], 0xa5);
	}
}

Test(payload, every_cut_of_a_message_compares_equal)
{
	uint8_t bytes[LEN];
	uint64_t base = payload_base(payload_key(9, 9), 1);

	payload_fill(base, bytes, LEN);
	for (uint32_t begin = 0; begin <= LEN; begin++)
		for (uint32_t end = begin; end <= LEN; end++)
			cr_assert_eq(payload_differs(base, begin, bytes + begin, end - begin),
				     end - begin);
}

Test(payload, one_wrong_bit_of_64_bytes_is_found)
{
	uint8_t bytes[64];
	uint64_t base = payload_base(payload_key(9, 9), 1);

	payload_fill(base, bytes, 64);
	cr_assert(payload_is_64(base, bytes));
	for (unsigned bit = 0; bit < 8 * 64; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		cr_assert_not(payload_is_64(base, bytes), "bit %u", bit);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	cr_assert_not(payload_is_64(payload_base(payload_key(9, 9), 2), bytes), "the next message");
	cr_assert_eq(payload_after(base), payload_base(payload_key(9, 9), 2));
}

Test(payload, each_single_wrong_byte_is_found_and_placed)
{
	uint8_t bytes[LEN];
	uint64_t base = payload_base(payload_key(9, 9), 1);

	payload_fill(base, bytes, LEN);
	for (uint32_t begin = 0; begin < 9; begin++) {
		for (uint32_t wrong = begin; wrong < LEN; wrong++) {
			bytes[wrong] ^= 0x10;
			cr_assert_eq(payload_differs(base, begin, bytes + begin, LEN - begin),
				     wrong - begin);
			bytes[wrong] ^= 0x10;
		}
	}
}

Test(payload, stale_swapped_and_shifted_echoes_are_found)
{
	uint8_t bytes[80];
	uint64_t key = payload_key(1, 0), base = payload_base(key, 5);

	payload_fill(payload_base(key, 4), bytes, 64);
	cr_assert_lt(payload_differs(base, 0, bytes, 64), 8, "the message before");
	payload_fill(payload_base(payload_key(1, 1), 5), bytes, 64);
	cr_assert_lt(payload_differs(base, 0, bytes, 64), 8, "another connection's");
	payload_fill(payload_base(payload_key(2, 0), 5), bytes, 64);
	cr_assert_lt(payload_differs(base, 0, bytes, 64), 8, "another run's");
	payload_fill(base, bytes, 80);
	cr_assert_lt(payload_differs(base, 0, bytes + 8, 64), 8, "shifted by a word");
	cr_assert_lt(payload_differs(base, 0, bytes + 1, 64), 8, "shifted by a byte");
	memset(bytes, 0, sizeof(bytes));
	cr_assert_lt(payload_differs(base, 0, bytes, 64), 8, "zeros");
}

Test(payload, sum_is_that_of_the_first_bytes_of_all_messages)
{
	static const uint32_t sizes[] = {1, 3, 7, 8, 9, 64};
	uint64_t key = payload_key(5, 6);

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t sum = 0;

		for (uint64_t count = 0; count < 1000; count++) {
			uint8_t bytes[LEN];
			uint64_t first = 0;

			cr_assert_eq(payload_sum(key, count, sizes[i]), sum);
			payload_fill(payload_base(key, count), bytes, sizes[i]);
			memcpy(&first, bytes, sizes[i] < 8 ? sizes[i] : 8);
			sum += le64toh(first);
		}
	}
}
