/* slab.h - fixed-size objects of one core: an intrusive LIFO free list, no atomics */
#ifndef VLY_MEMPOOL_SLAB_H
#define VLY_MEMPOOL_SLAB_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/check.h"
#include "base/compiler.h"

/*
 * Everything is owner core only, statistics included.
 *
 * An object that is home (free) keeps its contents except the eight bytes at link_offset: a
 * record's generation counter survives put and get, so that stale handles stay recognisable. Those
 * eight bytes are 0 when the object is handed out, and the holder may use them as it likes. An
 * object handed out for the first time is as the memory was given (zero, if from a region).
 *
 * Offsets count units of 8 bytes from `base`, so 32 bits reach 32 GiB. The link of a home object is
 *
 *	(VLY_SLAB_TAG ^ own offset) << 32 | offset of the next free object
 *
 * which makes "is it home?" one comparison: a second put, or a write into a home object, is found
 * when it happens or at the next get. Objects at or above `fresh` were never handed out and carry
 * no link; they follow when the list is empty, in order, so that first use walks memory
 * sequentially.
 */
#define VLY_SLAB_END UINT32_MAX
#define VLY_SLAB_TAG 0x9e51ab1fu
#define VLY_SLAB_UNIT 8u

struct vly_slab {
	uint8_t *base;
	uint32_t head;       /* offset of the object put last, or VLY_SLAB_END */
	uint32_t fresh;      /* offset of the first object never handed out */
	uint32_t limit;      /* offset just past the last object */
	uint32_t stride;     /* units from one object to the next */
	uint32_t link_bytes; /* where an object's link lies */
	uint32_t free_count; /* home now */
	uint32_t low_water;  /* fewest ever home */
	uint32_t count;
	uint64_t gets;      /* objects handed out */
	uint64_t exhausted; /* gets refused because nothing was home */
	/* index = (offset >> index_shift) * index_inverse: dividing by stride, exactly */
	uint32_t index_inverse;
	uint32_t index_shift;
};

static_assert(sizeof(struct vly_slab) == VLY_CACHE_LINE, "a slab is one line");

struct vly_slab_stats {
	uint32_t count, free_count, low_water;
	uint64_t gets, exhausted;
};

/* Bytes of memory for `count` objects of `object_bytes`. */
static inline size_t vly_slab_bytes(uint32_t count, uint32_t object_bytes)
{
	return (size_t)count * object_bytes;
}

/*
 * Makes `mem` (vly_slab_bytes() of it, aligned to 8 or as the objects need) a slab with every
 * object home. Borrows `mem` until vly_slab_fini() and touches none of it now. `object_bytes` is a
 * multiple of 8 and the stride; `link_offset` is a multiple of 8 inside the object. Returns 0;
 * -ENOMEM when `mem` is NULL (so a region's take can be passed on unseen); -EINVAL for a count of
 * 0, a size or offset that is no multiple of 8, or more than 32 GiB.
 */
__attribute__((warn_unused_result)) int vly_slab_init(struct vly_slab *slab, void *mem,
						      uint32_t count, uint32_t object_bytes,
						      uint32_t link_offset);

/* Checks that every object is home, then forgets the memory. A zeroed slab is left alone. */
void vly_slab_fini(struct vly_slab *slab);

void vly_slab_stats(const struct vly_slab *slab, struct vly_slab_stats *stats);

/* Invariants, for tests: walks the whole free list. */
bool vly_slab_valid(const struct vly_slab *slab);

/* The object's name, 0..count-1. `obj` is an object of this slab, home or not. */
static inline uint32_t vly_slab_index(const struct vly_slab *slab, const void *obj);

/* The object named `index` (less than count), home or not. */
static inline void *vly_slab_at(const struct vly_slab *slab, uint32_t index);

/* Whether `obj`, an object of this slab, is home. */
static inline bool vly_slab_home(const struct vly_slab *slab, const void *obj);

/* Hands out the object put last, else one never used; NULL when none is home, which is counted. */
static inline void *vly_slab_get(struct vly_slab *slab);

/* Takes home an object that vly_slab_get() handed out. */
static inline void vly_slab_put(struct vly_slab *slab, void *obj);

/* ---- inline bodies ---- */

static inline uint32_t vly_slab_offset(const struct vly_slab *slab, const void *obj)
{
	return (uint32_t)((size_t)((const uint8_t *)obj - slab->base) / VLY_SLAB_UNIT);
}

/* The link may lie over a field of any type: memcpy keeps the compiler from assuming which. */
static inline uint64_t vly_slab_link(const struct vly_slab *slab, const void *obj)
{
	uint64_t link;

	memcpy(&link, (const uint8_t *)obj + slab->link_bytes, sizeof(link));
	return link;
}

static inline void vly_slab_set_link(const struct vly_slab *slab, void *obj, uint64_t link)
{
	memcpy((uint8_t *)obj + slab->link_bytes, &link, sizeof(link));
}

static inline uint32_t vly_slab_index(const struct vly_slab *slab, const void *obj)
{
	uint32_t index = (vly_slab_offset(slab, obj) >> slab->index_shift) * slab->index_inverse;

	assert(index < slab->count);
	assert(vly_slab_at(slab, index) == obj);
	return index;
}

static inline void *vly_slab_at(const struct vly_slab *slab, uint32_t index)
{
	assert(index < slab->count);
	return slab->base + (size_t)index * slab->stride * VLY_SLAB_UNIT;
}

static inline bool vly_slab_home(const struct vly_slab *slab, const void *obj)
{
	uint32_t offset = vly_slab_offset(slab, obj);

	return offset >= slab->fresh || vly_slab_link(slab, obj) >> 32 == (VLY_SLAB_TAG ^ offset);
}

static inline void *vly_slab_get(struct vly_slab *slab)
{
	uint8_t *obj;

	if (vly_likely(slab->head != VLY_SLAB_END)) {
		obj = slab->base + (size_t)slab->head * VLY_SLAB_UNIT;
		uint64_t link = vly_slab_link(slab, obj);
		/* Else somebody wrote into a home object, or put one twice. */
		VLY_CHECK(link >> 32 == (VLY_SLAB_TAG ^ slab->head));
		slab->head = (uint32_t)link;
	} else if (vly_likely(slab->fresh != slab->limit)) {
		obj = slab->base + (size_t)slab->fresh * VLY_SLAB_UNIT;
		slab->fresh += slab->stride;
	} else {
		slab->exhausted++;
		return NULL;
	}
	vly_slab_set_link(slab, obj, 0);
	slab->free_count--;
	slab->low_water = VLY_MIN(slab->low_water, slab->free_count);
	slab->gets++;
	return obj;
}

static inline void vly_slab_put(struct vly_slab *slab, void *obj)
{
	uint32_t offset = vly_slab_offset(slab, obj);

	assert((uint8_t *)obj >= slab->base);
	assert(vly_slab_index(slab, obj) < slab->count);
	assert(!vly_slab_home(slab, obj));
	vly_slab_set_link(slab, obj, (uint64_t)(VLY_SLAB_TAG ^ offset) << 32 | slab->head);
	slab->head = offset;
	slab->free_count++;
}

#endif
