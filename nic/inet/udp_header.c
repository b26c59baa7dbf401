/* udp_header.c - the UDP header: what a received one must be, how one is written */
#include "nic/inet/udp_header.h"

#include "nic/inet/checksum.h"

enum vly_inet_drop vly_udp_parse(const struct vly_ipv4_view *ip, bool check_sum,
				 struct vly_udp_view *view)
{
	const struct vly_udp_header *udp = (const struct vly_udp_header *)ip->payload;

	if (ip->payload_bytes < VLY_UDP_BYTES)
		return VLY_DROP_UDP_SHORT;
	uint32_t len_bytes = ntohs(udp->len);

	if (len_bytes < VLY_UDP_BYTES || len_bytes > ip->payload_bytes)
		return VLY_DROP_UDP_LEN;
	if (check_sum && udp->check != 0) {
		uint64_t sum = vly_checksum_pseudo(ip->src, ip->dst, VLY_IP_UDP, len_bytes);

		sum = vly_checksum_add(sum, ip->payload, len_bytes);
		if (!vly_checksum_intact(sum))
			return VLY_DROP_UDP_CHECKSUM;
	}
	*view = (struct vly_udp_view){
		.src_port = ntohs(udp->src_port),
		.dst_port = ntohs(udp->dst_port),
		.payload_bytes = (uint16_t)(len_bytes - VLY_UDP_BYTES),
		.payload = ip->payload + VLY_UDP_BYTES,
	};
	return VLY_DROP_NONE;
}

void vly_udp_write(uint8_t *to, const struct vly_ipv4_opts *ip, uint16_t src_port,
		   uint16_t dst_port, uint64_t payload_sum, bool make_sum)
{
	struct vly_udp_header *udp = (struct vly_udp_header *)to;
	uint64_t sum = vly_checksum_pseudo(ip->src, ip->dst, VLY_IP_UDP, ip->payload_bytes);

	*udp = (struct vly_udp_header){
		.src_port = htons(src_port),
		.dst_port = htons(dst_port),
		.len = htons(ip->payload_bytes),
	};
	if (!make_sum) {
		udp->check = vly_checksum_fold(sum);
		return;
	}
	sum = vly_checksum_plus(vly_checksum_add(sum, to, VLY_UDP_BYTES), payload_sum);
	udp->check = vly_checksum_finish(sum);
	if (udp->check == 0)
		udp->check = 0xffff; /* the same number; 0 would mean that there is none */
}
