/* keepup_pace.h - trials at the full pace of their CPUs: when to begin one, and how it was meanwhile */
#ifndef VLY_BENCH_KEEPUP_PACE_H
#define VLY_BENCH_KEEPUP_PACE_H

#include "bench/keepup_trial.h"
#include "bench/pace.h"

struct keepup_pace {
	struct pace_watch consumer, load;
	uint64_t asked_ns; /* when it was asked first whether a trial may begin; 0: not yet */
};

/* Begins to watch. */
void keepup_pace_begin(struct keepup_pace *pace, const struct trial_spec *spec);

/* Whether the trial may begin: its CPUs have their full pace by now, or the plan's patience, which counts from the first call, is over. */
bool keepup_pace_reached(struct keepup_pace *pace, const struct trial_spec *spec);

/* Returns when it may, or was interrupted. */
void keepup_pace_await(struct keepup_pace *pace, const struct trial_spec *spec);

/* Ends that, and fills in what it was in the trial's window; what is the full pace may have grown. */
void keepup_pace_end(struct keepup_pace *pace, const struct trial_spec *spec, struct trial *trial);

#endif
