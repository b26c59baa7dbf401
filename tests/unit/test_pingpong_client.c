/* test_pingpong_client.c - delays that are known to the nanosecond come out of a run as they went in */
#include "bench/pingpong_client.h"

#include <math.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "base/clock.h"
#include "bench/agenda.h"
#include "bench/load_outcome.h"
#include "bench/pingpong_state.h"
#include "bench/run_load.h"
#include "tests/support/rig.h"

TestSuite(pingpong_client, .fini = vly_leak_gate, .timeout = 120);

/*
 * Two load cores over the epoll nic, sockets of the kernel, a server that answers each message
 * after a delay of its own choice: all in one thread, under a clock that stands still and is put
 * from one event to the next. No scheduler is in what is measured.
 */
#define CORES 2u
#define CONNS 4u /* of a core */
#define SLOTS (CORES * CONNS)
#define SIZE_BYTES 64u
#define MESSAGES 120000u /* 120 lie above the 99.9th percentile: more than are needed to show it */
#define STEPS_PER_LAYOUT 1024.0 /* a value is known to one part in so many */

struct world {
	struct rig rig;
	struct schedule schedule;
	struct load_core load[CORES];
	int fds[SLOTS]; /* the server's ends, core by core */
	bool pending[SLOTS];
	uint32_t numbers[SLOTS]; /* messages read from each since all are up */
	uint32_t read, pendings;
	struct agenda echoes;
	uint64_t (*delay_ns)(uint32_t slot, uint32_t number, uint32_t all);
	uint64_t now_ns, start_ns;
};

/*
 * --- the world's events --------------------------------------------------------------------------
 */

static void put_clock(struct world *w, uint64_t now_ns)
{
	cr_assert_geq(now_ns, w->now_ns);
	w->now_ns = now_ns;
	vly_clock_freeze(now_ns);
}

static uint64_t messages(const struct world *w, unsigned core)
{
	return pingpong_client_figures(w->load[core].client)->messages;
}

/* Flushes what the client has sent, and hands it what came. */
static void poll_core(struct world *w, unsigned core)
{
	struct vly_event *events;
	int count = vly_poll(w->rig.core[core], &events, 0);

	cr_assert_geq(count, 0);
	pingpong_client_events(w->load[core].client, events, count, w->now_ns);
	pingpong_client_connect(w->load[core].client, w->now_ns);
}

/* Everything that the clients have under way and no echo is planned for. */
static void read_all(struct world *w)
{
	uint64_t outstanding = 0;
	uint8_t bytes[SIZE_BYTES];

	for (unsigned core = 0; core < CORES; core++)
		outstanding += pingpong_client_figures(w->load[core].client)->outstanding;
	while (w->pendings < outstanding) {
		for (uint32_t slot = 0; slot < SLOTS; slot++) {
			if (w->pending[slot] || recv(w->fds[slot], bytes, SIZE_BYTES,
						     MSG_PEEK | MSG_DONTWAIT) != SIZE_BYTES)
				continue;
			agenda_push(&w->echoes,
				    w->now_ns + w->delay_ns(slot, w->numbers[slot]++, w->read++),
				    slot);
			w->pending[slot] = true;
			w->pendings++;
		}
	}
}

/* Sends the echo that is due, and waits until its client has it. */
static void echo_one(struct world *w)
{
	uint32_t slot = agenda_pop(&w->echoes);
	uint64_t before = messages(w, slot / CONNS);
	uint8_t bytes[SIZE_BYTES];

	cr_assert_eq(recv(w->fds[slot], bytes, SIZE_BYTES, 0), SIZE_BYTES);
	cr_assert_eq(send(w->fds[slot], bytes, SIZE_BYTES, MSG_NOSIGNAL), SIZE_BYTES);
	w->pending[slot] = false;
	w->pendings--;
	while (messages(w, slot / CONNS) == before)
		poll_core(w, slot / CONNS);
}

/* Goes to what happens next, or to `next_ns` if that comes first. */
static void step(struct world *w, uint64_t next_ns)
{
	for (unsigned core = 0; core < CORES; core++) {
		uint64_t due_ns = pingpong_client_tick(w->load[core].client, w->now_ns);

		cr_assert_eq(vly_flush(w->rig.core[core]), 0);
		next_ns = due_ns < next_ns ? due_ns : next_ns;
	}
	read_all(w);
	if (agenda_next_ns(&w->echoes) < next_ns)
		next_ns = agenda_next_ns(&w->echoes);
	cr_assert_neq(next_ns, UINT64_MAX);
	put_clock(w, next_ns);
	if (agenda_next_ns(&w->echoes) == next_ns)
		echo_one(w);
}

