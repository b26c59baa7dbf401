/* test_hold.c - slices copied aside */
#include "mempool/slab.h"

#include "tests/support/rig.h"

TestSuite(hold, .fini = vly_leak_gate, .timeout = 60);

/* What a slab writes into the objects that are home, sent by a peer. */
Test(hold, slice_whose_bytes_look_like_a_free_one_is_held_and_released)
{
	uint64_t forged = (uint64_t)VLY_SLAB_TAG << 32; /* of the object at offset 0 */
	struct vly_config config;
	struct vly_event event;
	struct rig rig;
	int fd;

	rig_config(&config);
	rig_open(&rig, &config);
	rig_listen(&rig, NULL);
	vly_conn conn = rig_accept(&rig, &fd);

	cr_assert_eq(send(fd, &forged, sizeof(forged), 0), sizeof(forged));
	event = rig_await(&rig, conn, VLY_DATA);
	cr_assert_eq(vly_hold(rig.core[0], &event), 0);
	cr_assert_eq(vly_release(rig.core[0], event.buf), 0, "the slice is lost");
	cr_assert_eq(rig.core[0]->held.free_count, config.hold_slots);
	close(fd);
	rig_close(&rig);
}

Test(hold, slice_of_the_longest_kind_fits_with_its_address)
{
	struct vly_core_layout layout;
	struct vly_config config;

	rig_config(&config);
	for (uint32_t bytes = 1; bytes < 400; bytes++) {
		config.hold_bytes = bytes;
		vly_core_layout(&config, &layout);
		cr_assert_geq(layout.held_bytes, bytes + sizeof(struct vly_addr));
		cr_assert_eq(layout.held_bytes % 64, 0);
	}
}
