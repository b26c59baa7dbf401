/* keepup_search.h - the highest rate that a consumer keeps up with: doubling, bisection, confirmation */
#ifndef VLY_BENCH_KEEPUP_SEARCH_H
#define VLY_BENCH_KEEPUP_SEARCH_H

#include <stdbool.h>

#define SEARCH_PRECISION 1.01 /* the lowest rate that failed over the highest that passed */
#define SEARCH_STEP_DOWN 0.97 /* after a confirmation that failed */
#define SEARCH_CONFIRMS_MAX 8

enum search_phase {
	SEARCH_DOUBLING, /* from the start, or down from it if that fails */
	SEARCH_BISECTING,
	SEARCH_CONFIRMING, /* in a long trial */
	SEARCH_DONE,
};

/* What follows depends on what was told alone: the same answers give the same questions. */
struct search {
	double start, min, max;
	double passed, failed; /* 0: none did yet */
	unsigned int confirms;
	enum search_phase phase;
	double rate;    /* to be tried next, a whole number; or the answer; 0: not even `min` */
	bool confirmed; /* of the answer */
	bool at_max;    /* nothing higher was tried */
};

void search_begin(struct search *search, double start, double min, double max);

/* Whether the consumer kept up with search->rate, in a trial of search->phase. */
void search_tell(struct search *search, bool passed);

/* Trials to go if all takes its usual course. */
unsigned int search_left(const struct search *search);

#endif
