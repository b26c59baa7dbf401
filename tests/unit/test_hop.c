/* test_hop.c - neighbours: asking, waiting, ageing, and not believing what nobody asked for */
#include "nic/inet/hop.h"

#include "tests/support/inet_rig.h"
#include "tests/support/leak.h"

TestSuite(hop, .fini = vly_leak_gate);

static struct vly_hop *at(struct inet_rig *rig, uint16_t hop)
{
	cr_assert_neq(hop, VLY_NO_HOP);
	return &rig->inet.hops.table[hop];
}

/* The peer is known, as `hop`. */
static struct inet_rig *open_acquainted(uint16_t *hop)
{
	struct inet_rig *rig = inet_rig_open();

	rig_meet(rig);
	*hop = vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));
	return rig;
}

static const struct vly_arp_header *arp_out(struct inet_rig *rig, uint32_t index)
{
	const struct vly_arp_header *arp;

	cr_assert_eq(vly_arp_parse(rig->out[index], rig->out_len[index], &arp), VLY_DROP_NONE);
	return arp;
}

Test(hop, an_unknown_neighbour_is_asked_for_and_its_answer_taken)
{
	struct inet_rig *rig = inet_rig_open();
	uint16_t hop = vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));

	cr_assert_eq(at(rig, hop)->state, VLY_HOP_ASKING);
	cr_assert_eq(rig_sent(rig), 1);
	cr_assert(vly_mac_is_broadcast(rig->out[0]));
	cr_assert_eq(arp_out(rig, 0)->operation, htons(VLY_ARP_REQUEST));
	cr_assert_eq(arp_out(rig, 0)->target_ip, htonl(FRAME_SRC_IP));
	rig_arp(rig, VLY_ARP_REPLY, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_READY);
	cr_assert(vly_mac_equal(at(rig, hop)->eth, rig_peer_mac));
	cr_assert(vly_mac_equal(at(rig, hop)->eth + 6, rig_mac));
	cr_assert_eq(at(rig, hop)->eth[12], 0x08);
	cr_assert_eq(at(rig, hop)->eth[13], 0x00);
	cr_assert_eq(vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP)), hop);
	cr_assert_eq(at(rig, hop)->refs, 2);
	cr_assert_eq(rig_sent(rig), 0);
	vly_hop_put(&rig->inet, hop);
	vly_hop_put(&rig->inet, hop);
	inet_rig_close(rig);
}

Test(hop, what_is_far_goes_by_the_gateway)
{
	struct inet_rig *rig = inet_rig_open();
	uint16_t hop = vly_hop_take(&rig->inet, htonl(0xc0000201));

	cr_assert_eq(at(rig, hop)->ip, htonl(0x0a0000fe));
	cr_assert_eq(vly_hop_take(&rig->inet, htonl(0xc0000202)), hop);
	rig->inet.route.gateway = 0;
	cr_assert_eq(vly_hop_take(&rig->inet, htonl(0xc0000203)), VLY_NO_HOP);
	inet_rig_close(rig);
}

Test(hop, nobody_is_no_neighbour)
{
	static const uint32_t nobody[] = {0,          0x7f000001, 0xe0000001,  0xffffffff,
					  0x0a0000ff, 0x0a000000, FRAME_DST_IP};
	struct inet_rig *rig = inet_rig_open();

	for (size_t i = 0; i < sizeof(nobody) / sizeof(nobody[0]); i++)
		cr_assert_eq(vly_hop_take(&rig->inet, htonl(nobody[i])), VLY_NO_HOP, "%08x",
			     nobody[i]);
	cr_assert_eq(rig_sent(rig), 0);
	inet_rig_close(rig);
}

Test(hop, a_host_of_the_hub_is_its_own_neighbour)
{
	struct inet_rig *rig = inet_rig_open();

	rig->wire.caps = VLY_WIRE_HOST_PER_CORE;
	uint16_t hop = vly_hop_take(&rig->inet, htonl(FRAME_DST_IP));

	cr_assert_eq(at(rig, hop)->state, VLY_HOP_READY);
	cr_assert(vly_mac_equal(at(rig, hop)->eth, rig_mac));
	cr_assert_eq(rig_sent(rig), 0);
	inet_rig_close(rig);
}

