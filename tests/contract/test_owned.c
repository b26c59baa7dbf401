/* test_owned.c - borrowed memory comes back with exactly one SENT, whatever happens */
#include "tests/contract/harness.h"

#include <stdlib.h>

TestSuite(owned, .fini = vly_leak_gate, .timeout = 120);

#define PIECES 64
#define PIECE_BYTES 1024

/* Pieces lent to the engine in turn, and what came back. */
struct loan {
	uint8_t bytes[PIECES][PIECE_BYTES];
	bool out[PIECES];
	unsigned lent, returned, in_order;
};

/* Each cookie is the piece's own address. */
static void piece_returns(struct world *w, unsigned core, struct vly_event *event)
{
	struct loan *loan = w->arg;
	size_t index;

	(void)core;
	if (event->kind != VLY_SENT)
		return;
	index = (size_t)(event->data - loan->bytes[0]) / PIECE_BYTES;
	cr_assert(index < PIECES && event->data == loan->bytes[index], "an unknown cookie");
	cr_assert(loan->out[index], "SENT for piece %zu, which is not lent", index);
	loan->out[index] = false;
	loan->in_order += index == loan->returned % PIECES;
	loan->returned++;
	/* Ours again: whoever still reads it shows up as wrong data at the other end. */
	memset(loan->bytes[index], 0xee, PIECE_BYTES);
}

static struct loan *loan_new(struct world *w)
{
	struct loan *loan = calloc(1, sizeof(*loan));

	cr_assert_not_null(loan);
	w->arg = loan;
	w->on_event = piece_returns;
	return loan;
}

/* Lends pieces until one is refused or `most` have been lent in all. */
static void lend(struct world *w, unsigned core, vly_conn conn, struct loan *loan, unsigned most)
{
	while (loan->lent < most) {
		uint8_t *piece = loan->bytes[loan->lent % PIECES];
		int status;

		cr_assert(!loan->out[loan->lent % PIECES], "more pieces out than the budget holds");
		pattern_fill(piece, PIECE_BYTES, 4, (uint64_t)loan->lent * PIECE_BYTES);
		status = vly_send_owned(w->core[core], conn, piece, PIECE_BYTES, piece);
		if (status == -EAGAIN)
			return;
		check_eq(status, 0);
		loan->out[loan->lent % PIECES] = true;
		loan->lent++;
	}
}

/* Lends on until the receiver, which is paused, is full and pieces are stuck in the engine. */
static void lend_until_stuck(struct world *w, struct link link, struct loan *loan)
{
	unsigned drained;

	w->tracks.keep_data = false;
	check_eq(vly_pause(w->core[SERVER], link.server), 0);
	do {
		int idle = 0;

		drained = seen(w, link.client, VLY_DRAINED);
		lend(w, CLIENT, link.client, loan, UINT32_MAX);
		while (seen(w, link.client, VLY_DRAINED) == drained && idle < 10)
			idle = world_round(w) ? 0 : idle + 1;
		if (idle == 10)
			world_quiet(w);
	} while (seen(w, link.client, VLY_DRAINED) > drained);
	check_at_least(loan->lent, loan->returned + 1);
}

Test(owned, one_sent_with_the_cookie_follows_each_piece_in_order)
{
	struct world w;
	struct link link = world_open_link(&w);
	struct loan *loan = loan_new(&w);
	int mark;

	world_set_user(&w, CLIENT, link.client, &mark);
	while (loan->lent < 500) {
		lend(&w, CLIENT, link.client, loan, 500);
		world_round(&w);
	}
	pump_until(&w, loan->returned == 500);
	pump_until(&w, got_bytes(&w, link.server) == 500 * PIECE_BYTES);
	cr_assert(got_pattern(&w, link.server, 4, 500 * PIECE_BYTES));
	check_eq(loan->in_order, 500);
	check_eq(track_of(&w, link.client)->sent_errors, 0);
	cr_assert(track_of(&w, link.client)->user == &mark);
	world_quiet(&w);
	check_eq(seen(&w, link.client, VLY_SENT), 500);
	world_close(&w);
	free(loan);
}

