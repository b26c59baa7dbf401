/* test_region.c - one core's memory, on this machine and on injected ones */
#include "mempool/region.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <numaif.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mempool/asan_compat.h"
#include "support/fake_machine.h"
#include "support/leak.h"

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)

static struct vly_region region;

static void setup(void)
{
	memset(&sys, 0, sizeof(sys));
	vly_log_set(note_line, NULL, VLY_LOG_WARN);
}

TestSuite(region, .init = setup, .fini = vly_leak_gate);

static struct vly_region_opts opts_of(size_t size_bytes)
{
	return (struct vly_region_opts){
		.size_bytes = size_bytes,
		.numa_node = -1,
		.sys = &fake,
	};
}

/* Asks for huge pages where there is no hugetlb but, if `thp`, transparent ones. */
static struct vly_region_opts without_hugetlb(size_t size_bytes, bool thp)
{
	struct vly_region_opts opts = opts_of(size_bytes);

	opts.try_huge = true;
	sys.huge_map_errno = ENOMEM;
	sys.thp = thp;
	return opts;
}

static void open_ok(const struct vly_region_opts *opts)
{
	cr_assert_eq(vly_region_open(&region, opts), 0);
	cr_assert(vly_region_valid(&region));
	cr_assert_eq(sys.mapped_bytes, region.size_bytes);
}

static void close_all(void)
{
	vly_region_close(&region);
	cr_assert_eq(sys.mapped_bytes, 0);
	cr_assert(vly_region_valid(&region));
}

/* Whether every byte not yet taken is zero; takes them all. */
static bool rest_is_zero(void)
{
	size_t left = region.size_bytes - region.used_bytes;
	const uint8_t *mem = vly_region_take(&region, left, 1);

	cr_assert_neq(mem, NULL);
	for (size_t i = 0; i < left; i++) {
		if (mem[i])
			return false;
	}
	return true;
}

/* ---- which pages ---- */

Test(region, small_pages_unless_huge_ones_are_asked_for)
{
	struct vly_region_opts opts = opts_of(8 * MIB);

	sys.thp = true;
	open_ok(&opts);
	cr_assert_eq(region.pages, VLY_PAGE_4K);
	cr_assert_eq(region.page_bytes, 4 * KIB);
	cr_assert_str_eq(sys.calls, "MFP");
	close_all();
}

Test(region, hugetlb_pages_come_first)
{
	struct vly_region_opts opts = opts_of(3 * MIB);

	opts.try_huge = true;
	sys.thp = true;
	open_ok(&opts);
	cr_assert_eq(region.pages, VLY_PAGE_2M);
	cr_assert_eq(region.page_bytes, 2 * MIB);
	cr_assert_eq(region.size_bytes, 4 * MIB);
	cr_assert_eq(sys.populate_bytes, 4 * MIB);
	cr_assert_str_eq(sys.calls, "HFP");
	cr_assert(rest_is_zero());
	close_all();
}

Test(region, sizes_round_up_to_the_page)
{
	static const struct {
		size_t asked, small, huge;
	} cases[] = {
		{1, 4 * KIB, 2 * MIB},
		{4 * KIB - 1, 4 * KIB, 2 * MIB},
		{4 * KIB, 4 * KIB, 2 * MIB},
		{4 * KIB + 1, 8 * KIB, 2 * MIB},
		{2 * MIB - 1, 2 * MIB, 2 * MIB},
		{2 * MIB, 2 * MIB, 2 * MIB},
		{2 * MIB + 1, 2 * MIB + 4 * KIB, 4 * MIB},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vly_region_opts opts = opts_of(cases[i].asked);

		open_ok(&opts);
		cr_assert_eq(region.size_bytes, cases[i].small);
		cr_assert_eq(vly_region_bytes(cases[i].asked, VLY_PAGE_4K), cases[i].small);
		close_all();
		opts.try_huge = true;
		open_ok(&opts);
		cr_assert_eq(region.size_bytes, cases[i].huge);
		cr_assert_eq(vly_region_bytes(cases[i].asked, VLY_PAGE_2M), cases[i].huge);
		cr_assert_eq(vly_region_bytes(cases[i].asked, VLY_PAGE_THP), cases[i].huge);
		close_all();
	}
}