/*
 * --- beginning and end ---------------------------------------------------------------------------
 */

static int listen_at(struct vly_addr *addr)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t in_bytes = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	char text[32];

	cr_assert_eq(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	cr_assert_eq(listen(fd, SLOTS), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&in, &in_bytes), 0);
	snprintf(text, sizeof(text), "127.0.0.1:%u", ntohs(in.sin_port));
	cr_assert_eq(vly_addr_parse(text, addr), 0);
	return fd;
}

/* Connections of one core after the other, so that the server knows whose they are. */
static void connect_core(struct world *w, unsigned core, int listen_fd)
{
	const struct pingpong_figures *figures;
	uint8_t bytes[SIZE_BYTES];

	cr_assert_eq(pingpong_client_open(w->rig.core[core], &w->load[core].params,
					  &w->load[core].client),
		     0);
	figures = pingpong_client_figures(w->load[core].client);
	for (uint32_t i = 0; i < CONNS; i++) {
		int *fd = &w->fds[core * CONNS + i];

		poll_core(w, core);
		*fd = accept(listen_fd, NULL, NULL);
		while (recv(*fd, bytes, SIZE_BYTES, MSG_DONTWAIT) < 0) {
			pingpong_client_tick(w->load[core].client, w->now_ns);
			poll_core(w, core);
		}
		cr_assert_eq(send(*fd, bytes, SIZE_BYTES, MSG_NOSIGNAL), SIZE_BYTES);
	}
	while (figures->up < CONNS)
		poll_core(w, core);
}

static void start(struct world *w, uint64_t (*delay_ns)(uint32_t, uint32_t, uint32_t))
{
	struct vly_config config;
	struct vly_addr addr;
	int listen_fd = listen_at(&addr);

	w->delay_ns = delay_ns;
	rig_config(&config);
	config.cores = CORES;
	rig_open(&w->rig, &config);
	cr_assert_eq(agenda_init(&w->echoes, SLOTS), 0);
	put_clock(w, vly_clock_ns());
	for (unsigned core = 0; core < CORES; core++) {
		w->load[core].params = (struct pingpong_params){
			.target = addr,
			.schedule = &w->schedule,
			.connections = CONNS,
			.first_id = core * CONNS,
			.connecting_max = CONNS,
			.size_bytes = SIZE_BYTES,
			.depth = 1,
			.seed = 7,
		};
		connect_core(w, core, listen_fd);
	}
	close(listen_fd);
	w->start_ns = w->now_ns;
	for (unsigned core = 0; core < CORES; core++)
		pingpong_client_start(w->load[core].client, w->start_ns);
}

static void open_window(struct world *w, uint64_t end_ns)
{
	for (unsigned core = 0; core < CORES; core++)
		pingpong_client_window(w->load[core].client, w->start_ns, end_ns);
}

/* All that was under way comes back. What the two cores counted, as one result. */
static void finish(struct world *w, uint64_t end_ns, struct load_result *result)
{
	const struct load_params params = {
		.connections = SLOTS,
		.depth = 1,
		.schedule = w->schedule,
	};
	const struct load_times times = {.begin_ns = w->start_ns, .end_ns = end_ns, .stall_ns = 1};

	for (unsigned core = 0; core < CORES; core++)
		pingpong_client_drain(w->load[core].client);
	while (w->pendings)
		step(w, UINT64_MAX);
	cr_assert_eq(histogram_init(&result->latency), 0);
	cr_assert_eq(histogram_init(&result->service), 0);
	cr_assert_eq(load_outcome(&params, w->load, CORES, &times, false, 0, result), 0, "%s",
		     result->reason);
}

static void stop(struct world *w, struct load_result *result)
{
	load_result_fini(result);
	rig_close(&w->rig);
	for (uint32_t slot = 0; slot < SLOTS; slot++)
		close(w->fds[slot]);
	for (unsigned core = 0; core < CORES; core++)
		load_core_fini(&w->load[core]);
	agenda_fini(&w->echoes);
}

/*
 * --- what is expected ----------------------------------------------------------------------------
 */

static int ascending(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return (*left > *right) - (*left < *right);
}

