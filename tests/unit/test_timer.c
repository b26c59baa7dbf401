/* test_timer.c - starting, cancelling and firing timers, from inside */
#include "engine/timer.h"

#include "tests/support/rig.h"

TestSuite(timer, .fini = vly_leak_gate, .timeout = 60);

static void open_timers(struct rig *rig, uint32_t timers_max)
{
	struct vly_config config;

	rig_config(&config);
	config.timers_max = timers_max;
	rig_open(rig, &config);
}

static vly_timer start(struct rig *rig, uint64_t delay_ns, void *user)
{
	vly_timer timer = 0;

	cr_assert_eq(vly_timer_start(rig->core[0], delay_ns, user, &timer), 0);
	cr_assert_neq(timer, 0);
	return timer;
}

static struct vly_timer_slot *slot_of(struct rig *rig, vly_timer timer)
{
	return vly_slab_at(&rig->core[0]->timers.slab, (uint32_t)timer);
}

/* All zero is what a slot holds that was never used. */
Test(timer, cancel_of_a_slot_never_used_is_enoent_and_touches_no_event)
{
	struct vly_event *events;
	struct rig rig;

	open_timers(&rig, 8);
	cr_assert_eq(vly_mail(rig.core[0], 0, "x", 1), 0);
	cr_assert_eq(vly_poll(rig.core[0], &events, 0), 1);
	for (vly_timer timer = 0; timer < 4; timer++)
		cr_assert_eq(vly_timer_cancel(rig.core[0], timer), -ENOENT, "%u", (unsigned)timer);
	cr_assert_eq(events[0].kind, VLY_MAIL, "another's event was blanked");
	rig_close(&rig);
}

Test(timer, slot_used_again_has_another_name)
{
	struct rig rig;

	open_timers(&rig, 8);
	vly_timer first = start(&rig, 1000000000, NULL);

	cr_assert_eq(vly_timer_cancel(rig.core[0], first), 0);
	vly_timer second = start(&rig, 1000000000, NULL);

	cr_assert_eq((uint32_t)second, (uint32_t)first, "the same slot");
	cr_assert_neq(second, first);
	cr_assert_eq(vly_timer_cancel(rig.core[0], first), -ENOENT);
	cr_assert_eq(vly_timer_cancel(rig.core[0], second), 0);
	cr_assert_eq(vly_timer_cancel(rig.core[0], second), -ENOENT);
	rig_close(&rig);
}

Test(timer, generation_wraps_and_is_never_0)
{
	struct rig rig;

	open_timers(&rig, 8);
	vly_timer timer = start(&rig, 1000000000, NULL);

	cr_assert_eq(vly_timer_cancel(rig.core[0], timer), 0);
	slot_of(&rig, timer)->generation = UINT32_MAX - 1;
	timer = start(&rig, 1000000000, NULL);
	cr_assert_eq(timer >> 32, UINT32_MAX);
	cr_assert_eq(vly_timer_cancel(rig.core[0], timer), 0);
	timer = start(&rig, 1000000000, NULL);
	cr_assert_eq(timer >> 32, 1);
	cr_assert_eq(vly_timer_cancel(rig.core[0], timer), 0);
	rig_close(&rig);
}

