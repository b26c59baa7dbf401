/* group.h - receive buffers in the kernel's hands: a ring of them, and whose bytes a completion has brought */
#ifndef VLY_NIC_URING_GROUP_H
#define VLY_NIC_URING_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "mempool/region.h"
#include "nic/rx.h"
#include "nic/uring/ring.h"

#define GROUP_ENTRIES_MAX 32768u /* the kernel's bound */
#define GROUP_NO_TOKEN UINT32_MAX

/*
 * A ring of receive buffers lends addresses to the kernel, which takes them in order. Two forms:
 *
 *	whole	(incremental, 6.12) An entry is a buffer, filled by one message after the other. Only the first one can be
 *		partly used, so `used` is all there is to know. Between two enters the kernel looks at nothing: a first
 *		buffer that nobody sees any more is offered from its start again, so that the same few cache lines serve
 *		every batch, and one that somebody holds is exchanged for a fresh one.
 *	cut	An entry is a chunk of a buffer, 1..64 of equal size to each. A chunk returns when its batch is over, unless
 *		somebody holds its buffer.
 *
 * The nic holds one reference to each buffer here; rx->lent_count counts those that nobody else held when the batch began.
 */
struct uring_group {
	struct vly_rx *rx;
	struct io_uring_buf_ring *ring;
	struct uring_place *places; /* whole: by entry; cut: by buffer */
	uint32_t entries;           /* of the ring, a power of two */
	uint32_t places_count;      /* whole: entries; cut: most buffers */
	uint32_t chunk_bytes;       /* 0: whole */
	uint32_t chunks;            /* of a buffer */
	uint32_t buffers;           /* here now */
	uint32_t stuck; /* cut: buffers that somebody held when a chunk of theirs was to return */
	uint32_t used;  /* whole: bytes of the first entry that are taken */
	uint32_t head;  /* whole: the first entry, running */
	uint16_t tail;  /* entries ever given, running */
	uint16_t id;
	uint32_t free_entries; /* in the kernel's hands, not used up */
};

struct uring_place {
	struct vly_buf *buf;
	uint64_t idle; /* cut: chunks that wait until nobody holds the buffer */
	uint64_t out;  /* cut: chunks that the kernel has */
	bool is_stuck;
};

struct uring_group_opts {
	uint16_t id;
	uint32_t buffers;     /* most that may be here at once */
	uint32_t buf_bytes;   /* of each */
	uint32_t chunk_bytes; /* cut: at least; 0: whole */
};

/* What a completion has brought. */
struct uring_span {
	struct vly_buf *buf;
	uint8_t *data;
	uint32_t len;
	uint32_t token; /* to be given back when nobody needs the bytes any more; GROUP_NO_TOKEN: nothing to give */
	uint32_t flags; /* enum vly_event_flag of its event */
};

/* Bytes that uring_group_open() takes from the region. */
size_t uring_group_bytes(const struct uring_group_opts *opts);

/* Takes its tables and registers the ring, which stays empty. 0 or -errno. */
int uring_group_open(struct uring_group *group, const struct uring_group_opts *opts,
		     struct vly_rx *rx, struct vly_region *region, const struct uring_ring *ring);

/* Everything goes back to the pool; the kernel must have nothing to receive any more. */
void uring_group_close(struct uring_group *group);

/*
 * Between two batches, tokens given back: makes the first buffer whole again, lets go of held ones, takes fresh ones from
 * the pool, down to `keep` of those that nobody holds. `all_taken`: no completion waits that speaks of bytes here; else what
 * the kernel has used so far is not known, and the first buffer is left as it is.
 */
void uring_group_refill(struct uring_group *group, uint32_t keep, bool all_taken);

/* Takes note of a completion that carries a buffer; `len` may be 0. */
void uring_group_take(struct uring_group *group, const struct io_uring_cqe *cqe, uint32_t len,
		      struct uring_span *span);

/* The bytes behind a token are not needed any more. */
void uring_group_give(struct uring_group *group, uint32_t token);

#endif
