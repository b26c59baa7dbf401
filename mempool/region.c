/* region.c - mapping, binding, populating and locking one core's memory */
#include "mempool/region.h"

#include <assert.h>
#include <errno.h>
#include <numaif.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "base/log.h"
#include "mempool/asan_compat.h"

#define MASK_BITS (8 * sizeof(unsigned long))

/*
 * 21 is log2 of 2 MiB (mmap(2)); without it the system's default size is used, which may be 1 GiB.
 */
#define HUGE_2M_FLAGS (MAP_HUGETLB | 21 << 26)

/*
 * Each notice at most once per process, whichever core's thread comes first; only the flag itself
 * is shared.
 */
static atomic_flag lock_noticed = ATOMIC_FLAG_INIT;
static atomic_flag bind_noticed = ATOMIC_FLAG_INIT;

static bool first_time(atomic_flag *noticed)
{
	return !atomic_flag_test_and_set_explicit(noticed, memory_order_relaxed);
}

/* The file holds "always [madvise] never"; only a bracketed "never" refuses those who ask. */
static bool system_thp_allowed(void)
{
	char line[64] = "";
	FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");

	if (!file)
		return false;
	bool read = fgets(line, sizeof(line), file) != NULL;
	fclose(file);
	return read && !strstr(line, "[never]");
}

static const struct vly_region_sys system_sys = {
	.mmap = mmap,
	.munmap = munmap,
	.madvise = madvise,
	.mlock = mlock,
	.mbind = mbind,
	.thp_allowed = system_thp_allowed,
};

