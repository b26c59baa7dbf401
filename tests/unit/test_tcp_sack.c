/* test_tcp_sack.c - many holes at once: answers to what came early, a scoreboard of runs, a peer that reneges */
#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp_sack, .fini = vly_leak_gate);

#define MSS 1460u

/* --- receiving --- */

static void send_early(struct peer *peer, uint32_t offset, uint32_t len)
{
	static const uint8_t bytes[MSS];

	peer_send_at(peer, peer->seq + offset, VLY_TCP_ACK, bytes, len);
}

static unsigned count_acks(struct sent *last)
{
	unsigned count = 0;

	while (peer_take(last))
		count++;
	return count;
}

Test(tcp_sack, early_segments_of_one_burst_that_follow_each_other_are_answered_once)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	for (uint32_t i = 1; i <= 8; i++)
		send_early(&peer, i * 1000, 1000);
	rig_settle(&rig);
	cr_assert_eq(count_acks(&sent), 1);
	cr_assert_eq(sent.view.ack, peer.seq);
	cr_assert_eq(sent.options.sack_count, 1);
	cr_assert_eq(sent.options.sack[0].from, peer.seq + 1000);
	cr_assert_eq(sent.options.sack[0].to, peer.seq + 9000);
	/* the next burst has its own */
	send_early(&peer, 9000, 1000);
	rig_settle(&rig);
	cr_assert_eq(count_acks(&sent), 1);
	cr_assert_eq(sent.options.sack[0].to, peer.seq + 10000);
	rig_close(&rig);
}

Test(tcp_sack, each_range_of_a_burst_is_the_first_of_an_answer)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	for (uint32_t i = 1; i <= 6; i++) {
		send_early(&peer, i * 10000, 500);
		send_early(&peer, i * 10000 + 500, 500);
	}
	rig_settle(&rig);
	for (uint32_t i = 1; i <= 6; i++) {
		sent = peer_expect(VLY_TCP_ACK);
		cr_assert_eq(sent.options.sack[0].from, peer.seq + i * 10000);
		cr_assert_eq(sent.options.sack[0].to, peer.seq + i * 10000 + 1000);
	}
	peer_expect_nothing();
	rig_close(&rig);
}

Test(tcp_sack, who_does_not_understand_it_gets_an_answer_for_each)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4};
	struct rig rig;
	struct peer peer;
	struct sent sent;

	rig_open(&rig, "");
	rig_syn(&rig, &peer, 1000, options, sizeof(options));
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	for (uint32_t i = 1; i <= 3; i++)
		send_early(&peer, i * 1000, 1000);
	rig_settle(&rig);
	cr_assert_eq(count_acks(&sent), 3, "three duplicates tell of a loss");
	rig_close(&rig);
}

Test(tcp_sack, a_gap_that_closes_within_the_burst_is_answered_with_all_of_it)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	send_early(&peer, 1000, 1000);
	send_early(&peer, 0, 1000);
	rig_settle(&rig);
	cr_assert_geq(count_acks(&sent), 1);
	cr_assert_eq(sent.view.ack, peer.seq + 2000);
	cr_assert_eq(sent.options.sack_count, 0);
	rig_close(&rig);
}

/* --- sending --- */

/* Ten segments under way; the number of the first. */
static uint32_t ten_under_way(struct rig *rig, struct peer *peer, vly_conn *conn)
{
	struct sent sent;

	rig_open(rig, "");
	*conn = rig_accept(rig, peer);
	rig_send(rig, *conn, 10 * MSS);
	rig_settle(rig);
	cr_assert_eq(count_acks(&sent), 10);
	rig_pass(rig, 1);
	return peer->ack;
}

Test(tcp_sack, what_the_peer_has_is_one_segment_however_long)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;
	vly_conn conn;
	uint32_t base = ten_under_way(&rig, &peer, &conn);
	const struct vly_side *side = vly_tcp_side(rig.inet, rig_tcp(&rig, conn));

	for (uint32_t i = 2; i < 10; i++) {
		const uint32_t edges[] = {base + MSS, base + i * MSS};

		peer_sack(&rig, &peer, edges, 1);
	}
	cr_assert_eq(side->sacked, 8 * MSS);
	cr_assert_eq(side->seg_count, 3, "the lost one, a run, and the last");
	/* the first is repaired, and all goes home */
	rig_pass(&rig, 2);
	sent = peer_expect(VLY_TCP_ACK);
	cr_assert_eq(sent.view.seq, base);
	peer.ack = base + 10 * MSS;
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig_tcp(&rig, conn)->head.tx_bytes, 0);
	cr_assert_eq(rig.inet->tcp->sides.segs.free_count, rig.inet->tcp->sides.segs.count);
	rig_close(&rig);
}

