/* test_tcp.c - TCP's states, segment by segment: opening, data, closing */
#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp, .fini = vly_leak_gate);

static vly_conn connect_to(struct rig *rig, struct peer *peer)
{
	struct vly_addr to;
	vly_conn conn;

	cr_assert_eq(vly_addr_parse("10.0.0.2:90", &to), 0);
	cr_assert_eq(vly_connect(rig->core, &to, NULL, NULL, &conn), 0);
	rig_settle(rig);
	struct sent syn = peer_expect(VLY_TCP_SYN);

	peer_init(peer, 90, syn.view.src_port);
	peer->ack = syn.view.seq + 1;
	return conn;
}

static void answer_syn(struct rig *rig, struct peer *peer)
{
	peer->options = peer_syn_options;
	peer->options_len = sizeof(peer_syn_options);
	peer_send(peer, VLY_TCP_SYN | VLY_TCP_ACK, NULL, 0);
	peer->options_len = 0;
	rig_settle(rig);
	peer_expect(VLY_TCP_ACK);
}

Test(tcp, active_open_offers_mss_scale_sack_and_timestamps)
{
	struct rig rig;
	struct vly_addr to;
	vly_conn conn;

	rig_open(&rig, "");
	cr_assert_eq(vly_addr_parse("10.0.0.2:90", &to), 0);
	cr_assert_eq(vly_connect(rig.core, &to, NULL, NULL, &conn), 0);
	rig_settle(&rig);
	struct sent syn = peer_expect(VLY_TCP_SYN);

	cr_assert_eq(syn.options.has, VLY_TCP_HAS_MSS | VLY_TCP_HAS_WSCALE |
					      VLY_TCP_HAS_SACK_PERMITTED | VLY_TCP_HAS_TIMESTAMPS);
	cr_assert_eq(syn.options.mss, 1460);
	rig_close(&rig);
}

Test(tcp, active_open_reports_one_open)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = connect_to(&rig, &peer);

	cr_assert_eq(rig.count, 0);
	answer_syn(&rig, &peer);
	cr_assert_eq(rig_count(&rig, VLY_OPEN), 1);
	cr_assert_eq(rig_event(&rig, VLY_OPEN)->conn, conn);
	cr_assert_eq(rig_event(&rig, VLY_OPEN)->status, 0);
	rig_close(&rig);
}

Test(tcp, refused_connect_is_one_open_with_its_reason)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	connect_to(&rig, &peer);
	peer_send(&peer, VLY_TCP_RST | VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig.count, 1);
	cr_assert_eq(rig.events[0].kind, VLY_OPEN);
	cr_assert_eq(rig.events[0].status, -ECONNREFUSED);
	rig_close(&rig);
}

Test(tcp, reset_with_a_wrong_ack_does_not_refuse)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	connect_to(&rig, &peer);
	peer.ack += 5;
	peer_send(&peer, VLY_TCP_RST | VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig.count, 0);
	rig_close(&rig);
}

Test(tcp, syn_is_repeated_with_doubled_waits_until_given_up)
{
	struct rig rig;
	struct peer peer;
	unsigned syns = 0;

	rig_open(&rig, "");
	connect_to(&rig, &peer);
	for (unsigned s = 0; s < 200 && !rig.count; s++) {
		struct sent sent;

		rig_pass_by(&rig, 1000, 100);
		while (peer_take(&sent))
			syns += sent.view.flags == VLY_TCP_SYN;
	}
	cr_assert_eq(syns, 6);
	cr_assert_eq(rig.events[0].status, -ETIMEDOUT);
	rig_close(&rig);
}

Test(tcp, simultaneous_open_establishes)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	connect_to(&rig, &peer);
	peer_send(&peer, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	struct sent answer = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK);

	cr_assert_eq(answer.view.seq, peer.ack - 1);
	cr_assert_eq(answer.view.ack, peer.seq);
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig_count(&rig, VLY_OPEN), 1);
	cr_assert_eq(rig_event(&rig, VLY_OPEN)->status, 0);
	rig_close(&rig);
}

