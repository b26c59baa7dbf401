/* raw_wire.c - frames bounced at layer 2: what the wire alone can do, with no TCP */
#include "bench/raw_wire.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/load_outcome.h"
#include "bench/stats.h"
#include "nic/inet/wire.h"
#include "volley/core.h"

#define BURST 64u
#define MAC_BYTES 6u
#define HEADERS_BYTES 54u /* of Ethernet, IPv4 and TCP without options */
#define PROGRESS_NS UINT64_C(500000000)
#define LOOK_POLLS 256u /* between two looks at what is not the wire */
#define HOLD_STEP_NS UINT64_C(10000)

/* A wire without a nic above it. */
struct line {
	struct vly_config config;
	struct vly_nic_spec spec;
	const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1];
	struct vly_region region;
	struct vly_wire *wire;
};

static int line_open(struct line *line, const char *nic, char *why, size_t why_bytes)
{
	memset(line, 0, sizeof(*line));
	vly_config_init(&line->config);
	int err = vly_spec_parse(&line->spec, nic, why, why_bytes);

	err = err ? err : vly_wire_resolve(&line->spec, line->stack, why, why_bytes);
	err = err ? err : line->stack[0]->check(&line->spec, line->stack, why, why_bytes);
	if (err)
		return err;
	struct vly_region_opts opts = {
		.size_bytes =
			line->stack[0]->region_bytes(&line->config, &line->spec, line->stack) +
			4096,
		.numa_node = -1,
	};
	struct vly_wire_setup setup = {
		.region = &line->region,
		.config = &line->config,
		.spec = &line->spec,
		.stack = line->stack,
		.queues = 1,
		.now_ns = vly_now_ns(),
	};

	err = vly_region_open(&line->region, &opts);
	if (!err) {
		err = line->stack[0]->open(&setup, &line->wire);
		if (err)
			vly_region_close(&line->region);
	}
	if (err)
		snprintf(why, why_bytes, "%s", strerror(-err));
	return err;
}

static void line_close(struct line *line)
{
	line->wire->ops->close(line->wire);
	vly_region_close(&line->region);
}

static void pin(const int *cpus, unsigned int cpus_count)
{
	cpu_set_t set;

	if (!cpus_count)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpus[0], &set);
	(void)sched_setaffinity(0, sizeof(set), &set);
}

/* --- the server --- */

static atomic_bool stopped;

static void on_signal(int number)
{
	(void)number;
	atomic_store_explicit(&stopped, true, memory_order_relaxed);
}

/* As many as there is room for: the others stay in the wire, which holds the load up. */
static void bounce(struct vly_wire *wire, uint64_t now_ns)
{
	struct vly_frame in[BURST], out[BURST + 1];
	uint32_t room = wire->ops->tx_take(wire, now_ns, out, BURST);

	if (!room)
		return;
	uint32_t count = wire->ops->rx_burst(wire, now_ns, in, room);

	for (uint32_t i = 0; i < count; i++) {
		vly_wire_ahead(&wire->rx_ahead, false);
		vly_wire_ahead(&wire->tx_ahead, true);
		memcpy(out[i].data + 2 * MAC_BYTES, in[i].data + 2 * MAC_BYTES,
		       in[i].len - 2 * MAC_BYTES);
		memcpy(out[i].data, in[i].data + MAC_BYTES, MAC_BYTES);
		memcpy(out[i].data + MAC_BYTES, in[i].data, MAC_BYTES);
		out[i].len = in[i].len;
		out[i].flags = 0;
		vly_wire_built(wire, &out[i]);
	}
	wire->ops->tx_send(wire, now_ns, out, count);
	wire->ops->rx_done(wire, now_ns);
}

