/* region.h - one core's memory: a single mapping on its NUMA node, taken and populated at start */
#ifndef VLY_MEMPOOL_REGION_H
#define VLY_MEMPOOL_REGION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/compiler.h"

#define VLY_REGION_PAGE_BYTES ((size_t)4096)
#define VLY_REGION_HUGE_BYTES ((size_t)2 << 20)
/* The kernel's own bound (CONFIG_NODES_SHIFT is at most 10). */
#define VLY_REGION_NODES_MAX 1024

enum vly_page_kind {
	VLY_PAGE_4K,
	VLY_PAGE_THP, /* transparent: 2 MiB pages wherever the kernel finds them */
	VLY_PAGE_2M,  /* hugetlb */
};

/*
 * The system functions a region calls, each with the contract of the one it is named after (result
 * and errno). Tests inject their own; a set given to vly_region_open() must outlive the region.
 */
struct vly_region_sys {
	void *(*mmap)(void *addr, size_t len, int prot, int flags, int fd, off_t offset);
	int (*munmap)(void *addr, size_t len);
	int (*madvise)(void *addr, size_t len, int advice);
	int (*mlock)(const void *addr, size_t len);
	long (*mbind)(void *addr, unsigned long len, int mode, const unsigned long *nodemask,
		      unsigned long maxnode, unsigned int flags);
	bool (*thp_allowed)(void); /* transparent huge pages are given to those who madvise() */
};

struct vly_region_opts {
	size_t size_bytes;
	int numa_node; /* -1: wherever the kernel puts it */
	bool try_huge; /* hugetlb, else transparent; false: 4 KiB pages at once */
	bool try_lock;
	const struct vly_region_sys *sys; /* NULL: the real ones */
};

/*
 * What was really got. Only the thread that opens the region writes it; when everything has been
 * taken nobody writes it until it is closed.
 */
struct vly_region {
	uint8_t *base;     /* aligned to page_bytes; zero-filled */
	size_t size_bytes; /* what was asked for, rounded up to page_bytes */
	size_t used_bytes; /* taken so far, alignment included */
	size_t page_bytes;
	enum vly_page_kind pages;
	int numa_node;  /* -1: not bound */
	int bind_error; /* 0, or -errno of the refused mbind */
	int lock_error; /* 0, or -errno of the refused mlock */
	bool bound; /* hugetlb: that node only; other pages: that node as long as it has any free */
	bool locked;    /* never swapped: by mlock, or because hugetlb pages never are */
	bool dont_fork; /* absent from children */
	const struct vly_region_sys *sys;
};

/*
 * Maps, binds, populates and locks, in this order. Smaller pages, no binding and no lock are
 * recorded and logged, not errors. Returns 0; -EINVAL for a size of 0 or a node outside
 * -1..VLY_REGION_NODES_MAX-1; -ENOMEM when the memory is not to be had with any kind of page. On
 * error the region is left closed (base NULL).
 */
__attribute__((warn_unused_result)) int vly_region_open(struct vly_region *region,
							const struct vly_region_opts *opts);

/*
 * Takes `bytes` (at least 1) aligned to `align` (a power of two) out of the region, at start only:
 * nothing is ever given back singly. Returns zero-filled memory that lives until the region closes,
 * or NULL when it is full, which changes nothing.
 */
__attribute__((warn_unused_result)) void *vly_region_take(struct vly_region *region, size_t bytes,
							  size_t align);

/* Unmaps. Closing a closed or zeroed region does nothing. */
void vly_region_close(struct vly_region *region);

/* What one line of text calls it: "4 KiB", "transparent 2 MiB", "2 MiB". */
const char *vly_page_kind_name(enum vly_page_kind pages);

/* Invariants, for tests. */
bool vly_region_valid(const struct vly_region *region);

/* What a region of `size_bytes` takes with this kind of page (for plans). */
static inline size_t vly_region_bytes(size_t size_bytes, enum vly_page_kind pages)
{
	return VLY_ALIGN_UP(size_bytes,
			    pages == VLY_PAGE_4K ? VLY_REGION_PAGE_BYTES : VLY_REGION_HUGE_BYTES);
}

#endif
