/* test_udp.c - datagrams: their sender, their bounds, their errors */
#include "tests/contract/harness.h"

TestSuite(udp, .fini = vly_leak_gate, .timeout = 120);

#define DGRAM_MAX 2048

/* One socket on each core, and where they are. */
struct posts {
	vly_conn conn[2];
	struct vly_addr addr[2];
};

static vly_conn open_udp(struct world *w, unsigned core, const struct vly_addr *any,
			 struct vly_addr *addr)
{
	vly_conn conn = 0;

	struct vly_addr own = any->family == VLY_IP4 ? world_addr(w, core) : *any;

	check_eq(vly_udp_open(w->core[core], &own, NULL, &conn), 0);
	cr_assert(conn != 0);
	check_eq(vly_name(w->core[core], conn, addr, NULL), 0);
	cr_assert(addr->port != 0);
	return conn;
}

static void open_posts(struct world *w, struct posts *posts, const char *any_text)
{
	struct vly_addr any = addr_parsed(any_text);
	struct vly_config config;

	/* A buffer for the longest datagram and the address that it goes to. */
	world_config(&config, 2);
	config.tx_buf_bytes = DGRAM_MAX + sizeof(struct vly_addr);
	world_open_config(w, &config);
	for (unsigned i = 0; i < 2; i++)
		posts->conn[i] = open_udp(w, i, &any, &posts->addr[i]);
}

static struct record *find(struct world *w, vly_conn conn, unsigned number)
{
	for (size_t i = 0; i < w->tracks.records_count; i++) {
		struct record *record = &w->tracks.records[i];

		if (record->event.conn == conn && record->event.kind == VLY_DGRAM && !number--)
			return record;
	}
	return NULL;
}

static void echo(struct world *w, unsigned core, struct vly_event *event)
{
	struct vly_addr from;

	if (event->kind != VLY_DGRAM || core != SERVER)
		return;
	from = *vly_event_addr(event);
	check_eq(vly_sendto(w->core[core], event->conn, &from, event->data, event->len), 0);
}

static void echo_over(const char *any)
{
	struct world w;
	struct posts posts;
	uint8_t data[DGRAM_MAX];
	unsigned count = 0;

	open_posts(&w, &posts, any);
	w.on_event = echo;
	for (uint32_t len = 1; len <= DGRAM_MAX;
	     len = len * 2 < DGRAM_MAX + 1 ? len * 2 : len + 1) {
		struct record *record;

		pattern_fill(data, len, len, 0);
		check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER], data,
				    len),
			 0);
		count++;
		pump_until(&w, seen(&w, posts.conn[CLIENT], VLY_DGRAM) == count);
		record = find(&w, posts.conn[CLIENT], count - 1);
		check_eq(record->event.len, len);
		check_eq(record->event.status, 0);
		check_eq(record->event.flags & VLY_TRUNCATED, 0);
		cr_assert(pattern_is(record->bytes, len < 64 ? len : 64, len, 0));
	}
	check_eq(world_stats(&w, SERVER).dgrams_rx, count);
	check_eq(world_stats(&w, SERVER).dgrams_tx, count);
	world_close(&w);
}

Test(udp, echo_over_ipv4_knows_its_sender)
{
	echo_over("127.0.0.1:0");
}

Test(udp, echo_over_ipv6_knows_its_sender)
{
	need_family(VLY_IP6);
	echo_over("[::1]:0");
}

static void note_sender(struct world *w, unsigned core, struct vly_event *event)
{
	(void)core;
	if (event->kind == VLY_DGRAM)
		*(struct vly_addr *)w->arg = *vly_event_addr(event);
}

Test(udp, address_of_the_sender_is_its_name)
{
	struct world w;
	struct posts posts;
	struct vly_addr from;

	open_posts(&w, &posts, "127.0.0.1:0");
	w.on_event = note_sender;
	w.arg = &from;
	check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER], "x", 1), 0);
	pump_until(&w, seen(&w, posts.conn[SERVER], VLY_DGRAM));
	cr_assert(vly_addr_equal(&from, &posts.addr[CLIENT]));
	world_close(&w);
}

Test(udp, empty_datagram_is_one_too)
{
	struct world w;
	struct posts posts;
	struct vly_addr from;

	open_posts(&w, &posts, "127.0.0.1:0");
	w.on_event = note_sender;
	w.arg = &from;
	check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER], NULL, 0), 0);
	pump_until(&w, seen(&w, posts.conn[SERVER], VLY_DGRAM));
	check_eq(find(&w, posts.conn[SERVER], 0)->event.len, 0);
	cr_assert(vly_addr_equal(&from, &posts.addr[CLIENT]));
	world_close(&w);
}

