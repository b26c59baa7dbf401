/* test_echo_server.c - the row echoes every byte, to peers good and bad, and ends on SIGTERM */
#include "bench/echo_server.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/leak.h"

TestSuite(echo_server, .fini = vly_leak_gate, .timeout = 120);

struct child {
	pid_t pid;
	uint16_t port;
};

static void serve(const struct echo_server_params *params, int ready_fd)
{
	int err;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(ready_fd, STDOUT_FILENO);
	err = echo_server_run(params);
#ifdef VLY_LEAK_CHECKED
	if (__lsan_do_recoverable_leak_check())
		_exit(99);
#endif
	_exit(-err);
}

static struct child child_start(const struct echo_server_params *params)
{
	struct child child = {.port = 0};
	char line[64] = "";
	int fds[2];
	FILE *ready;

	cr_assert_eq(pipe(fds), 0);
	fflush(stdout);
	child.pid = fork();
	cr_assert_geq(child.pid, 0);
	if (!child.pid)
		serve(params, fds[1]);
	close(fds[1]);
	ready = fdopen(fds[0], "r");
	cr_assert(fgets(line, sizeof(line), ready), "the server did not say READY");
	cr_assert_eq(strncmp(line, "READY", 5), 0, "%s", line);
	child.port = (uint16_t)strtoul(line + 5, NULL, 10);
	fclose(ready);
	return child;
}

/* 0 is the server's own success; others are its errno, or 99 for a leak. */
static void child_stop(const struct child *child)
{
	int status;

	kill(child->pid, SIGTERM);
	cr_assert_eq(waitpid(child->pid, &status, 0), child->pid);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0);
}

static struct echo_server_params loopback(uint16_t port)
{
	return (struct echo_server_params){
		.listen = {.family = VLY_IP4, .port = port, .ip4 = {127, 0, 0, 1}},
		.conns_max = 64,
		.idle = VLY_IDLE_SLEEP,
	};
}

static int connected(uint16_t port)
{
	struct sockaddr_in sa = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	return fd;
}

static uint8_t byte_at(size_t place)
{
	return (uint8_t)(place * 31 + (place >> 8) * 7);
}

/* Sends bytes [begin, end) until the socket takes no more; where it stopped. */
static size_t send_some(int fd, size_t begin, size_t end)
{
	uint8_t bytes[4096];

	while (begin < end) {
		size_t len = end - begin < sizeof(bytes) ? end - begin : sizeof(bytes);
		ssize_t n;

		for (size_t i = 0; i < len; i++)
			bytes[i] = byte_at(begin + i);
		n = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0) {
			cr_assert_eq(errno, EAGAIN);
			break;
		}
		begin += (size_t)n;
	}
	return begin;
}

/* Receives what is there (at least one byte, or the end) and compares; where it stopped. */
static size_t receive_some(int fd, size_t begin, bool *ended)
{
	static uint8_t bytes[65536];
	ssize_t n = recv(fd, bytes, sizeof(bytes), 0);

	cr_assert_geq(n, 0);
	*ended = n == 0;
	for (size_t i = 0; i < (size_t)n; i++)
		cr_assert_eq(bytes[i], byte_at(begin + i), "byte %zu", begin + i);
	return begin + (size_t)n;
}

static void expect_echo(int fd, size_t begin, size_t end)
{
	size_t sent = begin, got = begin;
	bool ended = false;

	while (got < end) {
		struct pollfd polled = {.fd = fd, .events = POLLIN};

		sent = send_some(fd, sent, end);
		if (sent < end)
			polled.events |= POLLOUT;
		cr_assert_gt(poll(&polled, 1, -1), 0);
		if (polled.revents & POLLIN)
			got = receive_some(fd, got, &ended);
		cr_assert_not(ended);
	}
}

Test(echo_server, echoes_messages_small_and_large)
{
	struct echo_server_params params = loopback(0);
	struct child child = child_start(&params);
	int fd = connected(child.port);

	expect_echo(fd, 0, 1);
	expect_echo(fd, 1, 65);
	expect_echo(fd, 65, 3000000);
	close(fd);
	child_stop(&child);
}

Test(echo_server, several_cores_share_a_port_that_was_chosen)
{
	struct echo_server_params params = loopback(0);
	int cpus[3] = {0, 0, 0}, fds[20];
	struct child child;

	params.cpus = cpus;
	params.cpus_count = 3;
	child = child_start(&params);
	for (int i = 0; i < 20; i++)
		fds[i] = connected(child.port);
	for (int i = 0; i < 20; i++) {
		expect_echo(fds[i], 0, 64);
		close(fds[i]);
	}
	child_stop(&child);
}

Test(echo_server, half_close_gets_all_and_then_the_end)
{
	struct echo_server_params params = loopback(0);
	struct child child = child_start(&params);
	int fd = connected(child.port);
	size_t sent = send_some(fd, 0, 100000000), got = 0;
	bool ended = false;

	/* nothing was read so far: the server keeps some, and the kernel the rest */
	shutdown(fd, SHUT_WR);
	while (!ended)
		got = receive_some(fd, got, &ended);
	cr_assert_eq(got, sent);
	close(fd);
	child_stop(&child);
}

Test(echo_server, peers_that_stop_reading_do_not_stop_others_and_get_all_in_the_end)
{
	struct echo_server_params params = loopback(0);
	struct child child = child_start(&params);
	int lazy[10], other = connected(child.port);
	size_t sent[10];

	for (int i = 0; i < 10; i++) {
		struct pollfd polled = {.fd = lazy[i] = connected(child.port), .events = POLLOUT};

		sent[i] = 0;
		/* until the server takes no more either */
		while (poll(&polled, 1, 100) > 0)
			sent[i] = send_some(lazy[i], sent[i], 100000000);
		cr_assert_lt(sent[i], 100000000);
	}
	expect_echo(other, 0, 100000);
	for (int i = 0; i < 10; i++) {
		size_t got = 0;
		bool ended = false;

		while (got < sent[i])
			got = receive_some(lazy[i], got, &ended);
		expect_echo(lazy[i], got, got + 5000);
		close(lazy[i]);
	}
	close(other);
	child_stop(&child);
}

Test(echo_server, reset_of_a_peer_leaves_others_alone)
{
	struct echo_server_params params = loopback(0);
	struct child child = child_start(&params);
	int other = connected(child.port);

	for (int i = 0; i < 100; i++) {
		struct linger linger = {.l_onoff = 1};
		int fd = connected(child.port);

		send_some(fd, 0, 1000);
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
		close(fd);
	}
	expect_echo(other, 0, 1000);
	close(other);
	child_stop(&child);
}

Test(echo_server, port_in_use_is_an_error)
{
	struct echo_server_params params = loopback(0), second;
	struct child child = child_start(&params);
	int cpus[2] = {0, 0};

	/* even where its several cores share a port among themselves */
	second = loopback(child.port);
	second.cpus = cpus;
	second.cpus_count = 2;
	cr_assert_eq(echo_server_run(&second), -EADDRINUSE);
	child_stop(&child);
}
