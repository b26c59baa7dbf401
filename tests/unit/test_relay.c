/* test_relay.c - several cores on one port: flows come to their core, whatever the port does */
#include "nic/inet/relay.h"

#include "tests/support/cores_rig.h"
#include "tests/support/leak.h"

TestSuite(relay, .fini = vly_leak_gate, .timeout = 120);

static void open_queues(struct cores_rig *rig, unsigned serving, unsigned calling, uint16_t queues0,
			uint16_t queues1, enum vly_loop_rss rss)
{
	struct vly_loop_opts opts = {
		.slots = 64, .queues = {queues0, queues1}, .rss = {(uint8_t)rss, (uint8_t)rss}};

	rig_open_opts(rig, serving, calling, &opts, "");
}

static uint64_t sum(struct cores_rig *rig, unsigned side, size_t offset)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < rig->cores[side]; i++) {
		struct vly_stats stats = rig_stats(rig, side, i);
		uint64_t value;

		memcpy(&value, (char *)&stats + offset, sizeof(value));
		total += value;
	}
	return total;
}

#define rig_sum(rig, side, field) sum(rig, side, offsetof(struct vly_stats, field))

/* --- a port that does what it says --- */

static void inbound(unsigned cores, unsigned flows)
{
	static struct cores_rig rig;
	unsigned all = 0;

	open_queues(&rig, cores, 1, (uint16_t)cores, 1, VLY_LOOP_RSS_STANDARD);
	rig_listen_all(&rig);
	rig_talk(&rig, flows, 40);
	for (unsigned i = 0; i < cores; i++) {
		cr_assert_gt(rig.accepted[i], 0, "core %u of %u got none", i, cores);
		all += rig.accepted[i];
	}
	cr_assert_eq(all, flows);
	cr_assert_eq(rig.strays, 0);
	cr_assert_eq(rig_sum(&rig, SERVES, place_elsewhere), 0);
	for (unsigned i = 0; i < cores; i++)
		cr_assert_eq(rig_stats(&rig, SERVES, i).place, VLY_PLACE_BY_PORT,
			     "core %u is still checking", i);
	/* nothing but copies of ARP has crossed */
	cr_assert_leq(rig_sum(&rig, SERVES, relay_tx), 2 * cores * cores);
	rig_hang_up(&rig);
	rig_close(&rig);
}

Test(relay, inbound_flows_come_to_the_core_of_their_hash_two_cores)
{
	inbound(2, 32);
}

Test(relay, inbound_flows_come_to_the_core_of_their_hash_four_cores)
{
	inbound(4, 64);
}

Test(relay, inbound_flows_come_to_the_core_of_their_hash_sixteen_cores)
{
	inbound(16, 320);
}

static void outbound(unsigned cores, unsigned each, enum vly_loop_rss rss)
{
	static struct cores_rig rig;

	open_queues(&rig, 1, cores, 1, (uint16_t)cores, rss);
	rig_listen(&rig, 0);
	rig_talk(&rig, each, 10);
	cr_assert_eq(rig.accepted[0], cores * each);
	cr_assert_eq(rig_sum(&rig, CALLS, place_elsewhere), 0);
	cr_assert_geq(rig_sum(&rig, CALLS, place_home), 1);
	cr_assert_leq(rig_sum(&rig, CALLS, relay_tx), 2 * cores * cores);
	rig_hang_up(&rig);
	rig_close(&rig);
}

Test(relay, a_connect_chooses_a_port_whose_answers_come_home_two_cores)
{
	outbound(2, 20, VLY_LOOP_RSS_STANDARD);
}

Test(relay, a_connect_chooses_a_port_whose_answers_come_home_sixteen_cores)
{
	outbound(16, 20, VLY_LOOP_RSS_STANDARD);
}

Test(relay, a_symmetric_key_serves_as_well)
{
	outbound(4, 20, VLY_LOOP_RSS_SYMMETRIC);
}