Test(hop, frames_wait_for_the_answer_in_their_order_and_no_more_than_bounded)
{
	struct inet_rig *rig = inet_rig_open();
	uint16_t hop = vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));

	rig_sent(rig);
	for (uint32_t i = 0; i < VLY_HOP_PENDING_EACH; i++)
		cr_assert(rig_send(rig, hop, i));
	cr_assert_not(rig_send(rig, hop, 99));
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_PENDING], 1);
	cr_assert_eq(rig_sent(rig), 0);
	rig_arp(rig, VLY_ARP_REPLY, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
	cr_assert_eq(rig_sent(rig), VLY_HOP_PENDING_EACH);
	for (uint32_t i = 0; i < VLY_HOP_PENDING_EACH; i++) {
		cr_assert(vly_mac_equal(rig->out[i], rig_peer_mac));
		cr_assert_eq(rig->out_len[i], 38);
		cr_assert_eq(rig->out[i][34], i);
	}
	cr_assert_eq(at(rig, hop)->waiting, 0);
	cr_assert(rig_send(rig, hop, 5));
	cr_assert_eq(rig_sent(rig), 1);
	inet_rig_close(rig);
}

Test(hop, the_pending_queue_of_all_is_bounded_and_comes_home)
{
	struct inet_rig *rig = inet_rig_open();
	uint16_t hops[20];
	uint32_t waited = 0;

	for (int round = 0; round < 3; round++) {
		waited = 0;
		for (uint32_t i = 0; i < 20; i++) {
			hops[i] = vly_hop_take(&rig->inet, htonl(0x0a000064 + i));
			for (int j = 0; j < 4; j++)
				waited += rig_send(rig, hops[i], j);
		}
		cr_assert_eq(waited, VLY_HOP_PENDING_MAX);
		for (uint32_t i = 0; i < 20; i++)
			vly_hop_put(&rig->inet, hops[i]);
		for (int s = 0; s < 5; s++)
			rig_time(rig, RIG_SECOND);
		rig_sent(rig);
		cr_assert_eq(rig->inet.hops.used, 0, "silent neighbours are given up");
	}
	inet_rig_close(rig);
}

Test(hop, a_request_is_answered_and_teaches_who_asked)
{
	struct inet_rig *rig = inet_rig_open();

	rig_arp(rig, VLY_ARP_REQUEST, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
	cr_assert_eq(rig_sent(rig), 1);
	const struct vly_arp_header *arp = arp_out(rig, 0);

	cr_assert(vly_mac_equal(rig->out[0], rig_peer_mac), "to him alone");
	cr_assert_eq(arp->operation, htons(VLY_ARP_REPLY));
	cr_assert_eq(arp->sender_ip, htonl(FRAME_DST_IP));
	cr_assert_eq(arp->target_ip, htonl(FRAME_SRC_IP));
	cr_assert(vly_mac_equal(arp->sender_mac, rig_mac));
	uint16_t hop = vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));

	cr_assert_eq(at(rig, hop)->state, VLY_HOP_READY);
	cr_assert_eq(rig_sent(rig), 0);
	inet_rig_close(rig);
}

Test(hop, a_copy_from_another_core_teaches_and_is_not_answered)
{
	struct inet_rig *rig = inet_rig_open();

	vly_arp_write(rig->in, &(struct vly_arp_opts){.operation = VLY_ARP_REQUEST,
						      .sender_mac = rig_peer_mac,
						      .sender_ip = htonl(FRAME_SRC_IP),
						      .target_ip = htonl(FRAME_DST_IP)});
	vly_ip_input(&rig->inet, &(struct vly_frame){.data = rig->in,
						     .len = VLY_ARP_FRAME_BYTES,
						     .flags = VLY_FRAME_COPY});
	cr_assert_eq(rig_sent(rig), 0);
	cr_assert_eq(rig->inet.hops.used, 1);
	inet_rig_close(rig);
}

