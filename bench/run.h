/* run.h - one run: server, load, samples around the window, and what came out of it */
#ifndef VLY_BENCH_RUN_H
#define VLY_BENCH_RUN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/fairness.h"
#include "bench/options.h"
#include "bench/pieces.h"
#include "bench/progress.h"
#include "bench/server.h"
#include "bench/syscalls.h"
#include "bench/variant.h"

enum run_status {
	RUN_OK,
	RUN_INVALID,
	RUN_FAILED,
	RUN_UNAVAILABLE,
	RUN_INTERRUPTED
};

const char *run_status_name(enum run_status status);

/* A server that somebody else started. */
struct run_peer {
	struct vly_addr addr;
	struct server server; /* its control; control.fd -1: none, then its costs are unknown */
	char variant[64], idle_policy[16], nic[1024];
	unsigned int cpus_count; /* it is pinned to; 0: not known */
};

struct run_spec {
	const char *workload;
	const struct variant *variant; /* NULL: `peer` */
	struct run_peer *peer;
	const struct load_options *options;
	uint16_t port; /* 0: a free one */
	const char *load_nic;
	uint32_t run, order, attempt; /* from 1 */
	uint32_t turns;               /* pieces of the window; 0 and 1: it is one */
	uint32_t others;              /* rows that have turns as well */
	bool canary;                  /* beside the blocks: tells drift, enters no mean */
	const struct syscalls
		*syscalls;      /* what the probe counted for this row; NULL: not asked for */
	struct syscalls *probe; /* of a probe: receives raw counts. NULL: a run as any other */
	/* called when the server is up, before the load is; NULL: nobody waits for anything there */
	void (*server_is_up)(void *arg);
	void *server_is_up_arg;
	const atomic_bool *interrupted;
	struct progress *progress;
};

enum {
	RUN_P50,
	RUN_P90,
	RUN_P95,
	RUN_P99,
	RUN_P999,
	RUN_P9999,
	RUN_PERCENTILES
};
extern const double run_percentiles[RUN_PERCENTILES];
extern const char *const run_percentile_names[RUN_PERCENTILES];

/* Sets those of RUN_PERCENTILES values that are not hidden. */
void run_take_percentiles(const struct histogram *histogram, double *percentiles_ns);

#define RUN_SAMPLES_ABOVE_MIN 100 /* a percentile with fewer is hidden */
#define RUN_SATURATED 0.95        /* busy share above which a role is called saturated */
#define RUN_STEAL_MAX 0.05
#define RUN_OTHERS_MAX 0.10 /* tick accounting: below this it may be rounding */

#define RUN_REASONS_MAX 6
#define RUN_WARNINGS_MAX 10
#define RUN_REASON_BYTES 512

/* About the load alone: NAN where it was not measured. */
struct run_load {
	double service_mean_ns, service_max_ns, service_ns[RUN_PERCENTILES]; /* of an open loop */
	double under_way;               /* messages, on average */
	double silence_ns;              /* the longest time without any echo */
	double connecting_s;            /* all connections took so long to come up */
	double connects_per_s;          /* of --reconnect */
	double lag_mean_ns, lag_max_ns; /* how late the generator itself was */
	uint64_t scheduled, unsent,
		unsent_before; /* messages due in the window; of them, never sent; due before */
	char *hdr_service, *hdr_per_connection; /* owned; NULL */
};

/*
 * What the kernel's own threads and interrupts on pinned CPUs add to a cost, in microseconds per message;
 * NAN: this kernel bills it to the processes themselves, or it was not measured.
 */
struct run_unbilled {
	double ksoftirqd_us, irq_us, softirq_us;
};

/* Parts of the time of the server's pinned CPUs, whoever used them. */
struct run_split {
	double user, system, irq, softirq;
};

/* What a run measured; NAN where it did not. */
struct run_result {
	enum run_status status;
	const char *variant, *idle_policy, *nic; /* of the spec; nic may be NULL */
	uint32_t run, order, attempt, turns;
	bool canary;
	unsigned int reasons_count, warnings_count;
	char reasons[RUN_REASONS_MAX][RUN_REASON_BYTES];   /* why it is not ok */
	char warnings[RUN_WARNINGS_MAX][RUN_REASON_BYTES]; /* what else a reader has to know */
	char began[32];                                    /* UTC, ISO 8601 */

	bool measured; /* the window was reached: the counts below are real */
	uint64_t messages;
	double window_s, rate_msg_per_s;
	uint64_t window_begin_ns, window_end_ns; /* as the bench saw it; 0: it did not */
	double latency_mean_ns, latency_max_ns, latency_ns[RUN_PERCENTILES];
	double little; /* rate * mean latency / messages under way */
	char *hdr;     /* owned; NULL */
	struct fairness fairness;
	bool steady; /* false: the rate moved over the window, by steady_change of its middle */
	double steady_change;
	struct pieces pieces; /* of turns */
	double retransmits, throttled_s;
	bool unfair; /* beyond what chance does */
	struct run_load load;
	uint64_t connected, connect_retries, errors, lost, wrong, excess, silent;

	double server_cpu_us_per_msg, server_cpu_us_per_msg_scaled, user_share;
	double load_cpu_us_per_msg;
	struct run_unbilled server_unbilled, load_unbilled; /* contained in the costs */
	double server_cycles_per_msg, load_cycles_per_msg;
	double server_ghz, load_ghz, tsc_ghz;
	double server_busy_share, load_busy_share, server_cpus_busy_share, server_cpus_other_share,
		steal_share;
	struct run_split server_cpus_split;
	double server_rss_bytes, server_threads, switches_voluntary_per_msg,
		switches_involuntary_per_msg;
	const char *limited;             /* "no", "client", "both"; NULL: not known */
	const struct syscalls *syscalls; /* of the spec: for a message, by the probe. NULL: none */
};

/* Runs it. The result, whatever its status, is to be given to run_result_fini(). */
void run_execute(const struct run_spec *spec, struct run_result *result);

/* Takes what both sides of a run that is closed have told, and judges it. */
struct live;
void run_conclude(struct live *live);

/* What the spec says alone: nothing is measured yet. */
void run_describe(const struct run_spec *spec, struct run_result *result);

/* A result for a row that cannot run here. */
void run_unavailable(const struct run_spec *spec, const char *reason, struct run_result *result);

void run_result_fini(struct run_result *result);

#endif