Test(relay, both_sides_may_have_several_cores)
{
	static struct cores_rig rig;

	open_queues(&rig, 4, 3, 4, 3, VLY_LOOP_RSS_STANDARD);
	rig_listen_all(&rig);
	rig_talk(&rig, 40, 20);
	cr_assert_eq(rig.strays, 0);
	cr_assert_eq(rig_sum(&rig, SERVES, place_elsewhere) + rig_sum(&rig, CALLS, place_elsewhere),
		     0);
	rig_hang_up(&rig);
	rig_close(&rig);
}

/* --- ports that do not --- */

static void bad_port(unsigned serving, unsigned calling, enum vly_loop_rss rss)
{
	static struct cores_rig rig;

	open_queues(&rig, serving, calling, (uint16_t)serving, (uint16_t)calling, rss);
	rig_listen_all(&rig);
	rig_talk(&rig, 96 / calling, 10);
	for (unsigned side = 0; side < 2; side++) {
		if (rig.cores[side] == 1)
			continue;
		cr_assert_geq(rig_sum(&rig, side, place_elsewhere), 4);
		cr_assert_geq(rig_sum(&rig, side, relay_rx), 4);
		for (unsigned i = 0; i < rig.cores[side]; i++) {
			/* those that no frame comes to learn it at the next */
			struct vly_stats stats = rig_stats(&rig, side, i);

			cr_assert(stats.place == VLY_PLACE_BY_CORES || !stats.place_home);
		}
	}
	/* flows are where they belong all the same, and each engine has said so once */
	cr_assert_eq(rig.strays, 0);
	cr_assert_eq(rig.warnings, (unsigned)(serving > 1) + (calling > 1));
	rig_hang_up(&rig);
	rig_close(&rig);
}

Test(relay, a_port_that_hashes_by_another_key_is_found_out_and_sorted_behind)
{
	bad_port(2, 2, VLY_LOOP_RSS_OTHER_KEY);
}

Test(relay, a_port_that_brings_all_to_one_queue_is_found_out)
{
	bad_port(4, 3, VLY_LOOP_RSS_FIRST);
}

Test(relay, a_port_that_sprays_the_frames_of_a_flow_is_found_out)
{
	bad_port(4, 1, VLY_LOOP_RSS_SPRAY);
}

Test(relay, sixteen_cores_behind_a_port_that_ignores_the_key)
{
	bad_port(16, 1, VLY_LOOP_RSS_OTHER_KEY);
}

/* --- fewer queues than cores --- */

static void few_queues(unsigned serving, unsigned calling, uint16_t queues0, uint16_t queues1)
{
	static struct cores_rig rig;
	unsigned all = 0;

	open_queues(&rig, serving, calling, queues0, queues1, VLY_LOOP_RSS_STANDARD);
	rig_listen_all(&rig);
	rig_talk(&rig, 160 / calling, 10);
	for (unsigned i = 0; i < serving; i++) {
		cr_assert_gt(rig.accepted[i], 0, "core %u of %u got none", i, serving);
		all += rig.accepted[i];
	}
	cr_assert_eq(all, rig.count);
	for (unsigned side = 0; side < 2; side++) {
		for (unsigned i = 0; rig.cores[side] > 1 && i < rig.cores[side]; i++)
			cr_assert_eq(rig_stats(&rig, side, i).place, VLY_PLACE_BY_CORES);
		cr_assert_eq(rig_sum(&rig, side, relay_dropped), 0);
	}
	cr_assert_eq(rig.warnings, (unsigned)(serving > queues0) + (calling > queues1),
		     "each engine says it");
	rig_hang_up(&rig);
	rig_close(&rig);
}

Test(relay, four_cores_share_one_queue)
{
	few_queues(4, 1, 1, 1);
}

Test(relay, four_cores_share_two_queues_and_connect_by_one_of_two)
{
	few_queues(4, 4, 2, 2);
}

Test(relay, sixteen_cores_share_one_queue)
{
	few_queues(16, 2, 1, 1);
}

/* --- what not every core has --- */

