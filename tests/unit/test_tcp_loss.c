/* test_tcp_loss.c - loss, order and windows: retransmission, SACK, RACK-TLP, persist, reassembly */
#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp_loss, .fini = vly_leak_gate);

#define MSS 1460u

/* Takes everything sent; the sequence numbers of data segments, relative to `base`. */
static unsigned take_all(uint32_t base, uint32_t *offsets, unsigned max)
{
	struct sent sent;
	unsigned count = 0;

	while (peer_take(&sent)) {
		if (!sent.view.payload_bytes)
			continue;
		cr_assert_lt(count, max);
		offsets[count++] = sent.view.seq - base;
	}
	return count;
}

static void peer_ack(struct rig *rig, struct peer *peer, uint32_t ack)
{
	peer->ack = ack;
	peer_send(peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(rig);
}

Test(tcp_loss, rto_of_200_ms_repeats_the_segment_and_doubles)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	rig_send(&rig, conn, 100);
	peer_expect(VLY_TCP_ACK);
	rig_pass(&rig, 195);
	peer_expect_nothing();
	rig_pass(&rig, 10);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.seq, peer.ack);
	rig_pass(&rig, 390);
	peer_expect_nothing();
	rig_pass(&rig, 20);
	struct sent sent = peer_expect(VLY_TCP_ACK);

	cr_assert_eq(sent.view.payload_bytes, 100);
	cr_assert(rig_pattern_is(sent.data, 0, 100));
	peer_ack(&rig, &peer, peer.ack + 100);
	cr_assert_eq(rig_tcp(&rig, conn)->head.tx_bytes, 0);
	rig_close(&rig);
}

Test(tcp_loss, rto_min_of_a_data_centre_is_5_ms)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "profile=dc");
	vly_conn conn = rig_accept(&rig, &peer);

	rig_send(&rig, conn, 100);
	peer_expect(VLY_TCP_ACK);
	rig_pass(&rig, 7);
	peer_expect(VLY_TCP_ACK);
	rig_close(&rig);
}

Test(tcp_loss, karn_takes_no_round_trip_from_what_was_sent_twice)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);
	uint32_t srtt = rig_tcp(&rig, conn)->srtt;

	rig_send(&rig, conn, 100);
	peer_expect(VLY_TCP_ACK);
	rig_pass(&rig, 250);
	peer_expect(VLY_TCP_ACK);
	peer_ack(&rig, &peer, peer.ack + 100);
	cr_assert_eq(rig_tcp(&rig, conn)->srtt, srtt);
	rig_close(&rig);
}

Test(tcp_loss, who_never_answers_is_given_up)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	rig_send(&rig, conn, 100);
	for (int i = 0; i < 2000 && !rig_event(&rig, VLY_CLOSED); i++) {
		rig_pass_by(&rig, 1000, 100);
		while (peer_take(&sent))
			;
	}
	cr_assert_not_null(rig_event(&rig, VLY_CLOSED));
	cr_assert_eq(rig_event(&rig, VLY_CLOSED)->status, -ETIMEDOUT);
	rig_close(&rig);
}

Test(tcp_loss, initial_window_is_ten_segments)
{
	uint32_t offsets[64];
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	rig_send(&rig, conn, 30 * MSS);
	rig_settle(&rig);
	cr_assert_eq(take_all(peer.ack, offsets, 64), 10);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(offsets[i], i * MSS);
	rig_close(&rig);
}

Test(tcp_loss, slow_start_doubles_per_round_trip)
{
	uint32_t offsets[64], base;
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	base = peer.ack;
	rig_send(&rig, conn, 40 * MSS);
	rig_settle(&rig);
	cr_assert_eq(take_all(base, offsets, 64), 10);
	for (unsigned i = 1; i <= 10; i++)
		peer_ack(&rig, &peer, base + i * MSS);
	cr_assert_eq(take_all(base, offsets, 64), 20);
	rig_close(&rig);
}

