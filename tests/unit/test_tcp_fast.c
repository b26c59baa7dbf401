/* test_tcp_fast.c - what the fast path takes of messages of 64 bytes, and what it leaves to the slow one */
#include <errno.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"

TestSuite(tcp_fast, .fini = vly_leak_gate);

#define MESSAGE 64
#define AT_IP 14
#define AT_TCP (AT_IP + 20)

struct fixture {
	struct rig rig;
	struct peer peer;
	vly_conn conn;
	uint8_t ping[MESSAGE];
};

static void begin_config(struct fixture *f, struct vly_config *config, const char *options)
{
	for (uint32_t i = 0; i < MESSAGE; i++)
		f->ping[i] = (uint8_t)(i * 7 + 1);
	rig_open_config(&f->rig, config, options);
	f->conn = rig_accept(&f->rig, &f->peer);
}

static void begin(struct fixture *f)
{
	struct vly_config config;

	rig_config(&config);
	begin_config(f, &config, "");
}

/* The next message of the peer, with a poll that takes it. How many went the fast path: 0 or 1. */
static uint64_t take_message(struct fixture *f)
{
	uint64_t before = f->rig.inet->stats.tcp_fast;

	rig_clear(&f->rig);
	peer_send(&f->peer, VLY_TCP_ACK, f->ping, MESSAGE);
	rig_poll(&f->rig);
	return f->rig.inet->stats.tcp_fast - before;
}

static bool has_message(const struct rig *rig, const uint8_t *bytes)
{
	return rig->got_len == MESSAGE && !memcmp(rig->got, bytes, MESSAGE);
}

/* One message of ours, seen by the peer, which acknowledges it with what it sends next. */
static void send_message(struct fixture *f)
{
	hand.out_head = hand.out_tail; /* ACKs that time has sent */
	rig_send(&f->rig, f->conn, MESSAGE);
	struct sent sent = peer_expect(VLY_TCP_ACK);

	cr_assert_eq(sent.view.payload_bytes, MESSAGE);
	f->peer.ack += MESSAGE;
}

/* ---- one field changed, all sums right ---- */

/* What the frame on the wire has come to be. */
static struct hand_frame *last_frame(void)
{
	return &hand.in[(hand.in_tail - 1) % HAND_FRAMES];
}

static void put_sum(uint8_t *at, uint64_t sum)
{
	uint16_t check = vly_checksum_finish(sum);

	memcpy(at, &check, sizeof(check));
}

/* Both checksums anew, TCP's over what follows the IP header as it was sent. */
static void mend_sums(uint8_t *data, uint32_t l4_len)
{
	uint32_t addresses[2];

	memset(data + AT_IP + 10, 0, 2);
	put_sum(data + AT_IP + 10, vly_checksum_add(0, data + AT_IP, VLY_IPV4_BYTES));
	memcpy(addresses, data + AT_IP + 12, sizeof(addresses));
	memset(data + AT_TCP + 16, 0, 2);
	put_sum(data + AT_TCP + 16, vly_checksum_add(vly_checksum_pseudo(addresses[0], addresses[1],
									 VLY_IP_TCP, l4_len),
						     data + AT_TCP, l4_len));
}

enum outcome {
	FAST, /* taken by the fast path */
	SLOW, /* by the slow one */
	LOST, /* not shown to the application */
};

static const struct {
	const char *what;
	uint8_t at, bits; /* which of what byte are turned */
	int8_t cut;       /* so many bytes fewer in the frame than its header says */
	enum outcome outcome;
} changes[] = {
	{"nothing", 0, 0, 0, FAST},
	{"MAC, first byte", 0, 4, 0, LOST},
	{"MAC, last byte", 5, 4, 0, LOST},
	{"type", 12, 0x80, 0, LOST},
	{"version", AT_IP, 0x20, 0, LOST},
	{"header length", AT_IP, 1, 0, LOST},
	{"TOS", AT_IP + 1, 4, 0, FAST},
	{"total length above the frame", 0, 0, 1, LOST},
	{"padding behind the packet", 0, 0, -6, FAST},
	{"DF", AT_IP + 6, 0x40, 0, FAST},
	{"MF", AT_IP + 6, 0x20, 0, LOST},
	{"fragment offset, highest bit", AT_IP + 6, 0x10, 0, LOST},
	{"fragment offset, lowest bit", AT_IP + 7, 1, 0, LOST},
	{"TTL", AT_IP + 8, 1, 0, FAST},
	{"protocol", AT_IP + 9, VLY_IP_TCP ^ 253, 0, LOST},
	{"source address", AT_IP + 15, 1, 0, LOST},
	{"destination address", AT_IP + 19, 4, 0, LOST},
	{"source port", AT_TCP + 1, 1, 0, LOST},
	{"destination port", AT_TCP + 3, 1, 0, LOST},
	{"sequence number", AT_TCP + 4, 0x80, 0, LOST},
	{"acknowledgment", AT_TCP + 8, 0x80, 0, LOST},
	{"data offset", AT_TCP + 12, 0x10, 0, LOST},
	{"reserved, first bit", AT_TCP + 12, 8, 0, SLOW},
	{"reserved, last bit", AT_TCP + 12, 1, 0, SLOW},
	{"CWR", AT_TCP + 13, 0x80, 0, SLOW},
	{"ECE", AT_TCP + 13, 0x40, 0, SLOW},
	{"URG", AT_TCP + 13, 0x20, 0, SLOW},
	{"no ACK", AT_TCP + 13, VLY_TCP_ACK, 0, LOST},
	{"PSH", AT_TCP + 13, VLY_TCP_PSH, 0, FAST},
	{"RST", AT_TCP + 13, VLY_TCP_RST, 0, LOST},
	{"SYN", AT_TCP + 13, VLY_TCP_SYN, 0, LOST},
	{"FIN", AT_TCP + 13, VLY_TCP_FIN, 0, SLOW},
	{"window", AT_TCP + 14, 0x10, 0, FAST},
};

