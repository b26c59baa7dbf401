/* slices.h - rates of equal parts of a window: whether it was steady */
#ifndef VLY_BENCH_SLICES_H
#define VLY_BENCH_SLICES_H

#include <stdbool.h>
#include <stdint.h>

#define SLICES_MAX 20

/* All zero: no window yet. */
struct slices {
	unsigned int count; /* complete */
	double rate_per_s[SLICES_MAX];
	uint64_t slice_ns, next_ns, end_ns, last_ns, last_messages;
};

/* The window opens with so many messages behind it. */
void slices_begin(struct slices *slices, uint64_t now_ns, uint64_t duration_ns, uint64_t messages);

/* Called as often as one likes, also after the window; a slice ends with the first call after its
 * time. */
void slices_step(struct slices *slices, uint64_t now_ns, uint64_t messages);

/* A slice of so many messages in so long a time, where a window is no single piece. */
void slices_add(struct slices *slices, uint64_t slice_ns, uint64_t messages);

/*
 * How far the rate moved from the first slice to the last, by a Theil-Sen line, in parts of its
 * middle; NAN if there are too few slices. False if that is more than SLOPE_MAX and more than chance
 * explains (the line's 95% interval does not contain standing still).
 */
bool slices_steady(const struct slices *slices, double *change);

#endif