Test(tcp_loss, sack_repairs_a_hole_without_waiting_for_a_timer)
{
	uint32_t offsets[64], base;
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	base = peer.ack;
	rig_send(&rig, conn, 10 * MSS);
	rig_settle(&rig);
	cr_assert_eq(take_all(base, offsets, 64), 10);
	rig_pass(&rig, 1);
	/* the second is lost, three more come */
	peer_ack(&rig, &peer, base + MSS);
	peer_sack(&rig, &peer, (uint32_t[]){base + 2 * MSS, base + 3 * MSS}, 1);
	peer_sack(&rig, &peer, (uint32_t[]){base + 2 * MSS, base + 4 * MSS}, 1);
	peer_sack(&rig, &peer, (uint32_t[]){base + 2 * MSS, base + 5 * MSS}, 1);
	rig_pass(&rig, 2);
	cr_assert_eq(take_all(base, offsets, 64), 1);
	cr_assert_eq(offsets[0], MSS);
	cr_assert_eq(rig.inet->stats.tcp_rto, 0);
	cr_assert_eq(rig.inet->stats.tcp_fast_retransmit, 1);
	cr_assert_lt(rig_tcp(&rig, conn)->ssthresh, 10 * MSS);
	peer_ack(&rig, &peer, base + 10 * MSS);
	cr_assert_eq(rig_tcp(&rig, conn)->head.tx_bytes, 0);
	cr_assert_eq(rig.inet->tcp->sides.segs.free_count, rig.inet->tcp->sides.segs.count);
	rig_close(&rig);
}

Test(tcp_loss, three_duplicates_repair_a_hole_without_sack)
{
	uint32_t offsets[64], base;
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "sack=0");
	vly_conn conn = rig_accept(&rig, &peer);

	base = peer.ack;
	rig_send(&rig, conn, 10 * MSS);
	rig_settle(&rig);
	cr_assert_eq(take_all(base, offsets, 64), 10);
	peer_ack(&rig, &peer, base + MSS);
	peer_ack(&rig, &peer, base + MSS);
	peer_ack(&rig, &peer, base + MSS);
	cr_assert_eq(take_all(base, offsets, 64), 0);
	peer_ack(&rig, &peer, base + MSS);
	cr_assert_eq(take_all(base, offsets, 64), 1);
	cr_assert_eq(offsets[0], MSS);
	/* NewReno: a partial ACK shows the next hole */
	peer_ack(&rig, &peer, base + 5 * MSS);
	cr_assert_geq(take_all(base, offsets, 64), 1);
	cr_assert_eq(offsets[0], 5 * MSS);
	peer_ack(&rig, &peer, base + 10 * MSS);
	cr_assert_eq(rig_tcp(&rig, conn)->head.tx_bytes, 0);
	rig_close(&rig);
}

Test(tcp_loss, a_lost_tail_is_probed_before_the_timer)
{
	uint32_t offsets[64], base;
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	/* a round trip of 10 ms is known */
	base = peer.ack;
	rig_send(&rig, conn, 100);
	rig_pass(&rig, 10);
	take_all(base, offsets, 64);
	peer_ack(&rig, &peer, base + 100);
	base += 100;
	rig_send(&rig, conn, 3 * MSS);
	rig_settle(&rig);
	cr_assert_eq(take_all(base, offsets, 64), 3);
	rig_pass(&rig, 60);
	cr_assert_eq(take_all(base, offsets, 64), 1);
	cr_assert_eq(offsets[0], 2 * MSS);
	cr_assert_eq(rig.inet->stats.tcp_tlp, 1);
	cr_assert_eq(rig.inet->stats.tcp_rto, 0);
	rig_close(&rig);
}

