/* port.c - a foreign thread's end of its port, and the core's sends to it */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "engine/core.h"
#include "engine/engine.h"

static void ring_reset(struct vly_engine *engine, struct vly_ring **ring, uint8_t *memory)
{
	*ring = vly_ring_init(memory, engine->config.mail_slots,
			      vly_letter_bytes(engine->config.mail_bytes));
}

int vly_port_open(struct vly_engine *engine, unsigned core, struct vly_port **out)
{
	if (vly_forked())
		return -ECHILD;
	if (core >= engine->config.cores)
		return -ENOENT;
	struct vly_seat *seat = &engine->seats[core];

	for (unsigned i = 0; i < engine->config.ports_max; i++) {
		struct vly_port *port = &seat->ports[i];
		uint32_t state = VLY_PORT_FREE;

		/* acquire: pairs with the core's release when it let go of the previous one */
		if (!atomic_compare_exchange_strong_explicit(&port->state, &state, VLY_PORT_OPENING,
							     memory_order_acquire,
							     memory_order_relaxed))
			continue;
		int wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		if (wake_fd < 0) {
			int error = -errno;

			atomic_store_explicit(&port->state, VLY_PORT_FREE, memory_order_release);
			return error;
		}
		port->engine = engine;
		port->core = core;
		port->index = i;
		port->wake_fd = wake_fd;
		port->taken = 0;
		port->blocked = false;
		atomic_store_explicit(&port->sleeping, false, memory_order_relaxed);
		ring_reset(engine, &port->to_core, seat->port_rings + 2 * i * engine->ring_bytes);
		ring_reset(engine, &port->from_core,
			   seat->port_rings + (2 * i + 1) * engine->ring_bytes);
		/* pairs with the acquire in vly_port_send() and port_serves() */
		atomic_store_explicit(&port->state, VLY_PORT_OPEN, memory_order_release);
		*out = port;
		return 0;
	}
	return -ENOBUFS;
}

void vly_port_close(struct vly_port *port)
{
	if (!port || vly_forked())
		return;
	/* pairs with the acquire in port_serves(): from here on only the core touches it */
	atomic_store_explicit(&port->state, VLY_PORT_CLOSING, memory_order_release);
	vly_engine_notify(port->engine, port->core, VLY_CORES_MAX + port->index);
}

unsigned vly_port_index(const struct vly_port *port)
{
	return vly_forked() ? 0 : port->index;
}

static bool core_closed(const struct vly_port *port)
{
	return atomic_load_explicit(&port->engine->seats[port->core].state, memory_order_acquire) ==
	       VLY_SEAT_CLOSED;
}

int vly_port_post(struct vly_port *port, const void *data, uint32_t len)
{
	if (vly_forked())
		return -ECHILD;
	if (len > port->engine->config.mail_bytes)
		return -EMSGSIZE;
	if (core_closed(port))
		return -ENOTCONN;
	if (!vly_ring_reserve(port->to_core, 1) && vly_ring_block(port->to_core)) {
		port->blocked = true;
		return -EAGAIN;
	}
	struct vly_letter *letter = vly_ring_slot_in(port->to_core, 0);

	letter->len = len;
	if (len)
		memcpy(letter->data, data, len);
	vly_ring_publish_ordered(port->to_core, 1);
	vly_engine_notify(port->engine, port->core, VLY_CORES_MAX + port->index);
	return 0;
}

int vly_port_take(struct vly_port *port, const void **data)
{
	if (vly_forked())
		return -ECHILD;
	if (port->taken) {
		port->taken = 0;
		if (vly_ring_release_unblocks(port->from_core, 1))
			vly_engine_rouse(port->engine, port->core);
	}
	if (!vly_ring_peek(port->from_core, 1))
		return -EAGAIN;
	struct vly_letter *letter = vly_ring_slot_out(port->from_core, 0);

	port->taken = 1;
	*data = letter->data;
	return (int)letter->len;
}

/* Whether there is a message that was not shown yet, or room after a failed post. */
static bool something(struct vly_port *port)
{
	uint32_t waiting = vly_ring_count(port->from_core);

	if (port->blocked && !vly_ring_block(port->to_core)) {
		port->blocked = false;
		return true;
	}
	return waiting > port->taken;
}

/* Raises the "asleep" flag, then looks once more; see struct vly_mailbox. */
static int look(struct vly_port *port)
{
	atomic_store_explicit(&port->sleeping, true, memory_order_seq_cst);
	if (something(port)) {
		atomic_store_explicit(&port->sleeping, false, memory_order_relaxed);
		return 1;
	}
	return core_closed(port) ? -ENOTCONN : 0;
}

int vly_port_wait(struct vly_port *port, int64_t timeout_ns)
{
	if (vly_forked())
		return -ECHILD;
	uint64_t until_ns = timeout_ns < 0 ? UINT64_MAX : vly_clock_ns() + (uint64_t)timeout_ns;

	for (;;) {
		struct pollfd bell = {.fd = port->wake_fd, .events = POLLIN};
		uint64_t rung;
		/* Empties the bell before the last look: whatever comes after rings it again. */
		ssize_t ignored = read(port->wake_fd, &rung, sizeof(rung));
		int found = look(port);
		uint64_t now_ns = found || !timeout_ns ? 0 : vly_clock_ns();

		(void)ignored;
		if (found || !timeout_ns)
			return found;
		if (now_ns >= until_ns)
			return 0;
		struct timespec left = {.tv_sec = (time_t)((until_ns - now_ns) / 1000000000),
					.tv_nsec = (long)((until_ns - now_ns) % 1000000000)};

		if (ppoll(&bell, 1, timeout_ns < 0 ? NULL : &left, NULL) < 0)
			return -errno;
	}
}

int vly_port_fd(struct vly_port *port)
{
	return vly_forked() ? -ECHILD : port->wake_fd;
}

int vly_port_send(struct vly_core *core, unsigned index, const void *data, uint32_t len)
{
	if (vly_forked())
		return -ECHILD;
	if (index >= core->config->ports_max)
		return -ENOENT;
	struct vly_port *port = vly_engine_port(core->engine, core->index, index);

	if (atomic_load_explicit(&port->state, memory_order_acquire) != VLY_PORT_OPEN)
		return -ENOENT;
	return vly_mail_put(core, VLY_CORES_MAX + index, port->from_core, data, len);
}
