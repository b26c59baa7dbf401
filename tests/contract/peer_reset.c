/* peer_reset.c - peers that reset or vanish, at every state of a connection */
#include "tests/contract/peer.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(reset, .fini = vly_leak_gate, .timeout = 120);

static const uint8_t zeros[16384];

/* After whatever happened: one CLOSED, everything home, and the next client is served. */
static void all_is_well(struct world *w, vly_conn conn)
{
	char echo[4];
	vly_conn next;
	int fd;

	pump_until(w, seen(w, conn, VLY_CLOSED));
	world_quiet(w);
	check_eq(seen(w, conn, VLY_CLOSED), 1);
	check_eq(vly_send(w->core[SERVER], conn, "x", 1), -ENOTCONN);
	check_eq(world_stats(w, SERVER).conns, 1);
	w->on_event = NULL;
	fd = peer_link(w, &next);
	check_eq(vly_send(w->core[SERVER], next, "next", 4), 0);
	peer_expect(w, fd, echo, 4);
	cr_assert(!memcmp(echo, "next", 4));
	close(fd);
	world_close(w);
}

Test(reset, of_an_idle_connection_is_closed_econnreset)
{
	struct world w;
	vly_conn conn;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	peer_reset(fd);
	pump_until(&w, seen(&w, conn, VLY_CLOSED));
	check_eq(track_of(&w, conn)->closed_status, -ECONNRESET);
	check_eq(seen(&w, conn, VLY_EOF), 0);
	check_eq(world_stats(&w, SERVER).closed_error, 1);
	all_is_well(&w, conn);
}

Test(reset, before_the_accept_harms_nobody)
{
	struct world w;
	vly_conn conn;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	for (int i = 0; i < 50; i++)
		peer_reset(peer_connect(&w));
	world_quiet(&w);
	/* Accepted or not: whatever opened has closed. */
	check_eq(w.tracks.count[VLY_OPEN], w.tracks.count[VLY_CLOSED]);
	fd = peer_link(&w, &conn);
	peer_reset(fd);
	all_is_well(&w, conn);
}

Test(reset, close_before_the_accept_is_open_then_eof)
{
	struct world w;
	vly_conn conn;

	need_kernel_sockets();
	peer_world(&w);
	for (int i = 0; i < 20; i++) {
		close(peer_link(&w, &conn));
		pump_until(&w, seen(&w, conn, VLY_EOF));
		check_eq(vly_close(w.core[SERVER], conn), 0);
		pump_until(&w, seen(&w, conn, VLY_CLOSED));
		check_eq(track_of(&w, conn)->closed_status, 0);
	}
	all_is_well(&w, conn);
}

Test(reset, with_data_under_way_closes_once)
{
	struct world w;
	vly_conn conn;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	peer_send(fd, zeros, sizeof(zeros));
	peer_reset(fd);
	pump_until(&w, seen(&w, conn, VLY_CLOSED));
	check_eq(track_of(&w, conn)->closed_status, -ECONNRESET);
	all_is_well(&w, conn);
}

/* Sends until the peer, which does not read, takes no more. */
static void stuff_peer(struct world *w, vly_conn conn)
{
	int idle = 0;

	while (idle < 20)
		if (vly_send(w->core[SERVER], conn, zeros, 1000) == -EAGAIN)
			idle = world_round(w) ? 0 : idle + 1;
}

Test(reset, while_we_have_data_queued_drops_it_and_frees_its_buffers)
{
	struct world w;
	vly_conn conn;
	uint64_t free_bufs;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	free_bufs = world_stats(&w, SERVER).tx_bufs_free;
	fd = peer_link(&w, &conn);
	stuff_peer(&w, conn);
	check_at_most(world_stats(&w, SERVER).tx_bufs_free, free_bufs - 1);
	peer_reset(fd);
	pump_until(&w, seen(&w, conn, VLY_CLOSED));
	check_at_most(track_of(&w, conn)->closed_status, -1);
	world_quiet(&w);
	check_eq(world_stats(&w, SERVER).tx_bufs_free, free_bufs);
	all_is_well(&w, conn);
}

Test(reset, after_our_shutdown_is_closed_econnreset)
{
	struct world w;
	vly_conn conn;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	check_eq(vly_shutdown(w.core[SERVER], conn), 0);
	world_quiet(&w);
	peer_reset(fd);
	pump_until(&w, seen(&w, conn, VLY_CLOSED));
	check_eq(track_of(&w, conn)->closed_status, -ECONNRESET);
	all_is_well(&w, conn);
}

Test(reset, after_its_own_half_close_is_told)
{
	struct world w;
	vly_conn conn;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	check_eq(shutdown(fd, SHUT_WR), 0);
	pump_until(&w, seen(&w, conn, VLY_EOF));
	stuff_peer(&w, conn);
	peer_reset(fd);
	pump_until(&w, seen(&w, conn, VLY_CLOSED));
	check_at_most(track_of(&w, conn)->closed_status, -1);
	all_is_well(&w, conn);
}

Test(reset, while_we_close_ends_in_one_closed)
{
	struct world w;
	vly_conn conn;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	check_eq(vly_close(w.core[SERVER], conn), 0);
	world_quiet(&w);
	check_eq(seen(&w, conn, VLY_CLOSED), 0);
	peer_reset(fd);
	all_is_well(&w, conn);
}