int raw_wire_serve(const char *nic, uint16_t port, const int *cpus, unsigned int cpus_count)
{
	struct sigaction action = {.sa_handler = on_signal};
	struct line line;
	char why[256];

	pin(cpus, cpus_count);
	int err = line_open(&line, nic, why, sizeof(why));

	if (err) {
		fprintf(stderr, "volley: the wire %s did not open: %s\n", nic, why);
		return err;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	printf("READY %u\n", port);
	fflush(stdout);
	while (!atomic_load_explicit(&stopped, memory_order_relaxed)) {
		uint64_t now_ns = vly_now_ns();

		for (unsigned int i = 0; i < LOOK_POLLS; i++)
			bounce(line.wire, now_ns);
	}
	line_close(&line);
	return 0;
}

/* --- the load --- */

/* What a frame carries behind the room of its headers, as far as the message is long enough. */
struct mark {
	uint32_t id, number;
	uint64_t since_ns; /* when the message before it came back */
};

struct raw {
	const struct load_params *params;
	struct load_result *result;
	struct line line;
	struct mark *ready; /* a ring of all messages that are not under way */
	uint32_t *numbers;  /* of each message's next round */
	uint32_t messages, head, ready_count;
	uint32_t frame_bytes;
	uint8_t *model; /* a frame */
	uint64_t window_ns, echoes, heard_ns, told_ns, told_echoes;
	bool counting, holding; /* holding: nothing is sent */
};

static void take_back(struct raw *raw, const struct vly_frame *frame, uint64_t now_ns)
{
	struct load_result *r = raw->result;
	struct mark mark;

	memcpy(&mark, frame->data + HEADERS_BYTES, sizeof(mark));
	/* The last byte, too: a frame that was cut would show it. */
	if (frame->len != raw->frame_bytes || mark.id >= raw->messages ||
	    mark.number != raw->numbers[mark.id] ||
	    memcmp(frame->data + HEADERS_BYTES + sizeof(mark),
		   raw->model + HEADERS_BYTES + sizeof(mark),
		   raw->frame_bytes - HEADERS_BYTES - sizeof(mark)) != 0) {
		r->wrong++;
		return;
	}
	raw->numbers[mark.id]++;
	raw->echoes++;
	if (raw->counting) {
		histogram_record(&r->latency, now_ns - mark.since_ns);
		r->per_conn[mark.id % raw->params->connections]++;
	}
	raw->ready[(raw->head + raw->ready_count++) % raw->messages] =
		(struct mark){mark.id, mark.number + 1, now_ns};
}

static void poll_once(struct raw *raw, uint64_t now_ns)
{
	struct vly_wire *wire = raw->line.wire;
	struct vly_frame frames[BURST + 1];
	uint32_t count = wire->ops->rx_burst(wire, now_ns, frames, BURST);

	for (uint32_t i = 0; i < count; i++) {
		vly_wire_ahead(&wire->rx_ahead, false);
		take_back(raw, &frames[i], now_ns);
	}
	wire->ops->rx_done(wire, now_ns);
	count = raw->holding ? 0 : VLY_MIN(raw->ready_count, BURST);
	if (count)
		count = wire->ops->tx_take(wire, now_ns, frames, count);
	if (!count)
		return;
	for (uint32_t i = 0; i < count; i++) {
		vly_wire_ahead(&wire->tx_ahead, true);
		memcpy(frames[i].data, raw->model, raw->frame_bytes);
		memcpy(frames[i].data + HEADERS_BYTES, &raw->ready[raw->head], sizeof(struct mark));
		raw->head = raw->head + 1 == raw->messages ? 0 : raw->head + 1;
		frames[i].len = raw->frame_bytes;
		frames[i].flags = 0;
		vly_wire_built(wire, &frames[i]);
	}
	raw->ready_count -= count;
	wire->ops->tx_send(wire, now_ns, frames, count);
}

static void tell(struct raw *raw, enum load_phase phase, uint64_t now_ns)
{
	const struct load_params *params = raw->params;
	struct load_progress told = {
		.phase = phase,
		.connected = params->connections,
		.connections = params->connections,
		.messages = raw->echoes,
		.rate_msg_per_s = (double)(raw->echoes - raw->told_echoes) * 1e9 /
				  (double)(now_ns - raw->told_ns),
	};

	raw->told_ns = now_ns;
	raw->told_echoes = raw->echoes;
	if (params->progress)
		params->progress(&told, params->arg);
}

/* 0 at `until_ns`; -ECANCELED, interrupted; -ETIMEDOUT. */
static int run_until(struct raw *raw, enum load_phase phase, uint64_t until_ns)
{
	uint64_t now_ns = vly_now_ns(), heard = raw->echoes;

	while (now_ns < until_ns) {
		for (unsigned int i = 0; i < LOOK_POLLS; i++) {
			now_ns = vly_now_ns();
			poll_once(raw, now_ns);
		}
		if (raw->echoes != heard)
			raw->heard_ns = now_ns;
		heard = raw->echoes;
		slices_step(&raw->result->slices, now_ns, raw->echoes);
		if (now_ns - raw->told_ns >= PROGRESS_NS)
			tell(raw, phase, now_ns);
		if (raw->params->interrupted &&
		    atomic_load_explicit(raw->params->interrupted, memory_order_relaxed))
			return -ECANCELED;
		if (now_ns - raw->heard_ns > (uint64_t)LOAD_STALL_TIMEOUT_NS)
			return load_refuse(raw->result, -ETIMEDOUT,
					   "%u of %u frames never came back",
					   raw->messages - raw->ready_count, raw->messages);
	}
	return 0;
}

static void announce(const struct raw *raw, enum load_phase phase)
{
	if (raw->params->phase)
		raw->params->phase(phase, raw->params->arg);
}

static uint64_t cpu_ns(void)
{
	struct timespec span;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &span);
	return (uint64_t)span.tv_sec * 1000000000u + (uint64_t)span.tv_nsec;
}