Test(tcp_loss, reordering_within_its_window_is_no_loss)
{
	uint32_t offsets[64], base;
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	/* a round trip of 10 ms is known */
	base = peer.ack;
	for (int i = 0; i < 40; i++, base += 100) {
		rig_send(&rig, conn, 100);
		rig_pass(&rig, 10);
		take_all(base, offsets, 64);
		peer_ack(&rig, &peer, base + 100);
	}
	rig_send(&rig, conn, 2 * MSS);
	rig_settle(&rig);
	take_all(base, offsets, 64);
	rig_pass(&rig, 8);
	peer_sack(&rig, &peer, (uint32_t[]){base + MSS, base + 2 * MSS}, 1);
	cr_assert_eq(take_all(base, offsets, 64), 0);
	rig_pass(&rig, 1);
	peer_ack(&rig, &peer, base + 2 * MSS);
	rig_pass(&rig, 300);
	cr_assert_eq(take_all(base, offsets, 64), 0);
	cr_assert_eq(rig.inet->stats.tcp_retransmit, 0);
	rig_close(&rig);
}

Test(tcp_loss, after_a_timeout_everything_lost_is_sent_again_in_order)
{
	uint32_t offsets[64], base;
	struct rig rig;
	struct peer peer;
	unsigned sent = 0;

	rig_open(&rig, "sack=0");
	vly_conn conn = rig_accept(&rig, &peer);

	base = peer.ack;
	rig_send(&rig, conn, 10 * MSS);
	rig_settle(&rig);
	take_all(base, offsets, 64);
	rig_pass(&rig, 210);
	cr_assert_eq(take_all(base, offsets, 64), 1);
	cr_assert_eq(offsets[0], 0);
	for (unsigned i = 1; i <= 10; i++) {
		peer_ack(&rig, &peer, base + i * MSS);
		sent += take_all(base, offsets, 64);
	}
	cr_assert_eq(sent, 9);
	cr_assert_eq(rig_tcp(&rig, conn)->head.tx_bytes, 0);
	cr_assert_eq(rig_tcp(&rig, conn)->bits & VLY_TCP_B_SIDE, 0);
	rig_close(&rig);
}

Test(tcp_loss, shut_window_is_probed_and_opens)
{
	uint32_t offsets[64], base;
	struct rig rig;
	struct peer peer;
	unsigned probes = 0;
	struct sent sent;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	base = peer.ack;
	rig_send(&rig, conn, 100);
	take_all(base, offsets, 64);
	peer.window = 0;
	peer_ack(&rig, &peer, base + 100);
	rig_send(&rig, conn, 100);
	rig_pass(&rig, 2000);
	while (peer_take(&sent)) {
		cr_assert_eq(sent.view.payload_bytes, 0);
		cr_assert_eq(sent.view.seq, base + 99);
		probes++;
	}
	cr_assert_geq(probes, 2);
	cr_assert_leq(probes, 6);
	peer.window = 8192;
	peer_ack(&rig, &peer, base + 100);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.payload_bytes, 100);
	rig_close(&rig);
}

Test(tcp_loss, silly_windows_are_not_filled)
{
	uint32_t offsets[64], base;
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	base = peer.ack;
	peer.window = 23; /* by 2^7: 2944 bytes, two segments and 24 */
	peer_ack(&rig, &peer, base);
	rig_send(&rig, conn, 10 * MSS);
	rig_settle(&rig);
	peer_send(&peer, VLY_TCP_ACK, "x", 1);
	rig_settle(&rig);
	for (unsigned i = take_all(base, offsets, 64); i--;)
		cr_assert_eq(offsets[i] % MSS, 0);
	rig_close(&rig);
}

/* --- receiving --- */

