/* keepup_search.c - the highest rate that a consumer keeps up with: doubling, bisection, confirmation */
#include "bench/keepup_search.h"

#include <math.h>

#define BISECTIONS 7 /* from a factor of 2 to 1.01: log2(ln 2 / ln 1.01) */

void search_begin(struct search *search, double start, double min, double max)
{
	*search = (struct search){
		.start = start,
		.min = min,
		.max = max,
		.rate = start < max ? start : max,
	};
}

static void confirm(struct search *search, double rate)
{
	search->phase = SEARCH_CONFIRMING;
	search->rate = floor(rate);
}

static void bisect(struct search *search)
{
	double middle = floor(sqrt(search->passed * search->failed));

	search->phase = SEARCH_BISECTING;
	search->rate = middle;
	if (search->failed <= search->passed * SEARCH_PRECISION || middle <= search->passed)
		confirm(search, search->passed);
}

static void tell_doubling(struct search *search, bool passed)
{
	if (passed)
		search->passed = search->rate;
	else
		search->failed = search->rate;
	if (search->passed > 0 && search->failed > 0) {
		bisect(search);
	} else if (passed && search->rate >= search->max) {
		search->at_max = true;
		confirm(search, search->max);
	} else if (passed) {
		search->rate = fmin(2 * search->rate, search->max);
	} else if (search->rate <= search->min) {
		search->phase = SEARCH_DONE;
		search->rate = 0;
	} else {
		search->rate = fmax(floor(search->rate / 4), search->min);
	}
}

static void tell_confirming(struct search *search, bool passed)
{
	search->confirms++;
	if (passed) {
		search->phase = SEARCH_DONE;
		search->confirmed = true;
	} else if (search->confirms == SEARCH_CONFIRMS_MAX ||
		   search->rate * SEARCH_STEP_DOWN < search->min) {
		search->phase = SEARCH_DONE;
	} else {
		search->at_max = false;
		confirm(search, fmax(search->rate * SEARCH_STEP_DOWN, 1));
	}
}

void search_tell(struct search *search, bool passed)
{
	switch (search->phase) {
	case SEARCH_DOUBLING:
		tell_doubling(search, passed);
		break;
	case SEARCH_BISECTING:
		if (passed)
			search->passed = search->rate;
		else
			search->failed = search->rate;
		bisect(search);
		break;
	case SEARCH_CONFIRMING:
		tell_confirming(search, passed);
		break;
	case SEARCH_DONE:
		break;
	}
}

unsigned int search_left(const struct search *search)
{
	double ratio;

	switch (search->phase) {
	case SEARCH_DOUBLING:
		return BISECTIONS + 4; /* nobody knows how far it goes */
	case SEARCH_BISECTING:
		ratio = log(search->failed / search->passed) / log(SEARCH_PRECISION);
		return (unsigned int)ceil(log2(fmax(ratio, 1))) + 1;
	case SEARCH_CONFIRMING:
		return 1;
	default:
		return 0;
	}
}
