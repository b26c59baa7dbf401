/* test_tcp_guard.c - what others try: blind segments, floods, lying options, exhausted tables */
#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp_guard, .fini = vly_leak_gate);

Test(tcp_guard, reset_with_the_exact_number_ends_the_connection)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	peer_send(&peer, VLY_TCP_RST, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig_event(&rig, VLY_CLOSED)->status, -ECONNRESET);
	rig_close(&rig);
}

/* RFC 5961, 3.2 */
Test(tcp_guard, blind_reset_in_the_window_is_challenged)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	peer_send_at(&peer, peer.seq + 1, VLY_TCP_RST, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.ack, peer.seq);
	peer_send_at(&peer, peer.seq - 1, VLY_TCP_RST, NULL, 0);
	peer_send_at(&peer, peer.seq + (1u << 30), VLY_TCP_RST, NULL, 0);
	rig_settle(&rig);
	peer_expect_nothing();
	cr_assert_eq(rig.count, 0);
	rig_close(&rig);
}

/* RFC 5961, 4.2 */
Test(tcp_guard, blind_syn_is_challenged)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	peer_send_at(&peer, peer.seq + 1, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.ack, peer.seq);
	cr_assert_eq(rig.count, 0);
	rig_close(&rig);
}

/* RFC 5961, 5.2 */
Test(tcp_guard, blind_data_with_an_impossible_ack_is_dropped)
{
	struct rig rig;
	struct peer peer;
	uint32_t ack;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	ack = peer.ack;
	peer.ack = ack + 1;
	peer_send_at(&peer, peer.seq, VLY_TCP_ACK, "evil", 4);
	rig_settle(&rig);
	peer.ack = ack - (1u << 30) - 100;
	peer_send_at(&peer, peer.seq, VLY_TCP_ACK, "evil", 4);
	rig_settle(&rig);
	cr_assert_eq(rig.got_len, 0);
	cr_assert_eq(rig.inet->stats.tcp_bad_ack, 2);
	peer_expect(VLY_TCP_ACK);
	peer_expect(VLY_TCP_ACK);
	rig_close(&rig);
}

Test(tcp_guard, challenge_acks_are_limited_per_second)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;
	unsigned acks = 0;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	for (int i = 0; i < 300; i++) {
		peer_send_at(&peer, peer.seq + 1, VLY_TCP_RST, NULL, 0);
		rig_poll(&rig);
		while (peer_take(&sent))
			acks++;
	}
	cr_assert_eq(acks, VLY_TCP_CHALLENGES);
	cr_assert_eq(rig.inet->stats.tcp_challenge_limited, 200);
	rig_close(&rig);
}

Test(tcp_guard, data_outside_the_window_is_answered_and_dropped)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "window=8192");
	rig_accept(&rig, &peer);
	peer_send_at(&peer, peer.seq + 8192, VLY_TCP_ACK, "beyond", 6);
	rig_settle(&rig);
	peer_expect(VLY_TCP_ACK);
	peer_send_at(&peer, peer.seq - 6, VLY_TCP_ACK, "before", 6);
	rig_settle(&rig);
	peer_expect(VLY_TCP_ACK);
	cr_assert_eq(rig.got_len, 0);
	/* an overlap with the past is cut */
	peer_send_at(&peer, peer.seq - 3, VLY_TCP_ACK, "oldnew", 6);
	rig_settle(&rig);
	cr_assert_eq(rig.got_len, 3);
	cr_assert(!memcmp(rig.got, "new", 3));
	rig_close(&rig);
}

/* RFC 7323, 5 */
Test(tcp_guard, paws_drops_what_is_older_than_what_was_seen)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 4, 0, 0, 0, 0, 0};
	struct vly_addr addr;
	vly_conn listener;
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	cr_assert_eq(vly_addr_parse("10.0.0.1:80", &addr), 0);
	cr_assert_eq(vly_listen(rig.core, &addr, NULL, NULL, &listener), 0);
	peer_init(&peer, 5000, 80);
	peer.options = options;
	peer.options_len = sizeof(options);
	peer_send(&peer, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	struct sent sent = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK);

	cr_assert(sent.options.has & VLY_TCP_HAS_TIMESTAMPS);
	cr_assert_eq(sent.options.ts_echo, 0x400);
	peer.options_len = 0;
	peer.ts = true;
	peer.ts_value = 0x401;
	peer.ack = sent.view.seq + 1;
	peer_send(&peer, VLY_TCP_ACK, "new", 3);
	rig_settle(&rig);
	cr_assert_eq(rig.got_len, 3);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).options.ts_echo, 0x401);
	peer.ts_value = 0x3ff;
	peer_send_at(&peer, peer.seq, VLY_TCP_ACK, "old", 3);
	rig_settle(&rig);
	cr_assert_eq(rig.got_len, 3);
	cr_assert_eq(rig.inet->stats.tcp_paws, 1);
	peer_expect(VLY_TCP_ACK);
	rig_close(&rig);
}

