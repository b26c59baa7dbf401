/* test_tcp_backlog.c - many handshakes at once: SYN-ACKs that wait for a neighbour, or for room on the wire */
#include "nic/inet/tcp.h"

#include "tests/support/tcp_rig.h"
#include "volley/loop.h"

TestSuite(tcp_backlog, .fini = vly_leak_gate, .timeout = 60);

#define KNOCKS 20u

static void open_with_backlog(struct rig *rig)
{
	struct vly_config config;
	struct vly_addr addr;
	vly_conn listener;

	rig_config(&config);
	config.backlog = 2 * KNOCKS;
	rig_open_config(rig, &config, "");
	cr_assert_eq(vly_addr_parse("10.0.0.1:80", &addr), 0);
	cr_assert_eq(vly_listen(rig->core, &addr, NULL, NULL, &listener), 0);
}

static void knock(struct rig *rig, uint16_t first)
{
	struct peer peer;

	for (uint16_t i = 0; i < KNOCKS; i++) {
		peer_init(&peer, (uint16_t)(first + i), 80);
		peer_send(&peer, VLY_TCP_SYN, NULL, 0);
	}
	rig_settle(rig);
}

/* Each of them has one SYN-ACK, and none a second. */
static void expect_answers(struct rig *rig, uint16_t first)
{
	unsigned answers[KNOCKS] = {0};
	struct sent sent;

	while (peer_take(&sent)) {
		cr_assert_eq(sent.view.flags, VLY_TCP_SYN | VLY_TCP_ACK);
		answers[sent.view.dst_port - first]++;
	}
	for (unsigned i = 0; i < KNOCKS; i++)
		cr_assert_eq(answers[i], 1, "port %u: %u", first + i, answers[i]);
	cr_assert_eq(rig->inet->stats.tcp_retransmit, 0);
	cr_assert_eq(rig->inet->tcp->minis.lists[VLY_MINI_UNSENT].count, 0);
}

static void answer_arp(void)
{
	uint8_t reply[VLY_ARP_FRAME_BYTES];

	vly_arp_write(reply, &(struct vly_arp_opts){.operation = VLY_ARP_REPLY,
						    .sender_mac = hand_peer_mac,
						    .target_mac = hand.wire.mac,
						    .sender_ip = rig_ip(2),
						    .target_ip = rig_ip(1)});
	hand_put(reply, sizeof(reply));
}

Test(tcp_backlog, syn_acks_beyond_those_that_wait_with_arp_go_when_the_neighbour_answers)
{
	struct rig rig;

	open_with_backlog(&rig);
	hand.answers_arp = false;
	knock(&rig, 6000);
	peer_expect_nothing();
	cr_assert_eq(rig.inet->tcp->minis.lists[VLY_MINI_UNSENT].count,
		     KNOCKS - VLY_HOP_PENDING_EACH);
	answer_arp();
	rig_settle(&rig);
	expect_answers(&rig, 6000);
	rig_close(&rig);
}

Test(tcp_backlog, syn_acks_that_the_wire_is_too_full_for_go_when_it_has_room)
{
	struct rig rig;

	open_with_backlog(&rig);
	knock(&rig, 6000);
	expect_answers(&rig, 6000);
	hand.room = 0;
	knock(&rig, 7000);
	peer_expect_nothing();
	hand.room = 3;
	for (unsigned i = 0; i < KNOCKS; i++)
		rig_poll(&rig);
	expect_answers(&rig, 7000);
	rig_close(&rig);
}

Test(tcp_backlog, a_neighbour_that_never_answers_holds_none_for_ever)
{
	struct rig rig;

	open_with_backlog(&rig);
	hand.answers_arp = false;
	knock(&rig, 6000);
	rig_pass_by(&rig, 200000, 500);
	cr_assert_eq(rig.inet->tcp->minis.half_count, 0);
	rig_close(&rig);
}

/* --- two engines, the clock standing still: whatever needs a timer never happens --- */

#define CONNECTS 1500u
#define POLLS_MAX 20000u

struct end {
	struct vly_engine *engine;
	struct vly_core *core;
	unsigned opened;
};

static void end_open(struct end *end, int loop, unsigned side)
{
	struct vly_config config;
	char nic[128];

	*end = (struct end){0};
	snprintf(nic, sizeof(nic), "inet:loop,fd=%d,side=%u,ip=10.%u.0.1/8,ips=32,seed=3", loop,
		 side, side);
	rig_config(&config);
	config.nic = nic;
	config.conns_max = CONNECTS + 16;
	config.backlog = CONNECTS;
	cr_assert_eq(vly_engine_open(&config, &end->engine), 0);
	cr_assert_eq(vly_core_open(end->engine, 0, &end->core), 0);
}

static void end_poll(struct end *end)
{
	struct vly_event *events;
	int count = vly_poll(end->core, &events, 0);

	for (int i = 0; i < count; i++) {
		cr_assert_eq(events[i].kind, VLY_OPEN);
		cr_assert_eq(events[i].status, 0);
		end->opened++;
	}
}

static void end_close(struct end *end)
{
	vly_core_close(end->core);
	vly_engine_close(end->engine);
}

static void connect_all(uint32_t slots)
{
	const struct vly_loop_opts opts = {.slots = slots};
	struct vly_addr addr;
	struct end server, client;
	vly_conn conn;
	int loop = vly_loop_make(&opts);

	cr_assert_geq(loop, 0);
	vly_clock_freeze(1000000 * MS);
	end_open(&server, loop, 0);
	end_open(&client, loop, 1);
	cr_assert_eq(vly_addr_parse("10.0.0.1:80", &addr), 0);
	cr_assert_eq(vly_listen(server.core, &addr, NULL, NULL, &conn), 0);
	for (unsigned i = 0; i < CONNECTS; i++)
		cr_assert_eq(vly_connect(client.core, &addr, NULL, NULL, &conn), 0);
	for (unsigned i = 0; i < POLLS_MAX && server.opened + client.opened < 2 * CONNECTS; i++) {
		end_poll(&server);
		end_poll(&client);
	}
	cr_assert_eq(client.opened, CONNECTS);
	cr_assert_eq(server.opened, CONNECTS);
	end_close(&client);
	end_close(&server);
	vly_loop_close(loop);
}

/* With a wire that takes all at once, and with one that is full most of the time. */
Test(tcp_backlog, so_many_connects_at_once_from_many_addresses_wait_for_no_timer)
{
	connect_all(4096);
	connect_all(64);
}
