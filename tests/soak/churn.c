/* churn.c - opens and closes connections by the million, of every kind, and looks whether anything is left behind */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "nic/addr.h"
#include "volley/volley.h"

#define AT_ONCE 32u
/* Every slot is used some hundred thousand times over: a few that leak stop it all. */
#define SLOTS (AT_ONCE + 8)
#define STALL_S 60

/* How a connection ends. */
enum kind {
	CLIENT_CLOSES, /* after it has had its answer */
	CLIENT_RESETS,
	CLIENT_LEAVES, /* without a word */
	SERVER_CLOSES,
	SERVER_ABORTS,
	KINDS,
};

struct clients {
	struct vly_engine *engine;
	struct vly_addr addr;
	uint64_t cycles;
	uint64_t failed; /* no connection, or not the answer that was due */
	atomic_bool done;
};

static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static unsigned open_descriptors(void)
{
	DIR *folder = opendir("/proc/self/fd");
	unsigned count = 0;

	while (folder && readdir(folder))
		count++;
	if (folder)
		closedir(folder);
	return count;
}

/* --- the clients: plain sockets ----------------------------------------------------------------------------------------------- */

/* From ever other addresses, or the ports of one would all be waiting for late packets. */
static int dial(const struct clients *clients, uint64_t number)
{
	struct sockaddr_in from = {.sin_family = AF_INET,
				   .sin_addr.s_addr =
					   htonl(0x7f010000u + (uint32_t)((number >> 10) % 60000))};
	struct sockaddr_storage to;
	socklen_t len = vly_addr_to_sockaddr(&clients->addr, &to);
	int fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

	if (fd < 0)
		return -1;
	if (to.ss_family == AF_INET &&
	    (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) ||
	     bind(fd, (struct sockaddr *)&from, sizeof(from)))) {
		close(fd);
		return -1;
	}
	if (!connect(fd, (struct sockaddr *)&to, len))
		return fd;
	close(fd);
	return -1;
}

