/* wire_hub.c - a wire between the cores of one engine, every core a host of its own */
#include "nic/inet/wire_hub.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/compiler.h"
#include "base/log.h"
#include "base/ring.h"
#include "nic/inet/eth.h"
#include "nic/inet/wire_options.h"

/* Frames that one host may have on their way to hosts whose rings are full. */
#define WAITING_MAX 256u
/* Rings of all pairs together take some 32 MiB, but each has room for a burst. */
#define RINGS_BYTES ((size_t)32 << 20)
#define RING_SLOTS_MAX 1024u
#define RING_SLOTS_MIN 64u

/* A frame in a ring or waiting for one. */
struct slot {
	uint32_t len; /* waiting: 0 once it is gone */
	uint16_t flags;
	uint16_t spare;
	uint8_t data[];
};

enum seat_state {
	SEAT_FREE = 0, /* not opened yet: what is sent to it waits in its rings */
	SEAT_OPEN = 1,
	SEAT_CLOSED = 2, /* what is sent to it is lost */
};

/* What the others know of a host. */
struct seat {
	/* written by the host; `sleeping` is taken back by whoever wakes it */
	alignas(VLY_WRITER_GAP) _Atomic uint32_t sleeping;
	_Atomic uint32_t state;
	/*
	 * Made when the host first opens, closed with the hub: whoever took `sleeping` back may
	 * write to it a little later.
	 */
	int fd;
};

/* Found by the engine's config; the rings of all ordered pairs follow it in one mapping. */
struct hub {
	struct hub *next;
	const void *key;
	unsigned refs, hosts;
	uint32_t ring_slots, slot_bytes;
	size_t ring_bytes, map_bytes;
	uint8_t *rings;
	struct seat seats[];
};

/* One host's wire. */
struct wire {
	struct vly_wire wire;
	struct hub *hub;
	uint32_t *lent;   /* frames lent to the nic, per sender */
	uint8_t *blocked; /* per receiver: nothing overtakes in this pass */
	uint8_t *waiting; /* WAITING_MAX slots, a ring: [head, tail) */
	uint32_t slot_bytes;
	uint32_t head, tail;
	uint32_t taken; /* lent to the nic, behind tail */
	uint32_t turn;  /* the sender whose ring is looked at first */
};

static pthread_mutex_t hubs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct hub *hubs;

static struct wire *wire_of(struct vly_wire *wire)
{
	return vly_container_of(wire, struct wire, wire);
}

static struct vly_ring *ring_of(const struct hub *hub, unsigned from, unsigned to)
{
	return (struct vly_ring *)(void *)(hub->rings +
					   ((size_t)from * hub->hosts + to) * hub->ring_bytes);
}

/* An odd number of lines: equal offsets of consecutive slots fall into different sets. */
static uint32_t slot_bytes_for(uint32_t mtu)
{
	uint32_t bytes = (uint32_t)sizeof(struct slot) + VLY_ETH_BYTES + mtu;

	return VLY_ALIGN_UP(bytes, 2u * VLY_CACHE_LINE) + VLY_CACHE_LINE;
}

static struct hub *hub_make(const void *key, unsigned hosts, uint32_t mtu)
{
	size_t seats_bytes = sizeof(struct hub) + hosts * sizeof(struct seat);
	struct hub *hub = aligned_alloc(VLY_WRITER_GAP, VLY_ALIGN_UP(seats_bytes, VLY_WRITER_GAP));

	if (!hub)
		return NULL;
	memset(hub, 0, seats_bytes);
	hub->key = key;
	hub->hosts = hosts;
	hub->slot_bytes = slot_bytes_for(mtu);
	hub->ring_slots = RING_SLOTS_MAX;
	while (hub->ring_slots > RING_SLOTS_MIN &&
	       (size_t)hub->ring_slots * hub->slot_bytes * hosts * hosts > RINGS_BYTES)
		hub->ring_slots /= 2;
	hub->ring_bytes = vly_ring_bytes(hub->ring_slots, hub->slot_bytes);
	hub->map_bytes = hub->ring_bytes * hosts * hosts;
	hub->rings = mmap(NULL, hub->map_bytes, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (hub->rings == MAP_FAILED) {
		free(hub);
		return NULL;
	}
	(void)madvise(hub->rings, hub->map_bytes, MADV_DONTFORK);
	for (unsigned i = 0; i < hosts; i++)
		hub->seats[i].fd = -1;
	for (unsigned i = 0; i < hosts * hosts; i++)
		vly_ring_init(hub->rings + i * hub->ring_bytes, hub->ring_slots, hub->slot_bytes);
	return hub;
}

/* The hub of an engine, made by its first core. */
static struct hub *hub_get(const void *key, unsigned hosts, uint32_t mtu)
{
	pthread_mutex_lock(&hubs_lock);
	struct hub *hub = hubs;