Test(tcp, a_reply_in_the_same_batch_carries_the_ack)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	peer_send(&peer, VLY_TCP_ACK | VLY_TCP_PSH, "ping", 4);
	rig_poll(&rig);
	cr_assert_eq(rig.got_len, 4);
	cr_assert_eq(vly_send(rig.core, conn, "pong", 4), 0);
	rig_settle(&rig);
	struct sent sent = peer_expect(VLY_TCP_ACK);

	cr_assert_eq(sent.view.ack, peer.seq);
	cr_assert_eq(sent.view.payload_bytes, 4);
	peer_expect_nothing();
	rig_close(&rig);
}

Test(tcp, an_ack_without_reply_is_delayed_and_comes)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	peer_send(&peer, VLY_TCP_ACK, "ping", 4);
	rig_poll(&rig);
	rig_send(&rig, conn, 4);
	peer.ack += peer_expect(VLY_TCP_ACK).view.payload_bytes;
	peer_send(&peer, VLY_TCP_ACK, "ping", 4);
	rig_settle(&rig);
	rig_pass(&rig, 30);
	peer_expect_nothing();
	rig_pass(&rig, 15);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.ack, peer.seq);
	rig_close(&rig);
}

Test(tcp, every_second_full_segment_is_acknowledged_at_once)
{
	static const uint8_t full[1460];
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	peer_send(&peer, VLY_TCP_ACK, "ping", 4);
	rig_poll(&rig);
	rig_send(&rig, conn, 4);
	peer.ack += peer_expect(VLY_TCP_ACK).view.payload_bytes;
	peer_send(&peer, VLY_TCP_ACK, full, sizeof(full));
	rig_settle(&rig);
	peer_expect_nothing();
	peer_send(&peer, VLY_TCP_ACK, full, sizeof(full));
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.ack, peer.seq);
	rig_close(&rig);
}

Test(tcp, data_with_the_third_segment_of_the_handshake_is_kept_for_the_next_batch)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	rig_syn(&rig, &peer, 1000, NULL, 0);
	peer_send(&peer, VLY_TCP_ACK, "early", 5);
	rig_settle(&rig);
	cr_assert_eq(rig.events[0].kind, VLY_OPEN);
	cr_assert_eq(rig.got_len, 5);
	rig_close(&rig);
}

Test(tcp, half_close_goes_on_receiving)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	cr_assert_eq(vly_shutdown(rig.core, conn), 0);
	rig_settle(&rig);
	peer_expect(VLY_TCP_FIN | VLY_TCP_ACK);
	peer.ack++;
	peer_send(&peer, VLY_TCP_ACK, "late", 4);
	rig_settle(&rig);
	cr_assert_eq(rig.got_len, 4);
	cr_assert_eq(rig_tcp(&rig, conn)->state, VLY_TCP_FIN_WAIT_2);
	peer_send(&peer, VLY_TCP_ACK | VLY_TCP_FIN, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig_count(&rig, VLY_EOF), 1);
	cr_assert_eq(vly_close(rig.core, conn), 0);
	rig_settle(&rig);
	cr_assert_eq(rig_event(&rig, VLY_CLOSED)->status, 0);
	rig_close(&rig);
}

Test(tcp, active_close_ends_in_time_wait_which_answers_a_repeated_fin)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "time_wait=1000");
	vly_conn conn = rig_accept(&rig, &peer);

	cr_assert_eq(vly_close(rig.core, conn), 0);
	rig_settle(&rig);
	peer_expect(VLY_TCP_FIN | VLY_TCP_ACK);
	peer.ack++;
	peer_send(&peer, VLY_TCP_ACK | VLY_TCP_FIN, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.ack, peer.seq);
	cr_assert_eq(rig_event(&rig, VLY_CLOSED)->status, 0);
	cr_assert_eq(rig.inet->tcp->minis.linger_count, 1);
	peer_send_at(&peer, peer.seq - 1, VLY_TCP_ACK | VLY_TCP_FIN, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.ack, peer.seq);
	rig_pass_by(&rig, 1200, 50);
	cr_assert_eq(rig.inet->tcp->minis.linger_count, 0);
	peer_send_at(&peer, peer.seq - 1, VLY_TCP_ACK | VLY_TCP_FIN, NULL, 0);
	rig_settle(&rig);
	peer_expect(VLY_TCP_RST);
	rig_close(&rig);
}