static void reset(int fd)
{
	struct linger linger = {.l_onoff = 1, .l_linger = 0};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

/* The client's part of the end; false: it was not answered as it should. */
static bool leave(int fd, enum kind kind)
{
	uint8_t back;
	ssize_t got = kind == CLIENT_LEAVES ? 1 : read(fd, &back, 1);
	bool right = true;

	if (kind == CLIENT_CLOSES || kind == CLIENT_RESETS)
		right = got == 1 && back == (uint8_t)kind;
	else if (kind == SERVER_CLOSES)
		right = got == 0;
	else if (kind == SERVER_ABORTS)
		right = got <= 0;
	if (kind == CLIENT_RESETS)
		reset(fd);
	close(fd);
	return right;
}

static void *come_and_go(void *arg)
{
	struct clients *clients = arg;
	int fds[AT_ONCE];

	for (uint64_t begun = 0; begun < clients->cycles; begun += AT_ONCE) {
		for (unsigned i = 0; i < AT_ONCE; i++) {
			uint8_t word = (uint8_t)((begun / AT_ONCE + i) % KINDS);

			fds[i] = dial(clients, begun + i);
			if (fds[i] >= 0 && word != CLIENT_LEAVES && write(fds[i], &word, 1) != 1)
				clients->failed++;
		}
		for (unsigned i = 0; i < AT_ONCE; i++)
			clients->failed +=
				fds[i] < 0 ||
				!leave(fds[i], (enum kind)((begun / AT_ONCE + i) % KINDS));
	}
	atomic_store(&clients->done, true);
	vly_wake(clients->engine, 0);
	return NULL;
}

/* --- the server --------------------------------------------------------------------------------------------------------------- */

static void serve(struct vly_core *core, const struct vly_event *event)
{
	if (event->kind == VLY_EOF)
		vly_close(core, event->conn);
	if (event->kind != VLY_DATA)
		return;
	switch ((enum kind)event->data[0]) {
	case SERVER_CLOSES:
		vly_close(core, event->conn);
		break;
	case SERVER_ABORTS:
		vly_abort(core, event->conn);
		break;
	default:
		if (vly_send(core, event->conn, event->data, event->len))
			vly_abort(core, event->conn);
		break;
	}
}

/* Until all are gone, or nothing has happened for a minute. */
static bool serve_all(struct vly_core *core, const struct clients *clients)
{
	uint64_t open = 0, last_ns = vly_now_ns();

	while (!atomic_load(&clients->done) || open) {
		struct vly_event *events;
		int count = vly_poll(core, &events, 1000000000);

		for (int i = 0; i < count; i++) {
			open += events[i].kind == VLY_OPEN;
			open -= events[i].kind == VLY_CLOSED;
			serve(core, &events[i]);
		}
		if (count > 0)
			last_ns = vly_now_ns();
		else if (vly_now_ns() - last_ns > STALL_S * 1000000000ull)
			return false;
	}
	return true;
}

static unsigned compare(const char *what, uint64_t before, uint64_t after)
{
	if (before != after)
		printf("LEFT BEHIND: %s was %" PRIu64 ", is %" PRIu64 "\n", what, before, after);
	return before != after;
}

static unsigned left_behind(const struct vly_stats *before, const struct vly_stats *after)
{
	return compare("connections", before->conns, after->conns) +
	       compare("free send buffers", before->tx_bufs_free, after->tx_bufs_free) +
	       compare("free references", before->tx_refs_free, after->tx_refs_free) +
	       compare("free receive buffers", before->rx_bufs_free, after->rx_bufs_free);
}

static struct vly_stats settle(struct vly_engine *engine, struct vly_core *core)
{
	struct vly_event *events;
	struct vly_stats stats;

	for (unsigned i = 0; i < 10; i++)
		if (vly_poll(core, &events, 1000000) < 0)
			break;
	if (vly_stats(engine, 0, &stats))
		memset(&stats, 0, sizeof(stats));
	return stats;
}

static int run(struct vly_engine *engine, const char *address, uint64_t cycles)
{
	struct clients clients = {.engine = engine, .cycles = cycles};
	struct vly_core *core;
	vly_conn listener;
	pthread_t thread;

	atomic_init(&clients.done, false);
	if (vly_core_open(engine, 0, &core) || vly_addr_parse(address, &clients.addr) ||
	    vly_listen(core, &clients.addr, NULL, NULL, &listener) ||
	    vly_name(core, listener, &clients.addr, NULL))
		return 1;
	unsigned files = open_descriptors();
	struct vly_stats before = settle(engine, core);
	uint64_t began_ns = vly_now_ns(), began_cpu_ns = cpu_ns();

	if (pthread_create(&thread, NULL, come_and_go, &clients))
		return 1;
	bool ended = serve_all(core, &clients);
	double seconds = (double)(vly_now_ns() - began_ns) / 1e9;
	double spent = (double)(cpu_ns() - began_cpu_ns) / 1e3;

	if (!ended) {
		printf("STALLED\n");
		return 1; /* the clients' thread may wait for ever */
	}
	pthread_join(thread, NULL);
	struct vly_stats after = settle(engine, core);
	unsigned faults = left_behind(&before, &after) +
			  compare("descriptors", files, open_descriptors()) +
			  compare("failed cycles", 0, clients.failed) +
			  compare("cycles", clients.cycles, after.accepted - before.accepted);

	printf("%s, %s: %" PRIu64
	       " cycles in %.1f s: %.0f each second, server CPU %.2f us each; %s\n",
	       vly_engine_nic(engine), address, after.accepted - before.accepted, seconds,
	       (double)after.accepted / seconds, spent / (double)after.accepted,
	       faults ? "FAULTS" : "nothing left behind");
	vly_core_close(core);
	return faults != 0;
}

/* churn [NIC [CYCLES [ADDRESS]]] */
int main(int argc, char **argv)
{
	const char *nic = argc > 1 ? argv[1] : "auto";
	uint64_t cycles = argc > 2 ? strtoull(argv[2], NULL, 10) : 20000;
	struct vly_config config;
	struct vly_engine *engine;
	char why[256];

	if (vly_nic_check(nic, why, sizeof(why))) {
		printf("%s: %s\n", nic, why);
		return 77;
	}
	vly_config_init(&config);
	config.nic = nic;
	config.pin = false;
	config.idle = VLY_IDLE_SLEEP;
	config.conns_max = SLOTS;
	config.tx_bufs = config.rx_bufs = 64;
	config.huge_pages = config.lock_memory = false;
	if (vly_engine_open(&config, &engine))
		return 1;
	int failed = run(engine, argc > 3 ? argv[3] : "127.0.0.1:0",
			 (cycles + AT_ONCE - 1) / AT_ONCE * AT_ONCE);

	vly_engine_close(engine);
	return failed;
}
