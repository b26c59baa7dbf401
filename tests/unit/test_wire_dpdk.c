/* test_wire_dpdk.c - ports of DPDK's: frames whole, memory ours, traces on nobody, faults in one line */
#include <criterion/criterion.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "nic/inet/wire_dpdk.h"
#include "tests/support/dpdk_rig.h"
#include "tests/support/wire_rig.h"

#define PATIENCE_NS UINT64_C(20000000000)

/* What opening the wire that `text` names returns; what it says is in `said`. */
static int try_text(const char *text)
{
	struct wire_rig rig;
	struct vly_wire *wire;

	said[0] = '\0';
	rig_open(&rig, text, 1);
	rig.config.idle = VLY_IDLE_BUSY;
	rig.now_ns = vly_clock_ns();
	int error = rig_try(&rig, 0, &wire);

	if (!error)
		wire->ops->close(wire);
	rig_close(&rig);
	return error;
}

/* The two ends of a memif, both in this process. */
struct pair {
	struct wire_rig rig[2];
	struct vly_wire *wire[2];
};

/* `more` for both devices, `options` for both wires. */
static void pair_open_with(struct pair *pair, const char *more, const char *options)
{
	static const char *const roles[] = {"server,socket=/tmp/volley",
					    "client,socket=/tmp//volley"};
	static char text[2][600];
	uint64_t end_ns = vly_clock_ns() + PATIENCE_NS;

	for (int side = 0; side < 2; side++) {
		snprintf(
			text[side], sizeof(text[side]),
			"inet:dpdk,port=0%s,eal=\"--vdev=net_memif%d,socket-abstract=no,role=%s-%d.sock%s\"",
			options, side, roles[side], (int)getpid(), more);
		rig_open(&pair->rig[side], text[side], 1);
		pair->rig[side].config.idle = VLY_IDLE_BUSY;
		pair->rig[side].now_ns = vly_clock_ns();
		pair->wire[side] = rig_wire(&pair->rig[side], 0);
	}
	while (!pair->wire[0]->link_up || !pair->wire[1]->link_up) {
		struct vly_frame frame;

		for (int side = 0; side < 2; side++)
			wire_receive(pair->wire[side], &frame, 1, vly_clock_ns());
		cr_assert(vly_clock_ns() < end_ns, "the link stays down");
	}
}

static void pair_open(struct pair *pair, const char *more)
{
	pair_open_with(pair, more, "");
}

static void pair_close(struct pair *pair)
{
	for (int side = 1; side >= 0; side--) {
		pair->wire[side]->ops->close(pair->wire[side]);
		rig_close(&pair->rig[side]);
	}
}

Test(wire_dpdk, frames_of_all_sizes_come_whole_and_in_order)
{
	struct pair pair;
	uint32_t next = 0, number = 0;

	need_dpdk();
	pair_open(&pair, "");
	uint32_t most = pair.wire[0]->mtu + VLY_ETH_BYTES;
	uint64_t end_ns = vly_clock_ns() + PATIENCE_NS;

	for (uint32_t len = 60; len <= most; len++) {
		struct vly_frame frames[32];
		uint32_t count = 0;

		while (!count) {
			count = wire_send(pair.wire[0], pair.wire[1]->mac, len, number, 3,
					  vly_clock_ns());
			cr_assert(vly_clock_ns() < end_ns, "no room");
		}
		number += count;
		while (next < number) {
			uint32_t got = wire_receive(pair.wire[1], frames, 32, vly_clock_ns());

			for (uint32_t i = 0; i < got; i++) {
				cr_assert_eq(frame_number(&frames[i]), next++);
				cr_assert(frame_intact(&frames[i], len));
			}
			cr_assert(vly_clock_ns() < end_ns, "frame %u never came", next);
		}
	}
	cr_assert_eq(pair.wire[0]->tx_dropped, 0);
	cr_assert_eq(pair.wire[1]->rx_dropped, 0);
	pair_close(&pair);
}

/* Half of them long, in no order that a ring's size could go with. */
static uint32_t turned_len(uint32_t number, uint32_t long_bytes)
{
	return vly_hash_u64(number) & 1 ? long_bytes : 60;
}

