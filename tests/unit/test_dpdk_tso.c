/* test_dpdk_tso.c - what a port of DPDK's is asked to do when it sends: checksums, cutting, freeing mbufs */
#include "nic/inet/dpdk/tso.h"

#include <errno.h>
#include <sched.h>
#include <unistd.h>

#include "base/clock.h"
#include "tests/support/dpdk_rig.h"
#include "tests/support/wire_rig.h"

TestSuite(dpdk_tso, .timeout = 60);

#define CUTS (RTE_ETH_TX_OFFLOAD_TCP_TSO | RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
#define FREES RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE

/* What a driver says that offers all of it. */
static struct rte_eth_dev_info able(void)
{
	return (struct rte_eth_dev_info){
		.driver_name = "net_able",
		.tx_offload_capa = VLY_DPDK_TX_CHECKSUMS | CUTS | FREES,
		.tx_desc_lim = {.nb_max = 4096, .nb_seg_max = 255, .nb_mtu_seg_max = 255},
	};
}

static const struct vly_dpdk_conf plain = {.mtu = 1500, .cut = true};

/* Drivers that free this way look at the first mbuf of a chain alone. */
Test(dpdk_tso, mbufs_are_never_freed_the_fast_way_where_chains_are_sent)
{
	struct rte_eth_dev_info info = able();
	struct vly_dpdk_conf conf = plain;
	struct vly_dpdk_tso tso;

	cr_assert_eq(vly_dpdk_tso_choose(&tso, &info, &conf), VLY_DPDK_TX_CHECKSUMS | CUTS);
	cr_assert_eq(tso.pieces, 32);
	conf.cut = false;
	cr_assert_eq(vly_dpdk_tso_choose(&tso, &info, &conf), VLY_DPDK_TX_CHECKSUMS | FREES);
	cr_assert_eq(tso.pieces, 0);
	conf.software = true;
	cr_assert_eq(vly_dpdk_tso_choose(&tso, &info, &conf), FREES);
	/* whatever it leaves out of what cutting takes */
	for (unsigned bit = 0; bit < 64; bit++) {
		uint64_t without = info.tx_offload_capa & ~((uint64_t)1 << bit);
		struct rte_eth_dev_info less = info;

		less.tx_offload_capa = without;
		uint64_t got = vly_dpdk_tso_choose(&tso, &less, &plain);

		cr_assert_eq(got & ~without, 0, "it is asked for nothing that it does not have");
		cr_assert(!(got & FREES) || !(got & RTE_ETH_TX_OFFLOAD_MULTI_SEGS));
		cr_assert_eq(tso.pieces > 0, (got & CUTS) == CUTS);
	}
}

/* virtio and vmxnet3 sum TCP and UDP and leave IP's header to us. */
Test(dpdk_tso, a_port_without_the_sum_of_ip_headers_is_asked_for_the_others_and_cuts)
{
	struct rte_eth_dev_info info = able();
	struct vly_dpdk_tso tso;

	info.tx_offload_capa &= ~(uint64_t)RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
	cr_assert_eq(vly_dpdk_tso_choose(&tso, &info, &plain),
		     RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM | CUTS);
	cr_assert_gt(tso.pieces, 0);
	info.tx_offload_capa &= ~(uint64_t)RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	cr_assert_eq(vly_dpdk_tso_choose(&tso, &info, &plain), FREES);
}

/* A chain that is longer than the ring waits for room for ever, and so does all behind it. */
Test(dpdk_tso, no_chain_is_longer_than_a_quarter_of_its_ring)
{
	static const struct {
		uint32_t asked, most, pieces;
	} rings[] = {{0, 4096, 32},  {128, 4096, 32}, {127, 4096, 31}, {64, 4096, 16},
		     {1024, 64, 16}, {8, 4096, 2},    {7, 4096, 0},    {0, 4, 0}};

	for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
		struct rte_eth_dev_info info = able();
		struct vly_dpdk_conf conf = plain;
		struct vly_dpdk_tso tso;

		conf.txd = rings[i].asked;
		info.tx_desc_lim.nb_max = (uint16_t)rings[i].most;
		uint64_t got = vly_dpdk_tso_choose(&tso, &info, &conf);

		cr_assert_eq(tso.pieces, rings[i].pieces, "%u of %u: %u", rings[i].asked,
			     rings[i].most, tso.pieces);
		cr_assert_eq((got & CUTS) == CUTS, tso.pieces > 0);
	}
}

Test(dpdk_tso, a_driver_that_takes_short_chains_gets_short_ones)
{
	struct rte_eth_dev_info info = able();
	struct vly_dpdk_tso tso;

	info.tx_desc_lim.nb_seg_max = 8;
	vly_dpdk_tso_choose(&tso, &info, &plain);
	cr_assert_eq(tso.pieces, 8);
	/* one that says 255 and whose device takes 24 */
	info = able();
	info.driver_name = "net_vmxnet3";
	vly_dpdk_tso_choose(&tso, &info, &plain);
	cr_assert_eq(tso.pieces, 24);
	info.tx_desc_lim.nb_seg_max = 1;
	vly_dpdk_tso_choose(&tso, &info, &plain);
	cr_assert_eq(tso.pieces, 0);
}

/* What the wire tells the stack is what the port got. */
Test(dpdk_tso, a_wire_on_a_short_ring_tells_of_short_chains)
{
	struct wire_rig rig;

	need_dpdk();
	if (unshare(CLONE_NEWNET) != 0 || access("/dev/net/tun", R_OK | W_OK) != 0)
		cr_skip_test("net_tap takes root and /dev/net/tun");
	rig_open(&rig, "inet:dpdk,port=0,txd=32,eal=\"--vdev=net_tap0,iface=short0\"", 1);
	rig.config.idle = VLY_IDLE_BUSY;
	rig.now_ns = vly_clock_ns();
	struct vly_wire *wire = rig_wire(&rig, 0);

	cr_assert(wire->caps & VLY_WIRE_TSO);
	cr_assert_eq(wire->tso_pieces, 8);
	wire->ops->close(wire);
	rig_close(&rig);
}
