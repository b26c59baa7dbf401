/* icmp.c - ICMP: echoes answered, errors handed to whom they are about */
#include "nic/inet/icmp.h"

#include <errno.h>

#include "nic/inet/checksum.h"
#include "nic/inet/handover.h"
#include "nic/inet/ip.h"
#include "nic/inet/stack.h"
#include "nic/inet/tcp.h"

/* Where to build an answer of `len_bytes` to the sender of `ip`; NULL: not now. */
static uint8_t *begin_answer(struct vly_inet *inet, const struct vly_ipv4_view *ip,
			     uint32_t len_bytes)
{
	if (VLY_IPV4_BYTES + len_bytes > inet->wire->mtu) {
		inet->drops[VLY_DROP_IP_NO_ROUTE]++;
		return NULL;
	}
	if (!vly_hop_rate_ok(&inet->icmp_rate, inet->now_ns, VLY_ICMP_PER_S)) {
		inet->drops[VLY_DROP_ICMP_RATE]++;
		return NULL;
	}
	uint16_t hop = vly_hop_take(inet, ip->src);

	if (hop == VLY_NO_HOP) {
		inet->drops[VLY_DROP_IP_NO_ROUTE]++;
		return NULL;
	}
	uint8_t *to = vly_ip_begin(inet, hop, VLY_IP_ICMP, ip->dst, ip->src, len_bytes);

	vly_hop_put(inet, hop);
	return to;
}

static int error_of(const struct vly_icmp_view *icmp)
{
	if (icmp->type != VLY_ICMP_UNREACHABLE)
		return -EHOSTUNREACH;
	switch (icmp->code) {
	case 0:
	case 6:
	case 11:
		return -ENETUNREACH;
	case 2:
	case VLY_ICMP_UNREACHABLE_PORT:
		return -ECONNREFUSED;
	default:
		return -EHOSTUNREACH;
	}
}

/* What it quotes is checked against a connection by TCP: whoever cannot see our segments cannot quote. */
static void error_in(struct vly_inet *inet, const struct vly_icmp_view *icmp)
{
	struct vly_flow_key key = {.raddr = icmp->quoted_dst,
				   .laddr = icmp->quoted_src,
				   .rport = htons(icmp->quoted_dst_port),
				   .lport = htons(icmp->quoted_src_port)};
	bool needs_less = icmp->type == VLY_ICMP_UNREACHABLE && icmp->code == VLY_ICMP_FRAG_NEEDED;

	if (!vly_route_own(&inet->route, icmp->quoted_src)) {
		inet->drops[VLY_DROP_ICMP_QUOTE]++;
		return;
	}
	if (needs_less)
		inet->stats.icmp_frag_needed++;
	else
		inet->stats.icmp_unreachable++;
	if (icmp->quoted_protocol != VLY_IP_TCP)
		return; /* datagrams may be lost */
	struct vly_mini *mini;

	if (inet->relay && !vly_tcp_find(inet, &key, &mini) && !mini) {
		(void)vly_hand_quoted(inet, &key);
		return;
	}
	if (needs_less)
		vly_tcp_frag_needed(inet, &key, icmp->quoted_seq, icmp->mtu);
	else
		vly_tcp_unreachable(inet, &key, icmp->quoted_seq, error_of(icmp));
}

void vly_icmp_input(struct vly_inet *inet, const struct vly_ipv4_view *ip)
{
	struct vly_icmp_view icmp;
	enum vly_inet_drop drop = vly_icmp_parse(ip, true, &icmp);

	if (!drop && icmp.type == VLY_ICMP_ECHO_REPLY)
		drop = VLY_DROP_ICMP_TYPE; /* we ask nobody */
	if (drop) {
		inet->drops[drop]++;
		return;
	}
	if (icmp.type != VLY_ICMP_ECHO) {
		error_in(inet, &icmp);
		return;
	}
	uint8_t *to = begin_answer(inet, ip, ip->payload_bytes);

	if (!to)
		return;
	vly_icmp_write_reply(to, ip->payload, ip->payload_bytes);
	vly_ip_end(inet, -1);
	inet->stats.icmp_echo++;
}

void vly_icmp_unreachable(struct vly_inet *inet, const struct vly_ipv4_view *ip, uint8_t code)
{
	const uint8_t *header = ip->payload - ip->header_bytes;
	uint32_t quoted = ip->header_bytes + VLY_MIN((uint32_t)ip->payload_bytes, 8u);
	uint8_t *to = begin_answer(inet, ip, VLY_ICMP_BYTES + quoted);
	struct vly_icmp_header *icmp = (struct vly_icmp_header *)to;

	if (!to)
		return;
	*icmp = (struct vly_icmp_header){.type = VLY_ICMP_UNREACHABLE, .code = code};
	memcpy(to + VLY_ICMP_BYTES, header, quoted);
	icmp->check = vly_checksum_finish(vly_checksum_add(0, to, VLY_ICMP_BYTES + quoted));
	vly_ip_end(inet, -1);
}