Test(tcp_sack, blocks_in_any_order_are_found)
{
	struct rig rig;
	struct peer peer;
	vly_conn conn;
	uint32_t base = ten_under_way(&rig, &peer, &conn);
	const struct vly_side *side = vly_tcp_side(rig.inet, rig_tcp(&rig, conn));
	const uint32_t three[] = {base + 8 * MSS, base + 9 * MSS, base + 2 * MSS,
				  base + 3 * MSS, base + 5 * MSS, base + 6 * MSS};
	const uint32_t joins[] = {base + 2 * MSS, base + 6 * MSS, base + 8 * MSS, base + 10 * MSS};

	peer_sack(&rig, &peer, three, 3);
	cr_assert_eq(side->sacked, 3 * MSS);
	cr_assert_eq(side->seg_count, 10);
	peer_sack(&rig, &peer, joins, 2);
	cr_assert_eq(side->sacked, 6 * MSS);
	cr_assert_eq(side->seg_count, 6, "two before, a run of four, two, a run of two");
	rig_close(&rig);
}

Test(tcp_sack, who_gives_up_what_it_had_is_sent_it_again)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;
	vly_conn conn;
	uint32_t base = ten_under_way(&rig, &peer, &conn);
	const uint32_t rest[] = {base + MSS, base + 10 * MSS};

	peer_sack(&rig, &peer, rest, 1);
	rig_pass(&rig, 2);
	cr_assert_eq(count_acks(&sent), 1, "the first goes again");
	/* it comes; but what was reported is not there any more */
	peer.ack = base + MSS;
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	peer_expect_nothing();
	for (unsigned ms = 0; ms < 5000 && peer.ack != base + 10 * MSS; ms++) {
		rig_pass(&rig, 1);
		while (peer_take(&sent)) {
			cr_assert_leq(sent.view.payload_bytes, MSS);
			if (sent.view.seq != peer.ack)
				continue;
			peer.ack += sent.view.payload_bytes;
			peer_send(&peer, VLY_TCP_ACK, NULL, 0);
		}
	}
	rig_settle(&rig);
	cr_assert_eq(peer.ack, base + 10 * MSS);
	cr_assert_eq(rig_tcp(&rig, conn)->head.tx_bytes, 0);
	rig_close(&rig);
}

/* --- what tells of loss, and what does not --- */

/* An ACK of a peer with timestamps, with a block unless that is empty. */
static void tell_at(struct rig *rig, struct peer *peer, uint32_t echo, uint32_t from, uint32_t to)
{
	uint8_t options[24] = {1, 1, 8, 10};
	const uint32_t words[4] = {htonl(peer->ts_value), htonl(echo), htonl(from), htonl(to)};

	memcpy(options + 4, words, 8);
	memcpy(options + 12, "\1\1\5\12", 4);
	memcpy(options + 16, words + 2, 8);
	peer->options = options;
	peer->options_len = from == to ? 12 : 24;
	peer_send(peer, VLY_TCP_ACK, NULL, 0);
	peer->options_len = 0;
	rig_settle(rig);
}

/* A connection with timestamps and SACK. */
static vly_conn accept_with_times(struct rig *rig, struct peer *peer)
{
	/* MSS 1460, SACK, time 1, window scale 7 */
	static const uint8_t options[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0,
					  0, 1, 0, 0,    0, 0, 1, 3,  3, 7};
	struct sent sent = rig_syn(rig, peer, 1000, options, sizeof(options));

	peer->window = 8192;
	peer->ts_value = 1;
	tell_at(rig, peer, sent.options.ts_value, 0, 0);
	cr_assert_not_null(rig_event(rig, VLY_OPEN));
	return rig_event(rig, VLY_OPEN)->conn;
}

