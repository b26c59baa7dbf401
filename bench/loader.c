/* loader.c - the bench's end of a load process */
#include "bench/loader.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/child.h"

#define HELLO_PATIENCE_NS INT64_C(5000000000)
#define END_PATIENCE_NS INT64_C(2000000000)

static void fail(struct loader *loader, const char *reason)
{
	if (!loader->done)
		snprintf(loader->result.reason, sizeof(loader->result.reason), "%s", reason);
	loader->failed = true;
	loader->done = true;
}

/* Its end of the socket is closed: how the process ended is the reason, at whatever moment that was. */
static void fail_dead(struct loader *loader)
{
	char reason[160], text[96];
	int status = child_wait(loader->pid, END_PATIENCE_NS);

	loader->pid = 0;
	snprintf(reason, sizeof(reason), "the load process died: %s",
		 child_status_text(status, text, sizeof(text)));
	fail(loader, reason);
}

static json_t *start_message(const char *workload, const struct vly_addr *target, const char *nic,
			     const struct load_options *options, uint32_t turns, uint64_t seed)
{
	char text[VLY_ADDR_TEXT_MAX];
	json_t *cpus = json_array();

	for (unsigned int i = 0; i < options->load_cpus.count; i++)
		json_array_append_new(cpus, json_integer(options->load_cpus.list[i]));
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
		"type", "start", "workload", workload, "target",
		vly_addr_format(target, text, sizeof(text)), "nic", nic, "cpus", cpus,
		"connections", (json_int_t)options->connections, "size_bytes",
		(json_int_t)options->size_bytes, "depth", (json_int_t)options->depth, "warmup_ns",
		(json_int_t)options->warmup_ns, "duration_ns", (json_int_t)options->duration_ns,
		"turns", (json_int_t)turns, "seed", (json_int_t)(seed >> 1), "connect_timeout_ns",
		(json_int_t)options->connect_timeout_ns, "stall_timeout_ns",
		(json_int_t)options->stall_timeout_ns, "shape",
		load_shape_message(&options->shape));
}

int loader_start(struct loader *loader, const char *workload, const struct vly_addr *target,
		 const char *nic, const struct load_options *options, uint32_t turns, uint64_t seed)
{
	char why[256];
	int fd;

	memset(loader, 0, sizeof(*loader));
	loader->control.fd = -1;
	int err = child_spawn_self("load", SIGKILL, &loader->pid, &fd);
	if (err) {
		loader->pid = 0;
		snprintf(why, sizeof(why), "cannot start the load process: %s", strerror(-err));
		fail(loader, why);
		return err;
	}
	control_init(&loader->control, fd);
	err = control_hello(&loader->control, "bench", NULL, 0, HELLO_PATIENCE_NS, why,
			    sizeof(why));
	if (!err)
		err = control_send(&loader->control,
				   start_message(workload, target, nic, options, turns, seed));
	else if (err != -EPIPE && err != -ECONNRESET)
		fail(loader, why);
	if (err && !loader->failed)
		fail_dead(loader);
	return err;
}

void loader_open_window(struct loader *loader)
{
	if (loader->control.fd >= 0)
		(void)control_send(&loader->control, json_pack("{s:s}", "type", "go"));
}

void loader_close_window(struct loader *loader)
{
	loader_open_window(loader);
}

void loader_go_on(struct loader *loader)
{
	loader->begun = loader->ended = loader->held = false;
	loader_open_window(loader);
}

void loader_interrupt(struct loader *loader)
{
	if (loader->pid)
		kill(loader->pid, SIGTERM);
	/* It may be waiting for this. */
	loader_open_window(loader);
}

static void handle_phase(struct loader *loader, const json_t *message)
{
	loader->phase = (enum load_phase)control_int(message, "phase", LOAD_CONNECTING);
	if (loader->phase == LOAD_WINDOW_BEGIN)
		loader->begun = true;
	if (loader->phase == LOAD_WINDOW_END)
		loader->ended = true;
	if (loader->phase == LOAD_HELD)
		loader->held = true;
}

static void handle_progress(struct loader *loader, const json_t *message)
{
	loader->progress = (struct load_progress){
		.phase = (enum load_phase)control_int(message, "phase", LOAD_CONNECTING),
		.connected = (uint32_t)control_int(message, "connected", 0),
		.connections = (uint32_t)control_int(message, "connections", 0),
		.messages = (uint64_t)control_int(message, "messages", 0),
		.rate_msg_per_s = control_real(message, "rate_msg_per_s", 0),
		.elapsed_s = control_real(message, "elapsed_s", 0),
		.phase_s = control_real(message, "phase_s", 0),
	};
}