Test(region, refused_hugetlb_mapping_falls_back_to_transparent_pages)
{
	struct vly_region_opts opts = without_hugetlb(3 * MIB, true);

	open_ok(&opts);
	cr_assert_eq(region.pages, VLY_PAGE_THP);
	cr_assert_eq(region.page_bytes, 2 * MIB);
	cr_assert_eq(region.size_bytes, 4 * MIB);
	cr_assert_eq(sys.thp_bytes, 4 * MIB);
	cr_assert_str_eq(sys.calls, "HMUTFP");
	close_all();
}

Test(region, transparent_mapping_is_aligned_wherever_it_lands)
{
	static const size_t skews[] = {0, 4 * KIB, 1 * MIB, 2 * MIB - 4 * KIB};

	for (size_t i = 0; i < sizeof(skews) / sizeof(skews[0]); i++) {
		setup();
		struct vly_region_opts opts = without_hugetlb(2 * MIB, true);
		sys.skew = skews[i];
		open_ok(&opts);
		cr_assert_eq(region.pages, VLY_PAGE_THP);
		cr_assert_eq((uintptr_t)region.base % (2 * MIB), 0);
		cr_assert_eq(region.size_bytes, 2 * MIB);
		cr_assert(rest_is_zero());
		close_all();
	}
}

Test(region, failed_hugetlb_populate_falls_back_and_gives_the_mapping_back)
{
	static const int errnos[] = {ENOMEM, EFAULT, EINVAL};

	for (size_t i = 0; i < sizeof(errnos) / sizeof(errnos[0]); i++) {
		struct vly_region_opts opts = opts_of(2 * MIB);

		setup();
		opts.try_huge = true;
		opts.numa_node = 1;
		sys.huge_populate_errno = errnos[i];
		open_ok(&opts);
		cr_assert_eq(region.pages, VLY_PAGE_4K);
		cr_assert_str_eq(sys.calls, "HBFPUMBFP");
		close_all();
	}
}

Test(region, transparent_pages_are_not_claimed_when_the_system_never_gives_them)
{
	struct vly_region_opts opts = without_hugetlb(4 * MIB, false);

	open_ok(&opts);
	cr_assert_eq(region.pages, VLY_PAGE_4K);
	cr_assert_str_eq(sys.calls, "HMFP");
	close_all();
}

Test(region, refused_transparent_advice_falls_back_to_small_pages)
{
	struct vly_region_opts opts = without_hugetlb(3 * MIB, true);

	sys.thp_errno = EINVAL;
	open_ok(&opts);
	cr_assert_eq(region.pages, VLY_PAGE_4K);
	cr_assert_eq(region.size_bytes, 3 * MIB);
	close_all();
}

Test(region, less_than_a_huge_page_is_not_rounded_up_for_transparent_pages)
{
	struct vly_region_opts opts = without_hugetlb(2 * MIB - 1, true);

	open_ok(&opts);
	cr_assert_eq(region.pages, VLY_PAGE_4K);
	close_all();
}

/* ---- populating ---- */

Test(region, interrupted_populate_is_repeated)
{
	struct vly_region_opts opts = opts_of(4 * KIB);

	sys.interrupts = 3;
	open_ok(&opts);
	cr_assert_str_eq(sys.calls, "MFPPPP");
	close_all();
}

Test(region, endless_interruption_is_an_error_not_a_hang)
{
	struct vly_region_opts opts = opts_of(4 * KIB);

	sys.interrupts = INT_MAX;
	cr_assert_eq(vly_region_open(&region, &opts), -ENOMEM);
	cr_assert_eq(sys.mapped_bytes, 0);
}

Test(region, kernels_without_populate_have_every_small_page_touched)
{
	struct vly_region_opts opts = opts_of(16 * KIB);
	unsigned char present[4] = {0};

	sys.populate_errno = EINVAL;
	open_ok(&opts);
	cr_assert_eq(mincore(region.base, region.size_bytes, present), 0);
	for (int i = 0; i < 4; i++)
		cr_assert(present[i] & 1, "page %d", i);
	cr_assert(rest_is_zero());
	close_all();
}

/* ---- errors ---- */

Test(region, no_memory_at_all_is_enomem_and_leaves_nothing)
{
	struct vly_region_opts opts = opts_of(2 * MIB);

	opts.try_huge = sys.thp = true;
	sys.huge_map_errno = ENOMEM;
	sys.map_errno = EPERM;
	cr_assert_eq(vly_region_open(&region, &opts), -ENOMEM);
	cr_assert_eq(region.base, NULL);
	cr_assert_eq(sys.mapped_bytes, 0);
	vly_region_close(&region);
}