Test(tcp_fast, takes_a_message_only_if_each_field_is_what_it_must_be)
{
	for (unsigned i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		struct fixture f;

		begin(&f);
		uint64_t before = f.rig.inet->stats.tcp_fast;

		peer_send(&f.peer, VLY_TCP_ACK, f.ping, MESSAGE);
		struct hand_frame *frame = last_frame();

		frame->data[changes[i].at] ^= changes[i].bits;
		mend_sums(frame->data, frame->len - AT_TCP);
		frame->len -= (uint32_t)changes[i].cut;
		rig_settle(&f.rig);
		cr_assert_eq(f.rig.inet->stats.tcp_fast - before, changes[i].outcome == FAST, "%s",
			     changes[i].what);
		if (changes[i].outcome == LOST)
			cr_assert_eq(f.rig.got_len, 0, "%s", changes[i].what);
		else
			cr_assert(has_message(&f.rig, f.ping), "%s", changes[i].what);
		rig_close(&f.rig);
	}
}

/* Which connection it is for is told by its addresses and ports; their hash only says where to look. */
Test(tcp_fast, a_message_of_another_flow_with_the_same_hash_is_not_taken)
{
	struct fixture f;

	begin(&f);
	struct peer other = f.peer;
	struct vly_flow_table *flows = &f.rig.inet->flows;
	const struct vly_tcp *tcp = rig_tcp(&f.rig, f.conn);
	uint64_t before = f.rig.inet->stats.tcp_fast;

	other.port++;
	struct vly_flow_key key = {rig_ip(2), rig_ip(1), htons(other.port), htons(80)};
	uint32_t hash = vly_flow_hash_tcp(f.rig.inet, &key), name = 1 + vly_conn_index(&tcp->head);

	cr_assert(vly_flow_insert(flows, hash, name));
	peer_send(&other, VLY_TCP_ACK, f.ping, MESSAGE);
	rig_settle(&f.rig);
	vly_flow_remove(flows, hash, name);
	cr_assert_eq(f.rig.got_len, 0);
	cr_assert_eq(f.rig.inet->stats.tcp_fast, before);
	peer_expect(VLY_TCP_RST);
	cr_assert_eq(take_message(&f), 1);
	cr_assert(has_message(&f.rig, f.ping));
	rig_close(&f.rig);
}

/* ---- what the wire says of checksums ---- */

Test(tcp_fast, what_the_wire_calls_bad_is_not_believed_though_its_sums_are_right)
{
	struct fixture f;

	begin(&f);
	hand.rx_flags = VLY_FRAME_BAD;
	cr_assert_eq(take_message(&f), 0);
	rig_settle(&f.rig);
	cr_assert_eq(f.rig.count, 0);
	rig_close(&f.rig);
}

Test(tcp_fast, what_the_wire_has_checked_is_believed_though_its_sums_are_not_there)
{
	static const uint8_t sums[] = {AT_IP + 10, AT_TCP + 16};

	for (unsigned i = 0; i < sizeof(sums); i++) {
		struct fixture f;

		begin(&f);
		hand.rx_flags = VLY_FRAME_CHECKED;
		uint64_t before = f.rig.inet->stats.tcp_fast;

		peer_send(&f.peer, VLY_TCP_ACK, f.ping, MESSAGE);
		last_frame()->data[sums[i]] ^= 1;
		rig_poll(&f.rig);
		cr_assert(has_message(&f.rig, f.ping));
		cr_assert_eq(f.rig.inet->stats.tcp_fast, before + 1);
		rig_close(&f.rig);
	}
}

