/* test_watch.c - foreign descriptors: READY while they are ready, nothing after vly_close */
#include "tests/contract/harness.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(watch, .fini = vly_leak_gate, .timeout = 120);

static void open_one(struct world *w)
{
	struct vly_config config;

	world_config(&config, 1);
	world_open_config(w, &config);
}

/* The status of the last READY of a handle. */
static int last_status(struct world *w, vly_conn conn)
{
	for (size_t i = w->tracks.records_count; i--;)
		if (w->tracks.records[i].event.conn == conn &&
		    w->tracks.records[i].event.kind == VLY_READY)
			return w->tracks.records[i].event.status;
	return 0;
}

Test(watch, reports_ready_again_and_again_until_it_is_read)
{
	struct world w;
	vly_conn conn;
	int fds[2], mark;
	char byte;
	unsigned ready;

	open_one(&w);
	check_eq(pipe(fds), 0);
	check_eq(vly_watch_fd(w.core[0], fds[0], POLLIN, &mark, &conn), 0);
	world_quiet(&w);
	check_eq(seen(&w, conn, VLY_READY), 0);
	check_eq(write(fds[1], "x", 1), 1);
	for (unsigned i = 1; i <= 5; i++)
		pump_until(&w, seen(&w, conn, VLY_READY) == i);
	check_eq(last_status(&w, conn), POLLIN);
	cr_assert(track_of(&w, conn)->user == &mark);
	check_eq(read(fds[0], &byte, 1), 1);
	world_round(&w);
	ready = seen(&w, conn, VLY_READY);
	world_quiet(&w);
	check_eq(seen(&w, conn, VLY_READY), ready);
	check_eq(seen(&w, conn, VLY_OPEN), 0);
	world_close(&w);
	close(fds[0]);
	close(fds[1]);
}

Test(watch, once_per_batch_and_descriptor)
{
	struct world w;
	vly_conn conn[2];
	int fds[2];

	open_one(&w);
	for (int i = 0; i < 2; i++) {
		fds[i] = eventfd(1, EFD_CLOEXEC);
		check_eq(vly_watch_fd(w.core[0], fds[i], POLLIN, NULL, &conn[i]), 0);
	}
	for (int i = 0; i < 10; i++) {
		unsigned before[2] = {seen(&w, conn[0], VLY_READY), seen(&w, conn[1], VLY_READY)};

		world_poll(&w, 0, SEC);
		for (int j = 0; j < 2; j++)
			check_at_most(seen(&w, conn[j], VLY_READY) - before[j], 1);
	}
	check_at_least(seen(&w, conn[0], VLY_READY), 9);
	check_at_least(seen(&w, conn[1], VLY_READY), 9);
	world_close(&w);
	close(fds[0]);
	close(fds[1]);
}

Test(watch, tells_writable_and_hangup)
{
	struct world w;
	vly_conn conn;
	int fds[2];

	open_one(&w);
	check_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	check_eq(vly_watch_fd(w.core[0], fds[0], POLLIN | POLLOUT, NULL, &conn), 0);
	pump_until(&w, last_status(&w, conn) == POLLOUT);
	check_eq(write(fds[1], "x", 1), 1);
	pump_until(&w, last_status(&w, conn) == (POLLIN | POLLOUT));
	close(fds[1]);
	/* Not asked for, and yet told. */
	pump_until(&w, last_status(&w, conn) & POLLHUP);
	world_close(&w);
	close(fds[0]);
}

Test(watch, wakes_a_core_that_sleeps_for_ever)
{
	struct world w;
	vly_conn conn;
	int fds[2];

	open_one(&w);
	check_eq(pipe(fds), 0);
	check_eq(vly_watch_fd(w.core[0], fds[0], POLLIN, NULL, &conn), 0);
	check_eq(world_poll(&w, 0, MSEC), 0);
	check_eq(write(fds[1], "x", 1), 1);
	check_eq(world_poll(&w, 0, -1), 1);
	check_eq(seen(&w, conn, VLY_READY), 1);
	world_close(&w);
	close(fds[0]);
	close(fds[1]);
}

