/* pingpong_quick.h - whole echoes of one message under way, each answered by the next: what nearly all events are */
#ifndef VLY_BENCH_PINGPONG_QUICK_H
#define VLY_BENCH_PINGPONG_QUICK_H

#include "bench/pingpong_state.h"

/* How far ahead of the event at hand the record of a connection is fetched. */
#define PINGPONG_AHEAD 8u

/*
 * Handles events from the first on, as long as each is such an echo, and right; at most `max` of `count`,
 * and no more than LOAD_BATCH, since all are timed by one reading, `now_ns`. How many it handled: the next
 * one is for the long way.
 */
uint32_t pingpong_quick(struct pingpong_client *client, const struct vly_event *events,
			uint32_t count, uint32_t max, uint64_t now_ns);

#endif