Test(hop, gratuitous_and_unsolicited_answers_are_not_accepted)
{
	struct inet_rig *rig = inet_rig_open();

	rig_arp(rig, VLY_ARP_REPLY, rig_other_mac, FRAME_SRC_IP, FRAME_DST_IP);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_UNSOLICITED], 1);
	cr_assert_eq(rig->inet.hops.used, 0);
	/* gratuitous: about himself, to everybody */
	rig_arp(rig, VLY_ARP_REQUEST, rig_other_mac, FRAME_SRC_IP, FRAME_SRC_IP);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_NOT_OURS], 1);
	rig_arp(rig, VLY_ARP_REPLY, rig_other_mac, FRAME_SRC_IP, FRAME_SRC_IP);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_NOT_OURS], 2);
	cr_assert_eq(rig->inet.hops.used, 0);
	inet_rig_close(rig);
}

Test(hop, a_spoofed_answer_after_the_true_one_is_not_accepted)
{
	struct inet_rig *rig = inet_rig_open();
	uint16_t hop = vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));

	rig_arp(rig, VLY_ARP_REPLY, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
	rig_arp(rig, VLY_ARP_REPLY, rig_other_mac, FRAME_SRC_IP, FRAME_DST_IP);
	cr_assert(vly_mac_equal(at(rig, hop)->eth, rig_peer_mac));
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_UNSOLICITED], 1);
	inet_rig_close(rig);
}

Test(hop, an_answer_by_broadcast_is_not_accepted)
{
	struct inet_rig *rig = inet_rig_open();
	uint16_t hop = vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));

	vly_arp_write(rig->in, &(struct vly_arp_opts){.operation = VLY_ARP_REPLY,
						      .sender_mac = rig_peer_mac,
						      .target_mac = NULL,
						      .sender_ip = htonl(FRAME_SRC_IP),
						      .target_ip = htonl(FRAME_DST_IP)});
	rig_input(rig, VLY_ARP_FRAME_BYTES);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_ASKING);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_UNSOLICITED], 1);
	inet_rig_close(rig);
}

/* How a question went: to everybody, or to the neighbour alone, where we know it. */
static bool asked_alone(struct inet_rig *rig, uint32_t index)
{
	cr_assert_eq(arp_out(rig, index)->operation, htons(VLY_ARP_REQUEST));
	cr_assert(vly_mac_is_broadcast(rig->out[index]) ||
		  vly_mac_equal(rig->out[index], rig_peer_mac));
	return !vly_mac_is_broadcast(rig->out[index]);
}

/* Somebody else answers as soon as we ask; with `true_answer` the neighbour does, too, a little later. */
static void strike(struct inet_rig *rig, bool true_answer)
{
	rig_arp(rig, VLY_ARP_REPLY, rig_other_mac, FRAME_SRC_IP, FRAME_DST_IP);
	if (true_answer)
		rig_arp(rig, VLY_ARP_REPLY, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
}

Test(hop, a_request_in_anothers_name_does_not_take_its_traffic)
{
	uint16_t hop;
	struct inet_rig *rig = open_acquainted(&hop);

	/* as often as one likes, as long as the neighbour is there */
	for (unsigned i = 0; i < 100; i++) {
		rig_time(rig, 2 * RIG_SECOND);
		rig->out_room = RIG_FRAMES;
		rig_arp(rig, VLY_ARP_REQUEST, rig_other_mac, FRAME_SRC_IP, FRAME_DST_IP);
		cr_assert(vly_mac_equal(at(rig, hop)->eth, rig_peer_mac));
		/* it is asked whether it has moved: itself, and nobody else is heard */
		cr_assert_eq(at(rig, hop)->state, VLY_HOP_STALE);
		cr_assert_eq(rig_sent(rig), 2);
		cr_assert(asked_alone(rig, 0));
		strike(rig, true);
		cr_assert_eq(at(rig, hop)->state, VLY_HOP_READY);
		cr_assert(vly_mac_equal(at(rig, hop)->eth, rig_peer_mac));
	}
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_UNSOLICITED], 100);
	inet_rig_close(rig);
}