/* Sends nothing, once all frames are home, until the caller gives the word. */
static int hold(struct raw *raw)
{
	int err = 0;

	raw->holding = true;
	while (!err && raw->ready_count < raw->messages && !raw->result->wrong)
		err = run_until(raw, LOAD_WARMUP, vly_now_ns() + HOLD_STEP_NS);
	if (!err)
		announce(raw, LOAD_HELD);
	return err;
}

static int resume(struct raw *raw)
{
	const struct load_params *params = raw->params;

	raw->heard_ns = vly_now_ns();
	for (uint32_t i = 0; i < raw->messages; i++)
		raw->ready[i].since_ns = raw->heard_ns;
	raw->holding = false;
	return run_until(raw, LOAD_WARMUP,
			 raw->heard_ns + load_settle_ns(params->connections, params->depth));
}

/* A turn, or the whole window. */
static int measure_turn(struct raw *raw, uint32_t turns)
{
	struct load_result *r = raw->result;

	announce(raw, LOAD_WINDOW_BEGIN);
	uint64_t spent_ns = cpu_ns(), begin_ns = vly_now_ns(), echoes = raw->echoes;

	raw->heard_ns = begin_ns;
	raw->counting = true;
	if (turns == 1)
		slices_begin(&r->slices, begin_ns, raw->params->duration_ns, echoes);
	int err = run_until(raw, LOAD_WINDOW_BEGIN, begin_ns + raw->params->duration_ns / turns);
	uint64_t span_ns = vly_now_ns() - begin_ns;

	raw->counting = false;
	raw->window_ns += span_ns;
	r->cpu_ns += cpu_ns() - spent_ns;
	if (turns > 1)
		slices_add(&r->slices, span_ns, raw->echoes - echoes);
	announce(raw, LOAD_WINDOW_END);
	return err;
}

