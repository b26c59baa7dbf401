/* test_wire_hub.c - the wire between cores of one engine: order, back-pressure, sleep, hosts that come and go */
#include "nic/inet/wire_hub.h"

#include <pthread.h>
#include <stdatomic.h>

#include "tests/support/leak.h"
#include "tests/support/wire_rig.h"

TestSuite(wire_hub, .fini = vly_leak_gate);

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static const uint8_t nobody[6] = {2, 9, 9, 9, 9, 9};

static void close_wire(struct vly_wire *wire)
{
	wire->ops->close(wire);
}

Test(wire_hub, frames_arrive_whole_and_in_order)
{
	struct wire_rig rig;
	struct vly_frame frames[64];
	uint32_t next = 0, sent = 0;

	rig_open(&rig, "inet:hub", 2);
	struct vly_wire *a = rig_wire(&rig, 0), *b = rig_wire(&rig, 1);

	cr_assert_eq(a->mtu, 1500);
	cr_assert(a->caps & VLY_WIRE_HOST_PER_CORE);
	while (next < 5000) {
		sent += wire_send(a, b->mac, 60 + sent % 1400, sent, 1, 0);
		uint32_t got = wire_receive(b, frames, 64, 0);

		for (uint32_t i = 0; i < got; i++, next++) {
			cr_assert_eq(frame_number(&frames[i]), next);
			cr_assert(frame_intact(&frames[i], 60 + next % 1400));
		}
	}
	close_wire(a);
	close_wire(b);
	rig_close(&rig);
}

Test(wire_hub, a_frame_of_the_whole_mtu_fits)
{
	struct wire_rig rig;
	struct vly_frame frames[4];

	rig_open(&rig, "inet:hub,mtu=9000", 2);
	struct vly_wire *a = rig_wire(&rig, 0), *b = rig_wire(&rig, 1);

	cr_assert_eq(a->mtu, 9000);
	cr_assert_eq(wire_send(a, b->mac, 9014, 1, 1, 0), 1);
	cr_assert_eq(wire_receive(b, frames, 4, 0), 1);
	cr_assert(frame_intact(&frames[0], 9014));
	close_wire(a);
	close_wire(b);
	rig_close(&rig);
}

Test(wire_hub, a_full_ring_back_pressures_and_loses_nothing)
{
	struct wire_rig rig;
	struct vly_frame frames[64];
	uint32_t sent = 0, received = 0;

	rig_open(&rig, "inet:hub", 2);
	struct vly_wire *a = rig_wire(&rig, 0), *b = rig_wire(&rig, 1);

	for (;;) {
		uint32_t got = wire_send(a, b->mac, 100, sent, 64, 0);

		if (!got)
			break;
		sent += got;
		cr_assert(sent < 100000, "it never back-pressures");
	}
	for (;;) {
		uint32_t got = wire_receive(b, frames, 64, 0);

		for (uint32_t i = 0; i < got; i++)
			cr_assert_eq(frame_number(&frames[i]), received++);
		a->ops->rx_done(a, 0); /* a's poll: what waited goes on */
		if (!got)
			break;
	}
	cr_assert_eq(received, sent);
	cr_assert_eq(a->tx_dropped, 0);
	close_wire(a);
	close_wire(b);
	rig_close(&rig);
}

Test(wire_hub, a_host_that_does_not_poll_holds_up_only_what_is_for_it)
{
	struct wire_rig rig;
	struct vly_frame frames[64];
	uint32_t sent = 0;

	rig_open(&rig, "inet:hub", 3);
	struct vly_wire *a = rig_wire(&rig, 0), *b = rig_wire(&rig, 1), *c = rig_wire(&rig, 2);

	/* As much as b's ring takes, and some that wait. */
	for (uint32_t i = 0; i < 1024 + 32; i += 32)
		sent += wire_send(a, b->mac, 100, i, 32, 0);
	cr_assert_eq(sent, 1024 + 32);
	cr_assert_eq(wire_send(a, c->mac, 100, 7, 1, 0), 1);
	cr_assert_eq(wire_receive(c, frames, 64, 0), 1);
	cr_assert_eq(frame_number(&frames[0]), 7);
	close_wire(a);
	close_wire(b);
	close_wire(c);
	rig_close(&rig);
}

