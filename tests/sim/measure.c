/* measure.c - how the stack recovers from loss, in virtual time: latencies, goodput, floods, storms */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "nic/inet/arp_header.h"
#include "nic/inet/tcp.h"
#include "tests/sim/foe.h"
#include "tests/sim/host.h"
#include "tests/sim/net.h"
#include "tests/sim/violation.h"
#include "tests/sim/watch.h"

#define MS 1000000ull
#define SEC 1000000000ull
#define SERVER 0u
#define CLIENT 1u
#define PORT 7
#define MESSAGE 64u
#define GATEWAY_IP 0x0a000063u /* 10.0.0.99 */

static const char *const default_profile = "";
static const char *const centre_profile = ",rto_min=5,max_ack_delay=5";

struct peer {
	vly_conn conn;
	uint64_t sent_ns, got, rounds;
	bool blocked, open, over;
	int status;
};

struct world {
	struct net net;
	struct watch watch;
	struct hosts hosts;
	char nic[256];
	uint64_t now_ns, start_ns;
	struct peer *peers; /* of the client */
	unsigned peers_count, over;
	uint64_t rounds; /* of each peer; 0: it sends without end */
	uint64_t stop_ns;
	uint32_t *times_us;
	uint64_t times_count, received;
	bool watched;
};

struct world_opts {
	const char *options; /* of the nic */
	struct net_faults faults;
	unsigned peers;
	uint64_t seed;
	uint32_t tx_budget;
	bool watched; /* each frame is checked, at the price of half the speed */
};

/* Whoever asks for the gateway is told the client's address, and what goes there is not the client's. */
static void answer_for_gateway(struct world *w, unsigned from, uint64_t now_ns, const uint8_t *data,
			       uint32_t len)
{
	static const uint8_t mac[6] = {2, 0, 0, 0, 0, CLIENT};
	const struct vly_arp_header *arp;
	uint8_t reply[VLY_ARP_FRAME_BYTES];

	if (vly_arp_parse(data, len, &arp) || arp->target_ip != htonl(GATEWAY_IP))
		return;
	vly_arp_write(reply, &(struct vly_arp_opts){.operation = VLY_ARP_REPLY,
						    .sender_mac = mac,
						    .target_mac = arp->sender_mac,
						    .sender_ip = arp->target_ip,
						    .target_ip = arp->sender_ip});
	net_inject(&w->net, from, now_ns, reply, sizeof(reply));
}

static void on_frame(void *arg, unsigned from, uint64_t now_ns, const uint8_t *data, uint32_t len)
{
	struct world *w = arg;

	if (data[12] == 8 && data[13] == 6)
		answer_for_gateway(w, from, now_ns, data, len);
	if (w->watched)
		watch_frame(&w->watch, from, now_ns, data, len);
}

static struct vly_addr server_addr(void)
{
	return (struct vly_addr){.family = VLY_IP4, .port = PORT, .ip4 = {10, 0, 0, 1}};
}

static void set_clock(struct world *w, uint64_t now_ns)
{
	w->now_ns = violation_now_ns = now_ns;
	vly_clock_freeze(now_ns);
}

/* The server sends everything back; in a bulk run it only counts. */
static void on_server(struct world *w, struct vly_event *event)
{
	struct vly_core *core = w->hosts.core[SERVER];

	if (event->kind == VLY_DATA) {
		w->received += event->len;
		if (w->rounds)
			(void)vly_send_event(core, event->conn, event);
	} else if (event->kind == VLY_EOF) {
		(void)vly_close(core, event->conn);
	}
}

static void peer_send(struct world *w, struct peer *peer)
{
	static uint8_t message[16384];
	struct vly_core *core = w->hosts.core[CLIENT];

	if (w->rounds) {
		peer->sent_ns = w->now_ns;
		must(vly_send(core, peer->conn, message, MESSAGE) == 0, "a message is refused");
		return;
	}
	while (!peer->blocked && w->now_ns < w->stop_ns)
		peer->blocked = vly_send(core, peer->conn, message, sizeof(message)) == -EAGAIN;
	if (w->now_ns >= w->stop_ns && !peer->over)
		(void)vly_close(core, peer->conn);
}

