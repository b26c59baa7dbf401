/* test_fork.c - a forked child's calls are -ECHILD, and its parent does not notice */
#include "tests/contract/harness.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(fork, .fini = vly_leak_gate, .timeout = 120);

/* What the child needs to try everything; made by the parent. */
struct estate {
	struct world *w;
	struct link link;
	vly_conn listener;
	vly_timer timer;
	struct vly_port *port;
	int pipe[2];
};

/* The call that the child is in, should it crash. */
static const char *trying = "nothing";

static void crashed(int signal)
{
	(void)!write(STDERR_FILENO, "the child crashed in ", 21);
	(void)!write(STDERR_FILENO, trying, strlen(trying));
	(void)!write(STDERR_FILENO, "\n", 1);
	_exit(signal);
}

#define try(call)                                                                                  \
	do {                                                                                       \
		int try_status = (trying = #call, call);                                           \
		if (try_status != -ECHILD) {                                                       \
			fprintf(stderr, "in the child %s returned %d\n", #call, try_status);       \
			faults++;                                                                  \
		}                                                                                  \
	} while (0)

static int child_tries_streams(struct estate *estate)
{
	struct vly_core *core = estate->w->core[SERVER];
	vly_conn conn = estate->link.server, made;
	struct iovec iov = {(void *)(uintptr_t) "x", 1};
	struct vly_event event = {.kind = VLY_DATA, .conn = conn}, *events;
	struct vly_addr local;
	int faults = 0;

	try(vly_poll(core, &events, 0));
	try(vly_flush(core));
	try(vly_listen(core, &estate->w->addr, NULL, NULL, &made));
	try(vly_unlisten(core, estate->listener));
	try(vly_connect(core, &estate->w->addr, NULL, NULL, &made));
	try(vly_udp_open(core, &estate->w->addr, NULL, &made));
	try(vly_watch_fd(core, estate->pipe[0], POLLIN, NULL, &made));
	try(vly_set_user(core, conn, NULL));
	try(vly_name(core, conn, &local, NULL));
	try(vly_send(core, conn, "child", 5));
	try(vly_sendv(core, conn, &iov, 1));
	try(vly_send_owned(core, conn, "child", 5, NULL));
	try(vly_send_event(core, conn, &event));
	try(vly_sendto(core, conn, &estate->w->addr, "child", 5));
	try(vly_shutdown(core, conn));
	try(vly_close(core, conn));
	try(vly_abort(core, conn));
	try(vly_pause(core, conn));
	try(vly_resume(core, conn));
	try(vly_hold(core, &event));
	try(vly_release(core, 1));
	return faults;
}

static int child_tries_the_rest(struct estate *estate)
{
	struct vly_core *core = estate->w->core[SERVER];
	struct vly_engine *engine = estate->w->engine;
	vly_timer timer;
	struct vly_stats stats;
	const void *data;
	int faults = 0;

	try(vly_timer_start(core, 0, NULL, &timer));
	try(vly_timer_cancel(core, estate->timer));
	try(vly_mail(core, CLIENT, "child", 5));
	try(vly_mail(core, SERVER, "child", 5));
	try(vly_core_fd(core));
	try(vly_port_post(estate->port, "child", 5));
	try(vly_port_take(estate->port, &data));
	try(vly_port_wait(estate->port, 0));
	try(vly_port_send(core, vly_port_index(estate->port), "child", 5));
	(void)vly_stats(engine, SERVER, &stats);
	/* These return nothing: they must not crash, nor reach through shared descriptors. */
	trying = "vly_wake";
	vly_wake(engine, SERVER);
	trying = "vly_stop";
	vly_stop(engine);
	trying = "vly_port_close";
	vly_port_close(estate->port);
	trying = "vly_core_close";
	vly_core_close(estate->w->core[CLIENT]);
	vly_core_close(core);
	trying = "vly_engine_close";
	vly_engine_close(engine);
	return faults;
}

static int run_child(struct estate *estate, int (*body)(struct estate *estate))
{
	int status = 0;
	pid_t pid = fork();

	cr_assert(pid >= 0);
	if (!pid) {
		signal(SIGSEGV, crashed);
		signal(SIGABRT, crashed);
		_exit(body(estate) ? 1 : 0);
	}
	cr_assert(waitpid(pid, &status, 0) == pid);
	cr_assert(!WIFSIGNALED(status), "the child died of signal %d", WTERMSIG(status));
	return WEXITSTATUS(status);
}

static void open_estate(struct estate *estate, struct world *w)
{
	estate->w = w;
	world_open(w);
	estate->listener = world_listen(w, SERVER, NULL, NULL);
	estate->link = world_link(w);
	check_eq(vly_timer_start(w->core[SERVER], 3600 * SEC, NULL, &estate->timer), 0);
	check_eq(vly_port_open(w->engine, SERVER, &estate->port), 0);
	check_eq(pipe(estate->pipe), 0);
	/* Queued in the parent: the child must not send it a second time. */
	check_eq(vly_send(w->core[CLIENT], estate->link.client, "once", 4), 0);
	check_eq(vly_send(w->core[SERVER], estate->link.server, "once", 4), 0);
	check_eq(vly_mail(w->core[SERVER], CLIENT, "once", 4), 0);
}

/* Everything still works in the parent, and nothing of the child's doing shows. */
static void parent_is_unharmed(struct estate *estate)
{
	struct world *w = estate->w;
	struct link link;

	world_quiet(w);
	cr_assert(!vly_stopping(w->core[SERVER]));
	cr_assert(got_text(w, estate->link.server, "once"));
	cr_assert(got_text(w, estate->link.client, "once"));
	check_eq(w->tracks.count[VLY_MAIL], 1);
	check_eq(w->tracks.count[VLY_CLOSED], 0);
	check_eq(w->tracks.count[VLY_EOF], 0);
	link = world_link(w);
	world_send_pattern(w, CLIENT, link.client, 3, 100000);
	pump_until(w, got_bytes(w, link.server) == 100000);
	cr_assert(got_pattern(w, link.server, 3, 100000));
	check_eq(vly_port_post(estate->port, "still open", 10), 0);
	pump_until(w, w->tracks.count[VLY_MAIL] == 2);
	check_eq(vly_timer_cancel(w->core[SERVER], estate->timer), 0);
	vly_port_close(estate->port);
	close(estate->pipe[0]);
	close(estate->pipe[1]);
	world_close(w);
}

Test(fork, calls_on_streams_in_the_child_are_echild_and_the_parent_is_unharmed)
{
	struct world w;
	struct estate estate;

	open_estate(&estate, &w);
	check_eq(run_child(&estate, child_tries_streams), 0);
	parent_is_unharmed(&estate);
}

Test(fork, all_other_calls_in_the_child_are_echild_and_the_parent_is_unharmed)
{
	struct world w;
	struct estate estate;

	open_estate(&estate, &w);
	check_eq(run_child(&estate, child_tries_the_rest), 0);
	parent_is_unharmed(&estate);
}

static int child_does_nothing(struct estate *estate)
{
	(void)estate;
	return 0;
}

Test(fork, child_that_only_leaves_does_not_harm_the_parent)
{
	struct world w;
	struct estate estate;

	open_estate(&estate, &w);
	for (int i = 0; i < 5; i++)
		check_eq(run_child(&estate, child_does_nothing), 0);
	parent_is_unharmed(&estate);
}
