/* pingpong_client.h - one load core's part of the ping-pong */
#ifndef VLY_BENCH_PINGPONG_CLIENT_H
#define VLY_BENCH_PINGPONG_CLIENT_H

#include "bench/histogram.h"

#include "volley/core.h"

#include <stdbool.h>
#include <stdint.h>

struct pingpong_params {
	struct vly_addr target;
	struct vly_addr source;  /* family 0: any */
	uint32_t connections;    /* of this core */
	uint32_t first_id;       /* number of its first connection in the whole run */
	uint32_t connecting_max; /* connections under way at once */
	uint32_t size_bytes, depth;
	uint64_t seed;
};

/* What has gone wrong; each connection fails once. */
struct pingpong_errors {
	uint64_t connect; /* could not connect */
	uint64_t lost;    /* closed or reset by the peer */
	uint64_t wrong;   /* not the bytes that were sent */
	uint64_t excess;  /* more bytes than were sent */
	int first_err;    /* -errno of the first; 0: none */
	char first[200];  /* and its description */
};

/* Belongs to the core's thread; others read it when that thread has ended. */
struct pingpong_client;

/* Reads nothing from the core yet. 0, or -ENOMEM. */
__attribute__((warn_unused_result)) int pingpong_client_open(struct vly_core *core,
							     const struct pingpong_params *params,
							     struct pingpong_client **client);

/* After vly_core_close(). NULL is allowed. */
void pingpong_client_close(struct pingpong_client *client);

/*
 * Opens as many connections as may be under way. Call it first, and after each batch until
 * pingpong_client_up() tells that all are up. Returns true if it must be called again in some
 * milliseconds, although nothing happens.
 */
bool pingpong_client_connect(struct pingpong_client *client, uint64_t now_ns);

/* Starts the messages on all connections; each further echo is answered by the next message. */
void pingpong_client_start(struct pingpong_client *client);

/* Echoes are awaited and checked, but nothing more is sent. */
void pingpong_client_drain(struct pingpong_client *client);

/* Round trips that end in [begin_ns, end_ns) are counted and timed. */
void pingpong_client_window(struct pingpong_client *client, uint64_t begin_ns, uint64_t end_ns);

/* A batch, as vly_poll() returned it at `now_ns`. */
void pingpong_client_events(struct pingpong_client *client, const struct vly_event *events,
			    int count, uint64_t now_ns);

/* Connections that are up: their first message came back. */
uint32_t pingpong_client_up(const struct pingpong_client *client);

/*
 * Round trips since opening, and messages that have no echo yet (not counting failed connections).
 */
uint64_t pingpong_client_messages(const struct pingpong_client *client);
uint64_t pingpong_client_outstanding(const struct pingpong_client *client);

uint64_t pingpong_client_retries(const struct pingpong_client *client);
const struct pingpong_errors *pingpong_client_errors(const struct pingpong_client *client);

/*
 * The sum of the first 8 bytes of all messages that came back since opening, as in payload_sum(),
 * modulo 2^64.
 */
uint64_t pingpong_client_sum(const struct pingpong_client *client);

/* Of the window. */
const struct histogram *pingpong_client_latency(const struct pingpong_client *client);
uint64_t pingpong_client_count(const struct pingpong_client *client, uint32_t index);

/* Connections that wait for an echo and have heard nothing since `since_ns`. */
uint32_t pingpong_client_silent(const struct pingpong_client *client, uint64_t since_ns);

#endif
