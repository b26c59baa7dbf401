/* race_mail.c - four cores in four threads mail every pair, asleep and awake */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "volley/volley.h"

#define CORES 4
#define MAILS 20000u

struct player {
	struct vly_engine *engine;
	unsigned index;
	unsigned sent[CORES], got[CORES];
	unsigned drained, faults;
};

static atomic_uint finished;

static void send_all(struct player *player, struct vly_core *core)
{
	for (unsigned to = 0; to < CORES; to++) {
		while (player->sent[to] < MAILS) {
			int status = vly_mail(core, to, &player->sent[to], sizeof(unsigned));

			if (status == -EAGAIN)
				break;
			player->faults += status != 0;
			player->sent[to]++;
		}
	}
}

static void take(struct player *player, const struct vly_event *event)
{
	unsigned number;

	if (event->kind == VLY_DRAINED)
		player->drained++;
	if (event->kind != VLY_MAIL)
		return;
	memcpy(&number, event->data, sizeof(number));
	if (event->len != sizeof(number) || number != player->got[event->aux])
		player->faults++;
	player->got[event->aux]++;
}

static bool has_all(const struct player *player)
{
	for (unsigned from = 0; from < CORES; from++)
		if (player->got[from] < MAILS)
			return false;
	return true;
}

static void *play(void *arg)
{
	struct player *player = arg;
	struct vly_core *core;
	bool told = false;

	if (vly_core_open(player->engine, player->index, &core)) {
		player->faults++;
		vly_stop(player->engine);
		return NULL;
	}
	/* Every poll may sleep for ever: only mail, DRAINED, or the stop at the end wakes it. */
	while (!vly_stopping(core)) {
		struct vly_event *events;
		int count;

		send_all(player, core);
		count = vly_poll(core, &events, -1);
		player->faults += count < 0;
		for (int i = 0; i < count; i++)
			take(player, &events[i]);
		if (!told && has_all(player)) {
			told = true;
			if (atomic_fetch_add(&finished, 1) + 1 == CORES)
				vly_stop(player->engine);
		}
	}
	vly_core_close(core);
	return NULL;
}

int main(void)
{
	struct vly_config config;
	struct vly_engine *engine;
	struct player players[CORES];
	pthread_t threads[CORES];
	unsigned faults = 0, drained = 0;
	char why[256];

	alarm(100);
	vly_config_init(&config);
	config.cores = CORES;
	config.nic = getenv("VOLLEY_TEST_NIC") ? getenv("VOLLEY_TEST_NIC") : "epoll";
	config.allow_overlap = true;
	config.idle = VLY_IDLE_SLEEP;
	config.conns_max = 16;
	config.mail_slots = 16;
	config.huge_pages = config.lock_memory = false;
	if (vly_nic_check(config.nic, why, sizeof(why))) {
		printf("%s: %s\n", config.nic, why);
		return 77;
	}
	if (vly_engine_open(&config, &engine))
		return 1;
	memset(players, 0, sizeof(players));
	for (unsigned i = 0; i < CORES; i++) {
		players[i].engine = engine;
		players[i].index = i;
		if (pthread_create(&threads[i], NULL, play, &players[i]))
			return 1;
	}
	for (unsigned i = 0; i < CORES; i++) {
		pthread_join(threads[i], NULL);
		faults += players[i].faults + !has_all(&players[i]);
		drained += players[i].drained;
	}
	vly_engine_close(engine);
	printf("%u mails, %u spells of full rings, %u faults\n", CORES * CORES * MAILS, drained,
	       faults);
	return faults != 0;
}
