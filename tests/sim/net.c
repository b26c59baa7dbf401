/* net.c - the simulated network: a switch, a link to each host, and everything that goes wrong there */
#include "tests/sim/net.h"

#include <string.h>

#include "base/check.h"
#include "base/compiler.h"
#include "tests/sim/wirecheck.h"
#include "tests/support/cutter.h"

#define ETH_BYTES 14u
#define RUNT 60u /* Ethernet pads what is shorter */

static struct net *current;

static bool earlier(const struct net_frame *a, const struct net_frame *b)
{
	return a->at_ns < b->at_ns || (a->at_ns == b->at_ns && a->order < b->order);
}

static void heap_push(struct net_port *port, struct net_frame *frame)
{
	uint32_t at = port->heap_count++;

	while (at > 0 && earlier(frame, port->heap[(at - 1) / 2])) {
		port->heap[at] = port->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	port->heap[at] = frame;
}

static struct net_frame *heap_pop(struct net_port *port)
{
	struct net_frame *top = port->heap[0], *last = port->heap[--port->heap_count];
	uint32_t at = 0;

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child >= port->heap_count)
			break;
		if (child + 1 < port->heap_count &&
		    earlier(port->heap[child + 1], port->heap[child]))
			child++;
		if (!earlier(port->heap[child], last))
			break;
		port->heap[at] = port->heap[child];
		at = child;
	}
	port->heap[at] = last;
	return top;
}

static void put_back(struct net *net, struct net_frame *frame)
{
	net->spare[net->spare_count++] = frame;
}

/* A copy on its way to `to`. */
static struct net_frame *launch(struct net *net, struct net_port *to, uint64_t at_ns,
				const uint8_t *data, uint32_t len, bool padded)
{
	if (!net->spare_count) {
		net->counts.overflowed++;
		return NULL;
	}
	struct net_frame *frame = net->spare[--net->spare_count];

	frame->at_ns = at_ns;
	frame->order = net->order++;
	frame->len = len;
	frame->flags = 0;
	memcpy(frame->data, data, len);
	if (padded && len < RUNT) {
		memset(frame->data + len, 0x5c, RUNT - len);
		frame->len = RUNT;
	}
	heap_push(to, frame);
	return frame;
}

void net_inject(struct net *net, unsigned host, uint64_t at_ns, const uint8_t *data, uint32_t len)
{
	if (net->on_inject)
		net->on_inject(net->arg, at_ns, data, len);
	launch(net, &net->ports[host], at_ns, data, len, false);
}

/* When a frame sent now arrives, as far as the link's rate and the delay go; 0: its queue is full. */
static uint64_t arrival(struct net_port *from, uint64_t now_ns, uint32_t len)
{
	const struct net_faults *faults = &from->faults;
	uint64_t leaves_ns = now_ns;

	if (faults->rate_mbps) {
		uint64_t starts_ns = VLY_MAX(from->busy_ns, now_ns);

		if (starts_ns - now_ns > faults->queue_ns)
			return 0;
		leaves_ns = starts_ns + ((uint64_t)len + 24) * 8000 / faults->rate_mbps;
		from->busy_ns = leaves_ns;
	}
	uint64_t at_ns = leaves_ns + faults->latency_ns;

	if (faults->jitter_ns)
		at_ns += rng_below(&from->net->rng, faults->jitter_ns + 1);
	return at_ns;
}

static void deliver(struct net_port *from, struct net_port *to, uint64_t now_ns,
		    const uint8_t *data, uint32_t len)
{
	const struct net_faults *faults = &from->faults;
	struct net *net = from->net;
	uint64_t at_ns = arrival(from, now_ns, len);
	unsigned copies = 1;

	if (!at_ns || rng_chance(&net->rng, faults->loss) ||
	    (net->on_fate && net->on_fate(net->arg, from->host, data, len))) {
		net->counts.lost++;
		return;
	}
	if (rng_chance(&net->rng, faults->reorder)) {
		at_ns += rng_below(&net->rng, faults->reorder_ns + 1);
		net->counts.reordered++;
	} else {
		at_ns = VLY_MAX(at_ns, from->last_ns);
		from->last_ns = at_ns;
	}
	if (rng_chance(&net->rng, faults->duplicate)) {
		copies = 2;
		net->counts.duplicated++;
	}
	for (unsigned i = 0; i < copies; i++) {
		struct net_frame *frame = launch(net, to, at_ns, data, len, true);

		/* What is spoilt stays inside what checksums cover. */
		if (frame && data[12] == 8 && data[13] == 0 &&
		    rng_chance(&net->rng, faults->corrupt)) {
			uint64_t bit = rng_below(&net->rng, 8 * (uint64_t)(len - ETH_BYTES));

			frame->data[ETH_BYTES + bit / 8] ^= (uint8_t)(1u << bit % 8);
			net->counts.corrupted++;
		}
	}
}

