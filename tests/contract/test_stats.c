/* test_stats.c - counters that agree with what was done */
#include "tests/contract/harness.h"

#include <pthread.h>

TestSuite(stats, .fini = vly_leak_gate, .timeout = 120);

Test(stats, of_streams_agree_with_the_events)
{
	struct world w;
	struct vly_stats server, client;
	struct link link;
	uint64_t events = 0, polls = 0;

	world_open(&w);
	world_listen(&w, SERVER, NULL, NULL);
	for (int i = 0; i < 5; i++) {
		link = world_link(&w);
		world_send_pattern(&w, CLIENT, link.client, 1, 10000);
		pump_until(&w, got_bytes(&w, link.server) == 10000);
		check_eq(vly_close(w.core[CLIENT], link.client), 0);
		check_eq(vly_close(w.core[SERVER], link.server), 0);
		pump_until(&w,
			   seen(&w, link.client, VLY_CLOSED) && seen(&w, link.server, VLY_CLOSED));
	}
	link = world_link(&w);
	check_eq(vly_abort(w.core[CLIENT], link.client), 0);
	pump_until(&w, seen(&w, link.client, VLY_CLOSED) && seen(&w, link.server, VLY_CLOSED));
	world_quiet(&w);
	server = world_stats(&w, SERVER);
	client = world_stats(&w, CLIENT);
	check_eq(server.accepted, 6);
	check_eq(server.connected, 0);
	check_eq(client.accepted, 0);
	check_eq(client.connected, 6);
	check_eq(client.connect_failed, 0);
	check_eq(server.closed, 6);
	check_eq(client.closed, 6);
	check_eq(server.closed_error, 1);
	check_eq(client.closed_error, 1);
	check_eq(server.rx_bytes, 50000);
	check_eq(client.tx_bytes, 50000);
	check_eq(client.tx_sends, 50);
	check_eq(server.tx_bytes, 0);
	check_eq(server.rx_events, w.tracks.count[VLY_DATA]);
	check_eq(server.conns, 1);
	check_eq(client.conns, 0);
	for (int kind = 0; kind < TRACK_KINDS; kind++)
		events += w.tracks.count[kind];
	check_eq(server.events + client.events, events);
	polls = server.polls + client.polls;
	check_eq(polls, w.tracks.batch);
	check_at_most(server.polls_empty, server.polls);
	check_at_least(client.tx_calls, 5);
	world_close(&w);
}

Test(stats, of_pools_are_full_again_when_nothing_is_under_way)
{
	struct world w;
	struct link link = world_open_link(&w);
	struct vly_stats first = world_stats(&w, CLIENT), last;

	world_send_pattern(&w, CLIENT, link.client, 1, 200000);
	pump_until(&w, got_bytes(&w, link.server) == 200000);
	world_quiet(&w);
	last = world_stats(&w, CLIENT);
	check_eq(last.tx_bufs_free, first.tx_bufs_free);
	check_eq(last.tx_refs_free, first.tx_refs_free);
	check_eq(last.rx_bufs_free, first.rx_bufs_free);
	check_at_most(last.tx_bufs_low, last.tx_bufs_free - 1);
	check_eq(last.region_used_bytes, first.region_used_bytes);
	check_at_least(last.region_bytes, last.region_used_bytes);
	check_at_least(last.region_page_bytes, 4096);
	world_close(&w);
}

Test(stats, of_timers_and_mail_count_each)
{
	struct world w;
	vly_timer timer;

	world_open(&w);
	for (int i = 0; i < 10; i++) {
		check_eq(vly_timer_start(w.core[SERVER], 0, NULL, &timer), 0);
		check_eq(vly_mail(w.core[SERVER], CLIENT, "x", 1), 0);
	}
	pump_until(&w, w.tracks.count[VLY_TIMER] == 10 && w.tracks.count[VLY_MAIL] == 10);
	check_eq(world_stats(&w, SERVER).timers_fired, 10);
	check_eq(world_stats(&w, SERVER).mail_tx, 10);
	check_eq(world_stats(&w, CLIENT).mail_rx, 10);
	check_eq(world_stats(&w, CLIENT).timers_fired, 0);
	world_close(&w);
}

