/* test_uring_faults.c - the io_uring nic when things run out: completions, buffers, slots, peers, memory that may be locked */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/leak.h"
#include "volley/volley.h"

TestSuite(uring_faults, .fini = vly_leak_gate, .timeout = 120);

#define CLIENTS_MAX 1000
#define MSEC 1000000ll

/* An echo server on one core, and plain sockets that talk to it. */
struct server {
	struct vly_engine *engine;
	struct vly_core *core;
	struct vly_addr addr;
	vly_conn listener;
	unsigned opens, closes, failures, eofs;
	bool churn; /* pauses, resumes and aborts instead of echoing */
	int clients[CLIENTS_MAX];
	unsigned clients_count;
};

static void hush(enum vly_log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

static void need_uring(const char *nic)
{
	char why[256];

	vly_log_set(hush, NULL, VLY_LOG_ERROR);
	if (vly_nic_check(nic, why, sizeof(why)))
		cr_skip_test("%s: %s", nic, why);
}

static void small_config(struct vly_config *config, const char *nic)
{
	vly_config_init(config);
	config->nic = nic;
	config->pin = false;
	config->idle = VLY_IDLE_SLEEP;
	config->conns_max = CLIENTS_MAX + 8;
	config->events_max = 64;
	config->rx_bufs = 16;
	config->rx_buf_bytes = 4096;
	config->dgram_max = 1024;
	config->backlog = 512;
	config->huge_pages = config->lock_memory = false;
}

static void server_open(struct server *server, const struct vly_config *config)
{
	memset(server, 0, sizeof(*server));
	cr_assert_eq(vly_engine_open(config, &server->engine), 0);
	cr_assert_eq(vly_core_open(server->engine, 0, &server->core), 0);
	cr_assert_eq(vly_addr_parse("127.0.0.1:0", &server->addr), 0);
	cr_assert_eq(vly_listen(server->core, &server->addr, NULL, NULL, &server->listener), 0);
	cr_assert_eq(vly_name(server->core, server->listener, &server->addr, NULL), 0);
}

static void server_close(struct server *server)
{
	for (unsigned i = 0; i < server->clients_count; i++)
		close(server->clients[i]);
	vly_core_close(server->core);
	vly_engine_close(server->engine);
}

static void server_event(struct server *server, struct vly_event *event)
{
	switch (event->kind) {
	case VLY_OPEN:
		server->opens++;
		break;
	case VLY_DATA:
		if (!server->churn)
			server->failures +=
				vly_send(server->core, event->conn, event->data, event->len) != 0;
		else if (event->data[0] % 3 == 0)
			vly_abort(server->core, event->conn);
		else if (event->data[0] % 3 == 1 && vly_pause(server->core, event->conn) == 0)
			vly_resume(server->core, event->conn);
		break;
	case VLY_EOF:
		server->eofs++;
		server->failures += vly_close(server->core, event->conn) != 0;
		break;
	case VLY_CLOSED:
		server->closes++;
		break;
	default:
		break;
	}
}

static void server_poll(struct server *server, int64_t timeout_ns)
{
	struct vly_event *events;
	int count = vly_poll(server->core, &events, timeout_ns);

	cr_assert(count >= 0);
	for (int i = 0; i < count; i++)
		server_event(server, &events[i]);
}

static int client_connect(const struct server *server)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(server->addr.port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(fd >= 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static void clients_connect(struct server *server, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		server->clients[server->clients_count++] = client_connect(server);
		server_poll(server, 0);
	}
	while (server->opens < server->clients_count)
		server_poll(server, MSEC);
}

/* Byte `at` of what client `client` says in round `round`: no two clients say the same. */
static uint8_t speech(unsigned client, unsigned round, unsigned at)
{
	return (uint8_t)(client * 7 + client / 256 + round * 13 + at * 3);
}

/* All say `len` bytes at once; each gets back what it said, byte for byte. */
static void all_speak(struct server *server, unsigned rounds, unsigned len)
{
	uint8_t out[2048], back[2048];

	cr_assert(len <= sizeof(out));
	for (unsigned round = 0; round < rounds; round++) {
		for (unsigned i = 0; i < server->clients_count; i++) {
			for (unsigned at = 0; at < len; at++)
				out[at] = speech(i, round, at);
			cr_assert_eq(write(server->clients[i], out, len), (ssize_t)len);
		}
		for (unsigned i = 0; i < server->clients_count; i++) {
			unsigned got = 0;

			for (unsigned tries = 0; got < len; tries++) {
				ssize_t part = recv(server->clients[i], back + got, len - got,
						    MSG_DONTWAIT);

				got += part > 0 ? (unsigned)part : 0;
				cr_assert(tries < 100000, "client %u got %u bytes of %u", i, got,
					  len);
				if (got < len)
					server_poll(server, part > 0 ? 0 : MSEC);
			}
			for (unsigned at = 0; at < len; at++)
				cr_assert_eq(back[at], speech(i, round, at),
					     "client %u, round %u: byte %u is another's", i, round,
					     at);
		}
	}
	cr_assert_eq(server->failures, 0);
}

static struct vly_stats stats_of(struct server *server)
{
	struct vly_stats stats;

	cr_assert_eq(vly_stats(server->engine, 0, &stats), 0);
	return stats;
}

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

Test(uring_faults, completion_queue_that_overflows_loses_nothing)
{
	struct vly_config config;
	struct server server;

	need_uring("uring:cq=16,sq=8");
	small_config(&config, "uring:cq=16,sq=8");
	server_open(&server, &config);
	clients_connect(&server, 300);
	all_speak(&server, 20, 64);
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