	while (hub && hub->key != key)
		hub = hub->next;
	if (!hub) {
		hub = hub_make(key, hosts, mtu);
		if (hub) {
			hub->next = hubs;
			hubs = hub;
		}
	}
	if (hub)
		hub->refs++;
	pthread_mutex_unlock(&hubs_lock);
	return hub;
}

static void hub_put(struct hub *hub)
{
	pthread_mutex_lock(&hubs_lock);
	if (--hub->refs == 0) {
		struct hub **link = &hubs;

		while (*link != hub)
			link = &(*link)->next;
		*link = hub->next;
		for (unsigned i = 0; i < hub->hosts; i++) {
			if (hub->seats[i].fd >= 0)
				close(hub->seats[i].fd);
		}
		munmap(hub->rings, hub->map_bytes);
		free(hub);
	}
	pthread_mutex_unlock(&hubs_lock);
}

/* Pairs with hub_arm(): either we see `sleeping`, or the host sees what was put in its ring. */
static void wake(struct hub *hub, unsigned host)
{
	struct seat *seat = &hub->seats[host];

	if (vly_likely(!atomic_load_explicit(&seat->sleeping, memory_order_seq_cst)))
		return;
	if (!atomic_exchange_explicit(&seat->sleeping, 0, memory_order_seq_cst))
		return;
	uint64_t one = 1;
	ssize_t done = write(seat->fd, &one, sizeof(one));

	(void)done; /* a full counter is readable, too */
}

static struct slot *waiting_slot(const struct wire *w, uint32_t index)
{
	return (struct slot *)(void *)(w->waiting + (size_t)(index % WAITING_MAX) * w->slot_bytes);
}

/* Puts a frame into the ring of a host; false: it is full. What is for a host that left is lost. */
static bool put(struct wire *w, unsigned to, const struct slot *frame)
{
	struct hub *hub = w->hub;
	struct vly_ring *ring = ring_of(hub, w->wire.queue, to);
	uint32_t state = atomic_load_explicit(&hub->seats[to].state, memory_order_acquire);

	if (state == SEAT_CLOSED) {
		w->wire.tx_dropped++;
		return true;
	}
	if (!vly_ring_reserve(ring, 1)) {
		if (state == SEAT_OPEN)
			return false;
		w->wire.tx_dropped++; /* nobody there yet, and as much as may wait for him does */
		return true;
	}
	memcpy(vly_ring_slot_in(ring, 0), frame, sizeof(*frame) + frame->len);
	vly_ring_publish_ordered(ring, 1);
	wake(hub, to);
	return true;
}

/* The host with this address; `hosts` if there is none. */
static unsigned host_of(const struct hub *hub, const uint8_t mac[VLY_MAC_BYTES])
{
	static const uint8_t front[5] = {2, 0, 0, 0, 0};

	return memcmp(mac, front, sizeof(front)) == 0 && mac[5] < hub->hosts ? mac[5] : hub->hosts;
}

/* To all others; one whose ring is full misses it, as on any network. */
static void put_to_all(struct wire *w, const struct slot *frame)
{
	for (unsigned to = 0; to < w->hub->hosts; to++) {
		if (to != w->wire.queue && !put(w, to, frame))
			w->wire.tx_dropped++;
	}
}

/* Sends what waits, oldest first; a host whose ring is full holds up only what is for itself. */
static void push_waiting(struct wire *w)
{
	if (w->head == w->tail)
		return;
	memset(w->blocked, 0, w->hub->hosts);
	for (uint32_t i = w->head; i != w->tail; i++) {
		struct slot *frame = waiting_slot(w, i);

		if (!frame->len)
			continue;
		unsigned to = host_of(w->hub, frame->data);

		if (to == w->hub->hosts) {
			if (vly_mac_is_group(frame->data))
				put_to_all(w, frame);
			else
				w->wire.tx_dropped++;
		} else if (w->blocked[to] || !put(w, to, frame)) {
			w->blocked[to] = 1;
			continue;
		}
		frame->len = 0;
	}
	while (w->head != w->tail && !waiting_slot(w, w->head)->len)
		w->head++;
}

static uint32_t hub_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			    uint32_t max)
{
	struct wire *w = wire_of(wire);

	(void)now_ns;
	push_waiting(w);
	uint32_t count = VLY_MIN(max, WAITING_MAX - (w->tail - w->head));

	for (uint32_t i = 0; i < count; i++) {
		frames[i] = (struct vly_frame){.data = waiting_slot(w, w->tail + i)->data,
					       .len = wire->mtu + VLY_ETH_BYTES};
	}
	w->taken = count;
	return count;
}