Test(relay, a_listener_of_one_core_gets_what_comes_in_at_all)
{
	static struct cores_rig rig;

	open_queues(&rig, 4, 1, 4, 1, VLY_LOOP_RSS_STANDARD);
	rig_listen(&rig, 2);
	rig_talk(&rig, 60, 10);
	cr_assert_eq(rig.accepted[2], 60);
	rig_hang_up(&rig);
	/* what was strange is forgotten: the same again */
	rig_talk(&rig, 60, 10);
	cr_assert_eq(rig.accepted[2], 120);
	rig_hang_up(&rig);
	rig_close(&rig);
}

Test(relay, listeners_that_come_later_take_over_without_harm_to_who_was_there)
{
	static struct cores_rig rig;

	open_queues(&rig, 4, 1, 4, 1, VLY_LOOP_RSS_STANDARD);
	rig_listen(&rig, 1);
	rig_talk(&rig, 40, 3);
	rig_listen(&rig, 0);
	rig_listen(&rig, 2);
	rig_listen(&rig, 3);
	rig_echo(&rig, 3);
	cr_assert_eq(rig.accepted[1], 40);
	for (unsigned i = 0; i < 40; i++)
		rig_connect(&rig, 0);
	rig_until(&rig, rig_opened(&rig) == 80);
	for (unsigned i = 40; i < 80; i++)
		rig.flows[i].echoed = rig.flows[0].echoed;
	rig_echo(&rig, 3);
	cr_assert_gt(rig.accepted[0], 0);
	cr_assert_gt(rig.accepted[3], 0);
	rig_hang_up(&rig);
	rig_close(&rig);
}

Test(relay, a_listener_of_one_core_serves_by_cookies_too)
{
	static struct cores_rig rig;
	struct vly_loop_opts opts = {.slots = 64, .queues = {4, 1}};

	rig_open_opts(&rig, 4, 1, &opts, ",cookies=2");
	rig_listen(&rig, 3);
	rig_talk(&rig, 40, 5);
	cr_assert_eq(rig.accepted[3], 40);
	rig_hang_up(&rig);
	rig_close(&rig);
}

Test(relay, a_port_that_nobody_has_is_refused_by_whoever_gets_the_frame)
{
	static struct cores_rig rig;

	open_queues(&rig, 4, 1, 4, 1, VLY_LOOP_RSS_STANDARD);
	rig_listen(&rig, 1);
	for (unsigned i = 0; i < 20; i++)
		rig_connect_from(&rig, 0, NULL, 81);
	for (unsigned i = 0; i < 20; i++) {
		rig_until(&rig, rig.flows[i].opened);
		cr_assert_eq(rig.flows[i].opened, -ECONNREFUSED);
	}
	rig_close(&rig);
}

Test(relay, a_source_port_of_the_application_s_choice_is_found_from_any_queue)
{
	static struct cores_rig rig;
	struct vly_addr from = rig_addr(CALLS, 0);

	open_queues(&rig, 1, 4, 1, 4, VLY_LOOP_RSS_STANDARD);
	rig_listen(&rig, 0);
	/* three of four answers come in elsewhere */
	for (unsigned i = 0; i < 64; i++) {
		from.port = (uint16_t)(2000 + i);
		rig_connect_from(&rig, i % 4, &from, RIG_PORT);
	}
	rig_until(&rig, rig_opened(&rig) == 64);
	rig_echo(&rig, 10);
	cr_assert_gt(rig_sum(&rig, CALLS, relay_rx), 64);
	cr_assert_eq(rig.warnings, 0, "which is no fault of the port's");
	rig_hang_up(&rig);
	rig_close(&rig);
}

