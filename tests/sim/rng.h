/* rng.h - the one source of chance in a simulation */
#ifndef VLY_TESTS_SIM_RNG_H
#define VLY_TESTS_SIM_RNG_H

#include <stdbool.h>
#include <stdint.h>

/* SplitMix64. */
struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* 0..n-1 */
static inline uint64_t rng_below(struct rng *rng, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)rng_next(rng) * n) >> 64);
}

/* low..high, both included */
static inline uint64_t rng_range(struct rng *rng, uint64_t low, uint64_t high)
{
	return low + rng_below(rng, high - low + 1);
}

/* True once in 1/p. */
static inline bool rng_chance(struct rng *rng, double p)
{
	return (double)(rng_next(rng) >> 11) < p * 0x1p53;
}

/* Between low and high with small values as likely as large ones; low is at least 1. */
static inline uint64_t rng_scale(struct rng *rng, uint64_t low, uint64_t high)
{
	unsigned doublings = 0;

	for (uint64_t n = low; n < high / 2; n *= 2)
		doublings++;
	uint64_t top = low << rng_below(rng, doublings + 1);

	return rng_range(rng, top, top > high / 2 ? high : 2 * top);
}

/* Another source, independent from what this one gives from now on. */
static inline struct rng rng_fork(struct rng *rng)
{
	return (struct rng){rng_next(rng)};
}

#endif
