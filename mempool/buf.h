/* buf.h - message and packet buffers: one cache line of header, headroom, data */
#ifndef VLY_MEMPOOL_BUF_H
#define VLY_MEMPOOL_BUF_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "mempool/asan_compat.h"
#include "mempool/slab.h"

struct vly_buf_pool;

/* Flags of vly_buf. */
enum {
	/* `data` is the application's memory, `cookie` its name; see borrowed_home */
	VLY_BUF_BORROWED = 1,
};

/*
 * Owner core only. `data, len` describe the bytes in use; they lie in the buffer's own storage (cap
 * > 0), in that of `parent` (indirect), or in borrowed memory. The pool sets every field at get;
 * `mark` is the holder's own.
 */
struct vly_buf {
	struct vly_buf *next; /* chain: the next segment of the same message or stream */
	uint8_t *data;        /* first byte in use */
	uint32_t len;         /* bytes in use */
	uint32_t refs;        /* references held; 0 = home */
	uint32_t cap;         /* bytes of own storage, headroom included; 0: indirect or borrowed */
	uint32_t index;       /* its name in its pool, constant */
	struct vly_buf *parent; /* indirect: who owns the bytes, one reference held; or NULL */
	void *cookie;           /* borrowed memory: given back to the application */
	struct vly_buf_pool *pool;
	uint8_t flags;
	uint8_t spare[3];
	uint32_t mark;
} __attribute__((aligned(VLY_CACHE_LINE)));

static_assert(sizeof(struct vly_buf) == VLY_CACHE_LINE, "the header is one line");
static_assert(offsetof(struct vly_buf, next) == 0,
	      "the free list runs through next, which is NULL when handed out");

/*
 * One element of a pool is [prefix][vly_buf][headroom][data], its stride an odd number of cache
 * lines: equal offsets of consecutive buffers then fall into different sets of the caches instead
 * of evicting each other. The prefix is room for a driver's own header in front of ours.
 */
struct vly_buf_pool_opts {
	uint32_t count;
	uint32_t data_bytes; /* 0, with headroom 0: descriptors for indirect and borrowed bytes */
	uint32_t headroom_bytes; /* room for headers in front of the data */
	uint32_t prefix_bytes;   /* a multiple of 64; 0 without a driver */
	/*
	 * Called once when the last reference to a VLY_BUF_BORROWED buffer of this pool is dropped,
	 * all of its fields but refs still in place; it may not take a new reference. NULL: nothing
	 * is called.
	 */
	void (*borrowed_home)(struct vly_buf *buf, void *arg);
	void *borrowed_arg;
};

struct vly_buf_pool {
	struct vly_slab slab;
	uint32_t prefix_bytes;
	uint32_t headroom_bytes;
	uint32_t cap_bytes;     /* headroom and data */
	uint32_t storage_bytes; /* those, and what rounds an element up to its stride */
	void (*borrowed_home)(struct vly_buf *buf, void *arg);
	void *borrowed_arg;
};

/* Bytes from one element to the next. */
size_t vly_buf_pool_stride(const struct vly_buf_pool_opts *opts);

/* Bytes of memory, aligned to 64, that the pool needs. */
size_t vly_buf_pool_bytes(const struct vly_buf_pool_opts *opts);

/*
 * Makes `mem` a pool with every buffer home; borrows it until vly_buf_pool_fini(). The pool itself
 * must not move. Returns 0; -ENOMEM when `mem` is NULL; -EINVAL for a count of 0, memory or a
 * prefix not aligned to 64, or sizes beyond 32 bits.
 */
__attribute__((warn_unused_result)) int vly_buf_pool_init(struct vly_buf_pool *pool, void *mem,
							  const struct vly_buf_pool_opts *opts);

/* Checks that every buffer is home, then forgets the memory. A zeroed pool is left alone. */
void vly_buf_pool_fini(struct vly_buf_pool *pool);

void vly_buf_pool_stats(const struct vly_buf_pool *pool, struct vly_slab_stats *stats);

/*
 * Invariants, for tests: walks the whole pool; every buffer outside is checked with
 * vly_buf_valid().
 */
