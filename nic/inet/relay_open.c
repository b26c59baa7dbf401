/* relay_open.c - opening and closing a core's relay; who has which port */
#include "nic/inet/relay.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "nic/inet/eth.h"
#include "nic/inet/relay_share.h"
#include "nic/inet/wire_options.h"

/* How long a core without a queue waits for one that has. */
#define WAIT_MS 10000u

/* --- who has which port --- */

void vly_relay_have(struct vly_relay *relay, enum vly_relay_what what, uint16_t lport, int more)
{
	_Atomic uint32_t *have = &relay->seat->have[what][lport];

	/* one writer */
	atomic_store_explicit(have,
			      atomic_load_explicit(have, memory_order_relaxed) + (uint32_t)more,
			      memory_order_release);
}

bool vly_relay_has(const struct vly_relay *relay, uint32_t of, enum vly_relay_what what,
		   uint16_t lport)
{
	return atomic_load_explicit(&relay->share->seats[of].have[what][lport],
				    memory_order_acquire) > 0;
}

bool vly_relay_elsewhere(const struct vly_relay *relay, enum vly_relay_what what, uint16_t lport)
{
	for (uint32_t of = 0; of < relay->cores; of++) {
		if (of != relay->core && vly_relay_has(relay, of, what, lport))
			return true;
	}
	return false;
}

/* --- opening and closing --- */

size_t vly_relay_bytes(const struct vly_config *config, const struct vly_nic_spec *spec,
		       const struct vly_wire_ops *const *stack)
{
	return vly_wire_take_bytes(sizeof(struct vly_relay)) +
	       2 * vly_wire_take_bytes(config->cores * sizeof(uint16_t)) +
	       vly_wire_take_bytes(VLY_WIRE_MTU_MAX + VLY_ETH_BYTES) +
	       stack[0]->region_bytes(config, spec, stack);
}

void vly_relay_close(struct vly_wire *wire)
{
	struct vly_relay *r = vly_container_of(wire, struct vly_relay, wire);

	if (r->seat)
		atomic_store_explicit(&r->seat->state, VLY_RELAY_CLOSED, memory_order_seq_cst);
	if (r->seat && r->below && r->queues < r->cores) {
		/* Who waits for room to send learns that there will be none. */
		for (uint32_t of = r->core + r->queues; of < r->cores; of += r->queues)
			vly_relay_wake(&r->share->seats[of]);
	}
	if (r->below)
		r->below->ops->close(r->below);
	if (r->idle_fd >= 0)
		close(r->idle_fd);
	if (r->share)
		vly_relay_share_put(r->share);
}

/* A core without a queue learns from those with one what kind of port it is. */
static struct vly_relay_share *wait_for_port(const struct vly_relay_opts *opts)
{
	const struct timespec pause = {.tv_nsec = 1000000};

	for (unsigned ms = 0; ms < WAIT_MS; ms++) {
		struct vly_relay_share *share = vly_relay_share_get(
			opts->setup->config, opts->cores, opts->setup->queues, NULL);

		if (share)
			return share;
		nanosleep(&pause, NULL);
	}
	vly_log(VLY_LOG_ERROR,
		"core %u has no queue of its own and sends by core %u: that one must be open first",
		opts->setup->queue, opts->setup->queue % opts->setup->queues);
	return NULL;
}

static int open_below(struct vly_relay *r, const struct vly_relay_opts *opts)
{
	const struct vly_wire_setup *setup = opts->setup;

	if (setup->queue >= setup->queues) {
		r->idle_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (r->idle_fd < 0)
			return -errno;
		r->share = wait_for_port(opts);
		return r->share ? 0 : -ETIMEDOUT;
	}
	int error = setup->stack[0]->open(setup, &r->below);

	if (error || r->below->caps & VLY_WIRE_HOST_PER_CORE)
		return error;
	struct vly_relay_port port = {.caps = r->below->caps, .mtu = r->below->mtu};

	memcpy(port.mac, r->below->mac, sizeof(port.mac));
	r->share = vly_relay_share_get(setup->config, opts->cores, setup->queues, &port);
	return r->share ? 0 : -ENOMEM;
}