/* The switch: to the host of the destination address, to all if it is a group. */
static void send_frame(struct net_port *from, uint64_t now_ns, uint8_t *data, uint32_t len)
{
	static const uint8_t first[5] = {2, 0, 0, 0, 0};
	struct net *net = from->net;

	net->counts.sent++;
	if (net->on_frame)
		net->on_frame(net->arg, from->host, now_ns, data, len);
	if (!from->wire.link_up) {
		net->counts.down++;
		return;
	}
	if (data[0] & 1) {
		for (unsigned i = 0; i < net->hosts; i++) {
			if (i != from->host)
				deliver(from, &net->ports[i], now_ns, data, len);
		}
	} else if (memcmp(data, first, sizeof(first)) == 0 && data[5] < net->hosts) {
		deliver(from, &net->ports[data[5]], now_ns, data, len);
	} else {
		net->counts.stray++;
	}
}

void net_link(struct net *net, unsigned host, bool up)
{
	struct net_port *port = &net->ports[host];

	port->wire.link_up = up;
	while (!up && port->heap_count) {
		put_back(net, heap_pop(port));
		net->counts.down++;
	}
}

uint64_t net_next_ns(const struct net *net, unsigned host)
{
	const struct net_port *port = &net->ports[host];
	uint64_t next_ns = port->heap_count ? port->heap[0]->at_ns : UINT64_MAX;

	return port->refuse_ns ? VLY_MIN(next_ns, port->refuse_ns) : next_ns;
}

void net_polled(struct net *net, unsigned host, uint64_t now_ns)
{
	struct net_port *port = &net->ports[host];

	if (port->refuse_ns <= now_ns)
		port->refuse_ns = 0;
}

uint32_t net_in_flight(const struct net *net)
{
	uint32_t count = NET_FRAMES - net->spare_count;

	/* a core that closes may reset what is still open: that frame is the network's */
	for (unsigned i = 0; i < net->hosts; i++)
		count -= net->ports[i].heap_count;
	return count;
}

void net_init(struct net *net, const struct net_opts *opts)
{
	memset(net, 0, offsetof(struct net, frames));
	net->hosts = opts->hosts;
	net->rng.state = opts->seed;
	for (uint32_t i = 0; i < NET_FRAMES; i++)
		put_back(net, &net->frames[i]);
	for (unsigned i = 0; i < opts->hosts; i++) {
		struct net_port *port = &net->ports[i];

		port->net = net;
		port->host = i;
		port->wire = (struct vly_wire){
			.ops = &net_wire_ops,
			.caps = opts->caps | VLY_WIRE_HOST_PER_CORE,
			.mtu = opts->mtu,
			.tso_bytes = CUTTER_BYTES,
			.tso_pieces = opts->tso_pieces,
			.queue = (uint16_t)i,
			.queues = (uint16_t)opts->hosts,
			.mac = {2, 0, 0, 0, 0, (uint8_t)i},
			.link_up = true,
		};
	}
	current = net;
}

/* --- the wire that hosts see ------------------------------------------------------------------ */

static struct net_port *port_of(struct vly_wire *wire)
{
	return vly_container_of(wire, struct net_port, wire);
}

static int wire_check(const struct vly_nic_spec *spec, const struct vly_wire_ops *const *stack,
		      char *why, size_t why_bytes)
{
	(void)spec, (void)stack, (void)why, (void)why_bytes;
	return 0;
}

static size_t wire_region_bytes(const struct vly_config *config, const struct vly_nic_spec *spec,
				const struct vly_wire_ops *const *stack)
{
	(void)config, (void)spec, (void)stack;
	return 0;
}

static int wire_open(const struct vly_wire_setup *setup, struct vly_wire **wire)
{
	struct net_port *port = &current->ports[setup->queue];

	VLY_CHECK(setup->queue < current->hosts && !port->opened);
	port->opened = true;
	*wire = &port->wire;
	return 0;
}

static void wire_rx_done(struct vly_wire *wire, uint64_t now_ns)
{
	struct net_port *port = port_of(wire);

	(void)now_ns;
	while (port->lent_count)
		put_back(port->net, port->lent[--port->lent_count]);
}

static void wire_close(struct vly_wire *wire)
{
	struct net_port *port = port_of(wire);

	wire_rx_done(wire, 0);
	port->opened = false;
}

