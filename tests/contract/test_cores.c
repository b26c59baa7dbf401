/* test_cores.c - 4 and 16 cores, a thread each, on few CPUs: spreading, echo, mail */
#include "tests/contract/harness.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

TestSuite(cores, .fini = vly_leak_gate, .timeout = 120);

#define CORES_MAX 16
#define MAILS 100

/* One per core, written by its thread, read when vly_run is back. */
struct core_tally {
	unsigned accepted, closed, echoed, failures;
	unsigned mails_sent[CORES_MAX];
	unsigned mails_got[CORES_MAX];
};

struct party {
	unsigned cores;
	bool mails; /* every pair exchanges MAILS numbers, then all stop */
	_Atomic unsigned cores_done;
	_Atomic unsigned cores_ready;
	_Atomic(struct vly_engine *) engine;
	struct vly_addr addr; /* port chosen by the test: all cores listen on it */
	struct core_tally tally[CORES_MAX];
};

static int party_start(struct vly_core *core, void *arg, void **state)
{
	struct party *party = arg;
	vly_conn listener;
	int error = 0;

	*state = party;
	atomic_store(&party->engine, vly_core_engine(core));
	if (party->addr.port)
		error = vly_listen(core, &party->addr, NULL, NULL, &listener);
	/* Mail needs a first event to answer. */
	if (party->mails)
		error = vly_mail(core, vly_core_index(core), NULL, 0);
	atomic_fetch_add(&party->cores_ready, 1);
	return error;
}

/* Sends on each ring until it is full. */
static void send_mails(struct vly_core *core, struct party *party)
{
	struct core_tally *tally = &party->tally[vly_core_index(core)];

	for (unsigned to = 0; to < party->cores; to++) {
		unsigned *number = &tally->mails_sent[to];

		while (*number < MAILS) {
			int status = vly_mail(core, to, number, sizeof(*number));

			if (status == -EAGAIN)
				break;
			tally->failures += status != 0;
			++*number;
		}
	}
}

static void take_mail(struct vly_core *core, struct party *party, const struct vly_event *event)
{
	struct core_tally *tally = &party->tally[vly_core_index(core)];
	unsigned number, total = 0;

	if (!event->len)
		return;
	memcpy(&number, event->data, sizeof(number));
	tally->failures += number != tally->mails_got[event->aux];
	tally->mails_got[event->aux]++;
	for (unsigned from = 0; from < party->cores; from++)
		total += tally->mails_got[from];
	if (total == party->cores * MAILS &&
	    atomic_fetch_add(&party->cores_done, 1) + 1 == party->cores)
		vly_stop(vly_core_engine(core));
}

static void party_events(struct vly_core *core, struct vly_event *events, int count, void *state)
{
	struct party *party = state;
	struct core_tally *tally = &party->tally[vly_core_index(core)];

	for (int i = 0; i < count; i++) {
		struct vly_event *event = &events[i];

		switch (event->kind) {
		case VLY_OPEN:
			tally->accepted += event->status == 0;
			break;
		case VLY_DATA:
			tally->failures += vly_send_event(core, event->conn, event) != 0;
			tally->echoed++;
			break;
		case VLY_EOF:
			tally->failures += vly_close(core, event->conn) != 0;
			break;
		case VLY_CLOSED:
			tally->closed++;
			break;
		case VLY_MAIL:
			take_mail(core, party, event);
			break;
		default:
			break;
		}
	}
	if (party->mails)
		send_mails(core, party);
}

static const struct vly_app app = {.start = party_start, .events = party_events};

struct runner {
	struct vly_config config;
	struct party *party;
	int result;
};

static void *run_party(void *arg)
{
	struct runner *runner = arg;

	runner->result = vly_run(&runner->config, &app, runner->party);
	return NULL;
}

/* A port that was free a moment ago. */
static struct vly_addr free_port(void)
{
	struct world w;
	struct vly_config config;

