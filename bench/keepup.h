/* keepup.h - volley keepup: what all trials of one command share, and what they lead to */
#ifndef VLY_BENCH_KEEPUP_H
#define VLY_BENCH_KEEPUP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "bench/keepup_search.h"
#include "bench/keepup_trial.h"
#include "bench/result.h"

#define KEEPUP_COMMAND "keepup"
#define KEEPUP_ROWS_MAX 32
#define KEEPUP_LIMITS 2
#define KEEPUP_OVERLOADS 3
#define KEEPUP_TRIAL_OVERHEAD_NS UINT64_C(600000000) /* a guess: start, speeds of CPUs, stop */

extern const double keepup_overloads[KEEPUP_OVERLOADS]; /* 1.1, 1.5, 2 */

struct keepup_overload {
	bool known;
	double goodput_share; /* of the rate that it keeps up with */
	double recovery_ns;
	bool held; /* goodput at least 90%, and back within a second */
};

/* What was found about one consumer. */
struct keepup_answer {
	struct search searches[KEEPUP_LIMITS]; /* by lag limit */
	bool known[KEEPUP_LIMITS];             /* the search came to its end */
	bool slowed;                           /* never at its full pace: perhaps too low */
	bool limited;                          /* the generator was the limit: a lower bound */
	double kappa;                          /* of its C control; NAN: not measured */
	struct keepup_overload overloads[KEEPUP_OVERLOADS];
	double cpu_us_per_msg, batch_p50, taken_share; /* of the confirming trial */
	/* of the trial that the first rate stands on, which had `stands_rate`; NAN */
	double stands_rate, ghz, pace, slowed_by_ns, unslowed_ns;
	enum run_status status;
	char reason[RUN_REASON_BYTES];
};

struct keepup_row {
	struct consumer *consumer;
	char unavailable[RUN_REASON_BYTES]; /* "": it can run */
	uint32_t trials;
	struct keepup_answer answer;
};

/* A trial that was run, or read from a file that is resumed. */
struct keepup_past {
	const char *name; /* of its consumer */
	struct trial trial;
};

struct keepup {
	struct load_options options;
	struct consumer_setting setting;
	struct trial_plan plan;
	struct progress progress;
	struct keepup_row rows[KEEPUP_ROWS_MAX];
	unsigned int rows_count;
	double limits_ns[KEEPUP_LIMITS];
	double start, min, max;    /* of the searches, messages per second */
	double full_pace[2];       /* see struct trial_plan */
	uint32_t attempts;         /* of a trial that the machine disturbed */
	unsigned int limits_count; /* of limits_ns: how many are searched for */
	bool no_overload, resume;
	const char *plot_path; /* NULL: none */
	int argc;
	char **argv;

	struct result_file file;
	struct keepup_past *pasts; /* owned */
	size_t pasts_count, pasts_size;
	double generator,
		ceiling; /* msg/s: what the generator can do beside C, what C takes of it; NAN */
	atomic_bool interrupted;
};

/* The nth trial (from 1) of that kind and rate: from the past, or run now. NULL: interrupted, or no memory. */
const struct trial *keepup_trial(struct keepup *keepup, struct keepup_row *row,
				 enum trial_kind kind, double rate, double rest_rate,
				 uint32_t attempt);

/* Everything about one row. */
void keepup_search_row(struct keepup *keepup, struct keepup_row *row);

/* The generator has to be able to do a fifth more than what it is asked to prove. */
#define KEEPUP_GENERATOR_MARGIN 1.2

/* How much the generator can do, and a consumer in C of it; nothing, where no rate comes near it. */
void keepup_prove_generator(struct keepup *keepup);

/* The result file: opened anew, or the past read from it and the rest to be appended. 0 or an exit code. */
int keepup_file_open(struct keepup *keepup);
void keepup_file_trial(struct keepup *keepup, const struct keepup_row *row,
		       const struct trial *trial);
void keepup_file_answers(struct keepup *keepup);
int keepup_past_add(struct keepup *keepup, const char *name, const struct trial *trial);

/* The table and a sentence for each row. */
void keepup_print(const struct keepup *keepup, FILE *out);
void keepup_sentence(const struct keepup *keepup, const struct keepup_row *row, char *text,
		     size_t text_bytes);

/* The rate that a slowed consumer has to be found at, by what a message took without and with; NAN: not slowed. */
double keepup_predicted(const struct keepup_answer *answer);

/* Draws `plot_path` from a result file. 0, or -errno with one line on stderr. */
int keepup_plot(const struct keepup *keepup, const char *file);

#endif
