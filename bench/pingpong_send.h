/* pingpong_send.h - when a connection sends, and from when on its message is timed */
#ifndef VLY_BENCH_PINGPONG_SEND_H
#define VLY_BENCH_PINGPONG_SEND_H

#include "bench/pingpong_state.h"

/*
 * One reading for all messages that the coming flush sends, taken before it: a round trip is never
 * measured too short.
 */
void pingpong_stamp(struct pingpong_client *client);

/*
 * Sends the next message. False: the engine refused it; it is sent when the connection has DRAINED,
 * but its time runs already.
 */
bool pingpong_send_next(struct pingpong_client *client, struct ping *ping);

/* Sends what the connection may send now. */
void pingpong_send_due(struct pingpong_client *client, struct ping *ping, uint64_t now_ns);

#endif
