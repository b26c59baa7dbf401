/* wire_vnet.c - what a tap and the kernel leave to each other: checksums, and cutting long segments */
#include "nic/inet/wire_vnet.h"

#include <assert.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <sys/ioctl.h>
#include <sys/uio.h>

#include "nic/inet/checksum.h"
#include "nic/inet/eth.h"
#include "nic/inet/ipv4.h"
#include "nic/inet/tcp_header.h"
#include "nic/inet/udp_header.h"

#define PIECES_MAX 32u
#define FRAME_BYTES_MAX (VLY_ETH_BYTES + 65535u)

int vly_vnet_setup(int fd)
{
	int bytes = sizeof(struct virtio_net_hdr);

	/* The kernel may leave its checksums to us. It sends no long segments: our buffers hold a frame. */
	if (ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM) != 0)
		return -1;
	return ioctl(fd, TUNSETVNETHDRSZ, &bytes);
}

void vly_vnet_offer(struct vly_wire *wire, bool cut)
{
	wire->caps |= VLY_WIRE_TX_CHECKSUM | VLY_WIRE_RX_CHECKSUM;
	if (!cut)
		return;
	wire->caps |= VLY_WIRE_TSO;
	wire->tso_bytes = FRAME_BYTES_MAX;
	wire->tso_pieces = PIECES_MAX;
}

/* The kernel answers for TCP's and UDP's checksum; on a bridge nobody may have looked at the IP header's. */
static bool ip_is_sound(const uint8_t *data, uint32_t len)
{
	uint32_t header_bytes = len > VLY_ETH_BYTES ? (data[VLY_ETH_BYTES] & 0xfu) * 4 : 0;

	return header_bytes >= VLY_IPV4_BYTES && len >= VLY_ETH_BYTES + header_bytes &&
	       vly_checksum_intact(vly_checksum_add(0, data + VLY_ETH_BYTES, header_bytes));
}

int vly_vnet_read(int fd, struct vly_frame *frame, uint8_t *data, uint32_t data_bytes)
{
	struct virtio_net_hdr header;
	struct iovec pieces[] = {{&header, sizeof(header)}, {data, data_bytes}};
	ssize_t got = readv(fd, pieces, 2);

	if (got < (ssize_t)sizeof(header))
		return -1;
	*frame = (struct vly_frame){.data = data, .len = (uint32_t)got - (uint32_t)sizeof(header)};
	/* not computed yet, as on the loop: memory changes nothing; or the kernel has looked */
	if (header.flags & (VIRTIO_NET_HDR_F_NEEDS_CSUM | VIRTIO_NET_HDR_F_DATA_VALID) &&
	    ip_is_sound(data, frame->len))
		frame->flags = VLY_FRAME_CHECKED;
	return 1;
}

uint32_t vly_vnet_pieces(const struct vly_frame *frames, uint32_t count)
{
	uint32_t pieces = 1;

	while (pieces < count && frames[pieces].flags & VLY_FRAME_MORE)
		pieces++;
	return pieces;
}

/* What is left to the kernel. It completes the checksum of TCP or UDP; that of IP is asked of us. */
static struct virtio_net_hdr header_of(const struct vly_frame *frame)
{
	struct vly_ipv4 *ip = (struct vly_ipv4 *)(frame->data + VLY_ETH_BYTES);
	struct virtio_net_hdr header = {.gso_type = VIRTIO_NET_HDR_GSO_NONE};
	uint32_t ip_bytes = (ip->version_ihl & 0xfu) * 4;
	const struct vly_tcp_header *tcp =
		(const struct vly_tcp_header *)((const uint8_t *)ip + ip_bytes);

	if (!(frame->flags & VLY_FRAME_COMPLETE))
		return header;
	ip->check = vly_checksum_finish(vly_checksum_add(0, ip, (size_t)ip_bytes));
	header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	header.csum_start = (uint16_t)(VLY_ETH_BYTES + ip_bytes);
	header.csum_offset = ip->protocol == VLY_IP_TCP ? offsetof(struct vly_tcp_header, check)
							: offsetof(struct vly_udp_header, check);
	if (frame->mss) {
		header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
		header.gso_size = frame->mss;
		header.hdr_len = (uint16_t)(header.csum_start + (tcp->offset >> 4) * 4);
	}
	return header;
}

ssize_t vly_vnet_write(int fd, const struct vly_frame *frames, uint32_t count)
{
	struct virtio_net_hdr header = header_of(&frames[0]);
	struct iovec pieces[1 + PIECES_MAX] = {{&header, sizeof(header)}};

	count = vly_vnet_pieces(frames, count);
	assert(count <= PIECES_MAX);
	for (uint32_t i = 0; i < count; i++)
		pieces[1 + i] = (struct iovec){frames[i].data, frames[i].len};
	return writev(fd, pieces, 1 + (int)count) >= 0 ? (ssize_t)count : -1;
}
