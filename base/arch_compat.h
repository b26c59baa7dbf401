/* arch_compat.h - the few instructions that differ between processors, behind one set of names */
#ifndef VLY_BASE_ARCH_COMPAT_H
#define VLY_BASE_ARCH_COMPAT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

/* Tells the processor that this thread spins, so that its SMT sibling gets the core. */
static inline void vly_arch_relax(void)
{
#if defined(__x86_64__)
	_mm_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield" ::: "memory");
#endif
}

/*
 * The time stamp counter; 0 where there is none. Not serialising: neighbouring loads may pass it.
 */
static inline uint64_t vly_arch_tsc(void)
{
#if defined(__x86_64__)
	return __rdtsc();
#else
	return 0;
#endif
}

/*
 * The same, after every earlier load is done: for calibration, where a bracket must really enclose.
 */
static inline uint64_t vly_arch_tsc_ordered(void)
{
#if defined(__x86_64__)
	unsigned int cpu;

	return __rdtscp(&cpu);
#else
	return 0;
#endif
}

/*
 * Whether CPUID promises a counter of constant rate that never stops (leaf 0x80000007, EDX bit 8).
 */
static inline bool vly_arch_tsc_invariant(void)
{
#if defined(__x86_64__)
	unsigned int eax, ebx, ecx, edx;
	bool rdtscp;

	if (!__get_cpuid(0x80000001u, &eax, &ebx, &ecx, &edx))
		return false;
	rdtscp = edx & (1u << 27);
	if (!__get_cpuid(0x80000007u, &eax, &ebx, &ecx, &edx))
		return false;
	return rdtscp && (edx & (1u << 8));
#else
	return false;
#endif
}

/*
 * `sum` and eight 64-bit words at `p` (any alignment), carries put back in at the low end; the sum
 * of the Internet checksum. Tests compare the two.
 */
static inline uint64_t vly_arch_sum_block_plain(uint64_t sum, const uint8_t *p)
{
	for (unsigned int i = 0; i < 8; i++) {
		uint64_t word;

		memcpy(&word, p + 8 * i, sizeof(word));
		sum += word;
		sum += sum < word;
	}
	return sum;
}

/* The same over 20 bytes, a header without options. */
static inline uint64_t vly_arch_sum_header(uint64_t sum, const uint8_t *p)
{
	uint64_t first, second;
	uint32_t last;

	memcpy(&first, p, sizeof(first));
	memcpy(&second, p + 8, sizeof(second));
	memcpy(&last, p + 16, sizeof(last));
#if defined(__x86_64__)
	__asm__("addq %1, %0\n\t"
		"adcq %2, %0\n\t"
		"adcq %3, %0\n\t"
		"adcq $0, %0"
		: "+r"(sum)
		: "rm"(first), "rm"(second), "r"((uint64_t)last)
		: "cc");
#else
	sum += first;
	sum += sum < first;
	sum += second;
	sum += sum < second;
	sum += last;
	sum += sum < last;
#endif
	return sum;
}

static inline uint64_t vly_arch_sum_block(uint64_t sum, const uint8_t *p)
{
#if defined(__x86_64__)
	struct block {
		uint8_t bytes[64];
	};
	/*
	 * One chain of carries: compilers make three instructions a word of it. The memory operand
	 * says what is read.
	 */
	__asm__("addq 0(%1), %0\n\t"
		"adcq 8(%1), %0\n\t"
		"adcq 16(%1), %0\n\t"
		"adcq 24(%1), %0\n\t"
		"adcq 32(%1), %0\n\t"
		"adcq 40(%1), %0\n\t"
		"adcq 48(%1), %0\n\t"
		"adcq 56(%1), %0\n\t"
		"adcq $0, %0"
		: "+r"(sum)
		: "r"(p), "m"(*(const struct block *)p)
		: "cc");
	return sum;
#else
	return vly_arch_sum_block_plain(sum, p);
#endif
}

/* CRC32C of eight bytes and of one; only to be called where VLY_ARCH_CRC32C is 1. */
#if defined(__SSE4_2__)
#define VLY_ARCH_CRC32C 1
static inline uint32_t vly_arch_crc32c_u64(uint32_t crc, uint64_t word)
{
	return (uint32_t)_mm_crc32_u64(crc, word);
}

static inline uint32_t vly_arch_crc32c_u8(uint32_t crc, uint8_t byte)
{
	return _mm_crc32_u8(crc, byte);
}
#elif defined(__ARM_FEATURE_CRC32) && __ARM_FEATURE_CRC32
#include <arm_acle.h>
#define VLY_ARCH_CRC32C 1
static inline uint32_t vly_arch_crc32c_u64(uint32_t crc, uint64_t word)
{
	return __crc32cd(crc, word);
}

static inline uint32_t vly_arch_crc32c_u8(uint32_t crc, uint8_t byte)
{
	return __crc32cb(crc, byte);
}
#else
#define VLY_ARCH_CRC32C 0
#endif

#endif
