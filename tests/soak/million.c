/* million.c - connections by the million over a wire in memory: what each costs in memory, and whether all of them talk */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "volley/loop.h"
#include "volley/volley.h"

/*
 * Two processes, one engine of one core each, joined by a loop. The client opens all connections, then sends one message of 64
 * bytes on each, round after round; the server sends it back; each answer is compared. Then the client closes them all.
 * For each count of connections this happens anew, and what a connection costs is the slope between the counts.
 */
#define MESSAGE 64u
#define PORTS 16u /* of the server: a client's address has 48 K ports towards each */
#define FIRST_PORT 7000u
#define PER_ADDRESS 300000u
#define SLOTS 2048u    /* of the loop, each way: whole frames */
#define TOGETHER 4096u /* opening, closing, or with a message under way */
#define STALL_S 60u
#define COUNTS_MAX 16

/* What one side tells the other process; each field has one writer. */
struct side {
	uint64_t region_bytes; /* taken of the region that opening made */
	uint64_t rss_bytes;    /* of the process, all connections being open and idle */
	uint64_t conns;
	_Atomic int ready; /* 1: it listens, 2: its connections are gone, -1: it failed */
};

struct shared {
	struct side server, client;
	_Atomic int idle; /* all are open: the server looks at its memory */
	_Atomic int over;
};

/* Of the client. */
struct load {
	struct vly_core *core;
	uint64_t count, next, under_way, done;
	vly_conn *conns;    /* 8 bytes for each, the program's own */
	uint64_t *answered; /* a bit for each: not twice in a round */
	uint64_t round;
	const char *wrong;
};

struct figures {
	uint64_t count, client_region, server_region, client_rss, server_rss;
};

static bool memif; /* over two ports of DPDK's instead of the loop */

/* The nic of one side; `ips` of it are its own. */
static void nic_fill(char *nic, size_t nic_bytes, int fd, bool serves, uint64_t ips)
{
	const char *ip = serves ? "10.128.0.1" : "10.0.0.1";

	if (memif) /* a name that vanishes with its process; `fd` only tells runs apart */
		snprintf(
			nic, nic_bytes,
			"inet:dpdk,port=0,eal=\"--vdev=net_memif0,role=%s,socket=volley-million-%d-%d,"
			"rsize=14\",ip=%s/8,ips=%" PRIu64 ",ts=0",
			serves ? "server" : "client", (int)getppid(), fd, ip, ips);
	else
		snprintf(nic, nic_bytes, "inet:loop,fd=%d,side=%d,ip=%s/8,ips=%" PRIu64 ",ts=0", fd,
			 serves, ip, ips);
}

static uint64_t rss_bytes(void)
{
	unsigned long long kib = 0;
	char line[256];
	FILE *file = fopen("/proc/self/status", "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "VmRSS: %llu kB", &kib) == 1)
			break;
	if (file)
		fclose(file);
	return kib * 1024;
}

static double seconds_since(uint64_t began_ns)
{
	return (double)(vly_now_ns() - began_ns) / 1e9;
}

static void config_fill(struct vly_config *config, const char *nic, uint64_t count)
{
	vly_config_init(config);
	config->nic = nic;
	config->pin = false;
	config->idle = VLY_IDLE_BUSY;
	config->conns_max = (uint32_t)count + PORTS;
	/* a message waits to be acknowledged on each that talks, and on some that have talked */
	config->tx_bufs = 4 * TOGETHER;
	config->tx_buf_bytes = 256;
	config->backlog = 2 * TOGETHER;
	config->close_timeout_ns = STALL_S * 1000000000ull;
	config->lock_memory = false;
}

static void take_cpu(unsigned index)
{
	cpu_set_t all, one;
	unsigned seen = 0;

	if (sched_getaffinity(0, sizeof(all), &all))
		return;
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, &all) && seen++ == index)
			CPU_SET(cpu, &one);
	if (CPU_COUNT(&one))
		sched_setaffinity(0, sizeof(one), &one);
}

static void look_at_memory(struct side *side, struct vly_engine *engine)
{
	struct vly_stats stats;

	if (vly_stats(engine, 0, &stats))
		return;
	side->region_bytes = stats.region_used_bytes;
	side->conns = stats.conns;
	side->rss_bytes = rss_bytes();
}

/* --- the server --- */

static int listen_all(struct vly_core *core)
{
	struct vly_addr addr = {.family = VLY_IP4, .ip4 = {10, 128, 0, 1}};
	vly_conn listener;
	int error = 0;

	for (unsigned i = 0; i < PORTS && !error; i++) {
		addr.port = (uint16_t)(FIRST_PORT + i);
		error = vly_listen(core, &addr, NULL, NULL, &listener);
	}
	return error;
}

