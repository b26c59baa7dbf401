/* test_inet_sleep.c - how often a core on frames looks at watched descriptors */
#include "nic/inet/sleep.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "tests/support/tcp_rig.h"

TestSuite(inet_sleep, .fini = vly_leak_gate, .timeout = 60);

static unsigned ready_after(struct rig *rig, uint64_t ns)
{
	unsigned ready = 0;

	rig->now_ns += ns;
	vly_clock_freeze(rig->now_ns);
	rig_clear(rig);
	rig_poll(rig);
	for (unsigned i = 0; i < rig->count; i++)
		ready += rig->events[i].kind == VLY_READY;
	return ready;
}

/* Each look is a system call, which a batch of messages would otherwise do without. */
Test(inet_sleep, busy_core_looks_at_watched_descriptors_now_and_then)
{
	int fd = eventfd(1, EFD_CLOEXEC);
	struct rig rig;
	vly_conn conn;

	rig_open(&rig, "");
	cr_assert_eq(vly_watch_fd(rig.core, fd, POLLIN, NULL, &conn), 0);
	cr_assert_eq(ready_after(&rig, 0), 1, "a new one is looked at at once");
	cr_assert_eq(ready_after(&rig, 0), 0);
	cr_assert_eq(ready_after(&rig, VLY_INET_LOOK_NS - 1), 0);
	cr_assert_eq(ready_after(&rig, 1), 1);
	cr_assert_eq(ready_after(&rig, VLY_INET_LOOK_NS - 1), 0);
	cr_assert_eq(ready_after(&rig, VLY_INET_LOOK_NS), 1);
	rig_close(&rig);
	close(fd);
}

Test(inet_sleep, embedded_core_looks_before_the_outer_loop_may_sleep)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct pollfd outer = {.events = POLLIN};
	struct rig rig;
	vly_conn conn;

	rig_open(&rig, "");
	cr_assert_eq(vly_watch_fd(rig.core, fd, POLLIN, NULL, &conn), 0);
	outer.fd = vly_core_fd(rig.core);
	cr_assert_geq(outer.fd, 0);
	cr_assert_eq(ready_after(&rig, 1), 0);
	cr_assert_eq(ready_after(&rig, 0), 0);
	cr_assert_eq(poll(&outer, 1, 0), 0, "edges of before");
	cr_assert_eq(eventfd_write(fd, 1), 0);
	cr_assert_eq(poll(&outer, 1, 0), 1);
	cr_assert_eq(ready_after(&rig, 0), 1);
	rig_close(&rig);
	close(fd);
}

/* What has come may be room to send in, of which nobody asks has_work(). */
Test(inet_sleep, embedded_core_whose_wire_would_not_arm_keeps_the_outer_loop_awake)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct pollfd outer = {.events = POLLIN};
	struct rig rig;

	rig_open(&rig, "");
	outer.fd = vly_core_fd(rig.core);
	cr_assert_geq(outer.fd, 0);
	hand.fd = fd;
	for (int round = 0; round < 3; round++) {
		hand.arms = true;
		cr_assert_eq(ready_after(&rig, 1), 0);
		cr_assert_eq(ready_after(&rig, 1), 0);
		cr_assert_eq(poll(&outer, 1, 0), 0);
		hand.arms = false;
		cr_assert_eq(ready_after(&rig, 1), 0);
		cr_assert_eq(poll(&outer, 1, 0), 1);
	}
	rig_close(&rig);
	close(fd);
}
