/* test_hash.c - hashes against their published vectors */
#include "base/hash.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/support/leak.h"

TestSuite(hash, .fini = vly_leak_gate);

/*
 * The reference implementation's vectors: key 00 01 .. 0f, message 00 01 .. of each length from 0.
 */
static const struct vly_siphash_key sip_key = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};

static const uint64_t sip24_vectors[16] = {
	0x726fdb47dd0e0e31u, 0x74f839c593dc67fdu, 0x0d6c8009d9a94f5au, 0x85676696d7fb7e2du,
	0xcf2794e0277187b7u, 0x18765564cd99a68du, 0xcbc9466e58fee3ceu, 0xab0200f58b01d137u,
	0x93f5f5799a932462u, 0x9e0082df0ba9e4b0u, 0x7a5dbbc594ddb9f3u, 0xf4b32f46226bada7u,
	0x751e8fbc860ee5fbu, 0x14ea5627c0843d90u, 0xf723ca908e7af2eeu, 0xa129ca6149be45e5u,
};

static const uint64_t sip13_vectors[16] = {
	0xabac0158050fc4dcu, 0xc9f49bf37d57ca93u, 0x82cb9b024dc7d44du, 0x8bf80ab8e7ddf7fbu,
	0xcf75576088d38328u, 0xdef9d52f49533b67u, 0xc50d2b50c59f22a7u, 0xd3927d989bb11140u,
	0x369095118d299a8eu, 0x25a48eb36c063de4u, 0x79de85ee92ff097fu, 0x70c118c1f94dc352u,
	0x78a384b157b4d9a2u, 0x306f760c1229ffa7u, 0x605aa111c0f95d34u, 0xd320d86d2a519956u,
};

static void message_fill(uint8_t *message, size_t len_bytes)
{
	for (size_t i = 0; i < len_bytes; i++)
		message[i] = (uint8_t)i;
}

Test(hash, siphash_agrees_with_the_reference)
{
	uint8_t message[64];

	message_fill(message, sizeof(message));
	for (size_t len_bytes = 0; len_bytes < 16; len_bytes++) {
		cr_assert_eq(vly_siphash24(&sip_key, message, len_bytes), sip24_vectors[len_bytes]);
		cr_assert_eq(vly_siphash13(&sip_key, message, len_bytes), sip13_vectors[len_bytes]);
	}
	cr_assert_eq(vly_siphash24(&sip_key, message, 63), 0x958a324ceb064572u);
	cr_assert_eq(vly_siphash13(&sip_key, message, 60), 0xf6f4e6bcf7a644eeu);
}

Test(hash, siphash_takes_unaligned_data)
{
	uint8_t room[24];

	for (size_t offset = 0; offset < 8; offset++) {
		message_fill(room + offset, 15);
		cr_assert_eq(vly_siphash24(&sip_key, room + offset, 15), sip24_vectors[15]);
	}
}

Test(hash, crc32c_agrees_with_rfc_3720)
{
	uint8_t data[32];

	cr_assert_eq(vly_crc32c(0, "", 0), 0);
	cr_assert_eq(vly_crc32c(0, "123456789", 9), 0xe3069283u);
	memset(data, 0, sizeof(data));
	cr_assert_eq(vly_crc32c(0, data, sizeof(data)), 0x8a9136aau);
	memset(data, 0xff, sizeof(data));
	cr_assert_eq(vly_crc32c(0, data, sizeof(data)), 0x62a8ab43u);
	message_fill(data, sizeof(data));
	cr_assert_eq(vly_crc32c(0, data, sizeof(data)), 0x46dd794eu);
}

Test(hash, crc32c_by_table_is_the_same_at_every_length_and_offset)
{
	uint8_t data[80];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37 + 11);
	cr_assert_eq(vly_crc32c_by_table(0, "123456789", 9), 0xe3069283u);
	for (size_t offset = 0; offset < 8; offset++) {
		for (size_t len_bytes = 0; len_bytes <= 64; len_bytes++)
			cr_assert_eq(vly_crc32c(7, data + offset, len_bytes),
				     vly_crc32c_by_table(7, data + offset, len_bytes));
	}
}

Test(hash, crc32c_continues_across_pieces)
{
	for (size_t cut = 0; cut <= 9; cut++) {
		uint32_t crc = vly_crc32c(0, "123456789", cut);

		cr_assert_eq(vly_crc32c(crc, &"123456789"[cut], 9 - cut), 0xe3069283u);
	}
}

/*
 * Microsoft, "Verifying the RSS Hash Calculation": the flow, its hash by addresses, and with ports.
 */
static const struct rss_vector {
	const char *dst;
	uint16_t dst_port;
	const char *src;
	uint16_t src_port;
	uint32_t addresses_hash;
	uint32_t ports_hash;
} rss_ipv4[] = {
	{"161.142.100.80", 1766, "66.9.149.187", 2794, 0x323e8fc2, 0x51ccc178},
	{"65.69.140.83", 4739, "199.92.111.2", 14230, 0xd718262a, 0xc626b0ea},
	{"12.22.207.184", 38024, "24.19.198.95", 12898, 0xd2d0a5de, 0x5c2b394a},
	{"209.142.163.6", 2217, "38.27.205.30", 48228, 0x82989176, 0xafc7327f},
	{"202.188.127.2", 1303, "153.39.163.191", 44251, 0x5d1809c5, 0x10e828a2},
};