static int measure(struct raw *raw)
{
	struct load_result *r = raw->result;
	uint32_t turns = raw->params->turns ? raw->params->turns : 1;
	int err = 0;

	for (uint32_t turn = 0; turn < turns && !err; turn++) {
		if (turns > 1)
			err = hold(raw);
		if (turns > 1 && !err)
			err = resume(raw);
		if (!err)
			err = measure_turn(raw, turns);
	}
	/* the wire is closed when nobody has a turn any more */
	if (turns > 1 && !err)
		err = hold(raw);
	if (!raw->window_ns)
		return err;
	r->messages = r->latency.total;
	r->latency_mean_ns = histogram_mean_ns(&r->latency);
	r->window_s = (double)raw->window_ns * 1e-9;
	r->rate_msg_per_s = (double)r->messages / r->window_s;
	r->busy_share = fmin(1, (double)r->cpu_ns / (double)raw->window_ns);
	r->under_way = raw->messages;
	r->little = stats_little(r->rate_msg_per_s, r->latency_mean_ns, raw->messages);
	return err;
}

static int run_phases(struct raw *raw)
{
	announce(raw, LOAD_CONNECTING);
	raw->told_ns = raw->heard_ns = vly_now_ns();
	announce(raw, LOAD_WARMUP);
	int err = run_until(raw, LOAD_WARMUP, raw->heard_ns + raw->params->warmup_ns + 1);

	err = err ? err : measure(raw);
	if (err == -ECANCELED) {
		raw->result->interrupted = true;
		err = 0;
	}
	if (!err && raw->result->wrong)
		err = load_refuse(raw->result, -EBADMSG, "%llu frames came back changed",
				  (unsigned long long)raw->result->wrong);
	announce(raw, LOAD_DONE);
	return err;
}

/* The memory, a model of a frame, every message ready to go. */
static int prepare(struct raw *raw)
{
	const struct load_params *params = raw->params;
	struct load_result *r = raw->result;
	struct vly_wire *wire = raw->line.wire;
	uint64_t now_ns = vly_now_ns();

	raw->ready = calloc(raw->messages, sizeof(*raw->ready));
	raw->numbers = calloc(raw->messages, sizeof(*raw->numbers));
	raw->model = calloc(1, raw->frame_bytes);
	r->per_conn = calloc(params->connections, sizeof(*r->per_conn));
	if (!raw->ready || !raw->numbers || !raw->model || !r->per_conn ||
	    histogram_init(&r->latency) || histogram_init(&r->service))
		return load_refuse(r, -ENOMEM, "out of memory");
	if (raw->frame_bytes > wire->mtu + 14)
		return load_refuse(r, -EMSGSIZE, "a frame has at most %u bytes", wire->mtu + 14);
	r->connections = params->connections;
	r->connected = params->connections;
	memset(raw->model, 0x5a, raw->frame_bytes);
	memset(raw->model, 2, MAC_BYTES);
	memcpy(raw->model + MAC_BYTES, wire->mac, MAC_BYTES);
	memcpy(raw->model + 2 * MAC_BYTES, "\x88\xb5", 2); /* of local experiments */
	for (uint32_t i = 0; i < raw->messages; i++)
		raw->ready[i] = (struct mark){i, 0, now_ns};
	raw->ready_count = raw->messages;
	return 0;
}

int raw_wire_run(const struct load_params *params, struct load_result *result)
{
	struct raw raw = {
		.params = params,
		.result = result,
		.messages = params->connections * params->depth,
		.frame_bytes =
			HEADERS_BYTES + VLY_MAX(params->size_bytes, (uint32_t)sizeof(struct mark)),
	};
	char why[200];

	memset(result, 0, sizeof(*result));
	result->service_mean_ns = result->silence_ns = result->connecting_s = (double)NAN;
	result->connects_per_s = (double)NAN;
	pin(params->cpus, params->cpus_count);
	int err = line_open(&raw.line, params->nic ? params->nic : "", why, sizeof(why));

	if (err)
		return load_refuse(result, err, "the wire did not open: %s", why);
	err = prepare(&raw);
	err = err ? err : run_phases(&raw);
	if (!err)
		err = fairness_compute(result->per_conn, result->connections, &result->fairness);
	line_close(&raw.line);
	free(raw.ready);
	free(raw.numbers);
	free(raw.model);
	return err;
}