/* Percentiles of a histogram that went to another process and back, against the values themselves. */
static void compare(const struct histogram *histogram, uint64_t *values_ns, uint32_t count)
{
	struct histogram read;
	double got_ns[RUN_PERCENTILES] = {0};
	uint64_t sum_ns = 0;
	char *text;

	cr_assert_eq(histogram->total, count);
	qsort(values_ns, count, sizeof(*values_ns), ascending);
	for (uint32_t i = 0; i < count; i++)
		sum_ns += values_ns[i];
	/* intended times are rounded down to nanoseconds */
	cr_expect_float_eq(histogram_mean_ns(histogram), (double)sum_ns / count, 1);
	cr_expect_leq(histogram->min_ns - values_ns[0], 1);
	cr_expect_leq(histogram->max_ns - values_ns[count - 1], 1);
	cr_assert_eq(histogram_encode(histogram, &text), 0);
	cr_assert_eq(histogram_init(&read), 0);
	cr_assert_eq(histogram_decode(&read, text), 0);
	run_take_percentiles(&read, got_ns);
	for (unsigned i = 0; i <= RUN_P999; i++) {
		uint32_t rank = (uint32_t)ceil(run_percentiles[i] / 100 * count - 1e-6);
		double exact_ns = (double)values_ns[rank - 1];

		cr_expect(got_ns[i] >= exact_ns &&
				  got_ns[i] <= exact_ns * (1 + 1 / STEPS_PER_LAYOUT),
			  "%s is %.0f ns, not %.0f", run_percentile_names[i], got_ns[i], exact_ns);
	}
	cr_expect_eq(got_ns[RUN_P9999], 0); /* 12 values above it are too few */
	histogram_fini(&read);
	free(text);
}

#define END_NS UINT64_C(1000000000000000000) /* of a window that nobody sees the end of */

/* Each of MESSAGES equal parts of the distribution once, in no order: 49,999 and 120,000 are coprime. */
static double part(uint32_t all)
{
	return ((double)((uint64_t)all * 49999 % MESSAGES) + 0.5) / MESSAGES;
}

/* From 1 us to 10 s, evenly on a logarithmic scale: quantile p is 1 us * 10^(7 p). */
static uint64_t wide_delay_ns(uint32_t slot, uint32_t number, uint32_t all)
{
	(void)slot, (void)number;
	return (uint64_t)(1e3 * pow(1e7, part(all)));
}

Test(pingpong_client, known_delays_come_out_of_a_closed_loop_to_one_part_in_1024)
{
	struct world w = {0};
	struct load_result result = {0};
	uint64_t *values_ns = calloc(MESSAGES, sizeof(*values_ns));

	start(&w, wide_delay_ns);
	open_window(&w, END_NS);
	/* a step reads at most one message and has the next one sent: the last is that one */
	while (w.read < MESSAGES - 1)
		step(&w, UINT64_MAX);
	finish(&w, END_NS, &result);
	for (uint32_t i = 0; i < MESSAGES; i++)
		values_ns[i] = wide_delay_ns(0, 0, i);
	compare(&result.latency, values_ns, MESSAGES);
	/* and the distribution's own: its median is the geometric mean of its ends */
	cr_expect_float_eq((double)histogram_percentile_ns(&result.latency, 50) / sqrt(1e3 * 1e10),
			   1, 1.1e-3);
	free(values_ns);
	stop(&w, &result);
}

#define RATE 1000u /* messages per second: one of each connection every 8 ms */
#define GAP_NS (SLOTS * UINT64_C(1000000000) / RATE)

/* Mostly a few milliseconds; one message in 500 is answered after one or two seconds. */
static uint64_t frozen_delay_ns(uint32_t slot, uint32_t number, uint32_t all)
{
	(void)all;
	if ((number + slot) % 500 == 499)
		return 1000000000 + number * UINT64_C(104729) % 1000000007;
	return 100000 + (number * UINT64_C(48271) + slot * UINT64_C(7919)) % 3000017;
}

/*
 * What a queue of one server does, connection by connection, worked out without the client: a
 * message is sent when it is due and the one before it is answered.
 */
static uint32_t queue(const struct world *w, uint64_t end_ns, uint64_t *response_ns,
		      uint64_t *service_ns)
{
	uint32_t count = 0;

	for (uint32_t slot = 0; slot < SLOTS; slot++) {
		uint64_t free_ns = w->start_ns;

		for (uint32_t number = 0;; number++) {
			uint64_t due_ns = w->start_ns + number * GAP_NS + slot * (GAP_NS / SLOTS);
			uint64_t sent_ns = due_ns > free_ns ? due_ns : free_ns;

			service_ns[count] = frozen_delay_ns(slot, number, 0);
			free_ns = sent_ns + service_ns[count];
			if (free_ns >= end_ns)
				break;
			response_ns[count++] = free_ns - due_ns;
		}
	}
	return count;
}

