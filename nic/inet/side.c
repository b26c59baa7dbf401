/* side.c - side records, segments in flight, received chunks: pools and lists */
#include "nic/inet/side.h"

#include <errno.h>
#include <string.h>

#define seq_before(a, b) ((int32_t)((a) - (b)) < 0)
#define seq_max(a, b) (seq_before(a, b) ? (b) : (a))

int vly_sides_init(struct vly_sides *sides, void *mem, const struct vly_sides_size *size)
{
	uint8_t *at = mem;

	*sides = (struct vly_sides){
		.chunk_bytes = size->chunk_bytes,
		.ready_head = VLY_NO_SIDE,
		.ready_tail = VLY_NO_SIDE,
	};
	if (!mem)
		return -ENOMEM;
	int error = vly_slab_init(&sides->slab, at, size->sides, sizeof(struct vly_side), 0);

	at += VLY_ALIGN_UP((size_t)size->sides * sizeof(struct vly_side), 128u);
	if (!error)
		error = vly_slab_init(&sides->segs, at, size->segs, sizeof(struct vly_seg), 0);
	at += VLY_ALIGN_UP((size_t)size->segs * sizeof(struct vly_seg), 128u);
	if (!error)
		error = vly_slab_init(&sides->chunks, at, size->chunks,
				      vly_chunk_stride(size->chunk_bytes), 0);
	return error;
}

void vly_sides_fini(struct vly_sides *sides)
{
	vly_slab_fini(&sides->slab);
	vly_slab_fini(&sides->segs);
	vly_slab_fini(&sides->chunks);
}

uint32_t vly_side_take(struct vly_sides *sides, uint32_t slot)
{
	struct vly_side *side = vly_slab_get(&sides->slab);

	if (!side)
		return VLY_NO_SIDE;
	*side = (struct vly_side){
		.seg_head = VLY_NO_SEG,
		.seg_tail = VLY_NO_SEG,
		.time_head = VLY_NO_SEG,
		.time_tail = VLY_NO_SEG,
		.sack_near = VLY_NO_SEG,
		.chunk_head = VLY_NO_CHUNK,
		.chunk_tail = VLY_NO_CHUNK,
		.slot = slot,
		.reo_mult = 1,
	};
	return vly_slab_index(&sides->slab, side);
}

void vly_side_put(struct vly_sides *sides, uint32_t index)
{
	struct vly_side *side = vly_side_at(sides, index);

	if (side->ready)
		vly_side_unready(sides, index);
	while (side->seg_head != VLY_NO_SEG)
		vly_seg_remove(sides, side, vly_seg_at(sides, side->seg_head));
	while (side->chunk_head != VLY_NO_CHUNK)
		vly_chunk_pop(sides, side);
	vly_slab_put(&sides->slab, side);
}

/* --- segments by time of sending --- */

static bool is_timed(const struct vly_seg *seg)
{
	return !(seg->flags & (VLY_SEG_SACKED | VLY_SEG_LOST));
}

/* Behind `after`; VLY_NO_SEG: as the first. */
static void time_link(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg,
		      uint32_t after)
{
	uint32_t index = vly_slab_index(&sides->segs, seg);
	uint32_t *link = after == VLY_NO_SEG ? &side->time_head : &vly_seg_at(sides, after)->later;

	seg->earlier = after;
	seg->later = *link;
	*link = index;
	if (seg->later == VLY_NO_SEG)
		side->time_tail = index;
	else
		vly_seg_at(sides, seg->later)->earlier = index;
}

static void time_unlink(struct vly_sides *sides, struct vly_side *side, const struct vly_seg *seg)
{
	if (seg->earlier == VLY_NO_SEG)
		side->time_head = seg->later;
	else
		vly_seg_at(sides, seg->earlier)->later = seg->later;
	if (seg->later == VLY_NO_SEG)
		side->time_tail = seg->earlier;
	else
		vly_seg_at(sides, seg->later)->earlier = seg->earlier;
}

void vly_seg_sent(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg, uint32_t now)
{
	assert(!(seg->flags & VLY_SEG_SACKED));
	if (is_timed(seg))
		time_unlink(sides, side, seg);
	seg->flags = (uint8_t)((seg->flags & ~VLY_SEG_LOST) | VLY_SEG_REXMIT);
	seg->sent = now;
	time_link(sides, side, seg, side->time_tail);
}

void vly_seg_lost(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg)
{
	assert(is_timed(seg));
	time_unlink(sides, side, seg);
	seg->flags |= VLY_SEG_LOST;
}

void vly_segs_found(struct vly_sides *sides, struct vly_side *side)
{
	/* neighbours by number were mostly sent one after the other: each is looked for near the last */
	uint32_t near = VLY_NO_SEG;

	for (uint32_t at = side->seg_head; at != VLY_NO_SEG; at = vly_seg_at(sides, at)->next) {
		struct vly_seg *seg = vly_seg_at(sides, at);
		uint32_t next;

		if (!(seg->flags & VLY_SEG_LOST))
			continue;
		seg->flags &= (uint8_t)~VLY_SEG_LOST;
		while ((next = near == VLY_NO_SEG ? side->time_head
						  : vly_seg_at(sides, near)->later) != VLY_NO_SEG &&
		       !seq_before(seg->sent, vly_seg_at(sides, next)->sent))
			near = next;
		while (near != VLY_NO_SEG && seq_before(seg->sent, vly_seg_at(sides, near)->sent))
			near = vly_seg_at(sides, near)->earlier;
		time_link(sides, side, seg, near);
		near = at;
	}
}

