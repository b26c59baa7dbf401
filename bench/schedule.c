/* schedule.c - when messages are meant to be sent: a rate over time, whatever is answered */
#include "bench/schedule.h"

#include <math.h>

#define NS_PER_S 1e9
#define AHEAD_MAX 1.8e19 /* below 2^64 */

/* The finaliser of splitmix64, twice: neighbours get unrelated numbers. */
uint64_t schedule_random(uint64_t seed, uint64_t id, uint64_t number)
{
	uint64_t x = seed + (id + 1) * UINT64_C(0x9e3779b97f4a7c15);

	for (int i = 0; i < 2; i++) {
		x ^= x >> 30;
		x *= UINT64_C(0xbf58476d1ce4e5b9);
		x ^= x >> 27;
		x *= UINT64_C(0x94d049bb133111eb);
		x ^= x >> 31;
		x += (number + 1) * UINT64_C(0x9e3779b97f4a7c15);
	}
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	return x ^ x >> 31;
}

/*
 * Exponential with mean 1, from [0, 37): minus the logarithm of u = 2^exponent (1 + t), which is 53 bits
 * below 1. ln(1 + t) is t times a polynomial, fitted at 2000 Chebyshev nodes, wrong by 1.4e-7 at most: a
 * load generator that draws 4 million of them a second notices that log() takes 20 ns.
 */
static double exponential(uint64_t bits)
{
	union {
		double number;
		uint64_t bits;
	} u = {.number = ((double)(bits >> 11) + 0.5) * 0x1p-53};
	double exponent = (double)((int64_t)(u.bits >> 52) - 1023);
	double t, tt, low, high;

	u.bits = (u.bits & ((UINT64_C(1) << 52) - 1)) | UINT64_C(1023) << 52;
	t = u.number - 1;
	tt = t * t;
	low = (0.9999998102 - 0.4999744938 * t) + (0.3327617657 - 0.2449961172 * t) * tt;
	high = (0.1775702399 - 0.1078536791 * t) + (0.0442141923 - 0.0085746762 * t) * tt;
	/* just below u = 1 the error could make time run backwards */
	return fmax(-exponent * M_LN2 - t * (low + high * tt * tt), 0);
}

schedule_place schedule_first(const struct schedule *schedule, uint32_t id)
{
	if (!schedule->poisson)
		return id;
	return schedule->connections * exponential(schedule_random(schedule->seed, id, UINT64_MAX));
}

schedule_place schedule_next(const struct schedule *schedule, uint32_t id, uint64_t number,
			     schedule_place place)
{
	if (!schedule->poisson)
		return place + schedule->connections;
	return place +
	       schedule->connections * exponential(schedule_random(schedule->seed, id, number));
}

uint64_t schedule_ns(const struct schedule *schedule, schedule_place place)
{
	const struct schedule_step *step = schedule->steps;
	double ns;

	for (unsigned int i = 1; i < schedule->steps_count; i++, step++) {
		double holds =
			(double)(step[1].at_ns - step->at_ns) / NS_PER_S * step->rate_msg_per_s;

		if (place < holds)
			break;
		place -= holds;
	}
	ns = (double)step->at_ns + place / step->rate_msg_per_s * NS_PER_S;
	return ns < AHEAD_MAX ? (uint64_t)ns : UINT64_MAX;
}

schedule_place schedule_at(const struct schedule *schedule, uint64_t ns)
{
	const struct schedule_step *step = schedule->steps;
	double place = 0;

	for (unsigned int i = 1; i < schedule->steps_count && step[1].at_ns <= ns; i++, step++)
		place += (double)(step[1].at_ns - step->at_ns) / NS_PER_S * step->rate_msg_per_s;
	return place + (double)(ns - step->at_ns) / NS_PER_S * step->rate_msg_per_s;
}