Test(wire_hub, a_broadcast_reaches_all_others)
{
	struct wire_rig rig;
	struct vly_frame frames[4];
	struct vly_wire *wires[4];

	rig_open(&rig, "inet:hub", 4);
	for (unsigned i = 0; i < 4; i++)
		wires[i] = rig_wire(&rig, i);
	cr_assert_eq(wire_send(wires[1], everybody, 60, 5, 1, 0), 1);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(wire_receive(wires[i], frames, 4, 0), i != 1);
	for (unsigned i = 0; i < 4; i++)
		close_wire(wires[i]);
	rig_close(&rig);
}

Test(wire_hub, a_frame_for_nobody_is_counted)
{
	struct wire_rig rig;

	rig_open(&rig, "inet:hub", 2);
	struct vly_wire *a = rig_wire(&rig, 0), *b = rig_wire(&rig, 1);

	cr_assert_eq(wire_send(a, nobody, 60, 5, 1, 0), 1);
	cr_assert_eq(a->tx_dropped, 1);
	close_wire(a);
	close_wire(b);
	rig_close(&rig);
}

Test(wire_hub, a_host_may_send_to_itself)
{
	struct wire_rig rig;
	struct vly_frame frames[4];

	rig_open(&rig, "inet:hub", 1);
	struct vly_wire *a = rig_wire(&rig, 0);

	cr_assert_eq(wire_send(a, a->mac, 60, 5, 1, 0), 1);
	cr_assert_eq(wire_receive(a, frames, 4, 0), 1);
	cr_assert_eq(frame_number(&frames[0]), 5);
	close_wire(a);
	rig_close(&rig);
}

Test(wire_hub, what_was_sent_before_a_host_opens_waits_for_it)
{
	struct wire_rig rig;
	struct vly_frame frames[8];
	uint8_t mac[6] = {2, 0, 0, 0, 0, 1};

	rig_open(&rig, "inet:hub", 2);
	struct vly_wire *a = rig_wire(&rig, 0);

	cr_assert_eq(wire_send(a, mac, 60, 5, 1, 0), 1);
	struct vly_wire *b = rig_wire(&rig, 1);

	cr_assert_eq(wire_receive(b, frames, 8, 0), 1);
	close_wire(a);
	close_wire(b);
	rig_close(&rig);
}

Test(wire_hub, what_is_sent_to_a_host_that_left_is_lost_and_holds_up_nobody)
{
	struct wire_rig rig;
	struct vly_frame frames[8];
	uint8_t mac[6];

	rig_open(&rig, "inet:hub", 2);
	struct vly_wire *a = rig_wire(&rig, 0), *b = rig_wire(&rig, 1);

	memcpy(mac, b->mac, 6);
	while (wire_send(a, mac, 60, 0, 64, 0))
		;
	close_wire(b);
	for (uint32_t i = 0; i < 2000; i++)
		cr_assert_eq(wire_send(a, mac, 60, 0, 1, 0), 1);
	cr_assert_gt(a->tx_dropped, 2000);
	close_wire(a);
	/* the same engine opens again: a hub as new */
	a = rig_wire(&rig, 0);
	cr_assert_eq(wire_receive(a, frames, 8, 0), 0);
	close_wire(a);
	rig_close(&rig);
}

Test(wire_hub, an_armed_host_is_woken_once_and_an_awake_one_never)
{
	struct wire_rig rig;
	struct vly_frame frames[8];

	rig_open(&rig, "inet:hub", 2);
	struct vly_wire *a = rig_wire(&rig, 0), *b = rig_wire(&rig, 1);

	wire_send(a, b->mac, 60, 0, 1, 0);
	cr_assert_not(wire_rings(b));
	cr_assert_not(b->ops->arm(b, 0, false), "a frame is there");
	cr_assert(b->ops->has_work(b, 0));
	cr_assert_eq(wire_receive(b, frames, 8, 0), 1);
	cr_assert_not(b->ops->has_work(b, 0), "what is lent is no news");
	cr_assert(b->ops->arm(b, 0, false));
	cr_assert_not(wire_rings(b));
	wire_send(a, b->mac, 60, 1, 1, 0);
	cr_assert(wire_rings(b));
	b->ops->disarm(b);
	cr_assert_not(wire_rings(b), "disarm empties it");
	cr_assert_eq(wire_receive(b, frames, 8, 0), 1);
	close_wire(a);
	close_wire(b);
	rig_close(&rig);
}