Test(region, no_kind_of_page_populates_is_enomem_and_leaves_nothing)
{
	struct vly_region_opts opts = opts_of(2 * MIB);

	opts.try_huge = sys.thp = true;
	sys.huge_populate_errno = sys.populate_errno = ENOMEM;
	cr_assert_eq(vly_region_open(&region, &opts), -ENOMEM);
	cr_assert_eq(region.base, NULL);
	cr_assert_eq(sys.mapped_bytes, 0);
	cr_assert_str_eq(sys.calls, "HFPUMUTFPUMFPU");
}

Test(region, sizes_that_can_not_be_rounded_are_enomem)
{
	struct vly_region_opts opts = opts_of(SIZE_MAX);

	sys.thp = true;
	cr_assert_eq(vly_region_open(&region, &opts), -ENOMEM);
	opts.try_huge = true;
	cr_assert_eq(vly_region_open(&region, &opts), -ENOMEM);
	sys.huge_map_errno = sys.map_errno = ENOMEM;
	opts.size_bytes = SIZE_MAX - 2 * MIB;
	cr_assert_eq(vly_region_open(&region, &opts), -ENOMEM);
	cr_assert_eq(sys.mapped_bytes, 0);
}

Test(region, absurd_options_are_einval_before_any_call)
{
	struct vly_region_opts opts = opts_of(0);

	cr_assert_eq(vly_region_open(&region, &opts), -EINVAL);
	opts.size_bytes = 4 * KIB;
	opts.numa_node = -2;
	cr_assert_eq(vly_region_open(&region, &opts), -EINVAL);
	opts.numa_node = VLY_REGION_NODES_MAX;
	cr_assert_eq(vly_region_open(&region, &opts), -EINVAL);
	cr_assert_str_eq(sys.calls, "");
	opts.numa_node = VLY_REGION_NODES_MAX - 1;
	open_ok(&opts);
	close_all();
}

/* ---- binding ---- */

static void bind_asks_for(int node, bool huge)
{
	struct vly_region_opts opts = opts_of(2 * MIB);

	setup();
	opts.numa_node = node;
	opts.try_huge = huge;
	open_ok(&opts);
	cr_assert_eq(sys.mode, huge ? MPOL_BIND : MPOL_PREFERRED);
	cr_assert_eq(sys.bind_base, region.base);
	cr_assert_eq(sys.bind_bytes, region.size_bytes);
	cr_assert_eq(sys.bind_flags, 0);
	/* Bound before the first touch. */
	cr_assert_str_eq(sys.calls, huge ? "HBFP" : "MBFP");
	for (unsigned long bit = 0; bit < sys.maxnode - 1; bit++) {
		bool set = sys.mask[bit / (8 * sizeof(long))] >> bit % (8 * sizeof(long)) & 1;

		cr_assert_eq(set, bit == (unsigned long)node, "node %d, bit %lu", node, bit);
	}
	cr_assert_gt(sys.maxnode - 1, (unsigned long)node);
	cr_assert(region.bound);
	cr_assert_eq(region.numa_node, node);
	cr_assert_eq(region.bind_error, 0);
	close_all();
}

Test(region, mbind_is_handed_exactly_the_one_node)
{
	static const int nodes[] = {
		0, 1, 5, 62, 63, 64, 65, 126, 127, 128, VLY_REGION_NODES_MAX - 1};

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		bind_asks_for(nodes[i], false);
		bind_asks_for(nodes[i], true);
	}
}

Test(region, nothing_is_bound_or_locked_unless_asked)
{
	struct vly_region_opts opts = opts_of(4 * KIB);

	open_ok(&opts);
	cr_assert_str_eq(sys.calls, "MFP");
	cr_assert_not(region.bound);
	cr_assert_not(region.locked);
	cr_assert_eq(region.numa_node, -1);
	close_all();
}

