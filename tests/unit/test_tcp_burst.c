/* test_tcp_burst.c - how many frames a poll takes: half a burst while few wait, a whole one while many do */
#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp_burst, .fini = vly_leak_gate);

#define HALF 16
#define WHOLE 32

static void wait_on_the_wire(struct peer *peer, unsigned segments)
{
	for (unsigned i = 0; i < segments; i++) {
		peer_send_at(peer, peer->seq, VLY_TCP_ACK, "x", 1);
		peer->seq++;
	}
}

/* Frames that one poll takes. */
static uint64_t poll_takes(struct rig *rig)
{
	uint64_t before = rig->inet->stats.rx_frames;

	rig_clear(rig);
	rig_poll(rig);
	return rig->inet->stats.rx_frames - before;
}

static void begin(struct rig *rig, struct peer *peer, const char *options)
{
	struct vly_config config;

	rig_config(&config);
	config.events_max = 256;
	rig_open_config(rig, &config, options);
	rig_accept(rig, peer);
	rig_settle(rig);
}

Test(tcp_burst, few_frames_come_in_halves_so_that_their_sender_has_something_to_do)
{
	struct rig rig;
	struct peer peer;

	begin(&rig, &peer, "");
	for (int round = 0; round < 20; round++) {
		wait_on_the_wire(&peer, WHOLE);
		cr_assert_eq(poll_takes(&rig), HALF);
		cr_assert_eq(poll_takes(&rig), HALF);
		cr_assert_eq(poll_takes(&rig), 0);
	}
	rig_close(&rig);
}

Test(tcp_burst, while_many_wait_bursts_are_whole)
{
	struct rig rig;
	struct peer peer;

	begin(&rig, &peer, "");
	wait_on_the_wire(&peer, 4 * HALF + 2 * WHOLE + 1);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(poll_takes(&rig), HALF);
	cr_assert_eq(poll_takes(&rig), WHOLE);
	cr_assert_eq(poll_takes(&rig), WHOLE);
	cr_assert_eq(poll_takes(&rig), 1);
	wait_on_the_wire(&peer, WHOLE);
	cr_assert_eq(poll_takes(&rig), HALF, "few wait again");
	rig_close(&rig);
}

Test(tcp_burst, who_asks_for_large_batches_gets_whole_bursts)
{
	struct rig rig;
	struct peer peer;

	begin(&rig, &peer, "burst=64");
	wait_on_the_wire(&peer, 3 * WHOLE);
	cr_assert_eq(poll_takes(&rig), 2 * WHOLE);
	cr_assert_eq(poll_takes(&rig), WHOLE);
	rig_close(&rig);
}

#define TIGHT 8 /* frames whose events, two each, are all that a batch has room for */

/* One more connection to the listener of rig_accept(). */
static void accept_another(struct rig *rig, struct peer *peer, uint16_t port)
{
	peer_init(peer, port, 80);
	peer_send(peer, VLY_TCP_SYN, NULL, 0);
	rig_settle(rig);
	peer->ack = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK).view.seq + 1;
	peer_send(peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(rig);
}

Test(tcp_burst, a_slow_segment_that_keeps_to_its_share_of_the_batch_leaves_the_others_fast)
{
	static const uint8_t bytes[VLY_TCP_IN_PLACE + 1];
	struct vly_config config;
	struct peer peers[TIGHT];
	struct rig rig;

	rig_config(&config);
	config.events_max = 2 * TIGHT;
	rig_open_config(&rig, &config, "");
	rig_accept(&rig, &peers[0]);
	for (uint16_t i = 1; i < TIGHT; i++)
		accept_another(&rig, &peers[i], (uint16_t)(6000 + i));
	uint64_t before = rig.inet->stats.tcp_fast;

	/* longer than what is shown in place */
	peer_send(&peers[0], VLY_TCP_ACK, bytes, sizeof(bytes));
	for (unsigned i = 1; i < TIGHT; i++)
		peer_send(&peers[i], VLY_TCP_ACK, bytes, 64);
	cr_assert_eq(poll_takes(&rig), TIGHT);
	cr_assert_eq(rig_count(&rig, VLY_DATA), TIGHT);
	cr_assert_eq(rig.inet->stats.tcp_fast - before, TIGHT - 1);
	rig_close(&rig);
}