Test(wire_hub, who_sleeps_with_frames_waiting_is_woken_by_room)
{
	struct wire_rig rig;
	struct vly_frame frames[64];
	uint32_t sent = 0, received = 0, got;

	rig_open(&rig, "inet:hub", 2);
	struct vly_wire *a = rig_wire(&rig, 0), *b = rig_wire(&rig, 1);

	while ((got = wire_send(a, b->mac, 60, sent, 64, 0)))
		sent += got;
	cr_assert(a->ops->arm(a, 0, true));
	cr_assert_not(wire_rings(a));
	received += wire_receive(b, frames, 64, 0);
	b->ops->rx_done(b, 0);
	cr_assert(wire_rings(a));
	a->ops->disarm(a);
	cr_assert(a->ops->has_work(a, 0));
	while ((got = wire_receive(b, frames, 64, 0))) {
		received += got;
		a->ops->rx_done(a, 0);
	}
	cr_assert_eq(received, sent);
	cr_assert_not(a->ops->arm(a, 0, true), "there is room");
	close_wire(a);
	close_wire(b);
	rig_close(&rig);
}

Test(wire_hub, an_offloaded_checksum_is_received_as_checked)
{
	struct wire_rig rig;
	struct vly_frame frame;

	rig_open(&rig, "inet:hub,csum=offload", 2);
	struct vly_wire *a = rig_wire(&rig, 0), *b = rig_wire(&rig, 1);

	cr_assert(a->caps & VLY_WIRE_TX_CHECKSUM);
	cr_assert(a->caps & VLY_WIRE_RX_CHECKSUM);
	cr_assert_eq(a->ops->tx_take(a, 0, &frame, 1), 1);
	frame_fill(frame.data, 60, b->mac, a->mac, 1);
	frame.len = 60;
	frame.flags = VLY_FRAME_COMPLETE;
	a->ops->tx_send(a, 0, &frame, 1);
	cr_assert_eq(wire_receive(b, &frame, 1, 0), 1);
	cr_assert_eq(frame.flags, VLY_FRAME_CHECKED);
	close_wire(a);
	close_wire(b);
	rig_close(&rig);
}

/* Frames sent by this thread and received by another that sleeps whenever it can. */
#define SLEEPER_FRAMES 20000u

static atomic_bool sleeper_done;

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
		if (!got && b->ops->arm(b, 0, false)) {
			struct pollfd poller = {.fd = b->ops->fd(b), .events = POLLIN};

			cr_assert_eq(poll(&poller, 1, 60000), 1, "a wake-up was lost");
			b->ops->disarm(b);
		}
	}
	atomic_store(&sleeper_done, true);
	return NULL;
}

Test(wire_hub, no_wake_up_is_lost_between_two_threads)
{
	struct wire_rig rig;
	pthread_t thread;
	uint32_t sent = 0;

	rig_open(&rig, "inet:hub", 2);
	struct vly_wire *a = rig_wire(&rig, 0), *b = rig_wire(&rig, 1);

	cr_assert_eq(pthread_create(&thread, NULL, sleeper, b), 0);
	while (sent < SLEEPER_FRAMES) {
		uint32_t got = wire_send(a, b->mac, 60, sent,
					 VLY_MIN(1 + sent % 5, SLEEPER_FRAMES - sent), 0);

		sent += got;
		if (!got && a->ops->arm(a, 0, true)) {
			struct pollfd poller = {.fd = a->ops->fd(a), .events = POLLIN};

			cr_assert_eq(poll(&poller, 1, 60000), 1, "a wake-up was lost");
			a->ops->disarm(a);
		}
		a->ops->rx_done(a, 0);
	}
	/* What waits goes on with this side's polls. */
	while (!atomic_load(&sleeper_done)) {
		if (a->ops->arm(a, 0, false)) {
			struct pollfd poller = {.fd = a->ops->fd(a), .events = POLLIN};

			(void)poll(&poller, 1, 10);
			a->ops->disarm(a);
		}
		a->ops->rx_done(a, 0);
	}
	cr_assert_eq(pthread_join(thread, NULL), 0);
	close_wire(a);
	close_wire(b);
	rig_close(&rig);
}

Test(wire_hub, options_that_cannot_be_are_refused)
{
	struct vly_nic_spec spec;
	const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1];
	static const char *const wrong[] = {"inet:hub,mtu=100", "inet:hub,mtu=10000",
					    "inet:hub,mtu=x", "inet:hub,csum=some"};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char why[128] = "";

		cr_assert_eq(vly_spec_parse(&spec, wrong[i], why, sizeof(why)), 0);
		cr_assert_eq(vly_wire_resolve(&spec, stack, why, sizeof(why)), 0);
		cr_assert_lt(stack[0]->check(&spec, stack, why, sizeof(why)), 0, "%s", wrong[i]);
		cr_assert_str_neq(why, "");
	}
}
