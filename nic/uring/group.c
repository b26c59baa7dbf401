/* group.c - filling rings of receive buffers and keeping count of what the kernel has used */
#include "nic/uring/group.h"

#include <errno.h>

#include "base/check.h"

#define PAGE 4096u
#define CHUNKS_MAX 64u

static uint32_t power_of_two(uint32_t n)
{
	uint32_t power = 1;

	while (power < n)
		power *= 2;
	return power;
}

/* How many chunks a buffer is cut into. */
static uint32_t chunks_of(const struct uring_group_opts *opts)
{
	uint32_t chunks =
		opts->buf_bytes / VLY_ALIGN_UP(opts->chunk_bytes, (uint32_t)VLY_CACHE_LINE);

	chunks = VLY_MIN(VLY_MAX(chunks, 1u), CHUNKS_MAX);
	/* Rather all buffers in few pieces than some of them in many. */
	while (chunks > 1 && (uint64_t)chunks * opts->buffers > GROUP_ENTRIES_MAX)
		chunks /= 2;
	return chunks;
}

static uint32_t entries_of(const struct uring_group_opts *opts)
{
	uint64_t wanted = (uint64_t)opts->buffers * (opts->chunk_bytes ? chunks_of(opts) : 1);

	return power_of_two((uint32_t)VLY_MIN(wanted, (uint64_t)GROUP_ENTRIES_MAX));
}

static uint32_t places_of(const struct uring_group_opts *opts)
{
	if (!opts->chunk_bytes)
		return entries_of(opts);
	return VLY_MIN(opts->buffers, GROUP_ENTRIES_MAX / chunks_of(opts));
}

static size_t ring_bytes(const struct uring_group_opts *opts)
{
	return VLY_ALIGN_UP(entries_of(opts) * sizeof(struct io_uring_buf), (size_t)PAGE);
}

static size_t places_bytes(const struct uring_group_opts *opts)
{
	return VLY_ALIGN_UP(places_of(opts) * sizeof(struct uring_place), (size_t)PAGE);
}

size_t uring_group_bytes(const struct uring_group_opts *opts)
{
	return ring_bytes(opts) + places_bytes(opts);
}

int uring_group_open(struct uring_group *group, const struct uring_group_opts *opts,
		     struct vly_rx *rx, struct vly_region *region, const struct uring_ring *ring)
{
	*group = (struct uring_group){.rx = rx,
				      .id = opts->id,
				      .entries = entries_of(opts),
				      .places_count = places_of(opts)};
	if (opts->chunk_bytes) {
		group->chunks = chunks_of(opts);
		group->chunk_bytes =
			opts->buf_bytes / group->chunks / VLY_CACHE_LINE * VLY_CACHE_LINE;
		if (group->chunks == 1)
			group->chunk_bytes = opts->buf_bytes;
	}
	group->ring = vly_region_take(region, ring_bytes(opts), PAGE);
	group->places = vly_region_take(region, places_bytes(opts), PAGE);
	if (!group->ring || !group->places)
		return -ENOMEM;
	struct io_uring_buf_reg reg = {.ring_addr = (uint64_t)(uintptr_t)group->ring,
				       .ring_entries = group->entries,
				       .bgid = opts->id,
				       .pad = opts->chunk_bytes ? 0 : VLY_IOU_PBUF_RING_INC};

	return io_uring_register((unsigned)ring->fd, IORING_REGISTER_PBUF_RING, &reg, 1);
}

void uring_group_close(struct uring_group *group)
{
	for (uint32_t i = 0; group->places && i < group->places_count; i++) {
		if (group->places[i].buf)
			vly_buf_put(group->places[i].buf);
		group->places[i].buf = NULL;
	}
	group->buffers = 0;
}

/* The last field of entry 0 is the ring's tail: only these three are written. */
static void set_entry(struct uring_group *group, uint32_t at, uint8_t *data, uint32_t len,
		      uint32_t id)
{
	struct io_uring_buf *entry = &group->ring->bufs[at & (group->entries - 1)];

	entry->addr = (uint64_t)(uintptr_t)data;
	entry->len = len;
	entry->bid = (uint16_t)id;
}

static void show_tail(struct uring_group *group)
{
	/* pairs with the kernel's acquire of the tail */
	__atomic_store_n(&group->ring->tail, group->tail, __ATOMIC_RELEASE);
}

static struct vly_buf *fresh_buf(struct uring_group *group)
{
	struct vly_buf *buf = vly_buf_get(group->rx->pool);

	if (buf)
		buf->len = buf->cap; /* slices are cut out of the whole of it */
	return buf;
}

/* Whether the pool may give one more, and leaves `keep`. */
static bool pool_spares(const struct uring_group *group, uint32_t keep)
{
	return vly_buf_free_count(group->rx->pool) > keep;
}

/* --- whole -------------------------------------------------------------------------------------------------------------------- */

static struct uring_place *first_place(struct uring_group *group)
{
	return &group->places[group->head & (group->entries - 1)];
}

/* A buffer for the first entry's place: from the pool, else the last one's. NULL: it is the only one. */
static struct vly_buf *other_buf(struct uring_group *group)
{
	struct vly_buf *buf = fresh_buf(group);

	if (buf || group->buffers < 2)
		return buf;
	struct uring_place *last = &group->places[--group->tail & (group->entries - 1)];

	buf = last->buf;
	last->buf = NULL;
	group->buffers--;
	group->free_entries--;
	group->rx->lent_count--;
	return buf;
}

/* The first buffer is partly used: begin it again, or another one if somebody still needs its bytes. */
static void renew_first(struct uring_group *group)
{
	struct uring_place *place = first_place(group);

	if (place->buf->refs > 1) {
		struct vly_buf *other = other_buf(group);

		if (!other)
			return; /* the rest of it will do */
		vly_buf_put(place->buf);
		place->buf = other;
	}
	set_entry(group, group->head, place->buf->data, place->buf->cap,
		  group->head & (group->entries - 1));
	group->used = 0;
}

