/* wire_loop.c - a wire in shared memory between two engines: one queue of each */
#include "nic/inet/wire_loop.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "nic/inet/eth.h"
#include "nic/inet/loop_map.h"
#include "nic/inet/loop_part.h"
#include "nic/inet/wire_options.h"

/* A busy core with nothing to do looks so often whether the other side still lives. */
#define LOOK_NS 100000000u

struct peer {
	struct vly_loop_seat *seat;
	uint32_t life; /* of the opening whose process is watched */
	int bell;      /* its eventfd */
	int pidfd;     /* -1: not watched */
};

/* One direction of one pair of queues; the copies of our own index are what counts. */
struct end {
	struct vly_loop_ring *ring;
	uint8_t *slots, *slots_end;
	uint32_t own;  /* sender: tail; receiver: head */
	uint32_t seen; /* the other's index when it was last read */
};

struct wire {
	struct vly_wire wire;
	struct vly_loop_map map;
	uint32_t mask, stride;
	struct end rx, tx;
	uint32_t lent;  /* received frames that the nic has */
	uint32_t taken; /* empty frames that the nic has */
	bool lost;      /* those are the spare frame: the link is down */
	bool broken;    /* the other side wrote what cannot be; until it opens again */
	bool offload;
	bool part; /* of a wire of several queues: mapping, bell and fd are that one's */
	struct vly_loop_seat *seat;
	struct peer peer;
	uint64_t look_ns;
	int bell;        /* our eventfd */
	uint32_t *rings; /* of it that were promised and not read yet: all parts have one bell */
	uint32_t own_rings;
	int fd;         /* an epoll of that and the other's process */
	uint8_t *spare; /* lent while the link is down: what is built there is lost */
};

static struct wire *wire_of(struct vly_wire *wire)
{
	return vly_container_of(wire, struct wire, wire);
}

static inline uint8_t *slot_at(const struct wire *w, const struct end *end, uint32_t index)
{
	return end->slots + (size_t)(index & w->mask) * w->stride;
}

/* The slot behind `slot`. */
static inline uint8_t *slot_after(const struct wire *w, const struct end *end, uint8_t *slot)
{
	slot += w->stride;
	return vly_unlikely(slot == end->slots_end) ? end->slots : slot;
}

/*
 * The `count` slots from `first` on are worked on now: those that were not prefetched ahead of time are,
 * and those behind them, as far as there are `known` in all, are to be while these are worked on. A line
 * that the other core has written takes longer to come than a message takes to process.
 */
static inline void fetch(struct vly_wire_slots *slots, uint32_t first, uint32_t count,
			 uint32_t known, bool to_write)
{
	if ((int32_t)(slots->at - first) < 0)
		slots->at = first;
	slots->end = first + count;
	while ((int32_t)(slots->end - slots->at) > 0)
		vly_wire_ahead(slots, to_write);
	slots->end = first + known;
	if ((int32_t)(slots->end - slots->at) < 0)
		slots->end = slots->at;
}

/* --- the other side's life --- */

static void wake(struct wire *w)
{
	uint64_t one = 1;

	if (atomic_exchange_explicit(&w->peer.seat->sleeping, 0, memory_order_seq_cst)) {
		ssize_t done = write(w->peer.bell, &one, sizeof(one));

		(void)done; /* a full counter is readable, too */
	}
}

static void unwatch(struct wire *w)
{
	if (w->peer.pidfd >= 0)
		close(w->peer.pidfd); /* leaves the epoll, too */
	w->peer.pidfd = -1;
}

static void link_down(struct wire *w)
{
	w->wire.link_up = false;
	unwatch(w);
}

