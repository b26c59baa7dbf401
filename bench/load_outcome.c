/* load_outcome.c - what a run of the load generator amounts to */
#include "bench/load_outcome.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/stats.h"

#define UNKNOWN ((double)NAN)

/* Everything at hand while it is judged. */
struct outcome {
	const struct load_params *params;
	const struct load_core *cores;
	unsigned int cores_count;
	const struct load_times *times;
	struct load_result *result;
	uint64_t reopened, under_way_ns, outstanding, lags, lag_sum_ns;
};

int load_refuse(struct load_result *result, int err, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(result->reason, sizeof(result->reason), format, args);
	va_end(args);
	return err;
}

/* Adds what one core counted in the window. */
static void add_core(struct outcome *outcome, const struct load_core *core, uint32_t first)
{
	const struct pingpong_figures *figures = pingpong_client_figures(core->client);
	struct pingpong_unsent unsent = pingpong_client_unsent(core->client);
	const struct load_times *times = outcome->times;
	struct load_result *result = outcome->result;

	histogram_merge(&result->latency, &figures->latency);
	if (figures->service.counts)
		histogram_merge(&result->service, &figures->service);
	for (uint32_t k = 0; k < core->params.connections; k++)
		result->per_conn[first + k] = pingpong_client_count(core->client, k);
	result->silent += pingpong_client_silent(
		core->client,
		times->silent_ns ? times->silent_ns : times->end_ns - times->stall_ns);
	result->total.messages += figures->messages;
	result->total.sum += pingpong_client_sum(core->client);
	outcome->outstanding += figures->outstanding;
	result->scheduled += figures->due_sent + unsent.within;
	result->unsent += unsent.within;
	result->unsent_before += unsent.before;
	result->silence_ns = fmax(result->silence_ns, (double)figures->silence_ns);
	result->lag_max_ns = fmax(result->lag_max_ns, (double)figures->lag_max_ns);
	outcome->lags += figures->lags;
	outcome->lag_sum_ns += figures->lag_sum_ns;
	outcome->reopened += figures->reopened;
	outcome->under_way_ns += figures->under_way_ns;
}

/* Rate, mean latency, and whether they agree. */
static void relate(const struct outcome *outcome)
{
	const struct load_params *params = outcome->params;
	struct load_result *result = outcome->result;
	bool open_loop = params->schedule.steps_count > 0;
	double window_ns = (double)outcome->times->window_ns;
	/* no message waits outside what is timed, but for batches that are being handled */
	bool always = !open_loop && !params->think_max_ns && !params->reconnect;

	result->messages = result->latency.total;
	result->latency_mean_ns = histogram_mean_ns(&result->latency);
	result->service_mean_ns = open_loop ? histogram_mean_ns(&result->service) : UNKNOWN;
	result->window_s = window_ns * 1e-9;
	result->connects_per_s = UNKNOWN;
	if (window_ns <= 0)
		return;
	result->rate_msg_per_s = (double)result->messages / result->window_s;
	result->under_way = (double)outcome->under_way_ns / window_ns;
	result->little = stats_little(result->rate_msg_per_s,
				      open_loop ? result->service_mean_ns : result->latency_mean_ns,
				      always ? (double)params->connections * params->depth
					     : result->under_way);
	if (params->reconnect)
		result->connects_per_s = (double)outcome->reopened / result->window_s;
	if (outcome->lags)
		result->lag_mean_ns = (double)outcome->lag_sum_ns / (double)outcome->lags;
}

/* Threads have ended. Sums what they counted. */
static int collect(struct outcome *outcome)
{
	struct load_result *result = outcome->result;
	uint32_t connections = outcome->params->connections;
	uint32_t first = 0;

	result->per_conn = calloc(connections, sizeof(*result->per_conn));
	if (!result->per_conn)
		return load_refuse(result, -ENOMEM, "out of memory");
	result->connections = connections;
	for (unsigned int i = 0; i < outcome->cores_count; i++) {
		const struct load_core *core = &outcome->cores[i];

		if (core->client)
			add_core(outcome, core, first);
		first += core->params.connections;
	}
	result->total.known = !outcome->outstanding;
	relate(outcome);
	return fairness_compute(result->per_conn, connections, &result->fairness);
}

/* Sums the connections that failed, and names the first that any core found. */
static int name_failure(struct outcome *outcome, bool cut, int err)
{
	struct load_result *result = outcome->result;

	for (unsigned int i = 0; i < outcome->cores_count; i++) {
		const struct load_core *core = &outcome->cores[i];
		const struct pingpong_figures *figures;
		const struct pingpong_errors *errors;

		if (core->err && !result->reason[0])
			err = load_refuse(result, core->err, "load core %u failed: %s", i,
					  strerror(-core->err));
		if (!core->client)
			continue;
		figures = pingpong_client_figures(core->client);
		errors = &figures->errors;
		result->lost += errors->lost;
		result->wrong += errors->wrong;
		result->excess += errors->excess;
		result->errors += errors->connect + errors->lost + errors->wrong + errors->excess;
		result->connected += figures->up;
		result->connect_retries += figures->retries;
		if (errors->first_err && !result->reason[0])
			err = load_refuse(result, errors->first_err, "%s", errors->first);
	}
	if (cut && !result->errors && !result->reason[0])
		return 0; /* too short to hold the server to an answer */
	result->errors += result->silent;
	if (err)
		return err;
	if (result->silent)
		err = load_refuse(result, -ETIMEDOUT,
				  "%llu of %u connections got no answer for %.1f s",
				  (unsigned long long)result->silent, outcome->params->connections,
				  (double)outcome->times->stall_ns * 1e-9);
	else if (!result->messages)
		err = load_refuse(result, -ETIMEDOUT, LOAD_NOTHING_CAME);
	return err;
}

int load_outcome(const struct load_params *params, const struct load_core *cores,
		 unsigned int cores_count, const struct load_times *times, bool cut, int err,
		 struct load_result *result)
{
	struct outcome outcome = {
		.params = params,
		.cores = cores,
		.cores_count = cores_count,
		.times = times,
		.result = result,
	};
	int failed = times->begin_ns ? collect(&outcome) : 0;

	err = name_failure(&outcome, cut, err ? err : failed);
	result->interrupted = cut && !err;
	if (result->interrupted)
		return load_refuse(result, 0, "interrupted");
	if (!err)
		return 0;
	if (result->errors > 1) {
		size_t used = strlen(result->reason);

		snprintf(result->reason + used, sizeof(result->reason) - used,
			 "; %llu of %u connections failed", (unsigned long long)result->errors,
			 params->connections);
	}
	result->rate_msg_per_s = 0.0;
	return err;
}