/* Sends until the ring is full, takes some out again, and so on: each frame comes as it was sent, short or `long_bytes`. */
static void turn_ring(struct pair *pair, unsigned from, uint32_t long_bytes)
{
	uint64_t end_ns = vly_clock_ns() + PATIENCE_NS;
	uint32_t number = 0, next = 0;

	for (unsigned turn = 0; turn < 20;) {
		struct vly_frame frames[29];
		uint32_t sent = wire_send(pair->wire[from], pair->wire[!from]->mac,
					  turned_len(number, long_bytes), number, 1,
					  vly_clock_ns());
		number += sent;
		/* full: then about half of it is taken out */
		for (unsigned i = 0; !sent && i < 20; i++) {
			uint32_t got = wire_receive(pair->wire[!from], frames, 29, vly_clock_ns());

			for (uint32_t k = 0; k < got; k++) {
				uint32_t len = turned_len(next, long_bytes);

				cr_assert_eq(frame_number(&frames[k]), next++);
				cr_assert(frame_intact(&frames[k], len));
			}
		}
		turn += !sent;
		cr_assert(vly_clock_ns() < end_ns);
	}
	cr_assert_gt(next, 4096);
	cr_assert_eq(pair->wire[!from]->rx_dropped, 0);
}

/* A frame in several slots of memif's takes one too many of a full ring (nic/inet/dpdk/memif.h). */
Test(wire_dpdk, no_frame_lies_in_several_slots_of_memif)
{
	static const char nic[] = "inet:dpdk,port=0,eal=\"--vdev=net_memif0,bsize=1024\"";
	struct pair pair;

	need_dpdk();
	cr_assert_eq(try_text(nic), -EINVAL);
	cr_assert(strstr(said, "bsize=1514") && strstr(said, "mtu=1010"), "%s", said);
	pair_open_with(&pair, ",bsize=1024", ",mtu=1010");
	cr_assert_eq(pair.wire[0]->caps & VLY_WIRE_TSO, 0, "nor does a long segment");
	for (unsigned from = 0; from < 2; from++)
		turn_ring(&pair, from, 1024);
	pair_close(&pair);
}

Test(wire_dpdk, a_frame_lies_in_the_cores_own_region_both_ways)
{
	struct pair pair;
	struct vly_frame frame;

	need_dpdk();
	pair_open(&pair, "");
	cr_assert_eq(pair.wire[0]->ops->tx_take(pair.wire[0], 1, &frame, 1), 1);
	const struct vly_region *region = &pair.rig[0].region;

	cr_assert(frame.data >= region->base && frame.data < region->base + region->size_bytes);
	frame_fill(frame.data, 60, pair.wire[1]->mac, pair.wire[0]->mac, 7);
	frame.len = 60;
	frame.flags = 0;
	pair.wire[0]->ops->tx_send(pair.wire[0], 1, &frame, 1);
	for (uint64_t end_ns = vly_clock_ns() + PATIENCE_NS;
	     !wire_receive(pair.wire[1], &frame, 1, vly_clock_ns());)
		cr_assert(vly_clock_ns() < end_ns);
	region = &pair.rig[1].region;
	cr_assert(frame.data >= region->base && frame.data < region->base + region->size_bytes);
	pair_close(&pair);
}

Test(wire_dpdk, a_full_ring_lends_nothing_and_loses_nothing)
{
	struct pair pair;
	struct vly_frame frames[32];
	uint32_t sent = 0, got = 0, idle = 0;

	need_dpdk();
	pair_open(&pair, ",rsize=6");
	/* nobody receives: what the ring does not take, the wire keeps, and then lends none */
	while (idle < 100) {
		uint32_t count =
			wire_send(pair.wire[0], pair.wire[1]->mac, 100, sent, 32, vly_clock_ns());

		sent += count;
		idle = count ? 0 : idle + 1;
		cr_assert(sent < 1000, "it lends without end");
	}
	for (uint64_t end_ns = vly_clock_ns() + PATIENCE_NS; got < sent;) {
		uint32_t count = wire_receive(pair.wire[1], frames, 32, vly_clock_ns());

		for (uint32_t i = 0; i < count; i++)
			cr_assert_eq(frame_number(&frames[i]), got++);
		/* asking again pays what is owed */
		cr_assert(vly_clock_ns() < end_ns);
		uint32_t lent = pair.wire[0]->ops->tx_take(pair.wire[0], 1, frames, 1);

		if (lent)
			pair.wire[0]->ops->tx_send(pair.wire[0], 1, frames, 0);
	}
	cr_assert_eq(pair.wire[0]->tx_dropped, 0);
	pair_close(&pair);
}