static void hub_tx_send(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
			uint32_t count)
{
	struct wire *w = wire_of(wire);

	(void)now_ns;
	assert(count <= w->taken);
	for (uint32_t i = 0; i < count; i++) {
		struct slot *slot = waiting_slot(w, w->tail + i);

		assert(frames[i].data == slot->data);
		slot->len = frames[i].len;
		slot->flags = frames[i].flags;
	}
	w->tail += count;
	w->taken = 0;
	push_waiting(w);
}

static uint32_t hub_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			     uint32_t max)
{
	struct wire *w = wire_of(wire);
	unsigned hosts = w->hub->hosts;
	uint32_t count = 0;

	(void)now_ns;
	for (unsigned i = 0; i < hosts && count < max; i++) {
		unsigned from = (w->turn + i) % hosts;
		struct vly_ring *ring = ring_of(w->hub, from, wire->queue);
		uint32_t filled = vly_ring_peek(ring, w->lent[from] + max - count);

		for (; w->lent[from] < filled; w->lent[from]++) {
			struct slot *slot = vly_ring_slot_out(ring, w->lent[from]);

			frames[count++] = (struct vly_frame){
				.data = slot->data,
				.len = slot->len,
				.flags = slot->flags & VLY_FRAME_COMPLETE ? VLY_FRAME_CHECKED : 0,
			};
		}
	}
	w->turn = (w->turn + 1) % hosts;
	return count;
}

static void hub_rx_done(struct vly_wire *wire, uint64_t now_ns)
{
	struct wire *w = wire_of(wire);

	(void)now_ns;
	for (unsigned from = 0; from < w->hub->hosts; from++) {
		if (!w->lent[from])
			continue;
		if (vly_ring_release_unblocks(ring_of(w->hub, from, wire->queue), w->lent[from]))
			wake(w->hub, from);
		w->lent[from] = 0;
	}
	push_waiting(w);
}

/* A frame waits, and there is room for it. */
static bool may_push(struct wire *w)
{
	for (uint32_t i = w->head; i != w->tail; i++) {
		struct slot *frame = waiting_slot(w, i);
		unsigned to = frame->len ? host_of(w->hub, frame->data) : w->hub->hosts;

		if (to < w->hub->hosts && vly_ring_reserve(ring_of(w->hub, w->wire.queue, to), 1))
			return true;
	}
	return false;
}

static bool hub_has_work(struct vly_wire *wire, uint64_t now_ns)
{
	struct wire *w = wire_of(wire);

	(void)now_ns;
	for (unsigned from = 0; from < w->hub->hosts; from++) {
		uint32_t lent = w->lent[from];

		if (vly_ring_peek(ring_of(w->hub, from, wire->queue), lent + 1) > lent)
			return true;
	}
	return may_push(w);
}

static int hub_fd(struct vly_wire *wire)
{
	return wire_of(wire)->hub->seats[wire->queue].fd;
}

static void hub_disarm(struct vly_wire *wire)
{
	struct seat *seat = &wire_of(wire)->hub->seats[wire->queue];
	uint64_t count;

	/* Taken back by whoever rang: only then is there something to read. */
	if (atomic_exchange_explicit(&seat->sleeping, 0, memory_order_seq_cst) == 0) {
		ssize_t done = read(seat->fd, &count, sizeof(count));

		(void)done;
	}
}

/* Every frame that waits gets its ring's promise of a wake-up; false: one of them has room. */
static bool block_rings(struct wire *w)
{
	for (uint32_t i = w->head; i != w->tail; i++) {
		struct slot *frame = waiting_slot(w, i);
		unsigned to = frame->len ? host_of(w->hub, frame->data) : w->hub->hosts;

		if (to < w->hub->hosts && !vly_ring_block(ring_of(w->hub, w->wire.queue, to)))
			return false;
	}
	return true;
}

static bool hub_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted)
{
	struct wire *w = wire_of(wire);
	struct seat *seat = &w->hub->seats[wire->queue];
	bool nothing = !hub_has_work(wire, now_ns);

	/* Room is lacking only while frames wait: their rings promise the wake-up. */
	if (tx_wanted && w->tail - w->head < WAITING_MAX)
		return false;
	/* Flag, then rings; senders do ring, then flag. One of the two sees the other's. */
	atomic_store_explicit(&seat->sleeping, 1, memory_order_seq_cst);
	for (unsigned from = 0; from < w->hub->hosts && nothing; from++) {
		struct vly_ring *ring = ring_of(w->hub, from, wire->queue);

		if (w->lent[from] == 0)
			nothing = !vly_ring_pending(ring);
		else
			nothing = vly_ring_count(ring) == w->lent[from];
	}
	if (nothing && block_rings(w))
		return true;
	hub_disarm(wire);
	return false;
}

