/* test_stream.c - the same stream over every family: IPv4, IPv6, Unix paths, abstract names */
#include "tests/contract/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

TestSuite(stream, .fini = vly_leak_gate, .timeout = 120);

/* Listens on `addr`, talks over it both ways, half-closes and closes. */
static void whole_life(struct world *w, const struct vly_addr *addr)
{
	vly_conn listener;
	struct link link;

	check_eq(vly_listen(w->core[SERVER], addr, NULL, NULL, &listener), 0);
	check_eq(vly_name(w->core[SERVER], listener, &w->addr, NULL), 0);
	check_eq(w->addr.family, addr->family);
	link = world_link(w);
	world_send_pattern(w, CLIENT, link.client, 1, 300000);
	world_send_pattern(w, SERVER, link.server, 2, 300000);
	check_eq(vly_shutdown(w->core[CLIENT], link.client), 0);
	pump_until(w, seen(w, link.server, VLY_EOF) && got_bytes(w, link.client) == 300000);
	cr_assert(got_pattern(w, link.server, 1, 300000));
	cr_assert(got_pattern(w, link.client, 2, 300000));
	check_eq(vly_close(w->core[SERVER], link.server), 0);
	pump_until(w, seen(w, link.client, VLY_EOF));
	check_eq(vly_close(w->core[CLIENT], link.client), 0);
	pump_until(w, seen(w, link.client, VLY_CLOSED) && seen(w, link.server, VLY_CLOSED));
	check_eq(track_of(w, link.client)->closed_status, 0);
	check_eq(track_of(w, link.server)->closed_status, 0);
	check_eq(vly_unlisten(w->core[SERVER], listener), 0);
}

/* A path in a folder of its own; the folder goes with forget_path(). */
static struct vly_addr fresh_path(char *folder, size_t folder_bytes)
{
	char text[120];

	snprintf(folder, folder_bytes, "/tmp/volley-stream-XXXXXX");
	cr_assert_not_null(mkdtemp(folder));
	snprintf(text, sizeof(text), "unix:%s/socket", folder);
	return addr_parsed(text);
}

static bool exists(const struct vly_addr *addr)
{
	char path[sizeof(addr->path) + 1] = {0};

	memcpy(path, addr->path, addr->path_len);
	return !access(path, F_OK);
}

static void forget_path(const struct vly_addr *addr, const char *folder)
{
	char path[sizeof(addr->path) + 1] = {0};

	memcpy(path, addr->path, addr->path_len);
	unlink(path);
	rmdir(folder);
}

/* What a process that died leaves behind: a bound path that nobody listens on. */
static void leave_stale(const struct vly_addr *addr)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(name.sun_path, addr->path, addr->path_len);
	check_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	check_eq(listen(fd, 1), 0);
	close(fd);
}

Test(stream, over_ipv4_lives_a_whole_life)
{
	struct vly_addr addr;
	struct world w;

	world_open(&w);
	addr = world_addr(&w, SERVER);
	whole_life(&w, &addr);
	world_close(&w);
}

Test(stream, over_ipv6_lives_a_whole_life)
{
	struct vly_addr addr = addr_parsed("[::1]:0");
	struct world w;

	need_family(VLY_IP6);
	world_open(&w);
	whole_life(&w, &addr);
	world_close(&w);
}

Test(stream, over_a_unix_path_lives_a_whole_life_and_unlisten_removes_it)
{
	char folder[64];
	struct vly_addr addr;
	struct world w;

	need_family(VLY_UNIX);
	addr = fresh_path(folder, sizeof(folder));
	world_open(&w);
	whole_life(&w, &addr);
	cr_assert(!exists(&addr));
	world_close(&w);
	forget_path(&addr, folder);
}

Test(stream, over_an_abstract_name_lives_a_whole_life)
{
	char text[64];
	struct vly_addr addr;
	struct world w;

	need_family(VLY_UNIX);
	snprintf(text, sizeof(text), "unix:@volley-contract-%d", (int)getpid());
	addr = addr_parsed(text);
	world_open(&w);
	whole_life(&w, &addr);
	/* The name is free again. */
	whole_life(&w, &addr);
	world_close(&w);
}

Test(stream, path_in_use_is_eaddrinuse_and_a_stale_one_is_replaced)
{
	char folder[64];
	struct vly_addr addr;
	struct world w, other;
	struct vly_config config;
	vly_conn listener, second;

	need_family(VLY_UNIX);
	addr = fresh_path(folder, sizeof(folder));
	world_config(&config, 2);
	world_open_config(&w, &config);
	world_open_config(&other, &config);
	check_eq(vly_listen(w.core[0], &addr, NULL, NULL, &listener), 0);
	check_eq(vly_listen(other.core[0], &addr, NULL, NULL, &second), -EADDRINUSE);
	cr_assert(exists(&addr));
	check_eq(vly_unlisten(w.core[0], listener), 0);
	cr_assert(!exists(&addr));
	leave_stale(&addr);
	cr_assert(exists(&addr));
	whole_life(&other, &addr);
	world_close(&other);
	world_close(&w);
	forget_path(&addr, folder);
}