static void listen_80(struct rig *rig)
{
	struct vly_addr addr;
	vly_conn listener;

	cr_assert_eq(vly_addr_parse("10.0.0.1:80", &addr), 0);
	cr_assert_eq(vly_listen(rig->core, &addr, NULL, NULL, &listener), 0);
}

Test(tcp_guard, syn_backlog_is_bounded_and_cookies_let_the_honest_in)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;

	rig_open(&rig, ""); /* a backlog of 8 */
	listen_80(&rig);
	for (uint16_t i = 0; i < 200; i++) {
		peer_init(&peer, (uint16_t)(6000 + i), 80);
		peer_send(&peer, VLY_TCP_SYN, NULL, 0);
		rig_poll(&rig);
		while (peer_take(&sent))
			;
	}
	cr_assert_eq(rig.inet->tcp->minis.half_count, 8);
	cr_assert_eq(rig.inet->stats.tcp_cookie_sent, 192);
	peer_init(&peer, 5000, 80);
	peer_send(&peer, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	while (peer_take(&sent) && sent.view.dst_port != 5000)
		;
	cr_assert_eq(sent.view.dst_port, 5000);
	peer.ack = sent.view.seq + 1;
	peer_send(&peer, VLY_TCP_ACK, "honest", 6);
	rig_settle(&rig);
	cr_assert_eq(rig.inet->stats.tcp_cookie_ok, 1);
	cr_assert_eq(rig_count(&rig, VLY_OPEN), 1);
	cr_assert_eq(rig.got_len, 6);
	rig_close(&rig);
}

Test(tcp_guard, a_forged_cookie_is_reset)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "cookies=2");
	listen_80(&rig);
	peer_init(&peer, 5000, 80);
	peer_send(&peer, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	peer.ack = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK).view.seq + 1 + 8;
	peer_send(&peer, VLY_TCP_ACK, "x", 1);
	rig_settle(&rig);
	peer_expect(VLY_TCP_RST);
	cr_assert_eq(rig.count, 0);
	rig_close(&rig);
}

Test(tcp_guard, a_cookie_grows_old)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "cookies=2");
	listen_80(&rig);
	peer_init(&peer, 5000, 80);
	peer_send(&peer, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	peer.ack = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK).view.seq + 1;
	rig_pass_by(&rig, 150000, 10000);
	peer_send(&peer, VLY_TCP_ACK, "x", 1);
	rig_settle(&rig);
	peer_expect(VLY_TCP_RST);
	rig_close(&rig);
}

Test(tcp_guard, cookie_with_timestamps_remembers_scale_and_sack)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0,
					  4, 0, 0, 0,    0, 0, 1, 3,  3, 9};
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "cookies=2");
	listen_80(&rig);
	peer_init(&peer, 5000, 80);
	peer.options = options;
	peer.options_len = sizeof(options);
	peer_send(&peer, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	struct sent sent = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK);

	peer.options_len = 0;
	peer.ts = true;
	peer.ts_value = 0x401;
	peer.ts_echo = sent.options.ts_value;
	peer.ack = sent.view.seq + 1;
	peer.window = 100;
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	struct vly_tcp *tcp = rig_tcp(&rig, rig_event(&rig, VLY_OPEN)->conn);

	cr_assert_eq(tcp->wscale & 15, 9);
	cr_assert_eq(tcp->snd_wnd, 100u << 9);
	cr_assert(tcp->bits & VLY_TCP_B_SACK);
	cr_assert(tcp->bits & VLY_TCP_B_TS);
	rig_close(&rig);
}

Test(tcp_guard, half_open_ones_are_forgotten_in_time)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;
	unsigned answers = 0;

	rig_open(&rig, "");
	listen_80(&rig);
	peer_init(&peer, 5000, 80);
	peer_send(&peer, VLY_TCP_SYN, NULL, 0);
	rig_pass_by(&rig, 140000, 100);
	while (peer_take(&sent))
		answers += sent.view.flags == (VLY_TCP_SYN | VLY_TCP_ACK);
	cr_assert_eq(answers, 7);
	cr_assert_eq(rig.inet->tcp->minis.half_count, 0);
	rig_close(&rig);
}

