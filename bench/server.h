/* server.h - the bench's end of a supervised server under test */
#ifndef VLY_BENCH_SERVER_H
#define VLY_BENCH_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/control.h"
#include "bench/cpus.h"
#include "bench/sample.h"
#include "bench/syscalls.h"
#include "bench/total.h"
#include "bench/words.h"

struct server {
	struct control control;
	pid_t supervisor;   /* 0: none of ours (a remote one, or none at all) */
	bool ready, failed; /* failed: `reason` says why; it will not come back */
	uint16_t port;      /* that READY told; 0: it told none */
	struct sample before, after;
	struct total total;       /* that it told at its end, known after server_stop */
	struct syscalls syscalls; /* once it has stopped, if they were to be counted */
	char reason[384];
	/* Receives each sample as it comes; NULL: nobody. Set after server_start. */
	void (*relay)(const json_t *message, void *arg);
	void *relay_arg;
};

/*
 * Starts a supervisor and through it the server, which is not ready yet. With `count_syscalls` they
 * are counted between the two samples, which slows it down. 0, or -errno with server->reason. Ends
 * with server_stop.
 */
int server_start(struct server *server, const struct words *words, const struct cpus *cpus,
		 int64_t ready_timeout_ns, bool count_syscalls);

/*
 * Stops the server's processes where they are; without `surely` only if they use the CPU although nobody
 * asks them for anything, which is looked at the first few times.
 */
void server_pause(struct server *server, bool surely);

/* Lets them go on. */
void server_go_on(struct server *server);

/*
 * Asks for a sample, which server_handle() will receive into `before` ("begin") or `after` ("end").
 */
void server_ask_sample(struct server *server, bool at_end);

/* Takes all messages that have come; sets the flags above. Never blocks. */
void server_handle(struct server *server);

/*
 * SIGTERM, patience, SIGKILL, until nothing of it is left. Its last status goes to `text` (may be
 * NULL).
 */
void server_stop(struct server *server, char *text, size_t text_bytes);

#endif
