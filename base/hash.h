/* hash.h - keyed hashes, a table mixer, CRC32C and the hash of receive-side scaling */
#ifndef VLY_BASE_HASH_H
#define VLY_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A secret; take it from getrandom() once, so that peers cannot choose what collides. */
struct vly_siphash_key {
	uint64_t k0, k1; /* the first and last eight bytes of the 16-byte key, little endian */
};

/* SipHash-2-4 (Aumasson, Bernstein 2012), 64 bits: for initial sequence numbers and cookies. */
uint64_t vly_siphash24(const struct vly_siphash_key *key, const void *data, size_t len_bytes);

/* SipHash-1-3: half the rounds, for tables whose collisions a peer may try to provoke. */
uint64_t vly_siphash13(const struct vly_siphash_key *key, const void *data, size_t len_bytes);

/*
 * CRC32C (Castagnoli) of `data` continued from `crc`; begin with 0. In hardware where compiled for
 * (-msse4.2).
 */
uint32_t vly_crc32c(uint32_t crc, const void *data, size_t len_bytes);

/* The same by table, on any processor; tests compare the two. */
uint32_t vly_crc32c_by_table(uint32_t crc, const void *data, size_t len_bytes);

#define VLY_TOEPLITZ_KEY_BYTES 40 /* serves inputs of up to 36 bytes */

/* The key of Microsoft's RSS test vectors, which most drivers load by default. */
extern const uint8_t vly_toeplitz_key_default[VLY_TOEPLITZ_KEY_BYTES];

/*
 * Two bytes repeated: both directions of a flow have the same hash (Woo, Park 2012, "Scalable TCP Session
 * Monitoring with Symmetric Receive-side Scaling").
 */
extern const uint8_t vly_toeplitz_key_symmetric[VLY_TOEPLITZ_KEY_BYTES];

/*
 * The Toeplitz hash of an input as a port computes it. `key_bytes` is at least len_bytes + 4: each
 * input bit selects the 32 key bits that begin at its own position.
 */
uint32_t vly_toeplitz(const uint8_t *key, size_t key_bytes, const uint8_t *input, size_t len_bytes);

/*
 * A TCP or UDP flow as its receiver sees it; addresses as 4 or 16 bytes in network order, ports in
 * host order.
 */
uint32_t vly_toeplitz_ipv4(const uint8_t key[VLY_TOEPLITZ_KEY_BYTES], const uint8_t src[4],
			   const uint8_t dst[4], uint16_t src_port, uint16_t dst_port);
uint32_t vly_toeplitz_ipv6(const uint8_t key[VLY_TOEPLITZ_KEY_BYTES], const uint8_t src[16],
			   const uint8_t dst[16], uint16_t src_port, uint16_t dst_port);

/*
 * The same by table: the hash is the exclusive or of what each byte of the input contributes. For those
 * who hash every frame, or try many ports.
 */
struct vly_toeplitz_table {
	uint32_t of[12][256]; /* by byte: source, destination, both ports */
};

void vly_toeplitz_table_make(struct vly_toeplitz_table *table,
			     const uint8_t key[VLY_TOEPLITZ_KEY_BYTES]);

/* What two bytes from place `at` on contribute, as they lie in a header. */
static inline uint32_t vly_toeplitz_two(const struct vly_toeplitz_table *table, unsigned at,
					uint16_t net)
{
	uint8_t bytes[2];

	memcpy(bytes, &net, sizeof(bytes));
	return table->of[at][bytes[0]] ^ table->of[at + 1][bytes[1]];
}

/* Of a flow over IPv4 as its receiver sees it; all in network order. */
static inline uint32_t vly_toeplitz_flow(const struct vly_toeplitz_table *table, uint32_t src,
					 uint32_t dst, uint16_t src_port, uint16_t dst_port)
{
	uint16_t words[4];

	memcpy(words, &src, sizeof(src));
	memcpy(words + 2, &dst, sizeof(dst));
	return vly_toeplitz_two(table, 0, words[0]) ^ vly_toeplitz_two(table, 2, words[1]) ^
	       vly_toeplitz_two(table, 4, words[2]) ^ vly_toeplitz_two(table, 6, words[3]) ^
	       vly_toeplitz_two(table, 8, src_port) ^ vly_toeplitz_two(table, 10, dst_port);
}

/*
 * Mixes all 64 bits into all 64 (a bijection: the finaliser of SplitMix64, Steele et al. 2014), so
 * that a table may take the low bits. Not keyed: only for numbers that no peer chooses.
 */
static inline uint64_t vly_hash_u64(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9u;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebu;
	return x ^ (x >> 31);
}

#endif