Test(region, refused_binding_is_recorded_and_said_once)
{
	struct vly_region_opts opts = opts_of(4 * KIB);

	opts.numa_node = 5;
	sys.bind_errno = EPERM;
	for (int i = 0; i < 3; i++) {
		open_ok(&opts);
		cr_assert_not(region.bound);
		cr_assert_eq(region.numa_node, -1);
		cr_assert_eq(region.bind_error, -EPERM);
		close_all();
	}
	cr_assert_eq(logged.warnings, 1);
	cr_assert_neq(strstr(logged.line, "node 5"), NULL);
	cr_assert_neq(strstr(logged.line, strerror(EPERM)), NULL);
}

/* ---- locking and forking ---- */

Test(region, small_pages_are_locked_after_they_were_populated)
{
	struct vly_region_opts opts = opts_of(8 * KIB);

	opts.try_lock = true;
	open_ok(&opts);
	cr_assert_str_eq(sys.calls, "MFPL");
	cr_assert_eq(sys.lock_base, region.base);
	cr_assert_eq(sys.lock_bytes, 8 * KIB);
	cr_assert(region.locked);
	cr_assert_eq(region.lock_error, 0);
	cr_assert_eq(logged.warnings, 0);
	close_all();
}

Test(region, hugetlb_pages_need_no_lock)
{
	struct vly_region_opts opts = opts_of(2 * MIB);

	opts.try_huge = opts.try_lock = true;
	sys.lock_errno = EPERM;
	open_ok(&opts);
	cr_assert_str_eq(sys.calls, "HFP");
	cr_assert(region.locked);
	cr_assert_eq(logged.warnings, 0);
	close_all();
}

Test(region, refused_lock_is_recorded_and_said_once_with_the_way_out)
{
	struct vly_region_opts opts = opts_of(8 * KIB);

	opts.try_lock = true;
	sys.lock_errno = ENOMEM;
	for (int i = 0; i < 3; i++) {
		open_ok(&opts);
		cr_assert_not(region.locked);
		cr_assert_eq(region.lock_error, -ENOMEM);
		close_all();
	}
	cr_assert_eq(logged.warnings, 1);
	cr_assert_neq(strstr(logged.line, "RLIMIT_MEMLOCK"), NULL);
	cr_assert_neq(strstr(logged.line, "ulimit -l"), NULL);
	cr_assert_neq(strstr(logged.line, strerror(ENOMEM)), NULL);
}

Test(region, whole_region_is_kept_from_children)
{
	struct vly_region_opts opts = opts_of(12 * KIB);

	open_ok(&opts);
	cr_assert_eq(sys.fork_bytes, 12 * KIB);
	cr_assert(region.dont_fork);
	close_all();
	sys.fork_errno = EINVAL;
	open_ok(&opts);
	cr_assert_not(region.dont_fork);
	close_all();
}

/* ---- taking ---- */

Test(region, take_gives_all_of_it_and_not_a_byte_more)
{
	struct vly_region_opts opts = opts_of(4 * KIB);

	open_ok(&opts);
	cr_assert_eq(vly_region_take(&region, 4 * KIB + 1, 1), NULL);
	cr_assert_eq(region.used_bytes, 0);
	cr_assert_eq(vly_region_take(&region, 4 * KIB - 1, 1), region.base);
	cr_assert_eq(vly_region_take(&region, 2, 1), NULL);
	cr_assert_eq(vly_region_take(&region, 1, 1), region.base + 4 * KIB - 1);
	cr_assert_eq(region.used_bytes, 4 * KIB);
	cr_assert_eq(vly_region_take(&region, 1, 1), NULL);
	cr_assert_eq(vly_region_take(&region, SIZE_MAX, 1), NULL);
	cr_assert(vly_region_valid(&region));
	close_all();
}

Test(region, take_aligns_and_counts_the_gap)
{
	struct vly_region_opts opts = opts_of(4 * KIB);

	open_ok(&opts);
	cr_assert_eq(vly_region_take(&region, 1, 1), region.base);
	cr_assert_eq(vly_region_take(&region, 8, 64), region.base + 64);
	cr_assert_eq(region.used_bytes, 72);
	cr_assert_eq(vly_region_take(&region, 4 * KIB - 128, 128), region.base + 128);
	cr_assert_eq(region.used_bytes, 4 * KIB);
	close_all();
}

