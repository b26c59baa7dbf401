/* test_tcp_waiting.c - those who wait for a full wire: in their order, asked for once, and none forgotten */
#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp_waiting, .fini = vly_leak_gate);

#define PEERS 40u

struct crowd {
	struct rig rig;
	struct peer peer[PEERS];
	vly_conn conn[PEERS];
};

static void join(struct crowd *crowd, unsigned index)
{
	struct rig *rig = &crowd->rig;
	struct peer *peer = &crowd->peer[index];

	peer_init(peer, (uint16_t)(5000 + index), 80);
	peer->options = peer_syn_options;
	peer->options_len = sizeof(peer_syn_options);
	peer_send(peer, VLY_TCP_SYN, NULL, 0);
	peer->options_len = 0;
	rig_settle(rig);
	peer->ack = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK).view.seq + 1;
	rig_clear(rig);
	peer_send(peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(rig);
	crowd->conn[index] = rig_event(rig, VLY_OPEN)->conn;
	rig_clear(rig);
}

static struct crowd *crowd_open(void)
{
	struct crowd *crowd = calloc(1, sizeof(*crowd));

	cr_assert_not_null(crowd);
	rig_open(&crowd->rig, "");
	crowd->conn[0] = rig_accept(&crowd->rig, &crowd->peer[0]);
	for (unsigned i = 1; i < PEERS; i++)
		join(crowd, i);
	return crowd;
}

static void crowd_close(struct crowd *crowd)
{
	rig_close(&crowd->rig);
	free(crowd);
}

static void queue(struct crowd *crowd, unsigned index)
{
	cr_assert_eq(vly_send(crowd->rig.core, crowd->conn[index], "ping", 4), 0);
}

/* What was sent next is theirs. */
static void expect_from(unsigned index)
{
	struct sent sent = peer_expect(VLY_TCP_ACK);

	cr_assert_eq(sent.view.dst_port, 5000 + index, "%u, not %u", sent.view.dst_port,
		     5000 + index);
	cr_assert_eq(sent.view.payload_bytes, 4);
}

Test(tcp_waiting, all_go_in_their_order_once_there_is_room)
{
	struct crowd *crowd = crowd_open();

	hand.room = 0;
	for (unsigned i = 0; i < PEERS; i++)
		queue(crowd, i);
	rig_settle(&crowd->rig);
	peer_expect_nothing();
	hand.room = VLY_OUT_BURST;
	rig_poll(&crowd->rig);
	for (unsigned i = 0; i < PEERS; i++)
		expect_from(i);
	peer_expect_nothing();
	crowd_close(crowd);
}

Test(tcp_waiting, nobody_overtakes_them)
{
	struct crowd *crowd = crowd_open();

	hand.room = 0;
	for (unsigned i = 0; i < 4; i++)
		queue(crowd, i);
	rig_settle(&crowd->rig);
	for (unsigned i = 4; i < 8; i++)
		queue(crowd, i);
	hand.room = 2;
	rig_settle(&crowd->rig);
	for (unsigned i = 0; i < 8; i++)
		expect_from(i);
	peer_expect_nothing();
	crowd_close(crowd);
}

Test(tcp_waiting, a_full_wire_is_asked_once_and_not_by_each)
{
	struct crowd *crowd = crowd_open();

	hand.room = 0;
	for (unsigned i = 0; i < PEERS; i++)
		queue(crowd, i);
	hand.asked = 0;
	rig_poll(&crowd->rig);
	/* in the flush, and in the poll */
	cr_assert_leq(hand.asked, 2);
	hand.room = VLY_OUT_BURST;
	crowd_close(crowd);
}

/* Whose segments are several frames does not send others to the end. */
Test(tcp_waiting, long_queues_among_them_move_nobody_back)
{
	static const uint8_t bytes[8 * 1460];
	struct crowd *crowd = crowd_open();

	hand.room = 0;
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(vly_send(crowd->rig.core, crowd->conn[i], bytes, sizeof(bytes)), 0);
	rig_settle(&crowd->rig);
	hand.room = 4;
	/* a wire that takes one burst and is full again */
	rig_poll(&crowd->rig);
	uint16_t last = 0;
	struct sent sent;

	for (unsigned i = 0; i < 32; i++) {
		cr_assert(peer_take(&sent));
		cr_assert_geq(sent.view.dst_port, last);
		last = sent.view.dst_port;
	}
	peer_expect_nothing();
	crowd_close(crowd);
}

/* What a shut window keeps back carries no ACK, so time does. */
Test(tcp_waiting, an_ack_that_no_data_has_carried_comes_in_time)
{
	struct crowd *crowd = crowd_open();
	struct peer *peer = &crowd->peer[0];

	hand.room = 0;
	queue(crowd, 0);
	rig_settle(&crowd->rig);
	rig_tcp(&crowd->rig, crowd->conn[0])->snd_wnd = 0;
	peer->window = 0;
	peer_send(peer, VLY_TCP_ACK | VLY_TCP_PSH, "data", 4);
	rig_settle(&crowd->rig);
	peer_expect_nothing();
	hand.room = VLY_OUT_BURST;
	rig_pass(&crowd->rig, 60);
	struct sent sent = peer_expect(VLY_TCP_ACK);

	cr_assert_eq(sent.view.ack, peer->seq);
	cr_assert_eq(sent.view.payload_bytes, 0);
	crowd_close(crowd);
}
