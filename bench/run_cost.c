/* run_cost.c - what a run says about its cost: CPU time of the server, by message, and who else used its CPUs */
#include "bench/run_cost.h"

#include <math.h>

#define UNKNOWN ((double)NAN)

void run_cost_unbilled(const struct cost_unbilled *unbilled, double per_msg,
		       struct run_unbilled *taken)
{
	bool apart = cost_irq_time_apart();

	taken->ksoftirqd_us = apart ? UNKNOWN : (double)unbilled->ksoftirqd_ns / 1e3 * per_msg;
	taken->irq_us = apart ? (double)unbilled->irq_ns / 1e3 * per_msg : UNKNOWN;
	taken->softirq_us = apart ? (double)unbilled->softirq_ns / 1e3 * per_msg : UNKNOWN;
}

/* Threads that can be busy at once: the share of a server is one of these. */
static unsigned int server_lanes(const struct run_spec *spec)
{
	unsigned int cpus = spec->variant ? spec->options->server_cpus.count
					  : spec->peer->cpus_count;

	if (cpus == 0)
		return 1;
	if (spec->variant && spec->variant->threads_max && spec->variant->threads_max < cpus)
		return spec->variant->threads_max;
	return cpus;
}

static void take_cpus(struct run_result *r, const struct server *server)
{
	if (!server->before.cpus_known || !server->after.cpus_known)
		return;
	struct cost_cpus spent = cost_cpus_between(&server->before.cpus, &server->after.cpus);
	double all = (double)(spent.busy_ns + spent.idle_ns + spent.steal_ns);
	if (all <= 0)
		return;
	r->server_cpus_busy_share = (double)spent.busy_ns / all;
	r->server_cpus_split = (struct run_split){
		.user = (double)spent.user_ns / all,
		.system = (double)spent.system_ns / all,
		.irq = (double)spent.irq_ns / all,
		.softirq = (double)spent.softirq_ns / all,
	};
	r->steal_share = (double)spent.steal_ns / all;
}

/* The kernel's helpers on the server's CPUs work for what the server has sent. */
struct cost run_cost_between(const struct sample *before, const struct sample *after,
			     struct cost_unbilled *unbilled)
{
	struct cost spent = cost_between(&before->cost, &after->cost);

	*unbilled = (struct cost_unbilled){0};
	if (!before->cpus_known || !after->cpus_known)
		return spent;
	struct cost_cpus cpus = cost_cpus_between(&before->cpus, &after->cpus);

	*unbilled = cost_cpus_unbilled(&cpus, cost_irq_time_apart());
	spent.run_ns += cost_unbilled_ns(unbilled);
	spent.system_ns += cost_unbilled_ns(unbilled);
	return spent;
}

/* A server that never sleeps runs all the time: it is busy while its polls return something. */
static void take_polls(struct run_result *r, const struct server *server)
{
	const struct sample *before = &server->before, *after = &server->after;

	if (!before->polls_known || !after->polls_known)
		return;
	double busy = (double)(after->polls_busy_ns - before->polls_busy_ns);
	double idle = (double)(after->polls_idle_ns - before->polls_idle_ns);
	if (busy + idle > 0)
		r->server_busy_share = busy / (busy + idle);
}

void run_cost_take(const struct run_spec *spec, const struct server *server, struct run_result *r)
{
	take_cpus(r, server);
	if (!r->measured || !server->before.taken || !server->after.taken)
		return;
	struct cost_unbilled unbilled;
	struct cost spent = run_cost_between(&server->before, &server->after, &unbilled);

	if (spent.stamp_ns == 0)
		return;
	r->server_busy_share =
		(double)spent.run_ns / (double)spent.stamp_ns / (double)server_lanes(spec);
	if (r->server_busy_share > 1)
		r->server_busy_share = 1;
	take_polls(r, server);
	unsigned int pinned = spec->variant ? spec->options->server_cpus.count
					    : spec->peer->cpus_count;
	if (pinned && !isnan(r->server_cpus_busy_share)) {
		double own = (double)spent.run_ns / (double)spent.stamp_ns / pinned;
		r->server_cpus_other_share = fmax(0, r->server_cpus_busy_share - own);
	}
	r->server_rss_bytes = (double)spent.rss_bytes;
	r->server_threads = spent.threads;
	double user = cost_user_share(&spent);
	if (user >= 0)
		r->user_share = user;
	if (r->messages == 0)
		return;
	/* The samples lie a little outside the window: scale by their own time. */
	double in_window = r->window_s * 1e9 / (double)spent.stamp_ns / (double)r->messages;
	r->server_cpu_us_per_msg = (double)spent.run_ns / 1e3 * in_window;
	run_cost_unbilled(&unbilled, in_window, &r->server_unbilled);
	r->server_cpu_us_per_msg_scaled = r->server_cpu_us_per_msg * r->server_ghz / r->tsc_ghz;
	r->server_cycles_per_msg = r->server_cpu_us_per_msg * 1e3 * r->server_ghz;
	if (spent.switches_known) {
		r->switches_voluntary_per_msg = (double)spent.switches_voluntary * in_window;
		r->switches_involuntary_per_msg = (double)spent.switches_involuntary * in_window;
	}
}
