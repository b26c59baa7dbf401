/* echo_server.h - the engine as the server under test: echoes every byte */
#ifndef VLY_BENCH_ECHO_SERVER_H
#define VLY_BENCH_ECHO_SERVER_H

#include "volley/addr.h"
#include "volley/config.h"

#include <stdbool.h>
#include <stdint.h>

struct echo_server_params {
	struct vly_addr listen; /* port 0: a free one, which READY tells */
	const char *nic;        /* as vly_config's; NULL: "epoll" */
	const int *cpus;        /* one core, pinned, on each */
	unsigned cpus_count;    /* 0: a single core that runs wherever the process may */
	uint32_t size_bytes;    /* of most messages; 0: not known */
	uint32_t conns_max;     /* on all cores together; 0: the config's default for each core */
	enum vly_idle idle;
	bool forward; /* moves what came on (vly_send_event) instead of copying it */
};

/*
 * Listens, prints "READY PORT" (or "READY" for a Unix socket) on stdout, and serves until SIGTERM
 * or SIGINT. 0, or -errno with a line on stderr: -EADDRINUSE and the like. Takes the process's
 * signals: for a process that does nothing else.
 */
__attribute__((warn_unused_result)) int echo_server_run(const struct echo_server_params *params);

#endif