static void refill_whole(struct uring_group *group, uint32_t keep, bool all_taken)
{
	uint16_t before = group->tail;

	if (group->used && all_taken)
		renew_first(group);
	while (group->buffers < group->entries &&
	       (pool_spares(group, keep) || (!group->buffers && pool_spares(group, 0)))) {
		struct vly_buf *buf = fresh_buf(group);
		uint32_t at = group->tail & (group->entries - 1);

		group->places[at].buf = buf;
		set_entry(group, at, buf->data, buf->cap, at);
		group->tail++;
		group->buffers++;
		group->free_entries++;
		group->rx->lent_count++;
	}
	if (group->tail != before)
		show_tail(group);
}

static void take_whole(struct uring_group *group, const struct io_uring_cqe *cqe, uint32_t len,
		       struct uring_span *span)
{
	struct uring_place *place = first_place(group);

	VLY_CHECK(cqe->flags >> IORING_CQE_BUFFER_SHIFT == (group->head & (group->entries - 1)));
	*span = (struct uring_span){.buf = place->buf,
				    .data = place->buf->data + group->used,
				    .len = len,
				    .token = GROUP_NO_TOKEN};
	group->used += len;
	if (cqe->flags & IORING_CQE_F_BUF_MORE)
		return;
	/* Used up: home when the batch is over, and nobody holds it. */
	place->buf->next = group->rx->lent;
	group->rx->lent = place->buf;
	place->buf = NULL;
	group->used = 0;
	group->head++;
	group->buffers--;
	group->free_entries--;
}

/* --- cut ---------------------------------------------------------------------------------------------------------------------- */

static void add_chunk(struct uring_group *group, uint32_t token)
{
	struct uring_place *place = &group->places[token / group->chunks];
	uint32_t chunk = token % group->chunks;

	set_entry(group, group->tail, place->buf->data + (size_t)chunk * group->chunk_bytes,
		  group->chunk_bytes, token);
	place->out |= 1ull << chunk;
	group->tail++;
	group->free_entries++;
}

static void add_chunks(struct uring_group *group, struct uring_place *place, uint64_t chunks)
{
	uint32_t first = (uint32_t)(place - group->places) * group->chunks;

	for (; chunks; chunks &= chunks - 1)
		add_chunk(group, first + (uint32_t)__builtin_ctzll(chunks));
}

static uint64_t all_chunks(const struct uring_group *group)
{
	return group->chunks == 64 ? UINT64_MAX : (1ull << group->chunks) - 1;
}

/* Buffers that were held: whole again, or exchanged once all their chunks are back. */
static void free_stuck(struct uring_group *group)
{
	for (uint32_t i = 0; group->stuck && i < group->places_count; i++) {
		struct uring_place *place = &group->places[i];

		if (!place->is_stuck)
			continue;
		if (place->buf->refs > 1) {
			if (place->idle != all_chunks(group) || !pool_spares(group, 0))
				continue;
			vly_buf_put(place->buf);
			place->buf = fresh_buf(group);
		}
		place->is_stuck = false;
		group->stuck--;
		group->rx->lent_count++;
		uint64_t idle = place->idle;

		place->idle = 0;
		add_chunks(group, place, idle);
	}
}

static void refill_cut(struct uring_group *group, uint32_t keep)
{
	uint16_t before = group->tail;

	if (group->stuck)
		free_stuck(group);
	while (group->buffers < group->places_count &&
	       (pool_spares(group, keep) || (!group->buffers && pool_spares(group, 0)))) {
		struct uring_place *place = &group->places[group->buffers++];

		place->buf = fresh_buf(group);
		group->rx->lent_count++;
		add_chunks(group, place, all_chunks(group));
	}
	if (group->tail != before)
		show_tail(group);
}

static void take_cut(struct uring_group *group, const struct io_uring_cqe *cqe, uint32_t len,
		     struct uring_span *span)
{
	uint32_t token = cqe->flags >> IORING_CQE_BUFFER_SHIFT;
	uint32_t chunk = token % group->chunks;

	VLY_CHECK(token / group->chunks < group->buffers);
	struct uring_place *place = &group->places[token / group->chunks];

	VLY_CHECK(place->out >> chunk & 1);
	place->out &= ~(1ull << chunk);
	group->free_entries--;
	*span = (struct uring_span){.buf = place->buf,
				    .data = place->buf->data + (size_t)chunk * group->chunk_bytes,
				    .len = len,
				    .token = token};
}

void uring_group_give(struct uring_group *group, uint32_t token)
{
	if (token == GROUP_NO_TOKEN)
		return;
	struct uring_place *place = &group->places[token / group->chunks];

	if (vly_likely(place->buf->refs == 1)) {
		add_chunk(group, token);
		show_tail(group);
		return;
	}
	place->idle |= 1ull << (token % group->chunks);
	if (!place->is_stuck) {
		place->is_stuck = true;
		group->stuck++;
		group->rx->lent_count--;
	}
}

/* ------------------------------------------------------------------------------------------------------------------------------ */

void uring_group_refill(struct uring_group *group, uint32_t keep, bool all_taken)
{
	if (group->chunk_bytes)
		refill_cut(group, keep);
	else
		refill_whole(group, keep, all_taken);
}

void uring_group_take(struct uring_group *group, const struct io_uring_cqe *cqe, uint32_t len,
		      struct uring_span *span)
{
	if (group->chunk_bytes)
		take_cut(group, cqe, len, span);
	else
		take_whole(group, cqe, len, span);
}
