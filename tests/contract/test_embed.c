/* test_embed.c - vly_core_fd: a core inside another event loop */
#include "tests/contract/harness.h"

#include <poll.h>
#include <unistd.h>

TestSuite(embed, .fini = vly_leak_gate, .timeout = 120);

/* Polls until nothing is left: from then on the descriptor is armed. */
static void settle(struct world *w, unsigned core)
{
	while (world_poll(w, core, 0))
		;
}

/* Waits by poll(2) alone. */
static int ready(struct world *w, unsigned core, int timeout_ms)
{
	struct pollfd pollfd = {.fd = vly_core_fd(w->core[core]), .events = POLLIN};

	cr_assert(pollfd.fd >= 0);
	return poll(&pollfd, 1, timeout_ms);
}

/* Runs SERVER from its descriptor, never polling it unasked, until `cond`. */
#define embedded_until(w, cond)                                                                    \
	do {                                                                                       \
		uint64_t embedded_end = vly_now_ns() + PATIENCE_NS;                                \
		settle(w, SERVER);                                                                 \
		while (!(cond)) {                                                                  \
			if (!shakes_hands_unpolled())                                              \
				world_poll(w, CLIENT, 0);                                          \
			check_eq(ready(w, SERVER, 20000), 1);                                      \
			settle(w, SERVER);                                                         \
			cr_assert(vly_now_ns() < embedded_end, "waited in vain for: %s", #cond);   \
		}                                                                                  \
	} while (0)

Test(embed, descriptor_is_the_same_each_time_and_quiet_when_idle)
{
	struct world w;
	int fd;

	world_open(&w);
	fd = vly_core_fd(w.core[SERVER]);
	check_at_least(fd, 0);
	check_eq(vly_core_fd(w.core[SERVER]), fd);
	cr_assert(fd != vly_core_fd(w.core[CLIENT]));
	settle(&w, SERVER);
	check_eq(ready(&w, SERVER, 0), 0);
	check_eq(ready(&w, SERVER, 10), 0);
	world_close(&w);
}

Test(embed, tells_of_an_accept_data_eof_and_close)
{
	struct world w;
	vly_conn client;

	world_open(&w);
	vly_core_fd(w.core[SERVER]);
	world_listen(&w, SERVER, NULL, NULL);
	settle(&w, SERVER);
	check_eq(vly_connect(w.core[CLIENT], &w.addr, NULL, NULL, &client), 0);
	while (!seen(&w, client, VLY_OPEN)) {
		world_poll(&w, CLIENT, MSEC);
		if (!shakes_hands_unpolled())
			settle(&w, SERVER);
	}
	embedded_until(&w, w.accepted);
	for (unsigned i = 1; i <= 50; i++) {
		check_eq(vly_send(w.core[CLIENT], client, "data", 4), 0);
		check_eq(vly_flush(w.core[CLIENT]), 0);
		embedded_until(&w, got_bytes(&w, w.accepted) == 4 * i);
		check_eq(ready(&w, SERVER, 0), 0);
	}
	check_eq(vly_shutdown(w.core[CLIENT], client), 0);
	check_eq(vly_flush(w.core[CLIENT]), 0);
	embedded_until(&w, seen(&w, w.accepted, VLY_EOF));
	check_eq(vly_close(w.core[SERVER], w.accepted), 0);
	embedded_until(&w, seen(&w, w.accepted, VLY_CLOSED));
	world_close(&w);
}

Test(embed, tells_of_timers)
{
	struct world w;
	vly_timer timer;

	world_open(&w);
	vly_core_fd(w.core[SERVER]);
	for (unsigned i = 1; i <= 10; i++) {
		check_eq(vly_timer_start(w.core[SERVER], i % 2 ? 3 * MSEC : 0, NULL, &timer), 0);
		embedded_until(&w, w.tracks.count[VLY_TIMER] == i);
		check_eq(ready(&w, SERVER, 0), 0);
	}
	world_close(&w);
}

Test(embed, rearms_for_a_timer_that_is_earlier_than_the_last)
{
	struct world w;
	vly_timer late, soon;

	world_open(&w);
	vly_core_fd(w.core[SERVER]);
	check_eq(vly_timer_start(w.core[SERVER], 3600 * SEC, NULL, &late), 0);
	settle(&w, SERVER);
	check_eq(vly_timer_start(w.core[SERVER], 2 * MSEC, NULL, &soon), 0);
	embedded_until(&w, w.tracks.count[VLY_TIMER] == 1);
	check_eq(vly_timer_cancel(w.core[SERVER], late), 0);
	settle(&w, SERVER);
	check_eq(ready(&w, SERVER, 5), 0);
	world_close(&w);
}

Test(embed, tells_of_mail_wake_and_port)
{
	struct world w;
	struct vly_port *port;

	world_open(&w);
	vly_core_fd(w.core[SERVER]);
	check_eq(vly_port_open(w.engine, SERVER, &port), 0);
	for (unsigned i = 1; i <= 20; i++) {
		settle(&w, SERVER);
		check_eq(ready(&w, SERVER, 0), 0);
		check_eq(vly_mail(w.core[CLIENT], SERVER, "mail", 4), 0);
		check_eq(vly_flush(w.core[CLIENT]), 0);
		embedded_until(&w, w.tracks.count[VLY_MAIL] == 2 * i - 1);
		check_eq(vly_port_post(port, "post", 4), 0);
		embedded_until(&w, w.tracks.count[VLY_MAIL] == 2 * i);
		settle(&w, SERVER);
		vly_wake(w.engine, SERVER);
		check_eq(ready(&w, SERVER, 20000), 1);
	}
	vly_port_close(port);
	world_close(&w);
}

Test(embed, tells_of_drained_and_of_a_watched_descriptor)
{
	struct world w;
	vly_conn conn;
	int fds[2];

	world_open(&w);
	vly_core_fd(w.core[SERVER]);
	while (!vly_mail(w.core[SERVER], CLIENT, "fill", 4))
		;
	settle(&w, SERVER);
	/* Everything taken: the sender is told. */
	while (w.tracks.count[VLY_MAIL] < 64)
		world_poll(&w, CLIENT, MSEC);
	world_poll(&w, CLIENT, 0);
	embedded_until(&w, w.tracks.count[VLY_DRAINED] == 1);
	check_eq(pipe(fds), 0);
	check_eq(vly_watch_fd(w.core[SERVER], fds[0], POLLIN, NULL, &conn), 0);
	settle(&w, SERVER);
	check_eq(ready(&w, SERVER, 5), 0);
	check_eq(write(fds[1], "x", 1), 1);
	check_eq(ready(&w, SERVER, 20000), 1);
	check_eq(world_poll(&w, SERVER, 0), 1);
	check_eq(seen(&w, conn, VLY_READY), 1);
	world_close(&w);
	close(fds[0]);
	close(fds[1]);
}

Test(embed, polls_until_0_return_all_that_is_due)
{
	struct world w;
	struct vly_config config;
	vly_timer timer;

	world_config(&config, 2);
	config.events_max = 16;
	config.timers_max = 100;
	world_open_config(&w, &config);
	vly_core_fd(w.core[SERVER]);
	for (int i = 0; i < 40; i++)
		check_eq(vly_timer_start(w.core[SERVER], MSEC, NULL, &timer), 0);
	/* Sixteen at most of forty that are due come in one batch. */
	embedded_until(&w, w.tracks.count[VLY_TIMER] == 40);
	check_eq(ready(&w, SERVER, 5), 0);
	world_close(&w);
}
