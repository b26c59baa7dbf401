/* test_dpdk_ports.c - two cards wired back to back under our stack: queues, RSS, huge pages, long segments (tests/vm) */
#include <stddef.h>
#include <stdlib.h>

#include "nic/inet/placement.h"
#include "tests/support/cores_rig.h"
#include "tests/support/dpdk_rig.h"

TestSuite(dpdk_ports, .timeout = 120);

#define BULK_BYTES (24u << 20)

static struct cores_rig rig;

/* What the machine says of its cards (tests/vm/suites.py): 0 if it does not. */
static unsigned long told_of(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoul(text, NULL, 10) : 0;
}

/* Two engines, one on each card of VOLLEY_TEST_PORTS ("A B"), with as many queues as it has for their cores. */
static void open_cards(unsigned serving, unsigned calling)
{
	const char *ports = getenv("VOLLEY_TEST_PORTS");
	char port[2][64];

	if (!ports || sscanf(ports, "%63s %63s", port[0], port[1]) != 2)
		cr_skip_test("two cards wired back to back are needed: VOLLEY_TEST_PORTS=\"A B\" "
			     "(tests/vm has them)");
	need_dpdk();
	memset(&rig, 0, sizeof(rig));
	rig.huge = told_of("VOLLEY_TEST_HUGE");
	for (unsigned side = 0; side < 2; side++)
		snprintf(rig.nic[side], sizeof(rig.nic[side]),
			 "inet:dpdk,port=%s,tso=%d,eal=\"-a %s -a %s\",ip=10.0.0.%u/24", port[side],
			 told_of("VOLLEY_TEST_TSO") != 0, port[0], port[1], 1 + 100 * side);
	rig_open_nics(&rig, serving, calling);
	for (unsigned side = 0; side < 2; side++)
		rig_until(&rig, rig_stats(&rig, side, 0).link_up);
	rig_round(&rig);
	/* it tells no table: homes are divided evenly */
	rig.no_word = rig_stats(&rig, SERVES, 0).place == VLY_PLACE_BY_CORES;
}

static void flows_at_their_cores(unsigned cores)
{
	unsigned all = 0;

	open_cards(cores, cores);
	unsigned long place = told_of("VOLLEY_TEST_PLACE");

	rig_listen_all(&rig);
	/* until each core has seen enough to believe the port, or not */
	rig_talk(&rig, 24, 20);
	for (unsigned i = 0; i < cores; i++) {
		struct vly_stats stats = rig_stats(&rig, SERVES, i);

		fprintf(stderr,
			"core %u of %u: %u flows, place %llu, %llu frames at home, %llu elsewhere, "
			"%llu handed over, pages of %llu bytes\n",
			i, cores, rig.accepted[i], (unsigned long long)stats.place,
			(unsigned long long)stats.place_home,
			(unsigned long long)stats.place_elsewhere,
			(unsigned long long)stats.relay_tx,
			(unsigned long long)stats.region_page_bytes);
		cr_assert_gt(rig.accepted[i], 0, "core %u of %u got none", i, cores);
		all += rig.accepted[i];
		cr_assert_eq(stats.relay_dropped + stats.wire_rx_dropped, 0);
		if (rig.huge)
			cr_assert_eq(stats.region_page_bytes, 2u << 20);
		if (place)
			cr_assert_eq(stats.place, place, "who sorts: %llu",
				     (unsigned long long)stats.place);
		/* a port that sorts leaves nothing to be handed over but ARP, which all learn from */
		if (place == VLY_PLACE_BY_PORT) {
			cr_assert_eq(stats.place_elsewhere, 0);
			cr_assert_lt(stats.relay_tx, 48);
		}
	}
	cr_assert_eq(all, rig.count);
	cr_assert_eq(rig.strays, 0);
	rig_hang_up(&rig);
	rig_close(&rig);
}

Test(dpdk_ports, two_cores_of_a_card_get_their_flows)
{
	flows_at_their_cores(2);
}

Test(dpdk_ports, four_cores_of_a_card_get_their_flows)
{
	flows_at_their_cores(4);
}

/* --- bulk --- */

static uint8_t bulk_at(uint64_t offset)
{
	return (uint8_t)(vly_hash_u64(offset >> 3) >> (offset & 7) * 8);
}

/* As much as is accepted of what is left. */
static void bulk_send(struct rig_flow *flow, uint64_t *sent)
{
	uint8_t piece[8192];

	while (flow->opened == 1 && *sent < BULK_BYTES) {
		for (uint32_t i = 0; i < sizeof(piece); i++)
			piece[i] = bulk_at(*sent + i);
		int error = vly_send(rig.core[CALLS][0], flow->conn, piece, sizeof(piece));

		if (error) {
			cr_assert_eq(error, -EAGAIN);
			return;
		}
		*sent += sizeof(piece);
	}
}

Test(dpdk_ports, bulk_comes_as_it_was_sent)
{
	uint64_t sent = 0, got = 0;
	struct vly_event *events;

	open_cards(1, 1);
	uint64_t end_ns = vly_now_ns() + RIG_PATIENCE_NS;

	rig_listen_all(&rig);
	struct rig_flow *flow = rig_connect(&rig, 0);

	while (got < BULK_BYTES) {
		int count = vly_poll(rig.core[CALLS][0], &events, 0);

		for (int i = 0; i < count; i++)
			rig_called(&rig, 0, &events[i]);
		bulk_send(flow, &sent);
		count = vly_poll(rig.core[SERVES][0], &events, 0);
		for (int i = 0; i < count; i++) {
			cr_assert_neq(events[i].kind, VLY_CLOSED);
			for (uint32_t k = 0; events[i].kind == VLY_DATA && k < events[i].len; k++)
				cr_assert_eq(events[i].data[k], bulk_at(got++));
		}
		cr_assert(vly_now_ns() < end_ns, "%llu bytes came", (unsigned long long)got);
	}
	rig_until(&rig, rig_stats(&rig, CALLS, 0).port_tx_bytes >= BULK_BYTES);
	struct vly_stats stats = rig_stats(&rig, CALLS, 0);
	uint64_t mean = stats.port_tx_bytes / stats.port_tx_frames;

	fprintf(stderr, "%llu bytes in %llu frames, %llu each; refused %llu, errors %llu\n",
		(unsigned long long)stats.port_tx_bytes, (unsigned long long)stats.port_tx_frames,
		(unsigned long long)mean, (unsigned long long)stats.wire_tx_dropped,
		(unsigned long long)stats.port_tx_errors);
	/* no frame on the wire is as long as that: the port has cut them */
	if (told_of("VOLLEY_TEST_TSO"))
		cr_assert_gt(mean, 2000);
	rig_hang_up(&rig);
	rig_close(&rig);
}
