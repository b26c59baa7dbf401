/* test_pool.c - an empty pool of send buffers: waiting in a FIFO, oldest drained first */
#include "tests/contract/harness.h"

TestSuite(pool, .fini = vly_leak_gate, .timeout = 120);

#define LINKS 24
#define BUF_BYTES 2048

/* Who waits, in the order of the first refusal, and who was drained. */
struct queue {
	vly_conn waiting[LINKS * 64];
	unsigned tail, head;
	unsigned most_drained; /* in one batch */
	bool resend;           /* send a message in each DRAINED */
	unsigned sent;
};

static const uint8_t message[BUF_BYTES];

static void small_pool(struct world *w, struct link *links, unsigned count, uint32_t tx_bufs)
{
	struct vly_config config;

	world_config(&config, 2);
	config.tx_bufs = tx_bufs;
	config.tx_buf_bytes = BUF_BYTES;
	world_open_config(w, &config);
	world_listen(w, SERVER, NULL, NULL);
	for (unsigned i = 0; i < count; i++)
		links[i] = world_link(w);
	w->tracks.keep_data = false;
}

static void oldest_first(struct world *w, unsigned core, struct vly_event *event)
{
	struct queue *queue = w->arg;

	if (core != CLIENT || event->kind != VLY_DRAINED)
		return;
	cr_assert(queue->head < queue->tail, "DRAINED of nobody who waits");
	cr_assert(event->conn == queue->waiting[queue->head], "not the oldest was drained");
	queue->head++;
	if (!queue->resend)
		return;
	/* The promise of DRAINED: this one can be served now. */
	check_eq(vly_send(w->core[core], event->conn, message, BUF_BYTES), 0);
	queue->sent++;
}

static void count_drained(struct world *w, unsigned core, struct vly_event *events, int count)
{
	struct queue *queue = w->arg;
	unsigned drained = 0;

	for (int i = 0; core == CLIENT && i < count; i++)
		drained += events[i].kind == VLY_DRAINED;
	if (drained > queue->most_drained)
		queue->most_drained = drained;
}

/*
 * Sends one message on each link in turn, from `first` on; the refused ones join the queue. Returns
 * how many were taken.
 */
static unsigned send_on_each(struct world *w, struct link *links, unsigned first, unsigned count,
			     struct queue *queue)
{
	unsigned taken = 0;

	for (unsigned i = first; i < first + count; i++) {
		int status = vly_send(w->core[CLIENT], links[i].client, message, BUF_BYTES);

		if (!status) {
			taken++;
			continue;
		}
		check_eq(status, -EAGAIN);
		queue->waiting[queue->tail++] = links[i].client;
	}
	return taken;
}

Test(pool, that_is_empty_refuses_and_drains_oldest_first)
{
	struct world w;
	struct link links[LINKS];
	struct queue queue = {.resend = true};
	uint64_t free_bufs;
	unsigned taken;

	small_pool(&w, links, LINKS, 8);
	w.arg = &queue;
	w.on_event = oldest_first;
	w.on_batch = count_drained;
	free_bufs = world_stats(&w, CLIENT).tx_bufs_free;
	taken = send_on_each(&w, links, 0, LINKS, &queue);
	check_at_most(taken, 8);
	check_at_least(taken, 1);
	check_at_least(world_stats(&w, CLIENT).tx_blocked_pool, 1);
	pump_until(&w, queue.head == queue.tail);
	check_eq(queue.sent, LINKS - taken);
	for (int i = 0; i < LINKS; i++)
		pump_until(&w, got_bytes(&w, links[i].server) == BUF_BYTES);
	world_quiet(&w);
	check_at_most(queue.most_drained, 8);
	check_eq(w.tracks.count[VLY_DRAINED], LINKS - taken);
	check_eq(world_stats(&w, CLIENT).tx_bufs_free, free_bufs);
	check_eq(world_stats(&w, CLIENT).tx_bufs_low, 0);
	world_close(&w);
}

Test(pool, drained_ones_that_do_not_send_forget_nobody_behind_them)
{
	struct world w;
	struct link links[LINKS];
	struct queue queue = {.resend = false};
	unsigned taken;

	small_pool(&w, links, LINKS, 8);
	w.arg = &queue;
	w.on_event = oldest_first;
	taken = send_on_each(&w, links, 0, LINKS, &queue);
	pump_until(&w, queue.head == LINKS - taken);
	world_quiet(&w);
	check_eq(w.tracks.count[VLY_DRAINED], LINKS - taken);
	world_close(&w);
}

Test(pool, waiting_connection_fails_every_send_until_its_drained)
{
	struct world w;
	struct link links[LINKS];
	struct queue queue = {.resend = false};
	vly_conn last = 0;

	small_pool(&w, links, LINKS, 8);
	w.arg = &queue;
	w.on_event = oldest_first;
	send_on_each(&w, links, 0, LINKS, &queue);
	last = links[LINKS - 1].client;
	for (int i = 0; i < 3; i++)
		check_eq(vly_send(w.core[CLIENT], last, "x", 1), -EAGAIN);
	check_eq(vly_flush(w.core[CLIENT]), 0);
	/* Buffers may be home by now, but others are older. */
	check_eq(vly_send(w.core[CLIENT], last, "x", 1), -EAGAIN);
	pump_until(&w, seen(&w, last, VLY_DRAINED) == 1);
	check_eq(vly_send(w.core[CLIENT], last, "x", 1), 0);
	pump_until(&w, got_bytes(&w, links[LINKS - 1].server) == 1);
	world_close(&w);
}

