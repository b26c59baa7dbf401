/* test_uring_direct.c - the table of direct sockets: who is in it, and when it is full, who waits */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "engine/core.h"
#include "nic/uring/private.h"
#include "nic/uring/probe.h"
#include "tests/support/uring_rig.h"

TestSuite(uring_direct, .fini = vly_leak_gate, .timeout = 120);

#define VISITORS 100
#define PLACES 64

static void need_direct(void)
{
	need_uring("uring");
	if (!uring_has(URING_DIRECT))
		cr_skip_test("accepted sockets are plain descriptors here");
}

static struct uring_nic *nic_of(const struct server *server)
{
	return uring_of(server->core->nic);
}

static bool read_whole(int fd, char *data, size_t len)
{
	while (len) {
		ssize_t got = read(fd, data, len);

		if (got <= 0)
			return false;
		data += got;
		len -= (size_t)got;
	}
	return true;
}

/* All connect and ask at once; then, once told, each takes its answer and leaves, oldest first. */
static void visit(int port_fd)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fds[VISITORS];
	char back[5];

	if (read(port_fd, &to.sin_port, sizeof(to.sin_port)) != sizeof(to.sin_port))
		_exit(1);
	for (int i = 0; i < VISITORS; i++) {
		fds[i] = socket(AF_INET, SOCK_STREAM, 0);
		if (connect(fds[i], (struct sockaddr *)&to, sizeof(to)) ||
		    write(fds[i], "hello", 5) != 5)
			_exit(2);
	}
	if (read(port_fd, back, 1) != 1)
		_exit(4);
	for (int i = 0; i < VISITORS; i++) {
		if (!read_whole(fds[i], back, 5) || memcmp(back, "hello", 5) != 0)
			_exit(3);
		close(fds[i]);
	}
	_exit(0);
}