Test(hop, one_question_lost_is_not_enough_to_take_over_a_neighbour)
{
	uint16_t hop;
	struct inet_rig *rig = open_acquainted(&hop);

	rig_time(rig, 2 * RIG_SECOND);
	vly_hop_doubt(&rig->inet, hop);
	strike(rig, false);
	rig_time(rig, RIG_SECOND);
	cr_assert_eq(rig_sent(rig), 2);
	cr_assert(asked_alone(rig, 0) && asked_alone(rig, 1));
	strike(rig, true);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_READY);
	cr_assert(vly_mac_equal(at(rig, hop)->eth, rig_peer_mac));
	inet_rig_close(rig);
}

Test(hop, one_that_has_moved_is_found_once_it_does_not_answer_where_it_was)
{
	uint16_t hop;
	struct inet_rig *rig = open_acquainted(&hop);

	rig_time(rig, 2 * RIG_SECOND);
	rig_arp(rig, VLY_ARP_REQUEST, rig_other_mac, FRAME_SRC_IP, FRAME_SRC_IP);
	rig_sent(rig);
	for (unsigned i = 1; i < VLY_HOP_TRIES_ALONE; i++) {
		rig_time(rig, RIG_SECOND);
		cr_assert_eq(rig_sent(rig), 1);
		cr_assert(asked_alone(rig, 0));
		strike(rig, false);
		cr_assert(vly_mac_equal(at(rig, hop)->eth, rig_peer_mac));
	}
	rig_time(rig, RIG_SECOND);
	cr_assert_eq(rig_sent(rig), 1);
	cr_assert_not(asked_alone(rig, 0), "now everybody");
	strike(rig, false);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_READY);
	cr_assert(vly_mac_equal(at(rig, hop)->eth, rig_other_mac));
	inet_rig_close(rig);
}

/* Ageing asks, too, and may be waited for. */
Test(hop, one_that_ages_is_not_taken_over_either)
{
	uint16_t hop;
	struct inet_rig *rig = open_acquainted(&hop);

	rig_time(rig, VLY_HOP_FRESH_NS + 1);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_STALE);
	cr_assert_eq(rig_sent(rig), 1);
	cr_assert(asked_alone(rig, 0));
	strike(rig, true);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_READY);
	cr_assert(vly_mac_equal(at(rig, hop)->eth, rig_peer_mac));
	inet_rig_close(rig);
}

Test(hop, an_announcement_of_another_address_makes_us_ask_and_no_more)
{
	uint16_t hop;
	struct inet_rig *rig = open_acquainted(&hop);

	rig_time(rig, 2 * RIG_SECOND);
	/* of the address that we know: nothing new */
	rig_arp(rig, VLY_ARP_REQUEST, rig_peer_mac, FRAME_SRC_IP, FRAME_SRC_IP);
	cr_assert_eq(rig_sent(rig), 0);
	for (unsigned i = 0; i < 10; i++)
		rig_arp(rig, i & 1 ? VLY_ARP_REPLY : VLY_ARP_REQUEST, rig_other_mac, FRAME_SRC_IP,
			FRAME_SRC_IP);
	cr_assert_eq(rig_sent(rig), 1); /* once a second */
	cr_assert(asked_alone(rig, 0));
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_STALE);
	cr_assert(vly_mac_equal(at(rig, hop)->eth, rig_peer_mac));
	inet_rig_close(rig);
}

Test(hop, one_that_is_doubted_is_asked_once_a_second_and_serves_meanwhile)
{
	uint16_t hop;
	struct inet_rig *rig = open_acquainted(&hop);

	rig_time(rig, 2 * RIG_SECOND);
	for (unsigned i = 0; i < 10; i++)
		vly_hop_doubt(&rig->inet, hop);
	cr_assert_eq(rig_sent(rig), 1);
	cr_assert(rig_send(rig, hop, 1));
	cr_assert_eq(rig_sent(rig), 1);
	rig_arp(rig, VLY_ARP_REPLY, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_READY);
	/* it has just answered */
	vly_hop_doubt(&rig->inet, hop);
	cr_assert_eq(rig_sent(rig), 0);
	vly_hop_doubt(&rig->inet, VLY_NO_HOP);
	inet_rig_close(rig);
}

