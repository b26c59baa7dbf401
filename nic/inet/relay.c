/* relay.c - frames between the cores that share one port: a wire around each core's queue */
#include "nic/inet/relay.h"

#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "nic/inet/eth.h"
#include "nic/inet/relay_share.h"

#define BURST 32u
/* Bursts that may bring nothing but frames for other cores before a poll goes on. */
#define BURSTS_MAX 4u
static struct vly_relay *relay_of(struct vly_wire *wire)
{
	return vly_container_of(wire, struct vly_relay, wire);
}

struct vly_placement *vly_relay_placement(struct vly_relay *relay)
{
	return &relay->place;
}

static bool any(const uint64_t *words)
{
	uint64_t all = 0;

	for (unsigned i = 0; i < VLY_RELAY_WORDS; i++)
		all |= words[i];
	return all != 0;
}

void vly_relay_wake(struct vly_relay_seat *seat)
{
	uint64_t one = 1;

	if (vly_likely(!vly_relay_claim(seat)))
		return;
	ssize_t done = write(seat->wake_fd, &one, sizeof(one));

	(void)done; /* a full counter was rung already */
}

/* --- to other cores --- */

static void show(struct vly_relay *r, uint32_t to)
{
	struct vly_relay_seat *seat = &r->share->seats[to];

	vly_ring_publish(vly_relay_ring(r->share, r->core, to), r->unshown[to]);
	r->unshown[to] = 0;
	/* pairs with the exchange in collect() and the look in relay_arm() */
	atomic_fetch_or_explicit(&seat->inbox[r->core / 64], 1ull << r->core % 64,
				 memory_order_seq_cst);
	vly_relay_wake(seat);
}

static void show_all(struct vly_relay *r)
{
	for (unsigned word = 0; word < VLY_RELAY_WORDS; word++) {
		for (; r->unshown_bits[word]; r->unshown_bits[word] &= r->unshown_bits[word] - 1)
			show(r, word * 64 + (unsigned)__builtin_ctzll(r->unshown_bits[word]));
	}
}

static void put(struct vly_relay *r, uint32_t to, const struct vly_frame *frame, uint16_t flags)
{
	struct vly_ring *ring = vly_relay_ring(r->share, r->core, to);
	uint32_t state = atomic_load_explicit(&r->share->seats[to].state, memory_order_acquire);

	if (state == VLY_RELAY_CLOSED || frame->len > r->wire.mtu + VLY_ETH_BYTES ||
	    vly_ring_reserve(ring, r->unshown[to] + 1u) <= r->unshown[to]) {
		r->dropped++;
		vly_count(&r->stats->relay_dropped, 1);
		return;
	}
	struct vly_relay_slot *slot = vly_ring_slot_in(ring, r->unshown[to]);

	slot->len = frame->len;
	slot->flags = flags;
	memcpy(slot->data, frame->data, frame->len);
	r->unshown[to]++;
	r->unshown_bits[to / 64] |= 1ull << to % 64;
	vly_count(&r->stats->relay_tx, 1);
}

void vly_relay_put(struct vly_relay *relay, uint32_t to, const struct vly_frame *frame,
		   uint16_t flags)
{
	put(relay, to, frame, flags);
	show_all(relay);
}

void vly_relay_seen(struct vly_relay *r, bool home, uint64_t now_ns)
{
	vly_count(home ? &r->stats->place_home : &r->stats->place_elsewhere, 1);
	if (vly_likely(vly_place_seen(&r->place, home, now_ns)))
		return;
	r->place.mode = VLY_PLACE_BY_CORES;
	/* Once in an engine's life, so that this may be logged from a poll. */
	if (!atomic_exchange_explicit(&r->share->distrusted, true, memory_order_relaxed))
		vly_log(VLY_LOG_WARN,
			"wire %s: frames do not come in where its RSS key says: %u cores sort them in "
			"software from now on",
			r->port_name, r->cores);
}

/* --- receiving --- */

