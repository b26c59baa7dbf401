/* clock.h - nanoseconds and cycles, read without a system call */
#ifndef VLY_BASE_CLOCK_H
#define VLY_BASE_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arch_compat.h"

/*
 * Nanoseconds on the scale of CLOCK_MONOTONIC. Where CPUID and the kernel vouch for an invariant
 * time stamp counter it is calibrated once against that clock and read directly (some 15 ns);
 * elsewhere, or with VOLLEY_CLOCK=gettime in the environment, every reading is a clock_gettime().
 *
 * Accuracy: calibration is accepted only if three readings lie within 50 ppm of one line, so the
 * two clocks part by at most 50 us per second (measured: below 1) as long as the kernel does not
 * slew; an NTP daemon may slew CLOCK_MONOTONIC by up to 500 ppm more. Differences on one machine
 * are therefore good for latencies and time-outs, and an absolute value must not be compared with
 * another process's hours later.
 */

/* One simultaneous reading of both clocks. */
struct vly_clock_reading {
	uint64_t cycles;
	uint64_t ns;
	uint64_t width_cycles; /* from the counter before the other clock to after it */
};

/* ns = base_ns + (cycles - base_cycles) * mult / 2^32 */
struct vly_clock_scale {
	uint64_t base_cycles;
	uint64_t base_ns;
	uint64_t mult;
	uint64_t hz;
};

/*
 * The process's clock: all zero until vly_clock_init(), which reads as the clock_gettime()
 * fallback.
 */
struct vly_clock_state {
	atomic_bool is_tsc; /* set with release after `scale`; each reader acquires */
	struct vly_clock_scale scale;
};

extern struct vly_clock_state vly_clock_state;

/*
 * Chooses and calibrates the clock, once per process, whatever the number of calls and threads;
 * some 12 ms.
 */
void vly_clock_init(void);

/*
 * For simulations: from the first call on the clock stands at `ns` until the next call, in the whole
 * process. Never with other threads running; nothing sets it going again.
 */
void vly_clock_freeze(uint64_t ns);

/* Cycles per second of vly_clock_cycles(). */
uint64_t vly_clock_cycles_hz(void);

/* One clock_gettime(CLOCK_MONOTONIC). */
uint64_t vly_clock_gettime_ns(void);

/* Whether the time stamp counter is in use. */
static inline bool vly_clock_is_tsc(void)
{
	/* pairs with the release store in vly_clock_init() */
	return atomic_load_explicit(&vly_clock_state.is_tsc, memory_order_acquire);
}

/* The time of `cycles` on a scale; `cycles` is not before scale->base_cycles. */
static inline uint64_t vly_clock_scale_ns(const struct vly_clock_scale *scale, uint64_t cycles)
{
	unsigned __int128 product = (unsigned __int128)(cycles - scale->base_cycles) * scale->mult;

	return scale->base_ns + (uint64_t)(product >> 32);
}

/* Now, in nanoseconds of CLOCK_MONOTONIC. */
static inline uint64_t vly_clock_ns(void)
{
	if (vly_clock_is_tsc())
		return vly_clock_scale_ns(&vly_clock_state.scale, vly_arch_tsc());
	return vly_clock_gettime_ns();
}

/*
 * Now, in units of 1 / vly_clock_cycles_hz() seconds: counter cycles, or nanoseconds in the
 * fallback.
 */
static inline uint64_t vly_clock_cycles(void)
{
	return vly_clock_is_tsc() ? vly_arch_tsc() : vly_clock_gettime_ns();
}

/*
 * The line through two readings. 0; -EINVAL if either clock stood still or ran backwards; -ERANGE
 * if the rate is not a processor's (10 MHz to 100 GHz). Pure arithmetic.
 */
__attribute__((warn_unused_result)) int vly_clock_fit(const struct vly_clock_reading *first,
						      const struct vly_clock_reading *last,
						      struct vly_clock_scale *scale);

/*
 * How far a third reading lies off the line, in parts per million of its distance from the base
 * (rounded up, at most UINT32_MAX). The doubt that the reading carries in itself, its width, is not
 * held against it. Pure arithmetic.
 */
uint32_t vly_clock_error_ppm(const struct vly_clock_scale *scale,
			     const struct vly_clock_reading *reading);

/* The one of `count` readings with the narrowest bracket: the least disturbed. Pure arithmetic. */
const struct vly_clock_reading *vly_clock_narrowest(const struct vly_clock_reading *readings,
						    unsigned int count);

/* The moment `delay_ns` from now; the end of time if it lies beyond. */
static inline uint64_t vly_clock_after(uint64_t delay_ns)
{
	uint64_t now_ns = vly_clock_ns();

	return delay_ns > UINT64_MAX - now_ns ? UINT64_MAX : now_ns + delay_ns;
}

#endif
