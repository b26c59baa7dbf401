/* test_tcp_message.c - messages of 64 bytes, which have ways of their own, beside those of other lengths */
#include <errno.h>

#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp_message, .fini = vly_leak_gate);

#define MESSAGE 64
#define ROUNDS 4

static const uint32_t lengths[] = {1, 16, MESSAGE - 1, MESSAGE, MESSAGE + 1, 2 * MESSAGE};

static void fill(uint8_t *bytes, uint32_t len, unsigned salt)
{
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(i * 7 + salt);
}

/* A connection with timestamps. */
static vly_conn accept_stamped(struct rig *rig, struct peer *peer)
{
	static const uint8_t options[] = {2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 4, 0, 0, 0, 0, 0};

	rig_syn(rig, peer, 1000, options, sizeof(options));
	peer->ts = true;
	peer->ts_value = 0x401;
	peer_send(peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(rig);
	vly_conn conn = rig_event(rig, VLY_OPEN)->conn;

	rig_clear(rig);
	return conn;
}

/* There and back, several times; every field of what is sent is looked at. */
static void talk(struct rig *rig, struct peer *peer, vly_conn conn, uint32_t len)
{
	uint8_t ping[2 * MESSAGE], pong[2 * MESSAGE];

	for (unsigned round = 0; round < ROUNDS; round++) {
		fill(ping, len, round);
		fill(pong, len, 100 + round);
		rig_clear(rig);
		peer->ts_value += peer->ts;
		peer_send(peer, VLY_TCP_ACK, ping, len);
		rig_poll(rig);
		cr_assert_eq(rig->got_len, len);
		cr_assert(!memcmp(rig->got, ping, len));
		cr_assert_eq(rig->count, 1);
		cr_assert_eq(rig->events[0].conn, conn);
		cr_assert_eq(rig->events[0].status, 0);
		cr_assert_eq(vly_send(rig->core, conn, pong, len), 0);
		rig_poll(rig);
		struct sent sent = peer_expect(VLY_TCP_ACK);

		cr_assert_eq(sent.view.seq, peer->ack);
		cr_assert_eq(sent.view.ack, peer->seq);
		/* 256 KiB, as far as the field says it: rig_accept() has agreed on shifts, accept_stamped() has not */
		cr_assert_eq(sent.view.window, peer->ts ? 65535 : 262144 >> 3);
		cr_assert_eq(sent.view.payload_bytes, len);
		cr_assert(!memcmp(sent.data, pong, len));
		if (peer->ts)
			cr_assert_eq(sent.options.ts_echo, peer->ts_value);
		peer->ack += len;
	}
}

Test(tcp_message, is_the_same_for_all_lengths_both_ways)
{
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		struct rig rig;
		struct peer peer;

		rig_open(&rig, "");
		talk(&rig, &peer, rig_accept(&rig, &peer), lengths[i]);
		cr_assert_geq(rig.inet->stats.tcp_fast, ROUNDS);
		rig_close(&rig);
	}
}

Test(tcp_message, is_the_same_with_timestamps_and_only_data_is_counted)
{
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(*lengths); i++) {
		struct rig rig;
		struct peer peer;
		struct vly_stats stats;

		rig_open(&rig, "");
		talk(&rig, &peer, accept_stamped(&rig, &peer), lengths[i]);
		cr_assert_geq(rig.inet->stats.tcp_fast, ROUNDS);
		cr_assert_eq(vly_stats(rig.engine, 0, &stats), 0);
		cr_assert_eq(stats.rx_bytes, ROUNDS * lengths[i]);
		cr_assert_eq(stats.tx_bytes, ROUNDS * lengths[i]);
		rig_close(&rig);
	}
}

/* A bit of any byte behind the Ethernet header: nothing of it comes to the application, whatever it was. */
Test(tcp_message, that_is_spoilt_anywhere_is_not_believed)
{
	uint8_t ping[MESSAGE];
	struct rig rig;
	struct peer peer;

	fill(ping, sizeof(ping), 1);
	rig_open(&rig, "");
	rig_accept(&rig, &peer);
	for (uint32_t at = VLY_ETH_BYTES; at < 14 + 20 + 20 + MESSAGE; at++) {
		rig_clear(&rig);
		peer_send_at(&peer, peer.seq, VLY_TCP_ACK, ping, sizeof(ping));
		hand.in[(hand.in_tail - 1) % HAND_FRAMES].data[at] ^= (uint8_t)(1 << at % 8);
		rig_settle(&rig);
		cr_assert_eq(rig.got_len, 0, "byte %u", at);
		cr_assert_eq(rig.count, 0, "byte %u", at);
	}
	peer_send(&peer, VLY_TCP_ACK, ping, sizeof(ping));
	rig_poll(&rig);
	cr_assert_eq(rig.got_len, MESSAGE);
	rig_close(&rig);
}