/* A peer that is gone for some seconds is a matter of TCP's: its neighbour is no other for it. */
Test(hop, one_that_is_doubted_and_does_not_answer_serves_until_its_time)
{
	uint16_t hop;
	struct inet_rig *rig = open_acquainted(&hop);

	rig_time(rig, 2 * RIG_SECOND);
	vly_hop_doubt(&rig->inet, hop);
	for (unsigned i = 0; i < 5; i++)
		rig_time(rig, 2 * RIG_SECOND);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_READY);
	rig_sent(rig);
	cr_assert(rig_send(rig, hop, 1));
	cr_assert_eq(rig_sent(rig), 1);
	/* at its time it is asked, and then it ends */
	for (unsigned i = 0; i < 40; i++)
		rig_time(rig, 2 * RIG_SECOND);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_ASKING);
	inet_rig_close(rig);
}

Test(hop, who_uses_our_address_is_counted_and_not_heard)
{
	struct inet_rig *rig = inet_rig_open();

	rig_arp(rig, VLY_ARP_REQUEST, rig_other_mac, FRAME_DST_IP, FRAME_DST_IP);
	rig_arp(rig, VLY_ARP_REPLY, rig_other_mac, FRAME_DST_IP, FRAME_DST_IP);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_CONFLICT], 2);
	cr_assert_eq(rig_sent(rig), 0);
	inet_rig_close(rig);
}

Test(hop, a_neighbour_in_use_is_asked_again_when_it_ages_and_serves_meanwhile)
{
	uint16_t hop;
	struct inet_rig *rig = open_acquainted(&hop);

	rig_time(rig, VLY_HOP_FRESH_NS - 1);
	cr_assert_eq(rig_sent(rig), 0);
	rig_time(rig, RIG_SECOND);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_STALE);
	cr_assert_eq(rig_sent(rig), 1);
	cr_assert(rig_send(rig, hop, 1));
	cr_assert_eq(rig_sent(rig), 1);
	rig_arp(rig, VLY_ARP_REPLY, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_READY);
	inet_rig_close(rig);
}

Test(hop, a_neighbour_in_use_that_falls_silent_is_asked_once_a_second_and_sent_nothing)
{
	uint16_t hop;
	struct inet_rig *rig = open_acquainted(&hop);

	rig_time(rig, VLY_HOP_FRESH_NS + 1);
	for (unsigned i = 0; i < VLY_HOP_TRIES; i++)
		rig_time(rig, RIG_SECOND);
	cr_assert_eq(at(rig, hop)->state, VLY_HOP_ASKING);
	rig_sent(rig);
	for (int i = 0; i < 20; i++) {
		rig_time(rig, RIG_SECOND);
		cr_assert_eq(rig_sent(rig), 1);
	}
	cr_assert_eq(at(rig, hop)->refs, 1);
	vly_hop_put(&rig->inet, hop);
	rig_time(rig, RIG_SECOND);
	cr_assert_eq(rig->inet.hops.used, 0);
	inet_rig_close(rig);
}

Test(hop, an_unused_neighbour_is_forgotten_when_it_ages)
{
	struct inet_rig *rig = inet_rig_open();

	rig_meet(rig);
	cr_assert_eq(rig->inet.hops.used, 1);
	rig_time(rig, VLY_HOP_FRESH_NS + 1);
	cr_assert_eq(rig->inet.hops.used, 0);
	cr_assert_eq(rig_sent(rig), 0);
	cr_assert_eq(rig->inet.hops.next_ns, UINT64_MAX);
	inet_rig_close(rig);
}

Test(hop, a_full_wire_delays_a_question_and_loses_none)
{
	struct inet_rig *rig = inet_rig_open();

	rig->out_room = 0;
	uint16_t hop = vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));

	cr_assert_eq(rig_sent(rig), 0);
	rig->out_room = RIG_FRAMES;
	rig_time(rig, RIG_SECOND / 5);
	cr_assert_eq(rig_sent(rig), 1);
	cr_assert_eq(at(rig, hop)->tries, 1);
	inet_rig_close(rig);
}

