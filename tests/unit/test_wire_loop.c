/* test_wire_loop.c - the wire in shared memory: order, back-pressure, sleep, death of a side, foreign indices */
#include "nic/inet/wire_loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/leak.h"
#include "tests/support/loop_rig.h"

TestSuite(wire_loop, .fini = vly_leak_gate, .timeout = 120);

Test(wire_loop, frames_arrive_whole_and_in_order_both_ways)
{
	struct pair p;
	struct vly_frame frames[64];
	uint32_t next[2] = {0, 0}, sent[2] = {0, 0};

	open_pair(&p, NULL, "");
	cr_assert_eq(p.wire[0]->mtu, 1500);
	cr_assert_neq(memcmp(p.wire[0]->mac, p.wire[1]->mac, 6), 0);
	while (next[0] < 5000 || next[1] < 5000) {
		for (unsigned side = 0; side < 2; side++) {
			struct vly_wire *to = p.wire[!side];

			sent[side] += wire_send(p.wire[side], to->mac, 60 + sent[side] % 1400,
						sent[side], 1, 0);
			uint32_t got = wire_receive(to, frames, 64, 0);

			for (uint32_t i = 0; i < got; i++, next[side]++) {
				cr_assert_eq(frame_number(&frames[i]), next[side]);
				cr_assert(frame_intact(&frames[i], 60 + next[side] % 1400));
			}
		}
	}
	close_pair(&p);
}

Test(wire_loop, a_full_ring_back_pressures_and_loses_nothing)
{
	struct pair p;
	struct vly_frame frames[64];
	uint32_t sent = 0, received = 0, got;

	open_pair(&p, &(struct vly_loop_opts){.slots = 256}, "");
	for (int round = 0; round < 10; round++) {
		while ((got = wire_send(p.wire[0], p.wire[1]->mac, 100, sent, 64, 0)))
			sent += got;
		cr_assert_eq(sent - received, 256, "exactly as many as there are slots");
		while ((got = wire_receive(p.wire[1], frames, 64, 0))) {
			for (uint32_t i = 0; i < got; i++)
				cr_assert_eq(frame_number(&frames[i]), received++);
		}
		cr_assert_eq(received, sent);
	}
	cr_assert_eq(p.wire[0]->tx_dropped, 0);
	close_pair(&p);
}

Test(wire_loop, frames_lent_stay_until_they_are_given_back)
{
	struct pair p;
	struct vly_frame frames[300];
	uint32_t sent = 0, got;

	open_pair(&p, &(struct vly_loop_opts){.slots = 256}, "");
	while ((got = wire_send(p.wire[0], p.wire[1]->mac, 100, sent, 64, 0)))
		sent += got;
	p.wire[1]->ops->rx_done(p.wire[1], 0);
	/* several bursts may be out */
	uint32_t lent = p.wire[1]->ops->rx_burst(p.wire[1], 0, frames, 100);

	lent += p.wire[1]->ops->rx_burst(p.wire[1], 0, frames + lent, 100);
	cr_assert_eq(lent, 200);
	cr_assert_eq(wire_send(p.wire[0], p.wire[1]->mac, 100, sent, 1, 0), 0);
	for (uint32_t i = 0; i < lent; i++)
		cr_assert(frame_number(&frames[i]) == i && frame_intact(&frames[i], 100));
	p.wire[1]->ops->rx_done(p.wire[1], 0);
	cr_assert_eq(wire_send(p.wire[0], p.wire[1]->mac, 100, sent, 64, 0), 64);
	close_pair(&p);
}

Test(wire_loop, a_frame_of_the_whole_mtu_fits_and_the_stride_is_no_power_of_two)
{
	struct pair p;
	struct vly_frame frames[4];

	open_pair(&p, &(struct vly_loop_opts){.mtu = 9000, .slots = 16}, "");
	cr_assert_eq(wire_send(p.wire[0], p.wire[1]->mac, 9014, 1, 4, 0), 4);
	cr_assert_eq(wire_receive(p.wire[1], frames, 4, 0), 4);
	for (int i = 0; i < 4; i++)
		cr_assert(frame_intact(&frames[i], 9014));
	cr_assert_eq(p.map.head.stride % 64, 0);
	cr_assert_eq(p.map.head.stride / 64 % 2, 1);
	cr_assert_eq((uintptr_t)(frames[0].data + VLY_ETH_BYTES) % 16, 0);
	close_pair(&p);
}

