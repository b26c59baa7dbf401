/* test_uring_faults.c - the io_uring nic when things run out: completions, buffers, slots, peers, memory that may be locked */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/core.h"
#include "nic/uring/private.h"
#include "tests/support/uring_rig.h"

TestSuite(uring_faults, .fini = vly_leak_gate, .timeout = 120);

Test(uring_faults, more_completions_than_a_batch_holds_keep_their_bytes_apart)
{
	struct vly_config config;
	struct server server;

	need_uring("uring");
	small_config(&config, "uring");
	config.events_max = 16;
	server_open(&server, &config);
	clients_connect(&server, 300);
	all_speak(&server, 20, 64);
	server_close(&server);
}

/* All say a byte at once: whether the kernel had to keep completions that found no place in the queue. */
static bool overflows(struct server *server)
{
	const struct uring_nic *nic = uring_of(server->core->nic);
	bool seen = false;
	char byte;

	for (unsigned i = 0; i < server->clients_count; i++)
		cr_assert_eq(write(server->clients[i], "x", 1), 1);
	for (unsigned i = 0; i < server->clients_count; i++) {
		while (recv(server->clients[i], &byte, 1, MSG_DONTWAIT) != 1) {
			server_poll(server, 0);
			seen |= uring_ring_flags(&nic->ring) & IORING_SQ_CQ_OVERFLOW;
		}
		cr_assert_eq(byte, 'x');
	}
	return seen;
}

Test(uring_faults, completion_queue_that_overflows_loses_nothing)
{
	struct vly_config config;
	struct server server;

	need_uring("uring:cq=16,sq=8");
	small_config(&config, "uring:cq=16,sq=8");
	server_open(&server, &config);
	clients_connect(&server, 300);
	cr_assert(overflows(&server));
	all_speak(&server, 20, 64);
	server_close(&server);
}

/* Each answer is four pieces, and an entry for it found the queue full every eighth time. */
Test(uring_faults, pieces_of_an_answer_stay_its_own_when_the_submission_queue_is_full)
{
	struct vly_config config;
	struct server server;

	need_uring("uring:sq=8");
	small_config(&config, "uring:sq=8");
	config.tx_buf_bytes = 256;
	server_open(&server, &config);
	clients_connect(&server, 300);
	all_speak(&server, 20, 1000);
	server_close(&server);
}

Test(uring_faults, sixteen_receive_buffers_serve_a_thousand_connections)
{
	struct vly_config config;
	struct server server;

	need_uring("uring");
	small_config(&config, "uring");
	config.rx_buf_bytes = 1024;
	config.dgram_max = 512;
	server_open(&server, &config);
	clients_connect(&server, CLIENTS_MAX);
	all_speak(&server, 5, 1000);
	cr_assert_gt(stats_of(&server).rx_starved, 0);
	cr_assert_eq(stats_of(&server).rx_bytes, 5u * CLIENTS_MAX * 1000u);
	server_close(&server);
}

Test(uring_faults, peer_killed_with_a_thousand_connections_leaves_no_slot_taken)
{
	struct vly_config config;
	struct server server;
	pid_t pid;

	need_uring("uring");
	small_config(&config, "uring");
	server_open(&server, &config);
	pid = fork();
	cr_assert(pid >= 0);
	if (!pid) {
		for (unsigned i = 0; i < CLIENTS_MAX; i++)
			if (write(client_connect(&server), "hello", 5) != 5)
				_exit(1);
		for (;;)
			pause();
	}
	while (server.opens < CLIENTS_MAX)
		server_poll(&server, MSEC);
	cr_assert_eq(kill(pid, SIGKILL), 0);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
	while (server.closes < CLIENTS_MAX)
		server_poll(&server, MSEC);
	server_poll(&server, 0);
	server_poll(&server, 0);
	cr_assert_eq(stats_of(&server).conns, 1);
	/* The same slots serve again. */
	server.opens = server.closes = server.failures = 0;
	clients_connect(&server, 50);
	all_speak(&server, 2, 64);
	server_close(&server);
}

Test(uring_faults, operations_in_flight_when_a_connection_goes_leave_nothing_behind)
{
	struct vly_config config;
	struct server server;

	need_uring("uring");
	small_config(&config, "uring");
	server_open(&server, &config);
	server.churn = true;
	for (unsigned round = 0; round < 20; round++) {
		unsigned before = server.closes;

		server.clients_count = 0;
		server.opens = 0;
		clients_connect(&server, 60);
		for (unsigned i = 0; i < 60; i++) {
			uint8_t word[300];

			memset(word, (int)(i + round), sizeof(word));
			cr_assert_eq(write(server.clients[i], word, sizeof(word)), 300);
			if (i % 4 == 0)
				shutdown(server.clients[i], SHUT_WR);
		}
		server_poll(&server, 0);
		for (unsigned i = 0; i < 60; i++)
			close(server.clients[i]);
		while (server.closes < before + 60)
			server_poll(&server, MSEC);
	}
	server.clients_count = 0;
	server_poll(&server, 0);
	server_poll(&server, 0);
	cr_assert_eq(stats_of(&server).conns, 1);
	server_close(&server);
}

