/* wire_loop_many.c - a loop's queue that faces several, or has neighbours: parts, and RSS in software */
#include "nic/inet/loop_part.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/hash.h"
#include "nic/inet/placement.h"

/* Frames that wait for rings of the other side that are full. */
#define WAITING_MAX 256u
#define BURST 32u
#define TABLE_COUNT 128u

/* A frame built here, on its way to a ring. */
struct waiting {
	uint32_t len; /* 0: it is gone */
	uint16_t flags;
	uint16_t to;
	uint8_t spare[10]; /* the IP header is aligned to 16 */
	uint8_t data[];
};

struct wire {
	struct vly_wire wire;
	struct vly_loop_map map;
	struct vly_wire *parts[VLY_LOOP_QUEUES_MAX];
	unsigned count;
	unsigned turn; /* the part that is received from first */
	uint8_t rss;   /* enum vly_loop_rss of the other side, whose port we play */
	uint16_t spray;
	const struct vly_toeplitz_table *table; /* of its key */
	uint16_t own_table[TABLE_COUNT];        /* of our side: rss_table */
	uint8_t *waiting;                       /* WAITING_MAX slots, a ring: [head, tail) */
	uint32_t waiting_bytes;
	uint32_t head, tail, taken;
	uint32_t waits[VLY_LOOP_QUEUES_MAX]; /* of those, for each part */
	int fd, bell;
	uint32_t rings; /* of the bell, as in the parts */
};

static struct wire *wire_of(struct vly_wire *wire)
{
	return vly_container_of(wire, struct wire, wire);
}

static struct waiting *waiting_at(const struct wire *w, uint32_t index)
{
	return (struct waiting *)(void *)(w->waiting +
					  (size_t)(index % WAITING_MAX) * w->waiting_bytes);
}

/* --- which queue a frame comes in at --- */

static uint16_t queue_of(struct wire *w, const uint8_t *data, uint32_t len)
{
	struct vly_place_key key;
	uint32_t hash;

	if (w->count == 1)
		return 0;
	switch (w->rss) {
	case VLY_LOOP_RSS_FIRST:
		return 0;
	case VLY_LOOP_RSS_SPRAY:
		return (uint16_t)(w->spray++ % w->count);
	default:
		break;
	}
	switch (vly_place_parse(data, len, &key)) {
	case VLY_PLACE_TCP:
	case VLY_PLACE_UDP:
		hash = vly_toeplitz_flow(w->table, key.src, key.dst, key.src_port, key.dst_port);
		break;
	case VLY_PLACE_IP:
		hash = vly_toeplitz_flow(w->table, key.src, key.dst, 0, 0);
		break;
	default:
		return 0; /* as ports do: no IP, no hash */
	}
	return (uint16_t)(hash % TABLE_COUNT % w->count);
}

/* --- sending: built here, copied into the ring of the queue that its contents name --- */

/* Up to BURST frames for part `to`, oldest first. False: its ring is full. */
static bool push_burst(struct wire *w, uint64_t now_ns, uint16_t to)
{
	struct vly_wire *part = w->parts[to];
	struct vly_frame frames[BURST + 1];
	uint32_t lent = part->ops->tx_take(part, now_ns, frames, VLY_MIN(w->waits[to], BURST));
	uint32_t made = 0;

	if (!lent)
		return false;
	for (uint32_t i = w->head; i != w->tail && made < lent; i++) {
		struct waiting *from = waiting_at(w, i);

		if (!from->len || from->to != to)
			continue;
		memcpy(frames[made].data, from->data, from->len);
		frames[made].len = from->len;
		frames[made].flags = from->flags;
		vly_wire_built(part, &frames[made]);
		from->len = 0;
		made++;
	}
	w->waits[to] -= made;
	part->ops->tx_send(part, now_ns, frames, made);
	return true;
}

/* A queue whose ring is full holds up only what is for itself. */
static void push(struct wire *w, uint64_t now_ns)
{
	if (w->head == w->tail)
		return;
	for (uint16_t to = 0; to < w->count; to++) {
		while (w->waits[to] && push_burst(w, now_ns, to))
			;
	}
	while (w->head != w->tail && !waiting_at(w, w->head)->len)
		w->head++;
}

