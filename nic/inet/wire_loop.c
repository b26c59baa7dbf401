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

/* One direction of one pair of queues; the copies of our own index are what counts. Indices are of lines. */
struct end {
	struct vly_loop_ring *ring;
	uint8_t *frames;
	uint32_t own;  /* sender: tail; receiver: head */
	uint32_t seen; /* the other's index when it was last read */
};

/* A message's frame: what is prefetched where its length is not known yet. */
#define LINES_GUESSED 2u

struct wire {
	struct vly_wire wire;
	struct vly_loop_map map;
	uint32_t mask;  /* of lines */
	uint32_t room;  /* lines that may be filled */
	uint32_t whole; /* lines that each frame is lent */
	struct end rx, tx;
	uint32_t lent;  /* lines of received frames that the nic has */
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

static inline uint8_t *line_at(const struct wire *w, const struct end *end, uint32_t index)
{
	return end->frames + (size_t)(index & w->mask) * VLY_CACHE_LINE;
}

/*
 * The lines of so many frames from `first` on are worked on now: those that were not prefetched ahead of time are,
 * and those of as many frames behind them, as far as `known`, are to be while these are worked on. A line
 * that the other core has written takes longer to come than a message takes to process.
 */
static inline void fetch(struct vly_wire_lines *lines, uint32_t first, uint32_t frames,
			 uint32_t known, bool to_write)
{
	uint32_t now = frames * lines->step;

	if ((int32_t)(lines->at - first) < 0)
		lines->at = first;
	lines->end = first + VLY_MIN(now, known);
	while ((int32_t)(lines->end - lines->at) > 0)
		vly_wire_ahead(lines, to_write);
	lines->end = first + VLY_MIN(2 * now, known);
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

	if (w->broken && w->lent)
		return; /* first its frames go back: the next look comes soon */
	unwatch(w);
	w->peer.life = life;
	if (w->broken) {
		/* It begins where its index stands, wherever that is. */
		w->rx.own = atomic_load_explicit(&w->rx.ring->tail, memory_order_acquire);
		w->rx.seen = w->wire.rx_ahead.at = w->wire.rx_ahead.end = w->rx.own;
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

/* Filled lines behind those lent. */
static uint32_t filled(struct wire *w, uint32_t want, memory_order order)
{
	struct end *rx = &w->rx;
	uint32_t known = rx->seen - rx->own - w->lent;

	if (known >= want || vly_unlikely(w->broken))
		return known;
	/* pairs with the store in loop_tx_send() */
	uint32_t tail = atomic_load_explicit(&rx->ring->tail, order);

	if (vly_unlikely(tail - rx->own > w->room || tail - rx->own < w->lent + known)) {
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

/*
 * The next frames will be as far apart as the last one from the one at `next`. Of long ones the first lines are prefetched:
 * anew from there where they begin and end, for only there it is known which lines these are.
 */
static inline void guess(struct vly_wire_lines *ahead, uint32_t lines, uint32_t next)
{
	uint32_t step = VLY_MAX(lines, LINES_GUESSED);

	if (vly_unlikely(step > LINES_GUESSED + 1 || ahead->step > LINES_GUESSED + 1))
		ahead->at = ahead->end = next;
	ahead->step = step;
}

/* The first two bytes of a frame: once, for the other side may change them meanwhile. */
static inline uint16_t word_at(const uint8_t *line)
{
	return __atomic_load_n((const uint16_t *)(const void *)line, __ATOMIC_RELAXED);
}

static inline void lend(const struct wire *w, struct vly_frame *frame, uint8_t *line, uint16_t word)
{
	uint16_t complete = w->offload ? word & VLY_LOOP_COMPLETE : 0;

	frame->data = line + VLY_LOOP_FRAME_AT;
	frame->len = word & VLY_LOOP_LEN_MASK;
	frame->flags = (uint16_t)(complete / VLY_LOOP_COMPLETE * VLY_FRAME_CHECKED);
	frame->mss = 0;
}

/*
 * As many as are `step` lines long, LINES_GUESSED or one more, of which every length is good: most. A branch that is
 * foreseen leads from each to the next, where a sum would wait for its line to come.
 */
static inline uint32_t lend_alike(const struct wire *w, struct vly_frame *frames, uint32_t at,
				  uint32_t count, uint32_t step)
{
	uint32_t i = 0;

	for (; i < count; i++, at += step) {
		uint8_t *line = line_at(w, &w->rx, at);
		uint16_t word = word_at(line);

		if (vly_unlikely(vly_loop_lines_of(word & (VLY_LOOP_LEN_MASK | VLY_LOOP_WHOLE)) !=
				 step))
			break;
		lend(w, &frames[i], line, word);
	}
	return i;
}

static uint32_t loop_rx_burst(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			      uint32_t max)
{
	struct wire *w = wire_of(wire);
	uint32_t known = filled(w, 2 * max * wire->rx_ahead.step, memory_order_acquire);

	if (!known) {
		idle(w, now_ns);
		return 0;
	}
	uint32_t at = w->rx.own + w->lent, end = at + known;
	uint32_t step = VLY_MIN(wire->rx_ahead.step, LINES_GUESSED + 1);

	fetch(&wire->rx_ahead, at, max, known, false);
	uint32_t alike = lend_alike(w, frames, at, VLY_MIN(max, known / step), step), count = alike;

	at += alike * step;
	for (uint32_t i = alike; i < max && at != end; i++, at += step) {
		uint8_t *line = line_at(w, &w->rx, at);
		uint16_t word = word_at(line);
		uint32_t len = word & VLY_LOOP_LEN_MASK;

		step = word & VLY_LOOP_WHOLE ? w->whole : vly_loop_lines_of(len);
		if (vly_unlikely(step > end - at)) {
			broken(w);
			w->rx.seen = at; /* nothing behind it can be found */
			break;
		}
		/* what is shorter than its header wraps */
		if (vly_unlikely(len - VLY_ETH_BYTES > w->map.head.mtu))
			wire->rx_dropped++;
		else
			lend(w, &frames[count++], line, word);
	}
	w->lent = at - w->rx.own;
	guess(&wire->rx_ahead, step, at);
	return count;
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

/* Lines that are free. */
static uint32_t room(struct wire *w, uint32_t want, memory_order order)
{
	struct end *tx = &w->tx;
	uint32_t free_lines = w->room - (tx->own - tx->seen);

	if (free_lines >= want)
		return free_lines;
	/* pairs with the store in loop_rx_done(): the receiver is done with these lines */
	uint32_t head = atomic_load_explicit(&tx->ring->head, order);

	if (vly_unlikely(tx->own - head > w->room || tx->own - head > tx->own - tx->seen)) {
		if (!w->broken)
			broken(w);
		return free_lines;
	}
	tx->seen = head;
	return w->room - (tx->own - head);
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
	wire->pack_end = NULL;
	if (vly_unlikely(w->lost)) {
		for (uint32_t i = 0; i < max; i++)
			frames[i] = (struct vly_frame){.data = w->spare, .len = len};
		return w->taken = max;
	}
	/* each with room for the longest, whatever becomes of it */
	uint32_t known = room(w, max * w->whole, memory_order_acquire);
	uint32_t count = vly_likely(known >= max * w->whole) ? max : known / w->whole;

	if (!count)
		return w->taken = 0;
	wire->pack_end = w->tx.frames + wire->pack_bytes;
	fetch(&wire->tx_ahead, w->tx.own, count, known, true);
	for (uint32_t i = 0; i < count; i++) {
		frames[i].data = line_at(w, &w->tx, w->tx.own + i * w->whole) + VLY_LOOP_FRAME_AT;
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
	/* Where they were lent, or moved up: all or none, and never both, see stride_for(). */
	uint8_t *second = line_at(w, tx, tx->own + vly_loop_lines_of(frames[0].len));
	uint32_t whole = count > 1 && frames[1].data != second + VLY_LOOP_FRAME_AT ? w->whole : 0;
	uint32_t lines = 0;

	for (uint32_t i = 0; i < count; i++, tx->own += lines) {
		uint32_t complete = frames[i].flags & VLY_FRAME_COMPLETE;
		uint16_t word = (uint16_t)(frames[i].len |
					   complete / VLY_FRAME_COMPLETE * VLY_LOOP_COMPLETE |
					   (whole ? VLY_LOOP_WHOLE : 0));

		assert(frames[i].data == line_at(w, tx, tx->own) + VLY_LOOP_FRAME_AT);
		assert(frames[i].len <= wire->mtu + VLY_ETH_BYTES);
		memcpy(frames[i].data - VLY_LOOP_FRAME_AT, &word, sizeof(word));
		lines = whole ? whole : vly_loop_lines_of(frames[i].len);
	}
	guess(&wire->tx_ahead, lines, tx->own);
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
	/* either may find that the link is broken */
	uint32_t lines = filled(w, UINT32_MAX, memory_order_seq_cst);
	bool fits = tx_wanted && room(w, UINT32_MAX, memory_order_seq_cst) >= w->whole;

	if (lines == 0 && !fits && !(tx_wanted && !wire->link_up) &&
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
	w->rx.frames = vly_loop_frames(&w->map, !side, to, queue);
	w->tx.ring = vly_loop_ring(&w->map, side, queue, to);
	w->tx.frames = vly_loop_frames(&w->map, side, queue, to);
	w->seat = vly_loop_seat(&w->map, side, queue, to);
	w->peer.seat = vly_loop_seat(&w->map, !side, to, queue);
	bool again = atomic_load_explicit(&w->seat->life, memory_order_acquire) > 0;

	w->tx.own = atomic_load_explicit(&w->tx.ring->tail, memory_order_acquire);
	w->tx.seen = atomic_load_explicit(&w->tx.ring->head, memory_order_acquire);
	if (w->tx.own - w->tx.seen > w->room)
		w->tx.seen = w->tx.own - w->room;
	w->rx.own = atomic_load_explicit(again ? &w->rx.ring->tail : &w->rx.ring->head,
					 memory_order_acquire);
	w->rx.seen = w->rx.own;
	atomic_store_explicit(&w->rx.ring->head, w->rx.own, memory_order_release);
	atomic_store_explicit(&w->seat->sleeping, 0, memory_order_relaxed);
	atomic_store_explicit(&w->seat->pid, (uint32_t)getpid(), memory_order_release);
	atomic_fetch_add_explicit(&w->seat->life, 1, memory_order_release);
	atomic_store_explicit(&w->seat->state, VLY_LOOP_OPEN, memory_order_seq_cst);
}

static struct vly_wire_lines ahead_of(const struct wire *w, const struct end *end)
{
	return (struct vly_wire_lines){.base = end->frames,
				       .at = end->own,
				       .end = end->own,
				       .mask = w->mask,
				       .step = LINES_GUESSED};
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
			 .link_up = true,
			 .pack_bytes = (uint64_t)vly_loop_lines(&part->map->head) * VLY_CACHE_LINE},
		.map = *part->map,
		.mask = vly_loop_lines(&part->map->head) - 1,
		.room = vly_loop_room(&part->map->head),
		.whole = part->map->head.stride / VLY_CACHE_LINE,
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
