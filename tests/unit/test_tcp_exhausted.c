/* test_tcp_exhausted.c - TCP's pools and tables when nothing is left in them: slower, counted, never wrong */
#include "nic/inet/tcp.h"

#include <errno.h>

#include "tests/support/tcp_rig.h"

TestSuite(tcp_exhausted, .fini = vly_leak_gate);

#define MSS 1460u

/* What was sent since, in bytes of data, each as rig_send() wrote it; `at` moves on. */
static uint32_t take_data(uint32_t base, uint32_t *at)
{
	struct sent sent;
	uint32_t bytes = 0;

	while (peer_take(&sent)) {
		if (!sent.view.payload_bytes)
			continue;
		cr_assert_eq(sent.view.seq, base + *at);
		cr_assert(rig_pattern_is(sent.data, *at, sent.view.payload_bytes));
		bytes += sent.view.payload_bytes;
		*at += sent.view.payload_bytes;
	}
	return bytes;
}

/* Acknowledges as it comes until all of `len` came, at most `most` bytes at once. */
static void all_comes(struct rig *rig, struct peer *peer, uint32_t len, uint32_t most)
{
	uint32_t base = peer->ack, at = 0;

	for (unsigned turns = 0; at < len; turns++) {
		cr_assert_leq(take_data(base, &at), most);
		peer->ack = base + at;
		peer_send(peer, VLY_TCP_ACK, NULL, 0);
		rig_settle(rig);
		cr_assert_lt(turns, 1000);
	}
	cr_assert_eq(at, len);
}

Test(tcp_exhausted, without_side_records_one_segment_at_a_time_goes)
{
	struct rig rig;
	struct peer peer;
	uint32_t taken[64];
	unsigned count = 0;

	rig_open(&rig, "sides=8");
	vly_conn conn = rig_accept(&rig, &peer);
	struct vly_sides *sides = &rig.inet->tcp->sides;

	while (sides->slab.free_count)
		taken[count++] = vly_side_take(sides, 0);
	rig_send(&rig, conn, 20 * MSS);
	all_comes(&rig, &peer, 20 * MSS, MSS);
	cr_assert_gt(rig.inet->stats.tcp_side_full, 0);
	cr_assert_eq(rig_tcp(&rig, conn)->head.tx_bytes, 0);
	/* and early data is not kept, but asked for again */
	uint64_t dropped = rig.inet->stats.tcp_ooo_dropped;

	peer_send_at(&peer, peer.seq + 10, VLY_TCP_ACK, "later", 5);
	rig_settle(&rig);
	cr_assert_eq(rig.inet->stats.tcp_ooo_dropped, dropped + 1);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.ack, peer.seq);
	while (count)
		vly_side_put(sides, taken[--count]);
	rig_close(&rig);
}

Test(tcp_exhausted, without_segments_to_keep_account_sending_waits_for_acks)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "segs=3");
	vly_conn conn = rig_accept(&rig, &peer);

	rig_send(&rig, conn, 20 * MSS);
	all_comes(&rig, &peer, 20 * MSS, 3 * MSS);
	cr_assert_eq(rig_tcp(&rig, conn)->head.tx_bytes, 0);
	rig_close(&rig);
}

Test(tcp_exhausted, early_data_without_room_is_counted_and_comes_again)
{
	static const uint8_t data[5 * 1000];
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "ooo=2");
	rig_accept(&rig, &peer);
	for (unsigned i = 1; i < 5; i++)
		peer_send_at(&peer, peer.seq + i * 1000, VLY_TCP_ACK, data, 1000);
	rig_settle(&rig);
	cr_assert_gt(rig.inet->stats.tcp_ooo_dropped, 0);
	/* all of it once more, in order */
	for (unsigned i = 0; i < 5; i++) {
		peer_send(&peer, VLY_TCP_ACK, data, 1000);
		rig_settle(&rig);
	}
	struct sent sent = {0};

	while (peer_take(&sent))
		;
	cr_assert_eq(sent.view.ack, peer.seq);
	cr_assert_eq(rig.got_len, 5000);
	rig_close(&rig);
}

Test(tcp_exhausted, when_all_ports_are_taken_a_connect_says_so, .timeout = 60)
{
	const uint32_t ports = 65536 - VLY_TCP_PORT_FIRST;
	struct vly_config config;
	struct vly_addr to;
	struct rig rig;
	vly_conn conn;

	rig_config(&config);
	config.conns_max = ports + 4;
	rig_open_config(&rig, &config, "");
	cr_assert_eq(vly_addr_parse("10.0.0.2:90", &to), 0);
	for (uint32_t i = 0; i < ports; i++) {
		cr_assert_eq(vly_connect(rig.core, &to, NULL, NULL, &conn), 0);
		if (i % 64 == 0)
			rig_poll(&rig);
		hand.out_head = hand.out_tail; /* nobody answers */
	}
	rig_settle(&rig);
	rig_clear(&rig);
	cr_assert_eq(vly_connect(rig.core, &to, NULL, NULL, &conn), 0);
	rig_settle(&rig);
	const struct vly_event *open = rig_event(&rig, VLY_OPEN);

	cr_assert_not_null(open);
	cr_assert_eq(open->status, -EADDRNOTAVAIL);
	/* of another server's there are as many again */
	rig_clear(&rig);
	to.port = 91;
	cr_assert_eq(vly_connect(rig.core, &to, NULL, NULL, &conn), 0);
	rig_poll(&rig);
	cr_assert_null(rig_event(&rig, VLY_OPEN));
	rig_close(&rig);
}