Test(watch, closed_ends_with_closed_0_and_leaves_the_descriptor_alone)
{
	struct world w;
	vly_conn conn;
	int fds[2];
	unsigned ready;
	char byte;

	open_one(&w);
	check_eq(pipe(fds), 0);
	check_eq(vly_watch_fd(w.core[0], fds[0], POLLIN, NULL, &conn), 0);
	check_eq(write(fds[1], "x", 1), 1);
	pump_until(&w, seen(&w, conn, VLY_READY));
	ready = seen(&w, conn, VLY_READY);
	check_eq(vly_close(w.core[0], conn), 0);
	pump_until(&w, seen(&w, conn, VLY_CLOSED));
	check_eq(track_of(&w, conn)->closed_status, 0);
	world_quiet(&w);
	check_eq(seen(&w, conn, VLY_READY), ready);
	check_eq(vly_close(w.core[0], conn), -ENOTCONN);
	check_eq(world_stats(&w, 0).conns, 0);
	check_eq(read(fds[0], &byte, 1), 1);
	/* It may be watched again. */
	check_eq(vly_watch_fd(w.core[0], fds[0], POLLIN, NULL, &conn), 0);
	check_eq(write(fds[1], "y", 1), 1);
	pump_until(&w, seen(&w, conn, VLY_READY));
	world_close(&w);
	check_eq(read(fds[0], &byte, 1), 1);
	close(fds[0]);
	close(fds[1]);
}

Test(watch, twice_is_eexist)
{
	struct world w;
	vly_conn conn, again;
	int fds[2];

	open_one(&w);
	check_eq(pipe(fds), 0);
	check_eq(vly_watch_fd(w.core[0], fds[0], POLLIN, NULL, &conn), 0);
	check_eq(vly_watch_fd(w.core[0], fds[0], POLLIN, NULL, &again), -EEXIST);
	check_eq(world_stats(&w, 0).conns, 1);
	world_close(&w);
	close(fds[0]);
	close(fds[1]);
}

Test(watch, of_a_regular_file_is_eperm_and_of_none_is_ebadf)
{
	struct world w;
	vly_conn conn;
	char path[] = "/tmp/volley-watch-XXXXXX";
	int fd = mkstemp(path);

	check_at_least(fd, 0);
	open_one(&w);
	check_eq(vly_watch_fd(w.core[0], fd, POLLIN, NULL, &conn), -EPERM);
	check_eq(vly_watch_fd(w.core[0], -1, POLLIN, NULL, &conn), -EBADF);
	check_eq(vly_watch_fd(w.core[0], 19999, POLLIN, NULL, &conn), -EBADF);
	check_eq(world_stats(&w, 0).conns, 0);
	world_close(&w);
	close(fd);
	unlink(path);
}

Test(watch, is_no_stream)
{
	struct world w;
	vly_conn conn;
	int fd = eventfd(0, EFD_CLOEXEC);

	open_one(&w);
	check_eq(vly_watch_fd(w.core[0], fd, POLLIN, NULL, &conn), 0);
	check_eq(vly_send(w.core[0], conn, "x", 1), -EINVAL);
	check_eq(vly_send_owned(w.core[0], conn, "x", 1, NULL), -EINVAL);
	check_at_most(vly_shutdown(w.core[0], conn), -1);
	world_quiet(&w);
	check_eq(w.tracks.count[VLY_SENT], 0);
	world_close(&w);
	close(fd);
}

static void close_in_ready(struct world *w, unsigned core, struct vly_event *event)
{
	if (event->kind == VLY_READY)
		check_eq(vly_close(w->core[core], event->conn), 0);
}

Test(watch, may_be_closed_in_its_own_event)
{
	struct world w;
	vly_conn conn;
	int fd = eventfd(1, EFD_CLOEXEC);

	open_one(&w);
	w.on_event = close_in_ready;
	for (int i = 0; i < 200; i++) {
		check_eq(vly_watch_fd(w.core[0], fd, POLLIN, NULL, &conn), 0);
		pump_until(&w, seen(&w, conn, VLY_CLOSED));
		check_eq(seen(&w, conn, VLY_READY), 1);
	}
	world_close(&w);
	close(fd);
}
