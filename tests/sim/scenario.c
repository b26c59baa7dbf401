/* scenario.c - everything that a seed decides */
#include "tests/sim/scenario.h"

#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "tests/sim/stream.h"

#define US 1000ull
#define MS 1000000ull
#define SEC 1000000000ull

static void draw_faults(struct scenario *s, struct net_faults *f, struct rng *rng)
{
	bool harsh = s->mood == SCENARIO_HARSH;

	f->latency_ns = rng_scale(rng, 1 * US, 20 * MS);
	if (s->mood == SCENARIO_QUIET)
		return;
	if (rng_chance(rng, 0.7))
		f->loss = (double)rng_below(rng, 1000) / 1000 * (harsh ? 0.3 : 0.04);
	if (rng_chance(rng, 0.4))
		f->duplicate = (double)rng_below(rng, 1000) / 1000 * 0.1;
	if (rng_chance(rng, 0.4)) {
		f->reorder = (double)rng_below(rng, 1000) / 1000 * 0.3;
		f->reorder_ns = rng_scale(rng, 10 * US, 30 * MS);
	}
	if (rng_chance(rng, 0.3))
		f->corrupt = (double)rng_below(rng, 1000) / 1000 * (harsh ? 0.1 : 0.01);
	if (rng_chance(rng, 0.3))
		f->jitter_ns = rng_scale(rng, 1 * US, 10 * MS);
	if (rng_chance(rng, 0.3))
		f->refuse = (double)rng_below(rng, 1000) / 1000 * 0.3;
	if (rng_chance(rng, 0.3)) {
		f->rate_mbps = rng_scale(rng, 10, 10000);
		f->queue_ns = rng_scale(rng, 5 * MS, 50 * MS);
	}
}

/* Small in every respect, so that limits are reached. */
static void draw_config(struct scenario *s, struct rng *rng)
{
	struct vly_config *c = &s->config;
	bool tight = s->mood == SCENARIO_HARSH && rng_chance(rng, 0.5);

	vly_config_init(c);
	c->cores = s->net.hosts;
	c->nic = s->nic;
	c->allow_overlap = true;
	c->pin = c->huge_pages = c->lock_memory = false;
	c->idle = VLY_IDLE_BUSY;
	c->conns_max = tight ? (uint32_t)rng_range(rng, 6, 40) : 1024;
	c->timers_max = 2 * APP_LINKS + 64;
	c->events_max = rng_chance(rng, 0.3) ? (uint32_t)rng_range(rng, 16, 64) : 256;
	c->burst_max = (uint32_t)rng_range(rng, 1, 16);
	c->burst_bytes = (uint32_t)rng_scale(rng, 1000, 65536);
	c->rx_buf_bytes = (uint32_t)rng_scale(rng, 2048, 65536);
	c->rx_bufs = tight ? (uint32_t)rng_range(rng, 4, 8) : 64;
	c->tx_buf_bytes = (uint32_t)rng_scale(rng, 256, 4096);
	c->tx_bufs = tight ? (uint32_t)rng_range(rng, 64, 128) : 2048;
	c->tx_refs = tight ? (uint32_t)rng_range(rng, 8, 16) : 256;
	c->tx_budget = (uint32_t)rng_scale(rng, 4096, 262144);
	if (tight)
		c->tx_budget = VLY_MIN(c->tx_budget, c->tx_bufs * c->tx_buf_bytes / 4);
	c->backlog = tight ? 16 : 256;
	c->hold_slots = tight ? 4 : 64;
	c->mail_slots = 4;
	c->ports_max = 1;
	c->close_timeout_ns = s->mood == SCENARIO_HARSH ? rng_scale(rng, 1 * SEC, 100 * SEC)
							: 3600 * SEC;
	s->backlog = tight ? (int)rng_range(rng, 1, 4) : 256;
}

