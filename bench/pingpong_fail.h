/* pingpong_fail.h - a connection that went wrong is counted once, and the first one described */
#ifndef VLY_BENCH_PINGPONG_FAIL_H
#define VLY_BENCH_PINGPONG_FAIL_H

#include "bench/pingpong_state.h"

/* Resets the connection and adds to `counter`, one of figures.errors. `err` is -errno. */
__attribute__((format(printf, 5, 6))) void pingpong_fail(struct pingpong_client *client,
							 struct ping *ping, uint64_t *counter,
							 int err, const char *format, ...);

/* The same for a connect, unless it is one to be tried again soon. */
void pingpong_connect_failed(struct pingpong_client *client, struct ping *ping, int err);

#endif
