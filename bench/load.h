/* load.h - one measured run of the load generator against a server that echoes */
#ifndef VLY_BENCH_LOAD_H
#define VLY_BENCH_LOAD_H

#include "bench/cost.h"
#include "bench/fairness.h"
#include "bench/histogram.h"
#include "bench/schedule.h"
#include "bench/sources.h"
#include "bench/slices.h"
#include "bench/total.h"

#include "volley/addr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The life of a run: every connection is opened, with a bounded number under way, and counts as up
 * once its first message came back right, so that the server has accepted it and serves it; all
 * messages start when all are up; after the warm-up the window opens, and after the window nothing
 * more is sent, what is under way is awaited briefly, and the connections are reset (on purpose:
 * tens of thousands of ports in TIME_WAIT would fail the next run).
 *
 * A window may be cut into turns, so that several loads alternate on the same CPUs: before and after
 * each turn nothing is under way, and the load waits for the word to go on (LOAD_HELD).
 */
enum load_phase {
	LOAD_CONNECTING,
	LOAD_WARMUP,
	LOAD_WINDOW_BEGIN, /* the window opens when the callback returns */
	LOAD_WINDOW_END,   /* the window has just closed */
	LOAD_HELD, /* with turns: nothing is under way, it goes on when the callback returns */
	LOAD_DONE, /* connections are closed; after a failure perhaps without the ones between */
};

/* A window in which no message ended. */
#define LOAD_NOTHING_CAME                                                                          \
	"not one message came back within the window: a longer --duration, fewer --connections, or a machine that is less busy may help"

struct load_progress {
	enum load_phase phase; /* the last one announced */
	uint32_t connected;    /* connections that are up */
	uint32_t connections;  /* wanted */
	uint64_t messages;     /* round trips since the start, ramp and warm-up included */
	double rate_msg_per_s; /* since the last call */
	double elapsed_s;      /* since load_run() was called */
	double phase_s;        /* since the phase began */
};

struct load_params {
	struct vly_addr target;
	struct sources sources; /* of the connections, in turn; count 0: any */
	const char *nic;        /* as vly_config's; NULL: "epoll" */
	const int *cpus;        /* one load core, pinned, on each */
	unsigned cpus_count;    /* 0: a single core, not pinned */
	uint32_t connections;   /* at least 1 */
	uint32_t size_bytes;    /* of a message, LOAD_SIZE_MIN..LOAD_SIZE_MAX */
	uint32_t depth;         /* messages under way on each connection, 1..LOAD_DEPTH_MAX */
	/*
	 * When messages are sent, from the start of the warm-up on; its seed and connections are
	 * filled in. No steps: a message follows each echo (a closed loop).
	 */
	struct schedule schedule;
	uint64_t think_min_ns, think_max_ns; /* from echo to next message: closed loop, depth 1 */
	uint64_t reconnect;                  /* messages between connecting anew; 0: never */
	uint64_t ramp_ns;                    /* over which connects are spread */
	uint32_t connecting_max;             /* connects under way at once; 0: 128 */
	bool plain;                          /* as struct pingpong_params */
	uint64_t warmup_ns;                  /* 0 is allowed */
	uint64_t duration_ns;                /* of the window */
	uint32_t turns;                      /* it is cut into, 1..SLICES_MAX; 0: as 1 */
	uint64_t seed;                       /* of the payload */
	int64_t connect_timeout_ns;          /* for the whole ramp; at most 0: by connections */
	int64_t stall_timeout_ns; /* without any answer; at most 0: LOAD_STALL_TIMEOUT_NS */
	/* Both are called on the thread that called load_run(), and may be NULL. */
	void (*phase)(enum load_phase phase, void *arg);
	void (*progress)(const struct load_progress *progress, void *arg); /* at most 2 Hz */
	const atomic_bool *interrupted; /* set by a signal handler: finish early. May be NULL */
	void *arg;
};

#define LOAD_SIZE_MIN 1
#define LOAD_SIZE_MAX (1u << 20)
#define LOAD_DEPTH_MAX 1024
#define LOAD_CPUS_MAX 256u
#define LOAD_INFLIGHT_MAX (16u << 20) /* size_bytes * depth: fits into a connection's send budget */
#define LOAD_STALL_TIMEOUT_NS INT64_C(10000000000)

