/* test_close.c - time-outs of closing, at their limits */
#include "engine/core.h"

#include "tests/support/rig.h"

TestSuite(close, .fini = vly_leak_gate, .timeout = 60);

Test(close, timeout_of_all_time_never_runs_out)
{
	struct vly_config config;
	struct vly_event event;
	struct rig rig;
	int fd;

	rig_config(&config);
	config.close_timeout_ns = UINT64_MAX;
	rig_open(&rig, &config);
	rig_listen(&rig, NULL);
	vly_conn conn = rig_accept(&rig, &fd);

	cr_assert_eq(vly_close(rig.core[0], conn), 0);
	cr_assert_not(rig_find(&rig, conn, VLY_CLOSED, &event, 10), "CLOSED %d", event.status);
	close(fd);
	event = rig_await(&rig, conn, VLY_CLOSED);
	cr_assert_eq(event.status, 0);
	rig_close(&rig);
}

/* Between vly_close and the flush the number may be another descriptor's already. */
Test(close, of_a_watch_leaves_the_next_user_of_its_number_alone)
{
	struct vly_config config;
	struct vly_event event;
	vly_conn watch, conn;
	struct rig rig;
	int fds[2];

	rig_config(&config);
	rig_open(&rig, &config);
	rig_listen(&rig, NULL);
	cr_assert_eq(pipe(fds), 0);
	cr_assert_eq(vly_watch_fd(rig.core[0], fds[0], 1, NULL, &watch), 0);
	rig_spin(&rig, 1);
	cr_assert_eq(vly_close(rig.core[0], watch), 0);
	close(fds[0]);
	close(fds[1]);
	cr_assert_eq(vly_connect(rig.core[0], &rig.addr, NULL, NULL, &conn), 0);
	cr_assert(rig_find(&rig, conn, VLY_OPEN, &event, 50), "its registration was removed");
	cr_assert_eq(event.status, 0);
	rig_close(&rig);
}