/* A new process of the other side, or the same opened again. */
static void meet(struct wire *w, uint32_t life)
{
	pid_t pid = (pid_t)atomic_load_explicit(&w->peer.seat->pid, memory_order_acquire);

	unwatch(w);
	w->peer.life = life;
	if (w->broken && !w->lent) {
		/* It begins where its index stands, wherever that is. */
		w->rx.own = atomic_load_explicit(&w->rx.ring->tail, memory_order_acquire);
		w->rx.seen = w->rx.own;
		atomic_store_explicit(&w->rx.ring->head, w->rx.own, memory_order_release);
		w->broken = false;
	}
	w->wire.link_up = true;
	if (pid <= 0 || pid == getpid())
		return; /* of this process: it closes, or dies with us */
	w->peer.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (w->peer.pidfd < 0) {
		if (errno == ESRCH)
			link_down(w);
		return;
	}
	struct epoll_event event = {.events = EPOLLIN};

	(void)epoll_ctl(w->fd, EPOLL_CTL_ADD, w->peer.pidfd, &event);
}

/* Whether the other side is as we know it. Makes system calls only when something has changed, or to ask. */
static void look(struct wire *w, bool ask)
{
	uint32_t state = atomic_load_explicit(&w->peer.seat->state, memory_order_acquire);
	uint32_t life = atomic_load_explicit(&w->peer.seat->life, memory_order_acquire);

	if (state == VLY_LOOP_OPEN && life != w->peer.life)
		meet(w, life);
	else if (state == VLY_LOOP_CLOSED && w->wire.link_up)
		link_down(w);
	if (ask && w->peer.pidfd >= 0) {
		struct pollfd poller = {.fd = w->peer.pidfd, .events = POLLIN};

		if (poll(&poller, 1, 0) == 1)
			link_down(w);
	}
}

static void broken(struct wire *w)
{
	w->broken = true;
	w->wire.rx_dropped++;
	link_down(w);
}

/* --- receiving --- */

/* Filled slots behind those lent. */
static uint32_t filled(struct wire *w, uint32_t want, memory_order order)
{
	struct end *rx = &w->rx;
	uint32_t known = rx->seen - rx->own - w->lent;

	if (known >= want || vly_unlikely(w->broken))
		return known;
	/* pairs with the store in loop_tx_send() */
	uint32_t tail = atomic_load_explicit(&rx->ring->tail, order);

	if (vly_unlikely(tail - rx->own > w->map.head.slots || tail - rx->own < w->lent + known)) {
		broken(w);
		return known;
	}
	rx->seen = tail;
	return tail - rx->own - w->lent;
}

static void idle(struct wire *w, uint64_t now_ns)
{
	if (now_ns < w->look_ns)
		return;
	w->look_ns = now_ns + LOOK_NS;
	look(w, true);
}

static uint32_t loop_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			      uint32_t max)
{
	struct wire *w = wire_of(wire);
	uint32_t known = filled(w, 2 * max, memory_order_acquire);

	if (!known) {
		idle(w, now_ns);
		return 0;
	}
	uint32_t count = VLY_MIN(known, max);
	uint32_t first = w->rx.own + w->lent;
	struct vly_frame *frame = frames;

	fetch(&wire->rx_ahead, first, count, VLY_MIN(known, count + max), false);
	uint8_t *slot = slot_at(w, &w->rx, first);
	uint32_t mtu = w->map.head.mtu, complete = w->offload ? VLY_LOOP_COMPLETE : 0;

	for (uint32_t i = 0; i < count; i++, slot = slot_after(w, &w->rx, slot)) {
		uint16_t word;

		memcpy(&word, slot, sizeof(word));
		uint32_t len = word & VLY_LOOP_LEN_MASK;

		/* what is shorter than its header wraps */
		if (vly_unlikely(len - VLY_ETH_BYTES > mtu)) {
			wire->rx_dropped++;
			continue;
		}
		frame->data = slot + VLY_LOOP_FRAME_AT;
		frame->len = len;
		frame->flags =
			(uint16_t)((word & complete) / VLY_LOOP_COMPLETE * VLY_FRAME_CHECKED);
		frame->mss = 0;
		frame++;
	}
	w->lent += count;
	return (uint32_t)(frame - frames);
}