	world_config(&config, 2);
	world_open_config(&w, &config);
	world_listen(&w, 0, NULL, NULL);
	world_close(&w);
	return w.addr;
}

static void spread_and_echo(unsigned cores, unsigned clients)
{
	static struct party party;
	struct runner runner = {.party = &party, .result = 1};
	struct vly_config config;
	struct world client;
	vly_conn *conn = calloc(clients, sizeof(*conn));
	pthread_t thread;
	unsigned accepted = 0, echoed = 0;

	cr_assert_not_null(conn);
	party = (struct party){.cores = cores, .addr = free_port()};
	world_config(&runner.config, cores);
	runner.config.conns_max = clients + 10;
	check_eq(pthread_create(&thread, NULL, run_party, &runner), 0);
	while (atomic_load(&party.cores_ready) < cores)
		nanosleep(&(struct timespec){0, MSEC}, NULL);
	world_config(&config, 1);
	config.conns_max = clients + 10;
	world_open_config(&client, &config);
	for (unsigned i = 0; i < clients; i++)
		check_eq(vly_connect(client.core[0], &party.addr, NULL, NULL, &conn[i]), 0);
	pump_until(&client, client.tracks.count[VLY_OPEN] == clients);
	for (unsigned i = 0; i < clients; i++)
		world_send_pattern(&client, 0, conn[i], i, 2000);
	for (unsigned i = 0; i < clients; i++) {
		pump_until(&client, got_bytes(&client, conn[i]) == 2000);
		cr_assert(got_pattern(&client, conn[i], i, 2000));
		check_eq(vly_close(client.core[0], conn[i]), 0);
	}
	pump_until(&client, client.tracks.count[VLY_CLOSED] == clients);
	vly_stop(atomic_load(&party.engine));
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(runner.result, 0);
	for (unsigned i = 0; i < cores; i++) {
		/*
		 * The kernel spreads by hash: that one of them gets none is a matter of 1 : 10^6.
		 */
		check_at_least(party.tally[i].accepted, 1);
		check_eq(party.tally[i].accepted, party.tally[i].closed);
		check_eq(party.tally[i].failures, 0);
		accepted += party.tally[i].accepted;
		echoed += party.tally[i].echoed;
	}
	check_eq(accepted, clients);
	check_at_least(echoed, clients);
	world_close(&client);
	free(conn);
}

Test(cores, four_of_them_share_a_port_and_each_echoes)
{
	need_one_network();
	spread_and_echo(4, 100);
}

Test(cores, sixteen_of_them_share_a_port_and_each_echoes)
{
	need_one_network();
	spread_and_echo(16, 300);
}

static void mail_between_all(unsigned cores)
{
	static struct party party;
	struct vly_config config;

	party = (struct party){.cores = cores, .mails = true};
	world_config(&config, cores);
	config.mail_slots = 16;
	check_eq(vly_run(&config, &app, &party), 0);
	for (unsigned to = 0; to < cores; to++) {
		check_eq(party.tally[to].failures, 0);
		for (unsigned from = 0; from < cores; from++)
			check_eq(party.tally[to].mails_got[from], MAILS);
	}
}

Test(cores, four_of_them_mail_every_pair_in_order_asleep_and_awake)
{
	mail_between_all(4);
}

Test(cores, sixteen_of_them_mail_every_pair_in_order_asleep_and_awake)
{
	mail_between_all(16);
}

Test(cores, each_knows_its_cpu_and_overlap_must_be_allowed)
{
	struct vly_config config;
	struct vly_engine *engine = NULL;

	harness_hush();
	world_config(&config, 2);
	config.cpus = "0,0";
	config.allow_overlap = false;
	check_at_most(vly_engine_open(&config, &engine), -1);
	cr_assert_null(engine);
	config.allow_overlap = true;
	check_eq(vly_engine_open(&config, &engine), 0);
	check_eq(vly_engine_cpu(engine, 0), 0);
	check_eq(vly_engine_cpu(engine, 1), 0);
	vly_engine_close(engine);
}