static void on_client(struct world *w, struct vly_event *event)
{
	struct peer *peer = event->user;

	switch (event->kind) {
	case VLY_OPEN:
		peer->status = event->status;
		peer->open = event->status == 0;
		if (peer->open)
			peer_send(w, peer);
		else
			peer->over = true, w->over++;
		break;
	case VLY_DATA:
		peer->got += event->len;
		if (peer->got < MESSAGE)
			break;
		peer->got -= MESSAGE;
		w->times_us[w->times_count++] = (uint32_t)((w->now_ns - peer->sent_ns) / 1000);
		if (++peer->rounds < w->rounds)
			peer_send(w, peer);
		else
			(void)vly_close(w->hosts.core[CLIENT], peer->conn);
		break;
	case VLY_DRAINED:
		peer->blocked = false;
		peer_send(w, peer);
		break;
	case VLY_CLOSED:
		peer->status = event->status;
		peer->over = true;
		peer->open = false;
		w->over++;
		break;
	default:
		break;
	}
}

static void on_event(void *arg, unsigned host, struct vly_event *event)
{
	if (host == SERVER)
		on_server(arg, event);
	else
		on_client(arg, event);
}

static struct world *world_open(const struct world_opts *o)
{
	struct world *w = calloc(1, sizeof(*w));
	struct vly_config c;
	struct vly_addr addr = server_addr();
	struct vly_listen_opts listen = {.backlog = 1024};
	vly_conn listener;

	must(w != NULL, "no memory");
	w->start_ns = violation_start_ns = 1000 * SEC;
	set_clock(w, w->start_ns);
	snprintf(w->nic, sizeof(w->nic), "inet:sim,ip=10.0.0.1/24,gw=10.0.0.99,seed=%llu%s",
		 (unsigned long long)o->seed, o->options);
	net_init(&w->net, &(struct net_opts){.hosts = 2, .mtu = 1500, .seed = o->seed});
	w->net.ports[0].faults = w->net.ports[1].faults = o->faults;
	w->net.on_frame = on_frame;
	w->net.arg = w;
	w->watched = o->watched;
	watch_init(&w->watch, &(struct watch_opts){.ip = 0x0a000001,
						   .ips = 1,
						   .hosts = 2,
						   .mtu = 1500,
						   .foes = true,
						   .any_bytes = true});
	vly_config_init(&c);
	c.nic = w->nic;
	c.cores = 2;
	c.allow_overlap = true;
	c.pin = c.huge_pages = c.lock_memory = false;
	c.idle = VLY_IDLE_BUSY;
	c.conns_max = o->peers + 16;
	c.tx_budget = o->tx_budget ? o->tx_budget : c.tx_budget;
	vly_wire_add(&net_wire_ops);
	hosts_open(&w->hosts, &c, &w->net);
	w->hosts.on_event = on_event;
	w->hosts.arg = w;
	w->peers_count = o->peers;
	w->peers = calloc(o->peers, sizeof(*w->peers));
	must(vly_listen(w->hosts.core[SERVER], &addr, &listen, NULL, &listener) == 0,
	     "no listener");
	return w;
}

static void world_connect(struct world *w, unsigned index)
{
	struct vly_addr to = server_addr();
	struct peer *peer = &w->peers[index];

	*peer = (struct peer){0};
	must(vly_connect(w->hosts.core[CLIENT], &to, NULL, peer, &peer->conn) == 0, "no connect");
	w->hosts.touched[CLIENT] = true;
}

static void world_close(struct world *w)
{
	hosts_close(&w->hosts);
	free(w->peers);
	free(w->times_us);
	free(w);
}