static void loop_rx_done(struct vly_wire *wire, uint64_t now_ns)
{
	struct wire *w = wire_of(wire);
	struct end *rx = &w->rx;

	(void)now_ns;
	if (!w->lent)
		return;
	rx->own += w->lent;
	w->lent = 0;
	/*
	 * Head, then the flag; a sender about to sleep does flag, then head: one sees the other's.
	 * Pairs with room() and loop_arm().
	 */
	atomic_store_explicit(&rx->ring->head, rx->own, memory_order_seq_cst);
	if (vly_unlikely(atomic_load_explicit(&rx->ring->blocked, memory_order_seq_cst))) {
		atomic_store_explicit(&rx->ring->blocked, 0, memory_order_relaxed);
		wake(w);
	}
}

/* --- sending --- */

static uint32_t room(struct wire *w, uint32_t want, memory_order order)
{
	struct end *tx = &w->tx;
	uint32_t slots = w->map.head.slots;
	uint32_t free_slots = slots - (tx->own - tx->seen);

	if (free_slots >= want)
		return free_slots;
	/* pairs with the store in loop_rx_done(): the receiver is done with these slots */
	uint32_t head = atomic_load_explicit(&tx->ring->head, order);

	if (vly_unlikely(tx->own - head > slots || tx->own - head > tx->own - tx->seen)) {
		if (!w->broken)
			broken(w);
		return free_slots;
	}
	tx->seen = head;
	return slots - (tx->own - head);
}

static uint32_t loop_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			     uint32_t max)
{
	struct wire *w = wire_of(wire);
	uint32_t len = wire->mtu + VLY_ETH_BYTES;

	(void)now_ns;
	w->lost = !wire->link_up;
	if (vly_unlikely(w->lost)) {
		look(w, false);
		w->lost = !wire->link_up;
	}
	if (vly_unlikely(w->lost)) {
		for (uint32_t i = 0; i < max; i++)
			frames[i] = (struct vly_frame){.data = w->spare, .len = len};
		return w->taken = max;
	}
	/* Once: VLY_MIN() looks twice, and meanwhile the other side makes room. */
	uint32_t known = room(w, 2 * max, memory_order_acquire);
	uint32_t count = VLY_MIN(known, max);

	fetch(&wire->tx_ahead, w->tx.own, count, VLY_MIN(known, count + max), true);
	uint8_t *slot = slot_at(w, &w->tx, w->tx.own);

	for (uint32_t i = 0; i < count; i++, slot = slot_after(w, &w->tx, slot)) {
		frames[i].data = slot + VLY_LOOP_FRAME_AT;
		frames[i].len = len;
		frames[i].flags = 0;
		frames[i].mss = 0;
	}
	return w->taken = count;
}

static void loop_tx_send(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
			 uint32_t count)
{
	struct wire *w = wire_of(wire);
	struct end *tx = &w->tx;

	(void)now_ns;
	assert(count <= w->taken);
	w->taken = 0;
	if (vly_unlikely(w->lost)) {
		wire->tx_dropped += count;
		return;
	}
	if (!count)
		return;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t complete = frames[i].flags & VLY_FRAME_COMPLETE;
		uint16_t word = (uint16_t)(frames[i].len |
					   complete / VLY_FRAME_COMPLETE * VLY_LOOP_COMPLETE);

		assert(frames[i].data == slot_at(w, tx, tx->own + i) + VLY_LOOP_FRAME_AT);
		assert(frames[i].len <= wire->mtu + VLY_ETH_BYTES);
		memcpy(frames[i].data - VLY_LOOP_FRAME_AT, &word, sizeof(word));
	}
	tx->own += count;
	/*
	 * The index, then `sleeping`; a receiver about to sleep does `sleeping`, then the index. Pairs
	 * with filled() and loop_arm().
	 */
	atomic_store_explicit(&tx->ring->tail, tx->own, memory_order_seq_cst);
	if (vly_unlikely(atomic_load_explicit(&w->peer.seat->sleeping, memory_order_seq_cst)))
		wake(w);
}