/* Opens an engine and its core over `nic`: the error of either. */
static int open_once(const char *nic)
{
	struct vly_config config;
	struct vly_engine *engine;
	struct vly_core *core;

	small_config(&config, nic);
	config.lock_memory = true;
	int error = vly_engine_open(&config, &engine);

	if (error)
		return error;
	error = vly_core_open(engine, 0, &core);
	if (!error)
		vly_core_close(core);
	vly_engine_close(engine);
	return error;
}

/* In a child: no privilege to lock memory, and none may be locked. */
static int serve_unlocked(void)
{
	struct rlimit none = {0, 0};
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	char why[256] = "";

	memset(caps, 0, sizeof(caps));
	if (syscall(SYS_capset, &header, caps) || setrlimit(RLIMIT_MEMLOCK, &none))
		return 77;
	/* By name it says what is wrong and what mends it; `auto` takes another. */
	int error = open_once("uring");

	if (error && error != -ENOMEM)
		return 1;
	if (error &&
	    (vly_nic_check("uring", why, sizeof(why)) != -ENOMEM || !strstr(why, "ulimit -l")))
		return 2;
	return open_once("auto") ? 3 : 0;
}

Test(uring_faults, memory_that_may_not_be_locked_is_told_and_auto_goes_on)
{
	int status;
	pid_t pid = fork();

	cr_assert(pid >= 0);
	if (!pid) {
		vly_log_set(hush, NULL, VLY_LOG_ERROR);
		_exit(serve_unlocked());
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	if (WEXITSTATUS(status) == 77)
		cr_skip_test("capabilities cannot be dropped here");
	cr_assert_eq(WEXITSTATUS(status), 0);
}

/* Lines of the log. */
struct lines {
	unsigned errors;
};

static void count_errors(enum vly_log_level level, const char *line, void *arg)
{
	struct lines *lines = arg;

	(void)line;
	lines->errors += level == VLY_LOG_ERROR;
}

/* What a thread leaves behind. */
struct left {
	struct server server;
	struct vly_addr udp;
};

/* Idle connections, one whose peer does not read, one with something to send at the next poll, and a UDP socket. */
static void *open_and_serve(void *arg)
{
	static uint8_t bytes[4096];
	struct left *left = arg;
	struct server *server = &left->server;
	struct vly_config config;
	vly_conn conns[3], udp;

	small_config(&config, "uring");
	server_open(server, &config);
	for (int i = 0; i < 3; i++) {
		struct vly_event *events;
		int count = 0;

		server->clients[server->clients_count++] = client_connect(server);
		while (count == 0)
			count = vly_poll(server->core, &events, MSEC);
		cr_assert_eq(events[0].kind, VLY_OPEN);
		conns[i] = events[0].conn;
	}
	while (vly_send(server->core, conns[0], bytes, sizeof(bytes)) == 0)
		server_poll(server, 0);
	cr_assert_eq(vly_addr_parse("127.0.0.1:0", &left->udp), 0);
	cr_assert_eq(vly_udp_open(server->core, &left->udp, NULL, &udp), 0);
	cr_assert_eq(vly_name(server->core, udp, &left->udp, NULL), 0);
	server_poll(server, 0);
	cr_assert_eq(vly_send(server->core, conns[1], "late", 4), 0);
	return NULL;
}

static bool is_free(const struct vly_addr *addr)
{
	struct sockaddr_in at = {.sin_family = AF_INET,
				 .sin_port = htons(addr->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool is_free = bind(fd, (struct sockaddr *)&at, sizeof(at)) == 0;

	close(fd);
	return is_free;
}

/* It waited ten seconds for completions that only the ring's own thread can fetch, and then could not retire records. */
Test(uring_faults, core_whose_thread_has_ended_is_closed_at_once_and_its_peers_see_the_end)
{
	static struct left left;
	struct server *server = &left.server;
	struct lines lines = {0};
	pthread_t thread;
	char bytes[65536];

	need_uring("uring");
	cr_assert_eq(pthread_create(&thread, NULL, open_and_serve, &left), 0);
	cr_assert_eq(pthread_join(thread, NULL), 0);
	vly_log_set(count_errors, &lines, VLY_LOG_ERROR);
	vly_core_close(server->core);
	cr_expect_eq(lines.errors, 0, "it gave up on what it waited for");
	for (unsigned i = 0; i < server->clients_count; i++) {
		while (read(server->clients[i], bytes, sizeof(bytes)) > 0)
			;
		close(server->clients[i]);
	}
	cr_expect(is_free(&left.udp));
	vly_engine_close(server->engine);
}