/* Until `until_ns`, or until all peers are over. */
static void world_run(struct world *w, uint64_t until_ns)
{
	for (;;) {
		must(hosts_settle(&w->hosts, w->now_ns), "a host is never done");
		if (w->over == w->peers_count)
			return;
		uint64_t next_ns = VLY_MAX(hosts_next_ns(&w->hosts), w->now_ns + 1);

		if (next_ns >= until_ns) {
			set_clock(w, VLY_MAX(until_ns, w->now_ns));
			return;
		}
		set_clock(w, next_ns);
	}
}

/* TIME-WAIT and the rest, then everything must be home. */
static void world_home(struct world *w)
{
	unsigned count = w->peers_count;

	w->peers_count = UINT32_MAX;
	world_run(w, w->now_ns + 400 * SEC);
	w->peers_count = count;
	hosts_check_home(&w->hosts);
}

static const struct vly_inet_stats *stats_of(const struct world *w, unsigned host)
{
	return &vly_inet_of(w->hosts.core[host]->nic)->stats;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double percentile_ms(const struct world *w, double part)
{
	uint64_t index = (uint64_t)(part * (double)w->times_count);

	return w->times_us[VLY_MIN(index, w->times_count - 1)] / 1000.0;
}

/* One message at a time on each of 100 connections. */
static void measure_pingpong(uint64_t rounds, double loss, const char *profile)
{
	struct world_opts o = {.options = profile, .peers = 100, .seed = 7};

	o.faults = (struct net_faults){.loss = loss, .latency_ns = 500000};
	struct world *w = world_open(&o);
	uint64_t again = 0, sent = 0;

	w->rounds = VLY_MAX(rounds / w->peers_count, 1);
	w->times_us = calloc(w->rounds * w->peers_count, sizeof(*w->times_us));
	for (unsigned i = 0; i < w->peers_count; i++)
		world_connect(w, i);
	world_run(w, w->now_ns + 1000000 * SEC);
	must(w->times_count == w->rounds * w->peers_count, "%llu round trips of %llu",
	     (unsigned long long)w->times_count, (unsigned long long)(w->rounds * w->peers_count));
	for (unsigned i = 0; i < 2; i++) {
		again += stats_of(w, i)->tcp_retransmit;
		sent += stats_of(w, i)->tx_frames;
	}
	qsort(w->times_us, w->times_count, sizeof(*w->times_us), by_value);
	printf("pingpong, loss %.1f%%, round trip 1 ms, rto_min %s: %llu round trips, "
	       "p50 %.3f, p99 %.3f, p99.9 %.3f, p99.99 %.3f, max %.3f ms; %llu frames, %llu lost, "
	       "%llu sent again\n",
	       loss * 100, *profile ? "5 ms, max_ack_delay 5 ms" : "200 ms, max_ack_delay 40 ms",
	       (unsigned long long)w->times_count, percentile_ms(w, 0.5), percentile_ms(w, 0.99),
	       percentile_ms(w, 0.999), percentile_ms(w, 0.9999),
	       w->times_us[w->times_count - 1] / 1000.0, (unsigned long long)sent,
	       (unsigned long long)w->net.counts.lost, (unsigned long long)again);
	world_home(w);
	world_close(w);
}

struct bulk {
	const char *cc;
	double loss, reorder;
	uint64_t for_ns;
};

static void measure_bulk(const struct bulk *b)
{
	char options[64];
	struct world_opts o = {.options = options, .peers = 1, .seed = 3, .tx_budget = 4u << 20};

	snprintf(options, sizeof(options), ",cc=%s,window=4194304", b->cc);
	o.faults = (struct net_faults){.loss = b->loss,
				       .reorder = b->reorder,
				       .reorder_ns = 500000,
				       .latency_ns = 500000,
				       .rate_mbps = 1000,
				       .queue_ns = 2 * MS};
	struct world *w = world_open(&o);

	w->stop_ns = w->now_ns + b->for_ns;
	world_connect(w, 0);
	world_run(w, w->stop_ns);
	const struct vly_inet_stats *stats = stats_of(w, CLIENT);

	printf("bulk, %s, 1 Gbit/s, round trip 1 ms, loss %.1f%%, reordered %.0f%%: %.1f Mbit/s; sent "
	       "again %llu, by time-out %llu, probes %llu, spurious %llu\n",
	       b->cc, b->loss * 100, b->reorder * 100,
	       (double)w->received * 8 / ((double)b->for_ns / 1e9) / 1e6,
	       (unsigned long long)stats->tcp_retransmit, (unsigned long long)stats->tcp_rto,
	       (unsigned long long)stats->tcp_tlp, (unsigned long long)stats->tcp_spurious);
	world_close(w);
}

/* SYNs of as many sources that do not exist, 1 us apart, while honest clients come and go. */
static void measure_flood(uint64_t syns)
{
	struct world_opts o = {.options = "", .peers = 64, .seed = 5};

	o.faults.latency_ns = 50000;
	struct world *w = world_open(&o);
	struct vly_stats before, after;
	uint8_t frame[60];
	unsigned served = 0, next = 0, half = 0;

	w->rounds = 1;
	w->times_us = calloc(o.peers, sizeof(*w->times_us));
	must(vly_stats(w->hosts.engine, SERVER, &before) == 0, "no statistics");
	for (uint64_t i = 0; i < syns; i++) {
		struct foe_syn syn = {.src_ip = 0x0b000000u + (uint32_t)i,
				      .dst_ip = 0x0a000001u,
				      .src_port = (uint16_t)(1024 + i % 60000),
				      .dst_port = PORT,
				      .seq = (uint32_t)i * 2654435761u};

		foe_write_syn(frame, &syn);
		net_inject(&w->net, SERVER, w->now_ns, frame, sizeof(frame));
		if (i % (syns / o.peers) == syns / o.peers / 2 && next < o.peers)
			world_connect(w, next++);
		world_run(w, w->now_ns + 1000);
		half = VLY_MAX(half,
			       vly_inet_of(w->hosts.core[SERVER]->nic)->tcp->minis.half_count);
	}
	world_run(w, w->now_ns + 10 * SEC);
	for (unsigned i = 0; i < next; i++)
		served += w->peers[i].rounds == 1 && w->peers[i].status == 0;
	must(vly_stats(w->hosts.engine, SERVER, &after) == 0, "no statistics");
	const struct vly_inet_stats *stats = stats_of(w, SERVER);

	printf("flood of %llu spoofed sources: %u of %u honest clients served; at most %u half open, "
	       "%llu cookies sent, %llu redeemed; memory %llu bytes before, %llu after\n",
	       (unsigned long long)syns, served, next, half,
	       (unsigned long long)stats->tcp_cookie_sent, (unsigned long long)stats->tcp_cookie_ok,
	       (unsigned long long)before.region_used_bytes,
	       (unsigned long long)after.region_used_bytes);
	must(served == next, "an honest client was turned away");
	must(before.region_used_bytes == after.region_used_bytes, "memory was taken");
	world_home(w);
	world_close(w);
}

/* Resets near to the right place at connections that talk: none may die, and few answers go out. */
static void measure_storm(uint64_t resets)
{
	struct world_opts o = {.options = "", .peers = 50, .seed = 9, .watched = true};

	o.faults.latency_ns = 50000;
	struct world *w = world_open(&o);
	struct foe foe = {.net = &w->net, .watch = &w->watch, .rng = {11}};
	unsigned well = 0;

	w->rounds = UINT32_MAX;
	w->times_us = calloc(resets + 100000, sizeof(*w->times_us));
	for (unsigned i = 0; i < o.peers; i++)
		world_connect(w, i);
	world_run(w, w->now_ns + 10 * MS);
	for (uint64_t i = 0; i < resets; i++) {
		foe_strike_reset(&foe, w->now_ns);
		world_run(w, w->now_ns + 1000);
		w->times_count = 0;
	}
	w->rounds = 1; /* each ends after the message that is on its way */
	world_run(w, w->now_ns + 10 * SEC);
	for (unsigned i = 0; i < o.peers; i++)
		well += w->peers[i].over && w->peers[i].status == 0;
	uint64_t refused = 0, challenges = 0;

	for (unsigned i = 0; i < 2; i++) {
		refused += stats_of(w, i)->tcp_reset_bad;
		challenges += stats_of(w, i)->tcp_challenge;
	}
	printf("storm of %llu resets: %u of %u connections ended well; %llu resets refused, %llu "
	       "challenges sent in %.1f s\n",
	       (unsigned long long)resets, well, o.peers, (unsigned long long)refused,
	       (unsigned long long)challenges, (double)resets / 1e6);
	must(well == o.peers, "a reset out of its place was believed");
	world_home(w);
	world_close(w);
}

/* The server's link goes down for 20 ms of each 100, and what is on its way with it. */
static void measure_link(uint64_t rounds)
{
	struct world_opts o = {
		.options = centre_profile, .peers = 100, .seed = 13, .watched = true};
	unsigned well = 0;

	o.faults.latency_ns = 500000;
	struct world *w = world_open(&o);

	w->rounds = VLY_MAX(rounds / o.peers, 1);
	w->times_us = calloc(w->rounds * o.peers, sizeof(*w->times_us));
	for (unsigned i = 0; i < o.peers; i++)
		world_connect(w, i);
	while (w->over < w->peers_count) {
		world_run(w, w->now_ns + 80 * MS);
		net_link(&w->net, SERVER, false);
		world_run(w, w->now_ns + 20 * MS);
		net_link(&w->net, SERVER, true);
	}
	for (unsigned i = 0; i < o.peers; i++)
		well += w->peers[i].status == 0 && w->peers[i].rounds == w->rounds;
	printf("link down for 20 ms of each 100: %u of %u connections ended well after %llu round trips "
	       "each; %llu frames lost with the link\n",
	       well, o.peers, (unsigned long long)w->rounds,
	       (unsigned long long)w->net.counts.down);
	must(well == o.peers, "a connection did not outlive the link");
	must(w->net.counts.down > 0, "the link was never missed");
	world_home(w);
	world_close(w);
}

static void measure_bulks(uint64_t for_ns)
{
	static const char *const ccs[] = {"newreno", "cubic"};
	static const double losses[] = {0, 0.001, 0.01, 0.05};

	for (unsigned c = 0; c < 2; c++) {
		for (unsigned i = 0; i < 4; i++)
			measure_bulk(&(struct bulk){ccs[c], losses[i], 0, for_ns});
		measure_bulk(&(struct bulk){ccs[c], 0, 0.01, for_ns});
		measure_bulk(&(struct bulk){ccs[c], 0, 0.2, for_ns});
	}
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "all";
	bool all = strcmp(what, "all") == 0;
	/* A small fraction of everything, for the tests. */
	uint64_t part = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;

	if (argc > 3 || !part) {
		fprintf(stderr,
			"usage: sim_measure [all|pingpong|bulk|flood|storm|link [DIVISOR]]\n");
		return 2;
	}
	if (all || strcmp(what, "pingpong") == 0) {
		measure_pingpong(1000000 / part, 0.001, default_profile);
		measure_pingpong(1000000 / part, 0.001, centre_profile);
	}
	if (all || strcmp(what, "bulk") == 0)
		measure_bulks(10 * SEC / part);
	if (all || strcmp(what, "flood") == 0)
		measure_flood(1000000 / part);
	if (all || strcmp(what, "storm") == 0)
		measure_storm(1000000 / part);
	if (all || strcmp(what, "link") == 0)
		measure_link(100000 / part);
	return 0;
}
