/* test_wire_loop_packed.c - frames that lie right behind each other in a loop's ring */
#include "nic/inet/wire_loop.h"

#include "tests/support/leak.h"
#include "tests/support/loop_rig.h"

TestSuite(wire_loop_packed, .fini = vly_leak_gate, .timeout = 120);

/* As wire_send(), but each frame lies right behind the one before it; `lens` are gone round. */
static uint32_t send_packed(struct vly_wire *wire, const uint8_t *dst, const uint32_t *lens,
			    uint32_t lens_count, uint32_t number, uint32_t count)
{
	struct vly_frame frames[65];
	uint32_t got = wire->ops->tx_take(wire, 0, frames, VLY_MIN(count, 64u));

	for (uint32_t i = 0; i < got; i++) {
		uint32_t len = lens[(number + i) % lens_count];

		frame_fill(frames[i].data, len, dst, wire->mac, number + i);
		frames[i].len = len;
		frames[i].flags = 0;
		vly_wire_built(wire, &frames[i]);
	}
	if (got)
		wire->ops->tx_send(wire, 0, frames, got);
	return got;
}

Test(wire_loop_packed, packed_frames_arrive_whole_and_in_order_over_the_end_of_the_ring)
{
	static const uint32_t lens[] = {118, 118, 118, 60, 62, 63, 126, 127, 1514, 130, 14, 700};
	const uint32_t lens_count = sizeof(lens) / sizeof(lens[0]);

	for (uint32_t same = 0; same < 4; same++) {
		struct pair p;
		struct vly_frame frames[64];
		uint32_t next = 0, sent = 0;

		open_pair(&p, &(struct vly_loop_opts){.slots = 17}, "");
		/* what lies in the ring behind is not touched */
		cr_assert_eq(send_packed(p.wire[1], p.wire[0]->mac, lens, 1, 0, 10), 10);
		while (next < 20000) {
			const uint32_t *some = same ? &lens[2 * same] : lens;
			uint32_t some_count = same ? 1 : lens_count;

			/* now and then as they were lent */
			if (sent % 7 == 3)
				sent += wire_send(p.wire[0], p.wire[1]->mac,
						  some[sent % some_count], sent, same ? 5 : 1, 0);
			sent += send_packed(p.wire[0], p.wire[1]->mac, some, some_count, sent,
					    1 + sent % 33);
			uint32_t got = wire_receive(p.wire[1], frames, 1 + next % 31, 0);

			for (uint32_t i = 0; i < got; i++, next++) {
				uint32_t len = same ? some[0] : lens[next % lens_count];

				cr_assert_eq(frames[i].len, len, "%u: %u, not %u", next,
					     frames[i].len, len);
				cr_assert(len < 18 || frame_number(&frames[i]) == next);
				cr_assert(len < 18 || frame_intact(&frames[i], len));
			}
		}
		cr_assert_eq(p.wire[1]->rx_dropped, 0);
		cr_assert_eq(wire_receive(p.wire[0], frames, 64, 0), 10);
		for (uint32_t i = 0; i < 10; i++)
			cr_assert(frame_number(&frames[i]) == i &&
				  frame_intact(&frames[i], lens[0]));
		close_pair(&p);
	}
}

Test(wire_loop_packed, of_packed_frames_it_holds_as_many_as_fit_before_the_last_whole_one)
{
	static const uint32_t lens[] = {118};
	struct pair p;
	struct vly_frame frames[64];
	uint32_t sent = 0, received = 0, got;

	open_pair(&p, &(struct vly_loop_opts){.slots = 64}, "");
	for (int round = 0; round < 10; round++) {
		while ((got = send_packed(p.wire[0], p.wire[1]->mac, lens, 1, sent, 64)))
			sent += got;
		/* each frame is lent with room for 25 lines, and takes 2 */
		cr_assert_eq(sent - received, (64 * 25 - 25) / 2 + 1);
		while ((got = wire_receive(p.wire[1], frames, 64, 0))) {
			for (uint32_t i = 0; i < got; i++)
				cr_assert_eq(frame_number(&frames[i]), received++);
		}
		cr_assert_eq(received, sent);
	}
	close_pair(&p);
}

