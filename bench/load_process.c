/* load_process.c - the body of the load process: one run, told over the control socket */
#include "bench/loader.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/cpus.h"
#include "bench/number.h"
#include "bench/own_stack.h"
#include "bench/raw_wire.h"

#define HELLO_PATIENCE_NS INT64_C(5000000000)
#define GO_PATIENCE_NS INT64_C(10000000000)

static atomic_bool interrupted;
static uint32_t turns;

/* A kind of load with its own client: one line each in workloads[]. */
struct workload {
	const char *name;
	int (*run)(const struct load_params *params, struct load_result *result);
};

static const struct workload workloads[] = {
	{"pingpong", load_run},
	{"raw_wire", raw_wire_run},
};

static void handle_signal(int number)
{
	(void)number;
	atomic_store_explicit(&interrupted, true, memory_order_relaxed);
}

/*
 * JSON has no word for infinity, and a message that cannot be written would look like a dead
 * process.
 */
static double finite_or_0(double value)
{
	return isfinite(value) ? value : 0;
}

/* How long the bench may take to say "go" before the load goes on without; 0: it does not wait. */
static int64_t patience_ns(enum load_phase phase)
{
	switch (phase) {
	case LOAD_WINDOW_BEGIN: /* the server's cost is sampled first: the window opens when this returns */
		return GO_PATIENCE_NS;
	case LOAD_WINDOW_END: /* and once more, while messages go on */
		return turns > 1 ? GO_PATIENCE_NS : 0;
	case LOAD_HELD: /* others have their turns; if the bench dies, its end of the socket closes */
		return -1;
	default:
		return 0;
	}
}

static void tell_phase(enum load_phase phase, void *arg)
{
	struct control *control = arg;
	json_t *message;

	(void)control_send(control, json_pack("{s:s, s:i, s:s}", "type", "phase", "phase",
					      (int)phase, "name", load_phase_name(phase)));
	if (patience_ns(phase) && control_receive(control, &message, patience_ns(phase)) == 1)
		json_decref(message);
}

static void tell_progress(const struct load_progress *progress, void *arg)
{
	struct control *control = arg;

	(void)control_send(control,
			   json_pack("{s:s, s:i, s:I, s:I, s:I, s:f, s:f, s:f}", "type", "progress",
				     "phase", (int)progress->phase, "connected",
				     (json_int_t)progress->connected, "connections",
				     (json_int_t)progress->connections, "messages",
				     (json_int_t)progress->messages, "rate_msg_per_s",
				     finite_or_0(progress->rate_msg_per_s), "elapsed_s",
				     finite_or_0(progress->elapsed_s), "phase_s",
				     finite_or_0(progress->phase_s)));
}

/* Encoded; null if there is nothing in it. */
static json_t *histogram_json(const struct histogram *histogram)
{
	char *text = NULL;
	json_t *json = NULL;

	if (histogram->counts && histogram->total && histogram_encode(histogram, &text) == 0)
		json = json_string(text);
	free(text);
	return json ? json : json_null();
}

/* Messages of each connection: a value for each. */
static json_t *counts_json(const struct load_result *r)
{
	struct histogram counts = {0};
	json_t *json = NULL;

	if (r->per_conn && histogram_init(&counts) == 0) {
		for (uint32_t i = 0; i < r->connections; i++)
			histogram_record(&counts, r->per_conn[i]);
		json = histogram_json(&counts);
	}
	histogram_fini(&counts);
	return json ? json : json_null();
}

/* What is not a count. */
static json_t *figures_json(const struct load_result *r)
{
	const struct {
		const char *key;
		double value;
	} numbers[] = {
		{"window_s", r->window_s},
		{"rate_msg_per_s", r->rate_msg_per_s},
		{"latency_mean_ns", r->latency_mean_ns},
		{"service_mean_ns", r->service_mean_ns},
		{"under_way", r->under_way},
		{"little", r->little},
		{"silence_ns", r->silence_ns},
		{"connecting_s", r->connecting_s},
		{"connects_per_s", r->connects_per_s},
		{"lag_mean_ns", r->lag_mean_ns},
		{"lag_max_ns", r->lag_max_ns},
		{"busy_share", r->busy_share},
	};
	json_t *json = json_object();

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		json_object_set_new(json, numbers[i].key, number(numbers[i].value));
	return json;
}

