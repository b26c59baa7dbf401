/* load_open.c - what a run of the load generator needs before its first phase */
#include "bench/load_state.h"

#include "bench/load_outcome.h"
#include "bench/own_stack.h"

#include "volley/volley.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTING_MAX 128u /* connections under way in the whole process */
#define SPARE_CONNS 16u     /* slots of failed connections come back late */

int load_check(const struct load_params *params, struct load_result *result)
{
	if (!params->target.family)
		return load_refuse(result, -EINVAL, "no target address");
	if (!params->connections)
		return load_refuse(result, -EINVAL, "connections must be at least 1");
	if (params->size_bytes < LOAD_SIZE_MIN || params->size_bytes > LOAD_SIZE_MAX)
		return load_refuse(result, -EINVAL, "size must be %u..%u bytes, not %u",
				   LOAD_SIZE_MIN, LOAD_SIZE_MAX, params->size_bytes);
	if (!params->depth || params->depth > LOAD_DEPTH_MAX)
		return load_refuse(result, -EINVAL, "depth must be 1..%u, not %u", LOAD_DEPTH_MAX,
				   params->depth);
	if ((uint64_t)params->size_bytes * params->depth > LOAD_INFLIGHT_MAX)
		return load_refuse(result, -EINVAL,
				   "size * depth must be at most %u bytes, not %llu",
				   LOAD_INFLIGHT_MAX,
				   (unsigned long long)params->size_bytes * params->depth);
	if (params->cpus_count > LOAD_CPUS_MAX)
		return load_refuse(result, -EINVAL, "at most %u load CPUs", LOAD_CPUS_MAX);
	if (!params->duration_ns)
		return load_refuse(result, -EINVAL, "duration must be above 0");
	if (params->turns > SLICES_MAX)
		return load_refuse(result, -EINVAL, "at most %d turns", SLICES_MAX);
	if (params->turns > 1 &&
	    (params->schedule.steps_count || params->think_max_ns || params->reconnect))
		return load_refuse(
			result, -EINVAL,
			"turns are for a closed loop in which a message follows an echo");
	if (params->think_max_ns < params->think_min_ns ||
	    (params->think_max_ns && (params->depth > 1 || params->schedule.steps_count)))
		return load_refuse(result, -EINVAL,
				   "thinking takes depth 1, a closed loop, and a span");
	return 0;
}

/* "0,2,5" for the config; `text` is long enough. */
static void format_cpus(const int *cpus, unsigned count, char *text, size_t size_bytes)
{
	size_t used = 0;

	for (unsigned i = 0; i < count; i++)
		used += (size_t)snprintf(text + used, size_bytes - used, "%s%d", i ? "," : "",
					 cpus[i]);
}

int load_open_engine(struct load *load)
{
	const struct load_params *params = load->params;
	uint32_t inflight = params->size_bytes * params->depth;
	struct vly_config config;
	char cpus[LOAD_CPUS_MAX * 8];
	int err;

	assert(load->cores_count > 0);
	vly_config_init(&config);
	config.nic = params->nic ? params->nic : "epoll";
	config.cores = load->cores_count;
	config.allow_overlap = true; /* the bench has looked at that already */
	load->polls = bench_own_stack(config.nic);
	config.idle = load->polls ? VLY_IDLE_BUSY : VLY_IDLE_SLEEP;
	config.conns_max =
		(params->connections + load->cores_count - 1) / load->cores_count + SPARE_CONNS;
	if (params->reconnect) /* the next is opened while the last still closes */
		config.conns_max *= 2;
	if (bench_own_stack(config.nic))
		bench_own_stack_config(&config, params->size_bytes);
	config.events_max = LOAD_BATCH;
	config.ports_max = 1;
	config.mail_slots = 2;
	if (config.tx_budget < inflight)
		config.tx_budget = inflight;
	/* two connections' worth at least: one that is stuck leaves room for the others */
	if ((uint64_t)config.tx_bufs * config.tx_buf_bytes < 2 * (uint64_t)config.tx_budget)
		config.tx_bufs = 2 * config.tx_budget / config.tx_buf_bytes + 1;
	if (params->cpus_count) {
		format_cpus(params->cpus, load->cores_count, cpus, sizeof(cpus));
		config.cpus = cpus;
	}
	err = vly_engine_open(&config, &load->engine);
	if (err < 0)
		return load_refuse(load->result, err,
				   "the load generator's engine did not open: %s", strerror(-err));
	return 0;
}

static uint32_t connecting_max(const struct load_params *params)
{
	return params->connecting_max ? params->connecting_max : CONNECTING_MAX;
}

/* Spreads connections evenly over cores. */
int load_make_cores(struct load *load)
{
	const struct load_params *params = load->params;
	uint32_t first = 0;

	load->cores = aligned_alloc(128, load->cores_count * sizeof(*load->cores));
	if (!load->cores)
		return load_refuse(load->result, -ENOMEM, "out of memory");
	memset(load->cores, 0, load->cores_count * sizeof(*load->cores));
	for (unsigned i = 0; i < load->cores_count; i++) {
		struct load_core *core = &load->cores[i];
		uint32_t share = params->connections / load->cores_count +
				 (i < params->connections % load->cores_count);
		uint32_t connecting = connecting_max(params) / load->cores_count;

		core->engine = load->engine;
		core->orders = &load->orders;
		core->index = i;
		core->cpu = params->cpus_count ? params->cpus[i] : -1;
		core->params = (struct pingpong_params){
			.target = params->target,
			.sources = &params->sources,
			.schedule = &load->schedule,
			.connections = share,
			.first_id = first,
			.connecting_max = connecting ? connecting : 1,
			.ramp_ns = params->ramp_ns,
			.size_bytes = params->size_bytes,
			.depth = params->depth,
			.think_min_ns = params->think_min_ns,
			.think_max_ns = params->think_max_ns,
			.reconnect = params->reconnect,
			.seed = params->seed,
			.plain = params->plain,
		};
		first += share;
	}
	return 0;
}
