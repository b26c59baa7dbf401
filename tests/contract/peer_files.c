/* peer_files.c - descriptors run out: accepting stops, clients wait, all are served */
#include "tests/contract/peer.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(files, .fini = vly_leak_gate, .timeout = 120);

#define CLIENTS 40

static void echo_all(struct world *w, unsigned core, struct vly_event *event)
{
	if (event->kind == VLY_DATA)
		check_eq(vly_send_event(w->core[core], event->conn, event), 0);
	else if (event->kind == VLY_EOF)
		check_eq(vly_close(w->core[core], event->conn), 0);
}

/*
 * Leaves `spare` descriptors to this process (the test's own: Criterion forks). Returns the limit.
 */
static struct rlimit spare_files(unsigned spare)
{
	struct rlimit old, tight;
	int highest = 0, fd;

	check_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	tight = old;
	for (fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			highest = fd;
	/* The limit is a number, not a count: no gap may be left below it. */
	while ((fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)) < highest)
		check_at_least(fd, 0);
	close(fd);
	tight.rlim_cur = (rlim_t)highest + 1 + spare;
	check_eq(setrlimit(RLIMIT_NOFILE, &tight), 0);
	return old;
}

static int recv_whole(int fd, char *data, size_t len)
{
	while (len) {
		ssize_t got = read(fd, data, len);

		if (got <= 0)
			return -1;
		data += got;
		len -= (size_t)got;
	}
	return 0;
}

/*
 * In a process of its own: all connect at once, then each asks, is answered and leaves, oldest
 * first.
 */
static pid_t start_clients(const struct world *w)
{
	pid_t pid = fork();
	int fds[CLIENTS];
	char back[5];

	if (pid)
		return pid;
	for (int i = 0; i < CLIENTS; i++) {
		fds[i] = peer_dial(&w->addr);
		if (write(fds[i], "hello", 5) != 5)
			_exit(1);
	}
	for (int i = 0; i < CLIENTS; i++) {
		if (recv_whole(fds[i], back, 5) || memcmp(back, "hello", 5))
			_exit(2);
		close(fds[i]);
	}
	_exit(0);
}

/* The claims about accepting are void where an accepted socket takes no descriptor. */
static bool accepts_take_descriptors(void)
{
	char name[16];
	unsigned count;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(harness_nic(), ":"), harness_nic());
	const struct vly_nic_feature *features = vly_nic_features(name, &count);

	for (unsigned i = 0; i < count; i++)
		if (!strcmp(features[i].name, "direct") && features[i].used)
			return false;
	return true;
}

#define need_descriptors()                                                                         \
	do {                                                                                       \
		if (!accepts_take_descriptors())                                                   \
			cr_skip_test("%s accepts without descriptors", harness_nic());             \
	} while (0)

Test(files, that_run_out_stop_accepting_until_some_come_home)
{
	struct world w;
	struct rlimit old;
	pid_t pid;
	int status;

	need_kernel_sockets();
	need_descriptors();
	peer_world(&w);
	w.on_event = echo_all;
	pid = start_clients(&w);
	check_at_least(pid, 1);
	old = spare_files(5);
	pump_until(&w, w.tracks.count[VLY_CLOSED] == CLIENTS);
	check_eq(waitpid(pid, &status, 0), pid);
	check_eq(status, 0);
	check_eq(world_stats(&w, SERVER).accepted, CLIENTS);
	check_at_least(world_stats(&w, SERVER).accept_nofile, 1);
	check_eq(world_stats(&w, SERVER).closed_error, 0);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	world_close(&w);
}

Test(files, freed_by_others_let_waiting_clients_in_without_a_close_of_ours)
{
	struct world w;
	struct rlimit old;
	int client, stolen[2];

	need_kernel_sockets();
	need_descriptors();
	peer_world(&w);
	client = peer_connect(&w);
	old = spare_files(2);
	check_eq(pipe(stolen), 0);
	world_quiet(&w);
	check_eq(w.accepted, 0);
	check_at_least(world_stats(&w, SERVER).accept_nofile, 1);
	close(stolen[0]);
	close(stolen[1]);
	/* Nothing of the engine's own ends: it has to look again by itself. */
	pump_until(&w, w.accepted);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	close(client);
	world_close(&w);
}

Test(files, that_ran_out_do_not_make_a_core_spin)
{
	struct world w;
	struct rlimit old;
	struct vly_stats before, after;
	int client;

	need_kernel_sockets();
	peer_world(&w);
	client = peer_connect(&w);
	old = spare_files(0);
	world_quiet(&w);
	before = world_stats(&w, SERVER);
	for (int i = 0; i < 5; i++)
		check_eq(world_poll(&w, SERVER, 5 * MSEC), 0);
	after = world_stats(&w, SERVER);
	check_at_least(after.sleeps, before.sleeps + 5);
	/* Tried again now and then, not without a pause. */
	check_at_most(after.accept_nofile - before.accept_nofile, 50);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	pump_until(&w, w.accepted);
	close(client);
	world_close(&w);
}

Test(files, that_ran_out_are_emfile_for_connect_listen_and_udp)
{
	struct world w;
	struct rlimit old;
	struct vly_addr any = addr_parsed("127.0.0.1:0");
	vly_conn conn;

	need_kernel_sockets();
	peer_world(&w);
	old = spare_files(0);
	check_eq(vly_connect(w.core[SERVER], &w.addr, NULL, NULL, &conn), -EMFILE);
	check_eq(vly_listen(w.core[SERVER], &any, NULL, NULL, &conn), -EMFILE);
	check_eq(vly_udp_open(w.core[SERVER], &any, NULL, &conn), -EMFILE);
	check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	check_eq(world_stats(&w, SERVER).conns, 1);
	check_eq(vly_connect(w.core[SERVER], &w.addr, NULL, NULL, &conn), 0);
	pump_until(&w, seen(&w, conn, VLY_OPEN) && w.accepted);
	world_close(&w);
}

Test(files, that_ran_out_at_opening_are_emfile_and_nothing_is_left)
{
	struct vly_config config;
	struct rlimit old;
	unsigned opened = 0;

	harness_hush();
	world_config(&config, 2);
	/* One more each time, until it is enough: every place where opening may fail is passed. */
	for (unsigned spare = 0; spare < 60 && !opened; spare++) {
		struct vly_engine *engine = NULL;
		struct vly_core *core[2] = {NULL, NULL};
		int status;

		old = spare_files(spare);
		status = vly_engine_open(&config, &engine);
		for (unsigned i = 0; i < 2 && !status; i++)
			status = vly_core_open(engine, i, &core[i]);
		cr_assert(status == 0 || status == -EMFILE, "it returned %d", status);
		opened = status == 0;
		vly_core_close(core[0]);
		vly_core_close(core[1]);
		vly_engine_close(engine);
		check_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	}
	cr_assert(opened);
}
