/* ip.c - IPv4: packets in, packets out */
#include "nic/inet/ip.h"

#include "nic/inet/checksum.h"
#include "nic/inet/icmp.h"
#include "nic/inet/stack.h"
#include "nic/inet/tcp.h"
#include "nic/inet/udp.h"
#include "nic/inet/udp_header.h"

#define TTL 64

/* 0, or why the frame is not for us. Only ARP listens to broadcasts. */
static enum vly_inet_drop check_eth(const struct vly_inet *inet, const struct vly_frame *frame)
{
	const struct vly_eth *eth = (const struct vly_eth *)frame->data;

	if (frame->len < VLY_ETH_BYTES)
		return VLY_DROP_ETH_SHORT;
	bool own = vly_mac_equal(eth->dst, inet->wire->mac);

	if (!own && !(vly_mac_is_broadcast(eth->dst) && eth->type == htons(VLY_ETH_ARP)))
		return VLY_DROP_ETH_NOT_OURS;
	if (vly_mac_is_group(eth->src))
		return VLY_DROP_ETH_SOURCE;
	/* A host of the hub may talk to itself. */
	if (vly_mac_equal(eth->src, inet->wire->mac) &&
	    !(own && inet->wire->caps & VLY_WIRE_HOST_PER_CORE))
		return VLY_DROP_ETH_SOURCE;
	if (eth->type != htons(VLY_ETH_IPV4) && eth->type != htons(VLY_ETH_ARP))
		return VLY_DROP_ETH_TYPE;
	return VLY_DROP_NONE;
}

/* A source that can be, a destination that is ours. */
static enum vly_inet_drop check_addresses(const struct vly_inet *inet,
					  const struct vly_ipv4_view *ip)
{
	const struct vly_route *route = &inet->route;

	if (!vly_route_own(route, ip->dst))
		return VLY_DROP_IP_NOT_OURS;
	if (vly_route_own(route, ip->src))
		return inet->wire->caps & VLY_WIRE_HOST_PER_CORE ? VLY_DROP_NONE
								 : VLY_DROP_IP_MARTIAN;
	/* The network itself, or all of it, is nobody. */
	if ((ip->src & route->mask) == (route->ip & route->mask) && !vly_route_near(route, ip->src))
		return VLY_DROP_IP_MARTIAN;
	return VLY_DROP_NONE;
}

void vly_ip_input(struct vly_inet *inet, const struct vly_frame *frame)
{
	struct vly_ipv4_view ip;
	enum vly_inet_drop drop = check_eth(inet, frame);

	inet->in = frame;
	if (!drop && ((const struct vly_eth *)frame->data)->type == htons(VLY_ETH_ARP)) {
		vly_arp_input(inet, frame);
		return;
	}
	if (!drop)
		drop = vly_ipv4_parse(frame->data + VLY_ETH_BYTES, frame->len - VLY_ETH_BYTES,
				      !(frame->flags & VLY_FRAME_CHECKED), &ip);
	if (!drop)
		drop = check_addresses(inet, &ip);
	if (!drop && ip.protocol != VLY_IP_TCP && ip.protocol != VLY_IP_UDP &&
	    ip.protocol != VLY_IP_ICMP)
		drop = VLY_DROP_IP_PROTOCOL;
	if (drop) {
		inet->drops[drop]++;
		return;
	}
	if (ip.protocol == VLY_IP_TCP)
		vly_tcp_packet(inet, &ip, frame->flags);
	else if (ip.protocol == VLY_IP_UDP)
		vly_udp_input(inet, &ip, frame->flags);
	else
		vly_icmp_input(inet, &ip);
}

uint8_t *vly_ip_begin(struct vly_inet *inet, uint16_t index, uint8_t protocol, uint32_t src,
		      uint32_t dst, uint32_t l4_len)
{
	struct vly_hop *hop = &inet->hops.table[index];
	uint32_t frame_bytes = VLY_ETH_BYTES + VLY_IPV4_BYTES + l4_len;

	assert(index < inet->hops.count);
	assert(!inet->begun);
	assert(VLY_IPV4_BYTES + l4_len <= inet->wire->mtu);
	if (vly_unlikely(hop->state == VLY_HOP_ASKING)) {
		inet->begun = vly_hop_wait(inet, hop, frame_bytes);
	} else {
		struct vly_frame *frame = vly_out_frame(inet);

		inet->begun = frame ? frame->data : NULL;
	}
	if (!inet->begun)
		return NULL;
	memcpy(inet->begun, hop->eth, VLY_ETH_BYTES);
	vly_ipv4_write(inet->begun + VLY_ETH_BYTES,
		       &(struct vly_ipv4_opts){.src = src,
					       .dst = dst,
					       .payload_bytes = (uint16_t)l4_len,
					       .protocol = protocol,
					       .ttl = TTL});
	inet->begun_hop = hop;
	inet->begun_len = frame_bytes;
	return inet->begun + VLY_ETH_BYTES + VLY_IPV4_BYTES;
}

/* The checksum of the l4 part, or what the wire makes it of; returns the frame's flags. */
static uint16_t put_checksum(struct vly_inet *inet, size_t at)
{
	struct vly_ipv4 *ip = (struct vly_ipv4 *)(inet->begun + VLY_ETH_BYTES);
	uint8_t *l4 = inet->begun + VLY_ETH_BYTES + VLY_IPV4_BYTES;
	uint32_t l4_len = inet->begun_len - VLY_ETH_BYTES - VLY_IPV4_BYTES;
	uint64_t sum = vly_checksum_pseudo(ip->src, ip->dst, ip->protocol, l4_len);
	uint16_t check = 0, flags = 0;

	if (inet->wire->caps & VLY_WIRE_TX_CHECKSUM) {
		check = vly_checksum_fold(sum);
		ip->check = 0;
		flags = VLY_FRAME_COMPLETE;
	} else {
		memcpy(l4 + at, &check, sizeof(check));
		check = vly_checksum_finish(vly_checksum_add(sum, l4, l4_len));
		if (check == 0 && ip->protocol == VLY_IP_UDP)
			check = 0xffff; /* 0 would mean that there is none */
	}
	memcpy(l4 + at, &check, sizeof(check));
	return flags;
}

void vly_ip_end(struct vly_inet *inet, int check)
{
	uint16_t flags = check >= 0 ? put_checksum(inet, (size_t)check) : 0;

	assert(inet->begun);
	if (vly_unlikely(inet->hops.begun)) {
		vly_hop_wait_end(inet, inet->begun_hop, inet->begun_len, flags);
	} else {
		struct vly_frame *frame = vly_out_frame(inet);

		frame->len = inet->begun_len;
		frame->flags = flags;
		frame->mss = 0;
		vly_out_done(inet);
	}
	inet->begun = NULL;
}
