/* run_load.h - what a run says about its load: what was offered, sent, and waited for */
#ifndef VLY_BENCH_RUN_LOAD_H
#define VLY_BENCH_RUN_LOAD_H

#include <jansson.h>

#include "bench/loader.h"
#include "bench/run.h"

#define RUN_UNSENT_MAX 0.01  /* share of what was due above which the schedule was not kept */
#define RUN_SILENCE_MAX 0.01 /* share of the window without any echo that is told */

/* Nothing is known yet. */
void run_load_blank(struct run_load *load);

/* Takes what the load process told of the window, with `hdr_service`. */
void run_load_take(struct run_result *run, struct loader *loader);

/*
 * Jain's index below which a run is unfair. Of Poisson arrivals connections get different numbers
 * by chance: of a mean of m messages each, an index of m / (m + 1).
 */
double run_load_jain_min(const struct run_result *run, const struct load_options *options);

/* Warns of what a reader has to know; the busy shares and `little` are known. */
void run_load_judge(struct run_result *run, const struct load_options *options);

/* Adds its keys to a run line. */
void run_load_json(json_t *line, const struct run_result *run, const struct load_options *options);

void run_load_fini(struct run_load *load);

#endif
