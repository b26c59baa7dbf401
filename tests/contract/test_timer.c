/* test_timer.c - timers: once each, in order, never early, never after a cancel */
#include "tests/contract/harness.h"

#include <stdlib.h>

TestSuite(timer, .fini = vly_leak_gate, .timeout = 120);

#define TIMERS 2000

/* A timer's user is its own entry. */
struct alarm {
	vly_timer timer;
	uint64_t due_ns;
	unsigned fired;
	unsigned place; /* how many had fired before it */
};

struct alarms {
	struct alarm list[TIMERS];
	unsigned fired;
};

static void on_alarm(struct world *w, unsigned core, struct vly_event *event)
{
	struct alarms *alarms = w->arg;
	struct alarm *alarm = event->user;

	(void)core;
	if (event->kind != VLY_TIMER)
		return;
	check_eq(event->conn, 0);
	cr_assert(alarm >= alarms->list && alarm < alarms->list + TIMERS, "an unknown timer");
	check_eq(alarm->fired, 0);
	alarm->fired++;
	alarm->place = alarms->fired++;
	cr_assert(vly_now_ns() >= alarm->due_ns, "it is early");
}

static void open_alarms(struct world *w, struct alarms **alarms, uint32_t timers_max)
{
	struct vly_config config;

	world_config(&config, 1);
	config.timers_max = timers_max;
	world_open_config(w, &config);
	*alarms = calloc(1, sizeof(**alarms));
	cr_assert_not_null(*alarms);
	w->arg = *alarms;
	w->on_event = on_alarm;
}

static void start(struct world *w, struct alarm *alarm, uint64_t delay_ns)
{
	alarm->due_ns = vly_now_ns() + delay_ns;
	check_eq(vly_timer_start(w->core[0], delay_ns, alarm, &alarm->timer), 0);
	cr_assert(alarm->timer != 0);
}

Test(timer, thousands_fire_once_each_and_never_early)
{
	struct world w;
	struct alarms *alarms;

	open_alarms(&w, &alarms, TIMERS);
	srand(1);
	for (int i = 0; i < TIMERS; i++)
		start(&w, &alarms->list[i], (uint64_t)rand() % (50 * MSEC));
	pump_until(&w, alarms->fired == TIMERS);
	world_quiet(&w);
	check_eq(alarms->fired, TIMERS);
	check_eq(world_stats(&w, 0).timers_fired, TIMERS);
	world_close(&w);
	free(alarms);
}

Test(timer, events_come_in_the_order_of_their_times)
{
	struct world w;
	struct alarms *alarms;

	open_alarms(&w, &alarms, 64);
	/* 7 is no divisor of 20: a permutation. */
	for (unsigned i = 0; i < 20; i++)
		start(&w, &alarms->list[i * 7 % 20], (i * 7 % 20 + 1) * MSEC);
	pump_until(&w, alarms->fired == 20);
	for (unsigned i = 0; i < 20; i++)
		check_eq(alarms->list[i].place, i);
	world_close(&w);
	free(alarms);
}

Test(timer, events_of_a_late_poll_are_in_order_too)
{
	struct world w;
	struct alarms *alarms;
	uint64_t until;

	open_alarms(&w, &alarms, 64);
	for (unsigned i = 0; i < 20; i++)
		start(&w, &alarms->list[i * 7 % 20], (i * 7 % 20 + 1) * MSEC);
	until = vly_now_ns() + 30 * MSEC;
	while (vly_now_ns() < until)
		;
	pump_until(&w, alarms->fired == 20);
	for (unsigned i = 0; i < 20; i++)
		check_eq(alarms->list[i].place, i);
	world_close(&w);
	free(alarms);
}

Test(timer, of_zero_delay_fires_at_a_following_poll)
{
	struct world w;
	struct alarms *alarms;

	open_alarms(&w, &alarms, 64);
	start(&w, &alarms->list[0], 0);
	check_eq(alarms->fired, 0);
	pump_until(&w, alarms->fired == 1);
	world_close(&w);
	free(alarms);
}

Test(timer, wakes_a_core_that_sleeps_for_ever)
{
	struct world w;
	struct alarms *alarms;

	open_alarms(&w, &alarms, 64);
	for (unsigned i = 0; i < 10; i++) {
		start(&w, &alarms->list[i], 3 * MSEC);
		while (alarms->fired == i)
			world_poll(&w, 0, -1);
	}
	world_close(&w);
	free(alarms);
}

Test(timer, cancelled_never_fires)
{
	struct world w;
	struct alarms *alarms;

	open_alarms(&w, &alarms, 64);
	for (int i = 0; i < 20; i++)
		start(&w, &alarms->list[i], 5 * MSEC);
	for (int i = 0; i < 20; i += 2) {
		check_eq(vly_timer_cancel(w.core[0], alarms->list[i].timer), 0);
		check_eq(vly_timer_cancel(w.core[0], alarms->list[i].timer), -ENOENT);
	}
	pump_until(&w, alarms->fired == 10);
	world_quiet(&w);
	for (int i = 0; i < 20; i++)
		check_eq(alarms->list[i].fired, i % 2);
	world_close(&w);
	free(alarms);
}

