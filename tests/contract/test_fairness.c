/* test_fairness.c - the share of one connection in a batch while others are ready */
#include "tests/contract/harness.h"

#include <stdlib.h>

TestSuite(fairness, .fini = vly_leak_gate, .timeout = 120);

#define PINGS 1000
#define PING_BYTES 64

struct crowd {
	struct link *links; /* PINGS of them, then the bulk sender's */
	struct vly_config config;
	struct link bulk;
	unsigned *rounds;       /* of each client's slot: round trips done */
	unsigned mixed_batches; /* with the bulk sender and others in one batch */
	unsigned bulk_capped;
};

/* Per batch of SERVER: what one connection got while others had something, too. */
static void check_shares(struct world *w, unsigned core, struct vly_event *events, int count)
{
	struct crowd *crowd = w->arg;
	uint64_t bulk_bytes = 0;
	unsigned bulk_events = 0, others = 0;

	if (core != SERVER)
		return;
	for (int i = 0; i < count; i++) {
		if (events[i].kind != VLY_DATA)
			continue;
		if (events[i].conn == crowd->bulk.server) {
			bulk_events++;
			bulk_bytes += events[i].len;
		} else {
			others++;
		}
	}
	if (!others || !bulk_events)
		return;
	crowd->mixed_batches++;
	check_at_most(bulk_events, crowd->config.burst_max);
	check_at_most(bulk_bytes, crowd->config.burst_bytes);
	crowd->bulk_capped += bulk_events == crowd->config.burst_max ||
			      bulk_bytes + crowd->config.rx_buf_bytes > crowd->config.burst_bytes;
}

/* The bulk sender sends whenever it may; SERVER echoes the others; each echo is the next ping. */
static void play(struct world *w, unsigned core, struct vly_event *event)
{
	static const uint8_t zeros[8192];
	static const uint8_t ping[PING_BYTES];
	struct crowd *crowd = w->arg;

	if (core == CLIENT && event->conn == crowd->bulk.client) {
		if (event->kind == VLY_DRAINED)
			while (!vly_send(w->core[core], event->conn, zeros, sizeof(zeros)))
				;
		return;
	}
	if (event->kind != VLY_DATA || event->conn == crowd->bulk.server)
		return;
	if (core == SERVER) {
		check_eq(vly_send(w->core[core], event->conn, event->data, event->len), 0);
		return;
	}
	check_eq(event->len, PING_BYTES);
	crowd->rounds[vly_conn_slot(event->conn)]++;
	check_eq(vly_send(w->core[core], event->conn, ping, PING_BYTES), 0);
}

static void crowd_open(struct world *w, struct crowd *crowd, unsigned pings, uint32_t events_max)
{
	world_config(&crowd->config, 2);
	crowd->config.conns_max = PINGS + 10;
	crowd->config.events_max = events_max;
	crowd->config.burst_max = 8;
	crowd->config.burst_bytes = 5000; /* no multiple of a buffer */
	crowd->config.rx_buf_bytes = 2048;
	crowd->config.rx_bufs = 512;
	crowd->config.tx_bufs = 2 * PINGS + 256;
	crowd->config.tx_refs = 256;
	crowd->config.tx_budget = 64 << 10;
	world_open_config(w, &crowd->config);
	world_listen(w, SERVER, NULL, NULL);
	w->tracks.keep_data = false;
	w->tracks.keep_records = false;
	crowd->links = calloc(pings, sizeof(*crowd->links));
	crowd->rounds = calloc(crowd->config.conns_max, sizeof(*crowd->rounds));
	cr_assert(crowd->links && crowd->rounds);
	for (unsigned i = 0; i < pings; i++)
		crowd->links[i] = world_link(w);
	w->arg = crowd;
}

static void crowd_close(struct world *w, struct crowd *crowd)
{
	world_close(w);
	free(crowd->links);
	free(crowd->rounds);
}

/*
 * All ping; until the slowest has done `least` rounds nobody may be more than twice ahead, plus a
 * few.
 */
static void run_until_slowest(struct world *w, struct crowd *crowd, unsigned pings, unsigned least)
{
	static const uint8_t ping[PING_BYTES];
	unsigned slowest = 0, fastest = 0;
	uint64_t end = vly_now_ns() + PATIENCE_NS;

	for (unsigned i = 0; i < pings; i++)
		check_eq(vly_send(w->core[CLIENT], crowd->links[i].client, ping, PING_BYTES), 0);
	while (slowest < least) {
		world_round(w);
		slowest = UINT32_MAX;
		for (unsigned i = 0; i < pings; i++) {
			unsigned rounds = crowd->rounds[vly_conn_slot(crowd->links[i].client)];

			slowest = rounds < slowest ? rounds : slowest;
			fastest = rounds > fastest ? rounds : fastest;
		}
		check_at_most(fastest, 2 * slowest + 8);
		cr_assert(vly_now_ns() < end, "the slowest has done %u rounds", slowest);
	}
}

