/* side.h - what a connection needs only while more than one segment is in flight, or data waits */
#ifndef VLY_NIC_INET_SIDE_H
#define VLY_NIC_INET_SIDE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "mempool/buf.h"
#include "mempool/slab.h"

#define VLY_NO_SEG UINT32_MAX
#define VLY_NO_CHUNK UINT32_MAX
#define VLY_NO_SIDE UINT32_MAX

enum vly_seg_flag {
	VLY_SEG_SACKED = 1 << 0, /* the peer has it */
	VLY_SEG_LOST = 1 << 1,   /* to be sent again */
	VLY_SEG_REXMIT = 1 << 2, /* sent more than once */
	VLY_SEG_FIN = 1 << 3,    /* its last sequence number is FIN's */
};

/*
 * A segment in flight: [seq, end). In the list by sequence number; and in the one by time of sending as long
 * as it is neither SACKED nor LOST. What the peer has and lies together is one segment.
 */
struct vly_seg {
	uint32_t next, prev;
	uint32_t later, earlier; /* by time of sending */
	uint32_t seq, end;
	uint32_t sent; /* tick of the last transmission */
	uint8_t flags;
	uint8_t spare[3];
};

static_assert(sizeof(struct vly_seg) == 32, "two in a line");

/* Received and not yet delivered: [seq, seq + len), its bytes at data + at. */
struct vly_chunk {
	uint32_t next;
	uint32_t seq;
	uint32_t len;
	uint32_t at;
	uint8_t data[];
};

enum vly_side_timer {
	VLY_SIDE_RTO = 0,
	VLY_SIDE_TLP, /* RFC 8985, 7: a probe for a lost tail */
	VLY_SIDE_REO, /* RFC 8985, 6.3: a segment that may be late, not lost */
};

enum vly_side_recovery {
	VLY_OPEN_WINDOW = 0, /* no loss known */
	VLY_FAST_RECOVERY,
	VLY_RTO_RECOVERY,
};

/* State of the congestion control's own; its ops say what it means. */
struct vly_cc_state {
	uint32_t w_max, w_est; /* bytes */
	uint32_t epoch;        /* tick; 0: none */
	uint32_t k;            /* ticks */
	uint32_t acked;        /* bytes not yet turned into window */
};

struct vly_side {
	/* sending: the scoreboard */
	uint32_t seg_head, seg_tail;   /* by sequence number */
	uint32_t time_head, time_tail; /* by time of sending */
	uint32_t seg_count;
	uint32_t sack_near;    /* where the last block was found: the next is near */
	uint32_t sacked, lost; /* bytes; lost: marked and not yet sent again */
	uint32_t recover;      /* recovery ends when snd_una reaches it */
	uint8_t recovery;      /* enum vly_side_recovery */
	uint8_t dupacks;
	uint8_t timer; /* enum vly_side_timer: what the retransmission alarm stands for */
	bool tlp_out;
	bool tlp_rexmit;  /* the probe was nothing new */
	uint32_t tlp_end; /* snd_nxt when the probe was sent */
	uint32_t tlp_ts;  /* and our time */
	/* RACK: the segment sent last of all that were delivered */
	uint32_t rack_sent, rack_end, rack_rtt, min_rtt; /* ticks; 0: none yet */
	uint32_t reo_due;                                /* tick: VLY_SIDE_REO */
	uint8_t reo_mult;
	bool reordered; /* the path has been seen to */
	uint8_t reo_persist;
	bool undo; /* the last cut may be given back, should all that was sent again prove needless */
	bool undo_sent; /* and something was sent again since */
	/* PRR (RFC 6937) */
	uint32_t prr_delivered, prr_out, recover_flight;
	/* to undo a cut that proves wrong: what was before, and where it began */
	uint32_t undo_cwnd, undo_ssthresh, undo_una;
	uint32_t undo_rexmits; /* sent again since, and not reported as come twice */
	uint32_t undo_ts;      /* our time when the first of them was sent */
	uint32_t dsack_round;  /* the next D-SACK of use is about what is sent after this */
	struct vly_cc_state cc, undo_cc;
	/* where sending goes on in the queue */
	struct vly_buf *cursor;
	uint32_t cursor_seq; /* of its first byte */