/* The limit of open files makes it smaller than the table of connections. */
Test(uring_direct, table_that_is_full_keeps_clients_waiting_and_serves_all_of_them)
{
	struct rlimit limit;
	struct vly_config config;
	struct server server;
	uint16_t port;
	int pipe_fds[2], status;
	unsigned most = 0;

	need_direct();
	cr_assert_eq(pipe(pipe_fds), 0);
	pid_t pid = fork();

	cr_assert(pid >= 0);
	if (!pid)
		visit(pipe_fds[0]);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = PLACES;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	small_config(&config, "uring");
	config.conns_max = 4 * VISITORS;
	server_open(&server, &config);
	cr_assert_eq(nic_of(&server)->fixed_max, PLACES);
	port = htons(server.addr.port);
	cr_assert_eq(write(pipe_fds[1], &port, sizeof(port)), sizeof(port));
	while (server.opens < PLACES)
		server_poll(&server, MSEC);
	/* now that the table is full they may leave */
	cr_assert_eq(write(pipe_fds[1], "x", 1), 1);
	while (server.closes < VISITORS) {
		most = VLY_MAX(most, server.opens - server.closes);
		server_poll(&server, MSEC);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert_eq(status, 0, "a client was turned away");
	cr_assert_eq(server.failures, 0);
	cr_assert_eq(stats_of(&server).accepted, VISITORS);
	cr_assert_eq(stats_of(&server).closed_error, 0);
	cr_assert_eq(most, PLACES);
	cr_assert_geq(stats_of(&server).accept_full, 1);
	server_close(&server);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
}

/* Whatever else fills the table: the kernel then answers an accept with -ENFILE, and drops that client. */
static void fill_table(const struct server *server, int with_fd)
{
	uint32_t count = nic_of(server)->fixed_max;
	int *fds = malloc(count * sizeof(*fds));
	struct io_uring_files_update update = {.fds = (uint64_t)(uintptr_t)fds};

	cr_assert_not_null(fds);
	for (uint32_t i = 0; i < count; i++)
		fds[i] = with_fd;
	cr_assert_eq(io_uring_register((unsigned)nic_of(server)->ring.fd,
				       IORING_REGISTER_FILES_UPDATE, &update, count),
		     (int)count);
	free(fds);
}

Test(uring_direct, accept_that_fails_for_enfile_is_counted_waits_and_goes_on)
{
	struct vly_config config;
	struct vly_stats before;
	struct server server;
	int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char byte;

	need_direct();
	small_config(&config, "uring");
	server_open(&server, &config);
	fill_table(&server, null_fd);
	int dropped = client_connect(&server);

	while (!stats_of(&server).accept_nofile)
		server_poll(&server, MSEC);
	cr_assert_leq(read(dropped, &byte, 1), 0, "it cannot have been served");
	close(dropped);
	/* It sleeps meanwhile. */
	before = stats_of(&server);
	for (int i = 0; i < 5; i++)
		server_poll(&server, MSEC);
	cr_assert_geq(stats_of(&server).sleeps, before.sleeps + 3);
	/* Nothing of its own ends: it looks again by itself. */
	int client = client_connect(&server);

	fill_table(&server, -1);
	cr_assert_eq(write(client, "hello", 5), 5);
	while (server.opens < 1)
		server_poll(&server, 50 * MSEC);
	server.clients[server.clients_count++] = client;
	char back[5];

	while (recv(client, back, 5, MSG_DONTWAIT) != 5)
		server_poll(&server, MSEC);
	cr_assert_eq(memcmp(back, "hello", 5), 0);
	server_close(&server);
	close(null_fd);
}

Test(uring_direct, places_come_home_with_their_connections)
{
	struct vly_config config;
	struct server server;

	need_direct();
	small_config(&config, "uring");
	config.conns_max = 9;
	server_open(&server, &config);
	for (unsigned round = 1; round <= 200; round++) {
		int fds[8];

		for (unsigned i = 0; i < 8; i++)
			fds[i] = client_connect(&server);
		while (server.opens < 8 * round)
			server_poll(&server, MSEC);
		cr_assert_eq(nic_of(&server)->fixed_count, 8);
		for (unsigned i = 0; i < 8; i++)
			close(fds[i]);
		while (server.closes < 8 * round)
			server_poll(&server, MSEC);
		server_poll(&server, 0);
		cr_assert_eq(nic_of(&server)->fixed_count, 0);
	}
	server_close(&server);
}

static unsigned count_fds(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	cr_assert_not_null(folder);
	while (readdir(folder))
		count++;
	closedir(folder);
	return count;
}

/* Connects `count` times to itself and waits until both ends of all are open. */
static void connect_own(struct server *server, vly_conn *conns, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		cr_assert_eq(vly_connect(server->core, &server->addr, NULL, NULL, &conns[i]), 0);
	while (server->opens < 2 * count)
		server_poll(server, MSEC);
	for (int i = 0; i < 10; i++)
		server_poll(server, MSEC);
}

Test(uring_direct, connections_of_ours_move_into_the_table_and_need_no_descriptor)
{
	enum {
		COUNT = 20
	};
	struct vly_config config;
	struct server server;
	vly_conn conns[COUNT];

	need_direct();
	small_config(&config, "uring");
	server_open(&server, &config);
	unsigned fds = count_fds();

	connect_own(&server, conns, COUNT);
	cr_assert_eq(nic_of(&server)->fixed_count, 2 * COUNT);
	cr_assert_eq(count_fds(), fds);
	/* both ends echo: what one sent goes round and round */
	for (unsigned i = 0; i < COUNT; i++)
		cr_assert_eq(vly_send(server.core, conns[i], "hello", 5), 0);
	while (stats_of(&server).rx_bytes < COUNT * 5 * 20)
		server_poll(&server, MSEC);
	cr_assert_eq(server.failures, 0);
	for (unsigned i = 0; i < COUNT; i++)
		cr_assert_eq(vly_close(server.core, conns[i]), 0);
	while (server.closes < 2 * COUNT)
		server_poll(&server, MSEC);
	cr_assert_eq(nic_of(&server)->fixed_count, 0);
	cr_assert_eq(count_fds(), fds);
	server_close(&server);
}

Test(uring_direct, a_table_that_cannot_hold_all_connections_is_left_to_accepted_ones)
{
	enum {
		COUNT = 10
	};
	struct rlimit limit;
	struct vly_config config;
	struct server server;
	vly_conn conns[COUNT];

	need_direct();
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = PLACES;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	small_config(&config, "uring");
	config.conns_max = PLACES + 1;
	server_open(&server, &config);
	connect_own(&server, conns, COUNT);
	cr_assert_eq(nic_of(&server)->fixed_count, COUNT);
	server_close(&server);
}

/* The move is answered while the connection is being let go of: place and descriptor are both given back. */
Test(uring_direct, a_connection_that_ends_while_it_moves_leaves_nothing)
{
	struct vly_config config;
	struct server server;
	struct vly_event *events;
	vly_conn conn;
	bool ended = false;

	need_direct();
	small_config(&config, "uring");
	server_open(&server, &config);
	unsigned fds = count_fds();

	for (int round = 0; round < 20; round++) {
		cr_assert_eq(vly_connect(server.core, &server.addr, NULL, NULL, &conn), 0);
		for (ended = false; !ended;) {
			int count = vly_poll(server.core, &events, MSEC);

			for (int i = 0; i < count; i++) {
				if (events[i].kind == VLY_OPEN && events[i].conn == conn)
					vly_abort(server.core, conn);
				else if (events[i].kind == VLY_EOF)
					vly_close(server.core, events[i].conn);
				ended |= events[i].kind == VLY_CLOSED && events[i].conn == conn;
			}
		}
	}
	for (int i = 0; i < 50 && nic_of(&server)->fixed_count; i++)
		server_poll(&server, MSEC);
	cr_assert_eq(nic_of(&server)->fixed_count, 0);
	cr_assert_eq(count_fds(), fds);
	server_close(&server);
}

/* A child that was forked while the socket still was a descriptor has it, too: closing alone would send no FIN. */
Test(uring_direct, a_child_from_before_the_move_does_not_keep_a_closed_connection_open)
{
	struct sockaddr_in name = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t name_bytes = sizeof(name);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	struct vly_config config;
	struct server server;
	struct vly_addr to = {.family = VLY_IP4, .ip4 = {127, 0, 0, 1}};
	vly_conn conn;
	char byte;

	need_direct();
	cr_assert_eq(bind(listener, (struct sockaddr *)&name, name_bytes), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&name, &name_bytes), 0);
	to.port = ntohs(name.sin_port);
	small_config(&config, "uring");
	server_open(&server, &config);
	cr_assert_eq(vly_connect(server.core, &to, NULL, NULL, &conn), 0);
	pid_t pid = fork();

	cr_assert(pid >= 0);
	if (!pid) {
		pause();
		_exit(0);
	}
	while (!server.opens || !nic_of(&server)->fixed_count)
		server_poll(&server, MSEC);
	int peer = accept(listener, NULL, NULL);

	cr_assert_geq(peer, 0);
	shutdown(peer, SHUT_WR); /* the server answers EOF by closing */
	while (!server.closes)
		server_poll(&server, MSEC);
	struct pollfd ended = {.fd = peer, .events = POLLIN};

	cr_assert_eq(poll(&ended, 1, 10000), 1, "no FIN came");
	cr_assert_eq(read(peer, &byte, 1), 0);
	kill(pid, SIGKILL);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	close(peer);
	close(listener);
	server_close(&server);
}