Test(timer, cancel_of_none_is_enoent)
{
	struct world w;
	struct alarms *alarms;

	open_alarms(&w, &alarms, 64);
	check_eq(vly_timer_cancel(w.core[0], 0), -ENOENT);
	check_eq(vly_timer_cancel(w.core[0], 1), -ENOENT);
	check_eq(vly_timer_cancel(w.core[0], UINT64_MAX), -ENOENT);
	start(&w, &alarms->list[0], 0);
	pump_until(&w, alarms->fired == 1);
	world_round(&w);
	check_eq(vly_timer_cancel(w.core[0], alarms->list[0].timer), -ENOENT);
	/* Its place is used again: the old name must not cancel the new timer. */
	start(&w, &alarms->list[1], MSEC);
	check_eq(vly_timer_cancel(w.core[0], alarms->list[0].timer), -ENOENT);
	pump_until(&w, alarms->fired == 2);
	world_close(&w);
	free(alarms);
}

/* The first TIMER of a batch cancels all others of the same batch. */
static void cancel_the_rest(struct world *w, unsigned core, struct vly_event *events, int count)
{
	int first = -1;

	for (int i = 0; i < count; i++) {
		struct alarm *alarm = events[i].user;

		if (events[i].kind != VLY_TIMER)
			continue;
		if (first < 0) {
			first = i;
			continue;
		}
		check_eq(vly_timer_cancel(w->core[core], alarm->timer), 0);
		check_eq(events[i].kind, VLY_NONE);
		check_eq(vly_timer_cancel(w->core[core], alarm->timer), -ENOENT);
	}
}

Test(timer, cancelled_inside_its_batch_becomes_none)
{
	struct world w;
	struct alarms *alarms;
	uint64_t until;

	open_alarms(&w, &alarms, 64);
	w.on_batch = cancel_the_rest;
	for (int i = 0; i < 10; i++)
		start(&w, &alarms->list[i], MSEC);
	until = vly_now_ns() + 3 * MSEC;
	while (vly_now_ns() < until)
		;
	world_quiet(&w);
	check_eq(alarms->fired, 1);
	check_eq(w.tracks.count[VLY_NONE], 9);
	world_close(&w);
	free(alarms);
}

Test(timer, beyond_timers_max_is_enobufs)
{
	struct world w;
	struct alarms *alarms;
	vly_timer extra;

	open_alarms(&w, &alarms, 8);
	for (int i = 0; i < 8; i++)
		start(&w, &alarms->list[i], i < 2 ? MSEC : 100 * SEC);
	check_eq(vly_timer_start(w.core[0], 0, NULL, &extra), -ENOBUFS);
	pump_until(&w, alarms->fired == 2);
	world_round(&w);
	start(&w, &alarms->list[8], 100 * SEC);
	start(&w, &alarms->list[9], 100 * SEC);
	check_eq(vly_timer_start(w.core[0], 0, NULL, &extra), -ENOBUFS);
	check_eq(vly_timer_cancel(w.core[0], alarms->list[5].timer), 0);
	start(&w, &alarms->list[10], MSEC);
	pump_until(&w, alarms->fired == 3);
	world_close(&w);
	free(alarms);
}

static void start_again(struct world *w, unsigned core, struct vly_event *event)
{
	unsigned *count = w->arg;
	vly_timer timer;

	if (event->kind != VLY_TIMER)
		return;
	check_eq(*count % 10, (unsigned)(uintptr_t)event->user);
	++*count;
	check_eq(vly_timer_start(w->core[core], MSEC / 10, (void *)(uintptr_t)(*count % 10),
				 &timer),
		 0);
}

Test(timer, may_be_started_in_its_own_event)
{
	struct world w;
	struct vly_config config;
	struct vly_event kick = {.kind = VLY_TIMER};
	unsigned count = 0;

	world_config(&config, 1);
	/* One that fires and one that runs. */
	config.timers_max = 2;
	world_open_config(&w, &config);
	w.arg = &count;
	w.on_event = start_again;
	start_again(&w, 0, &kick);
	pump_until(&w, count == 200);
	world_close(&w);
}

Test(timer, of_ten_years_or_of_all_time_does_not_fire)
{
	const uint64_t delays[] = {3600 * SEC, 10ull * 365 * 86400 * SEC, INT64_MAX, UINT64_MAX};
	struct world w;
	struct alarms *alarms;

	open_alarms(&w, &alarms, 64);
	for (int i = 0; i < 4; i++) {
		alarms->list[i].due_ns = UINT64_MAX;
		check_eq(vly_timer_start(w.core[0], delays[i], &alarms->list[i],
					 &alarms->list[i].timer),
			 0);
	}
	world_quiet(&w);
	check_eq(alarms->fired, 0);
	for (int i = 0; i < 4; i++)
		check_eq(vly_timer_cancel(w.core[0], alarms->list[i].timer), 0);
	world_close(&w);
	free(alarms);
}

Test(timer, of_one_core_is_no_business_of_another)
{
	struct world w;
	vly_timer timer;

	world_open(&w);
	check_eq(vly_timer_start(w.core[SERVER], 2 * MSEC, NULL, &timer), 0);
	pump_until(&w, w.tracks.count[VLY_TIMER] == 1);
	check_eq(w.tracks.records[0].core, SERVER);
	world_close(&w);
}