/* False: a message could not be sent back. */
static bool serve_one(struct vly_core *core, const struct vly_event *event)
{
	if (event->kind == VLY_DATA)
		return vly_send(core, event->conn, event->data, event->len) == 0;
	if (event->kind == VLY_EOF)
		(void)vly_close(core, event->conn);
	return true;
}

/* The client's last connections are closed; their last ACKs may be on their way. */
static struct vly_stats await_none(struct vly_engine *engine, struct vly_core *core)
{
	uint64_t began_ns = vly_now_ns();
	struct vly_stats stats = {0};
	struct vly_event *events;

	do {
		(void)vly_poll(core, &events, 1000000);
	} while (vly_stats(engine, 0, &stats) == 0 && stats.conns > PORTS &&
		 vly_now_ns() - began_ns < STALL_S * 1000000000ull);
	return stats;
}

static int serve(int fd, uint64_t count, struct shared *shared)
{
	struct vly_config config;
	struct vly_engine *engine;
	struct vly_core *core;
	char nic[256];
	bool looked = false;
	int failed = 0;

	take_cpu(1);
	nic_fill(nic, sizeof(nic), fd, true, 1);
	config_fill(&config, nic, count);
	if (vly_engine_open(&config, &engine) || vly_core_open(engine, 0, &core) ||
	    listen_all(core)) {
		atomic_store(&shared->server.ready, -1);
		return 1;
	}
	atomic_store(&shared->server.ready, 1);
	while (!atomic_load_explicit(&shared->over, memory_order_relaxed)) {
		struct vly_event *events;
		int got = vly_poll(core, &events, 0);

		for (int i = 0; i < got; i++)
			if (!serve_one(core, &events[i]))
				failed = 1;
		if (!looked && atomic_load_explicit(&shared->idle, memory_order_acquire)) {
			look_at_memory(&shared->server, engine);
			atomic_store_explicit(&shared->idle, 2, memory_order_release);
			looked = true;
		}
	}
	struct vly_stats stats = await_none(engine, core);

	atomic_store(&shared->server.ready, 2);
	if (stats.conns != PORTS || stats.accepted != count ||
	    stats.tx_bufs_free != config.tx_bufs) {
		printf("LEFT BEHIND at the server: %" PRIu64 " connections of %" PRIu64 ", %" PRIu64
		       " send buffers of %u\n",
		       (uint64_t)(stats.conns - PORTS), stats.accepted, stats.tx_bufs_free,
		       config.tx_bufs);
		failed = 1;
	}
	vly_core_close(core);
	vly_engine_close(engine);
	fflush(stdout);
	return failed;
}

/* --- the client --- */

static void message_fill(uint64_t *words, uint64_t index, uint64_t round)
{
	for (unsigned i = 0; i < MESSAGE / sizeof(*words); i++)
		words[i] = (index * 0x9e3779b97f4a7c15u + round) ^ ((uint64_t)i << 56);
}

static void open_next(struct load *load)
{
	struct vly_addr to = {.family = VLY_IP4, .ip4 = {10, 128, 0, 1}};
	uint64_t index = load->next++;

	to.port = (uint16_t)(FIRST_PORT + index % PORTS);
	load->under_way++;
	if (vly_connect(load->core, &to, NULL, (void *)(uintptr_t)index, &load->conns[index]))
		load->wrong = "a connect is refused at once";
}

static void talk_next(struct load *load)
{
	uint64_t words[MESSAGE / sizeof(uint64_t)], index = load->next++;

	message_fill(words, index, load->round);
	load->under_way++;
	if (vly_send(load->core, load->conns[index], words, MESSAGE))
		load->wrong = "a message is refused";
}

static void close_next(struct load *load)
{
	load->under_way++;
	if (vly_close(load->core, load->conns[load->next++]))
		load->wrong = "a close is refused";
}

static void is_open(struct load *load, const struct vly_event *event)
{
	if (event->status)
		load->wrong = "a connect fails";
	load->under_way--;
	load->done++;
}

static void is_answered(struct load *load, const struct vly_event *event)
{
	uint64_t index = (uintptr_t)event->user, expected[MESSAGE / sizeof(uint64_t)];
	uint64_t bit = 1ull << index % 64;

	message_fill(expected, index, load->round);
	/* one segment was sent, one on its way: nothing here could cut it in two */
	if (event->len != MESSAGE || memcmp(event->data, expected, MESSAGE) != 0)
		load->wrong = "an answer is not what was sent";
	else if (load->answered[index / 64] & bit)
		load->wrong = "an answer comes twice";
	load->answered[index / 64] |= bit;
	load->under_way--;
	load->done++;
}