static uint32_t many_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			     uint32_t max)
{
	struct wire *w = wire_of(wire);

	push(w, now_ns);
	uint32_t count = VLY_MIN(max, WAITING_MAX - (w->tail - w->head));

	for (uint32_t i = 0; i < count; i++)
		frames[i] = (struct vly_frame){.data = waiting_at(w, w->tail + i)->data,
					       .len = wire->mtu + VLY_ETH_BYTES};
	return w->taken = count;
}

static void many_tx_send(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
			 uint32_t count)
{
	struct wire *w = wire_of(wire);

	assert(count <= w->taken);
	for (uint32_t i = 0; i < count; i++) {
		struct waiting *slot = waiting_at(w, w->tail + i);

		assert(frames[i].data == slot->data);
		slot->len = frames[i].len;
		slot->flags = frames[i].flags;
		slot->to = queue_of(w, slot->data, slot->len);
		w->waits[slot->to]++;
	}
	w->tail += count;
	w->taken = 0;
	push(w, now_ns);
}

/* --- receiving --- */

/* There as long as one of the other side's queues is. */
static void look(struct wire *w)
{
	bool up = false;
	uint64_t rx = 0, tx = 0;

	for (unsigned i = 0; i < w->count; i++) {
		up = up || w->parts[i]->link_up;
		rx += w->parts[i]->rx_dropped;
		tx += w->parts[i]->tx_dropped;
	}
	w->wire.link_up = up;
	w->wire.rx_dropped = rx;
	w->wire.tx_dropped = tx;
}

static uint32_t many_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			      uint32_t max)
{
	struct wire *w = wire_of(wire);
	uint32_t count = 0;

	for (unsigned i = 0; i < w->count && count < max; i++) {
		struct vly_wire *part = w->parts[(w->turn + i) % w->count];

		count += part->ops->rx_burst(part, now_ns, frames + count, max - count);
	}
	w->turn = (w->turn + 1) % w->count;
	return count;
}

static void many_rx_done(struct vly_wire *wire, uint64_t now_ns)
{
	struct wire *w = wire_of(wire);

	for (unsigned i = 0; i < w->count; i++)
		w->parts[i]->ops->rx_done(w->parts[i], now_ns);
	push(w, now_ns);
	look(w);
}

static bool many_has_work(struct vly_wire *wire, uint64_t now_ns)
{
	struct wire *w = wire_of(wire);

	for (unsigned i = 0; i < w->count; i++) {
		if (w->parts[i]->ops->has_work(w->parts[i], now_ns))
			return true;
	}
	return false;
}

/* --- sleeping --- */

static int many_fd(struct vly_wire *wire)
{
	return wire_of(wire)->fd;
}

static void disarm_first(struct wire *w, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		w->parts[i]->ops->disarm(w->parts[i]);
	look(w);
}

static void many_disarm(struct vly_wire *wire)
{
	disarm_first(wire_of(wire), wire_of(wire)->count);
}

static bool many_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted)
{
	struct wire *w = wire_of(wire);

	/* Room is lacking only while frames wait: their rings promise the wake-up. */
	if (tx_wanted && w->tail - w->head < WAITING_MAX)
		return false;
	for (unsigned i = 0; i < w->count; i++) {
		if (w->parts[i]->ops->arm(w->parts[i], now_ns, w->waits[i] > 0))
			continue;
		disarm_first(w, i);
		return false;
	}
	return true;
}

/* --- opening and closing --- */

static uint32_t waiting_bytes_for(uint32_t mtu)
{
	uint32_t bytes = (uint32_t)sizeof(struct waiting) + VLY_ETH_BYTES + mtu;

	return VLY_ALIGN_UP(bytes, 2u * VLY_CACHE_LINE) + VLY_CACHE_LINE;
}

