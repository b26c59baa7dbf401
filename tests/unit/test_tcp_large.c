/* test_tcp_large.c - long segments for a wire that cuts them: what it gets, and that each piece is kept account of */
#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp_large, .fini = vly_leak_gate);

#define MSS 1460u

/* A connection over a wire that cuts segments of up to so many frames. */
static vly_conn open_cutting(struct rig *rig, struct peer *peer, uint16_t pieces)
{
	rig_open(rig, "");
	hand.wire.caps |= VLY_WIRE_TX_CHECKSUM | VLY_WIRE_TSO;
	hand.wire.tso_bytes = CUTTER_BYTES;
	hand.wire.tso_pieces = pieces;
	return rig_accept(rig, peer);
}

/* All of `len` bytes from `seq` on have come, once and in their order, in so many segments. */
static void expect_stream(struct peer *peer, uint32_t len, unsigned segments)
{
	uint32_t at = 0;

	for (; segments; segments--) {
		struct sent sent = peer_expect(VLY_TCP_ACK);

		cr_assert_eq(sent.view.seq, peer->ack + at);
		cr_assert_leq(sent.view.payload_bytes, MSS);
		cr_assert(rig_pattern_is(sent.data, at, sent.view.payload_bytes));
		at += sent.view.payload_bytes;
		cr_assert_eq(!!(sent.view.flags & VLY_TCP_PSH), at == len);
	}
	cr_assert_eq(at, len);
	peer_expect_nothing();
}

Test(tcp_large, full_segments_that_follow_each_other_become_one)
{
	struct rig rig;
	struct peer peer;
	vly_conn conn = open_cutting(&rig, &peer, 32);

	rig_send(&rig, conn, 9 * MSS + 100);
	cr_assert_eq(hand.cut, 1);
	cr_assert_eq(hand.pieces, 10);
	cr_assert_eq(rig.inet->stats.tcp_large, 1);
	expect_stream(&peer, 9 * MSS + 100, 10);
	peer.ack += 9 * MSS + 100;
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	peer_expect_nothing();
	rig_close(&rig);
}

Test(tcp_large, one_segment_is_sent_as_ever)
{
	struct rig rig;
	struct peer peer;
	vly_conn conn = open_cutting(&rig, &peer, 32);

	rig_send(&rig, conn, MSS);
	expect_stream(&peer, MSS, 1);
	cr_assert_eq(hand.cut, 0);
	rig_close(&rig);
}

Test(tcp_large, a_wire_that_does_not_cut_gets_segments)
{
	struct rig rig;
	struct peer peer;
	vly_conn conn = open_cutting(&rig, &peer, 32);

	hand.wire.caps &= ~(uint32_t)VLY_WIRE_TSO;
	rig_send(&rig, conn, 5 * MSS);
	expect_stream(&peer, 5 * MSS, 5);
	cr_assert_eq(hand.cut, 0);
	rig_close(&rig);
}

Test(tcp_large, it_is_no_longer_than_the_wire_takes)
{
	for (unsigned by_bytes = 0; by_bytes < 2; by_bytes++) {
		struct rig rig;
		struct peer peer;
		vly_conn conn = open_cutting(&rig, &peer, by_bytes ? 32 : 3);

		if (by_bytes)
			hand.wire.tso_bytes = 54 + 3 * MSS + MSS - 1;
		rig_send(&rig, conn, 8 * MSS);
		cr_assert_eq(hand.cut, 3); /* 3, 3, 2 */
		cr_assert_eq(hand.pieces, 8);
		expect_stream(&peer, 8 * MSS, 8);
		rig_close(&rig);
	}
}

Test(tcp_large, it_ends_with_the_frames_that_were_lent)
{
	struct rig rig;
	struct peer peer;
	vly_conn conn = open_cutting(&rig, &peer, 32);

	hand.room = 4;
	rig_send(&rig, conn, 10 * MSS);
	rig_settle(&rig);
	cr_assert_eq(hand.cut, 3); /* 4, 4, 2 */
	expect_stream(&peer, 10 * MSS, 10);
	rig_close(&rig);
}

Test(tcp_large, the_window_bounds_it)
{
	struct rig rig;
	struct peer peer;
	vly_conn conn = open_cutting(&rig, &peer, 32);

	rig_tcp(&rig, conn)->snd_wnd = 5 * MSS - 1;
	rig_send(&rig, conn, 10 * MSS);
	cr_assert_eq(hand.cut, 1);
	cr_assert_eq(hand.pieces, 4, "%u", hand.pieces);
	rig_close(&rig);
}

Test(tcp_large, a_fin_goes_with_the_last_piece_alone)
{
	struct rig rig;
	struct peer peer;
	vly_conn conn = open_cutting(&rig, &peer, 32);
	static const uint8_t bytes[3 * MSS];

	cr_assert_eq(vly_send(rig.core, conn, bytes, sizeof(bytes)), 0);
	cr_assert_eq(vly_shutdown(rig.core, conn), 0);
	rig_poll(&rig);
	cr_assert_eq(hand.cut, 1);
	(void)peer_expect(VLY_TCP_ACK);
	(void)peer_expect(VLY_TCP_ACK);
	struct sent last = peer_expect(VLY_TCP_ACK | VLY_TCP_FIN);

	cr_assert_eq(last.view.payload_bytes, MSS);
	peer_expect_nothing();
	rig_close(&rig);
}

Test(tcp_large, a_piece_that_is_lost_is_sent_again_alone)
{
	struct rig rig;
	struct peer peer;
	vly_conn conn = open_cutting(&rig, &peer, 32);

	rig_send(&rig, conn, 10 * MSS);
	expect_stream(&peer, 10 * MSS, 10);
	cr_assert_eq(hand.cut, 1);
	/* all but the third */
	uint32_t start = peer.ack, edges[] = {start + 3 * MSS, start + 10 * MSS};

	peer.ack = start + 2 * MSS;
	peer_sack(&rig, &peer, edges, 1);
	rig_pass(&rig, 5);
	struct sent again = peer_expect(VLY_TCP_ACK);

	cr_assert_eq(again.view.seq, start + 2 * MSS);
	cr_assert_eq(again.view.payload_bytes, MSS);
	cr_assert(rig_pattern_is(again.data, 2 * MSS, MSS));
	peer_expect_nothing();
	cr_assert_eq(hand.cut, 1);
	rig_close(&rig);
}

Test(tcp_large, what_goes_to_our_own_address_is_cut_by_us)
{
	struct rig rig;
	struct peer peer;
	vly_conn conn = open_cutting(&rig, &peer, 32);

	memcpy(rig.inet->hops.table[rig_tcp(&rig, conn)->hop].eth, hand.wire.mac, 6);
	rig_send(&rig, conn, 5 * MSS);
	expect_stream(&peer, 5 * MSS, 5);
	cr_assert_eq(hand.cut, 0);
	rig_close(&rig);
}

Test(tcp_large, a_wire_may_bound_the_pieces)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	hand.wire.tso_mss = 1446;
	cr_assert_eq(rig_tcp(&rig, rig_accept(&rig, &peer))->mss, 1446);
	rig_close(&rig);
}
