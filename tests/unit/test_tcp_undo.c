/* test_tcp_undo.c - what was late and not lost: D-SACK both ways, cuts of the window given back */
#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp_undo, .fini = vly_leak_gate);

#define MSS 1460u

static void drain(void)
{
	struct sent sent;

	while (peer_take(&sent))
		;
}

/* The last segment that the stack has sent. */
static struct sent last_sent(void)
{
	struct sent sent;

	cr_assert(peer_take(&sent), "nothing was sent");
	while (peer_take(&sent))
		;
	return sent;
}

Test(tcp_undo, what_comes_twice_is_told_in_the_first_block)
{
	static const uint8_t data[100];
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	uint32_t seq = peer.seq;

	peer_send(&peer, VLY_TCP_ACK, data, sizeof(data));
	rig_settle(&rig);
	drain();
	peer_send_at(&peer, seq, VLY_TCP_ACK, data, sizeof(data));
	rig_settle(&rig);
	struct sent sent = last_sent();

	cr_assert_eq(sent.view.ack, seq + 100);
	cr_assert_eq(sent.options.sack_count, 1);
	cr_assert_eq(sent.options.sack[0].from, seq);
	cr_assert_eq(sent.options.sack[0].to, seq + 100);
	/* once: the next ACK has nothing of it */
	peer_send(&peer, VLY_TCP_ACK, data, sizeof(data));
	rig_settle(&rig);
	cr_assert_eq(last_sent().options.sack_count, 0);
	rig_close(&rig);
}

Test(tcp_undo, what_comes_twice_beyond_a_hole_is_told_before_the_range_it_lies_in)
{
	static const uint8_t data[300];
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	uint32_t seq = peer.seq + 1000;

	peer_send_at(&peer, seq, VLY_TCP_ACK, data, 300);
	rig_settle(&rig);
	drain();
	peer_send_at(&peer, seq + 100, VLY_TCP_ACK, data, 100);
	rig_settle(&rig);
	struct sent sent = last_sent();

	cr_assert_eq(sent.view.ack, peer.seq);
	cr_assert_eq(sent.options.sack_count, 2);
	cr_assert_eq(sent.options.sack[0].from, seq + 100);
	cr_assert_eq(sent.options.sack[0].to, seq + 200);
	cr_assert_eq(sent.options.sack[1].from, seq);
	cr_assert_eq(sent.options.sack[1].to, seq + 300);
	rig_close(&rig);
}

Test(tcp_undo, nobody_is_told_who_does_not_understand_sack)
{
	static const uint8_t data[100];
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "sack=0");
	rig_accept(&rig, &peer);
	uint32_t seq = peer.seq;

	peer_send(&peer, VLY_TCP_ACK, data, sizeof(data));
	peer_send_at(&peer, seq, VLY_TCP_ACK, data, sizeof(data));
	rig_settle(&rig);
	cr_assert_eq(last_sent().options.sack_count, 0);
	rig_close(&rig);
}

/* Ten segments, of which the first comes late: it is sent again, five more follow, and all ten are acknowledged. */
static uint32_t first_of_ten_is_sent_again(struct rig *rig, struct peer *peer, vly_conn conn)
{
	uint32_t base = peer->ack, cwnd = rig_tcp(rig, conn)->cwnd;
	const uint32_t rest[] = {base + MSS, base + 10 * MSS};

	rig_send(rig, conn, 10 * MSS);
	rig_settle(rig);
	drain();
	rig_pass(rig, 1);
	peer_sack(rig, peer, rest, 1);
	rig_pass(rig, 1);
	cr_assert_eq(rig->inet->stats.tcp_fast_retransmit, 1);
	cr_assert_eq(rig->inet->stats.tcp_retransmit, 1);
	rig_send(rig, conn, 5 * MSS);
	rig_settle(rig);
	peer->ack = base + 10 * MSS;
	peer_send(peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(rig);
	drain();
	cr_assert_lt(rig_tcp(rig, conn)->cwnd, cwnd);
	return cwnd;
}

Test(tcp_undo, a_cut_is_given_back_when_all_that_was_sent_again_came_twice)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);
	uint32_t base = peer.ack, cwnd = first_of_ten_is_sent_again(&rig, &peer, conn);
	const uint32_t twice[] = {base, base + MSS};

	peer_sack(&rig, &peer, twice, 1);
	cr_assert_eq(rig.inet->stats.tcp_undo, 1);
	cr_assert_eq(rig.inet->stats.tcp_spurious, 1);
	cr_assert_geq(rig_tcp(&rig, conn)->cwnd, cwnd);
	cr_assert_eq(rig_tcp(&rig, conn)->ssthresh, UINT32_MAX);
	/* and only once */
	peer_sack(&rig, &peer, twice, 1);
	cr_assert_eq(rig.inet->stats.tcp_undo, 1);
	rig_close(&rig);
}

