/* wire_options.c - options that most wires have, and their way of taking memory */
#include "nic/inet/wire_options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nic/inet/checksum.h"
#include "nic/inet/tcp_header.h"
#include "nic/inet/udp_header.h"

int vly_wire_options_parse(struct vly_wire_options *options, const struct vly_nic_spec *spec,
			   char *why, size_t why_bytes)
{
	const char *csum = vly_spec_get(spec, "csum");
	uint64_t mtu, cut;

	*options = (struct vly_wire_options){.mtu = 1500, .cut = true};
	if (vly_spec_number(spec, "mtu", VLY_WIRE_MTU_MAX, options->mtu, &mtu, why, why_bytes))
		return -EINVAL;
	if (mtu < VLY_WIRE_MTU_MIN) {
		snprintf(why, why_bytes, "mtu=%u: at least %u", (unsigned)mtu, VLY_WIRE_MTU_MIN);
		return -EINVAL;
	}
	options->mtu = (uint32_t)mtu;
	if (csum && strcmp(csum, "none") != 0 && strcmp(csum, "offload") != 0) {
		snprintf(why, why_bytes, "csum=%s: none or offload is expected", csum);
		return -EINVAL;
	}
	options->offload = csum && strcmp(csum, "offload") == 0;
	if (vly_spec_number(spec, "tso", 1, 1, &cut, why, why_bytes))
		return -EINVAL;
	options->cut = cut;
	return 0;
}

void *vly_wire_take(struct vly_region *region, size_t bytes)
{
	return vly_region_take(region, VLY_ALIGN_UP(bytes, (size_t)VLY_WRITER_GAP), VLY_WRITER_GAP);
}

size_t vly_wire_take_bytes(size_t bytes)
{
	return VLY_ALIGN_UP(bytes, (size_t)VLY_WRITER_GAP);
}

void vly_wire_complete(struct vly_frame *frame)
{
	uint8_t *data = frame->data;
	struct vly_ipv4 *ip = (struct vly_ipv4 *)(data + VLY_ETH_BYTES);
	const struct vly_eth *eth = (const struct vly_eth *)data;

	if (!(frame->flags & VLY_FRAME_COMPLETE))
		return;
	frame->flags &= (uint16_t)~VLY_FRAME_COMPLETE;
	if (frame->len < VLY_ETH_BYTES + VLY_IPV4_BYTES || eth->type != htons(VLY_ETH_IPV4))
		return;
	uint32_t header_bytes = (ip->version_ihl & 0xfu) * 4;
	uint32_t total_bytes = ntohs(ip->total_len);

	if (total_bytes > frame->len - VLY_ETH_BYTES || header_bytes < VLY_IPV4_BYTES ||
	    total_bytes < header_bytes + VLY_UDP_BYTES)
		return;
	ip->check = 0;
	ip->check = vly_checksum_finish(
		vly_checksum_add(0, data + VLY_ETH_BYTES, (size_t)header_bytes));
	uint8_t *transport = data + VLY_ETH_BYTES + header_bytes;
	uint32_t len_bytes = total_bytes - header_bytes;
	size_t at = offsetof(struct vly_udp_header, check);
	uint16_t check = 0;

	if (ip->protocol == VLY_IP_TCP && len_bytes >= VLY_TCP_BYTES)
		at = offsetof(struct vly_tcp_header, check);
	else if (ip->protocol != VLY_IP_UDP)
		return;
	memcpy(transport + at, &check, sizeof(check));
	uint64_t sum = vly_checksum_pseudo(ip->src, ip->dst, ip->protocol, len_bytes);

	check = vly_checksum_finish(vly_checksum_add(sum, transport, len_bytes));
	if (check == 0 && ip->protocol == VLY_IP_UDP)
		check = 0xffff;
	memcpy(transport + at, &check, sizeof(check));
}
