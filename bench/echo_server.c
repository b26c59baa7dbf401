/* echo_server.c - the engine's row: what came is sent back, or kept while reading stops */
#include "bench/echo_server.h"

#include "bench/own_stack.h"
#include "bench/polls.h"
#include "volley/volley.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CPUS_MAX 256
#define PIECE_BYTES 16384u
#define STOP_NS UINT64_C(1000000000) /* a server under test ends soon, whoever is still there */

/*
 * What a connection still has to send, because its peer does not read. The copy is the
 * application's own memory, not vly_hold()'s: slices and pins are few and shared, and a thousand
 * peers that stop reading must not take them from the others. It is bounded: once there is a copy
 * the connection is paused, so nothing is added but the rest of its share of that one batch.
 */
struct kept {
	uint32_t begin, len, room; /* bytes begin..len are to be sent */
	bool closing;              /* the peer sends no more: close when this is sent */
	uint8_t bytes[];
};

/* What all cores share; written before they start, but for `ready`. */
struct server {
	struct vly_addr listen;
	uint32_t conns_max;
	unsigned cores_count;
	bool forward;
	struct polls_core *polls; /* NULL: cores sleep, or nobody wants to know how busy they are */
	atomic_uint ready;        /* cores that listen; the last one says READY */
};

/* Of one core. */
struct echo {
	struct vly_core *core;
	struct kept **kept;  /* by slot, NULL: nothing */
	uint32_t kept_count; /* of them that are not NULL: with none nobody looks at that array */
	uint32_t slots;
	bool forward;
	struct polls_core *polls; /* ours; NULL: not told */
};

/* Tells how busy the core has been, and will again. */
static void tell_polls(struct echo *echo)
{
	unsigned index = vly_core_index(echo->core);
	struct vly_stats stats;
	vly_timer timer;

	if (!echo->polls || vly_stats(vly_core_engine(echo->core), index, &stats) < 0)
		return;
	atomic_store_explicit(&echo->polls->busy_ns, stats.busy_ns, memory_order_relaxed);
	atomic_store_explicit(&echo->polls->idle_ns, stats.idle_ns, memory_order_relaxed);
	/* without a timer it was told for the last time */
	if (vly_timer_start(echo->core, POLLS_EVERY_NS, NULL, &timer) < 0)
		echo->polls = NULL;
}

static int echo_start(struct vly_core *core, void *arg, void **state)
{
	struct server *server = arg;
	struct vly_addr local = server->listen;
	struct echo *echo = calloc(1, sizeof(*echo));
	vly_conn listener;
	int err = -ENOMEM;

	if (!echo)
		return err;
	echo->core = core;
	echo->slots = server->conns_max;
	echo->forward = server->forward;
	if (server->polls && vly_core_index(core) < POLLS_CORES_MAX)
		echo->polls = &server->polls[vly_core_index(core)];
	echo->kept = calloc(echo->slots, sizeof(struct kept *));
	if (!echo->kept)
		goto fail;
	err = vly_listen(core, &server->listen, NULL, NULL, &listener);
	if (err < 0) {
		char text[VLY_ADDR_TEXT_MAX];

		fprintf(stderr, "volley: could not listen on %s: %s\n",
			vly_addr_format(&server->listen, text, sizeof(text)), strerror(-err));
		goto fail;
	}
	*state = echo;
	tell_polls(echo);
	vly_name(core, listener, &local, NULL);
	/* nobody reads what others wrote before: the count alone matters */
	if (atomic_fetch_add_explicit(&server->ready, 1, memory_order_relaxed) + 1 ==
	    server->cores_count) {
		if (local.family == VLY_UNIX)
			printf("READY\n");
		else
			printf("READY %u\n", local.port);
		fflush(stdout);
	}
	return 0;
fail:
	free(echo->kept);
	free(echo);
	return err;
}

static void forget(struct echo *echo, uint32_t slot)
{
	echo->kept_count -= echo->kept[slot] != NULL;
	free(echo->kept[slot]);
	echo->kept[slot] = NULL;
}

/* Adds bytes to what a connection still has to send, and stops reading it. */
static void keep(struct echo *echo, vly_conn conn, const uint8_t *data, uint32_t len)
{
	uint32_t slot = vly_conn_slot(conn);
	struct kept *kept = echo->kept[slot];

	if (!kept || kept->room - kept->len < len) {
		uint32_t used = kept ? kept->len : 0;
		struct kept *grown = realloc(kept, sizeof(*grown) + used + len);

		if (!grown) {
			vly_abort(echo->core, conn);
			return;
		}
		if (!kept) {
			*grown = (struct kept){0};
			echo->kept_count++;
		}
		grown->room = used + len;
		echo->kept[slot] = kept = grown;
	}
	memcpy(kept->bytes + kept->len, data, len);
	kept->len += len;
	vly_pause(echo->core, conn);
}

static void on_data(struct echo *echo, const struct vly_event *event)
{
	int err = -EAGAIN;

	/* nothing overtakes what is kept */
	if (__builtin_expect(!echo->kept_count || !echo->kept[vly_conn_slot(event->conn)], 1))
		err = echo->forward ? vly_send_event(echo->core, event->conn, event)
				    : vly_send(echo->core, event->conn, event->data, event->len);
	if (__builtin_expect(err == 0, 1))
		return;
	if (err == -EAGAIN)
		keep(echo, event->conn, event->data, event->len);
	else
		vly_abort(echo->core, event->conn);
}