Test(udp, longer_than_dgram_max_is_cut_flagged_and_counted)
{
	struct world w;
	struct vly_config config;
	struct vly_addr any = addr_parsed("127.0.0.1:0"), addr[2];
	vly_conn conn[2];
	uint8_t data[2000];

	world_config(&config, 2);
	config.dgram_max = 1000;
	config.tx_buf_bytes = 4096;
	world_open_config(&w, &config);
	for (unsigned i = 0; i < 2; i++)
		conn[i] = open_udp(&w, i, &any, &addr[i]);
	pattern_fill(data, sizeof(data), 1, 0);
	check_eq(vly_sendto(w.core[CLIENT], conn[CLIENT], &addr[SERVER], data, 1000), 0);
	check_eq(vly_sendto(w.core[CLIENT], conn[CLIENT], &addr[SERVER], data, 1001), 0);
	check_eq(vly_sendto(w.core[CLIENT], conn[CLIENT], &addr[SERVER], data, 2000), 0);
	check_eq(vly_sendto(w.core[CLIENT], conn[CLIENT], &addr[SERVER], data, 10), 0);
	pump_until(&w, seen(&w, conn[SERVER], VLY_DGRAM) == 4);
	for (unsigned i = 0; i < 4; i++) {
		struct record *record = find(&w, conn[SERVER], i);

		check_eq(record->event.len, i < 3 ? 1000 : 10);
		check_eq(record->event.flags & VLY_TRUNCATED, i == 1 || i == 2 ? VLY_TRUNCATED : 0);
	}
	check_eq(world_stats(&w, SERVER).dgrams_truncated, 2);
	world_close(&w);
}

Test(udp, above_the_budget_or_what_udp_carries_is_emsgsize)
{
	struct world w;
	struct posts posts;
	static const uint8_t zeros[70000];

	open_posts(&w, &posts, "127.0.0.1:0");
	check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER], zeros, 70000),
		 -EMSGSIZE);
	/* The world's budget is 16,384 bytes, address included. */
	check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER], zeros,
			    16384 - sizeof(struct vly_addr) + 1),
		 -EMSGSIZE);
	check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER], "ok", 2), 0);
	pump_until(&w, seen(&w, posts.conn[SERVER], VLY_DGRAM) == 1);
	check_eq(find(&w, posts.conn[SERVER], 0)->event.len, 2);
	world_close(&w);
}

Test(udp, is_no_stream_and_a_stream_is_no_udp)
{
	struct world w;
	struct posts posts;
	struct link link;
	struct iovec iov = {(void *)(uintptr_t) "x", 1};

	open_posts(&w, &posts, "127.0.0.1:0");
	world_listen(&w, SERVER, NULL, NULL);
	link = world_link(&w);
	check_eq(vly_send(w.core[CLIENT], posts.conn[CLIENT], "x", 1), -EINVAL);
	check_eq(vly_sendv(w.core[CLIENT], posts.conn[CLIENT], &iov, 1), -EINVAL);
	check_eq(vly_send_owned(w.core[CLIENT], posts.conn[CLIENT], "x", 1, NULL), -EINVAL);
	check_eq(vly_sendto(w.core[CLIENT], link.client, &posts.addr[SERVER], "x", 1), -EINVAL);
	world_quiet(&w);
	check_eq(w.tracks.count[VLY_DGRAM], 0);
	check_eq(w.tracks.count[VLY_SENT], 0);
	world_close(&w);
}

Test(udp, open_has_no_open_and_close_ends_in_closed_0)
{
	struct world w;
	struct posts posts;
	int mark;

	open_posts(&w, &posts, "127.0.0.1:0");
	world_set_user(&w, CLIENT, posts.conn[CLIENT], &mark);
	world_quiet(&w);
	check_eq(w.tracks.count[VLY_OPEN], 0);
	check_eq(vly_close(w.core[CLIENT], posts.conn[CLIENT]), 0);
	pump_until(&w, seen(&w, posts.conn[CLIENT], VLY_CLOSED));
	check_eq(track_of(&w, posts.conn[CLIENT])->closed_status, 0);
	cr_assert(track_of(&w, posts.conn[CLIENT])->user == &mark);
	check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER], "x", 1),
		 -ENOTCONN);
	check_eq(world_stats(&w, CLIENT).conns, 0);
	world_close(&w);
}

