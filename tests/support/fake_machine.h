/* fake_machine.h - regions' system functions, granting what a test decides */
#ifndef VLY_TESTS_FAKE_MACHINE_H
#define VLY_TESTS_FAKE_MACHINE_H

#include <criterion/criterion.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "mempool/region.h"
#include "volley/log.h"

/*
 * The injected machine: memory is real, so that it can be touched, but what the system grants is
 * decided here. `calls` lists what was asked, in order: H hugetlb mapping, M other mapping, B bind,
 * F dont-fork, T transparent, P populate, L lock, U unmap.
 */
static struct {
	char calls[64];
	int huge_map_errno, map_errno;
	int huge_populate_errno, populate_errno;
	int interrupts; /* populates that report EINTR before one succeeds */
	int thp_errno, lock_errno, bind_errno, fork_errno;
	bool thp;
	size_t skew; /* other mappings start this far behind a 2 MiB boundary */
	size_t mapped_bytes;
	bool huge; /* the last mapping was hugetlb */

	unsigned long mask[VLY_REGION_NODES_MAX / (8 * sizeof(unsigned long)) + 1];
	unsigned long maxnode;
	int mode;
	unsigned int bind_flags;
	void *bind_base, *lock_base;
	size_t bind_bytes, lock_bytes, populate_bytes, fork_bytes, thp_bytes;
} sys;

static void called(char what)
{
	size_t n = strlen(sys.calls);

	cr_assert_lt(n, sizeof(sys.calls) - 1);
	sys.calls[n] = what;
}

static int result(int err)
{
	errno = err;
	return err ? -1 : 0;
}

static void *fake_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t offset)
{
	bool huge = flags & MAP_HUGETLB;
	int err = huge ? sys.huge_map_errno : sys.map_errno;

	cr_assert_eq(addr, NULL);
	cr_assert_eq(prot, PROT_READ | PROT_WRITE);
	cr_assert_eq(flags & (MAP_PRIVATE | MAP_ANONYMOUS), MAP_PRIVATE | MAP_ANONYMOUS);
	cr_assert_eq(fd, -1);
	cr_assert_eq(offset, 0);
	called(huge ? 'H' : 'M');
	sys.huge = huge;
	if (huge) {
		cr_assert_eq(len % VLY_REGION_HUGE_BYTES, 0);
		cr_assert_eq(flags >> 26 & 63, 21, "2 MiB pages must be asked for by size");
	}
	if (err) {
		errno = err;
		return MAP_FAILED;
	}
	size_t skew = huge ? 0 : sys.skew;
	size_t whole = len + 2 * VLY_REGION_HUGE_BYTES;
	uint8_t *raw = mmap(NULL, whole, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(raw, MAP_FAILED);
	uint8_t *base = raw + (-(uintptr_t)raw & (VLY_REGION_HUGE_BYTES - 1)) + skew;
	if (base > raw)
		munmap(raw, (size_t)(base - raw));
	munmap(base + len, (size_t)(raw + whole - base) - len);
	sys.mapped_bytes += len;
	return base;
}

static int fake_munmap(void *addr, size_t len)
{
	cr_assert_leq(len, sys.mapped_bytes);
	cr_assert_gt(len, 0);
	called('U');
	sys.mapped_bytes -= len;
	return munmap(addr, len);
}

static int fake_madvise(void *addr, size_t len, int advice)
{
	cr_assert_neq(addr, NULL);
	switch (advice) {
	case MADV_HUGEPAGE:
		called('T');
		sys.thp_bytes = len;
		return result(sys.thp_errno);
	case MADV_DONTFORK:
		called('F');
		sys.fork_bytes = len;
		return result(sys.fork_errno);
	case MADV_POPULATE_WRITE:
		called('P');
		sys.populate_bytes = len;
		if (sys.interrupts > 0) {
			sys.interrupts--;
			return result(EINTR);
		}
		return result(sys.huge ? sys.huge_populate_errno : sys.populate_errno);
	default:
		cr_assert_fail("unexpected advice %d", advice);
	}
	return -1;
}

static int fake_mlock(const void *addr, size_t len)
{
	called('L');
	sys.lock_base = (void *)(uintptr_t)addr;
	sys.lock_bytes = len;
	return result(sys.lock_errno);
}

static long fake_mbind(void *addr, unsigned long len, int mode, const unsigned long *mask,
		       unsigned long maxnode, unsigned int flags)
{
	called('B');
	sys.bind_base = addr;
	sys.bind_bytes = len;
	sys.mode = mode;
	sys.maxnode = maxnode;
	sys.bind_flags = flags;
	/*
	 * As get_nodes() in the kernel's mm/mempolicy.c reads it: maxnode - 1 bits, in whole words.
	 */
	size_t words = (maxnode - 1 + sizeof(long) * 8 - 1) / (sizeof(long) * 8);
	cr_assert_leq(words * sizeof(long), sizeof(sys.mask));
	memset(sys.mask, 0, sizeof(sys.mask));
	memcpy(sys.mask, mask, words * sizeof(long));
	return result(sys.bind_errno);
}

static bool fake_thp_allowed(void)
{
	return sys.thp;
}

static const struct vly_region_sys fake = {
	.mmap = fake_mmap,
	.munmap = fake_munmap,
	.madvise = fake_madvise,
	.mlock = fake_mlock,
	.mbind = fake_mbind,
	.thp_allowed = fake_thp_allowed,
};

/* What was said about it at warning level or worse. */
static struct {
	int warnings;
	char line[512];
} logged;

static void note_line(enum vly_log_level level, const char *line, void *arg)
{
	(void)arg;
	if (level > VLY_LOG_WARN)
		return;
	logged.warnings++;
	snprintf(logged.line, sizeof(logged.line), "%s", line);
}

#endif
