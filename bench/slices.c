/* slices.c - rates of equal parts of a window: whether it was steady */
#include "bench/slices.h"

#include <string.h>

#include "bench/slope.h"

void slices_begin(struct slices *slices, uint64_t now_ns, uint64_t duration_ns, uint64_t messages)
{
	memset(slices, 0, sizeof(*slices));
	slices->slice_ns = duration_ns / SLICES_MAX;
	slices->end_ns = now_ns + duration_ns;
	slices->last_ns = now_ns;
	slices->next_ns = now_ns + slices->slice_ns;
	slices->last_messages = messages;
}

void slices_step(struct slices *slices, uint64_t now_ns, uint64_t messages)
{
	if (!slices->slice_ns || now_ns < slices->next_ns || slices->count == SLICES_MAX)
		return;
	/* Behind the window the rate falls to nothing. */
	if (now_ns > slices->end_ns + slices->slice_ns / 2)
		return;
	/* By the time that really passed: who looks seldom gets fewer slices, not wrong ones. */
	slices->rate_per_s[slices->count++] = (double)(messages - slices->last_messages) * 1e9 /
					      (double)(now_ns - slices->last_ns);
	slices->last_ns = now_ns;
	slices->last_messages = messages;
	slices->next_ns += slices->slice_ns;
	if (slices->next_ns <= now_ns)
		slices->next_ns = now_ns + slices->slice_ns;
}

void slices_add(struct slices *slices, uint64_t slice_ns, uint64_t messages)
{
	if (slice_ns && slices->count < SLICES_MAX)
		slices->rate_per_s[slices->count++] = (double)messages * 1e9 / (double)slice_ns;
}

bool slices_steady(const struct slices *slices, double *change)
{
	return slope_is_steady(slices->rate_per_s, slices->count, change) ||
	       !slope_drifts(slices->rate_per_s, slices->count, change);
}