Test(reset, while_we_close_with_data_queued_ends_in_one_closed)
{
	struct world w;
	vly_conn conn;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	stuff_peer(&w, conn);
	check_eq(vly_close(w.core[SERVER], conn), 0);
	world_quiet(&w);
	peer_reset(fd);
	pump_until(&w, seen(&w, conn, VLY_CLOSED));
	check_at_most(track_of(&w, conn)->closed_status, -1);
	all_is_well(&w, conn);
}

Test(reset, of_a_paused_connection_is_told_at_resume_at_the_latest)
{
	struct world w;
	vly_conn conn;
	int fd;

	need_kernel_sockets();
	peer_world(&w);
	fd = peer_link(&w, &conn);
	check_eq(vly_pause(w.core[SERVER], conn), 0);
	peer_send(fd, zeros, 1000);
	world_quiet(&w);
	peer_reset(fd);
	world_quiet(&w);
	if (!seen(&w, conn, VLY_CLOSED))
		check_eq(vly_resume(w.core[SERVER], conn), 0);
	all_is_well(&w, conn);
}

Test(reset, in_the_middle_of_sends_never_kills_the_process)
{
	struct world w;
	vly_conn conn = 0;

	need_kernel_sockets();
	peer_world(&w);
	/* SIGPIPE would. */
	for (int i = 0; i < 100; i++) {
		int fd = peer_link(&w, &conn);

		check_eq(vly_send(w.core[SERVER], conn, zeros, 4000), 0);
		if (i % 2)
			world_round(&w);
		peer_reset(fd);
		(void)vly_send(w.core[SERVER], conn, zeros, 4000);
		check_eq(vly_flush(w.core[SERVER]), 0);
		(void)vly_send(w.core[SERVER], conn, zeros, 4000);
		pump_until(&w, seen(&w, conn, VLY_CLOSED));
	}
	all_is_well(&w, conn);
}

static void echo_all(struct world *w, unsigned core, struct vly_event *event)
{
	if (event->kind == VLY_DATA)
		(void)vly_send_event(w->core[core], event->conn, event);
	else if (event->kind == VLY_EOF)
		check_eq(vly_close(w->core[core], event->conn), 0);
}

/* In a process of its own: `count` connections, each with a request, none of which reads. */
static pid_t crowd(const struct world *w, int count)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	for (int i = 0; i < count; i++)
		if (write(peer_dial(&w->addr), "request", 7) != 7)
			_exit(1);
	for (;;)
		pause();
}

Test(reset, of_a_thousand_connections_of_a_killed_process_is_survived)
{
	struct world w;
	struct vly_config config;
	struct vly_stats before, after;
	pid_t pid;

	need_kernel_sockets();
	world_config(&config, 1);
	config.conns_max = 1100;
	world_open_config(&w, &config);
	world_listen(&w, 0, NULL, NULL);
	before = world_stats(&w, 0);
	w.on_event = echo_all;
	pid = crowd(&w, 1000);
	check_at_least(pid, 1);
	pump_until(&w, w.tracks.count[VLY_OPEN] == 1000 && w.tracks.count[VLY_DATA] >= 1000);
	check_eq(kill(pid, SIGKILL), 0);
	check_eq(waitpid(pid, NULL, 0), pid);
	pump_until(&w, w.tracks.count[VLY_CLOSED] == 1000);
	world_quiet(&w);
	after = world_stats(&w, 0);
	check_eq(after.conns, 1);
	check_eq(after.tx_bufs_free, before.tx_bufs_free);
	check_eq(after.rx_bufs_free, before.rx_bufs_free);
	world_close(&w);
}

Test(reset, of_many_at_random_moments_leaves_nothing_behind)
{
	struct world w;
	struct vly_stats before, after;
	int fds[40];

	need_kernel_sockets();
	peer_world(&w);
	before = world_stats(&w, SERVER);
	w.on_event = echo_all;
	w.tracks.keep_records = false;
	srand(7);
	for (int i = 0; i < 40; i++)
		fds[i] = -1;
	for (int i = 0; i < 20000; i++) {
		int *fd = &fds[rand() % 40];
		char data[512];

		if (*fd < 0) {
			*fd = peer_connect(&w);
		} else if (rand() % 8 == 0) {
			if (rand() % 2)
				peer_reset(*fd);
			else
				close(*fd);
			*fd = -1;
		} else if (rand() % 2) {
			(void)!send(*fd, zeros, (size_t)rand() % 2000, MSG_DONTWAIT | MSG_NOSIGNAL);
		} else {
			(void)peer_take(*fd, data, sizeof(data));
		}
		if (rand() % 4 == 0)
			world_poll(&w, SERVER, 0);
	}
	for (int i = 0; i < 40; i++)
		if (fds[i] >= 0)
			peer_reset(fds[i]);
	world_quiet(&w);
	after = world_stats(&w, SERVER);
	check_eq(w.tracks.count[VLY_OPEN], w.tracks.count[VLY_CLOSED]);
	check_eq(after.conns, 1);
	check_eq(after.tx_bufs_free, before.tx_bufs_free);
	check_eq(after.tx_refs_free, before.tx_refs_free);
	check_eq(after.rx_bufs_free, before.rx_bufs_free);
	world_close(&w);
}
