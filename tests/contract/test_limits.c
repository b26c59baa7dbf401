/* test_limits.c - slots and bounds: accepting waits, clients queue, calls say -ENOBUFS */
#include "tests/contract/harness.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

TestSuite(limits, .fini = vly_leak_gate, .timeout = 120);

/*
 * A server whose table holds its listener and `slots` connections, and clients with room for all.
 */
static void open_tables(struct world *server, struct world *client, uint32_t slots)
{
	struct vly_config config;

	world_config(&config, 1);
	config.conns_max = 1 + slots;
	world_open_config(server, &config);
	config.conns_max = 4096;
	world_open_config(client, &config);
	client->next = server;
	server->tracks.keep_records = client->tracks.keep_records = false;
}

static void open_small_table(struct world *server, struct world *client, uint32_t slots)
{
	open_tables(server, client, slots);
	world_listen(server, 0, NULL, NULL);
}

static void echo_and_close(struct world *w, unsigned core, struct vly_event *event)
{
	if (event->kind == VLY_DATA)
		check_eq(vly_send(w->core[core], event->conn, event->data, event->len), 0);
	else if (event->kind == VLY_EOF)
		check_eq(vly_close(w->core[core], event->conn), 0);
}

/* Each client asks, and leaves when it has its answer; `total` clients, `window` at a time. */
struct queue {
	unsigned total, window;
	unsigned started, served;
	struct vly_addr addr;
};

static void next_client(struct world *w, struct queue *queue)
{
	vly_conn conn;

	if (queue->started == queue->total)
		return;
	queue->started++;
	check_eq(vly_connect(w->core[0], &queue->addr, NULL, NULL, &conn), 0);
}

static void visit(struct world *w, unsigned core, struct vly_event *event)
{
	struct queue *queue = w->arg;

	switch (event->kind) {
	case VLY_OPEN:
		check_eq(event->status, 0);
		check_eq(vly_send(w->core[core], event->conn, "hello", 5), 0);
		break;
	case VLY_DATA:
		check_eq(event->len, 5);
		check_eq(vly_close(w->core[core], event->conn), 0);
		break;
	case VLY_CLOSED:
		check_eq(event->status, 0);
		queue->served++;
		next_client(w, queue);
		break;
	default:
		break;
	}
}

static void serve(struct world *server, struct world *client, unsigned total, unsigned window)
{
	struct queue queue = {.total = total, .window = window};

	queue.addr = server->addr;
	server->on_event = echo_and_close;
	client->on_event = visit;
	client->arg = &queue;
	for (unsigned i = 0; i < window; i++)
		next_client(client, &queue);
	pump_until(client, queue.served == total);
}

Test(limits, table_of_one_slot_serves_thousands_of_clients_in_turn)
{
	struct world server, client;

	need_one_network();
	open_small_table(&server, &client, 1);
	serve(&server, &client, 3000, 16);
	check_eq(world_stats(&server, 0).accepted, 3000);
	check_at_least(world_stats(&server, 0).accept_full, 1);
	check_eq(world_stats(&server, 0).closed_error, 0);
	world_close(&client);
	world_close(&server);
}

#if defined(__SANITIZE_ADDRESS__)
#define MANY_CLIENTS 10000
#else
#define MANY_CLIENTS 100000
#endif

/* Of a Unix path, since as many TCP clients would use up the ports of an address. */
Test(limits, table_of_one_slot_serves_a_hundred_thousand_local_clients_in_turn)
{
	struct world server, client;
	char text[64];
	vly_conn listener;

	need_one_network();
	need_family(VLY_UNIX);
	open_tables(&server, &client, 1);
	snprintf(text, sizeof(text), "unix:@volley-one-slot-%d", (int)getpid());
	server.addr = addr_parsed(text);
	check_eq(vly_listen(server.core[0], &server.addr, NULL, NULL, &listener), 0);
	serve(&server, &client, MANY_CLIENTS, 16);
	check_eq(world_stats(&server, 0).accepted, MANY_CLIENTS);
	check_at_least(world_stats(&server, 0).accept_full, 1);
	check_eq(world_stats(&server, 0).closed_error, 0);
	world_close(&client);
	world_close(&server);
}

