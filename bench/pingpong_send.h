/* pingpong_send.h - when a connection sends, and from when on its message is timed */
#ifndef VLY_BENCH_PINGPONG_SEND_H
#define VLY_BENCH_PINGPONG_SEND_H

#include "bench/pingpong_state.h"

/*
 * One reading for all messages that the coming flush sends, taken before it: a round trip is never
 * measured too short.
 */
void pingpong_stamp(struct pingpong_client *client);

/* That, and the flush. */
void pingpong_stamp_flush(struct pingpong_client *client);

/* The message that uses `begun_ns` begins with the next reading; 64 of them are flushed. */
static inline void pingpong_stamp_later(struct pingpong_client *client, uint64_t *begun_ns);

/*
 * The engine has refused message `sent`, with `err`. False: it is sent when the connection has DRAINED,
 * or that has failed.
 */
bool pingpong_not_sent(struct pingpong_client *client, struct ping *ping, int err);

/*
 * Sends the next message. False: the engine refused it; it is sent when the connection has DRAINED,
 * but its time runs already.
 */
bool pingpong_send_next(struct pingpong_client *client, struct ping *ping);

/* Sends what the connection may send now. */
void pingpong_send_due(struct pingpong_client *client, struct ping *ping, uint64_t now_ns);

/* ---- inline bodies ---- */

#define PINGPONG_UNSTAMPED_NS                                                                      \
	1 /* a message that begins with the next reading, at a flush at the latest */

static inline void pingpong_stamp_later(struct pingpong_client *client, uint64_t *begun_ns)
{
	if (__builtin_expect(client->unflushed == LOAD_BATCH, 0))
		pingpong_stamp_flush(client);
	client->unflushed++;
	*begun_ns = PINGPONG_UNSTAMPED_NS;
	client->unstamped[client->unstamped_count++] = begun_ns;
}

#endif