/* The first of two goes the short way, the second joins it. */
Test(tcp_message, two_of_one_batch_are_one_segment)
{
	uint8_t pong[2 * MESSAGE];
	struct rig rig;
	struct peer peer;

	fill(pong, sizeof(pong), 3);
	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	talk(&rig, &peer, conn, MESSAGE);
	cr_assert_eq(vly_send(rig.core, conn, pong, MESSAGE), 0);
	cr_assert_eq(vly_send(rig.core, conn, pong + MESSAGE, MESSAGE), 0);
	rig_poll(&rig);
	struct sent sent = peer_expect(VLY_TCP_ACK);

	cr_assert_eq(sent.view.payload_bytes, sizeof(pong));
	cr_assert(!memcmp(sent.data, pong, sizeof(pong)));
	rig_close(&rig);
}

/* With buffers at hand, which the short way would take. */
Test(tcp_message, is_refused_as_any_other)
{
	const uint8_t pong[MESSAGE] = {0};
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	vly_conn conn = rig_accept(&rig, &peer);

	talk(&rig, &peer, conn, MESSAGE);
	peer_send(&peer, VLY_TCP_ACK, pong, MESSAGE);
	rig_poll(&rig);
	cr_assert_gt(rig.core->env.near.count, 0);
	cr_assert_eq(vly_send(rig.core, 0, pong, MESSAGE), -ENOTCONN);
	cr_assert_eq(vly_send(rig.core, conn + (1ull << VLY_SLOT_BITS), pong, MESSAGE), -ENOTCONN);
	cr_assert_eq(vly_send(rig.core, conn + 1, pong, MESSAGE), -ENOTCONN);
	cr_assert_eq(vly_send(rig.core, conn | UINT64_C(5) << 56, pong, MESSAGE), -EXDEV);
	cr_assert_eq(vly_shutdown(rig.core, conn), 0);
	cr_assert_eq(vly_send(rig.core, conn, pong, MESSAGE), -EPIPE);
	cr_assert_eq(vly_close(rig.core, conn), 0);
	cr_assert_neq(vly_send(rig.core, conn, pong, MESSAGE), 0);
	rig_close(&rig);
}

Test(tcp_message, longer_than_the_budget_is_emsgsize_at_64_bytes_too)
{
	const uint8_t pong[MESSAGE] = {0};
	struct vly_listen_opts opts = {.tx_budget = MESSAGE - 1};
	struct vly_addr addr;
	vly_conn listener;
	struct rig rig;
	struct peer other, peer;

	rig_open(&rig, "");
	talk(&rig, &other, rig_accept(&rig, &other), MESSAGE);
	peer_send(&other, VLY_TCP_ACK, pong, MESSAGE);
	rig_poll(&rig);
	cr_assert_gt(rig.core->env.near.count, 0);
	cr_assert_eq(vly_addr_parse("10.0.0.1:81", &addr), 0);
	cr_assert_eq(vly_listen(rig.core, &addr, &opts, NULL, &listener), 0);
	rig_clear(&rig);
	peer_init(&peer, 5001, 81);
	peer_send(&peer, VLY_TCP_SYN, NULL, 0);
	rig_settle(&rig);
	peer.ack = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK).view.seq + 1;
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	vly_conn conn = rig_event(&rig, VLY_OPEN)->conn;

	cr_assert_eq(vly_send(rig.core, conn, pong, MESSAGE), -EMSGSIZE);
	cr_assert_eq(vly_send(rig.core, conn, pong, MESSAGE - 1), 0);
	rig_close(&rig);
}

/* Whether there are options is told by the header's length: the frame may end where they would be. */
Test(tcp_message, bare_ack_on_a_connection_with_timestamps_is_not_read_past_its_end)
{
	struct rig rig;
	struct peer peer;

	rig_open(&rig, "");
	talk(&rig, &peer, accept_stamped(&rig, &peer), MESSAGE);
	uint64_t slow = rig.inet->stats.tcp_slow;

	peer.ts = false;
	peer_send(&peer, VLY_TCP_ACK, NULL, 0);
	rig_settle(&rig);
	cr_assert_eq(rig.inet->stats.tcp_slow, slow + 1);
	rig_close(&rig);
}
