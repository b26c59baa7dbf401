/* test_tcp_mended.c - defects of TCP that the simulation or reading found, each by itself */
#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp_mended, .fini = vly_leak_gate);

static void listen_80(struct rig *rig)
{
	struct vly_addr addr;
	vly_conn listener;

	cr_assert_eq(vly_addr_parse("10.0.0.1:80", &addr), 0);
	cr_assert_eq(vly_listen(rig->core, &addr, NULL, NULL, &listener), 0);
}

/* A SYN with these options; the answer. */
static struct sent knock(struct rig *rig, struct peer *peer, const uint8_t *options, uint32_t len)
{
	peer_init(peer, 5000, 80);
	peer->options = options;
	peer->options_len = len;
	peer_send(peer, VLY_TCP_SYN, NULL, 0);
	peer->options_len = 0;
	rig_settle(rig);
	struct sent sent = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK);

	peer->ack = sent.view.seq + 1;
	return sent;
}

Test(tcp_mended, large_window_without_scaling_fills_its_field)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4};
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "window=1048576");
	listen_80(&rig);
	knock(&rig, &peer, options, sizeof(options));
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	peer_send(&peer, VLY_TCP_ACK, "one", 3);
	rig_settle(&rig);
	peer_send(&peer, VLY_TCP_ACK, "two", 3);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.window, 65535);
	rig_send(&rig, rig_event(&rig, VLY_OPEN)->conn, 10);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.window, 65535);
	rig_close(&rig);
}

Test(tcp_mended, timestamp_of_a_cookie_is_never_of_the_future)
{
	/* window scale 9 and SACK: the memory in its low bits is 25 */
	static const uint8_t options[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0,
					  4, 0, 0, 0,    0, 0, 1, 3,  3, 9};
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "cookies=2");
	listen_80(&rig);
	for (unsigned i = 0; i < 200; i++) {
		struct sent sent = knock(&rig, &peer, options, sizeof(options));

		cr_assert_eq(sent.options.ts_value & 63, 25);
		cr_assert_leq((int32_t)(sent.options.ts_value - vly_tcp_ts_now(rig.inet)), 0);
		rig_pass(&rig, 1);
	}
	rig_close(&rig);
}

/* Polls at the moments alone that the wheel names, as a core that sleeps is. */
Test(tcp_mended, half_open_one_is_looked_after_while_the_core_sleeps)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4};
	struct rig rig;
	struct peer peer;
	struct sent sent;
	unsigned answers = 1;

	rig_open(&rig, "");
	listen_80(&rig);
	knock(&rig, &peer, options, sizeof(options));
	while (rig.inet->tcp->minis.half_count) {
		uint64_t next_ns = vly_wheel_next(&rig.core->env.wheel);

		cr_assert_neq(next_ns, UINT64_MAX, "nothing would wake it after %u", answers);
		rig.now_ns = VLY_MAX(next_ns, rig.now_ns + 1);
		vly_clock_freeze(rig.now_ns);
		rig_poll(&rig);
		while (peer_take(&sent))
			answers += sent.view.flags == (VLY_TCP_SYN | VLY_TCP_ACK);
	}
	cr_assert_eq(answers, 7);
	rig_close(&rig);
}

Test(tcp_mended, full_segment_and_a_short_one_are_acknowledged_at_once)
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
	peer_send(&peer, VLY_TCP_ACK, "tail", 4);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.ack, peer.seq);
	rig_close(&rig);
}

Test(tcp_mended, old_segment_with_a_time_of_the_future_is_not_believed)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 4, 0, 0, 0, 0, 0};
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	listen_80(&rig);
	knock(&rig, &peer, options, sizeof(options));
	peer.ts = true;
	peer.ts_value = 0x401;
	peer_send(&peer, VLY_TCP_ACK, "one", 3);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).options.ts_echo, 0x401);
	peer.ts_value = 0x401 + (1u << 30);
	peer_send_at(&peer, peer.seq - 3, VLY_TCP_ACK, "one", 3);
	rig_settle(&rig);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).options.ts_echo, 0x401);
	peer.ts_value = 0x402;
	peer_send(&peer, VLY_TCP_ACK, "two", 3);
	rig_settle(&rig);
	cr_assert_eq(rig.got_len, 6);
	rig_close(&rig);
}

Test(tcp_mended, data_with_an_ack_older_than_any_window_is_dropped)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	peer.ack -= (65535u << 7) + 1;
	peer_send_at(&peer, peer.seq, VLY_TCP_ACK, "old", 3);
	rig_settle(&rig);
	cr_assert_eq(rig.got_len, 0);
	cr_assert_eq(rig.inet->stats.tcp_bad_ack, 1);
	peer_expect(VLY_TCP_ACK);
	peer.ack++;
	peer_send_at(&peer, peer.seq, VLY_TCP_ACK, "new", 3);
	rig_settle(&rig);
	cr_assert_eq(rig.got_len, 3);
	rig_close(&rig);
}

Test(tcp_mended, fin_and_the_ack_of_ours_in_one_burst_leave_no_ack_unsent)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	cr_assert_eq(vly_close(rig.core, conn), 0);
	rig_settle(&rig);
	peer_expect(VLY_TCP_FIN | VLY_TCP_ACK);
	peer_send(&peer, VLY_TCP_FIN | VLY_TCP_ACK, "last", 4);
	peer.ack++;
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig_event(&rig, VLY_CLOSED)->status, 0);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.ack, peer.seq);
	rig_close(&rig);
}

/* What is in flight has no side record, and there is none for FIN: it goes when nothing is in flight any more. */
Test(tcp_mended, fin_without_a_side_record_goes_when_a_bare_ack_empties_the_queue)
{
	uint32_t taken[8], count = 0;
	struct vly_config config;
	struct rig rig;
	struct peer peer;

	rig_config(&config);
	rig_open_config(&rig, &config, "sides=8");
	vly_conn conn = rig_accept(&rig, &peer);
	struct vly_sides *sides = &rig.inet->tcp->sides;

	while (sides->slab.free_count)
		taken[count++] = vly_side_take(sides, 0);
	rig_send(&rig, conn, 64);
	peer.ack += peer_expect(VLY_TCP_ACK).view.payload_bytes;
	cr_assert_eq(vly_shutdown(rig.core, conn), 0);
	rig_poll(&rig);
	peer_expect_nothing();
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	peer_expect(VLY_TCP_ACK | VLY_TCP_FIN);
	while (count)
		vly_side_put(sides, taken[--count]);
	rig_close(&rig);
}