Test(fairness, one_bulk_sender_beside_a_thousand_ping_pongs_gets_its_share_only)
{
	struct world w;
	struct crowd crowd = {.mixed_batches = 0};
	struct vly_event kick = {.kind = VLY_DRAINED};

	crowd_open(&w, &crowd, PINGS, 2048);
	crowd.bulk = world_link(&w);
	w.on_batch = check_shares;
	w.on_event = play;
	kick.conn = crowd.bulk.client;
	play(&w, CLIENT, &kick);
	run_until_slowest(&w, &crowd, PINGS, 20);
	check_at_least(crowd.mixed_batches, 10);
	check_at_least(crowd.bulk_capped, 1);
	check_at_least(world_stats(&w, SERVER).rx_capped, 1);
	/* It got its share, too. */
	check_at_least(got_bytes(&w, crowd.bulk.server), 20 * 2048);
	crowd_close(&w, &crowd);
}

Test(fairness, more_ready_connections_than_events_are_all_served_in_turn)
{
	struct world w;
	struct crowd crowd = {.mixed_batches = 0};

	crowd_open(&w, &crowd, 300, 16);
	w.on_event = play;
	run_until_slowest(&w, &crowd, 300, 20);
	crowd_close(&w, &crowd);
}

/* Each of a few bulk streams by its bytes per batch. */
static void check_each_share(struct world *w, unsigned core, struct vly_event *events, int count)
{
	struct crowd *crowd = w->arg;
	uint64_t bytes[64] = {0};
	unsigned number[64] = {0}, ready = 0;

	if (core != SERVER)
		return;
	for (int i = 0; i < count; i++) {
		uint32_t slot = vly_conn_slot(events[i].conn);

		if (events[i].kind != VLY_DATA)
			continue;
		cr_assert(slot < 64);
		ready += !number[slot];
		number[slot]++;
		bytes[slot] += events[i].len;
	}
	if (ready < 2)
		return;
	crowd->mixed_batches++;
	for (int i = 0; i < 64; i++) {
		check_at_most(number[i], crowd->config.burst_max);
		check_at_most(bytes[i], crowd->config.burst_bytes);
	}
}

static void stream_on(struct world *w, unsigned core, struct vly_event *event)
{
	static const uint8_t zeros[8192];

	if (core == CLIENT && event->kind == VLY_DRAINED)
		while (!vly_send(w->core[core], event->conn, zeros, sizeof(zeros)))
			;
}

Test(fairness, bulk_senders_share_alike)
{
	struct world w;
	struct crowd crowd = {.mixed_batches = 0};
	struct link links[5];
	uint64_t least = 0, most = 0;

	world_config(&crowd.config, 2);
	/* Their shares together are more than a batch. */
	crowd.config.events_max = 16;
	crowd.config.burst_max = 5;
	crowd.config.burst_bytes = 1 << 20;
	crowd.config.rx_buf_bytes = 2048;
	crowd.config.tx_budget = 64 << 10;
	world_open_config(&w, &crowd.config);
	world_listen(&w, SERVER, NULL, NULL);
	w.tracks.keep_data = false;
	w.tracks.keep_records = false;
	for (int i = 0; i < 5; i++)
		links[i] = world_link(&w);
	w.arg = &crowd;
	w.on_batch = check_each_share;
	w.on_event = stream_on;
	for (int i = 0; i < 5; i++) {
		struct vly_event kick = {.kind = VLY_DRAINED, .conn = links[i].client};

		stream_on(&w, CLIENT, &kick);
	}
	while (least < 1 << 20) {
		world_round(&w);
		least = UINT64_MAX;
		for (int i = 0; i < 5; i++) {
			uint64_t got = got_bytes(&w, links[i].server);

			least = got < least ? got : least;
			most = got > most ? got : most;
		}
	}
	/* All were ready all the time: nobody can be more than a few megabytes' buffers ahead. */
	check_at_most(most, 2 * least);
	check_at_least(crowd.mixed_batches, 100);
	world_close(&w);
}

static void answer(struct world *w, unsigned core, struct vly_event *event)
{
	if (core == SERVER && event->kind == VLY_TIMER)
		check_eq(vly_timer_start(w->core[core], 0, NULL, (vly_timer *)w->arg), 0);
}

Test(fairness, timers_and_mail_without_end_do_not_stop_the_sockets)
{
	struct world w;
	struct link link = world_open_link(&w);
	vly_timer timer;

	w.arg = &timer;
	w.on_event = answer;
	check_eq(vly_timer_start(w.core[SERVER], 0, NULL, &timer), 0);
	/* A timer comes once per tick of the wheel: a fast nic does its hundred rounds within nine of them. */
	for (unsigned i = 0; i < 100 || w.tracks.count[VLY_TIMER] < 10; i++) {
		while (!vly_mail(w.core[CLIENT], SERVER, "more", 4))
			;
		world_send(&w, CLIENT, link.client, "data", 4);
		pump_until(&w, got_bytes(&w, link.server) == 4 * (i + 1));
	}
	check_at_least(w.tracks.count[VLY_MAIL], 100);
	check_at_least(w.tracks.count[VLY_TIMER], 10);
	world_close(&w);
}
