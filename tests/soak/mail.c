/* mail.c - two cores, each on a CPU, that mail each other in turn and sleep in between: what a wake-up costs */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "volley/volley.h"

struct player {
	struct vly_engine *engine;
	unsigned index;
	uint64_t mails; /* to be answered */
	double cpu_us;
	double seconds;
	bool failed;
};

static atomic_uint opened;

static double cpu_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* A foreign wake-up or a late event may end a poll early: only mail counts. */
static unsigned wait_for_mail(struct vly_core *core)
{
	unsigned mails = 0;

	while (!mails) {
		struct vly_event *events;
		int count = vly_poll(core, &events, -1);

		for (int i = 0; i < count; i++)
			mails += events[i].kind == VLY_MAIL;
		if (count < 0)
			return 0;
	}
	return mails;
}

static void *play(void *arg)
{
	struct player *player = arg;
	struct vly_core *core;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(player->index, &cpus);
	pthread_setaffinity_np(pthread_self(), sizeof(cpus),
			       &cpus); /* on one CPU it works as well */
	if (vly_core_open(player->engine, player->index, &core)) {
		player->failed = true;
		atomic_fetch_add(&opened, 1);
		return NULL;
	}
	atomic_fetch_add(&opened, 1);
	while (atomic_load(&opened) < 2)
		;
	double began_us = cpu_us();
	uint64_t began_ns = vly_now_ns();

	for (uint64_t i = 0; i < player->mails && !player->failed; i++) {
		if (player->index == 0)
			player->failed |= vly_mail(core, 1, &i, sizeof(i)) != 0;
		player->failed |= wait_for_mail(core) != 1;
		if (player->index == 1)
			player->failed |= vly_mail(core, 0, &i, sizeof(i)) != 0;
	}
	vly_flush(core);
	player->cpu_us = cpu_us() - began_us;
	player->seconds = (double)(vly_now_ns() - began_ns) / 1e9;
	vly_core_close(core);
	return NULL;
}

/* mail [NIC [MAILS]] */
int main(int argc, char **argv)
{
	struct player players[2] = {{.index = 0}, {.index = 1}};
	uint64_t mails = argc > 2 ? strtoull(argv[2], NULL, 10) : 2000;
	struct vly_config config;
	struct vly_engine *engine;
	pthread_t threads[2];
	char why[256];

	vly_config_init(&config);
	config.nic = argc > 1 ? argv[1] : "auto";
	config.cores = 2;
	config.allow_overlap = true;
	config.idle = VLY_IDLE_SLEEP;
	config.conns_max = 16;
	config.huge_pages = config.lock_memory = false;
	if (vly_nic_check(config.nic, why, sizeof(why))) {
		printf("%s: %s\n", config.nic, why);
		return 77;
	}
	if (vly_engine_open(&config, &engine))
		return 1;
	for (unsigned i = 0; i < 2; i++) {
		players[i].engine = engine;
		players[i].mails = mails;
		if (pthread_create(&threads[i], NULL, play, &players[i]))
			return 1;
	}
	for (unsigned i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("%s: %" PRIu64 " there and back, %.2f us each, CPU of both cores %.2f us\n",
	       vly_engine_nic(engine), mails, players[0].seconds * 1e6 / (double)mails,
	       (players[0].cpu_us + players[1].cpu_us) / (double)mails);
	vly_engine_close(engine);
	return players[0].failed || players[1].failed;
}