static const struct rss_vector rss_ipv6[] = {
	{"3ffe:2501:200:3::1", 1766, "3ffe:2501:200:1fff::7", 2794, 0x2cc18cd5, 0x40207d3d},
	{"ff02::1", 4739, "3ffe:501:8::260:97ff:fe40:efab", 14230, 0x0f0c461c, 0xdde51bbf},
	{"fe80::200:f8ff:fe21:67cf", 38024, "3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251,
	 0x4b61e985, 0x02d1feef},
};

Test(hash, toeplitz_agrees_with_the_published_ipv4_flows)
{
	for (size_t i = 0; i < sizeof(rss_ipv4) / sizeof(rss_ipv4[0]); i++) {
		const struct rss_vector *v = &rss_ipv4[i];
		uint8_t both[8];

		cr_assert_eq(inet_pton(AF_INET, v->src, both), 1);
		cr_assert_eq(inet_pton(AF_INET, v->dst, both + 4), 1);
		cr_assert_eq(vly_toeplitz(vly_toeplitz_key_default, VLY_TOEPLITZ_KEY_BYTES, both,
					  8),
			     v->addresses_hash);
		cr_assert_eq(vly_toeplitz_ipv4(vly_toeplitz_key_default, both, both + 4,
					       v->src_port, v->dst_port),
			     v->ports_hash);
	}
}

Test(hash, toeplitz_by_table_agrees_with_the_published_ipv4_flows)
{
	static struct vly_toeplitz_table table;

	vly_toeplitz_table_make(&table, vly_toeplitz_key_default);
	for (size_t i = 0; i < sizeof(rss_ipv4) / sizeof(rss_ipv4[0]); i++) {
		const struct rss_vector *v = &rss_ipv4[i];
		uint32_t src, dst;

		cr_assert_eq(inet_pton(AF_INET, v->src, &src), 1);
		cr_assert_eq(inet_pton(AF_INET, v->dst, &dst), 1);
		cr_assert_eq(vly_toeplitz_flow(&table, src, dst, htons(v->src_port),
					       htons(v->dst_port)),
			     v->ports_hash);
		cr_assert_eq(vly_toeplitz_flow(&table, src, dst, 0, 0), v->addresses_hash);
	}
}

Test(hash, the_symmetric_key_hashes_both_directions_of_a_flow_alike)
{
	static struct vly_toeplitz_table table;

	vly_toeplitz_table_make(&table, vly_toeplitz_key_symmetric);
	for (uint64_t i = 1; i < 1000; i++) {
		uint32_t a = (uint32_t)vly_hash_u64(i), b = (uint32_t)vly_hash_u64(i << 32);
		uint16_t p = (uint16_t)vly_hash_u64(i + 7), q = (uint16_t)vly_hash_u64(i + 9);

		cr_assert_eq(vly_toeplitz_flow(&table, a, b, p, q),
			     vly_toeplitz_flow(&table, b, a, q, p));
	}
}

Test(hash, toeplitz_agrees_with_the_published_ipv6_flows)
{
	for (size_t i = 0; i < sizeof(rss_ipv6) / sizeof(rss_ipv6[0]); i++) {
		const struct rss_vector *v = &rss_ipv6[i];
		uint8_t both[32];

		cr_assert_eq(inet_pton(AF_INET6, v->src, both), 1);
		cr_assert_eq(inet_pton(AF_INET6, v->dst, both + 16), 1);
		cr_assert_eq(vly_toeplitz(vly_toeplitz_key_default, VLY_TOEPLITZ_KEY_BYTES, both,
					  32),
			     v->addresses_hash);
		cr_assert_eq(vly_toeplitz_ipv6(vly_toeplitz_key_default, both, both + 16,
					       v->src_port, v->dst_port),
			     v->ports_hash);
	}
}

Test(hash, toeplitz_reads_no_key_beyond_input_and_four)
{
	/* on the heap, so that a byte too many is an error under AddressSanitizer */
	uint8_t *key = malloc(12);
	uint8_t both[8];

	cr_assert_not_null(key);
	memcpy(key, vly_toeplitz_key_default, 12);
	cr_assert_eq(inet_pton(AF_INET, rss_ipv4[0].src, both), 1);
	cr_assert_eq(inet_pton(AF_INET, rss_ipv4[0].dst, both + 4), 1);
	cr_assert_eq(vly_toeplitz(key, 12, both, 8), rss_ipv4[0].addresses_hash);
	free(key);
}

Test(hash, u64_agrees_with_splitmix64)
{
	/* SplitMix64 from seed 0: its first outputs are the mixed multiples of the golden gamma. */
	cr_assert_eq(vly_hash_u64(0x9e3779b97f4a7c15u), 0xe220a8397b1dcdafu);
	cr_assert_eq(vly_hash_u64(2 * 0x9e3779b97f4a7c15u), 0x6e789e6aa1b965f4u);
	cr_assert_eq(vly_hash_u64(0), 0);
}

Test(hash, u64_spreads_neighbours_over_low_bits)
{
	unsigned int counts[256] = {0};

	/*
	 * 64 a bucket on average; for a fair spread 3 or 160 would be eight deviations away and
	 * more
	 */
	for (uint64_t x = 0; x < 256 * 64; x++)
		counts[vly_hash_u64(x << 20) & 255]++;
	for (unsigned int i = 0; i < 256; i++)
		cr_assert(counts[i] > 3 && counts[i] < 160, "bucket %u: %u", i, counts[i]);
}
