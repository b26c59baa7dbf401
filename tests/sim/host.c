/* host.c - the hosts of a simulation: an engine's cores, polled by one thread under a clock that stands still */
#include "tests/sim/host.h"

#include <string.h>

#include "base/clock.h"
#include "nic/inet/tcp.h"
#include "tests/sim/violation.h"

/* Polls of one host at one moment: more is a loop that feeds itself. */
#define SETTLE_MAX 20000

void hosts_open(struct hosts *hosts, const struct vly_config *config, struct net *net)
{
	int error;

	memset(hosts, 0, sizeof(*hosts));
	hosts->net = net;
	hosts->count = config->cores;
	error = vly_engine_open(config, &hosts->engine);
	must(!error, "the engine does not open: %s", strerror(-error));
	for (unsigned i = 0; i < hosts->count; i++) {
		error = vly_core_open(hosts->engine, i, &hosts->core[i]);
		must(!error, "core %u does not open: %s", i, strerror(-error));
		hosts->touched[i] = true;
	}
}

void hosts_close(struct hosts *hosts)
{
	for (unsigned i = 0; i < hosts->count; i++)
		vly_core_close(hosts->core[i]);
	vly_engine_close(hosts->engine);
}

/* As the engine decides whether a core may sleep. */
static bool due(const struct hosts *hosts, unsigned host, uint64_t now_ns)
{
	struct vly_core *core = hosts->core[host];

	return hosts->touched[host] || core->dirty_count || core->env.sent_head ||
	       core->env.pending_head != VLY_NO_SLOT || net_next_ns(hosts->net, host) <= now_ns ||
	       vly_wheel_next(&core->env.wheel) <= now_ns || core->nic->ops->has_work(core->nic);
}

static void poll_host(struct hosts *hosts, unsigned host)
{
	struct vly_event *events;
	int count;

	hosts->touched[host] = false;
	count = vly_poll(hosts->core[host], &events, 0);
	must(count >= 0, "host %u: a poll fails: %s", host, strerror(-count));
	hosts->polls++;
	hosts->events += (unsigned)count;
	net_polled(hosts->net, host, vly_clock_ns());
	for (int i = 0; i < count; i++)
		hosts->on_event(hosts->arg, host, &events[i]);
	/* What was sent leaves at the next poll, and a full batch may have left something behind. */
	hosts->touched[host] |= count > 0;
	if (hosts->on_polled)
		hosts->on_polled(hosts->arg, host);
}

bool hosts_settle(struct hosts *hosts, uint64_t now_ns)
{
	for (unsigned rounds = 0; rounds < SETTLE_MAX; rounds++) {
		bool any = false;

		for (unsigned i = 0; i < hosts->count; i++) {
			if (!due(hosts, i, now_ns))
				continue;
			poll_host(hosts, i);
			any = true;
		}
		if (!any)
			return true;
	}
	return false;
}

uint64_t hosts_next_ns(const struct hosts *hosts)
{
	uint64_t next_ns = HOST_NEVER;

	for (unsigned i = 0; i < hosts->count; i++) {
		next_ns = VLY_MIN(next_ns, net_next_ns(hosts->net, i));
		next_ns = VLY_MIN(next_ns, vly_wheel_next(&hosts->core[i]->env.wheel));
	}
	return next_ns;
}

void hosts_check_home(struct hosts *hosts)
{
	for (unsigned i = 0; i < hosts->count; i++) {
		struct vly_core *core = hosts->core[i];
		const struct vly_tcp_core *tcp = vly_inet_of(core->nic)->tcp;
		struct vly_stats stats;

		must(vly_stats(hosts->engine, i, &stats) == 0, "no statistics");
		must(stats.tx_bufs_free == core->config->tx_bufs,
		     "host %u: %llu of %u send buffers home", i,
		     (unsigned long long)stats.tx_bufs_free, core->config->tx_bufs);
		must(stats.tx_refs_free == core->config->tx_refs,
		     "host %u: %llu of %u references home", i,
		     (unsigned long long)stats.tx_refs_free, core->config->tx_refs);
		must(stats.rx_bufs_free == core->config->rx_bufs,
		     "host %u: %llu of %u receive buffers home", i,
		     (unsigned long long)stats.rx_bufs_free, core->config->rx_bufs);
		must(tcp->minis.half_count == 0, "host %u: %u connections are still half open", i,
		     tcp->minis.half_count);
		must(tcp->sides.slab.free_count == tcp->sides.slab.count &&
			     tcp->sides.segs.free_count == tcp->sides.segs.count &&
			     tcp->sides.chunks.free_count == tcp->sides.chunks.count,
		     "host %u: side records, segments or chunks are away", i);
		must(vly_wheel_valid(&core->env.wheel), "host %u: its wheel is broken", i);
		must(vly_flow_valid(&vly_inet_of(core->nic)->flows),
		     "host %u: its flow table is broken", i);
	}
}

void hosts_check_quiet(const struct hosts *hosts)
{
	for (unsigned i = 0; i < hosts->count; i++) {
		const struct vly_inet_stats *stats = &vly_inet_of(hosts->core[i]->nic)->stats;

		must(!stats->tcp_rto && !stats->tcp_persist, "host %u: %llu time-outs, %llu probes",
		     i, (unsigned long long)stats->tcp_rto, (unsigned long long)stats->tcp_persist);
		must(!stats->tcp_paws && !stats->tcp_bad_ack && !stats->tcp_challenge,
		     "host %u: %llu segments held for old, %llu bad ACKs, %llu challenges", i,
		     (unsigned long long)stats->tcp_paws, (unsigned long long)stats->tcp_bad_ack,
		     (unsigned long long)stats->tcp_challenge);
	}
}