Test(wire_loop, an_index_that_wraps_is_as_good_as_any)
{
	struct pair p;
	struct vly_frame frames[64];
	uint32_t sent = 0, received = 0;

	open_pair_at(&p, UINT32_MAX - 100);
	while (received < 3000) {
		sent += wire_send(p.wire[0], p.wire[1]->mac, 64, sent, 50, 0);
		uint32_t got = wire_receive(p.wire[1], frames, 64, 0);

		for (uint32_t i = 0; i < got; i++)
			cr_assert_eq(frame_number(&frames[i]), received++);
	}
	close_pair(&p);
}

Test(wire_loop, foreign_indices_out_of_range_end_the_link_and_touch_nothing)
{
	/* a ring has room for 1,024 frames of 25 lines */
	static const uint32_t lies[] = {25601, 50000, UINT32_MAX, UINT32_MAX - 5, 1u << 31};
	struct vly_frame frames[64];

	for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		struct pair p;

		open_pair(&p, NULL, "");
		/* as seen by the receiver: more than there are lines, or fewer than before */
		atomic_store(&vly_loop_ring(&p.map, 0, 0, 0)->tail, lies[i]);
		cr_assert_eq(wire_receive(p.wire[1], frames, 64, 0), 0, "%u", lies[i]);
		cr_assert_not(p.wire[1]->link_up);
		cr_assert_eq(p.wire[1]->rx_dropped, 1);
		cr_assert_not(p.wire[1]->ops->has_work(p.wire[1], 0));
		close_pair(&p);

		open_pair(&p, NULL, "");
		/* as seen by the sender: more free than there are, or taken before they were sent */
		while (wire_send(p.wire[0], p.wire[1]->mac, 60, 0, 64, 0))
			;
		atomic_store(&vly_loop_ring(&p.map, 0, 0, 0)->head, lies[i]);
		cr_assert_eq(wire_send(p.wire[0], p.wire[1]->mac, 60, 0, 64, 0), 0);
		cr_assert_not(p.wire[0]->link_up, "%u", lies[i]);
		close_pair(&p);
	}
}

Test(wire_loop, frames_with_lengths_that_cannot_be_are_dropped)
{
	static const uint16_t lies[] = {0, 13, 1515, 0x3fff};
	struct pair p;
	struct vly_frame frames[8];

	open_pair(&p, NULL, "");
	for (size_t i = 0; i < 4; i++) {
		uint32_t at = atomic_load(&vly_loop_ring(&p.map, 0, 0, 0)->tail);
		uint16_t word = lies[i] | VLY_LOOP_WHOLE;

		cr_assert_eq(wire_send(p.wire[0], p.wire[1]->mac, 60, 7, 2, 0), 2);
		memcpy(vly_loop_frames(&p.map, 0, 0, 0) + (size_t)at * VLY_CACHE_LINE, &word, 2);
		cr_assert_eq(wire_receive(p.wire[1], frames, 8, 0), 1);
		cr_assert_eq(frame_number(&frames[0]), 8);
		cr_assert_eq(p.wire[1]->rx_dropped, i + 1);
	}
	close_pair(&p);
}

Test(wire_loop, a_sleeper_is_woken_once_per_burst_and_an_awake_side_never)
{
	struct pair p;
	struct vly_frame frames[64];

	open_pair(&p, NULL, "");
	struct vly_wire *a = p.wire[0], *b = p.wire[1];

	b->ops->disarm(b);
	wire_send(a, b->mac, 60, 0, 1, 0);
	cr_assert_not(wire_rings(b));
	cr_assert_not(b->ops->arm(b, 0, false), "a frame is there");
	cr_assert_eq(wire_receive(b, frames, 64, 0), 1);
	cr_assert(b->ops->arm(b, 0, false));
	cr_assert_not(wire_rings(b));
	wire_send(a, b->mac, 60, 1, 64, 0);
	cr_assert(wire_rings(b));
	b->ops->disarm(b);
	cr_assert_not(wire_rings(b), "one wake-up, taken");
	wire_send(a, b->mac, 60, 1, 64, 0);
	cr_assert_not(wire_rings(b));
	close_pair(&p);
}