/* The core that a frame of this queue is for. */
static uint32_t home_of(struct vly_relay *r, const struct vly_frame *frame, uint64_t now_ns)
{
	struct vly_placement *place = &r->place;
	struct vly_place_key key;
	enum vly_place_kind kind = vly_place_parse(frame->data, frame->len, &key);
	bool checked = place->mode == VLY_PLACE_CHECKED;

	/* How a port spreads UDP it does not say: nothing is foretold, nothing checked. */
	if (kind != VLY_PLACE_TCP && (kind != VLY_PLACE_UDP || checked))
		return r->core;
	uint32_t home = vly_place_home(place, &key);

	if (checked)
		vly_relay_seen(r, home == r->core, now_ns);
	return home;
}

/* Keeps what is for this core, hands the rest to others. */
static uint32_t sort(struct vly_relay *r, struct vly_frame *frames, uint32_t count, uint64_t now_ns)
{
	uint32_t kept = 0;

	if (atomic_load_explicit(&r->share->distrusted, memory_order_relaxed))
		r->place.mode = VLY_PLACE_BY_CORES;
	if (vly_likely(r->place.mode == VLY_PLACE_BY_PORT))
		return count;
	for (uint32_t i = 0; i < count; i++) {
		bool ours = memcmp(frames[i].data, r->wire.mac, VLY_MAC_BYTES) == 0;
		uint32_t home = ours ? home_of(r, &frames[i], now_ns) : r->core;

		if (home == r->core)
			frames[kept++] = frames[i];
		else
			put(r, home, &frames[i], frames[i].flags);
	}
	show_all(r);
	return kept;
}

static uint32_t take_own(struct vly_relay *r, uint64_t now_ns, struct vly_frame *frames,
			 uint32_t max)
{
	uint32_t kept = 0;

	if (!r->below)
		return 0;
	for (unsigned i = 0; i < BURSTS_MAX && !kept; i++) {
		uint32_t got = r->below->ops->rx_burst(r->below, now_ns, frames, max);

		if (!got)
			break;
		kept = sort(r, frames, got, now_ns);
	}
	return kept;
}

/* Who has put something in. */
static void collect(struct vly_relay *r)
{
	for (unsigned word = 0; word * 64 < r->cores; word++) {
		if (atomic_load_explicit(&r->seat->inbox[word], memory_order_relaxed))
			r->waiting[word] |= atomic_exchange_explicit(&r->seat->inbox[word], 0,
								     memory_order_seq_cst);
	}
}

static uint32_t take_rings(struct vly_relay *r, struct vly_frame *frames, uint32_t max)
{
	uint32_t count = 0;

	collect(r);
	if (vly_likely(!any(r->waiting)))
		return 0;
	for (uint32_t i = 0; i < r->cores && count < max; i++) {
		uint32_t from = (r->turn + i) % r->cores;
		uint64_t bit = 1ull << from % 64;
		struct vly_ring *ring = vly_relay_ring(r->share, from, r->core);

		if (!(r->waiting[from / 64] & bit))
			continue;
		uint32_t filled = vly_ring_peek(ring, r->lent[from] + max - count);

		if (filled < r->lent[from] + max - count)
			r->waiting[from / 64] &= ~bit;
		for (; r->lent[from] < filled; r->lent[from]++, r->lent_count++) {
			struct vly_relay_slot *slot = vly_ring_slot_out(ring, r->lent[from]);

			frames[count++] = (struct vly_frame){
				.data = slot->data, .len = slot->len, .flags = slot->flags};
		}
	}
	r->turn = (r->turn + 1) % r->cores;
	vly_count(&r->stats->relay_rx, count);
	return count;
}

static uint32_t relay_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			       uint32_t max)
{
	struct vly_relay *r = relay_of(wire);
	uint32_t count;

	r->own_first = !r->own_first;
	if (r->own_first) {
		count = take_own(r, now_ns, frames, max);
		return count + take_rings(r, frames + count, max - count);
	}
	count = take_rings(r, frames, max);
	return count < max ? count + take_own(r, now_ns, frames + count, max - count) : count;
}

