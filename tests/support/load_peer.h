/* load_peer.h - a server on a thread of its own that echoes well, or badly in one way */
#ifndef VLY_TESTS_LOAD_PEER_H
#define VLY_TESTS_LOAD_PEER_H

#include "bench/load.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONNS 5
#define PEERS_MAX 32
#define VICTIM 2      /* the connection that is treated badly */
#define GOOD_READS 50 /* how often it is treated well before */

enum manner {
	ECHO,
	BYTEWISE, /* echoes one byte at a time */
	WRONG,    /* one bit is another */
	STALE,    /* repeats what came before */
	CROSSED,  /* sends what another connection sent */
	EXCESS,   /* adds bytes */
	RESET,
	CLOSE,
	HALF_CLOSE,
	SWALLOW, /* does not answer one connection any more */
	STALL,   /* does not answer anybody any more */
	MUTE,    /* never answers */
};

/* A server on a thread of its own. */
struct server {
	enum manner manner;
	int listen_fd, stop_fds[2];
	struct pollfd polled[PEERS_MAX + 2];
	unsigned reads[PEERS_MAX];
	atomic_uint_fast64_t bytes; /* received */
	unsigned count;
	uint8_t last[65536]; /* what was read before */
	ssize_t last_len;
	pthread_t thread;
	struct vly_addr addr;
};

static inline void peer_end(struct server *server, unsigned i, bool reset)
{
	struct linger linger = {.l_onoff = reset};
	struct pollfd *polled = &server->polled[i + 2];

	setsockopt(polled->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	close(polled->fd);
	polled->fd = -1;
}

/* Replies to `len` bytes of connection `i`, well. */
static inline void reply(struct server *server, unsigned i, const uint8_t *bytes, ssize_t len)
{
	ssize_t piece = server->manner == BYTEWISE ? 1 : len;

	for (ssize_t done = 0; done < len; done += piece)
		if (send(server->polled[i + 2].fd, bytes + done, (size_t)piece, MSG_NOSIGNAL) < 0)
			return;
}

/* Replies as the manner says; the victim had its good share. */
static inline void misbehave(struct server *server, unsigned i, uint8_t *bytes, ssize_t len)
{
	switch (server->manner) {
	case WRONG:
		bytes[len - 1] ^= 4;
		reply(server, i, bytes, len);
		break;
	case STALE:
	case CROSSED:
		reply(server, i, server->last, server->last_len);
		break;
	case EXCESS:
		reply(server, i, bytes, len);
		reply(server, i, bytes, 3);
		break;
	case RESET:
	case CLOSE:
		peer_end(server, i, server->manner == RESET);
		break;
	case HALF_CLOSE:
		reply(server, i, bytes, len);
		shutdown(server->polled[i + 2].fd, SHUT_WR);
		break;
	case SWALLOW:
		break;
	default:
		reply(server, i, bytes, len);
	}
}

static inline void serve(struct server *server, unsigned i)
{
	uint8_t bytes[65536];
	ssize_t len = recv(server->polled[i + 2].fd, bytes, sizeof(bytes), 0);

	if (len <= 0) {
		peer_end(server, i, false);
		return;
	}
	server->reads[i]++;
	atomic_fetch_add(&server->bytes, (uint64_t)len);
	if (server->manner == MUTE || (server->manner == STALL && server->reads[i] > GOOD_READS))
		return;
	if (i == VICTIM && server->reads[i] > GOOD_READS)
		misbehave(server, i, bytes, len);
	else
		reply(server, i, bytes, len);
	/* CROSSED wants another connection's bytes, STALE the victim's own */
	if ((server->manner == STALE) == (i == VICTIM)) {
		memcpy(server->last, bytes, (size_t)len);
		server->last_len = len;
	}
}

static inline void *server_run(void *arg)
{
	struct server *server = arg;
	const int on = 1;

	server->polled[0] = (struct pollfd){.fd = server->stop_fds[0], .events = POLLIN};
	server->polled[1] = (struct pollfd){.fd = server->listen_fd, .events = POLLIN};
	while (poll(server->polled, server->count + 2, -1) >= 0 && !server->polled[0].revents) {
		for (unsigned i = 0; i < server->count; i++)
			if (server->polled[i + 2].fd >= 0 && server->polled[i + 2].revents)
				serve(server, i);
		if (server->polled[1].revents && server->count < PEERS_MAX) {
			int fd = accept(server->listen_fd, NULL, NULL);

			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
			server->polled[2 + server->count++] =
				(struct pollfd){.fd = fd, .events = POLLIN};
		}
	}
	for (unsigned i = 0; i < server->count; i++)
		if (server->polled[i + 2].fd >= 0)
			close(server->polled[i + 2].fd);
	return NULL;
}

static inline int bound_socket(struct vly_addr *addr)
{
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t sa_bytes = sizeof(sa);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_geq(fd, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&sa, sa_bytes), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&sa, &sa_bytes), 0);
	*addr = (struct vly_addr){
		.family = VLY_IP4, .port = ntohs(sa.sin_port), .ip4 = {127, 0, 0, 1}};
	return fd;
}

static inline void server_start(struct server *server, enum manner manner)
{
	memset(server, 0, sizeof(*server));
	server->manner = manner;
	server->listen_fd = bound_socket(&server->addr);
	cr_assert_eq(listen(server->listen_fd, 100), 0);
	cr_assert_eq(pipe(server->stop_fds), 0);
	cr_assert_eq(pthread_create(&server->thread, NULL, server_run, server), 0);
}

static inline void server_stop(struct server *server)
{
	cr_assert_eq(write(server->stop_fds[1], "x", 1), 1);
	cr_assert_eq(pthread_join(server->thread, NULL), 0);
	close(server->listen_fd);
	close(server->stop_fds[0]);
	close(server->stop_fds[1]);
}

static inline struct load_params params_for(const struct vly_addr *target)
{
	return (struct load_params){
		.target = *target,
		.connections = CONNS,
		.size_bytes = 64,
		.depth = 1,
		.warmup_ns = 20000000,
		.duration_ns = 100000000,
		.seed = 42,
	};
}

#endif
