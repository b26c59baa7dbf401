/* test_side.c - reassembly against a plain array, the list of segments in flight, both pools */
#include "nic/inet/side.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "base/hash.h"
#include "tests/support/leak.h"

TestSuite(side, .fini = vly_leak_gate);

struct world {
	struct vly_sides sides;
	void *mem;
	struct vly_side *side;
	uint32_t index;
};

static void world_open(struct world *w, uint32_t chunks, uint32_t chunk_bytes)
{
	struct vly_sides_size size = {
		.sides = 4, .segs = 16, .chunks = chunks, .chunk_bytes = chunk_bytes};

	w->mem = aligned_alloc(128, VLY_ALIGN_UP(vly_sides_bytes(&size), (size_t)128));
	cr_assert_not_null(w->mem);
	memset(w->mem, 0, vly_sides_bytes(&size));
	cr_assert_eq(vly_sides_init(&w->sides, w->mem, &size), 0);
	w->index = vly_side_take(&w->sides, 1);
	w->side = vly_side_at(&w->sides, w->index);
}

static void world_close(struct world *w)
{
	vly_side_put(&w->sides, w->index);
	vly_sides_fini(&w->sides);
	free(w->mem);
}

#define SPAN 4000u

static uint8_t byte_at(uint32_t offset)
{
	return (uint8_t)(offset * 7 + offset / 251);
}

/* The chunks are sorted, do not overlap, and hold exactly what `have` says. */
static void compare(struct world *w, uint32_t base, const bool *have)
{
	uint32_t offset = 0;

	for (uint32_t at = w->side->chunk_head; at != VLY_NO_CHUNK;) {
		struct vly_chunk *chunk = vly_chunk_at(&w->sides, at);
		uint32_t from = chunk->seq - base;

		cr_assert_leq(offset, from);
		for (; offset < from; offset++)
			cr_assert_not(have[offset], "lost byte %u", offset);
		for (; offset < from + chunk->len; offset++) {
			cr_assert(have[offset], "byte %u never came", offset);
			cr_assert_eq(vly_chunk_bytes(chunk)[offset - from], byte_at(offset));
		}
		if (chunk->next == VLY_NO_CHUNK)
			cr_assert_eq(w->side->chunk_tail, at);
		at = chunk->next;
	}
	for (; offset < SPAN; offset++)
		cr_assert_not(have[offset], "lost byte %u", offset);
}

Test(side, chunks_agree_with_an_array_whatever_comes_in_whatever_order)
{
	uint64_t state = 3;

	for (int round = 0; round < 300; round++) {
		bool have[SPAN] = {0};
		uint8_t bytes[SPAN];
		struct world w;
		uint32_t base = 0xfffff800u + (uint32_t)round; /* wraps inside */

		world_open(&w, 512, 200);
		for (int step = 0; step < 30; step++) {
			uint64_t random = vly_hash_u64(state += 0x9e3779b97f4a7c15u);
			uint32_t from = (uint32_t)random % SPAN;
			uint32_t len = 1 + (uint32_t)(random >> 32) % VLY_MIN(600u, SPAN - from);

			for (uint32_t i = 0; i < len; i++) {
				bytes[i] = byte_at(from + i);
				have[from + i] = true;
			}
			cr_assert(vly_chunk_insert(&w.sides, w.side, base + from, bytes, len));
			compare(&w, base, have);
			uint32_t edge = 0;

			while (edge < SPAN && have[edge])
				edge++;
			cr_assert_eq(vly_chunk_edge(&w.sides, w.side, base), base + edge);
		}
		world_close(&w);
	}
}

Test(side, chunks_that_run_out_are_refused_and_what_is_kept_stays_right)
{
	uint8_t bytes[1000] = {0};
	struct world w;

	world_open(&w, 2, 100);
	cr_assert(vly_chunk_insert(&w.sides, w.side, 5000, bytes, 100));
	cr_assert(vly_chunk_insert(&w.sides, w.side, 7000, bytes, 50));
	cr_assert_not(vly_chunk_insert(&w.sides, w.side, 6000, bytes, 10));
	cr_assert(vly_chunk_insert(&w.sides, w.side, 7050, bytes, 50)); /* room in the last one */
	cr_assert_eq(w.side->chunk_count, 2);
	cr_assert_eq(vly_chunk_edge(&w.sides, w.side, 7000), 7100);
	world_close(&w);
}

Test(side, segments_keep_their_order_through_splits_and_removals)
{
	struct world w;

	world_open(&w, 2, 100);
	struct vly_seg *a = vly_seg_append(&w.sides, w.side, 0, 100, 1);
	struct vly_seg *b = vly_seg_append(&w.sides, w.side, 100, 300, 2);

	b->flags = VLY_SEG_FIN;
	vly_seg_lost(&w.sides, w.side, b);
	cr_assert(vly_seg_split(&w.sides, w.side, b, 150));
	struct vly_seg *c = vly_seg_at(&w.sides, w.side->seg_tail);

	cr_assert_eq(b->end, 150);
	cr_assert_eq(b->flags, VLY_SEG_LOST);
	cr_assert_eq(c->seq, 150);
	cr_assert_eq(c->end, 300);
	cr_assert_eq(c->flags, VLY_SEG_FIN | VLY_SEG_LOST);
	vly_seg_remove(&w.sides, w.side, b);
	cr_assert_eq(vly_seg_at(&w.sides, a->next), c);
	cr_assert_eq(vly_seg_at(&w.sides, c->prev), a);
	vly_seg_remove(&w.sides, w.side, a);
	cr_assert_eq(vly_seg_at(&w.sides, w.side->seg_head), c);
	world_close(&w);
}

