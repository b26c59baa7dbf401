/* pingpong_client.h - one load core's part of the ping-pong */
#ifndef VLY_BENCH_PINGPONG_CLIENT_H
#define VLY_BENCH_PINGPONG_CLIENT_H

#include "bench/histogram.h"
#include "bench/schedule.h"
#include "bench/sources.h"

#include "volley/core.h"

#include <stdbool.h>
#include <stdint.h>

struct pingpong_params {
	struct vly_addr target;
	const struct sources *sources;   /* of the connections; count 0: any */
	const struct schedule *schedule; /* steps_count 0: a message follows each echo */
	uint32_t connections;            /* of this core */
	uint32_t first_id;               /* number of its first connection in the whole run */
	uint32_t connecting_max;         /* connections under way at once */
	uint64_t ramp_ns;                /* over which connects are spread; 0: at once */
	uint32_t size_bytes, depth;
	uint64_t think_min_ns, think_max_ns; /* from an echo to the next message, depth 1 */
	uint64_t reconnect; /* messages after which a connection is closed and opened again; 0 */
	uint64_t seed;
	/*
	 * As the Python sockets study does it: messages of 'X', none while others connect, orderly
	 * closes at the end.
	 */
	bool plain;
};

/* What has gone wrong; each connection fails once. */
struct pingpong_errors {
	uint64_t connect; /* could not connect */
	uint64_t lost;    /* closed or reset by the peer */
	uint64_t wrong;   /* not the bytes that were sent */
	uint64_t excess;  /* more bytes than were sent */
	int first_err;    /* -errno of the first; 0: none */
	char first[400];  /* and its description */
};

/* What came of it. "Window" stands where only what ended, or was due, in it counts. */
struct pingpong_figures {
	uint32_t up;           /* connections that were up once: their first message came back */
	uint64_t messages;     /* round trips since opening */
	uint64_t outstanding;  /* messages that have no echo yet, but for failed connections */
	uint64_t retries;      /* connects that met a full backlog */
	uint64_t reopened;     /* window: connections that were opened again */
	uint64_t under_way_ns; /* window: outstanding * time, for its mean */
	uint64_t silence_ns;   /* window: the longest time without any echo */
	uint64_t due_sent;     /* window, open loop: messages due in it that were sent */
	uint64_t lags;         /* open loop: messages that nothing but this core kept waiting */
	uint64_t lag_sum_ns, lag_max_ns; /* how late it sent them */
	struct histogram latency;        /* window: from the intended send in an open loop */
	struct histogram service;        /* window, open loop: from the actual send */
	struct pingpong_errors errors;
};

/* Messages due before the end that were not sent by then. */
struct pingpong_unsent {
	uint64_t before; /* due before the window */
	uint64_t within;
};

/* Belongs to the core's thread; others read it when that thread has ended. */
struct pingpong_client;

/* Reads nothing from the core yet; borrows what `params` points to. 0, or -ENOMEM. */
__attribute__((warn_unused_result)) int pingpong_client_open(struct vly_core *core,
							     const struct pingpong_params *params,
							     struct pingpong_client **client);

/* After vly_core_close(). NULL is allowed. */
void pingpong_client_close(struct pingpong_client *client);

/*
 * Opens as many connections as may be under way, and as the ramp allows. Call it first, and after
 * each batch. Returns true if it must be called again in some milliseconds, although nothing
 * happens.
 */
bool pingpong_client_connect(struct pingpong_client *client, uint64_t now_ns);

/*
 * Starts the messages on all connections, at `start_ns` of the schedule if there is one; without,
 * each further echo is answered by the next message.
 */
void pingpong_client_start(struct pingpong_client *client, uint64_t start_ns);

/* Echoes are awaited and checked, but nothing more is sent. */
void pingpong_client_drain(struct pingpong_client *client);

/* Closes all connections in an orderly way. */
void pingpong_client_hang_up(struct pingpong_client *client);

/* Connections that pingpong_client_hang_up() waits for. */
uint32_t pingpong_client_closing(const struct pingpong_client *client);

/* Round trips that end in [begin_ns, end_ns) are counted and timed. */
void pingpong_client_window(struct pingpong_client *client, uint64_t begin_ns, uint64_t end_ns);

/* A batch, as vly_poll() returned it at `now_ns`. */
void pingpong_client_events(struct pingpong_client *client, const struct vly_event *events,
			    int count, uint64_t now_ns);

/*
 * Sends what is due. Call it before each vly_poll(). Returns when it is to be called again;
 * UINT64_MAX: no time is set.
 */
uint64_t pingpong_client_tick(struct pingpong_client *client, uint64_t now_ns);

const struct pingpong_figures *pingpong_client_figures(const struct pingpong_client *client);

/*
 * The sum of the first 8 bytes of all messages that came back since opening, as in payload_sum(),
 * modulo 2^64.
 */
uint64_t pingpong_client_sum(const struct pingpong_client *client);

/* Messages of a connection in the window. */
uint64_t pingpong_client_count(const struct pingpong_client *client, uint32_t index);

/* Of an open loop, at the end. */
struct pingpong_unsent pingpong_client_unsent(const struct pingpong_client *client);

/* Connections that wait for an echo, or to be opened again, and have waited since `since_ns`. */
uint32_t pingpong_client_silent(struct pingpong_client *client, uint64_t since_ns);

#endif