/* --- sleeping --- */

static bool loop_has_work(struct vly_wire *wire, uint64_t now_ns)
{
	(void)now_ns;
	return filled(wire_of(wire), 1, memory_order_acquire) > 0;
}

static int loop_fd(struct vly_wire *wire)
{
	return wire_of(wire)->fd;
}

static void loop_disarm(struct vly_wire *wire)
{
	struct wire *w = wire_of(wire);
	uint64_t count;

	atomic_store_explicit(&w->tx.ring->blocked, 0, memory_order_relaxed);
	/*
	 * Taken back by whoever rang: only then is there something to read. It may come a moment later, or
	 * with the next: a ring that nobody reads would keep this side awake for ever.
	 */
	if (atomic_exchange_explicit(&w->seat->sleeping, 0, memory_order_seq_cst) == 0)
		(*w->rings)++;
	if (*w->rings && read(w->bell, &count, sizeof(count)) == (ssize_t)sizeof(count))
		*w->rings -= (uint32_t)VLY_MIN(count, (uint64_t)*w->rings);
	look(w, true);
}

static bool loop_arm(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted)
{
	struct wire *w = wire_of(wire);
	uint32_t state, life;

	(void)now_ns;
	look(w, false);
	atomic_store_explicit(&w->seat->sleeping, 1, memory_order_seq_cst);
	if (tx_wanted && wire->link_up)
		atomic_store_explicit(&w->tx.ring->blocked, 1, memory_order_seq_cst);
	state = atomic_load_explicit(&w->peer.seat->state, memory_order_seq_cst);
	life = atomic_load_explicit(&w->peer.seat->life, memory_order_seq_cst);
	if (filled(w, UINT32_MAX, memory_order_seq_cst) == 0 &&
	    !(tx_wanted && (!wire->link_up || room(w, UINT32_MAX, memory_order_seq_cst))) &&
	    !(state == VLY_LOOP_OPEN && life != w->peer.life) &&
	    !(state == VLY_LOOP_CLOSED && wire->link_up))
		return true;
	loop_disarm(wire);
	return false;
}

/* --- opening and closing --- */

/* As the last that has it open left it; what was on its way to us meanwhile is lost. */
static void take_seat(struct wire *w, unsigned side, unsigned queue, unsigned to)
{
	w->rx.ring = vly_loop_ring(&w->map, !side, to, queue);
	w->rx.slots = vly_loop_slots(&w->map, !side, to, queue);
	w->tx.ring = vly_loop_ring(&w->map, side, queue, to);
	w->tx.slots = vly_loop_slots(&w->map, side, queue, to);
	w->rx.slots_end = w->rx.slots + (size_t)w->map.head.slots * w->stride;
	w->tx.slots_end = w->tx.slots + (size_t)w->map.head.slots * w->stride;
	w->seat = vly_loop_seat(&w->map, side, queue, to);
	w->peer.seat = vly_loop_seat(&w->map, !side, to, queue);
	bool again = atomic_load_explicit(&w->seat->life, memory_order_acquire) > 0;

	w->tx.own = atomic_load_explicit(&w->tx.ring->tail, memory_order_acquire);
	w->tx.seen = atomic_load_explicit(&w->tx.ring->head, memory_order_acquire);
	if (w->tx.own - w->tx.seen > w->map.head.slots)
		w->tx.seen = w->tx.own - w->map.head.slots;
	w->rx.own = atomic_load_explicit(again ? &w->rx.ring->tail : &w->rx.ring->head,
					 memory_order_acquire);
	w->rx.seen = w->rx.own;
	atomic_store_explicit(&w->rx.ring->head, w->rx.own, memory_order_release);
	atomic_store_explicit(&w->seat->sleeping, 0, memory_order_relaxed);
	atomic_store_explicit(&w->seat->pid, (uint32_t)getpid(), memory_order_release);
	atomic_fetch_add_explicit(&w->seat->life, 1, memory_order_release);
	atomic_store_explicit(&w->seat->state, VLY_LOOP_OPEN, memory_order_seq_cst);
}

