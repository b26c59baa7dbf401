/* icmp_header.c - ICMP: what a received message must be, echo replies, the errors that TCP wants to know */
#include "nic/inet/icmp_header.h"

#include "nic/inet/checksum.h"
#include "nic/inet/tcp_header.h"

static bool is_error(uint8_t type)
{
	return type == VLY_ICMP_UNREACHABLE || type == VLY_ICMP_TIME_EXCEEDED ||
	       type == VLY_ICMP_PARAMETER;
}

/* The checksum of the quoted header may have changed on the way: it is not looked at. */
static enum vly_inet_drop parse_quote(const uint8_t *data, uint32_t len_bytes,
				      struct vly_icmp_view *view)
{
	const struct vly_ipv4 *ip = (const struct vly_ipv4 *)data;

	if (len_bytes < VLY_IPV4_BYTES || ip->version_ihl >> 4 != 4)
		return VLY_DROP_ICMP_QUOTE;
	uint32_t header_bytes = (ip->version_ihl & 0xfu) * 4;

	if (header_bytes < VLY_IPV4_BYTES || header_bytes + 8 > len_bytes)
		return VLY_DROP_ICMP_QUOTE;
	if (ntohs(ip->fragment) & VLY_IPV4_OFFSET_MASK)
		return VLY_DROP_ICMP_QUOTE;
	if (ip->protocol != VLY_IP_TCP && ip->protocol != VLY_IP_UDP)
		return VLY_DROP_ICMP_QUOTE;
	/* The first 8 bytes of both headers begin with the ports; TCP's sequence number follows. */
	const struct vly_tcp_header *tcp = (const struct vly_tcp_header *)(data + header_bytes);

	view->quoted_protocol = ip->protocol;
	view->quoted_src = ip->src;
	view->quoted_dst = ip->dst;
	view->quoted_src_port = ntohs(tcp->src_port);
	view->quoted_dst_port = ntohs(tcp->dst_port);
	view->quoted_seq = ip->protocol == VLY_IP_TCP ? ntohl(tcp->seq) : 0;
	return VLY_DROP_NONE;
}

enum vly_inet_drop vly_icmp_parse(const struct vly_ipv4_view *ip, bool check_sum,
				  struct vly_icmp_view *view)
{
	const struct vly_icmp_header *icmp = (const struct vly_icmp_header *)ip->payload;

	if (ip->payload_bytes < VLY_ICMP_BYTES)
		return VLY_DROP_ICMP_SHORT;
	if (check_sum && !vly_checksum_intact(vly_checksum_add(0, ip->payload, ip->payload_bytes)))
		return VLY_DROP_ICMP_CHECKSUM;
	*view = (struct vly_icmp_view){.type = icmp->type, .code = icmp->code};
	if (icmp->type == VLY_ICMP_ECHO || icmp->type == VLY_ICMP_ECHO_REPLY)
		return VLY_DROP_NONE;
	if (!is_error(icmp->type))
		return VLY_DROP_ICMP_TYPE;
	if (icmp->type == VLY_ICMP_UNREACHABLE && icmp->code == VLY_ICMP_FRAG_NEEDED)
		view->mtu = ntohs(icmp->seq);
	return parse_quote(ip->payload + VLY_ICMP_BYTES, ip->payload_bytes - VLY_ICMP_BYTES, view);
}

void vly_icmp_write_reply(uint8_t *to, const uint8_t *request, uint32_t len_bytes)
{
	struct vly_icmp_header *icmp = (struct vly_icmp_header *)to;

	memcpy(to, request, len_bytes);
	icmp->type = VLY_ICMP_ECHO_REPLY;
	icmp->check = 0;
	/* Made anew: an update (RFC 1624) is wrong where nothing but zeros is left. */
	icmp->check = vly_checksum_finish(vly_checksum_add(0, to, len_bytes));
}