Test(wire_loop_packed, a_packed_length_that_leads_beyond_the_last_frame_ends_the_link)
{
	static const uint32_t lens[] = {118};
	struct pair p;
	struct vly_frame frames[8];

	open_pair(&p, NULL, "");
	for (uint32_t i = 0; i < 3; i++) {
		const uint16_t lie = i == 2 ? VLY_LOOP_WHOLE | 118 : 0x3fff;

		cr_assert_eq(send_packed(p.wire[0], p.wire[1]->mac, lens, 1, 0, 3), 3);
		uint32_t at = atomic_load(&vly_loop_ring(&p.map, 0, 0, 0)->tail) - 2 * (1 + i % 2);

		memcpy(vly_loop_frames(&p.map, 0, 0, 0) + (size_t)at * VLY_CACHE_LINE, &lie, 2);
		cr_assert_eq(wire_receive(p.wire[1], frames, 8, 0), 2 - i % 2);
		cr_assert_not(p.wire[1]->link_up);
		cr_assert_eq(p.wire[1]->rx_dropped, 1);
		cr_assert_not(p.wire[1]->ops->has_work(p.wire[1], 0));
		cr_assert_eq(wire_receive(p.wire[1], frames, 8, 0), 0);
		/* until it opens again */
		close_side(&p, 0);
		open_side(&p, 0, "");
		cr_assert_eq(wire_receive(p.wire[1], frames, 8, UINT64_MAX / 2), 0);
		cr_assert(p.wire[1]->link_up);
		cr_assert_eq(send_packed(p.wire[0], p.wire[1]->mac, lens, 1, 5, 1), 1);
		cr_assert_eq(wire_receive(p.wire[1], frames, 8, 0), 1);
		cr_assert_eq(frame_number(&frames[0]), 5);
		close_side(&p, 1);
		open_side(&p, 1, "");
	}
	close_pair(&p);
}

Test(wire_loop_packed, what_is_built_while_the_link_is_down_stays_in_the_spare_frame)
{
	static const uint32_t lens[] = {1514};
	struct pair p;
	uint8_t mac[6];

	open_pair(&p, NULL, "");
	memcpy(mac, p.wire[1]->mac, 6);
	cr_assert_eq(send_packed(p.wire[0], mac, lens, 1, 0, 4), 4);
	cr_assert_not_null(p.wire[0]->pack_end);
	cr_assert(p.wire[0]->ops->arm(p.wire[0], 0, false));
	close_side(&p, 1);
	p.wire[0]->ops->disarm(p.wire[0]);
	cr_assert_eq(send_packed(p.wire[0], mac, lens, 1, 0, 64), 64);
	cr_assert_null(p.wire[0]->pack_end);
	cr_assert_eq(p.wire[0]->tx_dropped, 64);
	open_side(&p, 1, "");
	close_pair(&p);
}

static void check_below(uint32_t mtu)
{
	const uint32_t lens[] = {mtu + VLY_ETH_BYTES, 60, 500};
	struct pair p;
	struct wire_rig above;
	struct vly_frame frames[64];
	char text[128];

	make_loop(&p, &(struct vly_loop_opts){.mtu = mtu, .slots = 64});
	snprintf(text, sizeof(text), "inet:impair,loop,fd=%d,side=0", p.fd);
	rig_open(&above, text, 1);
	struct vly_wire *wire = rig_wire(&above, 0);

	open_side(&p, 1, "");
	for (uint32_t sent = 0; sent < 900; sent += 30) {
		cr_assert_eq(send_packed(wire, p.wire[1]->mac, lens, 3, sent, 30), 30);
		cr_assert_null(wire->pack_end);
		cr_assert_eq(wire_receive(p.wire[1], frames, 64, 0), 30, "mtu %u", mtu);
		for (uint32_t i = 0; i < 30; i++) {
			cr_assert_eq(frame_number(&frames[i]), sent + i);
			cr_assert(frame_intact(&frames[i], lens[(sent + i) % 3]));
		}
	}
	wire->ops->close(wire);
	rig_close(&above);
	close_side(&p, 1);
	vly_loop_map_close(&p.map);
	vly_loop_close(p.fd);
}

Test(wire_loop_packed, below_another_wire_frames_lie_where_they_were_lent)
{
	/* frames of the longest kind have odd and even numbers of lines */
	static const uint32_t mtus[] = {576, 1280, 1400, 1500, 4000, 9000, 9216};

	for (size_t i = 0; i < sizeof(mtus) / sizeof(mtus[0]); i++)
		check_below(mtus[i]);
}

