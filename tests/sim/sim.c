/* sim.c - one seed: its world, run until everything has come to its end, every rule checked at every step */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "nic/inet/isn.h"
#include "nic/inet/stack.h"
#include "tests/sim/app.h"
#include "tests/sim/capture.h"
#include "tests/sim/foe.h"
#include "tests/sim/scenario.h"
#include "tests/sim/violation.h"
#include "tests/sim/watch.h"
#include "volley/log.h"

#define SEC 1000000000ull
/* How long what is left may take once the network has healed: the longest retransmission back-off, and more. */
#define HEAL_NS (2000 * SEC)
#define ORPHAN_NS (100 * SEC)

struct sim {
	struct scenario scenario;
	struct net net;
	struct watch watch;
	struct hosts hosts;
	struct app app;
	struct foe foe;
	struct capture capture;
	struct states_last last;
	struct sim_result *result;
	struct rng rng;
	uint64_t now_ns, foe_at_ns, down_at_ns, up_at_ns, look_at_ns;
	unsigned down_host;
	bool healed;
};

static void on_frame(void *arg, unsigned from, uint64_t now_ns, const uint8_t *data, uint32_t len)
{
	struct sim *sim = arg;
	uint64_t digest = sim->result->digest ^ now_ns ^ len;

	capture_frame(&sim->capture, now_ns, data, len);
	for (uint32_t i = 0; i < len; i++)
		digest = (digest ^ data[i]) * 0x100000001b3u;
	sim->result->digest = digest;
	watch_frame(&sim->watch, from, now_ns, data, len);
	if (sim->scenario.foe_ns)
		foe_see(&sim->foe, data, len);
}

static void on_inject(void *arg, uint64_t at_ns, const uint8_t *data, uint32_t len)
{
	struct sim *sim = arg;

	capture_frame(&sim->capture, at_ns, data, len);
}

static void on_polled(void *arg, unsigned host)
{
	struct sim *sim = vly_container_of((struct app *)arg, struct sim, app);

	states_look(&sim->result->states, &sim->last, &sim->hosts, host);
}

static uint64_t exponential(struct rng *rng, uint64_t mean_ns)
{
	/* Near enough: between 0 and twice the mean. */
	return 1 + rng_below(rng, 2 * mean_ns + 1);
}

static void heal(struct sim *sim)
{
	sim->healed = true;
	for (unsigned i = 0; i < sim->net.hosts; i++) {
		struct net_faults *faults = &sim->net.ports[i].faults;

		*faults = (struct net_faults){.latency_ns = faults->latency_ns};
	}
	sim->foe_at_ns = UINT64_MAX;
	sim->down_at_ns = UINT64_MAX;
}

/* What the network does of its own at this moment; when next. */
static uint64_t happen(struct sim *sim)
{
	struct scenario *s = &sim->scenario;

	if (!sim->healed && sim->now_ns >= s->start_ns + s->trouble_ns)
		heal(sim);
	if (sim->now_ns >= sim->foe_at_ns) {
		foe_strike(&sim->foe, sim->now_ns);
		sim->foe_at_ns = sim->now_ns + exponential(&sim->rng, s->foe_ns);
	}
	if (sim->now_ns >= sim->up_at_ns) {
		net_link(&sim->net, sim->down_host, true);
		sim->up_at_ns = UINT64_MAX;
		if (!sim->healed)
			sim->down_at_ns = sim->now_ns + exponential(&sim->rng, s->down_ns);
	}
	if (sim->now_ns >= sim->down_at_ns) {
		sim->down_host = (unsigned)rng_below(&sim->rng, s->net.hosts);
		net_link(&sim->net, sim->down_host, false);
		sim->up_at_ns = sim->now_ns + 1 + rng_below(&sim->rng, s->down_for_ns);
		sim->down_at_ns = UINT64_MAX;
	}
	if (sim->now_ns >= sim->look_at_ns) {
		app_abort_orphans(&sim->app, sim->now_ns, ORPHAN_NS);
		sim->look_at_ns = sim->now_ns + 10 * SEC;
	}
	uint64_t next_ns = sim->healed ? UINT64_MAX : s->start_ns + s->trouble_ns;

	next_ns = VLY_MIN(next_ns, VLY_MIN(sim->foe_at_ns, sim->look_at_ns));
	return VLY_MIN(next_ns, VLY_MIN(sim->up_at_ns, sim->down_at_ns));
}

static void set_clock(struct sim *sim, uint64_t now_ns)
{
	must(now_ns > sim->now_ns, "time does not pass");
	sim->now_ns = violation_now_ns = now_ns;
	vly_clock_freeze(now_ns);
}

