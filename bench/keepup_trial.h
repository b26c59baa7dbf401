/* keepup_trial.h - one trial of volley keepup: a consumer, a rate, and what became of the messages */
#ifndef VLY_BENCH_KEEPUP_TRIAL_H
#define VLY_BENCH_KEEPUP_TRIAL_H

#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/consumer.h"
#include "bench/options.h"
#include "bench/progress.h"
#include "bench/run.h"

enum trial_kind {
	TRIAL_GENERATOR, /* how much the generator can do at all */
	TRIAL_SEARCH,
	TRIAL_CONFIRM,  /* longer */
	TRIAL_OVERLOAD, /* above what it keeps up with, then half of that: goodput and recovery */
	TRIAL_CEILING,  /* how much of it a consumer can take that is always behind */
	TRIAL_KINDS
};

const char *trial_kind_name(enum trial_kind kind);

/* Of one command: the same for all trials. */
struct trial_plan {
	struct load_options *options;
	struct consumer_setting *setting;
	uint64_t window_ns, warmup_ns, confirm_ns;
	double limit_ns; /* of the lag: what has recovered is within it */
	/* the best that the first CPU of the consumer, and of the generator, were seen to do: operations/ns */
	double *full_pace;
	uint64_t patience_ns; /* for both of them to have it before a trial begins; 0: none */
	const atomic_bool *interrupted;
	struct progress *progress;
};

struct trial_spec {
	const struct trial_plan *plan;
	struct consumer *consumer;
	enum trial_kind kind;
	double rate;      /* offered, messages per second */
	double rest_rate; /* of an overload: before and after it */
	uint32_t number;  /* from 1, of the consumer */
	uint32_t attempt;
};

/* NAN: not measured. `run` is its line in the result file: latency_ns there is the lag of lag_ns below. */
struct trial {
	struct run_result run;
	enum trial_kind kind;
	double rate, rest_rate;
	double offered, delivered, consumed, replied; /* messages of the window */
	double dropped, lost;
	double backlog_max, backlog_slope; /* messages; messages per second */
	double lag_ns[RUN_PERCENTILES], lag_max_ns;
	double batch_p50, batch_max;
	double callback_share; /* of the window, inside the consumer's code */
	double gil_wait_share, gil_wait_p99_ns;
	double paused_share;
	double turn_lag_p99_ns;          /* over a network: from a completion's stamp to its turn */
	double late_p99_ns, late_max_ns; /* the generator's own lateness */
	double generator_pace; /* msg/s: what it could do beside this consumer if it never had to wait */
	double taken_share;           /* of either CPU's time in the window, by others */
	double generator_taken_share; /* of the generator's: so much less was offered */
	double excluded_share; /* of the window's messages: no lag is taken from them, see docs/keepup.md */
	double pace, pace_low; /* of the consumer's CPU in the window: median, 10th percentile */
	double load_pace_low;
	double full_pace, load_full_pace; /* as known by then */
	double gc_pauses, gc_pause_total_ns, gc_pause_max_ns, blocks_growth, rss_growth_bytes;
	double exceptions, slowed_by_ns;
	double unslowed_ns; /* what a message took without that, in the same process just before */
	double goodput, recovery_ns;    /* of an overload: msg/s; INFINITY: not within the trial */
	char culprit[RUN_REASON_BYTES]; /* who lost what; "" */
};

/*
 * How long a confirming trial is. Each attempt is half as long as the one before, down to a search's: on
 * a core that others use now and then, long trials all meet them.
 */
uint64_t trial_confirm_ns(const struct trial_spec *spec);

/* Runs it. To be given to trial_fini(), whatever became of it. */
void trial_execute(const struct trial_spec *spec, struct trial *trial);
void trial_fini(struct trial *trial);

/* Whether it shows that the consumer kept up, with so much lag at the 99th percentile. */
bool trial_keeps_up(const struct trial *trial, double lag_ns);

/*
 * Others used the core of one of its CPUs for more than a tenth of the window: what it did not do says
 * nothing. By what is known of the full pace by now.
 */
bool trial_slowed(const struct trial *trial, const double full_pace[2]);

/* It failed, but by so little, or on a machine so restless, that it is worth another attempt. */
bool trial_doubtful(const struct trial *trial);

/* The consumer kept its pace, the generator did not: what was offered is not what was meant. */
bool trial_generator_limited(const struct trial *trial);

/* The key "keepup" of its run line, and back. */
json_t *trial_to_json(const struct trial *trial);
int trial_from_json(const json_t *line, struct trial *trial);

/* The two ways of running one. */
void trial_blank(const struct trial_spec *spec, struct trial *trial);
struct keepup_pace;
void trial_internal(const struct trial_spec *spec, struct keepup_pace *pace, struct trial *trial);
void trial_network(const struct trial_spec *spec, struct keepup_pace *pace, struct trial *trial);

#endif