Test(wire_loop_packed, frames_of_the_longest_kind_are_packed_too)
{
	static const uint32_t lens[] = {9014, 60, 9014};
	struct pair p;
	struct vly_frame frames[64];

	open_pair(&p, &(struct vly_loop_opts){.mtu = 9000, .slots = 16}, "");
	for (uint32_t sent = 0; sent < 900; sent += 9) {
		cr_assert_eq(send_packed(p.wire[0], p.wire[1]->mac, lens, 3, sent, 9), 9);
		cr_assert_eq(wire_receive(p.wire[1], frames, 64, 0), 9);
		for (uint32_t i = 0; i < 9; i++)
			cr_assert(frame_number(&frames[i]) == sent + i &&
				  frame_intact(&frames[i], lens[(sent + i) % 3]));
	}
	close_pair(&p);
}

Test(wire_loop_packed, what_is_too_short_for_a_header_is_dropped_and_the_next_is_found)
{
	static const uint32_t lens[] = {13, 60, 118};
	struct pair p;
	struct vly_frame frames[8];

	open_pair(&p, NULL, "");
	cr_assert_eq(send_packed(p.wire[0], p.wire[1]->mac, lens, 3, 0, 6), 6);
	cr_assert_eq(wire_receive(p.wire[1], frames, 8, 0), 4);
	for (uint32_t i = 0; i < 4; i++)
		cr_assert_eq(frames[i].len, lens[1 + i % 2]);
	cr_assert_eq(p.wire[1]->rx_dropped, 2);
	cr_assert(p.wire[1]->link_up);
	close_pair(&p);
}

Test(wire_loop_packed, an_index_that_wraps_is_as_good_as_any)
{
	static const uint32_t lens[] = {118};
	struct pair p;
	struct vly_frame frames[64];
	uint32_t sent = 0, received = 0;

	open_pair_at(&p, UINT32_MAX - 100);
	while (received < 3000) {
		sent += send_packed(p.wire[0], p.wire[1]->mac, lens, 1, sent, 50);
		uint32_t got = wire_receive(p.wire[1], frames, 64, 0);

		for (uint32_t i = 0; i < got; i++)
			cr_assert_eq(frame_number(&frames[i]), received++);
	}
	close_pair(&p);
}

Test(wire_loop_packed, who_waits_for_room_for_a_whole_frame_may_sleep_with_less)
{
	static const uint32_t lens[] = {118};
	struct pair p;
	struct vly_frame frames[64];
	uint32_t sent = 0, got;

	open_pair(&p, &(struct vly_loop_opts){.slots = 64}, "");
	struct vly_wire *a = p.wire[0], *b = p.wire[1];

	while ((got = send_packed(a, b->mac, lens, 1, sent, 64)))
		sent += got;
	cr_assert_neq((64 * 25 - 2 * sent), 0, "some lines are free");
	cr_assert(a->ops->arm(a, 0, true), "and no use");
	cr_assert_eq(wire_receive(b, frames, 64, 0), 64);
	b->ops->rx_done(b, 0);
	cr_assert(wire_rings(a));
	a->ops->disarm(a);
	cr_assert_eq(send_packed(a, b->mac, lens, 1, sent, 1), 1);
	close_pair(&p);
}

Test(wire_loop_packed, a_side_that_opens_again_is_met_once_what_it_sent_before_has_gone_back)
{
	static const uint32_t lens[] = {118};
	const uint16_t lie = 0x3fff;
	struct pair p;
	struct vly_frame frames[8];

	open_pair(&p, NULL, "");
	struct vly_wire *b = p.wire[1];

	cr_assert_eq(send_packed(p.wire[0], b->mac, lens, 1, 0, 3), 3);
	memcpy(vly_loop_frames(&p.map, 0, 0, 0) + (size_t)4 * VLY_CACHE_LINE, &lie, sizeof(lie));
	b->ops->rx_done(b, 0);
	cr_assert_eq(b->ops->rx_burst(b, 0, frames, 8), 2);
	cr_assert_not(b->link_up);
	close_side(&p, 0);
	open_side(&p, 0, "");
	/* it looks, while it still has two of the frames */
	cr_assert_eq(b->ops->tx_take(b, 0, frames, 1), 1);
	b->ops->tx_send(b, 0, frames, 0);
	cr_assert_not(b->link_up);
	b->ops->rx_done(b, 0);
	cr_assert_eq(b->ops->tx_take(b, 0, frames, 1), 1);
	b->ops->tx_send(b, 0, frames, 0);
	cr_assert(b->link_up);
	cr_assert_eq(send_packed(p.wire[0], b->mac, lens, 1, 9, 1), 1);
	cr_assert_eq(wire_receive(b, frames, 8, 0), 1);
	cr_assert_eq(frame_number(&frames[0]), 9);
	close_pair(&p);
}