static void settle(struct sim *sim)
{
	must(hosts_settle(&sim->hosts, sim->now_ns), "a host is never done at this moment");
	states_rest(&sim->hosts);
}

static void run_until_done(struct sim *sim)
{
	const struct scenario *s = &sim->scenario;
	uint64_t end_ns = s->start_ns + s->trouble_ns + s->down_for_ns + HEAL_NS;

	for (;;) {
		uint64_t next_ns = happen(sim);

		next_ns = VLY_MIN(next_ns, app_start(&sim->app, sim->now_ns));
		settle(sim);
		if (app_done(&sim->app))
			return;
		must(sim->now_ns < end_ns, "it does not end: %s", app_unfinished(&sim->app));
		next_ns = VLY_MIN(next_ns, hosts_next_ns(&sim->hosts));
		set_clock(sim, VLY_MAX(next_ns, sim->now_ns + 1));
	}
}

/* What is still on its way, and the last ACKs, and TIME-WAIT. */
static void run_out(struct sim *sim, uint64_t for_ns)
{
	uint64_t end_ns = sim->now_ns + for_ns;

	if (!sim->healed)
		heal(sim);
	if (sim->up_at_ns != UINT64_MAX)
		net_link(&sim->net, sim->down_host, true);
	for (;;) {
		settle(sim);
		uint64_t next_ns = hosts_next_ns(&sim->hosts);

		if (next_ns > end_ns)
			return;
		set_clock(sim, VLY_MAX(next_ns, sim->now_ns + 1));
	}
}

/*
 * Moves the clock to where the first connection's sequence numbers are about to wrap: they follow it,
 * one each 4 us (RFC 6528).
 */
static void begin_at_wrap(struct sim *sim)
{
	struct app_link *link = &sim->app.links[0];
	struct vly_inet *inet = vly_inet_of(sim->hosts.core[link->end[0].host]->nic);
	struct vly_flow_key key;
	uint32_t room = (uint32_t)rng_scale(&sim->rng, 1, 100000);

	if (!link->port[0])
		link->port[0] = 3000;
	key = (struct vly_flow_key){.raddr = htonl(link->ip[1]),
				    .laddr = htonl(link->ip[0]),
				    .rport = htons(link->port[1]),
				    .lport = htons(link->port[0])};
	uint32_t wait = (uint32_t)-room - vly_isn(&inet->secret, &key, link->start_ns);
	uint64_t wait_ns = (uint64_t)wait * 4000;

	for (unsigned i = 0; i < sim->app.links_count; i++)
		sim->app.links[i].start_ns += wait_ns;
	sim->scenario.start_ns += wait_ns;
	violation_start_ns = violation_now_ns = sim->now_ns = sim->scenario.start_ns;
	vly_clock_freeze(sim->now_ns);
}

/* When the first of each kind of trouble comes. */
static void sim_times(struct sim *sim)
{
	struct scenario *s = &sim->scenario;

	sim->foe_at_ns = s->foe_ns ? s->start_ns + exponential(&sim->rng, s->foe_ns) : UINT64_MAX;
	sim->down_at_ns = s->down_ns ? s->start_ns + exponential(&sim->rng, s->down_ns)
				     : UINT64_MAX;
	sim->up_at_ns = UINT64_MAX;
	sim->look_at_ns = s->start_ns;
}

/* Whatever comes, nothing is logged for it. */
static void log_is_wrong(enum vly_log_level level, const char *line, void *arg)
{
	(void)level, (void)arg;
	violated("the stack logs while it runs: %s", line);
}

static void sim_open(struct sim *sim, const struct sim_opts *opts)
{
	struct scenario *s = &sim->scenario;

	violation_seed = opts->seed;
	scenario_draw(s, &sim->app, opts->seed);
	sim->rng = s->rng;
	violation_start_ns = violation_now_ns = sim->now_ns = s->start_ns;
	vly_clock_freeze(s->start_ns);
	net_init(&sim->net, &s->net);
	for (unsigned i = 0; i < s->net.hosts; i++)
		sim->net.ports[i].faults = s->faults[i];
	sim->net.on_frame = on_frame;
	sim->net.on_inject = on_inject;
	sim->net.arg = sim;
	watch_init(&sim->watch, &(struct watch_opts){.ip = SCENARIO_IP,
						     .ips = s->ips,
						     .hosts = s->net.hosts,
						     .mtu = s->net.mtu,
						     .quiet = s->mood == SCENARIO_QUIET,
						     .foes = s->foe_ns != 0,
						     .harsh = s->mood == SCENARIO_HARSH});
	sim->foe = (struct foe){.net = &sim->net,
				.watch = &sim->watch,
				.rng = rng_fork(&sim->rng),
				.harsh = s->mood == SCENARIO_HARSH};
	vly_wire_add(&net_wire_ops);
	hosts_open(&sim->hosts, &s->config, &sim->net);
	vly_log_set(log_is_wrong, NULL, VLY_LOG_DEBUG);
	if (s->wrap_isn)
		begin_at_wrap(sim);
	sim_times(sim);
	sim->app.foes = s->foe_ns != 0;
	sim->app.ghosts_may_come = s->ghosts_may_come;
	app_init(&sim->app, &sim->hosts, rng_fork(&sim->rng));
	sim->hosts.on_polled = on_polled;
	states_begin(&sim->last, &sim->hosts, s->config.conns_max);
	app_listen(&sim->app, s->backlog);
}