Test(wire_loop, a_ring_that_comes_late_keeps_nobody_awake)
{
	const uint64_t one = 1;
	struct pair p;

	open_pair(&p, NULL, "");
	struct vly_wire *b = p.wire[1];

	cr_assert(b->ops->arm(b, 0, false));
	/* the sender has taken the flag back, and not rung yet, when b wakes of its own accord */
	cr_assert_eq(atomic_exchange(&vly_loop_seat(&p.map, 1, 0, 0)->sleeping, 0), 1);
	b->ops->disarm(b);
	cr_assert_eq(write(p.map.head.fds[1][0], &one, sizeof(one)), 8);
	cr_assert(b->ops->arm(b, 0, false));
	cr_assert(wire_rings(b), "it sleeps no more than once");
	b->ops->disarm(b);
	cr_assert_not(wire_rings(b));
	cr_assert(b->ops->arm(b, 0, false));
	cr_assert_not(wire_rings(b));
	b->ops->disarm(b);
	close_pair(&p);
}

Test(wire_loop, who_waits_for_room_is_woken_by_it)
{
	struct pair p;
	struct vly_frame frames[64];

	open_pair(&p, &(struct vly_loop_opts){.slots = 64}, "");
	struct vly_wire *a = p.wire[0], *b = p.wire[1];

	cr_assert_not(a->ops->arm(a, 0, true), "there is room");
	cr_assert_eq(wire_send(a, b->mac, 60, 0, 64, 0), 64);
	cr_assert(a->ops->arm(a, 0, true));
	cr_assert_eq(wire_receive(b, frames, 10, 0), 10);
	cr_assert_not(wire_rings(a), "they are only lent");
	b->ops->rx_done(b, 0);
	cr_assert(wire_rings(a));
	a->ops->disarm(a);
	cr_assert_eq(wire_send(a, b->mac, 60, 0, 64, 0), 10);
	close_pair(&p);
}

Test(wire_loop, what_was_sent_before_the_other_side_opens_waits_for_it)
{
	struct pair p;
	struct vly_frame frames[8];
	uint8_t mac[6] = {2, 0x10, 0, 0, 1, 1};

	make_loop(&p, NULL);
	open_side(&p, 0, "");
	cr_assert(p.wire[0]->link_up);
	cr_assert_eq(wire_send(p.wire[0], mac, 60, 5, 3, 0), 3);
	open_side(&p, 1, "");
	cr_assert_eq(memcmp(p.wire[1]->mac, mac, 6), 0);
	cr_assert_eq(wire_receive(p.wire[1], frames, 8, 0), 3);
	close_pair(&p);
}

Test(wire_loop, a_side_that_closes_is_link_down_and_its_return_link_up)
{
	struct pair p;
	struct vly_frame frames[64];

	open_pair(&p, &(struct vly_loop_opts){.slots = 64}, "");
	struct vly_wire *a = p.wire[0];
	uint8_t mac[6];

	memcpy(mac, p.wire[1]->mac, 6);
	cr_assert(a->ops->arm(a, 0, false));
	cr_assert_eq(wire_send(a, mac, 60, 0, 40, 0), 40);
	close_side(&p, 1);
	cr_assert(wire_rings(a), "a sleeper is told");
	a->ops->disarm(a);
	cr_assert_not(a->link_up);
	/* what is sent is lost, and never blocks */
	for (int i = 0; i < 10; i++)
		cr_assert_eq(wire_send(a, mac, 60, 0, 64, 0), 64);
	cr_assert_eq(a->tx_dropped, 640);
	cr_assert_eq(wire_receive(a, frames, 64, 0), 0);

	open_side(&p, 1, "");
	cr_assert_eq(wire_receive(p.wire[1], frames, 64, 0), 0, "what was on its way is lost");
	cr_assert_eq(wire_send(a, mac, 60, 77, 1, 0), 1);
	cr_assert(a->link_up);
	cr_assert_eq(wire_receive(p.wire[1], frames, 64, 0), 1);
	cr_assert_eq(frame_number(&frames[0]), 77);
	cr_assert_eq(wire_send(p.wire[1], a->mac, 60, 78, 1, 0), 1);
	cr_assert_eq(wire_receive(a, frames, 64, 0), 1);
	close_pair(&p);
}