Test(stream, path_that_is_no_socket_is_left_alone)
{
	char folder[64], path[128];
	struct vly_addr addr;
	struct world w;
	vly_conn listener;
	FILE *file;

	need_family(VLY_UNIX);
	addr = fresh_path(folder, sizeof(folder));
	snprintf(path, sizeof(path), "%s/socket", folder);
	file = fopen(path, "w");
	cr_assert_not_null(file);
	fputs("precious", file);
	fclose(file);
	world_open(&w);
	check_at_most(vly_listen(w.core[0], &addr, NULL, NULL, &listener), -1);
	cr_assert(exists(&addr));
	check_eq(world_stats(&w, 0).conns, 0);
	world_close(&w);
	forget_path(&addr, folder);
}

Test(stream, mode_of_a_unix_path_is_as_asked)
{
	char folder[64], path[128];
	struct vly_addr addr;
	struct vly_listen_opts opts = {.unix_mode = 0640};
	struct world w;
	struct stat status;
	vly_conn listener;

	need_family(VLY_UNIX);
	addr = fresh_path(folder, sizeof(folder));
	snprintf(path, sizeof(path), "%s/socket", folder);
	world_open(&w);
	check_eq(vly_listen(w.core[0], &addr, &opts, NULL, &listener), 0);
	check_eq(stat(path, &status), 0);
	check_eq(status.st_mode & 0777, 0640);
	world_close(&w);
	/* Closing the core removes it as unlisten would. */
	cr_assert(!exists(&addr));
	forget_path(&addr, folder);
}

Test(stream, to_a_path_that_nobody_made_is_one_failed_open)
{
	char folder[64];
	struct vly_addr addr;
	struct world w;
	vly_conn conn = 0;
	int status;

	need_family(VLY_UNIX);
	addr = fresh_path(folder, sizeof(folder));
	world_open(&w);
	status = vly_connect(w.core[0], &addr, NULL, NULL, &conn);
	if (!status) {
		pump_until(&w, seen(&w, conn, VLY_OPEN));
		status = track_of(&w, conn)->open_status;
	}
	check_eq(status, -ENOENT);
	check_eq(world_stats(&w, 0).conns, 0);
	world_close(&w);
	forget_path(&addr, folder);
}

Test(stream, over_a_unix_path_has_names)
{
	char folder[64];
	struct vly_addr addr, local, peer;
	struct world w;
	struct link link;
	vly_conn listener;

	need_family(VLY_UNIX);
	addr = fresh_path(folder, sizeof(folder));
	world_open(&w);
	check_eq(vly_listen(w.core[SERVER], &addr, NULL, NULL, &listener), 0);
	w.addr = addr;
	link = world_link(&w);
	check_eq(vly_name(w.core[CLIENT], link.client, &local, &peer), 0);
	cr_assert(vly_addr_equal(&peer, &addr));
	check_eq(local.family, VLY_UNIX);
	check_eq(local.path_len, 0);
	check_eq(vly_name(w.core[SERVER], link.server, &local, &peer), 0);
	cr_assert(vly_addr_equal(&local, &addr));
	check_eq(peer.path_len, 0);
	world_close(&w);
	forget_path(&addr, folder);
}

Test(stream, connects_beyond_a_unix_backlog_end_in_one_open_each)
{
	char text[64];
	struct vly_addr addr;
	struct vly_listen_opts opts = {.backlog = 1};
	struct world w;
	vly_conn listener, conn[20];
	unsigned opened = 0;

	need_family(VLY_UNIX);
	snprintf(text, sizeof(text), "unix:@volley-backlog-%d", (int)getpid());
	addr = addr_parsed(text);
	world_open(&w);
	check_eq(vly_listen(w.core[SERVER], &addr, &opts, NULL, &listener), 0);
	for (int i = 0; i < 20; i++)
		if (vly_connect(w.core[CLIENT], &addr, NULL, NULL, &conn[i]))
			conn[i] = 0;
	for (int i = 0; i < 10; i++)
		world_poll(&w, CLIENT, MSEC);
	world_quiet(&w);
	for (int i = 0; i < 20; i++) {
		check_eq(conn[i] ? seen(&w, conn[i], VLY_OPEN) : 1, 1);
		opened += conn[i] && !track_of(&w, conn[i])->open_status;
	}
	check_at_least(opened, 1);
	check_eq(world_stats(&w, SERVER).accepted, opened);
	world_close(&w);
}
