/* loader.h - the bench's end of a load process, and the body of that process */
#ifndef VLY_BENCH_LOADER_H
#define VLY_BENCH_LOADER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "bench/control.h"
#include "bench/load.h"
#include "bench/options.h"

/* What a load process has told so far. */
struct loader {
	struct control control;
	pid_t pid;
	enum load_phase phase;
	bool begun, ended; /* the window, or the turn */
	bool held;         /* between turns, it waits for loader_go_on() */
	bool done;         /* `result` is there, or `failed` */
	bool failed;       /* the process itself went wrong: result.reason says how */
	struct load_progress progress;
	struct load_result result; /* without per_conn */
	int err;                   /* of load_run() */
	/* the histograms, encoded; owned, NULL if there is none */
	char *hdr, *hdr_service, *hdr_per_connection;
};

/* Starts the process. 0, or -errno with loader->result.reason. Ends with loader_stop. */
int loader_start(struct loader *loader, const char *workload, const struct vly_addr *target,
		 const char *nic, const struct load_options *options, uint32_t turns,
		 uint64_t seed);

/* The window may open: the "begin" phase was seen and the server is sampled. */
void loader_open_window(struct loader *loader);

/* With turns: the server was sampled behind the window, and the load may pause. */
void loader_close_window(struct loader *loader);

/* The next turn may begin, or, after the last, the end. */
void loader_go_on(struct loader *loader);

/* Finish early: what was measured until now becomes the result. */
void loader_interrupt(struct loader *loader);

/* Takes all messages that have come. Never blocks. */
void loader_handle(struct loader *loader);

/* Ends the process, by force if it must be; what it told stays. */
void loader_stop_process(struct loader *loader);

/* The same, and frees everything. */
void loader_stop(struct loader *loader);

/*
 * Body of "volley load --control-fd N": one run, told over the control socket. Returns an exit
 * code.
 */
int loader_main(int control_fd);

#endif