Test(pingpong_client, response_and_service_times_of_an_open_loop_are_those_of_the_queue)
{
	struct world w = {
		.schedule =
			{
				.steps = {{.rate_msg_per_s = RATE}},
				.steps_count = 1,
				.connections = SLOTS,
			},
	};
	struct load_result result = {0};
	uint64_t *response_ns = calloc(2 * MESSAGES, sizeof(*response_ns));
	uint64_t *service_ns = calloc(2 * MESSAGES, sizeof(*service_ns));
	uint64_t end_ns;
	uint32_t count;

	start(&w, frozen_delay_ns);
	end_ns = w.start_ns + MESSAGES * UINT64_C(1000000000) / RATE;
	open_window(&w, end_ns);
	while (w.now_ns < end_ns)
		step(&w, end_ns);
	finish(&w, end_ns, &result);
	count = queue(&w, end_ns, response_ns, service_ns);
	compare(&result.latency, response_ns, count);
	compare(&result.service, service_ns, count);
	cr_expect_eq(result.lag_max_ns, 0.0); /* nothing else ran, so the client was never late */
	/* 1 of 500 took a second and more: the service time's 99th percentile does not know, the response's does */
	cr_expect_lt(histogram_percentile_ns(&result.service, 99), 4000000);
	cr_expect_gt(histogram_percentile_ns(&result.latency, 99), 500000000);
	free(response_ns);
	free(service_ns);
	stop(&w, &result);
}

#define DEEP 64u /* messages under way on one connection */

/* Reads all of DEEP messages and sends them back, so that they can come in one receive. */
static void echo_all(int fd)
{
	static uint8_t bytes[DEEP * SIZE_BYTES];

	cr_assert_eq(recv(fd, bytes, sizeof(bytes), MSG_WAITALL), (ssize_t)sizeof(bytes));
	cr_assert_eq(send(fd, bytes, sizeof(bytes), MSG_NOSIGNAL), (ssize_t)sizeof(bytes));
}

/*
 * With 10 connections and 64 messages on each, 5% of a round trip was nobody's: messages that had come
 * were timed, and the ones that answer them only when all 64 were built.
 */
Test(pingpong_client, messages_that_answer_one_receive_are_timed_without_waiting_for_a_flush)
{
	struct world w = {0};
	struct vly_config config;
	struct vly_event *events;
	struct vly_addr addr;
	uint64_t several = 0;
	int listen_fd = listen_at(&addr), fd;
	uint8_t byte[SIZE_BYTES];

	rig_config(&config);
	rig_open(&w.rig, &config);
	struct pingpong_params params = {.target = addr,
					 .schedule = &w.schedule,
					 .connections = 1,
					 .connecting_max = 1,
					 .size_bytes = SIZE_BYTES,
					 .depth = DEEP};
	struct pingpong_client *client;

	cr_assert_eq(pingpong_client_open(w.rig.core[0], &params, &client), 0);
	pingpong_client_connect(client, vly_now_ns());
	fd = accept(listen_fd, NULL, NULL);
	for (bool sent = false; pingpong_client_figures(client)->up < 1;) {
		int count = vly_poll(w.rig.core[0], &events, 1000000);

		pingpong_client_events(client, events, count, vly_now_ns());
		pingpong_client_tick(client, vly_now_ns());
		if (!sent && recv(fd, byte, SIZE_BYTES, MSG_DONTWAIT) == SIZE_BYTES)
			sent = send(fd, byte, SIZE_BYTES, MSG_NOSIGNAL) == SIZE_BYTES;
	}
	pingpong_client_start(client, vly_now_ns());
	for (int round = 0; round < 100 && several < 10; round++) {
		uint64_t before = pingpong_client_figures(client)->messages;

		echo_all(fd);
		while (pingpong_client_figures(client)->messages < before + DEEP) {
			int count = vly_poll(w.rig.core[0], &events, 1000000);

			pingpong_client_events(client, events, count, vly_now_ns());
			if (count == 1 && events[0].len >= 2 * SIZE_BYTES) {
				cr_assert_eq(client->unstamped_count, 0, "of %u",
					     client->unflushed);
				several++;
			}
			pingpong_client_tick(client, vly_now_ns());
		}
		cr_assert_eq(vly_flush(w.rig.core[0]), 0);
	}
	cr_assert_geq(several, 10);
	close(listen_fd);
	close(fd);
	rig_close(&w.rig);
	pingpong_client_close(client);
}
