/* ring.h - a ring of fixed-size slots between one producer and one consumer */
#ifndef VLY_BASE_RING_H
#define VLY_BASE_RING_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

/*
 * Memory is the caller's: vly_ring_bytes() of it, aligned to VLY_WRITER_GAP; the slots follow the
 * structure and it holds no pointers, so it may lie in memory mapped at different addresses.
 * Indices run freely over 32 bits:
 *
 *	head <= tail <= head + slots	(modulo 2^32)
 *
 * Each side keeps a copy of the other's index and looks at the other's line only when the copy no
 * longer suffices. One thread at a time may be the producer and one the consumer. Both are trusted:
 * a ring shared with a foreign process wants its indices range-checked by its user.
 */
struct vly_ring {
	/* written at init, but for `blocked`, which changes only when the ring was found full */
	alignas(VLY_WRITER_GAP) uint32_t slots; /* a power of two */
	uint32_t slot_bytes;                    /* a multiple of 8 */
	atomic_bool blocked;                    /* see vly_ring_block() */

	/* written by the producer */
	alignas(VLY_WRITER_GAP) _Atomic uint32_t tail; /* next slot to fill */
	uint32_t head_seen;                            /* at or before head */

	/* written by the consumer */
	alignas(VLY_WRITER_GAP) _Atomic uint32_t head; /* oldest slot not yet released */
	uint32_t tail_seen;                            /* at or before tail */
};

static_assert(offsetof(struct vly_ring, tail) == VLY_WRITER_GAP, "the producer has its own lines");
static_assert(offsetof(struct vly_ring, head) == 2 * VLY_WRITER_GAP, "so has the consumer");
static_assert(sizeof(struct vly_ring) == 3 * VLY_WRITER_GAP, "and the slots begin after both");

#define VLY_RING_SLOTS_MAX (1u << 31)

/*
 * Bytes that a ring takes, a multiple of VLY_WRITER_GAP. `slots`: a power of two; `slot_bytes`: a
 * multiple of 8.
 */
static inline size_t vly_ring_bytes(uint32_t slots, uint32_t slot_bytes)
{
	size_t bytes = sizeof(struct vly_ring) + (size_t)slots * slot_bytes;

	return VLY_ALIGN_UP(bytes, (size_t)VLY_WRITER_GAP);
}

/*
 * An empty ring whose indices start at `index` (any value is as good as 0; tests of the wrap choose
 * theirs).
 */
static inline struct vly_ring *vly_ring_init_at(void *mem, uint32_t slots, uint32_t slot_bytes,
						uint32_t index)
{
	struct vly_ring *r = mem;

	assert(slots >= 1 && slots <= VLY_RING_SLOTS_MAX && (slots & (slots - 1)) == 0);
	assert(slot_bytes >= 8 && slot_bytes % 8 == 0);
	assert((uintptr_t)mem % VLY_WRITER_GAP == 0);

	r->slots = slots;
	r->slot_bytes = slot_bytes;
	r->head_seen = index;
	r->tail_seen = index;
	atomic_init(&r->blocked, false);
	atomic_init(&r->tail, index);
	atomic_init(&r->head, index);
	return r;
}

/* An empty ring in `mem`; the caller hands it to the other thread by a means that orders memory. */
static inline struct vly_ring *vly_ring_init(void *mem, uint32_t slots, uint32_t slot_bytes)
{
	return vly_ring_init_at(mem, slots, slot_bytes, 0);
}

/* The slot of a free-running index. */
static inline void *vly_ring_slot(struct vly_ring *r, uint32_t index)
{
	size_t offset = (size_t)(index & (r->slots - 1)) * r->slot_bytes;

	return (char *)r + sizeof(*r) + offset;
}

/* ---- the producer's side ---- */

/*
 * How many of `want` slots can be filled now. Reads the consumer's line only if fewer were known to
 * be free.
 */
static inline uint32_t vly_ring_reserve(struct vly_ring *r, uint32_t want)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
	uint32_t free_slots = r->slots - (tail - r->head_seen);

	if (vly_unlikely(free_slots < want)) {
		/*
		 * pairs with the release in vly_ring_release(): the consumer is done with these
		 * slots
		 */
		r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
		free_slots = r->slots - (tail - r->head_seen);
	}
	return VLY_MIN(free_slots, want);
}

/* The `i`-th of the reserved slots, to be filled in place. */
static inline void *vly_ring_slot_in(struct vly_ring *r, uint32_t i)
{
	return vly_ring_slot(r, atomic_load_explicit(&r->tail, memory_order_relaxed) + i);
}

/* Shows the first `n` of the reserved slots to the consumer. */
static inline void vly_ring_publish(struct vly_ring *r, uint32_t n)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	assert(n <= r->slots - (tail - r->head_seen));
	/* pairs with the acquire in vly_ring_peek(): the slots' contents come with the index */
	atomic_store_explicit(&r->tail, tail + n, memory_order_release);
}

/*
 * The same, ordered before a sequentially consistent load that follows, such as that of the
 * consumer's "I am asleep" flag: together with vly_ring_pending() on the other side no wake-up is
 * lost. Costs a full barrier; once per batch.
 */