Test(limits, full_table_stops_accepting_and_counts_it_while_clients_wait)
{
	struct world server, client;
	vly_conn conn[10];

	need_one_network();
	open_small_table(&server, &client, 3);
	for (int i = 0; i < 10; i++)
		check_eq(vly_connect(client.core[0], &server.addr, NULL, NULL, &conn[i]), 0);
	pump_until(&client, world_stats(&server, 0).accepted == 3);
	world_quiet(&client);
	check_eq(world_stats(&server, 0).accepted, 3);
	check_eq(world_stats(&server, 0).conns, 4);
	check_at_least(world_stats(&server, 0).accept_full, 1);
	/* Nobody was turned away. */
	check_eq(client.tracks.count[VLY_CLOSED], 0);
	/* A full table neither spins nor sleeps through a slot that comes free. */
	for (int i = 0; i < 5; i++)
		check_eq(world_poll(&server, 0, 2 * MSEC), 0);
	server.on_event = echo_and_close;
	for (int i = 0; i < 10; i++) {
		pump_until(&client, seen(&client, conn[i], VLY_OPEN));
		check_eq(track_of(&client, conn[i])->open_status, 0);
		check_eq(vly_close(client.core[0], conn[i]), 0);
	}
	pump_until(&client, world_stats(&server, 0).closed == 10);
	check_eq(world_stats(&server, 0).accepted, 10);
	world_close(&client);
	world_close(&server);
}

Test(limits, slot_freed_by_abort_lets_the_next_client_in)
{
	struct world server, client;
	vly_conn conn[20];

	need_one_network();
	open_small_table(&server, &client, 2);
	for (int i = 0; i < 20; i++)
		check_eq(vly_connect(client.core[0], &server.addr, NULL, NULL, &conn[i]), 0);
	for (unsigned i = 1; i <= 19; i++) {
		vly_conn accepted;

		pump_until(&client, server.accepted && !seen(&server, server.accepted, VLY_CLOSED));
		accepted = server.accepted;
		check_eq(vly_abort(server.core[0], accepted), 0);
		pump_until(&client, seen(&server, accepted, VLY_CLOSED));
	}
	check_eq(world_stats(&server, 0).accepted, 20);
	world_close(&client);
	world_close(&server);
}

Test(limits, full_table_is_enobufs_for_connect_listen_udp_and_watch)
{
	struct world w;
	struct vly_config config;
	struct vly_addr any;
	vly_conn conn, last;
	int count = 0, fds[2];

	world_config(&config, 1);
	config.conns_max = 4;
	world_open_config(&w, &config);
	any = world_addr(&w, 0);
	while (!vly_udp_open(w.core[0], &any, NULL, &last))
		cr_assert(++count <= 4);
	check_eq(count, 4);
	check_eq(vly_udp_open(w.core[0], &any, NULL, &conn), -ENOBUFS);
	check_eq(vly_listen(w.core[0], &any, NULL, NULL, &conn), -ENOBUFS);
	any.port = 9;
	check_eq(vly_connect(w.core[0], &any, NULL, NULL, &conn), -ENOBUFS);
	check_eq(pipe(fds), 0);
	check_eq(vly_watch_fd(w.core[0], fds[0], POLLIN, NULL, &conn), -ENOBUFS);
	close(fds[0]);
	close(fds[1]);
	check_eq(world_stats(&w, 0).conns, 4);
	world_quiet(&w);
	check_eq(w.tracks.count[VLY_OPEN], 0);
	world_close(&w);
}

Test(limits, connects_beyond_the_table_fail_at_once_and_the_rest_open)
{
	struct world server, client;
	struct vly_config config;
	vly_conn conn[8];

	need_one_network();
	world_config(&config, 1);
	world_open_config(&server, &config);
	config.conns_max = 8;
	world_open_config(&client, &config);
	client.next = &server;
	world_listen(&server, 0, NULL, NULL);
	for (int round = 0; round < 20; round++) {
		vly_conn extra;

		for (int i = 0; i < 8; i++)
			check_eq(vly_connect(client.core[0], &server.addr, NULL, NULL, &conn[i]),
				 0);
		check_eq(vly_connect(client.core[0], &server.addr, NULL, NULL, &extra), -ENOBUFS);
		for (int i = 0; i < 8; i++) {
			pump_until(&client, seen(&client, conn[i], VLY_OPEN));
			check_eq(vly_abort(client.core[0], conn[i]), 0);
		}
		pump_until(&client, world_stats(&client, 0).conns == 0);
		pump_until(&client, world_stats(&server, 0).conns == 1);
		/* A slot is free again at the poll after its CLOSED. */
		world_round(&client);
	}
	world_close(&client);
	world_close(&server);
}