static int map_plain(struct vly_region *region, int flags)
{
	void *base = region->sys->mmap(NULL, region->size_bytes, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	if (base == MAP_FAILED)
		return -errno;
	region->base = base;
	return 0;
}

/* Maps one huge page more than needed and gives back what lies outside the aligned part. */
static int map_transparent(struct vly_region *region)
{
	const struct vly_region_sys *sys = region->sys;
	size_t slack = VLY_REGION_HUGE_BYTES;

	if (region->size_bytes > SIZE_MAX - slack)
		return -ENOMEM;
	uint8_t *raw = sys->mmap(NULL, region->size_bytes + slack, PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (raw == MAP_FAILED)
		return -errno;
	size_t head = -(uintptr_t)raw & (VLY_REGION_HUGE_BYTES - 1);

	region->base = raw + head;
	if (head > 0)
		sys->munmap(raw, head);
	if (slack > head)
		sys->munmap(region->base + region->size_bytes, slack - head);
	return sys->madvise(region->base, region->size_bytes, MADV_HUGEPAGE) ? -errno : 0;
}

static void bind_node(struct vly_region *region, int node)
{
	unsigned long mask[VLY_REGION_NODES_MAX / MASK_BITS] = {0};
	unsigned long words = (unsigned long)node / MASK_BITS + 1;
	/*
	 * Strict only for hugetlb, where a node without free pages makes populating fail and
	 * smaller pages are tried. Ordinary pages under a strict binding would meet the kernel's
	 * out-of-memory killer instead of an error.
	 */
	int mode = region->pages == VLY_PAGE_2M ? MPOL_BIND : MPOL_PREFERRED;

	mask[words - 1] = 1ul << ((unsigned long)node % MASK_BITS);
	/*
	 * The kernel reads maxnode - 1 bits (get_nodes() in mm/mempolicy.c): without the + 1 node
	 * 63 would be lost.
	 */
	if (region->sys->mbind(region->base, region->size_bytes, mode, mask, words * MASK_BITS + 1,
			       0)) {
		region->bind_error = -errno;
		return;
	}
	region->bound = true;
	region->numa_node = node;
}

/*
 * MADV_POPULATE_WRITE (Linux 5.14) reports missing memory as an error where touching would raise a
 * signal. Kernels that do not know it have ordinary pages touched by hand; hugetlb pages they would
 * have to do without.
 */
static int populate(struct vly_region *region)
{
	const struct vly_region_sys *sys = region->sys;
	int err = 0;

	for (int tries = 0; tries < 8; tries++) {
		err = sys->madvise(region->base, region->size_bytes, MADV_POPULATE_WRITE) ? -errno
											  : 0;
		if (err != -EINTR && err != -EAGAIN)
			break;
	}
	if (err != -EINVAL || region->pages == VLY_PAGE_2M)
		return err;
	for (size_t at = 0; at < region->size_bytes; at += VLY_REGION_PAGE_BYTES)
		__atomic_store_n(region->base + at, 0, __ATOMIC_RELAXED);
	return 0;
}

static void lock(struct vly_region *region)
{
	if (region->pages == VLY_PAGE_2M) {
		region->locked = true;
		return;
	}
	if (region->sys->mlock(region->base, region->size_bytes))
		region->lock_error = -errno;
	else
		region->locked = true;
}

static void unmap(struct vly_region *region)
{
	if (region->base) {
		vly_unpoison(region->base, region->size_bytes);
		region->sys->munmap(region->base, region->size_bytes);
	}
	memset(region, 0, sizeof(*region));
}

/* One attempt with one kind of page, up to populated. Leaves nothing behind when it fails. */
static int try_pages(struct vly_region *region, const struct vly_region_opts *opts,
		     enum vly_page_kind pages)
{
	size_t page_bytes = pages == VLY_PAGE_4K ? VLY_REGION_PAGE_BYTES : VLY_REGION_HUGE_BYTES;
	int err;

	if (opts->size_bytes > SIZE_MAX - page_bytes)
		return -ENOMEM;
	*region = (struct vly_region){
		.size_bytes = vly_region_bytes(opts->size_bytes, pages),
		.page_bytes = page_bytes,
		.pages = pages,
		.numa_node = -1,
		.sys = opts->sys ? opts->sys : &system_sys,
	};

	if (pages == VLY_PAGE_THP)
		err = map_transparent(region);
	else
		err = map_plain(region, pages == VLY_PAGE_2M ? HUGE_2M_FLAGS : 0);
	if (err)
		goto fail;
	if (opts->numa_node >= 0)
		bind_node(region, opts->numa_node);
	/* A child must not share pages the kernel or a device writes into. */
	region->dont_fork = region->sys->madvise(region->base, region->size_bytes, MADV_DONTFORK) ==
			    0;
	err = populate(region);
	if (err)
		goto fail;
	return 0;

fail:
	unmap(region);
	return err;
}

static void report(const struct vly_region *region, const struct vly_region_opts *opts)
{
	if (region->bind_error && first_time(&bind_noticed))
		vly_log(VLY_LOG_WARN, "memory is not bound to NUMA node %d: mbind: %s",
			opts->numa_node, strerror(-region->bind_error));
	if (region->lock_error && first_time(&lock_noticed)) {
		struct rlimit limit = {0};
		char text[32] = "unlimited";

		getrlimit(RLIMIT_MEMLOCK, &limit);
		if (limit.rlim_cur != RLIM_INFINITY)
			snprintf(text, sizeof(text), "%llu KiB",
				 (unsigned long long)limit.rlim_cur >> 10);
		vly_log(VLY_LOG_WARN,
			"memory is not locked: mlock of %zu KiB: %s; RLIMIT_MEMLOCK is %s: "
			"raise it (ulimit -l, memlock in limits.conf, LimitMEMLOCK= in systemd) or "
			"give CAP_IPC_LOCK",
			region->size_bytes >> 10, strerror(-region->lock_error), text);
	}
	vly_log(VLY_LOG_INFO, "region: %zu KiB of %s pages, node %d, %s", region->size_bytes >> 10,
		vly_page_kind_name(region->pages), region->numa_node,
		region->locked ? "locked" : "not locked");
}

int vly_region_open(struct vly_region *region, const struct vly_region_opts *opts)
{
	const struct vly_region_sys *sys = opts->sys ? opts->sys : &system_sys;
	int err = -ENOMEM;

	memset(region, 0, sizeof(*region));
	if (opts->size_bytes == 0 || opts->numa_node < -1 ||
	    opts->numa_node >= VLY_REGION_NODES_MAX)
		return -EINVAL;

	if (opts->try_huge)
		err = try_pages(region, opts, VLY_PAGE_2M);
	/* Less than one huge page gains nothing from being rounded up to it. */
	if (err && opts->try_huge && opts->size_bytes >= VLY_REGION_HUGE_BYTES &&
	    sys->thp_allowed())
		err = try_pages(region, opts, VLY_PAGE_THP);
	if (err)
		err = try_pages(region, opts, VLY_PAGE_4K);
	if (err)
		return -ENOMEM;

	if (opts->try_lock)
		lock(region);
	vly_poison(region->base, region->size_bytes);
	report(region, opts);
	return 0;
}

void *vly_region_take(struct vly_region *region, size_t bytes, size_t align)
{
	assert(bytes > 0);
	assert(align > 0 && (align & (align - 1)) == 0);
	/* Aligned as an address, so that an alignment above the page size is honoured too. */
	size_t gap = -((uintptr_t)region->base + region->used_bytes) & (align - 1);
	size_t left = region->size_bytes - region->used_bytes;

	if (gap > left || bytes > left - gap)
		return NULL;
	uint8_t *mem = region->base + region->used_bytes + gap;
	region->used_bytes += gap + bytes;
	vly_unpoison(mem, bytes);
	return mem;
}

void vly_region_close(struct vly_region *region)
{
	unmap(region);
}

const char *vly_page_kind_name(enum vly_page_kind pages)
{
	switch (pages) {
	case VLY_PAGE_4K:
		return "4 KiB";
	case VLY_PAGE_THP:
		return "transparent 2 MiB";
	case VLY_PAGE_2M:
		return "2 MiB";
	}
	return "unknown";
}

bool vly_region_valid(const struct vly_region *region)
{
	if (!region->base)
		return region->size_bytes == 0 && region->used_bytes == 0;
	return (uintptr_t)region->base % region->page_bytes == 0 && region->size_bytes > 0 &&
	       region->size_bytes % region->page_bytes == 0 &&
	       region->used_bytes <= region->size_bytes &&
	       region->bound == (region->numa_node >= 0);
}