static void draw_nic(struct scenario *s, struct rng *rng)
{
	char *at = s->nic;
	size_t room = sizeof(s->nic);
	int n = snprintf(at, room, "inet:sim,ip=10.0.0.1/24,ips=%u,mtu=%u,seed=%llu", s->ips,
			 s->net.mtu, (unsigned long long)(rng_next(rng) >> 32));

	at += n, room -= (size_t)n;
	if (rng_chance(rng, 0.5)) {
		n = snprintf(at, room, ",ts=%u,sack=%u", rng_chance(rng, 0.6),
			     rng_chance(rng, 0.6));
		at += n, room -= (size_t)n;
	}
	if (rng_chance(rng, 0.5)) {
		/*
		 * Always cookies: when the ACK of the handshake is lost and what follows it comes, the
		 * listener has to reset the client. So no gentle world has them.
		 */
		unsigned cookies = (unsigned)rng_below(rng, s->mood == SCENARIO_GENTLE ? 2 : 3);

		n = snprintf(at, room, ",cookies=%u", cookies);
		at += n, room -= (size_t)n;
		s->ghosts_may_come = cookies == 2 || (cookies == 1 && s->mood == SCENARIO_HARSH);
	} else {
		s->ghosts_may_come = s->mood == SCENARIO_HARSH;
	}
	if (s->slow_readers || rng_chance(rng, 0.6)) {
		n = snprintf(at, room, ",window=%u",
			     (unsigned)rng_scale(rng, 4096, s->slow_readers ? 16384 : 4u << 20));
		at += n, room -= (size_t)n;
	}
	if (s->mood != SCENARIO_QUIET && rng_chance(rng, 0.3)) {
		n = snprintf(at, room, ",rto_min=5,max_ack_delay=5");
		at += n, room -= (size_t)n;
	}
	if (rng_chance(rng, 0.5)) {
		n = snprintf(at, room, ",cc=%s", rng_chance(rng, 0.5) ? "newreno" : "cubic");
		at += n, room -= (size_t)n;
	}
	/* Too short a wait and a lost last ACK resets the peer. */
	if (s->mood == SCENARIO_HARSH && rng_chance(rng, 0.3)) {
		n = snprintf(at, room, ",time_wait=%u", (unsigned)rng_scale(rng, 1, 60000));
		at += n, room -= (size_t)n;
	}
	if (s->mood == SCENARIO_HARSH && rng_chance(rng, 0.3)) {
		n = snprintf(at, room, ",time_waits=%u,ooo=%u", (unsigned)rng_range(rng, 1, 10),
			     (unsigned)rng_range(rng, 1, 50));
		at += n, room -= (size_t)n;
	}
	if (rng_chance(rng, 0.2))
		snprintf(at, room, ",keepalive=%u", (unsigned)rng_range(rng, 1, 30));
}

static void draw_plan(const struct scenario *s, struct app_plan *plan, struct rng *rng,
		      uint64_t bytes_max)
{
	plan->bytes = rng_chance(rng, 0.1) ? 0 : rng_scale(rng, 1, bytes_max);
	plan->chunk_min = (uint32_t)rng_scale(rng, 1, 2000);
	plan->chunk_max = plan->chunk_min + (uint32_t)rng_below(rng, 2000);
	plan->owned = rng_chance(rng, 0.3) ? 0.5 : 0;
	plan->vectored = rng_chance(rng, 0.3) ? 0.5 : 0;
	plan->forward = rng_chance(rng, 0.5) ? 0.8 : 0;
	if (rng_chance(rng, 0.2))
		plan->pause = 0.1;
	if (rng_chance(rng, 0.2))
		plan->hold = 0.2;
	/* Where nothing is lost, shorter than a probe of the shut window would wait. */
	plan->pause_ns = rng_scale(rng, 10 * US, s->mood == SCENARIO_QUIET ? 100 * MS : 2 * SEC);
	if (s->slow_readers)
		plan->pause = 0.3;
	plan->hold_ns = rng_scale(rng, 10 * US, 1 * SEC);
}

/* Ends that fit together: one of them always finishes of its own. */
static void draw_ends(const struct scenario *s, struct app_link *link, struct rng *rng,
		      uint64_t bytes_max)
{
	struct app_plan *client = &link->end[0].plan, *server = &link->end[1].plan;

	draw_plan(s, client, rng, bytes_max);
	draw_plan(s, server, rng, bytes_max);
	client->finish = rng_chance(rng, 0.5) ? APP_CLOSE : APP_SHUT;
	server->finish = APP_WAIT;
	if (link->kind == APP_NORMAL && rng_chance(rng, 0.4)) {
		link->port[1] = STREAM_ECHO_PORT;
		server->echo = true;
		if (rng_chance(rng, 0.7)) {
			client->ahead = (uint32_t)rng_scale(rng, 1, 4096);
			client->chunk_min = client->chunk_max = client->ahead;
			client->bytes = VLY_MIN(client->bytes, 200ull * client->ahead);
		}
	} else if (rng_chance(rng, 0.5)) {
		server->finish = rng_chance(rng, 0.5) ? APP_CLOSE : APP_SHUT;
		if (rng_chance(rng, 0.5))
			client->finish = APP_WAIT;
	}
	if (rng_chance(rng, 0.12)) {
		struct app_plan *plan = rng_chance(rng, 0.5) ? client : server;

		plan->finish = APP_ABORT;
		plan->abort_at = rng_below(rng, client->bytes + server->bytes + 1);
		plan->echo = false;
	} else if (rng_chance(rng, 0.05)) {
		client->finish = APP_CLOSE_SOON;
	} else if (rng_chance(rng, 0.05) && !server->echo) {
		server->finish = APP_CLOSE_SOON;
	}
}