Test(tcp, time_wait_gives_way_to_a_newer_syn_only)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	cr_assert_eq(vly_close(rig.core, conn), 0);
	rig_settle(&rig);
	peer_expect(VLY_TCP_FIN | VLY_TCP_ACK);
	peer.ack++;
	peer_send(&peer, VLY_TCP_ACK | VLY_TCP_FIN, NULL, 0);
	rig_settle(&rig);
	peer_expect(VLY_TCP_ACK);
	peer_send_at(&peer, peer.seq - 100, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	peer_expect(VLY_TCP_ACK);
	peer_send_at(&peer, peer.seq + 100, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_SYN | VLY_TCP_ACK).view.ack, peer.seq + 101);
	cr_assert_eq(rig.inet->tcp->minis.linger_count, 0);
	rig_close(&rig);
}

Test(tcp, full_time_wait_table_gives_up_the_oldest)
{
	struct rig rig;

	rig_open(&rig, "time_waits=2");
	for (uint16_t i = 0; i < 3; i++) {
		struct peer peer;
		struct vly_addr from;
		vly_conn conn = connect_to(&rig, &peer);

		(void)from;
		answer_syn(&rig, &peer);
		cr_assert_eq(vly_close(rig.core, conn), 0);
		rig_settle(&rig);
		peer_expect(VLY_TCP_FIN | VLY_TCP_ACK);
		peer.ack++;
		peer_send(&peer, VLY_TCP_ACK | VLY_TCP_FIN, NULL, 0);
		rig_settle(&rig);
		peer_expect(VLY_TCP_ACK);
		cr_assert_eq(rig.inet->tcp->minis.linger_count, i < 2 ? i + 1 : 2);
	}
	cr_assert_eq(rig.inet->stats.tcp_time_wait_full, 1);
	cr_assert(vly_flow_valid(&rig.inet->flows));
	rig_close(&rig);
}

Test(tcp, simultaneous_close_passes_closing_to_time_wait)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	cr_assert_eq(vly_close(rig.core, conn), 0);
	rig_settle(&rig);
	peer_expect(VLY_TCP_FIN | VLY_TCP_ACK);
	peer_send(&peer, VLY_TCP_ACK | VLY_TCP_FIN, NULL, 0);
	rig_settle(&rig);
	peer_expect(VLY_TCP_ACK);
	cr_assert_eq(rig_tcp(&rig, conn)->state, VLY_TCP_CLOSING);
	peer.ack++;
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig_event(&rig, VLY_CLOSED)->status, 0);
	cr_assert_eq(rig.inet->tcp->minis.linger_count, 1);
	rig_close(&rig);
}

Test(tcp, passive_close_ends_by_last_ack_without_time_wait)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	peer_send(&peer, VLY_TCP_ACK | VLY_TCP_FIN, "bye", 3);
	rig_poll(&rig);
	cr_assert_eq(rig.got_len, 3);
	cr_assert_eq(rig_count(&rig, VLY_EOF), 1);
	cr_assert_eq(vly_close(rig.core, conn), 0);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_FIN | VLY_TCP_ACK).view.ack, peer.seq);
	cr_assert_eq(rig_tcp(&rig, conn)->state, VLY_TCP_LAST_ACK);
	peer.ack++;
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig_event(&rig, VLY_CLOSED)->status, 0);
	cr_assert_eq(rig.inet->tcp->minis.linger_count, 0);
	cr_assert_eq(rig.inet->flows.count, 1); /* the listener */
	rig_close(&rig);
}

Test(tcp, close_that_the_peer_ignores_ends_by_reset_and_etimedout)
{
	struct rig rig;
	struct peer peer;
	struct sent sent;
	bool reset = false;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	cr_assert_eq(vly_close(rig.core, conn), 0);
	rig_pass_by(&rig, 11000, 100);
	cr_assert_eq(rig_event(&rig, VLY_CLOSED)->status, -ETIMEDOUT);
	while (peer_take(&sent))
		reset |= sent.view.flags == (VLY_TCP_RST | VLY_TCP_ACK);
	cr_assert(reset);
	rig_close(&rig);
}