/* ---- what the connection must be ---- */

Test(tcp_fast, shows_nothing_of_who_is_paused)
{
	struct fixture f;

	begin(&f);
	cr_assert_eq(vly_pause(f.rig.core, f.conn), 0);
	cr_assert_eq(take_message(&f), 0);
	rig_settle(&f.rig);
	cr_assert_eq(f.rig.count, 0);
	cr_assert_eq(vly_resume(f.rig.core, f.conn), 0);
	rig_settle(&f.rig);
	cr_assert(has_message(&f.rig, f.ping));
	rig_close(&f.rig);
}

Test(tcp_fast, leaves_who_has_shut_down_to_the_slow_path)
{
	struct fixture f;

	begin(&f);
	cr_assert_eq(vly_shutdown(f.rig.core, f.conn), 0);
	cr_assert_eq(take_message(&f), 0);
	cr_assert(has_message(&f.rig, f.ping));
	peer_expect(VLY_TCP_ACK | VLY_TCP_FIN);
	rig_close(&f.rig);
}

/* Without a side record FIN waits behind what is in flight: what the ACK leaves to do is the slow path's. */
Test(tcp_fast, leaves_who_has_a_fin_to_send_to_the_slow_path)
{
	uint32_t taken[8], count = 0;
	struct vly_config config;
	struct fixture f;

	rig_config(&config);
	begin_config(&f, &config, "sides=8");
	struct vly_sides *sides = &f.rig.inet->tcp->sides;

	while (sides->slab.free_count)
		taken[count++] = vly_side_take(sides, 0);
	send_message(&f);
	cr_assert_eq(vly_shutdown(f.rig.core, f.conn), 0);
	rig_poll(&f.rig);
	peer_expect_nothing();
	cr_assert_eq(take_message(&f), 0);
	cr_assert(has_message(&f.rig, f.ping));
	peer_expect(VLY_TCP_ACK | VLY_TCP_FIN);
	while (count)
		vly_side_put(sides, taken[--count]);
	rig_close(&f.rig);
}

/* The rest of one buffer is neither forgotten nor left lying. */
Test(tcp_fast, what_the_window_held_back_is_sent_when_a_message_acknowledges_the_rest)
{
	enum {
		WINDOW = 1024,
		LEN = 2000
	};
	struct fixture f;

	begin(&f);
	f.peer.window = WINDOW >> 7;
	cr_assert_eq(take_message(&f), 1);
	rig_send(&f.rig, f.conn, LEN);
	struct sent sent = peer_expect(VLY_TCP_ACK);

	cr_assert_eq(sent.view.payload_bytes, WINDOW);
	cr_assert(rig_pattern_is(sent.data, 0, WINDOW));
	cr_assert_eq(rig_tcp(&f.rig, f.conn)->head.tx_bytes, LEN);
	f.peer.ack += WINDOW;
	cr_assert_eq(take_message(&f), 0);
	cr_assert(has_message(&f.rig, f.ping));
	sent = peer_expect(VLY_TCP_ACK);
	cr_assert_eq(sent.view.seq, f.peer.ack);
	cr_assert_eq(sent.view.payload_bytes, LEN - WINDOW);
	cr_assert(rig_pattern_is(sent.data, WINDOW, LEN - WINDOW));
	f.peer.ack += LEN - WINDOW;
	cr_assert_eq(take_message(&f), 1);
	cr_assert_eq(rig_tcp(&f.rig, f.conn)->head.tx_bytes, 0);
	rig_close(&f.rig);
}

/* ---- what it learns ---- */

Test(tcp_fast, believes_the_window_of_a_message)
{
	enum {
		SMALL = 128,
		LEN = 200
	};
	struct fixture f;

	begin(&f);
	f.peer.window = SMALL >> 7;
	cr_assert_eq(take_message(&f), 1);
	rig_send(&f.rig, f.conn, LEN);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.payload_bytes, SMALL);
	f.peer.ack += SMALL;
	peer_send(&f.peer, VLY_TCP_ACK, NULL, 0);
	rig_poll(&f.rig);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.payload_bytes, LEN - SMALL);
	f.peer.ack += LEN - SMALL;
	f.peer.window = 2 * SMALL >> 7;
	cr_assert_eq(take_message(&f), 1);
	rig_send(&f.rig, f.conn, LEN);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.payload_bytes, LEN);
	rig_close(&f.rig);
}