bool vly_buf_pool_valid(const struct vly_buf_pool *pool);

/* Invariants of one buffer that is not home. */
bool vly_buf_valid(const struct vly_buf *buf);

/*
 * Returns an empty buffer with one reference, data at the end of the headroom; NULL when none is
 * home, which is counted.
 */
static inline struct vly_buf *vly_buf_get(struct vly_buf_pool *pool);

/* Takes one more reference. Returns `buf`. */
static inline struct vly_buf *vly_buf_ref(struct vly_buf *buf);

/*
 * Drops one reference. With the last one the buffer goes home and its reference to a parent is
 * dropped likewise. Segments behind `next` are not touched.
 */
static inline void vly_buf_put(struct vly_buf *buf);

/* Drops one reference of every segment of the chain; NULL is an empty chain. */
static inline void vly_buf_put_chain(struct vly_buf *buf);

/*
 * Turns `buf`, just got, into a view of `len` bytes at `data` inside `parent`, and takes a
 * reference to the buffer that owns them (the parent's own parent, if it is a view itself: a slice
 * of a slice pins no descriptor in between).
 */
static inline void vly_buf_attach(struct vly_buf *buf, struct vly_buf *parent, uint8_t *data,
				  uint32_t len);

/*
 * Turns `buf`, just got, into a view of the application's memory, to be given back under `cookie`
 * by the pool's hook.
 */
static inline void vly_buf_borrow(struct vly_buf *buf, uint8_t *data, uint32_t len, void *cookie);

/* Whether the bytes may be rewritten: own storage, and nobody else sees it. */
static inline bool vly_buf_writable(const struct vly_buf *buf);

/* Free bytes in front of the data, and behind it; 0 without own storage. */
static inline uint32_t vly_buf_headroom(const struct vly_buf *buf);
static inline uint32_t vly_buf_tailroom(const struct vly_buf *buf);

/*
 * Grows the data by `len` bytes at its front, for a header. Returns the new first byte; NULL: no
 * headroom, nothing changed.
 */
static inline uint8_t *vly_buf_push(struct vly_buf *buf, uint32_t len);

/* Drops `len` bytes, at most buf->len, at the front. Returns the new first byte. */
static inline uint8_t *vly_buf_pull(struct vly_buf *buf, uint32_t len);

/*
 * Grows the data by `len` bytes at its end. Returns the first of them; NULL: no tailroom, nothing
 * changed.
 */
static inline uint8_t *vly_buf_append(struct vly_buf *buf, uint32_t len);

/* Drops `len` bytes, at most buf->len, at the end. */
static inline void vly_buf_trim(struct vly_buf *buf, uint32_t len);

/* The buffer named `index` (less than the pool's count), home or not. */
static inline struct vly_buf *vly_buf_at(const struct vly_buf_pool *pool, uint32_t index);

/* Buffers home now. */
static inline uint32_t vly_buf_free_count(const struct vly_buf_pool *pool);

/* First byte of the buffer's own storage, where the headroom starts. */
static inline uint8_t *vly_buf_storage(struct vly_buf *buf);

/* ---- inline bodies ---- */

static inline uint8_t *vly_buf_storage(struct vly_buf *buf)
{
	return (uint8_t *)(buf + 1);
}

static inline struct vly_buf *vly_buf_of_element(const struct vly_buf_pool *pool, void *element)
{
	return (struct vly_buf *)(void *)((uint8_t *)element + pool->prefix_bytes);
}

/* Where the pool's element that holds `buf` starts, prefix first. */
static inline void *vly_buf_element(struct vly_buf *buf)
{
	return (uint8_t *)buf - buf->pool->prefix_bytes;
}

static inline struct vly_buf *vly_buf_get(struct vly_buf_pool *pool)
{
	void *element = vly_slab_get(&pool->slab);

	if (vly_unlikely(!element))
		return NULL;
	struct vly_buf *buf = vly_buf_of_element(pool, element);
	assert(buf->refs == 0);
	vly_unpoison(vly_buf_storage(buf), pool->cap_bytes);
	buf->data = vly_buf_storage(buf) + pool->headroom_bytes;
	buf->len = 0;
	buf->refs = 1;
	buf->cap = pool->cap_bytes;
	buf->parent = NULL;
	buf->cookie = NULL;
	buf->flags = 0;
	buf->mark = 0;
	return buf;
}