static void is_closed(struct load *load, const struct vly_event *event)
{
	if (event->status)
		load->wrong = "a close does not end well";
	load->under_way--;
	load->done++;
}

/* All connections once: `next` on each, at most TOGETHER at once, until `kind` has come of each. */
static bool all_of_them(struct load *load, void (*next)(struct load *), enum vly_kind kind,
			void (*came)(struct load *, const struct vly_event *))
{
	uint64_t last_ns = vly_now_ns();

	load->next = load->done = load->under_way = 0;
	while (load->done < load->count && !load->wrong) {
		struct vly_event *events;

		while (load->next < load->count && load->under_way < TOGETHER && !load->wrong)
			next(load);
		int got = vly_poll(load->core, &events, 0);

		for (int i = 0; i < got; i++) {
			if (events[i].kind == kind)
				came(load, &events[i]);
			else if (events[i].kind == VLY_CLOSED)
				load->wrong = "a connection ends";
		}
		if (got > 0)
			last_ns = vly_now_ns();
		else if (vly_now_ns() - last_ns > STALL_S * 1000000000ull)
			load->wrong = "nothing happens any more";
	}
	if (load->wrong)
		printf("FAILED: %s, at %" PRIu64 " of %" PRIu64 "\n", load->wrong, load->done,
		       load->count);
	return !load->wrong;
}

/* For `seconds`, at least one round over all of them. */
static bool talk(struct load *load, double seconds)
{
	uint64_t began_ns = vly_now_ns(), words = (load->count + 63) / 64;

	do {
		load->round++;
		memset(load->answered, 0, words * sizeof(uint64_t));
		if (!all_of_them(load, talk_next, VLY_DATA, is_answered))
			return false;
	} while (seconds_since(began_ns) < seconds);
	double took = seconds_since(began_ns);

	printf("  %" PRIu64 " rounds over all of them, each answer compared: %.2f s, %.2f M round "
	       "trips/s\n",
	       load->round, took, (double)(load->round * load->count) / took / 1e6);
	return true;
}

static bool idle(struct vly_engine *engine, struct vly_core *core, struct shared *shared)
{
	struct vly_event *events;
	uint64_t until_ns = vly_now_ns() + 1000000000ull;

	/* what was owed is paid: last ACKs, alarms that look again */
	while (vly_now_ns() < until_ns)
		if (vly_poll(core, &events, 0) > 0)
			return false;
	atomic_store_explicit(&shared->idle, 1, memory_order_release);
	while (atomic_load_explicit(&shared->idle, memory_order_acquire) != 2)
		(void)vly_poll(core, &events, 0);
	look_at_memory(&shared->client, engine);
	return true;
}

static bool run_load(struct load *load, struct vly_engine *engine, struct shared *shared,
		     double seconds)
{
	uint64_t began_ns = vly_now_ns();

	if (!all_of_them(load, open_next, VLY_OPEN, is_open))
		return false;
	double took = seconds_since(began_ns);

	printf("%" PRIu64 " connections\n  opened in %.2f s: %.0f K/s\n", load->count, took,
	       (double)load->count / took / 1e3);
	fflush(stdout);
	if (!idle(engine, load->core, shared) || !talk(load, seconds))
		return false;
	began_ns = vly_now_ns();
	if (!all_of_them(load, close_next, VLY_CLOSED, is_closed))
		return false;
	took = seconds_since(began_ns);
	printf("  closed in %.2f s: %.0f K/s\n", took, (double)load->count / took / 1e3);
	return true;
}

static bool nothing_left(struct vly_engine *engine, struct vly_core *core,
			 const struct vly_config *config, struct shared *shared)
{
	struct vly_event *events;
	struct vly_stats stats;

	atomic_store(&shared->over, 1);
	while (atomic_load(&shared->server.ready) == 1)
		(void)vly_poll(core, &events, 0);
	bool all = !vly_stats(engine, 0, &stats) && stats.conns == 0 &&
		   stats.tx_bufs_free == config->tx_bufs;

	if (!all)
		printf("LEFT BEHIND at the client: %" PRIu64 " connections, %" PRIu64
		       " send buffers of %u\n",
		       stats.conns, stats.tx_bufs_free, config->tx_bufs);
	return all;
}

