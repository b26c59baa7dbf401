/* test_poll.c - what shares a batch, and who waits for whom */
#include "engine/core.h"

#include <poll.h>
#include <sys/timerfd.h>

#include "tests/support/rig.h"

TestSuite(poll, .fini = vly_leak_gate, .timeout = 60);

Test(poll, all_events_of_a_batch_carry_one_stamp)
{
	struct vly_config config;
	struct vly_event *events;
	struct rig rig;
	int fd, count;

	rig_config(&config);
	rig_open(&rig, &config);
	rig_listen(&rig, NULL);
	rig_accept(&rig, &fd);
	cr_assert_eq(send(fd, "x", 1, 0), 1);
	usleep(10000);
	cr_assert_eq(vly_mail(rig.core[0], 0, "x", 1), 0);
	count = vly_poll(rig.core[0], &events, 0);
	cr_assert_eq(count, 2, "mail and data");
	cr_assert_eq(events[0].stamp_ns, events[1].stamp_ns);
	close(fd);
	rig_close(&rig);
}

/* Somebody who sends lent memory without end does not keep the others' ends from them. */
Test(poll, closed_of_one_does_not_wait_for_sent_of_others_without_end)
{
	struct vly_config config;
	struct vly_event *events;
	struct rig rig;
	int busy_fd, fd;
	bool closed = false;
	char junk[65536];

	rig_config(&config);
	config.events_max = 16;
	config.tx_refs = 4096;
	rig_open(&rig, &config);
	rig_listen(&rig, NULL);
	vly_conn busy = rig_accept(&rig, &busy_fd), conn = rig_accept(&rig, &fd);

	for (int i = 0; i < 200; i++)
		cr_assert_eq(vly_send_owned(rig.core[0], busy, "x", 1, NULL), 0);
	rig_spin(&rig, 1);
	cr_assert_eq(vly_abort(rig.core[0], conn), 0);
	for (int polls = 0; polls < 500 && !closed; polls++) {
		for (int i = 0; i < 14; i++)
			(void)vly_send_owned(rig.core[0], busy, "x", 1, NULL);
		(void)!recv(busy_fd, junk, sizeof(junk), MSG_DONTWAIT);
		int count = vly_poll(rig.core[0], &events, 0);

		for (int i = 0; i < count; i++)
			closed = closed || (events[i].kind == VLY_CLOSED && events[i].conn == conn);
	}
	cr_assert(closed, "500 batches of SENT");
	close(fd);
	close(busy_fd);
	rig_close(&rig);
}

/* The timer's descriptor was read by nobody: setting it again must make a new edge. */
Test(poll, embedded_core_is_roused_again_for_a_moment_that_has_passed)
{
	struct pollfd pollfd = {.events = POLLIN};
	struct vly_config config;
	struct vly_event *events;
	vly_timer timer;
	struct rig rig;

	rig_config(&config);
	rig_open(&rig, &config);
	pollfd.fd = vly_core_fd(rig.core[0]);
	cr_assert_geq(pollfd.fd, 0);
	cr_assert_eq(vly_timer_start(rig.core[0], 20000000, NULL, &timer), 0);
	cr_assert_eq(vly_poll(rig.core[0], &events, 0), 0);
	/* The two clocks may disagree by a little: it fires while our clock stands just before. */
	struct itimerspec now = {.it_value.tv_nsec = 1};

	cr_assert_eq(timerfd_settime(rig.core[0]->env.timer_fd, TFD_TIMER_ABSTIME, &now, NULL), 0);
	cr_assert_eq(poll(&pollfd, 1, 2000), 1);
	cr_assert_eq(vly_poll(rig.core[0], &events, 0), 0);
	cr_assert_eq(poll(&pollfd, 1, 5000), 1, "nothing tells the caller when to come again");
	rig_close(&rig);
}

/* A poll that waits by asking again and again was busy only in the round that brought something. */
Test(poll, a_core_that_never_sleeps_tells_waiting_from_working)
{
	struct vly_config config;
	struct vly_event *events;
	struct vly_stats before, after;
	uint64_t idle_ns = 0;
	vly_timer timer;
	struct rig rig;

	rig_config(&config);
	config.idle = VLY_IDLE_BUSY;
	rig_open(&rig, &config);
	/* On a busy machine all of the time may lie in the last round: then it is tried again. */
	for (int tries = 0; tries < 200 && idle_ns < 4000000; tries++) {
		cr_assert_eq(vly_timer_start(rig.core[0], 5000000, NULL, &timer), 0);
		cr_assert_eq(vly_stats(rig.engine, 0, &before), 0);
		cr_assert_eq(vly_poll(rig.core[0], &events, -1), 1);
		cr_assert_eq(vly_stats(rig.engine, 0, &after), 0);
		idle_ns = after.idle_ns - before.idle_ns;
	}
	cr_assert_geq(idle_ns, 4000000);
	rig_close(&rig);
}
