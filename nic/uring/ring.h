/* ring.h - one io_uring: setting up, taking submission entries, entering, reading completions */
#ifndef VLY_NIC_URING_RING_H
#define VLY_NIC_URING_RING_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"
#include "nic/uring/uring_compat.h"

struct uring_ring_opts {
	uint32_t sq_entries, cq_entries; /* powers of two */
	bool no_sqarray;
	bool no_iowait;
	bool min_wait;
	void *memory; /* rings and entries lie here if the kernel allows (uring_ring_bytes()), aligned to 4096; NULL: mapped */
};

/* Owned by one thread, which alone enters. */
struct uring_ring {
	unsigned *sq_khead, *sq_ktail, *sq_kflags;
	unsigned *cq_khead, *cq_ktail, *cq_kflags;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
	uint32_t sq_mask, sq_entries;
	uint32_t cq_mask, cq_entries;
	uint32_t sq_tail; /* filled up to here; the kernel sees it at the next enter */
	uint32_t cq_head; /* read up to here; the kernel sees it after uring_ring_seen() */
	uint64_t enters;  /* system calls made */
	int fd;
	int enter_fd; /* `fd`, or its place among the registered ones */
	uint32_t enter_flags, wait_flags;
	bool min_wait;
	bool own_memory; /* NO_MMAP was granted */
	bool registered;
	int owner; /* the thread that opened it: no other may enter */
	void *maps[2];
	size_t map_bytes[2];
};

/* How long an enter waits. */
struct uring_wait {
	uint32_t count;       /* completions to wait for */
	uint32_t min_wait_us; /* after that long any number will do; 0: only `count` */
	int64_t timeout_ns;   /* negative: for ever */
};

/* Bytes of memory for opts->memory. */
size_t uring_ring_bytes(uint32_t sq_entries, uint32_t cq_entries);

/*
 * Opens a ring of the calling thread. Falls back from own memory to mapped rings by itself. 0 or -errno, which is the kernel's.
 */
int uring_ring_open(struct uring_ring *ring, const struct uring_ring_opts *opts);
void uring_ring_close(struct uring_ring *ring);

/* Submits all that is filled; runs no deferred work, waits for nothing. 0 or -errno. */
int uring_ring_submit(struct uring_ring *ring);

/* Submits, runs deferred work (at most max(20, wait->count) pieces), waits. 0, or -errno: -ETIME, -EINTR, -EAGAIN, -EBUSY. */
int uring_ring_enter(struct uring_ring *ring, const struct uring_wait *wait);

/* Entries filled and not yet taken by the kernel. */
static inline uint32_t uring_ring_filled(const struct uring_ring *ring)
{
	/* pairs with the kernel's release of the head */
	return ring->sq_tail - __atomic_load_n(ring->sq_khead, __ATOMIC_ACQUIRE);
}

static inline bool uring_ring_full(const struct uring_ring *ring)
{
	return uring_ring_filled(ring) == ring->sq_entries;
}

/* A zeroed submission entry; NULL when all are filled. */
static inline struct io_uring_sqe *uring_ring_sqe(struct uring_ring *ring)
{
	if (vly_unlikely(uring_ring_full(ring)))
		return NULL;
	struct io_uring_sqe *sqe = &ring->sqes[ring->sq_tail++ & ring->sq_mask];

	memset(sqe, 0, sizeof(*sqe));
	return sqe;
}

/* How far the kernel has filled the completion queue. */
static inline uint32_t uring_ring_tail(const struct uring_ring *ring)
{
	/* pairs with the kernel's release: the entries below it are complete */
	return __atomic_load_n(ring->cq_ktail, __ATOMIC_ACQUIRE);
}

static inline struct io_uring_cqe *uring_ring_cqe(const struct uring_ring *ring, uint32_t at)
{
	return &ring->cqes[at & ring->cq_mask];
}

/* Everything below cq_head may be overwritten. */
static inline void uring_ring_seen(struct uring_ring *ring)
{
	/* pairs with the kernel's acquire of the head */
	__atomic_store_n(ring->cq_khead, ring->cq_head, __ATOMIC_RELEASE);
}

/* Completions wait in the kernel because the queue was full, or deferred work waits to be run: only entering brings them. */
static inline uint32_t uring_ring_flags(const struct uring_ring *ring)
{
	return __atomic_load_n(ring->sq_kflags, __ATOMIC_RELAXED);
}

#endif
