/* test_epoll.c - the epoll nic: edges at odd moments, peers with odd habits */
#include "nic/epoll/epoll.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "tests/support/rig.h"

TestSuite(epoll, .fini = vly_leak_gate, .timeout = 60);

/* Polls until `want` bytes of a connection came, or `tries` times; how many did. */
static size_t read_all(struct rig *rig, vly_conn conn, size_t want, int tries)
{
	size_t got = 0;

	for (int i = 0; i < tries && got < want; i++) {
		struct vly_event *events;
		int count = vly_poll(rig->core[0], &events, RIG_WAIT_NS);

		for (int e = 0; e < count; e++) {
			if (events[e].kind == VLY_DATA && events[e].conn == conn)
				got += events[e].len;
		}
	}
	return got;
}

/* The wake-up's mark in epoll is no handle: it must not be taken for a slot. */
Test(epoll, wakes_a_core_with_one_slot)
{
	struct vly_config config;
	struct rig rig;

	rig_config(&config);
	config.conns_max = 1;
	rig_open(&rig, &config);
	vly_wake(rig.engine, 0);
	rig_spin(&rig, 2);
	rig_close(&rig);
}

Test(epoll, ready_watches_beyond_the_batch_leave_room_for_a_stream)
{
	struct vly_config config;
	static const char junk[32768];
	vly_conn watch;
	struct rig rig;
	int fds[40], fd;

	rig_config(&config);
	config.events_max = 16;
	rig_open(&rig, &config);
	rig_listen(&rig, NULL);
	vly_conn conn = rig_accept(&rig, &fd);

	for (int i = 0; i < 40; i++) {
		fds[i] = eventfd(1, EFD_CLOEXEC);
		cr_assert_eq(vly_watch_fd(rig.core[0], fds[i], POLLIN, NULL, &watch), 0);
	}
	/* More than one turn's worth. */
	cr_assert_eq(send(fd, junk, sizeof(junk), 0), sizeof(junk));
	usleep(20000);
	cr_assert_eq(read_all(&rig, conn, sizeof(junk), RIG_TRIES), sizeof(junk),
		     "watches starve the stream");
	rig_close(&rig);
	for (int i = 0; i < 40; i++)
		close(fds[i]);
	close(fd);
}

/* A forked child keeps the socket, and with it the registration. */
Test(epoll, edge_of_a_dead_connection_that_a_child_still_holds_is_ignored)
{
	struct vly_config config;
	struct vly_event *events;
	struct rig rig;
	int fd, closed = 0;

	rig_config(&config);
	rig_open(&rig, &config);
	rig_listen(&rig, NULL);
	vly_conn conn = rig_accept(&rig, &fd);
	pid_t child = fork();

	if (!child) {
		for (;;)
			pause();
	}
	rig_spin(&rig, 2);
	cr_assert_eq(vly_abort(rig.core[0], conn), 0);
	cr_assert_eq(send(fd, "x", 1, MSG_NOSIGNAL), 1);
	usleep(1000);
	for (int polls = 0; polls < 20; polls++) {
		int count = vly_poll(rig.core[0], &events, 0);

		for (int i = 0; i < count; i++) {
			cr_assert_neq(events[i].kind, VLY_DATA);
			closed += events[i].kind == VLY_CLOSED;
		}
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	cr_assert_eq(closed, 1, "%d CLOSED", closed);
	close(fd);
	rig_close(&rig);
}

Test(epoll, orderly_close_reaches_the_peer_while_a_child_holds_the_socket)
{
	struct pollfd peer = {.events = POLLIN};
	struct vly_config config;
	struct rig rig;
	char byte;

	rig_config(&config);
	rig_open(&rig, &config);
	rig_listen(&rig, NULL);
	vly_conn conn = rig_accept(&rig, &peer.fd);
	pid_t child = fork();

	if (!child) {
		for (;;)
			pause();
	}
	cr_assert_eq(shutdown(peer.fd, SHUT_WR), 0);
	rig_await(&rig, conn, VLY_EOF);
	cr_assert_eq(vly_close(rig.core[0], conn), 0);
	rig_await(&rig, conn, VLY_CLOSED);
	int ready = poll(&peer, 1, 2000);

	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	cr_assert_eq(ready, 1, "no FIN");
	cr_assert_eq(recv(peer.fd, &byte, 1, 0), 0);
	close(peer.fd);
	rig_close(&rig);
}

/* The kernel ends a receive at the mark: a short one is not the last. */
Test(epoll, bytes_behind_an_urgent_one_are_not_forgotten)
{
	struct vly_config config;
	struct rig rig;
	int fd;

	rig_config(&config);
	rig_open(&rig, &config);
	rig_listen(&rig, NULL);
	vly_conn conn = rig_accept(&rig, &fd);

	cr_assert_eq(send(fd, "ab", 2, 0), 2);
	cr_assert_eq(send(fd, "!", 1, MSG_OOB), 1);
	cr_assert_eq(send(fd, "cd", 2, 0), 2);
	usleep(20000);
	cr_assert_eq(read_all(&rig, conn, 4, 40), 4);
	close(fd);
	rig_close(&rig);
}

/* So it does behind a descriptor that came along on a Unix socket. */
Test(epoll, bytes_behind_a_passed_descriptor_are_not_forgotten)
{
	char text[64], control[CMSG_SPACE(sizeof(int))] = {0};
	char letter = 'a';
	struct iovec piece = {.iov_base = &letter, .iov_len = 1};
	struct msghdr message = {.msg_iov = &piece,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	struct sockaddr_storage storage;
	struct vly_config config;
	struct vly_addr addr;
	struct rig rig;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	rig_config(&config);
	rig_open(&rig, &config);
	snprintf(text, sizeof(text), "unix:@vly-test-epoll-%d", (int)getpid());
	cr_assert_eq(vly_addr_parse(text, &addr), 0);
	cr_assert_eq(vly_listen(rig.core[0], &addr, NULL, NULL, &rig.listener), 0);
	socklen_t len = vly_addr_to_sockaddr(&addr, &storage);

	cr_assert_eq(connect(fd, (struct sockaddr *)&storage, len), 0);
	vly_conn conn = rig_await(&rig, 0, VLY_OPEN).conn;

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(header), &fd, sizeof(int));
	cr_assert_eq(sendmsg(fd, &message, 0), 1);
	cr_assert_eq(send(fd, "bc", 2, 0), 2);
	cr_assert_eq(read_all(&rig, conn, 3, 40), 3);
	close(fd);
	rig_close(&rig);
}