Test(tcp_loss, out_of_order_data_is_kept_sacked_and_joined)
{
	static uint8_t bytes[3000];
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	peer_send_at(&peer, peer.seq + 2000, VLY_TCP_ACK, bytes + 2000, 1000);
	rig_settle(&rig);
	struct sent sent = peer_expect(VLY_TCP_ACK);

	cr_assert_eq(sent.view.ack, peer.seq);
	cr_assert_eq(sent.options.sack_count, 1);
	cr_assert_eq(sent.options.sack[0].from, peer.seq + 2000);
	cr_assert_eq(sent.options.sack[0].to, peer.seq + 3000);
	peer_send_at(&peer, peer.seq + 500, VLY_TCP_ACK, bytes + 500, 1000);
	rig_settle(&rig);
	sent = peer_expect(VLY_TCP_ACK);
	cr_assert_eq(sent.options.sack_count, 2);
	cr_assert_eq(sent.options.sack[0].from, peer.seq + 500, "the latest goes first");
	peer_send_at(&peer, peer.seq + 1400, VLY_TCP_ACK, bytes + 1400, 700); /* overlaps both */
	rig_settle(&rig);
	peer_expect(VLY_TCP_ACK);
	peer_send_at(&peer, peer.seq, VLY_TCP_ACK, bytes, 600);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.ack, peer.seq + 3000);
	cr_assert_eq(rig.got_len, 3000);
	cr_assert(rig_pattern_is(rig.got, 0, 3000));
	cr_assert_eq(rig.inet->tcp->sides.chunks.free_count, rig.inet->tcp->sides.chunks.count);
	cr_assert_eq(rig.inet->tcp->sides.slab.free_count, rig.inet->tcp->sides.slab.count);
	rig_close(&rig);
}

Test(tcp_loss, fin_that_overtakes_waits_for_the_data_before_it)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	peer_send_at(&peer, peer.seq + 4, VLY_TCP_ACK | VLY_TCP_FIN, "last", 4);
	rig_settle(&rig);
	cr_assert_eq(rig_count(&rig, VLY_EOF), 0);
	peer_send_at(&peer, peer.seq, VLY_TCP_ACK, "1st ", 4);
	rig_settle(&rig);
	cr_assert_eq(rig.got_len, 8);
	cr_assert(!memcmp(rig.got, "1st last", 8));
	cr_assert_eq(rig_count(&rig, VLY_EOF), 1);
	cr_assert_eq(rig_tcp(&rig, conn)->state, VLY_TCP_CLOSE_WAIT);
	rig_close(&rig);
}

Test(tcp_loss, reassembly_has_a_budget_and_says_what_it_drops)
{
	static uint8_t bytes[1400];
	struct rig rig;
	struct peer peer;
	struct sent sent;

	rig_open(&rig, "ooo=4");
	rig_accept(&rig, &peer);
	for (uint32_t i = 1; i < 20; i++) {
		peer_send_at(&peer, peer.seq + i * 2800, VLY_TCP_ACK, bytes, sizeof(bytes));
		rig_settle(&rig);
		while (peer_take(&sent))
			;
	}
	cr_assert_eq(rig.inet->stats.tcp_ooo_dropped, 15);
	peer_send(&peer, VLY_TCP_ACK, "alive", 5);
	rig_settle(&rig);
	cr_assert_eq(rig.got_len, 5);
	rig_close(&rig);
}

Test(tcp_loss, paused_reader_shuts_the_window_and_resuming_opens_it)
{
	static uint8_t bytes[1400];
	struct rig rig;
	struct peer peer;
	struct sent sent;
	uint32_t window = UINT32_MAX;

	rig_open(&rig, "window=8192");
	vly_conn conn = rig_accept(&rig, &peer);

	cr_assert_eq(vly_pause(rig.core, conn), 0);
	for (unsigned i = 0; i < 8 && window; i++) {
		peer_send(&peer, VLY_TCP_ACK, bytes, (uint32_t)VLY_MIN(sizeof(bytes), window));
		rig_settle(&rig);
		rig_pass(&rig, 50);
		while (peer_take(&sent))
			window = sent.view.window;
	}
	cr_assert_eq(rig.got_len, 0);
	cr_assert_lt(window, 1460);
	cr_assert_eq(vly_resume(rig.core, conn), 0);
	rig_settle(&rig);
	cr_assert_gt(rig.got_len, 6000);
	cr_assert(peer_take(&sent), "no window update");
	cr_assert_eq(sent.view.window, 8192);
	rig_close(&rig);
}