Test(relay, a_udp_socket_of_one_core_gets_what_comes_in_at_all)
{
	static struct cores_rig rig;
	struct vly_addr addr = rig_addr(SERVES, 5353), any;
	vly_conn server, client[8];

	open_queues(&rig, 4, 2, 4, 2, VLY_LOOP_RSS_STANDARD);
	cr_assert_eq(vly_udp_open(rig.core[SERVES][1], &addr, NULL, &server), 0);
	for (unsigned i = 0; i < 8; i++) {
		any = rig_addr(CALLS, 0);
		cr_assert_eq(vly_udp_open(rig.core[CALLS][i % 2], &any, NULL, &client[i]), 0);
	}
	for (unsigned round = 1; round <= 4; round++) {
		for (unsigned i = 0; i < 8; i++)
			cr_assert_eq(vly_sendto(rig.core[CALLS][i % 2], client[i], &addr, "x", 1),
				     0);
		rig_until(&rig,
			  rig.dgrams[CALLS][0] == 4 * round && rig.dgrams[CALLS][1] == 4 * round);
	}
	cr_assert_eq(rig.dgrams[SERVES][1], 32);
	rig_close(&rig);
}

Test(relay, listeners_and_sockets_without_a_port_get_different_ones_on_each_core)
{
	static struct cores_rig rig;
	struct vly_addr any = rig_addr(SERVES, 0), name[4];
	vly_conn conn;

	open_queues(&rig, 4, 1, 4, 1, VLY_LOOP_RSS_STANDARD);
	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(vly_listen(rig.core[SERVES][i], &any, NULL, NULL, &conn), 0);
		cr_assert_eq(vly_name(rig.core[SERVES][i], conn, &name[i], NULL), 0);
		for (unsigned k = 0; k < i; k++)
			cr_assert_neq(name[i].port, name[k].port);
	}
	rig_close(&rig);
}

/* --- the probe --- */

Test(relay, a_probe_shows_at_start_whether_the_port_does_what_it_says)
{
	static struct cores_rig rig;
	struct vly_loop_opts opts = {
		.slots = 64, .queues = {1, 4}, .rss = {0, VLY_LOOP_RSS_OTHER_KEY}};

	rig_open_opts(&rig, 1, 4, &opts, "");
	rig_stop(&rig, CALLS);
	snprintf(rig.nic[CALLS], sizeof(rig.nic[CALLS]),
		 "inet:loop,fd=%d,side=1,ip=10.0.0.101/24,probe=10.0.0.1", rig.loop);
	rig_start(&rig, CALLS);
	/* nobody connects; its answers alone tell */
	rig_until(&rig, rig.warnings == 1);
	cr_assert_geq(rig_sum(&rig, CALLS, place_elsewhere), 4);
	rig_close(&rig);
}

/* --- ends --- */

Test(relay, the_other_side_goes_and_comes_back_and_all_cores_go_on)
{
	static struct cores_rig rig;

	open_queues(&rig, 2, 4, 2, 2, VLY_LOOP_RSS_STANDARD);
	for (unsigned round = 0; round < 3; round++) {
		rig_listen_all(&rig);
		rig_talk(&rig, 10, 3);
		rig_hang_up(&rig);
		rig_stop(&rig, SERVES);
		for (unsigned i = 0; i < 50; i++)
			rig_round(&rig);
		rig_start(&rig, SERVES);
	}
	rig_close(&rig);
}

Test(relay, cores_close_in_any_order_and_what_is_on_its_way_is_lost_not_waited_for)
{
	static struct cores_rig rig;

	open_queues(&rig, 4, 4, 2, 2, VLY_LOOP_RSS_STANDARD);
	rig_listen_all(&rig);
	rig_talk(&rig, 40, 3);
	/* those by whom the others send go first */
	for (unsigned i = 0; i < 4; i++) {
		vly_core_close(rig.core[SERVES][i]);
		for (unsigned k = i + 1; k < 4; k++) {
			struct vly_event *events;

			for (unsigned n = 0; n < 20; n++)
				cr_assert_geq(vly_poll(rig.core[SERVES][k], &events, 0), 0);
		}
	}
	vly_engine_close(rig.engine[SERVES]);
	rig.engine[SERVES] = NULL;
	rig_start(&rig, SERVES);
	rig_close(&rig);
}