Test(timer, cancelled_inside_its_batch_is_none_and_its_slot_waits_for_the_batch)
{
	struct vly_event *events;
	struct rig rig;
	int count, marks[4];

	open_timers(&rig, 4);
	vly_timer timers[4];

	for (int i = 0; i < 4; i++)
		timers[i] = start(&rig, 1000, &marks[i]);
	usleep(2000);
	count = vly_poll(rig.core[0], &events, 0);
	cr_assert_eq(count, 4);
	cr_assert_eq(vly_timer_cancel(rig.core[0], timers[2]), 0);
	cr_assert_eq(vly_timer_cancel(rig.core[0], timers[2]), -ENOENT);
	for (int i = 0; i < 4; i++)
		cr_assert_eq(events[i].kind, events[i].user == &marks[2] ? VLY_NONE : VLY_TIMER);
	/* Those that fired count no longer, but no slot is used twice within a batch. */
	for (int i = 0; i < 4; i++) {
		vly_timer again = start(&rig, 3600000000000, NULL);

		for (int j = 0; j < 4; j++)
			cr_assert_neq((uint32_t)again, (uint32_t)timers[j]);
	}
	cr_assert_eq(vly_timer_start(rig.core[0], 1, NULL, &timers[0]), -ENOBUFS);
	rig_spin(&rig, 1);
	cr_assert_eq(vly_timer_cancel(rig.core[0], timers[1]), -ENOENT, "its batch is over");
	rig_close(&rig);
}

Test(timer, exhaustion_ends_with_the_first_cancel)
{
	vly_timer timers[8], more;
	struct rig rig;

	open_timers(&rig, 8);
	for (int i = 0; i < 8; i++)
		timers[i] = start(&rig, 3600000000000, NULL);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(vly_timer_start(rig.core[0], 0, NULL, &more), -ENOBUFS);
	cr_assert_eq(vly_timer_cancel(rig.core[0], timers[5]), 0);
	cr_assert_eq(vly_timer_start(rig.core[0], 3600000000000, NULL, &more), 0);
	cr_assert_eq(vly_timer_start(rig.core[0], 0, NULL, &timers[5]), -ENOBUFS);
	cr_assert_eq(rig.core[0]->timers.running, 8);
	rig_close(&rig);
}

Test(timer, more_due_than_a_batch_holds_come_in_the_next_ones)
{
	struct vly_config config;
	struct vly_event *events;
	struct rig rig;
	unsigned fired = 0;

	rig_config(&config);
	config.events_max = 16;
	config.burst_max = 16;
	config.timers_max = 100;
	rig_open(&rig, &config);
	for (int i = 0; i < 100; i++)
		start(&rig, 1000, NULL);
	usleep(2000);
	for (int polls = 0; polls < 100 && fired < 100; polls++) {
		int count = vly_poll(rig.core[0], &events, 0);

		cr_assert_leq(count, 12, "a quarter is the nic's");
		for (int i = 0; i < count; i++)
			fired += events[i].kind == VLY_TIMER;
	}
	cr_assert_eq(fired, 100);
	cr_assert_eq(rig.core[0]->timers.running, 0);
	rig_close(&rig);
}

Test(timer, delays_up_to_all_time_do_not_wrap)
{
	static const uint64_t delays[] = {UINT64_MAX, UINT64_MAX - 1, INT64_MAX, 1ull << 62};
	struct rig rig;

	open_timers(&rig, 8);
	for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++)
		start(&rig, delays[i], NULL);
	rig_spin(&rig, 3);
	cr_assert_eq(rig.core[0]->timers.running, 4);
	rig_close(&rig);
}

/* Timers that are always due must not shut out mail. */
Test(timer, without_end_leave_room_for_mail)
{
	struct vly_config config;
	struct vly_event *events;
	struct rig rig;
	bool mail = false;

	rig_config(&config);
	config.events_max = 16;
	config.burst_max = 16;
	config.timers_max = 1 << 16;
	rig_open(&rig, &config);
	for (int i = 0; i < 1 << 16; i++)
		start(&rig, 0, NULL);
	usleep(1000);
	cr_assert_eq(vly_mail(rig.core[0], 0, "x", 1), 0);
	for (int polls = 0; polls < 2000 && !mail; polls++) {
		int count = vly_poll(rig.core[0], &events, 0);

		for (int i = 0; i < count; i++) {
			mail = mail || events[i].kind == VLY_MAIL;
			if (events[i].kind == VLY_TIMER)
				start(&rig, 0, NULL);
		}
	}
	cr_assert(mail, "2000 batches of timers, and the mail still waits");
	rig_close(&rig);
}