Test(udp, sent_before_close_still_leaves)
{
	struct world w;
	struct posts posts;

	open_posts(&w, &posts, "127.0.0.1:0");
	for (int i = 0; i < 4; i++)
		check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER], "last",
				    4),
			 0);
	check_eq(vly_close(w.core[CLIENT], posts.conn[CLIENT]), 0);
	pump_until(&w, seen(&w, posts.conn[CLIENT], VLY_CLOSED) &&
			       seen(&w, posts.conn[SERVER], VLY_DGRAM) == 4);
	world_close(&w);
}

Test(udp, port_in_use_is_eaddrinuse)
{
	struct world w;
	struct vly_config config;
	struct vly_addr any = addr_parsed("127.0.0.1:0"), addr;
	vly_conn conn;

	/* Several cores would share it. */
	world_config(&config, 1);
	world_open_config(&w, &config);
	open_udp(&w, 0, &any, &addr);
	check_eq(vly_udp_open(w.core[0], &addr, NULL, &conn), -EADDRINUSE);
	check_eq(world_stats(&w, 0).conns, 1);
	world_close(&w);
}

Test(udp, sent_to_a_deaf_port_harms_nobody)
{
	struct world w;
	struct posts posts;
	struct vly_addr any = addr_parsed("127.0.0.1:0"), deaf;
	vly_conn conn;

	open_posts(&w, &posts, "127.0.0.1:0");
	conn = open_udp(&w, SERVER, &any, &deaf);
	check_eq(vly_close(w.core[SERVER], conn), 0);
	pump_until(&w, seen(&w, conn, VLY_CLOSED));
	for (int i = 0; i < 10; i++) {
		check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &deaf, "x", 1), 0);
		world_round(&w);
	}
	world_quiet(&w);
	check_eq(seen(&w, posts.conn[CLIENT], VLY_CLOSED), 0);
	check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER], "y", 1), 0);
	pump_until(&w, seen(&w, posts.conn[SERVER], VLY_DGRAM) == 1);
	world_close(&w);
}

Test(udp, beyond_the_budget_is_eagain_and_drained_follows)
{
	static const uint8_t zeros[1024];
	struct world w;
	struct posts posts;
	uint64_t sent = 0;

	open_posts(&w, &posts, "127.0.0.1:0");
	for (unsigned spell = 1; spell <= 5; spell++) {
		int status;

		while (!(status = vly_sendto(w.core[CLIENT], posts.conn[CLIENT],
					     &posts.addr[SERVER], zeros, sizeof(zeros))))
			cr_assert(++sent < 100000);
		check_eq(status, -EAGAIN);
		check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER], "x",
				    1),
			 -EAGAIN);
		pump_until(&w, seen(&w, posts.conn[CLIENT], VLY_DRAINED) == spell);
		world_quiet(&w);
		check_eq(seen(&w, posts.conn[CLIENT], VLY_DRAINED), spell);
	}
	pump_until(&w, world_stats(&w, CLIENT).dgrams_tx == sent);
	world_close(&w);
}

Test(udp, burst_of_one_socket_leaves_room_for_another)
{
	struct world w;
	struct posts posts, other;
	struct vly_addr any = addr_parsed("127.0.0.1:0");
	unsigned sent = 0;

	open_posts(&w, &posts, "127.0.0.1:0");
	other.conn[SERVER] = open_udp(&w, SERVER, &any, &other.addr[SERVER]);
	for (int i = 0; i < 50; i++) {
		for (int j = 0; j < 10; j++)
			sent += !vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER],
					    "many", 4);
		check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &other.addr[SERVER], "one",
				    3),
			 0);
		pump_until(&w, seen(&w, other.conn[SERVER], VLY_DGRAM) == i + 1u);
	}
	pump_until(&w, seen(&w, posts.conn[SERVER], VLY_DGRAM) == sent);
	world_close(&w);
}

static void relay(struct world *w, unsigned core, struct vly_event *event)
{
	vly_conn *to = w->arg;

	if (event->kind == VLY_DGRAM && core == SERVER)
		check_eq(vly_send_event(w->core[core], *to, event), 0);
}

Test(udp, datagram_is_forwarded_to_a_stream)
{
	struct world w;
	struct posts posts;
	struct link link;
	uint8_t data[1500];

	open_posts(&w, &posts, "127.0.0.1:0");
	world_listen(&w, SERVER, NULL, NULL);
	link = world_link(&w);
	w.on_event = relay;
	w.arg = &link.server;
	pattern_fill(data, sizeof(data), 7, 0);
	check_eq(vly_sendto(w.core[CLIENT], posts.conn[CLIENT], &posts.addr[SERVER], data, 1500),
		 0);
	pump_until(&w, got_bytes(&w, link.client) == 1500);
	cr_assert(got_pattern(&w, link.client, 7, 1500));
	world_close(&w);
}