Test(tcp_undo, a_cut_for_a_real_loss_stays)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);
	uint32_t base = peer.ack, cwnd = first_of_ten_is_sent_again(&rig, &peer, conn);
	/* of an ACK that was overtaken: what it reports was not acknowledged when it was sent */
	const uint32_t old[] = {base + 4 * MSS, base + 5 * MSS};

	peer.ack = base;
	peer_sack(&rig, &peer, old, 1);
	cr_assert_eq(rig.inet->stats.tcp_spurious, 0);
	cr_assert_eq(rig.inet->stats.tcp_undo, 0);
	cr_assert_lt(rig_tcp(&rig, conn)->cwnd, cwnd);
	rig_close(&rig);
}

Test(tcp_undo, one_of_two_that_came_twice_gives_nothing_back)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);
	uint32_t base = peer.ack;
	const uint32_t rest[] = {base + 2 * MSS, base + 10 * MSS}, twice[] = {base, base + MSS};

	rig_send(&rig, conn, 10 * MSS);
	rig_settle(&rig);
	rig_pass(&rig, 1);
	peer_sack(&rig, &peer, rest, 1);
	rig_pass(&rig, 1);
	cr_assert_eq(rig.inet->stats.tcp_retransmit, 2);
	rig_send(&rig, conn, 5 * MSS);
	peer.ack = base + 10 * MSS;
	peer_sack(&rig, &peer, twice, 1);
	cr_assert_eq(rig.inet->stats.tcp_spurious, 1);
	cr_assert_eq(rig.inet->stats.tcp_undo, 0);
	drain();
	rig_close(&rig);
}

/* As rig_accept(), with timestamps. */
static vly_conn accept_with_times(struct rig *rig, struct peer *peer)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 4, 0, 0, 0, 0, 0};
	struct vly_addr addr;
	vly_conn listener;

	cr_assert_eq(vly_addr_parse("10.0.0.1:80", &addr), 0);
	cr_assert_eq(vly_listen(rig->core, &addr, NULL, NULL, &listener), 0);
	peer_init(peer, 5000, 80);
	peer->options = options;
	peer->options_len = sizeof(options);
	peer_send(peer, VLY_TCP_SYN, NULL, 0);
	rig_settle(rig);
	struct sent sent = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK);

	peer->options_len = 0;
	peer->ts = true;
	peer->ts_value = 0x401;
	peer->ts_echo = sent.options.ts_value;
	peer->ack = sent.view.seq + 1;
	peer_send(peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(rig);
	return rig_event(rig, VLY_OPEN)->conn;
}

/* A path that stands still for longer than the timer: Eifel, RFC 3522. */
static void stand_still(struct rig *rig, struct peer *peer, vly_conn conn, bool answers_original)
{
	uint32_t base = peer->ack;
	struct sent sent;

	rig_send(rig, conn, 8 * MSS);
	rig_settle(rig);
	cr_assert(peer_take(&sent));
	uint32_t original = sent.options.ts_value;

	drain();
	rig_pass(rig, 400);
	cr_assert_geq(rig->inet->stats.tcp_rto, 1);
	sent = last_sent();
	cr_assert_lt(rig_tcp(rig, conn)->cwnd, 8 * MSS);
	peer->ack = base + MSS;
	peer->ts_echo = answers_original ? original : sent.options.ts_value;
	peer_send(peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(rig);
}

Test(tcp_undo, a_timeout_is_undone_when_the_original_is_answered)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = accept_with_times(&rig, &peer);
	uint32_t cwnd = rig_tcp(&rig, conn)->cwnd;

	stand_still(&rig, &peer, conn, true);
	cr_assert_eq(rig.inet->stats.tcp_undo, 1);
	cr_assert_geq(rig_tcp(&rig, conn)->cwnd, cwnd);
	cr_assert_eq(vly_tcp_side(rig.inet, rig_tcp(&rig, conn))->lost, 0);
	drain();
	rig_close(&rig);
}

Test(tcp_undo, a_timeout_stays_when_what_was_sent_again_is_answered)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = accept_with_times(&rig, &peer);

	stand_still(&rig, &peer, conn, false);
	cr_assert_eq(rig.inet->stats.tcp_undo, 0);
	cr_assert_lt(rig_tcp(&rig, conn)->cwnd, 8 * MSS);
	drain();
	rig_close(&rig);
}
