/* ipv4.c - the IPv4 header: what a received one must be, how one is written */
#include "nic/inet/ipv4.h"

#include "nic/inet/checksum.h"

enum vly_inet_drop vly_ipv4_parse(const uint8_t *data, uint32_t len_bytes, bool check_sum,
				  struct vly_ipv4_view *view)
{
	const struct vly_ipv4 *ip = (const struct vly_ipv4 *)data;

	if (len_bytes < VLY_IPV4_BYTES)
		return VLY_DROP_IP_SHORT;
	if (ip->version_ihl >> 4 != 4)
		return VLY_DROP_IP_VERSION;
	uint32_t header_bytes = (ip->version_ihl & 0xfu) * 4;
	uint32_t total_bytes = ntohs(ip->total_len);

	if (header_bytes < VLY_IPV4_BYTES || header_bytes > len_bytes)
		return VLY_DROP_IP_HEADER_LEN;
	if (total_bytes < header_bytes || total_bytes > len_bytes)
		return VLY_DROP_IP_TOTAL_LEN;
	if (check_sum && !vly_checksum_intact(vly_checksum_add(0, data, header_bytes)))
		return VLY_DROP_IP_CHECKSUM;
	if (ntohs(ip->fragment) & (VLY_IPV4_MORE_FRAGMENTS | VLY_IPV4_OFFSET_MASK))
		return VLY_DROP_IP_FRAGMENT;
	if (vly_ipv4_is_martian(ip->src))
		return VLY_DROP_IP_MARTIAN;
	*view = (struct vly_ipv4_view){
		.src = ip->src,
		.dst = ip->dst,
		.protocol = ip->protocol,
		.ttl = ip->ttl,
		.tos = ip->tos,
		.header_bytes = (uint8_t)header_bytes,
		.payload_bytes = (uint16_t)(total_bytes - header_bytes),
		.payload = data + header_bytes,
	};
	return VLY_DROP_NONE;
}

void vly_ipv4_write(uint8_t *to, const struct vly_ipv4_opts *opts)
{
	struct vly_ipv4 *ip = (struct vly_ipv4 *)to;

	*ip = (struct vly_ipv4){
		.version_ihl = 4 << 4 | VLY_IPV4_BYTES / 4,
		.tos = opts->tos,
		.total_len = htons((uint16_t)(VLY_IPV4_BYTES + opts->payload_bytes)),
		.id = htons(opts->id),
		.fragment = htons(VLY_IPV4_DONT_FRAGMENT),
		.ttl = opts->ttl,
		.protocol = opts->protocol,
		.src = opts->src,
		.dst = opts->dst,
	};
	ip->check = vly_checksum_finish(vly_checksum_add(0, to, VLY_IPV4_BYTES));
}