/* What was on its way to a core while it was not open is lost, as at a port that is started. */
static void take_seat(struct vly_relay *r, int wake_fd)
{
	struct vly_relay_seat *seat = &r->share->seats[r->core];

	if (atomic_load_explicit(&seat->state, memory_order_relaxed) == VLY_RELAY_CLOSED) {
		for (uint32_t from = 0; from < r->cores; from++) {
			struct vly_ring *ring = vly_relay_ring(r->share, from, r->core);

			vly_ring_release(ring, vly_ring_peek(ring, r->share->ring_slots));
		}
	}
	seat->wake_fd = wake_fd;
	atomic_store_explicit(&seat->link_up, r->wire.link_up, memory_order_relaxed);
	atomic_store_explicit(&seat->sleeping, 0, memory_order_relaxed);
	atomic_store_explicit(&seat->state, VLY_RELAY_OPEN, memory_order_release);
	r->seat = seat;
}

static void say(const struct vly_relay *r)
{
	if (r->core)
		return;
	if (r->queues < r->cores)
		vly_log(VLY_LOG_WARN,
			"wire %s: %u cores on %u queue%s: flows are placed by the cores, in software",
			r->port_name, r->cores, r->queues, r->queues > 1 ? "s" : "");
	else if (r->place.mode == VLY_PLACE_BY_CORES)
		vly_log(VLY_LOG_WARN,
			"wire %s: %u queues, and no word how it spreads flows: the cores place them, in "
			"software",
			r->port_name, r->queues);
	else
		vly_log(VLY_LOG_INFO,
			"wire %s: flows are placed by its RSS over %u queues; checked in software until "
			"%u frames of each have come in right",
			r->port_name, r->queues, VLY_PLACE_RIGHT_ENOUGH);
}

int vly_relay_open(const struct vly_relay_opts *opts, struct vly_relay **relay,
		   struct vly_wire **wire)
{
	const struct vly_wire_setup *setup = opts->setup;
	struct vly_relay *r = vly_wire_take(setup->region, sizeof(*r));
	uint16_t *unshown = vly_wire_take(setup->region, opts->cores * sizeof(*unshown));
	uint16_t *lent = vly_wire_take(setup->region, opts->cores * sizeof(*lent));
	uint8_t *spare = vly_wire_take(setup->region, VLY_WIRE_MTU_MAX + VLY_ETH_BYTES);

	if (!r || !unshown || !lent || !spare)
		return -ENOMEM;
	*r = (struct vly_relay){
		.wire = {.ops = &vly_relay_ops, .queue = setup->queue, .queues = setup->queues},
		.stats = opts->stats,
		.core = setup->queue,
		.cores = opts->cores,
		.queues = setup->queues,
		.host = setup->queue % setup->queues,
		.unshown = unshown,
		.lent = lent,
		.idle_fd = -1,
		.spare = spare,
	};
	for (const struct vly_wire_ops *const *ops = setup->stack; *ops; ops++)
		r->port_name = (*ops)->name;
	int error = open_below(r, opts);

	if (error) {
		vly_relay_close(&r->wire);
		return error;
	}
	if (!r->share) {
		*relay = NULL;
		*wire = r->below;
		return 0;
	}
	vly_placement_init(&r->place, r->below, r->core, r->cores);
	r->wire.caps = r->share->port.caps & (r->below ? ~0u : ~(uint32_t)VLY_WIRE_TSO);
	r->wire.mtu = r->share->port.mtu;
	if (r->below) {
		r->wire.tso_bytes = r->below->tso_bytes;
		r->wire.tso_pieces = r->below->tso_pieces;
		r->wire.tso_mss = r->below->tso_mss;
	}
	r->wire.link_up = !r->below || r->below->link_up;
	memcpy(r->wire.mac, r->share->port.mac, sizeof(r->wire.mac));
	take_seat(r, opts->wake_fd);
	say(r);
	*relay = r;
	*wire = &r->wire;
	return 0;
}