static uint32_t wire_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			      uint32_t max)
{
	struct net_port *port = port_of(wire);
	uint32_t count = 0;

	while (count < max && port->heap_count && port->heap[0]->at_ns <= now_ns &&
	       port->lent_count < NET_RX_LENT) {
		struct net_frame *frame = heap_pop(port);

		if (wire->caps & VLY_WIRE_RX_CHECKSUM)
			frame->flags = wirecheck_sums(frame->data, frame->len);
		port->lent[port->lent_count++] = frame;
		frames[count++] = (struct vly_frame){
			.data = frame->data, .len = frame->len, .flags = frame->flags};
		port->net->counts.delivered++;
	}
	return count;
}

static uint32_t wire_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			     uint32_t max)
{
	struct net_port *port = port_of(wire);
	uint32_t count = VLY_MIN(max, (uint32_t)NET_TX_SLOTS);

	VLY_CHECK(port->tx_lent == 0);
	if (port->refuse_ns > now_ns)
		return 0;
	port->refuse_ns = 0;
	if (rng_chance(&port->net->rng, port->faults.refuse)) {
		port->net->counts.refused++;
		port->refuse_ns = now_ns + 1 + rng_below(&port->net->rng, 200000);
		count = (uint32_t)rng_below(&port->net->rng, 4);
	}
	for (uint32_t i = 0; i < count; i++) {
		/* Whoever relies on what was there before shall see it fail. */
		memset(port->tx[i], 0xa5, 128);
		frames[i] = (struct vly_frame){.data = port->tx[i], .len = wire->mtu + ETH_BYTES};
	}
	port->tx_lent = count;
	return count;
}

/* As a port with TSO does: how many frames made one segment. */
static uint32_t cut(struct net_port *port, uint64_t now_ns, const struct vly_frame *frames,
		    uint32_t count)
{
	static struct cutter cutter;
	uint32_t pieces = cutter_take(&cutter, &port->wire, frames, count);

	while (cutter_next(&cutter)) {
		wirecheck_complete(cutter.segment, cutter.segment_bytes);
		send_frame(port, now_ns, cutter.segment, cutter.segment_bytes);
	}
	port->net->counts.cut++;
	return pieces;
}

static void wire_tx_send(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
			 uint32_t count)
{
	struct net_port *port = port_of(wire);

	VLY_CHECK(count <= port->tx_lent);
	port->tx_lent = 0;
	for (uint32_t i = 0; i < count; i++) {
		VLY_CHECK(frames[i].data == port->tx[i]);
		if (frames[i].mss) {
			i += cut(port, now_ns, frames + i, count - i) - 1;
			continue;
		}
		VLY_CHECK(!(frames[i].flags & VLY_FRAME_MORE));
		VLY_CHECK(frames[i].len <= wire->mtu + ETH_BYTES);
		if (frames[i].flags & VLY_FRAME_COMPLETE) {
			VLY_CHECK(wire->caps & VLY_WIRE_TX_CHECKSUM);
			wirecheck_complete(port->tx[i], frames[i].len);
		}
		send_frame(port, now_ns, port->tx[i], frames[i].len);
	}
}

static bool wire_has_work(struct vly_wire *wire, uint64_t now_ns)
{
	struct net_port *port = port_of(wire);

	return port->heap_count && port->heap[0]->at_ns <= now_ns;
}

static uint64_t wire_next_ns(struct vly_wire *wire)
{
	struct net_port *port = port_of(wire);

	return net_next_ns(port->net, port->host);
}

static int wire_fd(struct vly_wire *wire)
{
	(void)wire;
	return -1;
}

static bool wire_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted)
{
	(void)tx_wanted;
	return !wire_has_work(wire, now_ns);
}

static void wire_disarm(struct vly_wire *wire)
{
	(void)wire;
}

/* The MTU is the network's; the nic plans its memory by the name. */
static const char *const wire_keys[] = {"mtu", NULL};

const struct vly_wire_ops net_wire_ops = {
	.name = "sim",
	.keys = wire_keys,
	.check = wire_check,
	.region_bytes = wire_region_bytes,
	.open = wire_open,
	.close = wire_close,
	.rx_burst = wire_rx_burst,
	.rx_done = wire_rx_done,
	.tx_take = wire_tx_take,
	.tx_send = wire_tx_send,
	.has_work = wire_has_work,
	.next_ns = wire_next_ns,
	.fd = wire_fd,
	.arm = wire_arm,
	.disarm = wire_disarm,
};