static void draw_link(struct scenario *s, struct app *app, struct app_link *link, struct rng *rng)
{
	unsigned from = (unsigned)rng_below(rng, s->net.hosts);
	unsigned to = (from + 1 + (unsigned)rng_below(rng, s->net.hosts - 1)) % s->net.hosts;

	memset(link, 0, sizeof(*link));
	link->end[0].host = from;
	link->end[1].host = to;
	link->ip[0] = SCENARIO_IP + from * s->ips;
	link->ip[1] = SCENARIO_IP + to * s->ips + (uint32_t)rng_below(rng, s->ips);
	link->port[1] = app->listen_ports[1 + rng_below(rng, APP_PORTS - 1)];
	link->start_ns = s->start_ns + rng_below(rng, s->trouble_ns);
	if (rng_chance(rng, 0.03)) {
		link->kind = APP_REFUSED;
		link->port[1] = 4;
	} else if (rng_chance(rng, 0.02)) {
		link->kind = APP_NOBODY;
		link->ip[1] = SCENARIO_IP + 200;
	} else if (rng_chance(rng, 0.06)) {
		/* Both must begin in the same moment, and nothing of it be late. */
		link->kind = APP_SIMULTANEOUS;
		link->port[0] = (uint16_t)(2000 + (link - app->links));
		link->port[1] = (uint16_t)(4000 + (link - app->links));
	}
}

void scenario_draw(struct scenario *s, struct app *app, uint64_t seed)
{
	struct rng first = {seed},
		   rng = rng_fork(
			   &first); /* else a seed would be its neighbour's, one draw later */
	double mood = (double)rng_below(&rng, 1000) / 1000;

	memset(s, 0, sizeof(*s));
	s->mood = mood < 0.2 ? SCENARIO_QUIET : mood < 0.65 ? SCENARIO_GENTLE : SCENARIO_HARSH;
	s->ips = rng_chance(&rng, 0.8) ? 1 : (uint32_t)rng_range(&rng, 2, 4);
	s->net.hosts = rng_chance(&rng, 0.6) ? 2 : (unsigned)rng_range(&rng, 3, 4);
	s->net.mtu = rng_chance(&rng, 0.6) ? 1500 : (uint32_t)rng_range(&rng, 576, 2000);
	s->net.caps = (uint32_t)rng_below(&rng, 4); /* the two checksum offloads are bits 0 and 1 */
	s->net.seed = rng_next(&rng);
	s->slow_readers = rng_chance(&rng, 0.15);
	for (unsigned i = 0; i < s->net.hosts; i++)
		draw_faults(s, &s->faults[i], &rng);
	draw_config(s, &rng);
	draw_nic(s, &rng);
	/* Ticks of 1.024 us wrap after 73 minutes, as do timestamps made of them. */
	s->start_ns = 1 + rng_below(&rng, 1ull << 50);
	if (rng_chance(&rng, 0.3))
		s->start_ns = ((rng_range(&rng, 1, 1000) << 32) << 10) - rng_below(&rng, 2 * SEC);
	s->wrap_isn = rng_chance(&rng, 0.5);
	s->trouble_ns = rng_scale(&rng, 10 * MS, 10 * SEC);
	if (s->mood != SCENARIO_QUIET && rng_chance(&rng, 0.3))
		s->foe_ns = s->trouble_ns / rng_range(&rng, 10, 500);
	if (s->mood != SCENARIO_QUIET && rng_chance(&rng, 0.2)) {
		s->down_ns = s->trouble_ns / rng_range(&rng, 1, 5);
		s->down_for_ns =
			rng_scale(&rng, 1 * MS, s->mood == SCENARIO_HARSH ? 100 * SEC : 1 * SEC);
	}
	app->gentle = s->mood != SCENARIO_HARSH;
	app->ip = SCENARIO_IP;
	app->ips = s->ips;
	app->listen_ports[0] = STREAM_ECHO_PORT;
	for (unsigned i = 1; i < APP_PORTS; i++)
		app->listen_ports[i] = (uint16_t)(80 + i);
	bool many = rng_chance(&rng, 0.1);

	app->links_count = many ? (unsigned)rng_range(&rng, 50, 300)
				: (unsigned)rng_scale(&rng, 1, 20);
	for (unsigned i = 0; i < app->links_count; i++) {
		struct app_link *link = &app->links[i];

		draw_link(s, app, link, &rng);
		draw_ends(s, link, &rng, many ? 3000 : 300000 / app->links_count + 1000);
	}
	s->rng = rng_fork(&rng);
	/* drawn last: what came before stays what it was */
	if (s->net.caps & VLY_WIRE_TX_CHECKSUM && rng_chance(&rng, 0.6)) {
		s->net.caps |= VLY_WIRE_TSO;
		s->net.tso_pieces = (uint16_t)rng_range(&rng, 2, 40);
	}
}