Test(wire_dpdk, frames_to_ourselves_come_back)
{
	struct pair pair;
	struct vly_frame frames[2];

	need_dpdk();
	pair_open(&pair, "");
	cr_assert_eq(wire_send(pair.wire[0], pair.wire[0]->mac, 80, 5, 1, vly_clock_ns()), 1);
	cr_assert_eq(wire_receive(pair.wire[0], frames, 2, vly_clock_ns()), 1);
	cr_assert(frame_intact(&frames[0], 80));
	pair_close(&pair);
}

Test(wire_dpdk, a_peer_that_closes_is_link_down_and_what_is_sent_is_lost)
{
	struct pair pair;
	struct vly_frame frame;

	need_dpdk();
	pair_open(&pair, "");
	pair.wire[1]->ops->close(pair.wire[1]);
	rig_close(&pair.rig[1]);
	/* The driver unmaps the rings on a thread of its own, and looks out for no burst under way. */
	usleep(200000);
	for (uint64_t end_ns = vly_clock_ns() + PATIENCE_NS; pair.wire[0]->link_up;) {
		wire_receive(pair.wire[0], &frame, 1, vly_clock_ns());
		cr_assert(vly_clock_ns() < end_ns, "the link stays up");
	}
	cr_assert_eq(wire_send(pair.wire[0], pair.wire[0]->mac, 80, 5, 1, vly_clock_ns()), 1);
	uint8_t other[6] = {2, 3, 4, 5, 6, 7};

	cr_assert_eq(wire_send(pair.wire[0], other, 80, 5, 1, vly_clock_ns()), 1);
	cr_assert_eq(pair.wire[0]->tx_dropped, 1);
	pair.wire[0]->ops->close(pair.wire[0]);
	rig_close(&pair.rig[0]);
}

Test(wire_dpdk, a_port_is_opened_and_closed_again_and_again)
{
	need_dpdk();
	for (int i = 0; i < 10; i++)
		cr_assert_eq(try_text("inet:dpdk,port=0,eal=\"--vdev=net_null0\""), 0, "%s", said);
}

Test(wire_dpdk, starting_changes_neither_affinity_nor_signals)
{
	cpu_set_t before, after;
	sigset_t mask, now;

	need_dpdk();
	cr_assert_eq(sched_getaffinity(0, sizeof(before), &before), 0);
	cr_assert_eq(sigprocmask(SIG_SETMASK, NULL, &mask), 0);
	cr_assert_eq(try_text("inet:dpdk,port=0,eal=\"--vdev=net_null0\""), 0, "%s", said);
	cr_assert_eq(sched_getaffinity(0, sizeof(after), &after), 0);
	cr_assert(CPU_EQUAL(&before, &after));
	cr_assert_eq(sigprocmask(SIG_SETMASK, NULL, &now), 0);
	for (int number = 1; number < NSIG; number++)
		cr_assert_eq(sigismember(&mask, number), sigismember(&now, number));
}

/* --- faults, each in one line that tells the way out --- */

static void expect(const char *text, int error, const char *part)
{
	int got = try_text(text);

	cr_assert_eq(got, error, "%s: %d, not %d: %s", text, got, error, said);
	cr_assert(strstr(said, part), "%s: \"%s\" is not in \"%s\"", text, part, said);
	cr_assert(!strchr(said, '\n'));
}

Test(wire_dpdk, a_port_that_is_not_there_is_named_with_those_that_are)
{
	need_dpdk();
	expect("inet:dpdk,port=7,eal=\"--vdev=net_null0\"", -ENODEV, "0=net_null0");
	expect("inet:dpdk,port=net_memif9,eal=\"--vdev=net_null0\"", -ENODEV,
	       "there is no such port");
}