/* --- sending for cores without a queue --- */

static void look(struct vly_relay *r)
{
	const struct vly_relay_seat *host = &r->share->seats[r->host];

	if (r->below) {
		r->wire.rx_dropped = r->below->rx_dropped + r->dropped;
		r->wire.tx_dropped = r->below->tx_dropped;
		if (r->wire.link_up == r->below->link_up)
			return;
		r->wire.link_up = r->below->link_up;
		atomic_store_explicit(&r->seat->link_up, r->wire.link_up, memory_order_release);
		return;
	}
	uint32_t state = atomic_load_explicit(&host->state, memory_order_acquire);

	r->wire.rx_dropped = r->dropped;
	r->wire.link_up = state == VLY_RELAY_FREE ||
			  (state == VLY_RELAY_OPEN &&
			   atomic_load_explicit(&host->link_up, memory_order_acquire));
	r->dead = state == VLY_RELAY_CLOSED;
}

static void forward_one(struct vly_relay *r, uint64_t now_ns, uint32_t from)
{
	struct vly_ring *ring = vly_relay_out(r->share, from);
	struct vly_wire *below = r->below;
	struct vly_frame frames[BURST + 1];
	uint32_t count = vly_ring_peek(ring, BURST);
	uint32_t lent = count ? below->ops->tx_take(below, now_ns, frames, count) : 0;

	for (uint32_t i = 0; i < lent; i++) {
		const struct vly_relay_slot *slot = vly_ring_slot_out(ring, i);

		memcpy(frames[i].data, slot->data, slot->len);
		frames[i].len = slot->len;
		frames[i].flags = slot->flags;
		frames[i].mss = 0;
		vly_wire_built(below, &frames[i]);
	}
	r->out_full = r->out_full || lent < count;
	if (!lent)
		return;
	below->ops->tx_send(below, now_ns, frames, lent);
	if (vly_ring_release_unblocks(ring, lent))
		vly_relay_wake(&r->share->seats[from]);
}

/* What the cores without a queue have for ours, unless the nic is building in the wire's frames. */
static void forward(struct vly_relay *r, uint64_t now_ns)
{
	if (r->queues == r->cores || !r->below || r->taken)
		return;
	r->out_full = false;
	for (uint32_t from = r->core + r->queues; from < r->cores; from += r->queues)
		forward_one(r, now_ns, from);
}

static bool out_pending(struct vly_relay *r)
{
	if (r->queues == r->cores || !r->below || r->out_full)
		return false;
	for (uint32_t from = r->core + r->queues; from < r->cores; from += r->queues) {
		if (vly_ring_pending(vly_relay_out(r->share, from)))
			return true;
	}
	return false;
}

static void relay_rx_done(struct vly_wire *wire, uint64_t now_ns)
{
	struct vly_relay *r = relay_of(wire);

	for (uint32_t from = 0; r->lent_count; from++) {
		if (!r->lent[from])
			continue;
		vly_ring_release(vly_relay_ring(r->share, from, r->core), r->lent[from]);
		r->lent_count -= r->lent[from];
		r->lent[from] = 0;
	}
	if (r->below)
		r->below->ops->rx_done(r->below, now_ns);
	forward(r, now_ns);
	look(r);
	__atomic_store_n(&r->stats->place, r->place.mode, __ATOMIC_RELAXED);
}

/* --- sending --- */

/* Slots of the ring to the core that sends for us. */
static uint32_t take_out(struct vly_relay *r, struct vly_frame *frames, uint32_t max)
{
	struct vly_ring *ring = vly_relay_out(r->share, r->core);
	uint32_t len = r->wire.mtu + VLY_ETH_BYTES;

	look(r);
	if (r->dead) {
		for (uint32_t i = 0; i < max; i++)
			frames[i] = (struct vly_frame){.data = r->spare, .len = len};
		return max;
	}
	uint32_t count = vly_ring_reserve(ring, max);

	for (uint32_t i = 0; i < count; i++) {
		struct vly_relay_slot *slot = vly_ring_slot_in(ring, i);

		frames[i] = (struct vly_frame){.data = slot->data, .len = len};
	}
	return count;
}

