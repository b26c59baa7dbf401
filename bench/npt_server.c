/* npt_server.c - volley as the load generator of the Python sockets study */
#include "bench/npt_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/descriptors.h"
#include "bench/npt.h"
#include "volley/core.h"

#define BACKLOG 16
#define REQUEST_PATIENCE_MS 10000
#define REQUEST_QUIET_MS 100 /* without more bytes: the last field is whole */

static atomic_bool interrupted;
static atomic_int interrupted_by;

static void handle_signal(int number)
{
	atomic_store_explicit(&interrupted_by, number, memory_order_relaxed);
	atomic_store_explicit(&interrupted, true, memory_order_relaxed);
}

static bool is_interrupted(void)
{
	return atomic_load_explicit(&interrupted, memory_order_relaxed);
}

/* A listening descriptor, or -errno; `port` becomes the real one. */
static int open_listener(uint16_t *port)
{
	struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(*port)};
	socklen_t name_bytes = sizeof(name);
	int one = 1, err;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&name, sizeof(name)) != 0 || listen(fd, BACKLOG) != 0 ||
	    getsockname(fd, (struct sockaddr *)&name, &name_bytes) != 0) {
		err = -errno;
		close(fd);
		return err;
	}
	*port = ntohs(name.sin_port);
	return fd;
}

/*
 * Reads a request, which has no end: it is whole once it has all fields and nothing follows. 0 or
 * -errno with one line in `why`.
 */
static int read_request(int fd, struct npt_request *request, char *why, size_t why_bytes)
{
	char text[NPT_REQUEST_MAX + 1];
	size_t len = 0;
	int err = -EAGAIN;

	for (;;) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		int count = poll(&ready, 1, err ? REQUEST_PATIENCE_MS : REQUEST_QUIET_MS);
		ssize_t got = 0;

		if (count < 0 && errno == EINTR && !is_interrupted())
			continue;
		if (count > 0)
			got = recv(fd, text + len, sizeof(text) - 1 - len, 0);
		if (got <= 0) {
			if (err == -EAGAIN)
				snprintf(why, why_bytes, "no whole request came");
			return err;
		}
		len += (size_t)got;
		text[len] = '\0';
		err = npt_parse(text, request, why, why_bytes);
		if (err && err != -EAGAIN)
			return err;
	}
}

static void send_reply(int fd, const struct load_result *result)
{
	char *text = npt_reply(result);
	size_t len = text ? strlen(text) : 0;

	/* its client reads once: it shall find everything there */
	if (len && send(fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
		fprintf(stderr, "volley load: the reply could not be sent: %s\n", strerror(errno));
	free(text);
}

/* One request on a control connection from `peer`. False: it failed. */
static bool serve_one(const struct load_options *options, int fd, const struct sockaddr_in *peer)
{
	static const uint8_t any[4] = {0};
	struct npt_request request;
	struct load_result result;
	char target[VLY_ADDR_TEXT_MAX], why[256] = "";

	if (read_request(fd, &request, why, sizeof(why)) != 0) {
		fprintf(stderr, "volley load: %s\n", why);
		return false;
	}
	if (!memcmp(request.target.ip4, any, 4))
		memcpy(request.target.ip4, &peer->sin_addr, 4);
	struct load_params params = npt_params(&request);

	params.nic = options->shape.nic;
	params.cpus = options->load_cpus.list;
	params.cpus_count = options->load_cpus.count;
	params.sources = options->shape.sources;
	params.connect_timeout_ns = (int64_t)options->connect_timeout_ns;
	params.stall_timeout_ns = (int64_t)options->stall_timeout_ns;
	params.interrupted = &interrupted;
	vly_addr_format(&request.target, target, sizeof(target));
	int err = load_run(&params, &result);

	if (err || result.interrupted)
		fprintf(stderr, "volley load: %s: %s\n", target, result.reason);
	else
		printf("%s: %u connections, %u bytes: %llu messages, %.0f msg/s\n", target,
		       request.connections, request.size_bytes, (unsigned long long)result.messages,
		       result.rate_msg_per_s);
	fflush(stdout);
	/* after a failure no reply: the client must not take half a run for a whole one */
	if (!err && !result.interrupted)
		send_reply(fd, &result);
	load_result_fini(&result);
	return !err;
}

int npt_server(const struct load_options *options, uint16_t port)
{
	struct sigaction action = {.sa_handler = handle_signal, .sa_flags = (int)SA_RESETHAND};
	uint32_t served = 0, failed = 0;
	int listen_fd = open_listener(&port);

	if (listen_fd < 0) {
		fprintf(stderr, "volley load: cannot listen on port %u: %s\n", port,
			strerror(-listen_fd));
		return EXIT_ENVIRONMENT;
	}
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	descriptors_raise();
	printf("READY %u\n", port);
	fflush(stdout);
	while (!is_interrupted() && !(options->runs_given && served + failed >= options->runs)) {
		struct sockaddr_in peer;
		socklen_t peer_bytes = sizeof(peer);
		struct pollfd ready = {.fd = listen_fd, .events = POLLIN};

		/* A signal between the check above and here waits for one tick. */
		if (poll(&ready, 1, 200) <= 0)
			continue;
		int fd = accept4(listen_fd, (struct sockaddr *)&peer, &peer_bytes, SOCK_CLOEXEC);

		if (fd < 0)
			continue;
		if (serve_one(options, fd, &peer))
			served++;
		else
			failed++;
		close(fd);
	}
	close(listen_fd);
	if (is_interrupted())
		return 128 + atomic_load_explicit(&interrupted_by, memory_order_relaxed);
	return failed ? EXIT_FAILED : EXIT_OK;
}
