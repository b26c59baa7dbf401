/* uring_rig.h - an echo server over the io_uring nic on the test's own thread, and plain sockets that talk to it */
#ifndef VLY_TESTS_URING_RIG_H
#define VLY_TESTS_URING_RIG_H

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/support/leak.h"
#include "volley/volley.h"

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

static inline void hush(enum vly_log_level level, const char *line, void *arg)
{
	(void)level;
	(void)line;
	(void)arg;
}

static inline void need_uring(const char *nic)
{
	char why[256];

	vly_log_set(hush, NULL, VLY_LOG_ERROR);
	if (vly_nic_check(nic, why, sizeof(why)))
		cr_skip_test("%s: %s", nic, why);
}

static inline void small_config(struct vly_config *config, const char *nic)
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

static inline void server_open(struct server *server, const struct vly_config *config)
{
	memset(server, 0, sizeof(*server));
	cr_assert_eq(vly_engine_open(config, &server->engine), 0);
	cr_assert_eq(vly_core_open(server->engine, 0, &server->core), 0);
	cr_assert_eq(vly_addr_parse("127.0.0.1:0", &server->addr), 0);
	cr_assert_eq(vly_listen(server->core, &server->addr, NULL, NULL, &server->listener), 0);
	cr_assert_eq(vly_name(server->core, server->listener, &server->addr, NULL), 0);
}

static inline void server_close(struct server *server)
{
	for (unsigned i = 0; i < server->clients_count; i++)
		close(server->clients[i]);
	vly_core_close(server->core);
	vly_engine_close(server->engine);
}

static inline void server_event(struct server *server, struct vly_event *event)
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

static inline void server_poll(struct server *server, int64_t timeout_ns)
{
	struct vly_event *events;
	int count = vly_poll(server->core, &events, timeout_ns);

	cr_assert(count >= 0);
	for (int i = 0; i < count; i++)
		server_event(server, &events[i]);
}

static inline int client_connect(const struct server *server)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(server->addr.port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(fd >= 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static inline void clients_connect(struct server *server, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		server->clients[server->clients_count++] = client_connect(server);
		server_poll(server, 0);
	}
	while (server->opens < server->clients_count)
		server_poll(server, MSEC);
}

/* Byte `at` of what client `client` says in round `round`: no two clients say the same. */
static inline uint8_t speech(unsigned client, unsigned round, unsigned at)
{
	return (uint8_t)(client * 7 + client / 256 + round * 13 + at * 3);
}

/* All say `len` bytes at once; each gets back what it said, byte for byte. */
static inline void all_speak(struct server *server, unsigned rounds, unsigned len)
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

static inline struct vly_stats stats_of(struct server *server)
{
	struct vly_stats stats;

	cr_assert_eq(vly_stats(server->engine, 0, &stats), 0);
	return stats;
}

#endif