/* One list by number, without gaps, no two neighbours that the peer has; one by time, of those who matter. */
static void check_segments(const struct world *w)
{
	const struct vly_seg *before = NULL;
	unsigned timed = 0, count = 0;

	for (uint32_t at = w->side->seg_head; at != VLY_NO_SEG; count++) {
		const struct vly_seg *seg = vly_seg_at(&w->sides, at);

		timed += !(seg->flags & (VLY_SEG_SACKED | VLY_SEG_LOST));
		if (before) {
			cr_assert_eq(before->end, seg->seq);
			cr_assert_not(before->flags & seg->flags & VLY_SEG_SACKED);
		}
		before = seg;
		at = seg->next;
	}
	cr_assert_eq(count, w->side->seg_count);
	before = NULL;
	for (uint32_t at = w->side->time_head; at != VLY_NO_SEG; timed--) {
		const struct vly_seg *seg = vly_seg_at(&w->sides, at);

		cr_assert_not(seg->flags & (VLY_SEG_SACKED | VLY_SEG_LOST));
		cr_assert(!before || before->sent - seg->sent >= 1u << 31 ||
			  before->sent == seg->sent);
		before = seg;
		at = seg->later;
	}
	cr_assert_eq(timed, 0);
}

/* The segment of that place in the list by number. */
static struct vly_seg *pick(const struct world *w, uint32_t place)
{
	uint32_t at = w->side->seg_head;

	while (place--)
		at = vly_seg_at(&w->sides, at)->next;
	return vly_seg_at(&w->sides, at);
}

Test(side, segments_lie_by_number_and_by_time_whatever_happens_to_them)
{
	uint64_t state = 5;

	for (int round = 0; round < 200; round++) {
		uint32_t now = 0xffffffc0u, seq = 0xfffffe00u; /* both wrap */
		struct world w;

		world_open(&w, 2, 100);
		for (int step = 0; step < 200; step++, now += step % 3 == 0) {
			uint64_t random = vly_hash_u64(state += 0x9e3779b97f4a7c15u);
			struct vly_seg *seg =
				w.side->seg_count ? pick(&w, (uint32_t)random % w.side->seg_count)
						  : NULL;
			bool taken = seg && seg->flags & (VLY_SEG_SACKED | VLY_SEG_LOST);

			switch (random >> 40 & 7) {
			case 0:
			case 1:
				seq += vly_seg_append(&w.sides, w.side, seq, seq + 10, now) ? 10
											    : 0;
				break;
			case 2:
				if (seg && !taken)
					vly_seg_lost(&w.sides, w.side, seg);
				break;
			case 3:
				if (seg && !(seg->flags & VLY_SEG_SACKED))
					vly_seg_sacked(&w.sides, w.side, seg);
				break;
			case 4:
				if (seg && !(seg->flags & VLY_SEG_SACKED))
					vly_seg_sent(&w.sides, w.side, seg, now);
				break;
			case 5:
				if (seg && seg->end - seg->seq > 1 &&
				    !(seg->flags & VLY_SEG_SACKED))
					(void)vly_seg_split(&w.sides, w.side, seg, seg->seq + 1);
				break;
			case 6:
				vly_segs_found(&w.sides, w.side);
				break;
			default:
				if (seg)
					vly_seg_remove(&w.sides, w.side, pick(&w, 0));
			}
			check_segments(&w);
		}
		world_close(&w);
	}
}

Test(side, a_segment_is_found_by_number_from_wherever_the_last_was)
{
	struct world w;

	world_open(&w, 2, 100);
	for (uint32_t i = 0; i < 16; i++)
		cr_assert_not_null(vly_seg_append(&w.sides, w.side, i * 10, i * 10 + 10, i));
	for (uint32_t near = 0; near < 17; near++) {
		w.side->sack_near = near < 16 ? vly_slab_index(&w.sides.segs, pick(&w, near))
					      : VLY_NO_SEG;
		for (uint32_t seq = 0; seq <= 150; seq++)
			cr_assert_eq(vly_seg_at(&w.sides, vly_seg_from(&w.sides, w.side, seq))->seq,
				     (seq + 9) / 10 * 10);
		cr_assert_eq(vly_seg_from(&w.sides, w.side, 151), VLY_NO_SEG);
	}
	world_close(&w);
}

Test(side, ready_fifo_keeps_turns)
{
	struct world w;

	world_open(&w, 2, 100);
	uint32_t other = vly_side_take(&w.sides, 2), third = vly_side_take(&w.sides, 3);

	vly_side_ready(&w.sides, other);
	vly_side_ready(&w.sides, w.index);
	vly_side_ready(&w.sides, other);
	vly_side_ready(&w.sides, third);
	cr_assert_eq(w.sides.ready_count, 3);
	cr_assert_eq(w.sides.ready_head, other);
	vly_side_unready(&w.sides, w.index);
	vly_side_put(&w.sides, other);
	cr_assert_eq(w.sides.ready_head, third);
	cr_assert_eq(w.sides.ready_tail, third);
	vly_side_put(&w.sides, third);
	cr_assert_eq(w.sides.ready_count, 0);
	world_close(&w);
}
