/* hash.h - keyed hashes, a table mixer, CRC32C and the hash of receive-side scaling */
#ifndef VLY_BASE_HASH_H
#define VLY_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

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
