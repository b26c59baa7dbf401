/* buf.c - buffer pools: sizes, setting up, taking down, checking */
#include "mempool/buf.h"

#include <errno.h>
#include <string.h>

size_t vly_buf_pool_stride(const struct vly_buf_pool_opts *opts)
{
	size_t bytes = (size_t)opts->prefix_bytes + sizeof(struct vly_buf) + opts->headroom_bytes +
		       opts->data_bytes;
	size_t lines = (bytes + VLY_CACHE_LINE - 1) / VLY_CACHE_LINE;

	return (lines | 1) * VLY_CACHE_LINE;
}

size_t vly_buf_pool_bytes(const struct vly_buf_pool_opts *opts)
{
	return opts->count * vly_buf_pool_stride(opts);
}

int vly_buf_pool_init(struct vly_buf_pool *pool, void *mem, const struct vly_buf_pool_opts *opts)
{
	size_t stride_bytes = vly_buf_pool_stride(opts);
	int err;

	memset(pool, 0, sizeof(*pool));
	if (stride_bytes > UINT32_MAX || opts->prefix_bytes % VLY_CACHE_LINE ||
	    (uintptr_t)mem % VLY_CACHE_LINE)
		return -EINVAL;
	err = vly_slab_init(&pool->slab, mem, opts->count, (uint32_t)stride_bytes,
			    opts->prefix_bytes + (uint32_t)offsetof(struct vly_buf, next));
	if (err)
		return err;

	pool->prefix_bytes = opts->prefix_bytes;
	pool->headroom_bytes = opts->headroom_bytes;
	pool->cap_bytes = opts->headroom_bytes + opts->data_bytes;
	pool->storage_bytes =
		(uint32_t)(stride_bytes - opts->prefix_bytes - sizeof(struct vly_buf));
	pool->borrowed_home = opts->borrowed_home;
	pool->borrowed_arg = opts->borrowed_arg;
	for (uint32_t i = 0; i < opts->count; i++) {
		struct vly_buf *buf = vly_buf_at(pool, i);

		memset(buf, 0, sizeof(*buf));
		buf->index = i;
		buf->pool = pool;
		vly_poison(vly_buf_storage(buf), pool->storage_bytes);
	}
	return 0;
}

void vly_buf_pool_fini(struct vly_buf_pool *pool)
{
	if (pool->slab.base)
		vly_unpoison(pool->slab.base, (size_t)pool->slab.limit * VLY_SLAB_UNIT);
	vly_slab_fini(&pool->slab);
	memset(pool, 0, sizeof(*pool));
}

void vly_buf_pool_stats(const struct vly_buf_pool *pool, struct vly_slab_stats *stats)
{
	vly_slab_stats(&pool->slab, stats);
}

bool vly_buf_pool_valid(const struct vly_buf_pool *pool)
{
	if (!vly_slab_valid(&pool->slab))
		return false;
	for (uint32_t i = 0; i < pool->slab.count; i++) {
		const struct vly_buf *buf = vly_buf_at(pool, i);
		bool home = vly_slab_home(&pool->slab, vly_slab_at(&pool->slab, i));

		if (buf->index != i || buf->pool != pool)
			return false;
		if (home != (buf->refs == 0))
			return false;
		if (!home && !vly_buf_valid(buf))
			return false;
	}
	return true;
}

/* Whether the bytes in use lie inside the buffer's own storage. */
static bool within_storage(const struct vly_buf *buf)
{
	const uint8_t *storage = (const uint8_t *)(buf + 1);

	return buf->data >= storage && buf->data + buf->len <= storage + buf->cap;
}

bool vly_buf_valid(const struct vly_buf *buf)
{
	if (buf->refs == 0 || vly_buf_at(buf->pool, buf->index) != buf)
		return false;
	if (buf->parent && (buf->cap > 0 || buf->parent->refs == 0))
		return false;
	if (buf->flags & VLY_BUF_BORROWED && (buf->cap > 0 || buf->parent))
		return false;
	return buf->cap == 0 || (buf->cap == buf->pool->cap_bytes && within_storage(buf));
}
