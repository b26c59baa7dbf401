/* race_port.c - foreign threads ask a core through ports, both sides falling asleep */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "volley/volley.h"

#define PORTS 2
#define QUESTIONS 30000u

struct asker {
	struct vly_engine *engine;
	unsigned seed;
	unsigned asked, answered, faults;
};

/* What the core owes to each port: the answers that found it full. */
struct debt {
	unsigned first, next;
};

static atomic_uint finished;

static void take_answers(struct asker *asker, struct vly_port *port)
{
	const void *data;
	int len;

	while ((len = vly_port_take(port, &data)) >= 0) {
		if (len != sizeof(unsigned) || memcmp(data, &asker->answered, sizeof(unsigned)))
			asker->faults++;
		asker->answered++;
	}
	asker->faults += len != -EAGAIN;
}

static void *ask(void *arg)
{
	struct asker *asker = arg;
	struct vly_port *port;

	if (vly_port_open(asker->engine, 0, &port)) {
		asker->faults++;
	} else {
		while (asker->answered < QUESTIONS && !asker->faults) {
			/* Bursts of many sizes, so that each side sleeps at some time. */
			unsigned burst = 1 + (unsigned)rand_r(&asker->seed) % 40;

			while (burst-- && asker->asked < QUESTIONS &&
			       !vly_port_post(port, &asker->asked, sizeof(unsigned)))
				asker->asked++;
			if (asker->answered < asker->asked)
				asker->faults += vly_port_wait(port, -1) != 1;
			take_answers(asker, port);
		}
		vly_port_close(port);
	}
	if (atomic_fetch_add(&finished, 1) + 1 == PORTS)
		vly_stop(asker->engine);
	return NULL;
}

static void answer(struct vly_core *core, const struct vly_event *event, struct debt *debts)
{
	struct debt *debt = &debts[event->aux];

	if (!(event->flags & VLY_FROM_PORT))
		return;
	debt->next += event->kind == VLY_MAIL;
	while (debt->first < debt->next &&
	       !vly_port_send(core, event->aux, &debt->first, sizeof(unsigned)))
		debt->first++;
}

static unsigned serve(struct vly_core *core)
{
	struct debt debts[PORTS] = {{0, 0}};
	unsigned faults = 0;

	while (!vly_stopping(core)) {
		struct vly_event *events;
		int count = vly_poll(core, &events, -1);

		faults += count < 0;
		for (int i = 0; i < count; i++)
			answer(core, &events[i], debts);
	}
	return faults;
}

int main(void)
{
	struct vly_config config;
	struct vly_engine *engine;
	struct vly_core *core;
	struct asker askers[PORTS];
	pthread_t threads[PORTS];
	unsigned faults;

	alarm(100);
	vly_config_init(&config);
	config.nic = getenv("VOLLEY_TEST_NIC") ? getenv("VOLLEY_TEST_NIC") : "epoll";
	config.idle = VLY_IDLE_SLEEP;
	config.conns_max = 16;
	config.mail_slots = 16;
	config.ports_max = PORTS;
	config.huge_pages = config.lock_memory = false;
	if (vly_engine_open(&config, &engine) || vly_core_open(engine, 0, &core))
		return 1;
	memset(askers, 0, sizeof(askers));
	for (unsigned i = 0; i < PORTS; i++) {
		askers[i].engine = engine;
		askers[i].seed = i + 1;
		if (pthread_create(&threads[i], NULL, ask, &askers[i]))
			return 1;
	}
	faults = serve(core);
	for (unsigned i = 0; i < PORTS; i++) {
		pthread_join(threads[i], NULL);
		faults += askers[i].faults + (askers[i].answered != QUESTIONS);
	}
	vly_core_close(core);
	vly_engine_close(engine);
	printf("%u questions answered, %u faults\n", PORTS * QUESTIONS, faults);
	return faults != 0;
}