static const char *const keys[] = {"mtu", "csum", NULL};

static int hub_check(const struct vly_nic_spec *spec, const struct vly_wire_ops *const *stack,
		     char *why, size_t why_bytes)
{
	struct vly_wire_options options;

	(void)stack;
	return vly_wire_options_parse(&options, spec, why, why_bytes);
}

static size_t hub_region_bytes(const struct vly_config *config, const struct vly_nic_spec *spec,
			       const struct vly_wire_ops *const *stack)
{
	struct vly_wire_options options;

	(void)stack;
	(void)vly_wire_options_parse(&options, spec, NULL, 0);
	return vly_wire_take_bytes(sizeof(struct wire)) +
	       vly_wire_take_bytes(config->cores * sizeof(uint32_t)) +
	       vly_wire_take_bytes(config->cores) +
	       vly_wire_take_bytes((size_t)WAITING_MAX * slot_bytes_for(options.mtu));
}

static void hub_close(struct vly_wire *wire)
{
	struct wire *w = wire_of(wire);
	struct hub *hub = w->hub;
	struct seat *seat = &hub->seats[wire->queue];

	atomic_store_explicit(&seat->state, SEAT_CLOSED, memory_order_release);
	for (unsigned from = 0; from < hub->hosts; from++) {
		struct vly_ring *ring = ring_of(hub, from, wire->queue);
		uint32_t filled = vly_ring_peek(ring, hub->ring_slots);

		if (vly_ring_release_unblocks(ring, filled))
			wake(hub, from);
	}
	hub_put(hub);
}

static int hub_open(const struct vly_wire_setup *setup, struct vly_wire **wire)
{
	struct vly_wire_options options;
	char why[128];
	int error = vly_wire_options_parse(&options, setup->spec, why, sizeof(why));

	if (error) {
		vly_log(VLY_LOG_ERROR, "wire hub: %s", why);
		return error;
	}
	uint32_t slot_bytes = slot_bytes_for(options.mtu);
	struct wire *w = vly_wire_take(setup->region, sizeof(*w));
	uint32_t *lent = vly_wire_take(setup->region, setup->queues * sizeof(*lent));
	uint8_t *blocked = vly_wire_take(setup->region, setup->queues);
	uint8_t *waiting = vly_wire_take(setup->region, (size_t)WAITING_MAX * slot_bytes);

	if (!w || !lent || !blocked || !waiting)
		return -ENOMEM;
	struct hub *hub = hub_get(setup->config, setup->queues, options.mtu);

	if (!hub)
		return -ENOMEM;
	struct seat *seat = &hub->seats[setup->queue];

	if (seat->fd < 0)
		seat->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (seat->fd < 0) {
		error = -errno;
		vly_log(VLY_LOG_ERROR, "wire hub: eventfd: %s", strerror(errno));
		hub_put(hub);
		return error;
	}
	*w = (struct wire){
		.wire = {.ops = &vly_wire_hub,
			 .caps = VLY_WIRE_HOST_PER_CORE |
				 (options.offload ? VLY_WIRE_TX_CHECKSUM | VLY_WIRE_RX_CHECKSUM
						  : 0),
			 .mtu = options.mtu,
			 .queue = setup->queue,
			 .queues = setup->queues,
			 .mac = {2, 0, 0, 0, 0, (uint8_t)setup->queue},
			 .link_up = true},
		.hub = hub,
		.lent = lent,
		.blocked = blocked,
		.waiting = waiting,
		.slot_bytes = slot_bytes,
	};
	atomic_store_explicit(&seat->state, SEAT_OPEN, memory_order_release);
	*wire = &w->wire;
	return 0;
}

const struct vly_wire_ops vly_wire_hub = {
	.name = "hub",
	.keys = keys,
	.check = hub_check,
	.region_bytes = hub_region_bytes,
	.open = hub_open,
	.close = hub_close,
	.rx_burst = hub_rx_burst,
	.rx_done = hub_rx_done,
	.tx_take = hub_tx_take,
	.tx_send = hub_tx_send,
	.has_work = hub_has_work,
	.fd = hub_fd,
	.arm = hub_arm,
	.disarm = hub_disarm,
};