Test(tcp, abort_resets_with_the_next_number)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	cr_assert_eq(vly_abort(rig.core, conn), 0);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_RST | VLY_TCP_ACK).view.seq, peer.ack);
	cr_assert_eq(rig_event(&rig, VLY_CLOSED)->status, -ECONNABORTED);
	rig_close(&rig);
}

Test(tcp, segment_for_nobody_is_reset)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	peer_init(&peer, 5000, 81);
	peer.ack = 77;
	peer_send(&peer, VLY_TCP_ACK, "x", 1);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_RST).view.seq, 77);
	peer_send(&peer, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_RST | VLY_TCP_ACK).view.ack, peer.seq);
	peer_send(&peer, VLY_TCP_RST, NULL, 0);
	rig_settle(&rig);
	peer_expect_nothing();
	rig_close(&rig);
}

/* Numbers that wrap inside one transfer, both ways. */
Test(tcp, sequence_numbers_wrap_in_both_directions)
{
	struct rig rig;
	struct peer peer;
	uint8_t bytes[1000];
	uint32_t done = 0;

	rig_open(&rig, "");
	vly_conn conn = rig_accept_seq(&rig, &peer, 0xffffff00u);
	struct vly_tcp *tcp = rig_tcp(&rig, conn);

	/* our own side's numbers are moved to the edge by hand */
	tcp->snd_una = tcp->snd_nxt = 0xffffff80u;
	peer.ack = tcp->snd_nxt;
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	peer_send(&peer, VLY_TCP_ACK, bytes, 1000);
	rig_settle(&rig);
	cr_assert_eq(rig.got_len, 1000);
	rig_send(&rig, conn, 8000);
	while (done < 8000) {
		struct sent sent;

		cr_assert(peer_take(&sent));
		cr_assert_eq(sent.view.seq, peer.ack);
		cr_assert(rig_pattern_is(sent.data, done, sent.view.payload_bytes));
		done += sent.view.payload_bytes;
		peer.ack += sent.view.payload_bytes;
		peer_send(&peer, VLY_TCP_ACK, NULL, 0);
		rig_settle(&rig);
	}
	cr_assert_eq(tcp->snd_una, 0xffffff80u + 8000);
	cr_assert_eq(tcp->head.tx_bytes, 0);
	rig_close(&rig);
}

Test(tcp, an_established_connection_costs_no_side_record)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	for (int i = 0; i < 10; i++) {
		peer_send(&peer, VLY_TCP_ACK, "ping", 4);
		rig_poll(&rig);
		cr_assert_eq(vly_send(rig.core, conn, "pong", 4), 0);
		rig_poll(&rig);
		peer.ack += peer_expect(VLY_TCP_ACK).view.payload_bytes;
	}
	cr_assert_eq(rig.inet->tcp->sides.slab.gets, 0);
	cr_assert_geq(rig.inet->stats.tcp_fast, 9);
	rig_close(&rig);
}

/* The form that every segment of a connection with timestamps has takes the fast path, too. */
Test(tcp, timestamps_stay_on_the_fast_path_and_are_echoed)
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
	peer.options_len = 0;
	peer.ts = true;
	peer.ts_value = 0x401;
	peer.ack = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK).view.seq + 1;
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	vly_conn conn = rig_event(&rig, VLY_OPEN)->conn;

	for (uint32_t i = 0; i < 10; i++) {
		rig_clear(&rig);
		peer.ts_value += i;
		peer_send(&peer, VLY_TCP_ACK, "ping", 4);
		rig_poll(&rig);
		cr_assert_eq(rig.got_len, 4);
		cr_assert(!memcmp(rig.got, "ping", 4));
		cr_assert_eq(vly_send(rig.core, conn, "pong", 4), 0);
		rig_poll(&rig);
		struct sent sent = peer_expect(VLY_TCP_ACK);

		cr_assert_eq(sent.options.ts_echo, peer.ts_value);
		cr_assert(!memcmp(sent.data, "pong", 4));
		peer.ack += sent.view.payload_bytes;
	}
	cr_assert_geq(rig.inet->stats.tcp_fast, 10);
	rig_close(&rig);
}