Test(limits, fewest_buffers_of_each_kind_still_move_megabytes)
{
	struct world w;
	struct vly_config config;
	struct link link;

	world_config(&config, 2);
	config.conns_max = 2;
	config.timers_max = 1;
	config.events_max = 16;
	config.burst_max = 1;
	config.tx_bufs = 4;
	config.tx_buf_bytes = 512;
	config.tx_refs = 1;
	config.tx_budget = 1024;
	config.rx_bufs = 4;
	config.rx_buf_bytes = 512;
	config.dgram_max = 512;
	config.burst_bytes = 512;
	config.hold_slots = 1;
	config.hold_bytes = 64;
	world_open_config(&w, &config);
	world_listen(&w, SERVER, NULL, NULL);
	link = world_link(&w);
	world_send_pattern(&w, CLIENT, link.client, 5, 1 << 20);
	pump_until(&w, got_bytes(&w, link.server) == 1 << 20);
	cr_assert(got_pattern(&w, link.server, 5, 1 << 20));
	world_close(&w);
}

Test(limits, config_that_makes_no_sense_is_einval)
{
	struct vly_config good, config;
	struct vly_plan plan;
	struct vly_engine *engine = NULL;

	world_config(&good, 1);
	check_eq(vly_config_plan(&good, &plan), 0);
#define refused(field, value)                                                                      \
	do {                                                                                       \
		config = good;                                                                     \
		config.field = (value);                                                            \
		check_eq(vly_config_plan(&config, &plan), -EINVAL);                                \
		check_eq(vly_engine_open(&config, &engine), -EINVAL);                              \
	} while (0)
	harness_hush();
	refused(cores, 0);
	refused(cores, 257);
	refused(conns_max, 0);
	refused(conns_max, 1u << VLY_SLOT_BITS);
	refused(events_max, 15);
	refused(events_max, 65537);
	refused(burst_max, 0);
	refused(tx_bufs, 0);
	refused(tx_buf_bytes, 0);
	refused(tx_budget, 0);
	refused(rx_bufs, 3);
	refused(rx_buf_bytes, 0);
	refused(dgram_max, good.rx_buf_bytes + 1);
	refused(mail_slots, 3);
	refused(mail_slots, 0);
	refused(ports_max, 65);
	refused(nic, "no such nic");
	refused(nic, "");
#undef refused
	cr_assert_null(engine);
}

Test(limits, plan_equals_what_the_region_took)
{
	const uint32_t conns[] = {16, 1000, 5000};
	uint64_t first_total = 0;

	for (int i = 0; i < 3; i++) {
		struct vly_config config;
		struct vly_plan plan;
		struct world w;
		uint64_t sum = 0;

		world_config(&config, 2);
		config.conns_max = conns[i];
		check_eq(vly_config_plan(&config, &plan), 0);
		for (unsigned j = 0; j < plan.items_count; j++) {
			cr_assert_not_null(plan.items[j].what);
			check_at_least(plan.items[j].bytes,
				       plan.items[j].count * plan.items[j].each_bytes);
			sum += plan.items[j].bytes;
		}
		check_eq(sum, plan.core_bytes);
		check_eq(plan.total_bytes, 2 * plan.core_bytes + plan.shared_bytes);
		world_open_config(&w, &config);
		for (unsigned core = 0; core < 2; core++)
			check_eq(world_stats(&w, core).region_used_bytes, plan.core_bytes);
		world_close(&w);
		/* What scales with the connections scales as stated. */
		if (!i)
			first_total = plan.core_bytes;
		else
			check_at_most(llabs((long long)(plan.core_bytes - first_total) -
					    (long long)(plan.conn_bytes * (conns[i] - conns[0]))),
				      16 * 4096);
	}
}
