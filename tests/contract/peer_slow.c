/* peer_slow.c - peers that dawdle, do not read, half-close, or talk on while we close */
#include "tests/contract/peer.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(slow, .fini = vly_leak_gate, .timeout = 120);

static const uint8_t zeros[1 << 20];

static void echo_all(struct world *w, unsigned core, struct vly_event *event)
{
	if (event->kind == VLY_DATA)
		check_eq(vly_send_event(w->core[core], event->conn, event), 0);
	else if (event->kind == VLY_EOF)
		check_eq(vly_close(w->core[core], event->conn), 0);
}

Test(slow, one_byte_at_a_time_is_echoed_byte_by_byte)
{
	struct world w;
	vly_conn conn;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	w.on_event = echo_all;
	for (unsigned i = 0; i < 3000; i++) {
		uint8_t byte = pattern_byte(1, i), back;

		peer_send(fd, &byte, 1);
		peer_expect(&w, fd, &back, 1);
		check_eq(back, byte);
	}
	cr_assert(got_pattern(&w, conn, 1, 3000));
	close(fd);
	pump_until(&w, seen(&w, conn, VLY_CLOSED));
	world_close(&w);
}

Test(slow, reader_of_one_byte_at_a_time_gets_everything)
{
	struct world w;
	vly_conn conn;
	uint8_t data[10000], byte;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	pattern_fill(data, sizeof(data), 2, 0);
	world_send(&w, SERVER, conn, data, sizeof(data));
	for (size_t i = 0; i < sizeof(data); i++) {
		peer_expect(&w, fd, &byte, 1);
		check_eq(byte, data[i]);
	}
	close(fd);
	world_close(&w);
}

Test(slow, peer_that_stops_reading_takes_bounded_memory_and_others_go_on)
{
	struct world w;
	vly_conn stuck[8], conn;
	int fds[8], fd;
	uint64_t queued = 0;
	char back[4];
	struct vly_stats stats;

	need_kernel_sockets();
	peer_world(&w);
	for (int i = 0; i < 8; i++)
		fds[i] = peer_link(&w, &stuck[i]);
	for (int idle = 0; idle < 20;) {
		unsigned refused = 0;

		for (int i = 0; i < 8; i++)
			refused += vly_send(w.core[SERVER], stuck[i], zeros, 4096) == -EAGAIN;
		queued += 8 - refused;
		idle = world_round(&w) || refused < 8 ? 0 : idle + 1;
	}
	check_at_least(queued, 1);
	stats = world_stats(&w, SERVER);
	/* At most each one's budget is held: 8 of 16 KiB. */
	check_at_most((1024 - stats.tx_bufs_free) * 2048, 2 * 8 * 16384);
	fd = peer_link(&w, &conn);
	w.on_event = echo_all;
	for (int i = 0; i < 500; i++) {
		peer_send(fd, "ping", 4);
		peer_expect(&w, fd, back, 4);
		cr_assert(!memcmp(back, "ping", 4));
	}
	check_eq(world_stats(&w, SERVER).region_used_bytes, stats.region_used_bytes);
	for (int i = 0; i < 8; i++)
		close(fds[i]);
	close(fd);
	pump_until(&w, world_stats(&w, SERVER).conns == 1);
	world_close(&w);
}

Test(slow, half_closing_peer_gets_the_rest)
{
	struct world w;
	vly_conn conn;
	static uint8_t data[300000];
	uint8_t piece[1000];
	uint64_t sent = 0, got = 0;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	peer_send(fd, "request", 7);
	check_eq(shutdown(fd, SHUT_WR), 0);
	pump_until(&w, seen(&w, conn, VLY_EOF));
	cr_assert(got_text(&w, conn, "request"));
	while (got < sizeof(data)) {
		int taken = peer_take(fd, data + got, sizeof(data) - got);

		cr_assert(taken > 0 || taken == -EAGAIN, "the peer received %d", taken);
		got += taken > 0 ? (uint64_t)taken : 0;
		pattern_fill(piece, sizeof(piece), 3, sent);
		if (sent < sizeof(data) && !vly_send(w.core[SERVER], conn, piece, sizeof(piece)))
			sent += sizeof(piece);
		world_round(&w);
	}
	cr_assert(pattern_is(data, sizeof(data), 3, 0));
	check_eq(vly_close(w.core[SERVER], conn), 0);
	pump_until(&w, seen(&w, conn, VLY_CLOSED));
	check_eq(track_of(&w, conn)->closed_status, 0);
	peer_expect_end(&w, fd);
	close(fd);
	world_close(&w);
}