Test(owned, small_pieces_get_their_sent_too)
{
	struct world w;
	struct link link = world_open_link(&w);

	for (int i = 0; i < 100; i++)
		check_eq(vly_send_owned(w.core[CLIENT], link.client, "y", 1, &w), 0);
	pump_until(&w, seen(&w, link.client, VLY_SENT) == 100);
	pump_until(&w, got_bytes(&w, link.server) == 100);
	world_quiet(&w);
	check_eq(seen(&w, link.client, VLY_SENT), 100);
	world_close(&w);
}

Test(owned, piece_of_the_whole_budget_arrives_unchanged)
{
	struct world w;
	struct link link = world_open_link(&w);
	static uint8_t data[16384];

	for (unsigned i = 0; i < 20; i++) {
		pattern_fill(data, sizeof(data), 8, i * sizeof(data));
		check_eq(vly_send_owned(w.core[CLIENT], link.client, data, sizeof(data), data), 0);
		pump_until(&w, seen(&w, link.client, VLY_SENT) == i + 1);
	}
	pump_until(&w, got_bytes(&w, link.server) == 20 * sizeof(data));
	cr_assert(got_pattern(&w, link.server, 8, 20 * sizeof(data)));
	world_close(&w);
}

Test(owned, refused_piece_has_no_sent)
{
	struct world w;
	struct link link = world_open_link(&w);
	struct loan *loan = loan_new(&w);

	lend(&w, CLIENT, link.client, loan, 100);
	check_eq(loan->lent, 16);
	check_eq(vly_send_owned(w.core[CLIENT], link.client, "x", 1, &w), -EAGAIN);
	pump_until(&w, loan->returned == 16);
	world_quiet(&w);
	check_eq(seen(&w, link.client, VLY_SENT), 16);
	check_eq(seen(&w, link.client, VLY_DRAINED), 1);
	world_close(&w);
	free(loan);
}

static uint32_t odd_len(unsigned i, size_t most)
{
	uint32_t len = 1 + i * 37 % 3001;

	return len < most ? len : (uint32_t)most;
}

Test(owned, kinds_of_send_mix_in_the_order_of_the_calls)
{
	struct world w;
	struct link link = world_open_link(&w);
	static uint8_t data[40000];
	size_t at = 0;

	pattern_fill(data, sizeof(data), 2, 0);
	for (unsigned i = 0; at < sizeof(data); i++) {
		uint32_t len = odd_len(i, sizeof(data) - at);
		struct iovec iov[2] = {{data + at, len / 2}, {data + at + len / 2, len - len / 2}};
		int status;

		if (i % 3 == 0)
			status = vly_send(w.core[CLIENT], link.client, data + at, len);
		else if (i % 3 == 1)
			status = vly_send_owned(w.core[CLIENT], link.client, data + at, len, data);
		else
			status = vly_sendv(w.core[CLIENT], link.client, iov, 2);
		if (status == -EAGAIN) {
			unsigned drained = seen(&w, link.client, VLY_DRAINED);

			pump_until(&w, seen(&w, link.client, VLY_DRAINED) > drained);
			i--;
			continue;
		}
		check_eq(status, 0);
		at += len;
	}
	pump_until(&w, got_bytes(&w, link.server) == sizeof(data));
	cr_assert(got_pattern(&w, link.server, 2, sizeof(data)));
	world_close(&w);
}

Test(owned, comes_back_when_the_peer_resets)
{
	struct world w;
	struct link link = world_open_link(&w);
	struct loan *loan = loan_new(&w);

	lend_until_stuck(&w, link, loan);
	check_eq(vly_abort(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED));
	check_eq(loan->returned, loan->lent);
	check_at_least(track_of(&w, link.client)->sent_errors, 1);
	check_at_most(track_of(&w, link.client)->closed_status, -1);
	world_close(&w);
	free(loan);
}

Test(owned, comes_back_when_we_abort)
{
	struct world w;
	struct link link = world_open_link(&w);
	struct loan *loan = loan_new(&w);

	lend_until_stuck(&w, link, loan);
	check_eq(vly_abort(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED));
	check_eq(loan->returned, loan->lent);
	check_at_least(track_of(&w, link.client)->sent_errors, 1);
	check_eq(track_of(&w, link.client)->closed_status, -ECONNABORTED);
	world_close(&w);
	free(loan);
}

