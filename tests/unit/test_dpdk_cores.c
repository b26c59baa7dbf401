/* test_dpdk_cores.c - several cores on one port of DPDK's: queues, fewer queues than cores, flows at their cores */
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "nic/inet/placement.h"
#include "tests/support/cores_rig.h"

TestSuite(dpdk_cores, .timeout = 100);

static struct cores_rig rig;

/*
 * Two ports of memif, both in this process: as many rings as queues, and a frame comes in at the queue of the number
 * that it was sent from. It has no RSS, so the cores sort.
 */
static void open_memif(unsigned serving, unsigned calling, unsigned queues)
{
	char why[512];

	memset(&rig, 0, sizeof(rig));
	rig.no_word = true;
	for (unsigned side = 0; side < 2; side++)
		snprintf(
			rig.nic[side], sizeof(rig.nic[side]),
			"inet:dpdk,port=0,queues=%u,rxd=256,txd=256,eal=\"--vdev=net_memif%u,role=%s,"
			"socket-abstract=no,socket=/tmp%s/volley-cores-%d.sock\",ip=10.0.0.%u/24,"
			"profile=dc",
			queues, side, side ? "client" : "server", side ? "/" : "", (int)getpid(),
			1 + 100 * side);
	if (vly_nic_check(rig.nic[0], why, sizeof(why)) == -ENOTSUP)
		cr_skip_test("%s", why);
	rig_open_nics(&rig, serving, calling);
}

static uint64_t sum(unsigned side, size_t offset)
{
	uint64_t total = 0;

	for (unsigned i = 0; i < rig.cores[side]; i++) {
		struct vly_stats stats = rig_stats(&rig, side, i);
		uint64_t value;

		memcpy(&value, (char *)&stats + offset, sizeof(value));
		total += value;
	}
	return total;
}

#define side_sum(side, field) sum(side, offsetof(struct vly_stats, field))

static void flows_at_their_cores(unsigned serving, unsigned calling, unsigned queues)
{
	open_memif(serving, calling, queues);
	rig_listen_all(&rig);
	rig_talk(&rig, 24 * serving / calling, 20);
	unsigned all = 0;

	for (unsigned i = 0; i < serving; i++) {
		cr_assert_gt(rig.accepted[i], 0, "core %u of %u got none", i, serving);
		cr_assert_eq(rig_stats(&rig, SERVES, i).place, VLY_PLACE_BY_CORES);
		cr_assert_eq(rig_stats(&rig, SERVES, i).link_up, 1);
		all += rig.accepted[i];
	}
	cr_assert_eq(all, rig.count);
	cr_assert_eq(rig.strays, 0);
	/* each side has said once that it sorts in software */
	cr_assert_eq(rig.warnings, (unsigned)(serving > 1) + (calling > 1));
	for (unsigned side = 0; side < 2; side++) {
		cr_assert_eq(side_sum(side, relay_dropped), 0);
		cr_assert_eq(side_sum(side, wire_rx_dropped), 0);
	}
	/* what is handed over is received: the last of it may be under way */
	rig_until(&rig, side_sum(SERVES, relay_tx) == side_sum(SERVES, relay_rx));
	rig_until(&rig, side_sum(CALLS, relay_tx) == side_sum(CALLS, relay_rx));
	/* frames came in at a queue that is not their home's, and were taken there */
	cr_assert_gt(side_sum(SERVES, relay_tx), rig.count);
	rig_hang_up(&rig);
	rig_close(&rig);
}

Test(dpdk_cores, two_queues_bring_flows_to_their_cores)
{
	flows_at_their_cores(2, 2, 2);
}

Test(dpdk_cores, four_queues_bring_flows_to_their_cores)
{
	flows_at_their_cores(4, 4, 4);
}

Test(dpdk_cores, four_cores_share_two_queues)
{
	flows_at_their_cores(4, 2, 2);
}

Test(dpdk_cores, four_cores_share_one_queue)
{
	flows_at_their_cores(4, 1, 1);
}

/* --- counters of the device --- */

static uint64_t counter_of(struct vly_engine *engine, unsigned core, const char *name)
{
	static struct vly_counter list[512];
	int count = vly_counters(engine, core, list, 512);

	cr_assert_leq(count, 512);
	for (int i = 0; i < count; i++) {
		if (strcmp(list[i].name, name) == 0)
			return list[i].value;
	}
	return UINT64_MAX;
}

Test(dpdk_cores, what_the_device_counts_is_told_at_the_first_queue)
{
	struct vly_counter one;

	open_memif(2, 2, 2);
	rig_listen_all(&rig);
	rig_talk(&rig, 8, 20);
	/* renewed every second, by a thread of DPDK's */
	rig_until(&rig, rig_stats(&rig, SERVES, 0).port_rx_frames > 320);
	rig_until(&rig, counter_of(rig.engine[SERVES], 0, "rx_good_packets") > 320);
	struct vly_stats first = rig_stats(&rig, SERVES, 0), second = rig_stats(&rig, SERVES, 1);

	cr_assert_gt(first.port_tx_frames, 320);
	cr_assert_gt(first.port_rx_bytes, 320 * 54);
	cr_assert_gt(first.port_tx_bytes, 320 * 54);
	cr_assert_eq(first.port_rx_errors + first.port_tx_errors + first.port_rx_no_mbuf, 0);
	cr_assert_eq(second.port_rx_frames, 0);
	cr_assert_neq(counter_of(rig.engine[SERVES], 0, "rx_q1_packets"), UINT64_MAX);
	/* more than there is room for: as many as there is, and how many there are */
	cr_assert_gt(vly_counters(rig.engine[SERVES], 0, &one, 1), 1);
	cr_assert_eq(vly_counters(rig.engine[SERVES], 1, &one, 1), 0);
	cr_assert_eq(vly_counters(rig.engine[SERVES], 2, &one, 1), -ENOENT);
	rig_hang_up(&rig);
	rig_close(&rig);
}

Test(dpdk_cores, what_the_device_has_counted_is_there_after_closing)
{
	open_memif(1, 1, 1);
	rig_listen_all(&rig);
	rig_talk(&rig, 4, 10);
	rig_hang_up(&rig);
	vly_core_close(rig.core[SERVES][0]);
	struct vly_stats stats = rig_stats(&rig, SERVES, 0);
	struct vly_counter one;

	cr_assert_geq(stats.port_rx_frames, 40);
	cr_assert_eq(stats.link_up, 0);
	cr_assert_eq(vly_counters(rig.engine[SERVES], 0, &one, 1), 0);
	vly_engine_close(rig.engine[SERVES]);
	rig_stop(&rig, CALLS);
}