Test(region, an_alignment_gap_that_does_not_fit_changes_nothing)
{
	struct vly_region_opts opts = opts_of(4 * KIB);

	open_ok(&opts);
	cr_assert_neq(vly_region_take(&region, 4 * KIB - 10, 1), NULL);
	cr_assert_eq(vly_region_take(&region, 1, 64), NULL);
	cr_assert_eq(region.used_bytes, 4 * KIB - 10);
	cr_assert_neq(vly_region_take(&region, 10, 2), NULL);
	close_all();
}

Test(region, alignments_above_the_page_hold_for_the_address)
{
	struct vly_region_opts opts = opts_of(64 * KIB);

	sys.skew = 4 * KIB;
	open_ok(&opts);
	uint8_t *mem = vly_region_take(&region, 1, 32 * KIB);
	cr_assert_neq(mem, NULL);
	cr_assert_eq((uintptr_t)mem % (32 * KIB), 0);
	close_all();
}

#ifdef VLY_ASAN
Test(region, what_was_not_taken_is_poisoned)
{
	struct vly_region_opts opts = opts_of(4 * KIB);

	open_ok(&opts);
	uint8_t *mem = vly_region_take(&region, 64, 64);
	cr_assert_not(__asan_address_is_poisoned(mem));
	cr_assert_not(__asan_address_is_poisoned(mem + 63));
	cr_assert(__asan_address_is_poisoned(mem + 64));
	close_all();
	cr_assert_not(__asan_address_is_poisoned(mem + 64));
}
#endif

/* ---- this machine, whatever it gives ---- */

static void open_real(bool huge)
{
	struct vly_region_opts opts = {
		.size_bytes = 4 * MIB,
		.numa_node = 0,
		.try_huge = huge,
		.try_lock = true,
	};

	cr_assert_eq(vly_region_open(&region, &opts), 0);
	cr_assert(vly_region_valid(&region));
	cr_assert_eq(region.size_bytes, 4 * MIB);
	cr_assert_eq(region.locked, region.lock_error == 0);
	cr_assert_eq(region.bound, region.bind_error == 0);
}

Test(region, real_memory_is_present_zero_and_writable)
{
	for (int huge = 0; huge < 2; huge++) {
		static unsigned char present[4 * MIB / (4 * KIB)];

		open_real(huge);
		cr_assert_eq(mincore(region.base, region.size_bytes, present), 0);
		for (size_t i = 0; i < sizeof(present); i++)
			cr_assert(present[i] & 1, "page %zu", i);
		uint8_t *base = region.base;
		cr_assert(rest_is_zero());
		memset(base, 0xff, 4 * MIB);
		vly_region_close(&region);
		cr_assert_eq(mincore(base, 4 * MIB, present), -1);
		cr_assert_eq(errno, ENOMEM);
	}
}

Test(region, real_binding_reached_the_kernel)
{
	unsigned long mask[VLY_REGION_NODES_MAX / (8 * sizeof(long))] = {0};
	int mode = -1;

	open_real(false);
	if (!region.bound) {
		vly_region_close(&region);
		cr_skip("mbind is refused here");
	}
	if (get_mempolicy(&mode, mask, VLY_REGION_NODES_MAX, region.base, MPOL_F_ADDR)) {
		vly_region_close(&region);
		cr_skip("get_mempolicy is refused here");
	}
	cr_assert_eq(mode, MPOL_PREFERRED);
	cr_assert_eq(mask[0], 1);
	vly_region_close(&region);
}

Test(region, real_region_is_absent_from_a_child)
{
	unsigned char present[1];
	int status;

	open_real(true);
	cr_assert(region.dont_fork);
	pid_t pid = fork();
	cr_assert_geq(pid, 0);
	if (pid == 0)
		_exit(mincore(region.base, 4 * KIB, present) == -1 && errno == ENOMEM ? 0 : 1);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0);
	vly_region_close(&region);
}

Test(region, closing_twice_or_never_opened_does_nothing)
{
	struct vly_region never = {0};

	vly_region_close(&never);
	open_real(false);
	vly_region_close(&region);
	vly_region_close(&region);
	cr_assert_eq(region.base, NULL);
}

Test(region, every_kind_of_page_has_its_name)
{
	cr_assert_str_eq(vly_page_kind_name(VLY_PAGE_4K), "4 KiB");
	cr_assert_str_eq(vly_page_kind_name(VLY_PAGE_THP), "transparent 2 MiB");
	cr_assert_str_eq(vly_page_kind_name(VLY_PAGE_2M), "2 MiB");
}