Test(wire_loop, the_death_of_the_other_process_is_link_down)
{
	struct pair p;
	struct vly_frame frames[8];
	int ready[2];
	char byte;

	p.fd = vly_loop_make(NULL);
	cr_assert_geq(p.fd, 0);
	cr_assert_eq(pipe(ready), 0);
	pid_t child = fork();

	if (child == 0) {
		open_side(&p, 1, "");
		wire_send(p.wire[1], p.wire[1]->mac, 60, 3, 1, 0);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
		_exit(0);
	}
	open_side(&p, 0, "");
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	struct vly_wire *a = p.wire[0];

	/* frames cross from one process to the other */
	cr_assert_eq(wire_receive(a, frames, 8, 0), 1);
	cr_assert_eq(frame_number(&frames[0]), 3);
	a->ops->rx_done(a, 0);
	while (!a->ops->arm(a, 0, false))
		;
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	struct pollfd poller = {.fd = a->ops->fd(a), .events = POLLIN};

	cr_assert_eq(poll(&poller, 1, 60000), 1, "a sleeper is told");
	a->ops->disarm(a);
	cr_assert_not(a->link_up);
	/* and a new process may take its place */
	child = fork();
	if (child == 0) {
		open_side(&p, 1, "");
		wire_send(p.wire[1], p.wire[1]->mac, 60, 4, 1, 0);
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_assert_eq(wire_receive(a, frames, 8, 0), 1);
	cr_assert_eq(wire_send(a, p.wire[0]->mac, 60, 4, 1, 0), 1);
	cr_assert(a->link_up);
	cr_assert_eq(kill(child, SIGKILL), 0);
	cr_assert_eq(waitpid(child, NULL, 0), child);
	/* a busy core notices, too */
	uint64_t now_ns = 0;

	while (a->link_up && now_ns < 100000000000u) {
		now_ns += 50000000;
		cr_assert_eq(wire_receive(a, frames, 8, now_ns), 0);
	}
	cr_assert_not(a->link_up);
	close(ready[0]);
	close(ready[1]);
	close_side(&p, 0);
	vly_loop_close(p.fd);
}

#define SLEEPER_FRAMES 50000u

static void sleep_on(struct vly_wire *wire, bool tx_wanted)
{
	if (!wire->ops->arm(wire, 0, tx_wanted))
		return;
	struct pollfd poller = {.fd = wire->ops->fd(wire), .events = POLLIN};

	cr_assert_eq(poll(&poller, 1, 60000), 1, "a wake-up was lost");
	wire->ops->disarm(wire);
}

static void *sleeper(void *arg)
{
	struct vly_wire *b = arg;
	struct vly_frame frames[16];
	uint32_t next = 0;

	while (next < SLEEPER_FRAMES) {
		uint32_t got = wire_receive(b, frames, 16, 0);

		for (uint32_t i = 0; i < got; i++)
			cr_assert_eq(frame_number(&frames[i]), next++);
		b->ops->rx_done(b, 0);
		if (!got)
			sleep_on(b, false);
	}
	return NULL;
}

Test(wire_loop, no_wake_up_is_lost_between_two_threads)
{
	struct pair p;
	pthread_t thread;
	uint32_t sent = 0;

	open_pair(&p, &(struct vly_loop_opts){.slots = 16}, "");
	cr_assert_eq(pthread_create(&thread, NULL, sleeper, p.wire[1]), 0);
	while (sent < SLEEPER_FRAMES) {
		uint32_t got = wire_send(p.wire[0], p.wire[1]->mac, 60, sent,
					 VLY_MIN(1 + sent % 7, SLEEPER_FRAMES - sent), 0);

		sent += got;
		if (!got)
			sleep_on(p.wire[0], true);
	}
	cr_assert_eq(pthread_join(thread, NULL), 0);
	close_pair(&p);
}

static atomic_bool greedy_done;

static void *greedy(void *arg)
{
	struct vly_wire *b = arg;
	struct vly_frame frames[64];

	while (!atomic_load(&greedy_done))
		(void)wire_receive(b, frames, 64, 0);
	return NULL;
}

Test(wire_loop, never_lends_more_than_asked_while_room_is_being_made)
{
	struct pair p;
	struct vly_frame frames[64];
	pthread_t thread;
	uint32_t most = 0;

	open_pair(&p, &(struct vly_loop_opts){.slots = 64}, "");
	struct vly_wire *a = p.wire[0];

	cr_assert_eq(pthread_create(&thread, NULL, greedy, p.wire[1]), 0);
	/* a take that finds too little room, just when the other side gives back a lot */
	for (uint32_t i = 0; i < 3000000; i++) {
		uint32_t got = a->ops->tx_take(a, 0, frames, 4);

		most = VLY_MAX(most, got);
		for (uint32_t f = 0; f < VLY_MIN(got, 4u); f++) {
			memset(frames[f].data, 0, 60);
			frames[f].len = 60;
			frames[f].flags = 0;
		}
		if (got)
			a->ops->tx_send(a, 0, frames, VLY_MIN(got, 4u));
	}
	atomic_store(&greedy_done, true);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	cr_assert_eq(most, 4);
	close_pair(&p);
}

Test(wire_loop, an_offloaded_checksum_counts_only_where_both_sides_offload)
{
	for (int both = 0; both < 2; both++) {
		struct pair p;
		struct vly_frame frame;

		p.fd = vly_loop_make(NULL);
		cr_assert_eq(vly_loop_map_open(&p.map, p.fd), 0);
		open_side(&p, 0, ",csum=offload");
		open_side(&p, 1, both ? ",csum=offload" : "");
		cr_assert_eq(p.wire[0]->ops->tx_take(p.wire[0], 0, &frame, 1), 1);
		frame_fill(frame.data, 60, p.wire[1]->mac, p.wire[0]->mac, 1);
		frame.len = 60;
		frame.flags = VLY_FRAME_COMPLETE;
		p.wire[0]->ops->tx_send(p.wire[0], 0, &frame, 1);
		cr_assert_eq(wire_receive(p.wire[1], &frame, 1, 0), 1);
		cr_assert_eq(frame.flags, both ? VLY_FRAME_CHECKED : 0);
		close_pair(&p);
	}
}

Test(wire_loop, what_is_no_loop_is_refused)
{
	struct vly_nic_spec spec;
	const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1];
	char why[200], text[128];
	int fd = vly_loop_make(NULL);
	const char *const wrong[] = {"inet:loop",
				     "inet:loop,fd=0",
				     "inet:loop,fd=999,side=0",
				     "inet:loop,fd=0,side=0",
				     "inet:loop,fd=%d,side=2",
				     "inet:loop,fd=%d,side=0,mtu=9000"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		why[0] = '\0';
		const char *hole = strstr(wrong[i], "%d");

		if (hole)
			snprintf(text, sizeof(text), "%.*s%d%s", (int)(hole - wrong[i]), wrong[i],
				 fd, hole + 2);
		else
			snprintf(text, sizeof(text), "%s", wrong[i]);
		cr_assert_eq(vly_spec_parse(&spec, text, why, sizeof(why)), 0);
		cr_assert_eq(vly_wire_resolve(&spec, stack, why, sizeof(why)), 0);
		cr_assert_lt(stack[0]->check(&spec, stack, why, sizeof(why)), 0, "%s", text);
		cr_assert_str_neq(why, "");
	}
	vly_loop_close(fd);
}

Test(wire_loop, its_descriptors_are_out_of_the_way_of_those_that_parents_hand_over)
{
	struct vly_loop_map map;
	int fd = vly_loop_make(NULL);

	cr_assert_geq(fd, 32);
	cr_assert_eq(vly_loop_map_open(&map, fd), 0);
	cr_assert_geq(map.head.fds[0][0], 32);
	cr_assert_geq(map.head.fds[1][0], 32);
	vly_loop_map_close(&map);
	vly_loop_close(fd);
}

Test(wire_loop, what_cannot_be_made_is_refused)
{
	static const struct vly_loop_opts wrong[] = {
		{.slots = 15},       {.slots = 8}, {.slots = 65537},
		{.slots = 1u << 17}, {.mtu = 100}, {.mtu = 9217},
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		cr_assert_eq(vly_loop_make(&wrong[i]), -EINVAL, "case %zu", i);
}