Test(slow, peer_that_talks_on_while_we_close_is_not_reset)
{
	struct world w;
	vly_conn conn;
	char back[6];
	uint64_t sent = 0;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	/* Unread when we close, and more of it afterwards. */
	peer_send(fd, zeros, 50000);
	check_eq(vly_send(w.core[SERVER], conn, "answer", 6), 0);
	check_eq(vly_close(w.core[SERVER], conn), 0);
	while (sent < 4 << 20) {
		ssize_t taken = send(fd, zeros, sizeof(zeros), MSG_DONTWAIT | MSG_NOSIGNAL);

		cr_assert(taken > 0 || errno == EAGAIN, "the peer was reset: errno %d", errno);
		sent += taken > 0 ? (uint64_t)taken : 0;
		world_round(&w);
	}
	peer_expect(&w, fd, back, 6);
	cr_assert(!memcmp(back, "answer", 6));
	peer_expect_end(&w, fd);
	check_eq(seen(&w, conn, VLY_CLOSED), 0);
	check_eq(seen(&w, conn, VLY_DATA), 0);
	close(fd);
	pump_until(&w, seen(&w, conn, VLY_CLOSED));
	check_eq(track_of(&w, conn)->closed_status, 0);
	world_close(&w);
}

Test(slow, peer_that_talks_on_for_ever_is_cut_off_at_the_timeout)
{
	struct world w;
	struct vly_config config;
	vly_conn conn;
	int fd;

	need_kernel_sockets();
	world_config(&config, 1);
	config.close_timeout_ns = 60 * MSEC;
	world_open_config(&w, &config);
	world_listen(&w, SERVER, NULL, NULL);
	fd = peer_link(&w, &conn);
	check_eq(vly_close(w.core[SERVER], conn), 0);
	while (!seen(&w, conn, VLY_CLOSED)) {
		(void)!send(fd, zeros, 1000, MSG_DONTWAIT | MSG_NOSIGNAL);
		world_round(&w);
	}
	check_eq(track_of(&w, conn)->closed_status, -ETIMEDOUT);
	close(fd);
	world_close(&w);
}

Test(slow, peer_sees_a_fin_after_the_last_byte_of_an_orderly_close)
{
	struct world w;
	vly_conn conn;
	static uint8_t data[16000];
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	for (int i = 0; i < 20; i++) {
		fd = peer_link(&w, &conn);
		pattern_fill(data, sizeof(data), 4, 0);
		check_eq(vly_send(w.core[SERVER], conn, data, sizeof(data)), 0);
		check_eq(vly_close(w.core[SERVER], conn), 0);
		memset(data, 0, sizeof(data));
		peer_expect(&w, fd, data, sizeof(data));
		cr_assert(pattern_is(data, sizeof(data), 4, 0));
		peer_expect_end(&w, fd);
		close(fd);
		pump_until(&w, seen(&w, conn, VLY_CLOSED));
		check_eq(track_of(&w, conn)->closed_status, 0);
	}
	world_close(&w);
}

Test(slow, peer_sees_nothing_before_the_flush_and_all_at_the_next_poll)
{
	struct world w;
	vly_conn conn;
	char back[4];
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	for (int i = 0; i < 20; i++) {
		check_eq(vly_send(w.core[SERVER], conn, "a", 1), 0);
		check_eq(vly_send(w.core[SERVER], conn, "b", 1), 0);
		check_eq(peer_take(fd, back, 4), -EAGAIN);
		if (i % 2)
			check_eq(vly_flush(w.core[SERVER]), 0);
		else
			world_poll(&w, SERVER, 0);
		/* No transmit delay: on loopback it is there at once, and in one piece. */
		check_eq(peer_take(fd, back, 4), 2);
		cr_assert(!memcmp(back, "ab", 2));
	}
	close(fd);
	world_close(&w);
}
