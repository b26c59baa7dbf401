/* race_relay.c - engines of many threads on one loop: flows come to their cores, everybody sleeps whenever it can */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "volley/volley.h"

#define CORES_MAX 16
#define FLOWS_EACH 6

struct plan {
	const char *name;
	unsigned serving, calling;
	struct vly_loop_opts opts;
	unsigned messages; /* of each flow */
};

/* Of one core; its own thread's. */
struct seat {
	unsigned open, done, echoed[FLOWS_EACH], faults;
	uint64_t flows[FLOWS_EACH];
};

static struct vly_addr addr = {.family = VLY_IP4, .port = 80, .ip4 = {10, 0, 0, 1}};
static const struct plan *plan;
static struct seat seats[CORES_MAX];
static atomic_uint listening, finished;
static _Atomic(struct vly_engine *) server;

static int serve_start(struct vly_core *core, void *arg, void **state)
{
	vly_conn listener;

	(void)arg;
	(void)state;
	int error = vly_listen(core, &addr, NULL, NULL, &listener);

	atomic_store(&server, vly_core_engine(core));
	atomic_fetch_add(&listening, 1);
	return error;
}

static void serve(struct vly_core *core, struct vly_event *events, int count, void *state)
{
	(void)state;
	for (int i = 0; i < count; i++) {
		if (events[i].kind == VLY_DATA)
			(void)vly_send(core, events[i].conn, events[i].data, events[i].len);
		else if (events[i].kind == VLY_EOF)
			(void)vly_close(core, events[i].conn);
	}
}

static int call_start(struct vly_core *core, void *arg, void **state)
{
	struct seat *seat = &seats[vly_core_index(core)];

	(void)arg;
	*state = seat;
	for (unsigned i = 0; i < FLOWS_EACH; i++) {
		int error = vly_connect(core, &addr, NULL, &seat->echoed[i], &seat->flows[i]);

		if (error)
			return error;
	}
	return 0;
}

static void call_one(struct vly_core *core, struct seat *seat, const struct vly_event *event)
{
	unsigned *echoed = event->user;

	switch (event->kind) {
	case VLY_OPEN:
		seat->faults += event->status != 0;
		break;
	case VLY_DATA:
		seat->faults += event->len != sizeof(*echoed) ||
				memcmp(event->data, echoed, sizeof(*echoed)) != 0;
		if (++*echoed == plan->messages) {
			seat->faults += vly_close(core, event->conn) != 0;
			return;
		}
		break;
	case VLY_CLOSED:
		seat->faults += event->status != 0;
		if (++seat->done == FLOWS_EACH &&
		    atomic_fetch_add(&finished, 1) + 1 == plan->calling)
			vly_stop(vly_core_engine(core));
		return;
	default:
		return;
	}
	seat->faults += vly_send(core, event->conn, echoed, sizeof(*echoed)) != 0;
}

static void call(struct vly_core *core, struct vly_event *events, int count, void *state)
{
	for (int i = 0; i < count; i++)
		call_one(core, state, &events[i]);
}

struct side {
	struct vly_config config;
	struct vly_app app;
	char nic[128];
	int result;
};

static void *run(void *arg)
{
	struct side *side = arg;

	side->result = vly_run(&side->config, &side->app, NULL);
	return NULL;
}

static void set_side(struct side *side, int loop, unsigned which, unsigned cores)
{
	snprintf(side->nic, sizeof(side->nic),
		 "inet:loop,fd=%d,side=%u,ip=10.0.0.%u/24,profile=dc,segs=256,sides=64", loop,
		 which, 1 + which);
	vly_config_init(&side->config);
	side->config.nic = side->nic;
	side->config.cores = cores;
	side->config.allow_overlap = true;
	side->config.pin = false;
	side->config.idle = VLY_IDLE_SLEEP;
	side->config.conns_max = 256;
	side->config.tx_bufs = 512;
	side->config.rx_bufs = 16;
	side->config.rx_buf_bytes = 4096;
	side->config.huge_pages = side->config.lock_memory = false;
}

static unsigned play(void)
{
	static struct side sides[2];
	pthread_t threads[2];
	unsigned faults = 0;
	int loop = vly_loop_make(&plan->opts);

	if (loop < 0)
		return 1;
	memset(seats, 0, sizeof(seats));
	atomic_store(&listening, 0);
	atomic_store(&finished, 0);
	set_side(&sides[0], loop, 0, plan->serving);
	set_side(&sides[1], loop, 1, plan->calling);
	sides[0].app = (struct vly_app){.start = serve_start, .events = serve};
	sides[1].app = (struct vly_app){.start = call_start, .events = call};
	if (pthread_create(&threads[0], NULL, run, &sides[0]))
		return 1;
	while (atomic_load(&listening) < plan->serving)
		usleep(1000);
	if (pthread_create(&threads[1], NULL, run, &sides[1]))
		return 1;
	pthread_join(threads[1], NULL);
	vly_stop(atomic_load(&server));
	pthread_join(threads[0], NULL);
	vly_loop_close(loop);
	for (unsigned i = 0; i < plan->calling; i++)
		faults += seats[i].faults + (seats[i].done != FLOWS_EACH);
	faults += (sides[0].result != 0) + (sides[1].result != 0);
	printf("%s: %u to %u cores, %u flows of %u messages, %u faults\n", plan->name,
	       plan->calling, plan->serving, plan->calling * FLOWS_EACH, plan->messages, faults);
	return faults;
}

int main(void)
{
	static const struct plan plans[] = {
		{"by the port's RSS", 2, 2, {.queues = {2, 2}}, 200},
		{"key ignored", 2, 2, {.queues = {2, 2}, .rss = {2, 2}}, 200},
		{"one queue", 4, 3, {.queues = {1, 1}}, 100},
		{"half as many queues, rings of 16", 4, 4, {.slots = 16, .queues = {2, 2}}, 60},
		{"sixteen cores", 16, 2, {.queues = {16, 2}}, 40},
		{"sixteen cores, one queue", 16, 2, {.queues = {1, 1}}, 40},
	};
	unsigned faults = 0;

	alarm(110);
	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++) {
		plan = &plans[i];
		faults += play();
	}
	return faults != 0;
}