Test(tcp_guard, full_table_keeps_clients_waiting_and_serves_them_later)
{
	struct vly_config config;
	struct rig rig;
	struct peer peer[2];

	rig_config(&config);
	config.conns_max = 2; /* the listener and one */
	rig_open_config(&rig, &config, "");
	listen_80(&rig);
	for (uint16_t i = 0; i < 2; i++) {
		peer_init(&peer[i], (uint16_t)(5000 + i), 80);
		peer_send(&peer[i], VLY_TCP_SYN, NULL, 0);
		rig_settle(&rig);
		peer[i].ack = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK).view.seq + 1;
		peer_send(&peer[i], VLY_TCP_ACK, NULL, 0);
		rig_settle(&rig);
	}
	cr_assert_eq(rig_count(&rig, VLY_OPEN), 1);
	cr_assert_eq(vly_abort(rig.core, rig_event(&rig, VLY_OPEN)->conn), 0);
	rig_settle(&rig);
	cr_assert_eq(rig_count(&rig, VLY_OPEN), 2);
	rig_close(&rig);
}

Test(tcp_guard, mss_that_lies_is_clamped)
{
	static const uint8_t options[] = {2, 4, 0, 1};
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	listen_80(&rig);
	peer_init(&peer, 5000, 80);
	peer.options = options;
	peer.options_len = sizeof(options);
	peer_send(&peer, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	peer.options_len = 0;
	peer.ack = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK).view.seq + 1;
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig_tcp(&rig, rig_event(&rig, VLY_OPEN)->conn)->mss, VLY_TCP_MSS_MIN);
	rig_close(&rig);
}

Test(tcp_guard, frag_needed_makes_segments_smaller)
{
	struct rig rig;
	struct peer peer;
	struct vly_flow_key key;
	uint32_t base, done = 0;
	struct sent sent;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	base = peer.ack;
	rig_send(&rig, conn, 4000);
	while (peer_take(&sent))
		;
	key = vly_tcp_key(rig_tcp(&rig, conn));
	vly_tcp_frag_needed(rig.inet, &key, base - 5000, 600); /* not in flight: forged */
	cr_assert_eq(rig_tcp(&rig, conn)->mss, 1460);
	vly_tcp_frag_needed(rig.inet, &key, base, 600);
	rig_settle(&rig);
	for (int i = 0; i < 40 && done < 4000; i++) {
		while (peer_take(&sent)) {
			cr_assert_leq(sent.view.payload_bytes, 560);
			if (sent.view.seq - base == done)
				done += sent.view.payload_bytes;
		}
		peer.ack = base + done;
		peer_send(&peer, VLY_TCP_ACK, NULL, 0);
		rig_pass(&rig, 10);
	}
	cr_assert_eq(done, 4000);
	rig_close(&rig);
}

Test(tcp_guard, keepalive_probes_the_idle_and_ends_the_dead)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;
	unsigned probes = 0;

	rig_open(&rig, "keepalive=10");
	rig_accept(&rig, &peer);
	rig_pass_by(&rig, 25000, 100);
	cr_assert(peer_take(&sent));
	cr_assert_eq(sent.view.seq, peer.ack - 1);
	while (peer_take(&sent))
		;
	peer_send(&peer, VLY_TCP_ACK, "x", 1); /* it lives */
	rig_pass_by(&rig, 9000, 100);
	rig_clear(&rig);
	while (peer_take(&sent))
		;
	for (int i = 0; i < 200 && !rig_event(&rig, VLY_CLOSED); i++) {
		rig_pass_by(&rig, 1000, 100);
		while (peer_take(&sent))
			probes++;
	}
	cr_assert_eq(rig_event(&rig, VLY_CLOSED)->status, -ETIMEDOUT);
	cr_assert_geq(probes, VLY_TCP_KEEPALIVE_PROBES);
	rig_close(&rig);
}

Test(tcp_guard, full_wire_loses_nothing)
{
	struct rig rig;
	struct peer peer;
	uint32_t base, done = 0;
	struct sent sent;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	base = peer.ack;
	hand.room = 0;
	peer_send(&peer, VLY_TCP_ACK, "ping", 4);
	rig_settle(&rig);
	rig_send(&rig, conn, 4000);
	rig_settle(&rig);
	cr_assert_not(peer_take(&sent));
	hand.room = 1;
	for (int i = 0; i < 20; i++) {
		rig_poll(&rig);
		while (peer_take(&sent)) {
			cr_assert_eq(sent.view.seq, base + done);
			done += sent.view.payload_bytes;
		}
	}
	cr_assert_eq(done, 4000);
	cr_assert_eq(rig.inet->stats.tcp_retransmit, 0);
	rig_close(&rig);
}
