/* few_buffers.c - an echo server with as few receive buffers as it is told, to see what exhaustion costs */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "volley/volley.h"

static struct vly_engine *engine;

static void stop(int signal)
{
	(void)signal;
	vly_stop(engine);
}

static void echo(struct vly_core *core, const struct vly_event *event)
{
	if (event->kind == VLY_EOF)
		vly_close(core, event->conn);
	else if (event->kind == VLY_DATA && vly_send(core, event->conn, event->data, event->len))
		vly_abort(core, event->conn); /* a ping-pong never fills a budget */
}

static void serve(struct vly_core *core)
{
	while (!vly_stopping(core)) {
		struct vly_event *events;
		int count = vly_poll(core, &events, -1);

		for (int i = 0; i < count; i++)
			echo(core, &events[i]);
	}
}

/* few_buffers NIC ADDRESS BUFFERS BYTES: prints READY, ends on SIGTERM with the counters. */
int main(int argc, char **argv)
{
	struct sigaction action = {.sa_handler = stop};
	struct vly_config config;
	struct vly_stats stats;
	struct vly_addr addr;
	struct vly_core *core;
	vly_conn listener;

	if (argc != 5 || vly_addr_parse(argv[2], &addr)) {
		fprintf(stderr, "usage: few_buffers NIC ADDRESS BUFFERS BYTES\n");
		return 2;
	}
	vly_config_init(&config);
	config.nic = argv[1];
	config.idle = VLY_IDLE_SLEEP;
	config.rx_bufs = (uint32_t)atoi(argv[3]);
	config.rx_buf_bytes = (uint32_t)atoi(argv[4]);
	config.dgram_max = config.rx_buf_bytes;
	config.burst_bytes = config.rx_buf_bytes;
	if (vly_engine_open(&config, &engine) || vly_core_open(engine, 0, &core) ||
	    vly_listen(core, &addr, NULL, NULL, &listener))
		return 1;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	printf("READY\n");
	fflush(stdout);
	serve(core);
	if (!vly_stats(engine, 0, &stats))
		fprintf(stderr,
			"few_buffers: %" PRIu64 " events, %" PRIu64 " bytes, starved %" PRIu64
			" times\n",
			stats.rx_events, stats.rx_bytes, stats.rx_starved);
	vly_core_close(core);
	vly_engine_close(engine);
	return 0;
}