static uint32_t relay_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			      uint32_t max)
{
	struct vly_relay *r = relay_of(wire);
	uint32_t count = r->below ? r->below->ops->tx_take(r->below, now_ns, frames, max)
				  : take_out(r, frames, max);

	r->taken = count > 0;
	if (r->below) {
		wire->pack_end = r->below->pack_end;
		wire->pack_bytes = r->below->pack_bytes;
	}
	return count;
}

static void send_out(struct vly_relay *r, const struct vly_frame *frames, uint32_t count)
{
	struct vly_ring *ring = vly_relay_out(r->share, r->core);

	if (r->dead) {
		r->wire.tx_dropped += count;
		return;
	}
	for (uint32_t i = 0; i < count; i++) {
		struct vly_relay_slot *slot = vly_ring_slot_in(ring, i);

		slot->len = frames[i].len;
		slot->flags = frames[i].flags;
	}
	if (!count)
		return;
	/* pairs with the look in relay_arm() */
	vly_ring_publish_ordered(ring, count);
	vly_relay_wake(&r->share->seats[r->host]);
}

static void relay_tx_send(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
			  uint32_t count)
{
	struct vly_relay *r = relay_of(wire);

	r->taken = false;
	if (!r->below) {
		send_out(r, frames, count);
		return;
	}
	r->below->ops->tx_send(r->below, now_ns, frames, count);
}

/* --- sleeping --- */

static bool inbox_any(const struct vly_relay *r)
{
	for (unsigned word = 0; word * 64 < r->cores; word++) {
		if (atomic_load_explicit(&r->seat->inbox[word], memory_order_seq_cst))
			return true;
	}
	return any(r->waiting);
}

static bool relay_has_work(struct vly_wire *wire, uint64_t now_ns)
{
	struct vly_relay *r = relay_of(wire);

	return inbox_any(r) || out_pending(r) ||
	       (r->below && r->below->ops->has_work(r->below, now_ns));
}

static uint64_t relay_next_ns(struct vly_wire *wire)
{
	struct vly_wire *below = relay_of(wire)->below;

	return below && below->ops->next_ns ? below->ops->next_ns(below) : UINT64_MAX;
}

static int relay_fd(struct vly_wire *wire)
{
	struct vly_relay *r = relay_of(wire);

	return r->below ? r->below->ops->fd(r->below) : r->idle_fd;
}

static void relay_disarm(struct vly_wire *wire)
{
	struct vly_relay *r = relay_of(wire);

	/* relaxed: who still sees it set rings a bell too many */
	atomic_store_explicit(&r->seat->sleeping, 0, memory_order_relaxed);
	if (r->below)
		r->below->ops->disarm(r->below);
	look(r);
}

static bool relay_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted)
{
	struct vly_relay *r = relay_of(wire);

	if (r->below && !r->below->ops->arm(r->below, now_ns, tx_wanted || r->out_full))
		return false;
	atomic_store_explicit(&r->seat->sleeping, 1, memory_order_seq_cst);
	bool room = !r->below && tx_wanted &&
		    (r->dead || !vly_ring_block(vly_relay_out(r->share, r->core)));

	if (!room && !inbox_any(r) && !out_pending(r))
		return true;
	relay_disarm(wire);
	return false;
}

const struct vly_wire_ops vly_relay_ops = {
	.name = "relay",
	.close = vly_relay_close,
	.rx_burst = relay_rx_burst,
	.rx_done = relay_rx_done,
	.tx_take = relay_tx_take,
	.tx_send = relay_tx_send,
	.has_work = relay_has_work,
	.next_ns = relay_next_ns,
	.fd = relay_fd,
	.arm = relay_arm,
	.disarm = relay_disarm,
};