static void describe(const struct sim *sim)
{
	static const char *const moods[] = {"quiet", "gentle", "harsh"};
	const struct scenario *s = &sim->scenario;

	printf("seed %llu: %s, %u hosts, MTU %u, %u links, %s\n",
	       (unsigned long long)violation_seed, moods[s->mood], s->net.hosts, s->net.mtu,
	       sim->app.links_count, s->nic);
	for (unsigned i = 0; i < s->net.hosts; i++) {
		const struct net_faults *f = &s->faults[i];

		printf("  host %u: loss %.3f, duplicate %.3f, reorder %.3f by %.3f ms, corrupt %.4f, "
		       "refuse %.2f, latency %.3f ms, jitter %.3f ms, %llu Mbit/s\n",
		       i, f->loss, f->duplicate, f->reorder, (double)f->reorder_ns / 1e6,
		       f->corrupt, f->refuse, (double)f->latency_ns / 1e6,
		       (double)f->jitter_ns / 1e6, (unsigned long long)f->rate_mbps);
	}
	printf("  trouble for %.3f s, a foe each %.3f s, link down each %.3f s for up to %.3f s\n",
	       (double)s->trouble_ns / 1e9, (double)s->foe_ns / 1e9, (double)s->down_ns / 1e9,
	       (double)s->down_for_ns / 1e9);
}

/* All its fields are counters of the same type. */
void sim_add_stack(struct vly_inet_stats *to, const struct vly_inet_stats *from)
{
	uint64_t *sums = (uint64_t *)to;
	const uint64_t *counts = (const uint64_t *)from;

	for (size_t i = 0; i < sizeof(*to) / sizeof(*sums); i++)
		sums[i] += counts[i];
}

static void add_up(const struct sim *sim, struct sim_result *result)
{
	result->seeds++;
	result->frames += sim->net.counts.sent;
	result->lost += sim->net.counts.lost + sim->net.counts.corrupted;
	result->again += sim->watch.again;
	for (unsigned i = 0; i < 16; i++)
		result->foes += sim->foe.counts[i];
	result->polls += sim->hosts.polls;
	result->bytes += sim->app.bytes;
	for (unsigned i = 0; i < sim->hosts.count; i++)
		sim_add_stack(&result->stack, &vly_inet_of(sim->hosts.core[i]->nic)->stats);
	result->connections += sim->app.opened;
	result->virtual_ns += sim->now_ns - sim->scenario.start_ns;
}

void sim_run(const struct sim_opts *opts, struct sim_result *result)
{
	/* Some megabytes: the frames of the network above all. */
	struct sim *sim = calloc(1, sizeof(*sim));

	must(sim != NULL, "no memory");
	result->digest = 0xcbf29ce484222325u;
	sim->result = result;
	if (opts->capture && capture_open(&sim->capture, opts->capture))
		printf("%s cannot be written\n", opts->capture);
	sim_open(sim, opts);
	if (opts->verbose)
		describe(sim);
	run_until_done(sim);
	app_check_end(&sim->app);
	if (sim->scenario.mood == SCENARIO_QUIET)
		hosts_check_quiet(&sim->hosts);
	run_out(sim, 300 * SEC);
	hosts_check_home(&sim->hosts);
	states_end(&sim->last);
	add_up(sim, result);
	vly_log_set(NULL, NULL, VLY_LOG_ERROR);
	hosts_close(&sim->hosts);
	must(net_in_flight(&sim->net) == 0, "a host keeps %u frames of the wire",
	     net_in_flight(&sim->net));
	if (opts->verbose)
		printf("  %.3f s of theirs, %llu frames, %llu lost, %llu sent again, %llu resets, "
		       "digest %016llx\n",
		       (double)(sim->now_ns - sim->scenario.start_ns) / 1e9,
		       (unsigned long long)sim->net.counts.sent,
		       (unsigned long long)sim->net.counts.lost,
		       (unsigned long long)sim->watch.again, (unsigned long long)sim->watch.resets,
		       (unsigned long long)result->digest);
	capture_close(&sim->capture);
	free(sim);
}