	/* receiving */
	uint32_t chunk_head, chunk_tail; /* by sequence number, without overlap */
	uint32_t chunk_count;
	uint32_t rcv_read; /* delivered up to here; rcv_nxt - rcv_read bytes wait in chunks */
	uint32_t rcv_adv;  /* right edge of the window last advertised */
	uint32_t sack_seq; /* of the chunk that came last out of order: its block goes first */
	uint32_t early_next; /* with early_owed: what goes on with the range that an ACK is owed for */
	uint32_t slot;
	uint32_t ready_next, ready_prev; /* in the FIFO of those with data to deliver */
	bool ready;
	bool early_owed;  /* the ACK that is owed tells of a range out of order */
	bool undelivered; /* rcv_read is valid: rcv_read != rcv_nxt */
	bool fin_early;   /* a FIN came out of order, at fin_seq */
	uint32_t fin_seq;
};

struct vly_sides {
	struct vly_slab slab;   /* struct vly_side */
	struct vly_slab segs;   /* struct vly_seg */
	struct vly_slab chunks; /* struct vly_chunk and its data */
	uint32_t chunk_bytes;   /* of data */
	uint32_t ready_head, ready_tail;
	uint32_t ready_count;
};

struct vly_sides_size {
	uint32_t sides, segs, chunks, chunk_bytes;
};

static inline uint32_t vly_chunk_stride(uint32_t chunk_bytes)
{
	return (uint32_t)VLY_ALIGN_UP(sizeof(struct vly_chunk) + chunk_bytes, 64u) | 64u;
}

static inline size_t vly_sides_bytes(const struct vly_sides_size *size)
{
	return VLY_ALIGN_UP((size_t)size->sides * sizeof(struct vly_side), 128u) +
	       VLY_ALIGN_UP((size_t)size->segs * sizeof(struct vly_seg), 128u) +
	       (size_t)size->chunks * vly_chunk_stride(size->chunk_bytes);
}

int vly_sides_init(struct vly_sides *sides, void *mem, const struct vly_sides_size *size);
/* Everything must be home. */
void vly_sides_fini(struct vly_sides *sides);

static inline struct vly_side *vly_side_at(const struct vly_sides *sides, uint32_t index)
{
	return vly_slab_at(&sides->slab, index);
}

static inline struct vly_seg *vly_seg_at(const struct vly_sides *sides, uint32_t index)
{
	return vly_slab_at(&sides->segs, index);
}

static inline struct vly_chunk *vly_chunk_at(const struct vly_sides *sides, uint32_t index)
{
	return vly_slab_at(&sides->chunks, index);
}

static inline uint8_t *vly_chunk_bytes(struct vly_chunk *chunk)
{
	return chunk->data + chunk->at;
}

/* All zero but its lists, which are empty; VLY_NO_SIDE: none is home. */
uint32_t vly_side_take(struct vly_sides *sides, uint32_t slot);
/* With all that it holds. */
void vly_side_put(struct vly_sides *sides, uint32_t index);

/* Appends a segment in flight; NULL: none is home. */
struct vly_seg *vly_seg_append(struct vly_sides *sides, struct vly_side *side, uint32_t seq,
			       uint32_t end, uint32_t now);
/* Splits at `seq`, inside it: the part behind is a segment of its own. False: none is home. */
bool vly_seg_split(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg,
		   uint32_t seq);
void vly_seg_remove(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg);
/* It was sent once more: the last of all. */
void vly_seg_sent(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg,
		  uint32_t now);
/* Given up until it is sent again. */
void vly_seg_lost(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg);
/* The peer has it. It becomes one with what the peer has on either side; returns that. */
struct vly_seg *vly_seg_sacked(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg);
/* None is lost after all. */
void vly_segs_found(struct vly_sides *sides, struct vly_side *side);
/* The first segment that does not begin before `seq`; VLY_NO_SEG: none. */
uint32_t vly_seg_from(const struct vly_sides *sides, const struct vly_side *side, uint32_t seq);

/*
 * Keeps what of [seq, seq + len) is not kept yet, copied; `from` is where the kept range begins (what
 * is before it is old). False: no chunk was home for some of it, which is then as if it had never
 * come.
 */
bool vly_chunk_insert(struct vly_sides *sides, struct vly_side *side, uint32_t seq,
		      const uint8_t *data, uint32_t len);
/* Drops the first chunk. */
void vly_chunk_pop(struct vly_sides *sides, struct vly_side *side);
/* The first sequence number from `seq` on that is not kept. */
uint32_t vly_chunk_edge(const struct vly_sides *sides, const struct vly_side *side, uint32_t seq);

/* The FIFO of those with something to deliver. */
void vly_side_ready(struct vly_sides *sides, uint32_t index);
void vly_side_unready(struct vly_sides *sides, uint32_t index);

#endif