static bool load_all(int fd, uint64_t count, struct shared *shared, double seconds)
{
	struct load load = {.count = count};
	struct vly_config config;
	struct vly_engine *engine;
	char nic[256];
	bool good;

	take_cpu(0);
	nic_fill(nic, sizeof(nic), fd, false, count / PER_ADDRESS + 1);
	config_fill(&config, nic, count);
	load.conns = calloc(count, sizeof(*load.conns));
	load.answered = calloc((count + 63) / 64, sizeof(*load.answered));
	if (!load.conns || !load.answered || vly_engine_open(&config, &engine))
		return false;
	/* a port of memif's meets one that is there */
	while (!atomic_load(&shared->server.ready))
		usleep(1000);
	good = vly_core_open(engine, 0, &load.core) == 0;
	good = good && atomic_load(&shared->server.ready) > 0 &&
	       run_load(&load, engine, shared, seconds) &&
	       nothing_left(engine, load.core, &config, shared);
	atomic_store(&shared->over, 1);
	if (load.core)
		vly_core_close(load.core);
	vly_engine_close(engine);
	free(load.conns);
	free(load.answered);
	return good;
}

/* --- both --- */

static bool run(uint64_t count, double seconds, struct figures *figures)
{
	struct vly_loop_opts opts = {.slots = SLOTS};
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int fd = vly_loop_make(&opts), status = 1;

	if (shared == MAP_FAILED || fd < 0)
		return false;
	pid_t server = fork(), client;

	if (server == 0)
		_exit(serve(fd, count, shared));
	/* a process of its own, too: what it has taken is gone before the next one's is counted */
	client = fork();
	if (client == 0) {
		bool good = load_all(fd, count, shared, seconds);

		fflush(stdout);
		atomic_store(&shared->over, 1);
		_exit(!good);
	}
	vly_loop_close(fd);
	bool good = server > 0 && client > 0 && waitpid(client, &status, 0) == client && !status;

	atomic_store(&shared->over, 1);
	good = waitpid(server, &status, 0) == server && !status && good;
	*figures = (struct figures){count, shared->client.region_bytes, shared->server.region_bytes,
				    shared->client.rss_bytes, shared->server.rss_bytes};
	munmap(shared, sizeof(*shared));
	return good;
}

static double slope(uint64_t high, uint64_t low, uint64_t more)
{
	return ((double)high - (double)low) / (double)more;
}

static void print_slope(const struct figures *low, const struct figures *high)
{
	uint64_t more = high->count - low->count;

	printf("from %" PRIu64 " to %" PRIu64 " connections, bytes for each one more:\n"
	       "  everything the engine takes:   client %.1f, server %.1f\n"
	       "  resident memory of the process: client %.1f (8.1 of them this program's own), "
	       "server %.1f\n",
	       low->count, high->count, slope(high->client_region, low->client_region, more),
	       slope(high->server_region, low->server_region, more),
	       slope(high->client_rss, low->client_rss, more),
	       slope(high->server_rss, low->server_rss, more));
}

static int usage(void)
{
	fprintf(stderr,
		"usage: million [--memif] [--seconds S] [--most BYTES] CONNECTIONS...\n"
		"  --memif       over two ports of DPDK's memif instead of the loop\n"
		"  --seconds S   how long messages go round over all connections; one round at "
		"least\n"
		"  --most BYTES  fails if a connection takes more of a side, by the slope\n");
	return 2;
}

int main(int argc, char **argv)
{
	static const struct option names[] = {{"seconds", required_argument, NULL, 's'},
					      {"most", required_argument, NULL, 'm'},
					      {"memif", no_argument, NULL, 'd'},
					      {NULL, 0, NULL, 0}};
	struct figures figures[COUNTS_MAX];
	double seconds = 0, most = 0;
	int c, counts = 0;

	while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
		if (c == 's')
			seconds = strtod(optarg, NULL);
		else if (c == 'd')
			memif = true;
		else if (c == 'm')
			most = strtod(optarg, NULL);
		else
			return usage();
	}
	if (optind == argc || argc - optind > COUNTS_MAX)
		return usage();
	for (; optind < argc; optind++, counts++) {
		uint64_t count = strtoull(argv[optind], NULL, 10);

		if (!count || count > 60000000)
			return usage();
		if (!run(count, seconds, &figures[counts]))
			return 1;
		if (!counts)
			continue;
		const struct figures *low = &figures[counts - 1], *high = &figures[counts];

		if (high->count <= low->count)
			return usage();
		print_slope(low, high);
		uint64_t more = high->count - low->count;

		if (most > 0 && (slope(high->client_region, low->client_region, more) > most ||
				 slope(high->server_region, low->server_region, more) > most)) {
			printf("FAILED: more than %.0f bytes\n", most);
			return 1;
		}
	}
	return 0;
}