Test(tcp_loss, the_window_opens_by_steps_worth_a_segment)
{
	static uint8_t bytes[1400];
	struct vly_config config;
	struct rig rig;
	struct peer peer;
	struct sent sent;
	uint32_t window = 8192, edge = 0, steps = 0;

	rig_config(&config);
	config.burst_bytes = 200; /* of one connection in a batch: it is read slowly */
	rig_open_config(&rig, &config, "window=8192");
	vly_conn conn = rig_accept(&rig, &peer);

	cr_assert_eq(vly_pause(rig.core, conn), 0);
	for (unsigned i = 0; i < 8 && window; i++) {
		peer_send(&peer, VLY_TCP_ACK, bytes, (uint32_t)VLY_MIN(sizeof(bytes), window));
		rig_settle(&rig);
		while (peer_take(&sent)) {
			window = sent.view.window;
			edge = sent.view.ack + window;
		}
	}
	cr_assert_lt(window, 1460);
	cr_assert_eq(vly_resume(rig.core, conn), 0);
	for (unsigned i = 0; i < 100; i++) {
		rig_poll(&rig);
		while (peer_take(&sent)) {
			cr_assert_geq(sent.view.ack + sent.view.window - edge, 1460);
			edge = sent.view.ack + sent.view.window;
			steps++;
		}
	}
	cr_assert_gt(rig.got_len, 6000);
	cr_assert_geq(steps, 2);
	cr_assert_leq(steps, 4);
	rig_close(&rig);
}

Test(tcp_loss, an_edge_once_shown_never_moves_back)
{
	static uint8_t bytes[1400];
	struct rig rig;
	struct peer peer;
	struct sent sent;
	uint32_t edge = 0;

	rig_open(&rig, "window=1048576"); /* shown in units of 32 */
	vly_conn conn = rig_accept(&rig, &peer);

	cr_assert_eq(vly_pause(rig.core, conn), 0);
	for (unsigned i = 0; i < 60; i++) {
		peer_send(&peer, VLY_TCP_ACK, bytes, 1 + i * 23 % 1400);
		rig_settle(&rig);
		while (peer_take(&sent)) {
			uint32_t shown = sent.view.ack + ((uint32_t)sent.view.window << 5);

			cr_assert(!edge || !vly_seq_before(shown, edge), "back by %u",
				  edge - shown);
			edge = shown;
		}
	}
	cr_assert_neq(edge, 0);
	rig_close(&rig);
}

Test(tcp_loss, a_shut_window_still_takes_acks)
{
	static uint8_t bytes[1400];
	struct rig rig;
	struct peer peer;
	struct sent sent;
	uint32_t window = UINT32_MAX;

	rig_open(&rig, "window=4096");
	vly_conn conn = rig_accept(&rig, &peer);

	cr_assert_eq(vly_pause(rig.core, conn), 0);
	while (window) {
		peer_send(&peer, VLY_TCP_ACK, bytes, (uint32_t)VLY_MIN(sizeof(bytes), window));
		rig_settle(&rig);
		rig_pass(&rig, 50);
		while (peer_take(&sent))
			window = sent.view.window;
	}
	rig_send(&rig, conn, 100);
	peer.ack = peer_expect(VLY_TCP_ACK).view.seq + 100;
	peer_send_at(&peer, peer.seq + 12, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig_tcp(&rig, conn)->head.tx_bytes, 0);
	rig_close(&rig);
}

Test(tcp_loss, acks_of_whole_flights_let_the_window_grow)
{
	uint32_t offsets[64], base;
	struct rig rig;
	struct peer peer;
	unsigned count = 0;

	rig_open(&rig, "cc=newreno");
	vly_conn conn = rig_accept(&rig, &peer);
	struct vly_tcp *tcp = rig_tcp(&rig, conn);

	tcp->cwnd = 5 * MSS;
	tcp->ssthresh = 4 * MSS; /* congestion avoidance */
	for (unsigned i = 0; i < 10; i++) {
		base = peer.ack;
		rig_send(&rig, conn, 40 * MSS);
		rig_settle(&rig);
		count = take_all(base, offsets, 64);
		for (unsigned done = count; done < 40; done += take_all(base, offsets, 64))
			peer_ack(&rig, &peer, base + done * MSS);
		peer_ack(&rig, &peer, base + 40 * MSS);
	}
	cr_assert_geq(count, 10);
	rig_close(&rig);
}
