/* number.h - a measured number as JSON, which has no NaN */
#ifndef VLY_BENCH_NUMBER_H
#define VLY_BENCH_NUMBER_H

#include <jansson.h>
#include <math.h>

/* null where nothing was measured. */
static inline json_t *number(double value)
{
	return isfinite(value) ? json_real(value) : json_null();
}

#endif