/*
 * In an open loop messages are sent when the schedule says, or as soon after it as their connection
 * has fewer than `depth` under way; none is left out. Latency is then the response time, from the
 * intended send; the service time, from the actual one, stands beside it.
 *
 * Counts and times are those of the window: round trips that were completed inside it, wherever
 * they began.
 *
 * A round trip is timed from just before the flush of the batch that sends it (of several that answer
 * one receive: from when they are built) to just after the poll that returned its last byte: never too
 * short, and too long by at most the time one batch (LOAD_BATCH messages) takes to write and to read.
 *
 * Little's law holds the two figures against each other: rate * mean latency is the number of
 * messages under way. In a closed loop without pauses that is connections * depth, but for those
 * the load generator is just handling; else it is counted, batch by batch, and the latency is the
 * service time.
 */
struct load_result {
	uint64_t messages;
	double window_s;          /* as it really was: shorter if interrupted */
	double rate_msg_per_s;    /* 0 if the run failed */
	struct histogram latency; /* owned: load_result_fini() */
	struct histogram service; /* of an open loop, else empty; owned */
	double latency_mean_ns, service_mean_ns;
	double under_way;       /* messages under way, on average */
	double little;          /* rate * mean latency / messages under way: near 1, see above */
	double silence_ns;      /* the longest time in which a load core had no echo at all */
	double connecting_s;    /* the ramp took so long */
	double connects_per_s;  /* connections opened again; NAN without `reconnect` */
	uint64_t scheduled;     /* open loop: messages due in the window */
	uint64_t unsent;        /* of them, not sent by its end */
	uint64_t unsent_before; /* due before the window, and not sent by its end */
	double lag_mean_ns, lag_max_ns; /* how late idle connections were sent on: our own share */
	uint64_t *per_conn; /* messages of each connection, owned; NULL if no window was reached */
	uint32_t connections; /* entries of per_conn */
	struct fairness fairness;
	struct slices slices; /* of the window */
	double busy_share;    /* 0..1, of the busiest load core: its thread's run time / window */
	uint64_t cpu_ns;      /* run time of all load threads, and `unbilled` */
	struct cost_unbilled unbilled; /* the kernel's work for them on their CPUs */
	bool unbilled_known;           /* they are pinned, and the kernel tells */
	uint64_t connected, connect_retries;
	uint64_t errors; /* connections that failed, by whatever cause */
	/* of them: closed or reset; wrong payload; more bytes than were sent; no answer */
	uint64_t lost, wrong, excess, silent;
	struct total total; /* of the whole run; unknown if messages were under way at its end */
	bool interrupted;   /* `interrupted` was seen: what was measured until then stands here */
	char reason[512];   /* why it is not ok, empty if ok */
};

#define LOAD_BATCH 64

/*
 * Blocks until the run is over. 0: ok, or interrupted (see the flag, and `reason`). Else -errno
 * with `reason` filled: -EINVAL (parameters), -ECONNREFUSED and other errors of connecting,
 * -ETIMEDOUT (ramp, or the server stopped answering), -ECONNRESET (the peer closed or reset),
 * -EBADMSG (wrong payload, or too much), or of opening the engine. Either way `result` is to be
 * given to load_result_fini().
 */
__attribute__((warn_unused_result)) int load_run(const struct load_params *params,
						 struct load_result *result);

/*
 * The time in which all connections should be up on a machine that others use, too: 30 s, or 10 ms for
 * each if that is more. (10,000 came up within 1 s on an idle machine of two CPUs, and took some 30 s
 * when twenty programs wanted them.)
 */
uint64_t load_connect_timeout_ns(uint32_t connections);

/* Frees what the result owns; twice is allowed. */
void load_result_fini(struct load_result *result);

/*
 * How long a load sends before the window of a turn opens: until connections that all began at once are
 * spread over the round trip, and the caches hold what they hold while it runs.
 */
uint64_t load_settle_ns(uint32_t connections, uint32_t depth);

/* "connecting", "warm-up", "window", "closing", "held", "done" */
const char *load_phase_name(enum load_phase phase);

#endif