Test(owned, is_sent_before_an_orderly_close_is_done)
{
	struct world w;
	struct link link = world_open_link(&w);
	struct loan *loan = loan_new(&w);

	lend(&w, CLIENT, link.client, loan, 100);
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.server, VLY_EOF));
	check_eq(vly_close(w.core[SERVER], link.server), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED));
	/* tracks_event() has refused any SENT after CLOSED */
	check_eq(loan->returned, loan->lent);
	check_eq(track_of(&w, link.client)->sent_errors, 0);
	cr_assert(got_pattern(&w, link.server, 4, loan->lent * PIECE_BYTES));
	world_close(&w);
	free(loan);
}

Test(owned, comes_back_with_an_error_when_the_close_times_out)
{
	struct world w;
	struct vly_config config;
	struct link link;
	struct loan *loan;

	world_config(&config, 2);
	config.close_timeout_ns = 50 * MSEC;
	world_open_config(&w, &config);
	world_listen(&w, SERVER, NULL, NULL);
	link = world_link(&w);
	loan = loan_new(&w);
	lend_until_stuck(&w, link, loan);
	check_eq(vly_close(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED));
	check_eq(track_of(&w, link.client)->closed_status, -ETIMEDOUT);
	check_eq(loan->returned, loan->lent);
	check_at_least(track_of(&w, link.client)->sent_errors, 1);
	world_close(&w);
	free(loan);
}

Test(owned, more_of_them_than_a_batch_holds_all_come_before_closed)
{
	struct world w;
	struct vly_config config;
	struct link link;

	world_config(&config, 2);
	config.events_max = 16;
	world_open_config(&w, &config);
	world_listen(&w, SERVER, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		link = world_link(&w);
		for (int j = 0; j < 100; j++)
			check_eq(vly_send_owned(w.core[CLIENT], link.client, "x", 1, NULL), 0);
		check_eq(vly_abort(w.core[i ? SERVER : CLIENT], i ? link.server : link.client), 0);
		if (i)
			world_poll(&w, SERVER, 0);
		/* tracks_event() refuses a SENT after CLOSED */
		pump_until(&w, seen(&w, link.client, VLY_CLOSED));
		check_eq(seen(&w, link.client, VLY_SENT), 100);
	}
	world_close(&w);
}

Test(owned, pieces_beyond_tx_refs_are_eagain_and_drained_follows)
{
	struct world w;
	struct vly_config config;
	struct link link;
	unsigned taken = 0;
	int status;

	world_config(&config, 2);
	config.tx_refs = 8;
	world_open_config(&w, &config);
	world_listen(&w, SERVER, NULL, NULL);
	link = world_link(&w);
	for (unsigned spell = 1; spell <= 10; spell++) {
		while (!(status = vly_send_owned(w.core[CLIENT], link.client, "z", 1, NULL)))
			cr_assert(++taken < 10000);
		check_eq(status, -EAGAIN);
		pump_until(&w, seen(&w, link.client, VLY_DRAINED) == spell);
		check_eq(seen(&w, link.client, VLY_SENT), taken);
	}
	check_at_most(taken, 80);
	pump_until(&w, got_bytes(&w, link.server) == taken);
	check_eq(world_stats(&w, CLIENT).tx_refs_free, 8);
	world_close(&w);
}

Test(owned, memory_may_be_constant_and_one_piece_be_lent_many_times)
{
	static const char text[] = "constant";
	struct world w;
	struct link link = world_open_link(&w), other = world_link(&w);

	for (int i = 0; i < 10; i++) {
		check_eq(vly_send_owned(w.core[CLIENT], link.client, text, 8, NULL), 0);
		check_eq(vly_send_owned(w.core[CLIENT], other.client, text, 8, NULL), 0);
	}
	pump_until(&w,
		   seen(&w, link.client, VLY_SENT) == 10 && seen(&w, other.client, VLY_SENT) == 10);
	pump_until(&w, got_bytes(&w, link.server) == 80 && got_bytes(&w, other.server) == 80);
	world_close(&w);
}