/* --- segments --- */

struct vly_seg *vly_seg_append(struct vly_sides *sides, struct vly_side *side, uint32_t seq,
			       uint32_t end, uint32_t now)
{
	struct vly_seg *seg = vly_slab_get(&sides->segs);

	if (!seg)
		return NULL;
	uint32_t index = vly_slab_index(&sides->segs, seg);

	*seg = (struct vly_seg){
		.next = VLY_NO_SEG, .prev = side->seg_tail, .seq = seq, .end = end, .sent = now};
	if (side->seg_tail == VLY_NO_SEG)
		side->seg_head = index;
	else
		vly_seg_at(sides, side->seg_tail)->next = index;
	side->seg_tail = index;
	side->seg_count++;
	time_link(sides, side, seg, side->time_tail);
	return seg;
}

bool vly_seg_split(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg,
		   uint32_t seq)
{
	struct vly_seg *rest = vly_slab_get(&sides->segs);

	if (!rest)
		return false;
	uint32_t index = vly_slab_index(&sides->segs, rest);

	*rest = *seg;
	rest->seq = seq;
	rest->prev = vly_slab_index(&sides->segs, seg);
	if (rest->next == VLY_NO_SEG)
		side->seg_tail = index;
	else
		vly_seg_at(sides, rest->next)->prev = index;
	seg->next = index;
	seg->end = seq;
	seg->flags &= (uint8_t)~VLY_SEG_FIN;
	side->seg_count++;
	if (is_timed(rest))
		time_link(sides, side, rest, rest->prev);
	return true;
}

void vly_seg_remove(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg)
{
	if (seg->prev == VLY_NO_SEG)
		side->seg_head = seg->next;
	else
		vly_seg_at(sides, seg->prev)->next = seg->next;
	if (seg->next == VLY_NO_SEG)
		side->seg_tail = seg->prev;
	else
		vly_seg_at(sides, seg->next)->prev = seg->prev;
	if (side->sack_near == vly_slab_index(&sides->segs, seg))
		side->sack_near = seg->prev;
	if (is_timed(seg))
		time_unlink(sides, side, seg);
	side->seg_count--;
	vly_slab_put(&sides->segs, seg);
}

/* `seg` takes in the next one. */
static void join_next(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg)
{
	struct vly_seg *next = vly_seg_at(sides, seg->next);

	assert(seg->end == next->seq);
	seg->end = next->end;
	seg->flags |= next->flags & VLY_SEG_FIN;
	vly_seg_remove(sides, side, next);
}

static bool is_sacked(const struct vly_sides *sides, uint32_t index)
{
	return index != VLY_NO_SEG && vly_seg_at(sides, index)->flags & VLY_SEG_SACKED;
}

struct vly_seg *vly_seg_sacked(struct vly_sides *sides, struct vly_side *side, struct vly_seg *seg)
{
	if (is_timed(seg))
		time_unlink(sides, side, seg);
	seg->flags = (uint8_t)((seg->flags & ~VLY_SEG_LOST) | VLY_SEG_SACKED);
	if (is_sacked(sides, seg->next))
		join_next(sides, side, seg);
	if (is_sacked(sides, seg->prev)) {
		seg = vly_seg_at(sides, seg->prev);
		join_next(sides, side, seg);
	}
	return seg;
}

uint32_t vly_seg_from(const struct vly_sides *sides, const struct vly_side *side, uint32_t seq)
{
	uint32_t at = side->sack_near == VLY_NO_SEG ? side->seg_head : side->sack_near;

	/* back, then on */
	while (at != VLY_NO_SEG && !seq_before(vly_seg_at(sides, at)->seq, seq) &&
	       vly_seg_at(sides, at)->prev != VLY_NO_SEG)
		at = vly_seg_at(sides, at)->prev;
	while (at != VLY_NO_SEG && seq_before(vly_seg_at(sides, at)->seq, seq))
		at = vly_seg_at(sides, at)->next;
	return at;
}

/* --- chunks --- */

static uint32_t chunk_end(const struct vly_chunk *chunk)
{
	return chunk->seq + chunk->len;
}

