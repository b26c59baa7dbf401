/* slab.c - fixed-size objects: setting up, taking down, checking */
#include "mempool/slab.h"

#include <errno.h>

/*
 * The inverse of an odd number modulo 2^32. Newton's iteration doubles the correct low bits each
 * time; an odd number is its own inverse modulo 8, so 3 -> 6 -> 12 -> 24 -> 48 bits.
 */
static uint32_t odd_inverse(uint32_t odd)
{
	uint32_t inverse = odd;

	for (int i = 0; i < 4; i++)
		inverse *= 2 - odd * inverse;
	return inverse;
}

int vly_slab_init(struct vly_slab *slab, void *mem, uint32_t count, uint32_t object_bytes,
		  uint32_t link_offset)
{
	size_t units = vly_slab_bytes(count, object_bytes) / VLY_SLAB_UNIT;

	memset(slab, 0, sizeof(*slab));
	if (!mem)
		return -ENOMEM;
	if (count == 0 || object_bytes == 0 || units >= VLY_SLAB_END)
		return -EINVAL;
	if (object_bytes % VLY_SLAB_UNIT || link_offset % VLY_SLAB_UNIT ||
	    (uintptr_t)mem % VLY_SLAB_UNIT)
		return -EINVAL;
	if (link_offset >= object_bytes)
		return -EINVAL;

	slab->base = mem;
	slab->head = VLY_SLAB_END;
	slab->fresh = 0;
	slab->limit = (uint32_t)units;
	slab->stride = object_bytes / VLY_SLAB_UNIT;
	slab->link_bytes = link_offset;
	slab->free_count = count;
	slab->low_water = count;
	slab->count = count;
	slab->index_shift = (uint32_t)__builtin_ctz(slab->stride);
	slab->index_inverse = odd_inverse(slab->stride >> slab->index_shift);
	return 0;
}

void vly_slab_fini(struct vly_slab *slab)
{
	VLY_CHECK(slab->free_count == slab->count);
	memset(slab, 0, sizeof(*slab));
}

void vly_slab_stats(const struct vly_slab *slab, struct vly_slab_stats *stats)
{
	*stats = (struct vly_slab_stats){
		.count = slab->count,
		.free_count = slab->free_count,
		.low_water = slab->low_water,
		.gets = slab->gets,
		.exhausted = slab->exhausted,
	};
}

bool vly_slab_valid(const struct vly_slab *slab)
{
	uint32_t listed = 0;

	if (slab->limit != (uint64_t)slab->count * slab->stride || slab->fresh > slab->limit ||
	    slab->fresh % slab->stride)
		return false;
	if (slab->low_water > slab->free_count || slab->free_count > slab->count)
		return false;

	for (uint32_t offset = slab->head; offset != VLY_SLAB_END;) {
		if (offset >= slab->fresh || offset % slab->stride)
			return false;
		uint64_t link = vly_slab_link(slab, slab->base + (size_t)offset * VLY_SLAB_UNIT);
		if (link >> 32 != (VLY_SLAB_TAG ^ offset))
			return false;
		/* A list longer than the slab is a circle. */
		if (++listed > slab->count)
			return false;
		offset = (uint32_t)link;
	}
	return slab->free_count == listed + (slab->limit - slab->fresh) / slab->stride;
}