Test(hop, what_a_full_wire_holds_up_goes_when_it_has_room)
{
	struct inet_rig *rig = inet_rig_open();

	rig->out_room = 0;
	vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));
	rig_arp(rig, VLY_ARP_REQUEST, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
	rig_arp(rig, VLY_ARP_REQUEST, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
	vly_hops_unblock(&rig->inet);
	cr_assert_eq(rig_sent(rig), 0);
	cr_assert(rig->inet.hops.blocked);
	rig->out_room = RIG_FRAMES;
	vly_hops_unblock(&rig->inet);
	cr_assert_eq(rig_sent(rig), 3, "a question and two answers");
	cr_assert_not(rig->inet.hops.blocked);
	for (uint32_t i = 0; i < VLY_HOP_OWED_MAX + 10; i++) {
		rig->out_room = 0;
		rig_arp(rig, VLY_ARP_REQUEST, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
	}
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_RATE], 10, "no more than bounded");
	inet_rig_close(rig);
}

Test(hop, a_storm_of_requests_is_answered_at_a_bounded_rate)
{
	struct inet_rig *rig = inet_rig_open();
	uint32_t answered = 0;

	for (uint32_t i = 0; i < 100000; i++) {
		rig_arp(rig, VLY_ARP_REQUEST, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
		answered += rig_sent(rig);
		rig->out_room = RIG_FRAMES;
		rig->inet.now_ns += 10000; /* 100,000 per second */
	}
	cr_assert(answered >= 900 && answered <= 1200, "%u", answered);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_RATE], 100000 - answered);
	inet_rig_close(rig);
}

Test(hop, a_storm_of_strangers_leaves_the_neighbours_in_use)
{
	struct inet_rig *rig = inet_rig_open();

	rig->inet.route.mask = htonl(0xff000000);
	rig_meet(rig);
	uint16_t hop = vly_hop_take(&rig->inet, htonl(FRAME_SRC_IP));

	for (uint32_t i = 0; i < 200000; i++) {
		rig_arp(rig, VLY_ARP_REQUEST, rig_other_mac, 0x0a010000 + i, FRAME_DST_IP);
		rig_sent(rig);
		rig->out_room = RIG_FRAMES;
	}
	cr_assert_leq(rig->inet.hops.used, VLY_HOPS_MAX);
	cr_assert_eq(at(rig, hop)->ip, htonl(FRAME_SRC_IP));
	cr_assert(vly_mac_equal(at(rig, hop)->eth, rig_peer_mac));
	/* and there is still room for somebody new */
	cr_assert_neq(vly_hop_take(&rig->inet, htonl(0x0a020304)), VLY_NO_HOP);
	inet_rig_close(rig);
}

Test(hop, a_table_full_of_hops_in_use_refuses_the_next)
{
	struct inet_rig *rig = inet_rig_open();

	rig->inet.route.mask = htonl(0xff000000);
	for (uint32_t i = 0; i < VLY_HOPS_MAX; i++) {
		cr_assert_neq(vly_hop_take(&rig->inet, htonl(0x0a010000 + i)), VLY_NO_HOP);
		rig_sent(rig);
	}
	cr_assert_eq(vly_hop_take(&rig->inet, htonl(0x0a020000)), VLY_NO_HOP);
	cr_assert_eq(rig->inet.stats.hop_full, 1);
	vly_hop_put(&rig->inet, 77);
	cr_assert_eq(vly_hop_take(&rig->inet, htonl(0x0a020000)), 77);
	inet_rig_close(rig);
}

Test(hop, malformed_packets_are_counted_by_their_reason)
{
	struct inet_rig *rig = inet_rig_open();

	vly_arp_write(rig->in, &(struct vly_arp_opts){.operation = VLY_ARP_REQUEST,
						      .sender_mac = rig_peer_mac,
						      .sender_ip = htonl(FRAME_SRC_IP),
						      .target_ip = htonl(FRAME_DST_IP)});
	rig_input(rig, 30);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_SHORT], 1);
	rig->in[VLY_ETH_BYTES] = 9;
	rig_input(rig, VLY_ARP_FRAME_BYTES);
	cr_assert_eq(rig->inet.drops[VLY_DROP_ARP_FORMAT], 1);
	cr_assert_eq(rig_sent(rig), 0);
	inet_rig_close(rig);
}