static json_t *result_message(const struct load_result *r, int err)
{
	const struct fairness *f = &r->fairness;
	json_t *message = figures_json(r);
	json_t *fairness = json_pack("{s:I, s:I, s:I, s:I, s:I, s:f}", "min", (json_int_t)f->min,
				     "p5", (json_int_t)f->p5, "p50", (json_int_t)f->p50, "p95",
				     (json_int_t)f->p95, "max", (json_int_t)f->max, "jain",
				     finite_or_0(f->jain));
	json_t *counts = json_pack("{s:s, s:i, s:s, s:I, s:I, s:o, s:o, s:o, s:I, s:I}", "type",
				   "result", "err", err, "reason", r->reason, "messages",
				   (json_int_t)r->messages, "cpu_ns", (json_int_t)r->cpu_ns,
				   "fairness", fairness, "hdr", histogram_json(&r->latency),
				   "hdr_service", histogram_json(&r->service), "scheduled",
				   (json_int_t)r->scheduled, "unsent", (json_int_t)r->unsent);
	json_t *more =
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}",
			  "unsent_before", (json_int_t)r->unsent_before, "latency_max_ns",
			  (json_int_t)(r->latency.total ? r->latency.max_ns : 0), "service_max_ns",
			  (json_int_t)(r->service.total ? r->service.max_ns : 0), "connections",
			  (json_int_t)r->connections, "connected", (json_int_t)r->connected,
			  "connect_retries", (json_int_t)r->connect_retries, "errors",
			  (json_int_t)r->errors, "lost", (json_int_t)r->lost, "wrong",
			  (json_int_t)r->wrong, "excess", (json_int_t)r->excess, "silent",
			  (json_int_t)r->silent, "interrupted", (int)r->interrupted);
	json_t *slices = json_array();
	const struct cost_unbilled *unbilled = &r->unbilled;

	if (r->unbilled_known)
		json_object_set_new(message, "unbilled",
				    json_pack("{s:I, s:I, s:I}", "ksoftirqd_ns",
					      (json_int_t)unbilled->ksoftirqd_ns, "irq_ns",
					      (json_int_t)unbilled->irq_ns, "softirq_ns",
					      (json_int_t)unbilled->softirq_ns));
	for (unsigned i = 0; i < r->slices.count; i++)
		json_array_append_new(slices, json_real(finite_or_0(r->slices.rate_per_s[i])));
	json_object_set_new(message, "slices", slices);
	json_object_set_new(message, "hdr_per_connection", counts_json(r));
	json_object_set_new(message, "total", total_to_json(&r->total));
	if (counts && more) {
		json_object_update(message, counts);
		json_object_update(message, more);
	}
	json_decref(counts);
	json_decref(more);
	return message;
}

static int run(struct control *control, const json_t *start)
{
	struct load_result result;
	struct cpus cpus = {.count = 0};
	const json_t *list = json_object_get(start, "cpus");
	const char *name = control_text(start, "workload", "");
	const struct workload *workload = NULL;

	memset(&result, 0, sizeof(result));
	for (size_t i = 0; i < json_array_size(list); i++)
		cpus_add(&cpus, (int)json_integer_value(json_array_get(list, i)));
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++)
		if (strcmp(workloads[i].name, name) == 0)
			workload = &workloads[i];
	turns = (uint32_t)control_int(start, "turns", 1);
	struct load_params params = {
		.nic = control_text(start, "nic", NULL),
		.cpus = cpus.list,
		.cpus_count = cpus.count,
		.connections = (uint32_t)control_int(start, "connections", 0),
		.size_bytes = (uint32_t)control_int(start, "size_bytes", 0),
		.depth = (uint32_t)control_int(start, "depth", 0),
		.warmup_ns = (uint64_t)control_int(start, "warmup_ns", 0),
		.duration_ns = (uint64_t)control_int(start, "duration_ns", 0),
		.turns = turns,
		.seed = (uint64_t)control_int(start, "seed", 0),
		.connect_timeout_ns = control_int(start, "connect_timeout_ns", 0),
		.stall_timeout_ns = control_int(start, "stall_timeout_ns", 0),
		.phase = tell_phase,
		.progress = tell_progress,
		.interrupted = &interrupted,
		.arg = control,
	};
	int err = -EINVAL;
	load_shape_from_message(json_object_get(start, "shape"), &params);
	/* Spread over addresses of the kernel; a stack of our own spreads over its own. */
	if (params.nic && bench_own_stack(params.nic))
		params.sources.count = 0;
	if (!workload)
		snprintf(result.reason, sizeof(result.reason), "there is no workload '%.40s'",
			 name);
	else if (vly_addr_parse(control_text(start, "target", ""), &params.target) != 0)
		snprintf(result.reason, sizeof(result.reason), "the target address makes no sense");
	else
		err = workload->run(&params, &result);
	int sent = control_send(control, result_message(&result, err));
	load_result_fini(&result);
	return err || sent ? 1 : 0;
}

int loader_main(int control_fd)
{
	struct sigaction action = {.sa_handler = handle_signal};
	struct control control;
	json_t *start = NULL;
	char why[256];

	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	control_init(&control, control_fd);
	(void)fcntl(control_fd, F_SETFD, FD_CLOEXEC);
	if (control_hello(&control, "load", NULL, 0, HELLO_PATIENCE_NS, why, sizeof(why)) != 0) {
		fprintf(stderr, "volley load: %s\n", why);
		control_fini(&control);
		return 1;
	}
	int code = 1;
	if (control_receive(&control, &start, HELLO_PATIENCE_NS) == 1)
		code = run(&control, start);
	json_decref(start);
	control_fini(&control);
	return code;
}
