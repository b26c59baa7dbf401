/* message.c - what a ping-pong over the inet nic executes: server and load of the bench, in turn on one thread */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/own_stack.h"
#include "bench/pingpong_client.h"
#include "volley/volley.h"

/*
 * soak_message CONNECTIONS MESSAGES: the caches of other cores play no part, so it is for counting
 * instructions, of the messages alone:
 *
 *	valgrind --tool=callgrind --collect-atstart=no --toggle-collect=measured soak_message 1000 100000
 */
static struct pingpong_client *client;

static void check(int error, const char *what)
{
	if (error >= 0)
		return;
	fprintf(stderr, "soak_message: %s: %s\n", what, strerror(-error));
	exit(1);
}

static struct vly_core *open_side(int loop, bool is_load, uint32_t connections)
{
	struct vly_config config;
	struct vly_engine *engine;
	struct vly_core *core;
	char nic[128];

	vly_config_init(&config);
	/* so many addresses that each connection finds a port of its own */
	snprintf(nic, sizeof(nic), "inet:loop,fd=%d,side=%d,ip=10.77.%d.1/16%s,ts=0", loop, is_load,
		 is_load, is_load ? ",ips=8" : "");
	config.nic = nic;
	config.cores = 1;
	config.pin = false;
	config.idle = VLY_IDLE_BUSY;
	config.conns_max = connections + 1;
	bench_own_stack_config(&config, 64);
	check(vly_engine_open(&config, &engine), "engine");
	check(vly_core_open(engine, 0, &core), "core");
	return core;
}

static void close_side(struct vly_core *core)
{
	struct vly_engine *engine = vly_core_engine(core);

	vly_core_close(core);
	vly_engine_close(engine);
}

static void serve(struct vly_core *core)
{
	struct vly_event *events;
	int count = vly_poll(core, &events, 0);

	for (int i = 0; i < count; i++) {
		const struct vly_event *event = &events[i];

		if (event->kind == VLY_DATA)
			check(vly_send(core, event->conn, event->data, event->len), "send");
	}
}

static void load(struct vly_core *core)
{
	struct vly_event *events;
	int count = vly_poll(core, &events, 0);
	uint64_t now_ns = vly_now_ns();

	pingpong_client_events(client, events, count, now_ns);
	pingpong_client_connect(client, now_ns);
	pingpong_client_tick(client, now_ns);
}

/* A name for the tool to find. */
__attribute__((noinline)) void measured(struct vly_core *server, struct vly_core *loads,
					uint64_t until);

void measured(struct vly_core *server, struct vly_core *loads, uint64_t until)
{
	while (pingpong_client_figures(client)->messages < until) {
		serve(server);
		load(loads);
	}
}

int main(int argc, char **argv)
{
	uint32_t connections = argc > 1 ? (uint32_t)atoi(argv[1]) : 1000;
	uint64_t messages = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000;
	/* room for a frame of two lines each, of which a slot has 25 */
	struct vly_loop_opts opts = {.slots = connections / 12 + 1024};
	struct pingpong_params params = {
		.connections = connections, .connecting_max = 128, .size_bytes = 64, .depth = 1};
	vly_conn listener;

	if (opts.slots > 65536)
		opts.slots = 65536;
	int loop = vly_loop_make(&opts);

	check(loop, "loop");
	struct vly_core *server = open_side(loop, false, connections);
	struct vly_core *loads = open_side(loop, true, connections);

	check(vly_addr_parse("10.77.0.1:7000", &params.target), "address");
	check(vly_listen(server, &params.target, NULL, NULL, &listener), "listen");
	check(pingpong_client_open(loads, &params, &client), "load");
	const struct pingpong_figures *figures = pingpong_client_figures(client);

	while (figures->up < connections && !figures->errors.first_err) {
		serve(server);
		load(loads);
	}
	uint64_t now_ns = vly_now_ns();

	pingpong_client_start(client, now_ns);
	pingpong_client_window(client, now_ns, UINT64_MAX);
	measured(server, loads, figures->messages + messages);
	printf("%" PRIu64 " messages, %.1f ns each on one thread\n", figures->latency.total,
	       (double)(vly_now_ns() - now_ns) / (double)figures->latency.total);
	int status = figures->errors.first_err ? 1 : 0;

	close_side(loads);
	pingpong_client_close(client);
	close_side(server);
	close(loop);
	return status;
}