Test(pool, newcomer_does_not_overtake_those_who_wait)
{
	struct world w;
	struct link links[LINKS];
	struct queue queue = {.resend = true};

	small_pool(&w, links, LINKS, 8);
	w.arg = &queue;
	w.on_event = oldest_first;
	send_on_each(&w, links, 0, LINKS - 1, &queue);
	check_at_least(queue.tail, 2);
	/* Buffers have come home, but those who wait do not know yet. */
	check_eq(vly_flush(w.core[CLIENT]), 0);
	check_eq(send_on_each(&w, links, LINKS - 1, 1, &queue), 0);
	pump_until(&w, queue.head == queue.tail);
	world_close(&w);
}

Test(pool, closing_a_waiting_connection_takes_it_out_of_the_queue)
{
	struct world w;
	struct link links[LINKS];
	struct queue queue = {.resend = true}, rest = {.resend = true};
	unsigned taken;

	small_pool(&w, links, LINKS, 8);
	w.arg = &rest;
	w.on_event = oldest_first;
	taken = send_on_each(&w, links, 0, LINKS, &queue);
	/* Every other one of those who wait goes; one of them by force. */
	for (unsigned i = 0; i < queue.tail; i++) {
		if (i % 2)
			rest.waiting[rest.tail++] = queue.waiting[i];
		else if (i % 4)
			check_eq(vly_abort(w.core[CLIENT], queue.waiting[i]), 0);
		else
			check_eq(vly_close(w.core[CLIENT], queue.waiting[i]), 0);
	}
	pump_until(&w, rest.head == rest.tail);
	world_quiet(&w);
	check_eq(w.tracks.count[VLY_DRAINED], rest.tail);
	check_at_least(queue.tail + taken, LINKS);
	world_close(&w);
}

Test(pool, serves_everyone_through_a_long_shortage)
{
	struct world w;
	struct link links[LINKS];
	unsigned want[LINKS], left = LINKS * 40;
	uint64_t drained;

	small_pool(&w, links, LINKS, 8);
	for (int i = 0; i < LINKS; i++)
		want[i] = 40;
	while (left) {
		for (int i = 0; i < LINKS; i++) {
			int status = 0;

			while (want[i] && !status) {
				status = vly_send(w.core[CLIENT], links[i].client, message,
						  BUF_BYTES);
				if (status)
					break;
				want[i]--;
				left--;
			}
			cr_assert(status == 0 || status == -EAGAIN, "it returned %d", status);
		}
		drained = w.tracks.count[VLY_DRAINED];
		/* Everybody who has more to send waits: somebody must be drained. */
		if (left)
			pump_until(&w, w.tracks.count[VLY_DRAINED] > drained);
	}
	for (int i = 0; i < LINKS; i++)
		pump_until(&w, got_bytes(&w, links[i].server) == 40 * BUF_BYTES);
	world_close(&w);
}

Test(pool, one_stuck_connection_leaves_buffers_for_the_others)
{
	struct world w;
	struct link links[4];

	small_pool(&w, links, 4, 64);
	check_eq(vly_pause(w.core[SERVER], links[0].server), 0);
	for (int idle = 0; idle < 20;)
		if (vly_send(w.core[CLIENT], links[0].client, message, BUF_BYTES) == -EAGAIN)
			idle = world_round(&w) ? 0 : idle + 1;
	for (int i = 1; i < 4; i++) {
		world_send_pattern(&w, CLIENT, links[i].client, 1, 100000);
		pump_until(&w, got_bytes(&w, links[i].server) == 100000);
	}
	world_close(&w);
}

Test(pool, message_beyond_the_whole_pool_is_emsgsize)
{
	struct world w;
	struct vly_config config;
	struct link link;
	static const uint8_t data[16384];

	world_config(&config, 2);
	config.tx_bufs = 4;
	config.tx_buf_bytes = 1024;
	config.tx_budget = 16384;
	world_open_config(&w, &config);
	world_listen(&w, SERVER, NULL, NULL);
	link = world_link(&w);
	/* It could wait for ever: no DRAINED would ever make room for it. */
	check_eq(vly_send(w.core[CLIENT], link.client, data, 4 * 1024 + 1), -EMSGSIZE);
	world_send(&w, CLIENT, link.client, "fits", 4);
	pump_until(&w, got_text(&w, link.server, "fits"));
	world_close(&w);
}

Test(pool, small_messages_share_a_buffer)
{
	struct world w;
	struct link links[1];
	unsigned taken = 0;

	small_pool(&w, links, 1, 8);
	while (!vly_send(w.core[CLIENT], links[0].client, message, 64))
		taken++;
	/* 64 bytes in a buffer each would be 8. */
	check_at_least(taken, 9);
	pump_until(&w, got_bytes(&w, links[0].server) == taken * 64);
	world_close(&w);
}