static void on_drained(struct echo *echo, vly_conn conn)
{
	uint32_t slot = vly_conn_slot(conn);
	struct kept *kept = echo->kept[slot];
	bool closing;

	if (!kept)
		return;
	/* in pieces: the pool may have room for one, but not for all */
	while (kept->begin < kept->len) {
		uint32_t piece = kept->len - kept->begin;
		int err;

		if (piece > PIECE_BYTES)
			piece = PIECE_BYTES;
		err = vly_send(echo->core, conn, kept->bytes + kept->begin, piece);
		if (err == -EAGAIN)
			return; /* another DRAINED comes */
		if (err < 0) {
			forget(echo, slot);
			vly_abort(echo->core, conn);
			return;
		}
		kept->begin += piece;
	}
	closing = kept->closing;
	forget(echo, slot);
	if (closing)
		vly_close(echo->core, conn);
	else
		vly_resume(echo->core, conn);
}

static void on_eof(struct echo *echo, vly_conn conn)
{
	struct kept *kept = echo->kept[vly_conn_slot(conn)];

	if (kept)
		kept->closing = true;
	else
		vly_close(echo->core, conn);
}

static void echo_events(struct vly_core *core, struct vly_event *events, int count, void *state)
{
	struct echo *echo = state;

	(void)core;
	for (int i = 0; i < count; i++) {
		const struct vly_event *event = &events[i];

		switch (event->kind) {
		case VLY_DATA:
			on_data(echo, event);
			break;
		case VLY_DRAINED:
			on_drained(echo, event->conn);
			break;
		case VLY_EOF:
			on_eof(echo, event->conn);
			break;
		case VLY_CLOSED:
			forget(echo, vly_conn_slot(event->conn));
			break;
		case VLY_TIMER:
			tell_polls(echo);
			break;
		default:
			break;
		}
	}
}

static void echo_stop(struct vly_core *core, void *state)
{
	struct echo *echo = state;

	(void)core;
	for (uint32_t slot = 0; slot < echo->slots; slot++)
		forget(echo, slot);
	free(echo->kept);
	free(echo);
}

/*
 * Several cores share their port by SO_REUSEPORT, which would silently share it with another server
 * of the same user, too, and which needs one port for all. So the port is tried alone first:
 * -EADDRINUSE if somebody listens there, else the number.
 */
static int claim_port(struct vly_addr *addr)
{
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct sockaddr_in four = {.sin_family = AF_INET};
	struct sockaddr *sa = (struct sockaddr *)&four;
	socklen_t sa_bytes = sizeof(four);
	const int on = 1;
	int err = 0, fd;

	if (addr->family == VLY_UNIX)
		return 0;
	four.sin_port = htons(addr->port);
	memcpy(&four.sin_addr, addr->ip4, sizeof(four.sin_addr));
	if (addr->family == VLY_IP6) {
		six.sin6_port = htons(addr->port);
		six.sin6_scope_id = addr->scope_id;
		memcpy(&six.sin6_addr, addr->ip6, sizeof(six.sin6_addr));
		sa = (struct sockaddr *)&six;
		sa_bytes = sizeof(six);
	}
	fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)); /* else TIME_WAIT would count */
	if (bind(fd, sa, sa_bytes) < 0 || getsockname(fd, sa, &sa_bytes) < 0)
		err = -errno;
	/* the port stands at the same place in both families */
	else
		addr->port = ntohs(((const struct sockaddr_in *)(const void *)sa)->sin_port);
	close(fd);
	return err;
}

static void format_cpus(const struct echo_server_params *params, char *text, size_t size_bytes)
{
	size_t used = 0;

	for (unsigned i = 0; i < params->cpus_count; i++)
		used += (size_t)snprintf(text + used, size_bytes - used, "%s%d", i ? "," : "",
					 params->cpus[i]);
}

int echo_server_run(const struct echo_server_params *params)
{
	static const struct vly_app app = {
		.start = echo_start,
		.events = echo_events,
		.stop = echo_stop,
	};
	struct server server = {.listen = params->listen};
	char cpus[CPUS_MAX * 8], text[VLY_ADDR_TEXT_MAX];
	struct vly_config config;
	int err;

	if (params->cpus_count > CPUS_MAX)
		return -EINVAL;
	vly_config_init(&config);
	config.nic = params->nic ? params->nic : "epoll";
	config.cores = params->cpus_count ? params->cpus_count : 1;
	config.pin = params->cpus_count > 0;
	config.allow_overlap = true;
	config.idle = params->idle;
	config.stop_on_signals = true;
	config.stop_timeout_ns = STOP_NS;
	/* each core must be able to hold all: the kernel spreads connections by hash, not evenly */
	if (params->conns_max)
		config.conns_max = params->conns_max + config.cores;
	if (bench_own_stack(config.nic))
		bench_own_stack_config(&config, params->size_bytes);
	/* one event's bytes are sent whole or not at all */
	if (config.tx_budget < 2 * config.rx_buf_bytes)
		config.tx_budget = 2 * config.rx_buf_bytes;
	if (params->cpus_count) {
		format_cpus(params, cpus, sizeof(cpus));
		config.cpus = cpus;
	}
	server.conns_max = config.conns_max;
	server.cores_count = config.cores;

	server.forward = params->forward;
	if (params->idle == VLY_IDLE_BUSY)
		server.polls = polls_attach();

	/* A stack of our own has ports of its own. */
	err = bench_own_stack(config.nic) ? 0 : claim_port(&server.listen);
	if (err < 0) {
		fprintf(stderr, "volley: could not listen on %s: %s\n",
			vly_addr_format(&params->listen, text, sizeof(text)), strerror(-err));
		return err;
	}
	return vly_run(&config, &app, &server);
}
