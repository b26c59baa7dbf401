/* test_wire_vnet.c - a tap and the kernel: whose checksums are whose, in a network namespace of the test's own */
#include "nic/inet/wire_vnet.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "nic/inet/checksum.h"
#include "nic/inet/ipv4.h"
#include "nic/inet/udp_header.h"
#include "tests/support/leak.h"
#include "tests/support/wire_rig.h"

TestSuite(wire_vnet, .fini = vly_leak_gate, .timeout = 30);

#define DEVICE "vnet0"
#define PAYLOAD 64u
#define UDP_AT (VLY_ETH_BYTES + VLY_IPV4_BYTES)
#define FRAME_BYTES (UDP_AT + VLY_UDP_BYTES + PAYLOAD)

/* A tap that stays when nobody has it open. */
static void make_tap(void)
{
	struct ifreq request = {.ifr_name = DEVICE, .ifr_flags = IFF_TAP | IFF_NO_PI};

	if (unshare(CLONE_NEWNET) != 0)
		cr_skip_test("a network namespace takes root");
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		cr_skip_test("/dev/net/tun: %s", strerror(errno));
	cr_assert_eq(ioctl(fd, TUNSETIFF, &request), 0);
	cr_assert_eq(ioctl(fd, TUNSETPERSIST, 1), 0);
	close(fd);
}

static struct vly_wire *open_tap(struct wire_rig *rig, const char *more)
{
	static char text[100];
	struct ifreq request = {.ifr_name = DEVICE};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(text, sizeof(text), "inet:tap,dev=" DEVICE "%s", more);
	rig_open(rig, text, 1);
	struct vly_wire *wire = rig_wire(rig, 0);

	cr_assert_eq(ioctl(fd, SIOCGIFFLAGS, &request), 0);
	request.ifr_flags |= IFF_UP;
	cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	close(fd);
	return wire;
}

/* A datagram for the wire, as a program sends it whose kernel leaves the checksum of UDP to the device. */
static void send_unsummed(const struct vly_wire *wire, bool good_ip)
{
	struct {
		struct virtio_net_hdr header;
		uint8_t frame[FRAME_BYTES];
	} message = {.header = {.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
				.csum_start = UDP_AT,
				.csum_offset = offsetof(struct vly_udp_header, check)}};
	struct vly_eth *eth = (struct vly_eth *)message.frame;
	struct vly_ipv4 *ip = (struct vly_ipv4 *)(message.frame + VLY_ETH_BYTES);
	struct vly_udp_header *udp = (struct vly_udp_header *)(message.frame + UDP_AT);
	struct sockaddr_ll to = {.sll_family = AF_PACKET,
				 .sll_ifindex = (int)if_nametoindex(DEVICE)};
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0), one = 1;

	memset(message.frame + UDP_AT + VLY_UDP_BYTES, 0x5a, PAYLOAD);
	memcpy(eth->dst, wire->mac, VLY_MAC_BYTES);
	memcpy(eth->src, "\2\0\0\0\0\7", VLY_MAC_BYTES);
	eth->type = htons(VLY_ETH_IPV4);
	*ip = (struct vly_ipv4){.version_ihl = 0x45,
				.total_len = htons(FRAME_BYTES - VLY_ETH_BYTES),
				.ttl = 64,
				.protocol = VLY_IP_UDP,
				.src = htonl(0x0a000002),
				.dst = htonl(0x0a000001)};
	ip->check = vly_checksum_finish(vly_checksum_add(0, ip, VLY_IPV4_BYTES));
	ip->check ^= !good_ip;
	udp->src_port = udp->dst_port = htons(7);
	udp->len = htons(VLY_UDP_BYTES + PAYLOAD);
	/* what the sum of the rest is added to */
	udp->check = vly_checksum_fold(
		vly_checksum_pseudo(ip->src, ip->dst, VLY_IP_UDP, VLY_UDP_BYTES + PAYLOAD));
	cr_assert_geq(fd, 0);
	cr_assert_eq(setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof(one)), 0);
	cr_assert_eq(sendto(fd, &message, sizeof(message), 0, (struct sockaddr *)&to, sizeof(to)),
		     (ssize_t)sizeof(message), "%s", strerror(errno));
	close(fd);
}

/* It comes in, past whatever the kernel itself sends when an interface goes up. */
static struct vly_frame receive(struct vly_wire *wire)
{
	struct vly_frame frame;

	for (unsigned i = 0; i < 2000; i++) {
		if (wire_receive(wire, &frame, 1, 1) == 1 && frame.len == FRAME_BYTES &&
		    frame.data[VLY_ETH_BYTES + 9] == VLY_IP_UDP)
			return frame;
		usleep(1000);
	}
	cr_assert_fail("nothing came");
	return frame;
}

static bool udp_sum_right(const struct vly_frame *frame)
{
	const struct vly_ipv4 *ip = (const struct vly_ipv4 *)(frame->data + VLY_ETH_BYTES);
	uint64_t sum = vly_checksum_pseudo(ip->src, ip->dst, VLY_IP_UDP, VLY_UDP_BYTES + PAYLOAD);

	return vly_checksum_fold(vly_checksum_add(sum, frame->data + UDP_AT,
						  VLY_UDP_BYTES + PAYLOAD)) == 0xffff;
}

/*
 * What was asked of a device stays with it, and without the header there is nothing that says of a frame that
 * its checksum was left to us.
 */
Test(wire_vnet, a_tap_that_left_checksums_to_us_does_so_no_more_for_the_next_one)
{
	struct wire_rig rig;

	make_tap();
	struct vly_wire *wire = open_tap(&rig, ",csum=offload");

	send_unsummed(wire, true);
	struct vly_frame frame = receive(wire);

	cr_assert_not(udp_sum_right(&frame),
		      "the kernel computes it itself: nothing is shown here");
	cr_assert_eq(frame.flags, VLY_FRAME_CHECKED);
	wire->ops->close(wire);
	rig_close(&rig);
	wire = open_tap(&rig, "");
	send_unsummed(wire, true);
	frame = receive(wire);
	cr_assert(udp_sum_right(&frame));
	wire->ops->close(wire);
	rig_close(&rig);
}

/* The kernel answers for the sum of UDP; the one of IP's header is the sender's, and a bridge looks at neither. */
Test(wire_vnet, a_wrong_ip_header_is_not_checked_because_its_payload_is)
{
	struct wire_rig rig;

	make_tap();
	struct vly_wire *wire = open_tap(&rig, ",csum=offload");

	send_unsummed(wire, false);
	struct vly_frame frame = receive(wire);

	cr_assert_eq(frame.flags & VLY_FRAME_CHECKED, 0);
	wire->ops->close(wire);
	rig_close(&rig);
}