static inline struct vly_buf *vly_buf_ref(struct vly_buf *buf)
{
	assert(buf->refs > 0);
	assert(buf->refs < UINT32_MAX);
	buf->refs++;
	return buf;
}

static inline void vly_buf_put(struct vly_buf *buf)
{
	/* A loop: chains of views may be long, the stack is not. */
	do {
		assert(buf->refs > 0);
		if (--buf->refs > 0)
			return;
		struct vly_buf_pool *pool = buf->pool;
		struct vly_buf *parent = buf->parent;

		if (vly_unlikely(buf->flags & VLY_BUF_BORROWED) && pool->borrowed_home)
			pool->borrowed_home(buf, pool->borrowed_arg);
		vly_poison(vly_buf_storage(buf), pool->storage_bytes);
		vly_slab_put(&pool->slab, vly_buf_element(buf));
		buf = parent;
	} while (buf);
}

static inline void vly_buf_put_chain(struct vly_buf *buf)
{
	while (buf) {
		struct vly_buf *next = buf->next; /* the free list overwrites it */

		vly_buf_put(buf);
		buf = next;
	}
}

static inline void vly_buf_attach(struct vly_buf *buf, struct vly_buf *parent, uint8_t *data,
				  uint32_t len)
{
	assert(buf->refs == 1);
	assert(!buf->parent);
	assert(buf != parent);
	assert(data >= parent->data);
	assert(data + len <= parent->data + parent->len);
	buf->parent = vly_buf_ref(parent->parent ? parent->parent : parent);
	buf->data = data;
	buf->len = len;
	buf->cap = 0;
}

static inline void vly_buf_borrow(struct vly_buf *buf, uint8_t *data, uint32_t len, void *cookie)
{
	assert(buf->refs == 1);
	assert(!buf->parent);
	buf->data = data;
	buf->len = len;
	buf->cap = 0;
	buf->cookie = cookie;
	buf->flags |= VLY_BUF_BORROWED;
}

static inline bool vly_buf_writable(const struct vly_buf *buf)
{
	return buf->refs == 1 && buf->cap > 0;
}

static inline uint32_t vly_buf_headroom(const struct vly_buf *buf)
{
	return buf->cap ? (uint32_t)(buf->data - (const uint8_t *)(buf + 1)) : 0;
}

static inline uint32_t vly_buf_tailroom(const struct vly_buf *buf)
{
	return buf->cap ? buf->cap - vly_buf_headroom(buf) - buf->len : 0;
}

static inline uint8_t *vly_buf_push(struct vly_buf *buf, uint32_t len)
{
	assert(buf->refs == 1);
	if (vly_unlikely(len > vly_buf_headroom(buf)))
		return NULL;
	buf->data -= len;
	buf->len += len;
	return buf->data;
}

static inline uint8_t *vly_buf_pull(struct vly_buf *buf, uint32_t len)
{
	assert(len <= buf->len);
	buf->data += len;
	buf->len -= len;
	return buf->data;
}

static inline uint8_t *vly_buf_append(struct vly_buf *buf, uint32_t len)
{
	if (vly_unlikely(len > vly_buf_tailroom(buf)))
		return NULL;
	uint8_t *tail = buf->data + buf->len;
	buf->len += len;
	return tail;
}

static inline void vly_buf_trim(struct vly_buf *buf, uint32_t len)
{
	assert(len <= buf->len);
	buf->len -= len;
}

static inline struct vly_buf *vly_buf_at(const struct vly_buf_pool *pool, uint32_t index)
{
	return vly_buf_of_element(pool, vly_slab_at(&pool->slab, index));
}

static inline uint32_t vly_buf_free_count(const struct vly_buf_pool *pool)
{
	return pool->slab.free_count;
}

#endif