static struct vly_wire_slots ahead_of(const struct wire *w, const struct end *end)
{
	return (struct vly_wire_slots){.base = end->slots,
				       .at = end->own,
				       .end = end->own,
				       .mask = w->mask,
				       .stride = w->stride};
}

static void loop_close(struct vly_wire *wire)
{
	struct wire *w = wire_of(wire);

	atomic_store_explicit(&w->seat->state, VLY_LOOP_CLOSED, memory_order_seq_cst);
	wake(w);
	unwatch(w);
	close(w->peer.bell);
	if (w->part)
		return;
	close(w->fd);
	close(w->bell);
	vly_loop_map_close(&w->map);
}

size_t vly_loop_part_bytes(void)
{
	return vly_wire_take_bytes(sizeof(struct wire));
}

int vly_loop_part_open(const struct vly_loop_part *part, struct vly_wire **wire)
{
	struct wire *w = vly_wire_take(part->region, sizeof(*w));

	if (!w)
		return -ENOMEM;
	*w = (struct wire){
		.wire = {.ops = &vly_loop_part_ops,
			 .caps = part->offload ? VLY_WIRE_TX_CHECKSUM | VLY_WIRE_RX_CHECKSUM : 0,
			 .mtu = part->mtu,
			 .queue = (uint16_t)part->queue,
			 .queues = part->map->head.queues[part->side],
			 .mac = {2, 0x10, 0, 0, (uint8_t)part->side, 1},
			 /* what is sent before the other side opens waits for it */
			 .link_up = true},
		.map = *part->map,
		.mask = part->map->head.slots - 1,
		.stride = part->map->head.stride,
		.offload = part->offload,
		.part = part->part,
		.fd = part->fd,
		.bell = part->bell,
		.peer = {.pidfd = -1},
		.spare = part->spare + VLY_LOOP_FRAME_AT,
	};
	w->rings = part->part ? part->rings : &w->own_rings;
	/* Our own duplicate: vly_loop_close() may come while we are open. */
	w->peer.bell = fcntl(w->map.head.fds[!part->side][part->to], F_DUPFD_CLOEXEC, 3);
	if (w->peer.bell < 0)
		return -errno;
	take_seat(w, part->side, part->queue, part->to);
	w->wire.rx_ahead = ahead_of(w, &w->rx);
	w->wire.tx_ahead = ahead_of(w, &w->tx);
	look(w, false);
	wake(w); /* a sleeping other side learns that we are here */
	*wire = &w->wire;
	return 0;
}

int vly_loop_fds_open(const struct vly_loop_map *map, unsigned side, unsigned queue, int *fd,
		      int *bell)
{
	struct epoll_event event = {.events = EPOLLIN};
	uint64_t count;
	int error = 0;

	*bell = fcntl(map->head.fds[side][queue], F_DUPFD_CLOEXEC, 3);
	*fd = *bell < 0 ? -1 : epoll_create1(EPOLL_CLOEXEC);
	if (*fd < 0 || epoll_ctl(*fd, EPOLL_CTL_ADD, *bell, &event) != 0)
		error = -errno;
	/* what rang for whoever had the queue before us */
	if (!error && read(*bell, &count, sizeof(count)) < 0 && errno != EAGAIN)
		error = -errno;
	if (error && *fd >= 0)
		close(*fd);
	if (error && *bell >= 0)
		close(*bell);
	return error;
}

const struct vly_wire_ops vly_loop_part_ops = {
	.name = "loop",
	.close = loop_close,
	.rx_burst = loop_rx_burst,
	.rx_done = loop_rx_done,
	.tx_take = loop_tx_take,
	.tx_send = loop_tx_send,
	.has_work = loop_has_work,
	.fd = loop_fd,
	.arm = loop_arm,
	.disarm = loop_disarm,
};