/* Karn: nobody knows which of two it answers. */
Test(tcp_fast, measures_no_round_trip_of_what_was_sent_twice)
{
	struct fixture f;

	begin(&f);
	send_message(&f);
	rig_pass(&f.rig, 3);
	cr_assert_eq(take_message(&f), 1);
	const struct vly_tcp *tcp = rig_tcp(&f.rig, f.conn);
	uint32_t srtt = tcp->srtt, rttvar = tcp->rttvar;

	rig_pass(&f.rig, 1);
	cr_assert_neq(srtt, 0);
	send_message(&f);
	for (unsigned i = 0; i < 2000 && !f.rig.inet->stats.tcp_rto; i++)
		rig_pass(&f.rig, 1);
	cr_assert_eq(peer_expect(VLY_TCP_ACK).view.payload_bytes, MESSAGE);
	rig_pass(&f.rig, 20);
	cr_assert_eq(take_message(&f), 1);
	cr_assert_eq(tcp->srtt, srtt);
	cr_assert_eq(tcp->rttvar, rttvar);
	send_message(&f);
	rig_pass(&f.rig, 20);
	cr_assert_eq(take_message(&f), 1);
	cr_assert_gt(tcp->srtt, srtt, "of what was sent once it does");
	rig_close(&f.rig);
}

/* What may be shown in place is what fits into a slice that is held. */
Test(tcp_fast, a_message_longer_than_a_held_slice_is_copied)
{
	for (uint32_t bytes = MESSAGE - 1; bytes <= MESSAGE; bytes++) {
		struct vly_config config;
		struct fixture f;

		rig_config(&config);
		config.hold_bytes = bytes;
		begin_config(&f, &config, "");
		cr_assert_eq(take_message(&f), bytes == MESSAGE);
		cr_assert(has_message(&f.rig, f.ping));
		cr_assert_eq(f.rig.events[0].buf == UINT32_MAX, bytes == MESSAGE);
		rig_close(&f.rig);
	}
}

/* ---- sending ---- */

/* Its queue is empty again and buffers are at hand, but it was not told yet. */
Test(tcp_fast, who_was_refused_is_refused_until_it_is_told_that_there_is_room)
{
	struct vly_config config;
	struct fixture f;
	struct peer other;

	rig_config(&config);
	config.tx_budget = MESSAGE + 1;
	begin_config(&f, &config, "");
	peer_init(&other, 5001, 80);
	peer_send(&other, VLY_TCP_SYN, NULL, 0);
	rig_settle(&f.rig);
	other.ack = peer_expect(VLY_TCP_SYN | VLY_TCP_ACK).view.seq + 1;
	peer_send(&other, VLY_TCP_ACK, NULL, 0);
	rig_settle(&f.rig);
	vly_conn conn = rig_event(&f.rig, VLY_OPEN)->conn;

	send_message(&f);
	cr_assert_eq(vly_send(f.rig.core, f.conn, f.ping, MESSAGE), -EAGAIN);
	cr_assert_eq(vly_send(f.rig.core, conn, f.ping, MESSAGE), 0);
	rig_poll(&f.rig);
	peer_expect(VLY_TCP_ACK);
	other.ack += MESSAGE;
	rig_clear(&f.rig);
	uint64_t before = f.rig.inet->stats.tcp_fast;

	peer_send(&f.peer, VLY_TCP_ACK, f.ping, MESSAGE);
	peer_send(&other, VLY_TCP_ACK, f.ping, MESSAGE);
	rig_poll(&f.rig);
	cr_assert_eq(f.rig.inet->stats.tcp_fast - before, 1, "of the other");
	cr_assert_eq(f.rig.got_len, 2 * MESSAGE);
	cr_assert_null(rig_event(&f.rig, VLY_DRAINED));
	cr_assert_gt(f.rig.core->env.near.count, 0);
	cr_assert_null(rig_tcp(&f.rig, f.conn)->head.tx_head);
	cr_assert_eq(vly_send(f.rig.core, f.conn, f.ping, MESSAGE), -EAGAIN);
	rig_poll(&f.rig);
	cr_assert_eq(rig_event(&f.rig, VLY_DRAINED)->conn, f.conn);
	cr_assert_eq(vly_send(f.rig.core, f.conn, f.ping, MESSAGE), 0);
	rig_close(&f.rig);
}

/* With buffers at hand, which a child does not have. */
Test(tcp_fast, a_message_of_a_forked_child_is_echild)
{
	struct fixture f;
	int status;

	begin(&f);
	send_message(&f);
	cr_assert_eq(take_message(&f), 1);
	cr_assert_gt(f.rig.core->env.near.count, 0);
	pid_t pid = fork();

	if (!pid)
		_exit(vly_send(f.rig.core, f.conn, f.ping, MESSAGE) == -ECHILD ? 0 : 1);
	cr_assert_gt(pid, 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0);
	rig_close(&f.rig);
}