size_t vly_loop_many_bytes(const struct vly_loop_head *head, unsigned side)
{
	return vly_wire_take_bytes(sizeof(struct wire)) +
	       vly_wire_take_bytes(sizeof(struct vly_toeplitz_table)) +
	       vly_wire_take_bytes((size_t)WAITING_MAX * waiting_bytes_for(head->mtu)) +
	       vly_wire_take_bytes(VLY_LOOP_SPARE_BYTES) +
	       head->queues[!side] * vly_loop_part_bytes();
}

static void close_parts(struct wire *w)
{
	for (unsigned i = 0; i < w->count; i++)
		w->parts[i]->ops->close(w->parts[i]);
	close(w->fd);
	close(w->bell);
}

static void many_close(struct vly_wire *wire)
{
	struct wire *w = wire_of(wire);

	close_parts(w);
	vly_loop_map_close(&w->map);
}

static const struct vly_wire_ops many_ops = {
	.name = "loop",
	.close = many_close,
	.rx_burst = many_rx_burst,
	.rx_done = many_rx_done,
	.tx_take = many_tx_take,
	.tx_send = many_tx_send,
	.has_work = many_has_work,
	.fd = many_fd,
	.arm = many_arm,
	.disarm = many_disarm,
};

/* A key that nobody told anybody: what a port that ignores its own hashes by. */
static void other_key(uint8_t key[VLY_TOEPLITZ_KEY_BYTES])
{
	for (unsigned i = 0; i < VLY_TOEPLITZ_KEY_BYTES; i += sizeof(uint64_t)) {
		uint64_t word = vly_hash_u64(i + 1);

		memcpy(key + i, &word, sizeof(word));
	}
}

static const uint8_t *key_of(uint8_t rss)
{
	return rss == VLY_LOOP_RSS_SYMMETRIC ? vly_toeplitz_key_symmetric
					     : vly_toeplitz_key_default;
}

/* What the nic is told of our own side's port, and how we play the other's. */
static void set_rss(struct wire *w, struct vly_toeplitz_table *table, unsigned side)
{
	const struct vly_loop_head *head = &w->map.head;
	uint8_t key[VLY_TOEPLITZ_KEY_BYTES];

	w->rss = head->rss[!side];
	memcpy(key, key_of(w->rss), sizeof(key));
	if (w->rss == VLY_LOOP_RSS_OTHER_KEY)
		other_key(key);
	vly_toeplitz_table_make(table, key);
	w->table = table;
	if (head->queues[side] == 1)
		return;
	for (uint16_t i = 0; i < TABLE_COUNT; i++)
		w->own_table[i] = i % head->queues[side];
	w->wire.caps |= VLY_WIRE_RSS;
	w->wire.rss_key = key_of(head->rss[side]);
	w->wire.rss_table = w->own_table;
	w->wire.rss_table_count = TABLE_COUNT;
}

int vly_loop_many_open(struct vly_loop_part *part, struct vly_wire **wire)
{
	const struct vly_loop_map *map = part->map;
	uint32_t waiting_bytes = waiting_bytes_for(map->head.mtu);
	struct wire *w = vly_wire_take(part->region, sizeof(*w));
	struct vly_toeplitz_table *table = vly_wire_take(part->region, sizeof(*table));
	uint8_t *waiting = vly_wire_take(part->region, (size_t)WAITING_MAX * waiting_bytes);

	if (!w || !table || !waiting)
		return -ENOMEM;
	*w = (struct wire){.map = *map, .waiting = waiting, .waiting_bytes = waiting_bytes};
	int error = vly_loop_fds_open(map, part->side, part->queue, &w->fd, &w->bell);

	if (error)
		return error;
	part->fd = w->fd;
	part->bell = w->bell;
	part->part = true;
	part->rings = &w->rings;
	for (; w->count < map->head.queues[!part->side]; w->count++) {
		part->to = w->count;
		error = vly_loop_part_open(part, &w->parts[w->count]);
		if (error) {
			close_parts(w);
			return error;
		}
	}
	w->wire = *w->parts[0];
	w->wire.ops = &many_ops;
	w->wire.rx_dropped = w->wire.tx_dropped = 0;
	set_rss(w, table, part->side);
	look(w);
	*wire = &w->wire;
	return 0;
}