/*
 * A queue makes the path 20 times as long as it was. The first of ten is late and sent again; what answers then
 * is the first one's own arrival, and soon. Taken for an answer to the second, all others would be lost.
 */
Test(tcp_sack, an_answer_to_the_first_is_not_taken_for_one_to_the_second)
{
	const uint32_t mss = MSS - VLY_TCP_TS_BYTES;
	struct rig rig;
	struct peer peer;
	struct sent sent;

	rig_open(&rig, "");
	vly_conn conn = accept_with_times(&rig, &peer);
	uint32_t base = peer.ack, echo = vly_tcp_ts_now(rig.inet);

	/* a round trip of 1 ms; the second of two stays under way, and the scoreboard with it */
	rig_send(&rig, conn, 2 * mss);
	rig_settle(&rig);
	rig_pass(&rig, 1);
	peer.ack = base += mss;
	tell_at(&rig, &peer, echo, 0, 0);
	cr_assert_neq(vly_tcp_side(rig.inet, rig_tcp(&rig, conn))->min_rtt, 0);
	/* a flight, and 20 ms later its second is the first to arrive */
	echo = vly_tcp_ts_now(rig.inet);
	rig_send(&rig, conn, 9 * mss);
	rig_settle(&rig);
	cr_assert_eq(count_acks(&sent), 11);
	rig_pass(&rig, 20);
	count_acks(&sent); /* a tail-loss probe, maybe */
	tell_at(&rig, &peer, echo, base + mss, base + 2 * mss);
	tell_at(&rig, &peer, echo, base + mss, base + 3 * mss);
	tell_at(&rig, &peer, echo, base + mss, base + 4 * mss);
	rig_pass(&rig, 2);
	cr_assert_geq(count_acks(&sent), 1);
	uint64_t before = rig.inet->stats.tcp_retransmit;

	rig_pass(&rig, 3);
	peer.ack = base + mss;
	tell_at(&rig, &peer, echo, base + mss, base + 4 * mss);
	rig_pass(&rig, 1);
	cr_assert_eq(rig.inet->stats.tcp_retransmit, before);
	cr_assert_eq(vly_tcp_side(rig.inet, rig_tcp(&rig, conn))->lost, 0);
	rig_close(&rig);
}

Test(tcp_sack, no_round_trip_is_measured_shorter_than_it_was)
{
	struct rig rig;
	struct peer peer;
	vly_conn conn;
	uint32_t base = ten_under_way(&rig, &peer, &conn);
	const uint32_t edges[] = {base + 8 * MSS, base + 9 * MSS};

	/* the core is taken off its CPU for 7 ms between its look at the clock and the arrival of the ACK */
	hand.slow_ns = 7 * MS;
	peer_sack(&rig, &peer, edges, 1);
	hand.slow_ns = 0;
	cr_assert_geq(vly_tcp_side(rig.inet, rig_tcp(&rig, conn))->min_rtt, vly_tick_of(8 * MS));
	rig.now_ns = vly_clock_ns();
	rig_close(&rig);
}

Test(tcp_sack, the_reordering_window_grows_wherever_the_numbers_stand)
{
	static const uint32_t starts[] = {0x10000000u, 0x7ffffff0u, 0x90000000u, 0xfffff000u};

	for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
		struct rig rig;
		struct peer peer;
		struct sent sent;

		rig_open(&rig, "");
		vly_conn conn = rig_accept(&rig, &peer);
		struct vly_tcp *tcp = rig_tcp(&rig, conn);

		tcp->snd_una = tcp->snd_nxt = peer.ack = starts[i];
		rig_send(&rig, conn, 10 * MSS);
		rig_settle(&rig);
		cr_assert_eq(count_acks(&sent), 10);
		rig_pass(&rig, 1);
		const uint32_t twice[] = {starts[i], starts[i] + MSS};

		peer.ack = starts[i] + 2 * MSS;
		peer_sack(&rig, &peer, twice, 1);
		cr_assert_eq(vly_tcp_side(rig.inet, tcp)->reo_mult, 2);
		/* once in a round trip */
		peer_sack(&rig, &peer, twice, 1);
		cr_assert_eq(vly_tcp_side(rig.inet, tcp)->reo_mult, 2);
		rig_close(&rig);
	}
}