Test(stats, of_a_core_that_is_not_there_are_enoent)
{
	struct vly_config config;
	struct vly_engine *engine;
	struct vly_core *core;
	struct vly_stats stats;

	world_config(&config, 2);
	check_eq(vly_engine_open(&config, &engine), 0);
	check_eq(vly_stats(engine, 0, &stats), -ENOENT);
	check_eq(vly_core_open(engine, 0, &core), 0);
	check_eq(vly_stats(engine, 0, &stats), 0);
	check_eq(vly_stats(engine, 1, &stats), -ENOENT);
	check_eq(vly_stats(engine, 2, &stats), -ENOENT);
	check_eq(vly_stats(engine, UINT32_MAX, &stats), -ENOENT);
	vly_core_close(core);
	vly_engine_close(engine);
}

struct reader {
	struct vly_engine *engine;
	unsigned faults;
	uint64_t readings;
};

/* Counters only grow, whoever reads them and whenever. */
static void *read_on(void *arg)
{
	struct reader *reader = arg;
	struct vly_stats last = {0}, now;

	while (last.rx_bytes < 1 << 20) {
		if (vly_stats(reader->engine, SERVER, &now)) {
			reader->faults++;
			break;
		}
		reader->faults += now.polls < last.polls || now.events < last.events ||
				  now.rx_bytes < last.rx_bytes || now.busy_ns < last.busy_ns ||
				  now.idle_ns < last.idle_ns || now.sleeps < last.sleeps;
		last = now;
		reader->readings++;
	}
	return NULL;
}

Test(stats, read_from_another_thread_only_grow)
{
	struct world w;
	struct link link = world_open_link(&w);
	struct reader reader = {.engine = w.engine};
	pthread_t thread;

	w.tracks.keep_data = false;
	check_eq(pthread_create(&thread, NULL, read_on, &reader), 0);
	world_send_pattern(&w, CLIENT, link.client, 1, 1 << 20);
	pump_until(&w, got_bytes(&w, link.server) == 1 << 20);
	world_quiet(&w);
	check_eq(pthread_join(thread, NULL), 0);
	check_eq(reader.faults, 0);
	check_at_least(reader.readings, 1);
	world_close(&w);
}

Test(stats, tell_busy_from_idle_time)
{
	struct world w;
	struct vly_stats before, after;

	world_open(&w);
	/* One that returns something, and then nothing for a while. */
	check_eq(vly_mail(w.core[SERVER], SERVER, "x", 1), 0);
	check_eq(world_poll(&w, SERVER, -1), 1);
	before = world_stats(&w, SERVER);
	world_poll(&w, SERVER, 5 * MSEC);
	world_poll(&w, SERVER, 0);
	after = world_stats(&w, SERVER);
	check_at_least(after.idle_ns - before.idle_ns, 4 * MSEC);
	check_at_least(after.polls_empty - before.polls_empty, 2);
	world_close(&w);
}

Test(stats, of_an_engine_name_its_nic_cpus_and_cores)
{
	struct world w;
	const char *nic;

	world_open(&w);
	nic = vly_engine_nic(w.engine);
	cr_assert_not_null(nic);
	cr_assert(strlen(nic) > 0 && !strncmp(nic, harness_nic(), strlen(nic)), "%s", nic);
	check_eq(vly_engine_cores(w.engine), 2);
	check_at_least(vly_engine_cpu(w.engine, 0), 0);
	check_at_least(vly_engine_cpu(w.engine, 1), 0);
	check_at_most(vly_engine_cpu(w.engine, 2), -1);
	check_eq(vly_core_index(w.core[1]), 1);
	cr_assert(vly_core_engine(w.core[1]) == w.engine);
	world_close(&w);
}

Test(stats, of_a_core_opened_twice_are_the_firsts)
{
	struct world w;
	struct vly_core *again = NULL;

	world_open(&w);
	check_eq(vly_core_open(w.engine, SERVER, &again), -EBUSY);
	check_at_most(vly_core_open(w.engine, 2, &again), -1);
	cr_assert_null(again);
	/* Closed, it may be opened again, on the same pools. */
	vly_core_close(w.core[SERVER]);
	check_eq(vly_core_open(w.engine, SERVER, &w.core[SERVER]), 0);
	world_listen(&w, SERVER, NULL, NULL);
	world_link(&w);
	world_close(&w);
}