static inline void vly_ring_publish_ordered(struct vly_ring *r, uint32_t n)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	assert(n <= r->slots - (tail - r->head_seen));
	/* pairs with the loads in vly_ring_peek() and vly_ring_pending() */
	atomic_store_explicit(&r->tail, tail + n, memory_order_seq_cst);
}

/* Copies one slot (slot_bytes) in; false: the ring is full. */
static inline bool vly_ring_push(struct vly_ring *r, const void *slot)
{
	if (!vly_ring_reserve(r, 1))
		return false;
	memcpy(vly_ring_slot_in(r, 0), slot, r->slot_bytes);
	vly_ring_publish(r, 1);
	return true;
}

/*
 * For a producer that found the ring full: asks to be woken. True: it is still full, and the
 * consumer's vly_ring_release_unblocks() that frees a slot will return true once. False: a slot has
 * become free meanwhile; go on (the consumer may have taken the request already, so one spare
 * wake-up can arrive). Calling it again while blocked is harmless.
 */
static inline bool vly_ring_block(struct vly_ring *r)
{
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);

	/*
	 * Flag, then head; the consumer does head, then flag. In one total order one of the two
	 * must see the other's.
	 */
	atomic_store_explicit(&r->blocked, true, memory_order_seq_cst);
	r->head_seen = atomic_load_explicit(&r->head, memory_order_seq_cst);
	if (tail - r->head_seen == r->slots)
		return true;
	/*
	 * relaxed: only this thread sets it, and a consumer that takes it first costs one spare
	 * wake-up
	 */
	atomic_store_explicit(&r->blocked, false, memory_order_relaxed);
	return false;
}

/* ---- the consumer's side ---- */

/*
 * How many of at most `want` filled slots can be read now. Reads the producer's line only if fewer
 * were known.
 */
static inline uint32_t vly_ring_peek(struct vly_ring *r, uint32_t want)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
	uint32_t filled = r->tail_seen - head;

	if (filled < want) {
		/* pairs with the release in vly_ring_publish() */
		r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
		filled = r->tail_seen - head;
	}
	return VLY_MIN(filled, want);
}

/*
 * Whether anything waits, as the last look of a consumer that has raised its "I am asleep" flag
 * (seq_cst).
 */
static inline bool vly_ring_pending(struct vly_ring *r)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	/* pairs with the store in vly_ring_publish_ordered() */
	return atomic_load_explicit(&r->tail, memory_order_seq_cst) != head;
}

/* The `i`-th of the peeked slots, oldest first; valid until released. */
static inline void *vly_ring_slot_out(struct vly_ring *r, uint32_t i)
{
	return vly_ring_slot(r, atomic_load_explicit(&r->head, memory_order_relaxed) + i);
}

/* Returns the oldest `n` of the peeked slots to a producer that never calls vly_ring_block(). */
static inline void vly_ring_release(struct vly_ring *r, uint32_t n)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	assert(n <= r->tail_seen - head);
	/* pairs with the acquire in vly_ring_reserve() */
	atomic_store_explicit(&r->head, head + n, memory_order_release);
}

/*
 * The same for a producer that may block: true if it did and must be woken now. Costs a full
 * barrier; once per batch.
 */
static inline bool vly_ring_release_unblocks(struct vly_ring *r, uint32_t n)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);

	assert(n <= r->tail_seen - head);
	/* see vly_ring_block() */
	atomic_store_explicit(&r->head, head + n, memory_order_seq_cst);
	if (vly_likely(!atomic_load_explicit(&r->blocked, memory_order_seq_cst)))
		return false;
	return atomic_exchange_explicit(&r->blocked, false, memory_order_seq_cst);
}

/* Copies one slot (slot_bytes) out; false: the ring is empty. */
static inline bool vly_ring_pop(struct vly_ring *r, void *slot)
{
	if (!vly_ring_peek(r, 1))
		return false;
	memcpy(slot, vly_ring_slot_out(r, 0), r->slot_bytes);
	vly_ring_release(r, 1);
	return true;
}

/* ---- for both ---- */

/* Slots filled and not released: exact while nobody else works on the ring, a glimpse otherwise. */
static inline uint32_t vly_ring_count(struct vly_ring *r)
{
	/*
	 * head first: it never passes the tail read after it, but that tail may be a whole ring
	 * further
	 */
	uint32_t head = atomic_load_explicit(&r->head, memory_order_acquire);
	uint32_t count = atomic_load_explicit(&r->tail, memory_order_acquire) - head;

	return VLY_MIN(count, r->slots);
}

/* Whether the ring's invariants hold; to be asked while both sides rest. */
static inline bool vly_ring_valid(struct vly_ring *r)
{
	uint32_t head = atomic_load_explicit(&r->head, memory_order_acquire);
	uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);

	if (r->slots == 0 || r->slots > VLY_RING_SLOTS_MAX || (r->slots & (r->slots - 1)) != 0)
		return false;
	if (r->slot_bytes == 0 || r->slot_bytes % 8 != 0)
		return false;
	return tail - head <= r->slots && tail - r->head_seen <= r->slots &&
	       tail - r->tail_seen <= tail - head && head - r->head_seen <= tail - r->head_seen;
}

#endif
