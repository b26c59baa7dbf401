/* test_mini.c - minis: bounds of both kinds, order of their lists */
#include "nic/inet/mini.h"

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "tests/support/leak.h"

TestSuite(mini, .fini = vly_leak_gate);

static void *minis_open(struct vly_minis *minis, uint32_t half, uint32_t linger)
{
	void *mem = aligned_alloc(64, vly_minis_bytes(half, linger));

	cr_assert_not_null(mem);
	memset(mem, 0, vly_minis_bytes(half, linger));
	cr_assert_eq(vly_minis_init(minis, mem, half, linger), 0);
	return mem;
}

Test(mini, neither_kind_takes_the_room_of_the_other)
{
	struct vly_mini *half[2], *linger[3];
	struct vly_minis minis;
	void *mem = minis_open(&minis, 2, 3);

	for (int i = 0; i < 2; i++)
		cr_assert_not_null(half[i] = vly_mini_take(&minis, false));
	cr_assert_null(vly_mini_take(&minis, false));
	for (int i = 0; i < 3; i++)
		cr_assert_not_null(linger[i] = vly_mini_take(&minis, true));
	cr_assert_null(vly_mini_take(&minis, true));
	vly_mini_put(&minis, half[0]);
	cr_assert_null(vly_mini_take(&minis, true));
	cr_assert_not_null(half[0] = vly_mini_take(&minis, false));
	for (int i = 0; i < 2; i++)
		vly_mini_put(&minis, half[i]);
	for (int i = 0; i < 3; i++)
		vly_mini_put(&minis, linger[i]);
	vly_minis_fini(&minis);
	free(mem);
}

Test(mini, lists_keep_the_order_of_arrival)
{
	struct vly_mini *mini[3];
	struct vly_minis minis;
	void *mem = minis_open(&minis, 3, 1);

	for (int i = 0; i < 3; i++) {
		mini[i] = vly_mini_take(&minis, false);
		vly_mini_list(&minis, mini[i], VLY_MINI_SYN);
	}
	cr_assert_eq(vly_mini_first(&minis, VLY_MINI_SYN), mini[0]);
	vly_mini_unlist(&minis, mini[0]);
	vly_mini_list(&minis, mini[0], VLY_MINI_SYN + 1);
	cr_assert_eq(vly_mini_first(&minis, VLY_MINI_SYN), mini[1]);
	vly_mini_put(&minis, mini[2]);
	vly_mini_put(&minis, mini[1]);
	cr_assert_null(vly_mini_first(&minis, VLY_MINI_SYN));
	cr_assert_eq(minis.lists[VLY_MINI_SYN].tail, VLY_NO_MINI);
	cr_assert_eq(vly_mini_first(&minis, VLY_MINI_SYN + 1), mini[0]);
	vly_mini_put(&minis, mini[0]);
	cr_assert_eq(minis.half_count, 0);
	vly_minis_fini(&minis);
	free(mem);
}