Test(wire_dpdk, an_unknown_driver_tells_how_to_get_it)
{
	need_dpdk();
	cr_assert_lt(try_text("inet:dpdk,port=0,eal=\"--vdev=net_nosuch0\""), 0);
	cr_assert(strstr(said, "net_nosuch0") && strstr(said, "apt install"), "%s", said);
}

Test(wire_dpdk, too_few_mbufs_tell_how_many_it_takes)
{
	need_dpdk();
	expect("inet:dpdk,port=0,bufs=600,eal=\"--vdev=net_null0\"", -ENOBUFS, "bufs=");
}

Test(wire_dpdk, an_mtu_beyond_the_port_is_refused_with_its_limit)
{
	need_dpdk();
	expect("inet:dpdk,port=0,mtu=9000,eal=\"--vdev=net_memif0,role=server\"", -EINVAL,
	       "mtu=9000: port net_memif0 takes 46 to 1500");
}

Test(wire_dpdk, a_word_that_eal_does_not_know_is_one_line)
{
	need_dpdk();
	cr_assert_lt(try_text("inet:dpdk,port=0,eal=\"--nonsense --vdev=net_null0\""), 0);
	cr_assert(strstr(said, "nonsense") || strstr(said, "command line"), "%s", said);
}

Test(wire_dpdk, missing_huge_pages_are_one_line_with_the_fix)
{
	FILE *file = fopen("/proc/sys/vm/nr_hugepages", "r");
	int pages = 0;

	need_dpdk();
	if (!file || fscanf(file, "%d", &pages) != 1 || pages)
		cr_skip_test("this machine has huge pages");
	fclose(file);
	cr_assert_lt(try_text("inet:dpdk,port=0,eal=\"--in-memory --vdev=net_null0\""), 0);
	cr_assert(strstr(said, "vm.nr_hugepages"), "%s", said);
}

Test(wire_dpdk, a_pci_device_that_is_not_there_is_refused_before_anything_starts)
{
	struct vly_nic_spec spec;
	char why[512];

	need_dpdk();
	cr_assert_eq(vly_spec_parse(&spec, "inet:dpdk,port=ff:1f.7", why, sizeof(why)), 0);
	cr_assert_eq(vly_wire_dpdk.check(&spec, NULL, why, sizeof(why)), -ENODEV);
	cr_assert(strstr(why, "0000:ff:1f.7") && strstr(why, "dpdk-devbind.py"), "%s", why);
}

Test(wire_dpdk, starting_twice_with_other_words_is_refused)
{
	need_dpdk();
	cr_assert_eq(try_text("inet:dpdk,port=0,eal=\"--vdev=net_null0 -m 65\""), 0, "%s", said);
	expect("inet:dpdk,port=0,eal=\"--vdev=net_null0 -m 66\"", -EBUSY, "once per process");
	cr_assert_eq(try_text("inet:dpdk,port=0,eal=\"--vdev=net_null0\""), 0, "%s", said);
}

Test(wire_dpdk, two_wires_on_one_port_are_refused)
{
	struct pair pair;

	need_dpdk();
	pair_open(&pair, "");
	char text[600];

	snprintf(text, sizeof(text), "%s", pair.rig[0].config.nic);
	expect(text, -EBUSY, "in use");
	pair_close(&pair);
}

Test(wire_dpdk, a_port_describes_itself)
{
	struct vly_nic_spec spec;
	char why[512], text[4096];

	need_dpdk();
	cr_assert_eq(vly_spec_parse(&spec, "inet:dpdk,port=0,eal=\"--vdev=net_null0\"", why,
				    sizeof(why)),
		     0);
	cr_assert_eq(vly_wire_dpdk_describe(&spec, text, sizeof(text), why, sizeof(why)), 0, "%s",
		     why);
	cr_assert(strstr(text, "net_null0") && strstr(text, "send descriptors") &&
			  strstr(text, "burst"),
		  "%s", text);
}