/* Counts and figures by themselves. */
static void take_numbers(struct load_result *r, const json_t *message)
{
	const json_t *fair = json_object_get(message, "fairness");

	r->messages = (uint64_t)control_int(message, "messages", 0);
	r->window_s = control_real(message, "window_s", 0);
	r->rate_msg_per_s = control_real(message, "rate_msg_per_s", 0);
	r->latency_mean_ns = control_real(message, "latency_mean_ns", 0);
	r->service_mean_ns = control_real(message, "service_mean_ns", NAN);
	r->under_way = control_real(message, "under_way", NAN);
	r->little = control_real(message, "little", NAN);
	r->silence_ns = control_real(message, "silence_ns", NAN);
	r->connecting_s = control_real(message, "connecting_s", NAN);
	r->connects_per_s = control_real(message, "connects_per_s", NAN);
	r->scheduled = (uint64_t)control_int(message, "scheduled", 0);
	r->unsent = (uint64_t)control_int(message, "unsent", 0);
	r->unsent_before = (uint64_t)control_int(message, "unsent_before", 0);
	r->lag_mean_ns = control_real(message, "lag_mean_ns", NAN);
	r->lag_max_ns = control_real(message, "lag_max_ns", NAN);
	r->busy_share = control_real(message, "busy_share", 0);
	r->cpu_ns = (uint64_t)control_int(message, "cpu_ns", 0);
	r->connections = (uint32_t)control_int(message, "connections", 0);
	r->connected = (uint64_t)control_int(message, "connected", 0);
	r->connect_retries = (uint64_t)control_int(message, "connect_retries", 0);
	r->errors = (uint64_t)control_int(message, "errors", 0);
	r->lost = (uint64_t)control_int(message, "lost", 0);
	r->wrong = (uint64_t)control_int(message, "wrong", 0);
	r->excess = (uint64_t)control_int(message, "excess", 0);
	r->silent = (uint64_t)control_int(message, "silent", 0);
	const json_t *slices = json_object_get(message, "slices");
	for (size_t i = 0; i < json_array_size(slices) && i < SLICES_MAX; i++)
		r->slices.rate_per_s[r->slices.count++] =
			json_number_value(json_array_get(slices, i));
	r->total = total_from_json(json_object_get(message, "total"));
	r->interrupted = json_is_true(json_object_get(message, "interrupted"));
	const json_t *unbilled = json_object_get(message, "unbilled");
	r->unbilled_known = unbilled;
	r->unbilled = (struct cost_unbilled){
		.ksoftirqd_ns = (uint64_t)control_int(unbilled, "ksoftirqd_ns", 0),
		.irq_ns = (uint64_t)control_int(unbilled, "irq_ns", 0),
		.softirq_ns = (uint64_t)control_int(unbilled, "softirq_ns", 0),
	};
	r->fairness = (struct fairness){
		.min = (uint64_t)control_int(fair, "min", 0),
		.p5 = (uint64_t)control_int(fair, "p5", 0),
		.p50 = (uint64_t)control_int(fair, "p50", 0),
		.p95 = (uint64_t)control_int(fair, "p95", 0),
		.max = (uint64_t)control_int(fair, "max", 0),
		.jain = control_real(fair, "jain", 0),
	};
}

/* A histogram that came encoded, under `key`, with its maximum. False: it cannot be read. */
static bool take_histogram(const json_t *message, const char *key, const char *max_key,
			   struct histogram *histogram, char **text)
{
	const char *hdr = control_text(message, key, NULL);

	if (!hdr || *text)
		return true;
	*text = strdup(hdr);
	if (!*text || histogram_init(histogram) != 0 || histogram_decode(histogram, hdr) != 0)
		return false;
	/* The encoding knows it to three digits only. */
	histogram->max_ns = (uint64_t)control_int(message, max_key, (int64_t)histogram->max_ns);
	return true;
}

static void handle_result(struct loader *loader, const json_t *message)
{
	struct load_result *r = &loader->result;

	take_numbers(r, message);
	loader->err = (int)control_int(message, "err", 0);
	snprintf(r->reason, sizeof(r->reason), "%s", control_text(message, "reason", ""));
	if (!take_histogram(message, "hdr", "latency_max_ns", &r->latency, &loader->hdr) ||
	    !take_histogram(message, "hdr_service", "service_max_ns", &r->service,
			    &loader->hdr_service)) {
		fail(loader, "the histogram of the load process cannot be read");
		return;
	}
	const char *counts = control_text(message, "hdr_per_connection", NULL);
	if (counts && !loader->hdr_per_connection)
		loader->hdr_per_connection = strdup(counts);
	loader->done = true;
}

void loader_handle(struct loader *loader)
{
	json_t *message;
	int got = 0;

	while (loader->control.fd >= 0 &&
	       (got = control_receive(&loader->control, &message, 0)) == 1) {
		const char *type = control_type(message);
		if (strcmp(type, "phase") == 0)
			handle_phase(loader, message);
		else if (strcmp(type, "progress") == 0)
			handle_progress(loader, message);
		else if (strcmp(type, "result") == 0)
			handle_result(loader, message);
		json_decref(message);
	}
	if (loader->control.fd >= 0 && got < 0 && got != -EINTR) {
		control_fini(&loader->control);
		if (!loader->done)
			fail_dead(loader);
	}
}

void loader_stop_process(struct loader *loader)
{
	control_fini(&loader->control);
	if (loader->pid) {
		if (!loader->done)
			kill(loader->pid, SIGKILL);
		(void)child_wait(loader->pid, END_PATIENCE_NS);
	}
	loader->pid = 0;
}

void loader_stop(struct loader *loader)
{
	loader_stop_process(loader);
	free(loader->hdr);
	free(loader->hdr_service);
	free(loader->hdr_per_connection);
	loader->hdr = loader->hdr_service = loader->hdr_per_connection = NULL;
	load_result_fini(&loader->result);
}
