/* test_tcp_neighbour.c - what is not answered makes TCP doubt where its neighbour is; what is answered does not */
#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp_neighbour, .fini = vly_leak_gate);

/* Whether the last frame that was sent went to where the peer is now. */
static bool last_reached_it(void)
{
	return hand.out[(hand.out_tail - 1) % HAND_FRAMES].data[5] ==
	       (hand_peer_mac[5] ^ hand.moved);
}

/* Who starts again with another network card does not wait until its entry has aged. */
Test(tcp_neighbour, a_peer_with_a_new_address_is_found_when_segments_time_out)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	rig_pass(&rig, 1200);
	hand.moved = true;
	rig_send(&rig, conn, 100);
	cr_assert_not(last_reached_it());
	rig_pass(&rig, 4000);
	cr_assert(last_reached_it());
	rig_close(&rig);
}

/* The peer takes something, and no more; the rest waits for its window. */
static void shut_window(struct rig *rig, struct peer *peer, vly_conn conn)
{
	rig_send(rig, conn, 100);
	peer_expect(VLY_TCP_ACK);
	peer->ack += 100;
	peer->window = 0;
	peer_send(peer, VLY_TCP_ACK, NULL, 0);
	rig_pass(rig, 1200);
}

Test(tcp_neighbour, a_peer_with_a_new_address_is_found_by_probes_of_its_shut_window)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	shut_window(&rig, &peer, conn);
	hand.moved = true;
	rig_send(&rig, conn, 100);
	rig_pass(&rig, 10000);
	cr_assert_gt(rig.inet->stats.tcp_persist, 1);
	cr_assert(last_reached_it());
	rig_close(&rig);
}

Test(tcp_neighbour, a_probe_of_a_window_that_is_answered_raises_no_doubt)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	shut_window(&rig, &peer, conn);
	uint64_t asked = rig.inet->stats.arp_asked;

	rig_send(&rig, conn, 100);
	for (int i = 0; i < 20; i++) {
		rig_pass(&rig, 500);
		while (peer_take(&sent))
			peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	}
	cr_assert_gt(rig.inet->stats.tcp_persist, 3);
	cr_assert_eq(rig.inet->stats.arp_asked, asked);
	rig_close(&rig);
}

Test(tcp_neighbour, a_peer_with_a_new_address_is_found_by_keepalives)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "keepalive=10");
	rig_accept(&rig, &peer);
	rig_pass_by(&rig, 2000, 100);
	hand.moved = true;
	/* three probes; an entry that nobody doubts would serve for a minute */
	rig_pass_by(&rig, 45000, 100);
	cr_assert(last_reached_it());
	rig_close(&rig);
}

/* It sends nothing of its own, but it is there. */
Test(tcp_neighbour, keepalives_that_are_answered_keep_the_connection_and_raise_no_doubt)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;
	uint64_t asked;

	rig_open(&rig, "keepalive=5");
	rig_accept(&rig, &peer);
	rig_pass_by(&rig, 2000, 100);
	asked = rig.inet->stats.arp_asked;
	for (int i = 0; i < 1000; i++) {
		rig_pass_by(&rig, 100, 100);
		while (peer_take(&sent))
			peer_send(&peer, VLY_TCP_ACK, NULL, 0);
		if (i == 500) /* its entry's time is a minute */
			cr_assert_eq(rig.inet->stats.arp_asked, asked);
	}
	cr_assert_gt(rig.inet->stats.tcp_keepalive, 2 * VLY_TCP_KEEPALIVE_PROBES);
	cr_assert_null(rig_event(&rig, VLY_CLOSED));
	rig_close(&rig);
}

Test(tcp_neighbour, a_peer_with_a_new_address_is_found_by_its_syn_acks)
{
	struct rig rig;
	struct peer peer, other;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	rig_pass(&rig, 1200);
	hand.moved = true;
	peer_init(&other, 6000, 80);
	peer_send(&other, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	peer_expect(VLY_TCP_SYN | VLY_TCP_ACK);
	cr_assert_not(last_reached_it());
	rig_pass_by(&rig, 8000, 100);
	cr_assert(last_reached_it());
	rig_close(&rig);
}