/* Copies [seq, end) into chunks of its own, linked after `prev` (NO_CHUNK: at the front). */
static bool keep(struct vly_sides *sides, struct vly_side *side, uint32_t *prev, uint32_t seq,
		 const uint8_t *data, uint32_t len)
{
	while (len) {
		struct vly_chunk *chunk = vly_slab_get(&sides->chunks);

		if (!chunk)
			return false;
		uint32_t index = vly_slab_index(&sides->chunks, chunk);
		uint32_t part = VLY_MIN(len, sides->chunk_bytes);

		chunk->seq = seq;
		chunk->len = part;
		chunk->at = 0;
		memcpy(chunk->data, data, part);
		if (*prev == VLY_NO_CHUNK) {
			chunk->next = side->chunk_head;
			side->chunk_head = index;
		} else {
			chunk->next = vly_chunk_at(sides, *prev)->next;
			vly_chunk_at(sides, *prev)->next = index;
		}
		if (chunk->next == VLY_NO_CHUNK)
			side->chunk_tail = index;
		side->chunk_count++;
		*prev = index;
		seq += part;
		data += part;
		len -= part;
	}
	return true;
}

/* Fills the free rest of the last chunk: many small segments share one. */
static uint32_t top_up(struct vly_sides *sides, struct vly_side *side, uint32_t seq,
		       const uint8_t *data, uint32_t len)
{
	if (side->chunk_tail == VLY_NO_CHUNK)
		return 0;
	struct vly_chunk *tail = vly_chunk_at(sides, side->chunk_tail);
	uint32_t room = sides->chunk_bytes - tail->at - tail->len;
	uint32_t part = VLY_MIN(room, len);

	if (chunk_end(tail) != seq || !part)
		return 0;
	memcpy(tail->data + tail->at + tail->len, data, part);
	tail->len += part;
	return part;
}

bool vly_chunk_insert(struct vly_sides *sides, struct vly_side *side, uint32_t seq,
		      const uint8_t *data, uint32_t len)
{
	uint32_t end = seq + len;
	uint32_t prev = VLY_NO_CHUNK, at = side->chunk_head;

	if (side->chunk_tail != VLY_NO_CHUNK &&
	    !seq_before(seq, chunk_end(vly_chunk_at(sides, side->chunk_tail)))) {
		/* behind everything: the usual case */
		uint32_t part = top_up(sides, side, seq, data, len);

		prev = side->chunk_tail;
		return keep(sides, side, &prev, seq + part, data + part, len - part);
	}
	while (seq != end) {
		/* skip what lies before */
		while (at != VLY_NO_CHUNK && !seq_before(seq, chunk_end(vly_chunk_at(sides, at)))) {
			prev = at;
			at = vly_chunk_at(sides, at)->next;
		}
		uint32_t upto = end;

		if (at != VLY_NO_CHUNK && seq_before(vly_chunk_at(sides, at)->seq, end))
			upto = vly_chunk_at(sides, at)->seq;
		if (seq_before(seq, upto) &&
		    !keep(sides, side, &prev, seq, data + (seq - (end - len)), upto - seq))
			return false;
		seq = seq_max(seq, upto);
		if (at != VLY_NO_CHUNK && seq != end) {
			uint32_t kept = chunk_end(vly_chunk_at(sides, at));

			seq = seq_before(kept, end) ? kept : end;
		}
	}
	return true;
}

void vly_chunk_pop(struct vly_sides *sides, struct vly_side *side)
{
	struct vly_chunk *chunk = vly_chunk_at(sides, side->chunk_head);

	side->chunk_head = chunk->next;
	if (side->chunk_head == VLY_NO_CHUNK)
		side->chunk_tail = VLY_NO_CHUNK;
	side->chunk_count--;
	vly_slab_put(&sides->chunks, chunk);
}

uint32_t vly_chunk_edge(const struct vly_sides *sides, const struct vly_side *side, uint32_t seq)
{
	/* nothing is kept behind it: what waits to be read may be long, and is not walked */
	if (side->chunk_tail != VLY_NO_CHUNK &&
	    !seq_before(seq, chunk_end(vly_chunk_at(sides, side->chunk_tail))))
		return seq;
	for (uint32_t at = side->chunk_head; at != VLY_NO_CHUNK;) {
		const struct vly_chunk *chunk = vly_chunk_at(sides, at);

		if (seq_before(seq, chunk->seq))
			break;
		seq = seq_max(seq, chunk_end(chunk));
		at = chunk->next;
	}
	return seq;
}

/* --- those with something to deliver --- */

void vly_side_ready(struct vly_sides *sides, uint32_t index)
{
	struct vly_side *side = vly_side_at(sides, index);

	if (side->ready)
		return;
	side->ready = true;
	side->ready_next = VLY_NO_SIDE;
	side->ready_prev = sides->ready_tail;
	if (sides->ready_tail == VLY_NO_SIDE)
		sides->ready_head = index;
	else
		vly_side_at(sides, sides->ready_tail)->ready_next = index;
	sides->ready_tail = index;
	sides->ready_count++;
}

void vly_side_unready(struct vly_sides *sides, uint32_t index)
{
	struct vly_side *side = vly_side_at(sides, index);

	if (!side->ready)
		return;
	side->ready = false;
	if (side->ready_prev == VLY_NO_SIDE)
		sides->ready_head = side->ready_next;
	else
		vly_side_at(sides, side->ready_prev)->ready_next = side->ready_next;
	if (side->ready_next == VLY_NO_SIDE)
		sides->ready_tail = side->ready_prev;
	else
		vly_side_at(sides, side->ready_next)->ready_prev = side->ready_prev;
	sides->ready_count--;
}
