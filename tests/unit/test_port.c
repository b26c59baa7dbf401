/* test_port.c - a foreign thread's end of its port, from inside */
#include "volley/port.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#include "tests/support/rig.h"

TestSuite(port, .fini = vly_leak_gate, .timeout = 60);

static struct vly_port *open_port(struct rig *rig)
{
	struct vly_port *port;

	cr_assert_eq(vly_port_open(rig->engine, 0, &port), 0);
	return port;
}

static void setup(struct rig *rig, uint32_t ports_max)
{
	struct vly_config config;

	rig_config(&config);
	config.ports_max = ports_max;
	config.mail_slots = 4;
	rig_open(rig, &config);
}

Test(port, place_of_a_closed_one_is_free_when_the_core_has_let_go)
{
	struct vly_port *ports[3], *more;
	struct rig rig;

	setup(&rig, 3);
	for (unsigned i = 0; i < 3; i++) {
		ports[i] = open_port(&rig);
		cr_assert_eq(vly_port_index(ports[i]), i);
	}
	cr_assert_eq(vly_port_open(rig.engine, 0, &more), -ENOBUFS);
	cr_assert_eq(vly_port_open(rig.engine, 1, &more), -ENOENT);
	vly_port_close(ports[1]);
	cr_assert_eq(vly_port_open(rig.engine, 0, &more), -ENOBUFS);
	rig_spin(&rig, 1);
	cr_assert_eq(vly_port_index(open_port(&rig)), 1);
	rig_close(&rig);
}

Test(port, reused_place_knows_nothing_of_the_last_one)
{
	struct rig rig;
	const void *data;

	setup(&rig, 1);
	struct vly_port *port = open_port(&rig);

	while (vly_port_post(port, "x", 1) == 0)
		;
	while (vly_port_send(rig.core[0], 0, "y", 1) == 0)
		;
	vly_port_close(port);
	cr_assert_eq(vly_port_send(rig.core[0], 0, "y", 1), -ENOENT);
	rig_spin(&rig, 3);
	port = open_port(&rig);
	cr_assert_eq(vly_port_take(port, &data), -EAGAIN);
	cr_assert_eq(vly_port_wait(port, 0), 0);
	cr_assert_eq(vly_port_send(rig.core[0], 0, "z", 1), 0);
	cr_assert_eq(vly_flush(rig.core[0]), 0);
	cr_assert_eq(vly_port_wait(port, 0), 1);
	cr_assert_eq(vly_port_take(port, &data), 1);
	cr_assert_eq(*(const char *)data, 'z');
	rig_close(&rig);
}

Test(port, closed_while_the_batch_shows_its_mail_waits_for_the_batch)
{
	struct vly_event *events;
	struct rig rig;

	setup(&rig, 1);
	struct vly_port *port = open_port(&rig);

	cr_assert_eq(vly_port_post(port, "x", 1), 0);
	cr_assert_eq(vly_poll(rig.core[0], &events, 0), 1);
	cr_assert_eq(events[0].kind, VLY_MAIL);
	vly_port_close(port);
	cr_assert_eq(*events[0].data, 'x');
	cr_assert_eq(atomic_load(&port->state), VLY_PORT_CLOSING);
	rig_spin(&rig, 2);
	cr_assert_eq(atomic_load(&port->state), VLY_PORT_FREE);
	rig_close(&rig);
}

Test(port, full_in_both_directions_is_told_to_both_sides)
{
	struct vly_event event;
	const void *data;
	struct rig rig;

	setup(&rig, 1);
	struct vly_port *port = open_port(&rig);

	for (int i = 0; i < 4; i++) {
		cr_assert_eq(vly_port_post(port, "x", 1), 0);
		cr_assert_eq(vly_port_send(rig.core[0], 0, "y", 1), 0);
	}
	cr_assert_eq(vly_port_post(port, "x", 1), -EAGAIN);
	cr_assert_eq(vly_port_send(rig.core[0], 0, "y", 1), -EAGAIN);
	cr_assert_eq(vly_port_wait(port, 0), 1, "four messages");
	for (int i = 0; i < 4; i++)
		cr_assert_eq(vly_port_take(port, &data), 1);
	cr_assert_eq(vly_port_take(port, &data), -EAGAIN);
	cr_assert_eq(vly_port_wait(port, 0), 0);
	event = rig_await(&rig, 0, VLY_DRAINED);
	cr_assert_eq(event.flags, VLY_FROM_PORT);
	cr_assert_eq(event.aux, 0);
	rig_spin(&rig, 2);
	cr_assert_eq(vly_port_wait(port, 0), 1, "there is room");
	cr_assert_eq(vly_port_wait(port, 0), 0, "told once");
	cr_assert_eq(vly_port_post(port, "x", 1), 0);
	rig_close(&rig);
}

Test(port, descriptor_is_readable_after_a_wait_that_found_nothing)
{
	struct rig rig;

	setup(&rig, 1);
	struct vly_port *port = open_port(&rig);
	struct pollfd pollfd = {.fd = vly_port_fd(port), .events = POLLIN};

	cr_assert_eq(vly_port_wait(port, 0), 0);
	cr_assert_eq(poll(&pollfd, 1, 0), 0);
	cr_assert_eq(vly_port_send(rig.core[0], 0, "x", 1), 0);
	cr_assert_eq(vly_flush(rig.core[0]), 0);
	cr_assert_eq(poll(&pollfd, 1, 0), 1);
	cr_assert_eq(vly_port_wait(port, 0), 1);
	rig_close(&rig);
}

Test(port, of_a_closed_core_is_enotconn)
{
	struct rig rig;

	setup(&rig, 1);
	struct vly_port *port = open_port(&rig);

	vly_core_close(rig.core[0]);
	rig.cores = 0;
	cr_assert_eq(vly_port_post(port, "x", 1), -ENOTCONN);
	cr_assert_eq(vly_port_wait(port, 1000000), -ENOTCONN);
	vly_port_close(port);
	rig_close(&rig);
}

/* Its core was closed in between, and opens again: the place must not be lost. */
Test(port, closed_beside_its_core_frees_its_place_for_the_next_opening)
{
	struct vly_port *port;
	struct rig rig;

	setup(&rig, 1);
	port = open_port(&rig);
	vly_core_close(rig.core[0]);
	vly_port_close(port);
	cr_assert_eq(vly_core_open(rig.engine, 0, &rig.core[0]), 0);
	rig_spin(&rig, 2);
	cr_assert_eq(vly_port_open(rig.engine, 0, &port), 0);
	rig_close(&rig);
}

Test(port, calls_in_a_child_are_echild_or_harmless)
{
	const void *data;
	struct rig rig;
	int status;

	setup(&rig, 1);
	struct vly_port *port = open_port(&rig);
	pid_t child = fork();

	if (!child) {
		bool fine = vly_port_post(port, "x", 1) == -ECHILD &&
			    vly_port_take(port, &data) == -ECHILD &&
			    vly_port_wait(port, 0) == -ECHILD && vly_port_fd(port) == -ECHILD;

		(void)vly_port_index(port);
		vly_port_close(port);
		_exit(fine ? 0 : 1);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
	rig_close(&rig);
}
