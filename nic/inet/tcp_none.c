/* tcp_none.c - in place of TCP until it is there: counts what comes */
#include "nic/inet/ip.h"
#include "nic/inet/stack.h"

void vly_tcp_packet(struct vly_inet *inet, const struct vly_ipv4_view *ip, uint16_t frame_flags)
{
	(void)ip;
	(void)frame_flags;
	inet->drops[VLY_DROP_IP_PROTOCOL]++;
}

void vly_tcp_frag_needed(struct vly_inet *inet, const struct vly_flow_key *key, uint32_t seq,
			 uint32_t mtu)
{
	(void)key;
	(void)seq;
	(void)mtu;
	inet->drops[VLY_DROP_IP_PROTOCOL]++;
}

void vly_tcp_unreachable(struct vly_inet *inet, const struct vly_flow_key *key, uint32_t seq,
			 int error)
{
	(void)key;
	(void)seq;
	(void)error;
	inet->drops[VLY_DROP_IP_PROTOCOL]++;
}
