/* arp_header.c - ARP for IPv4 over Ethernet (RFC 826): what a received one must be, how one is written */
#include "nic/inet/arp_header.h"

#include "nic/inet/ipv4.h"

#define HARDWARE_ETHERNET 1

enum vly_inet_drop vly_arp_parse(const uint8_t *frame, uint32_t len_bytes,
				 const struct vly_arp_header **arp)
{
	const struct vly_eth *eth = (const struct vly_eth *)frame;
	const struct vly_arp_header *a = (const struct vly_arp_header *)(frame + VLY_ETH_BYTES);

	if (len_bytes < VLY_ETH_BYTES + VLY_ARP_BYTES)
		return VLY_DROP_ARP_SHORT;
	if (a->hardware != htons(HARDWARE_ETHERNET) || a->protocol != htons(VLY_ETH_IPV4) ||
	    a->hardware_bytes != VLY_MAC_BYTES || a->protocol_bytes != 4)
		return VLY_DROP_ARP_FORMAT;
	if (a->operation != htons(VLY_ARP_REQUEST) && a->operation != htons(VLY_ARP_REPLY))
		return VLY_DROP_ARP_FORMAT;
	if (vly_mac_is_group(a->sender_mac) || vly_mac_is_zero(a->sender_mac) ||
	    !vly_mac_equal(a->sender_mac, eth->src))
		return VLY_DROP_ARP_ADDRESS;
	/* A sender of 0.0.0.0 probes whether its address is free (RFC 5227): it may ask. */
	if (a->sender_ip == 0 ? a->operation != htons(VLY_ARP_REQUEST)
			      : vly_ipv4_is_martian(a->sender_ip))
		return VLY_DROP_ARP_ADDRESS;
	*arp = a;
	return VLY_DROP_NONE;
}

void vly_arp_write(uint8_t to[VLY_ARP_FRAME_BYTES], const struct vly_arp_opts *opts)
{
	struct vly_eth *eth = (struct vly_eth *)to;
	struct vly_arp_header *a = (struct vly_arp_header *)(to + VLY_ETH_BYTES);

	memset(to, 0, VLY_ARP_FRAME_BYTES);
	if (opts->target_mac)
		memcpy(eth->dst, opts->target_mac, VLY_MAC_BYTES);
	else
		memset(eth->dst, 0xff, VLY_MAC_BYTES);
	memcpy(eth->src, opts->sender_mac, VLY_MAC_BYTES);
	eth->type = htons(VLY_ETH_ARP);
	a->hardware = htons(HARDWARE_ETHERNET);
	a->protocol = htons(VLY_ETH_IPV4);
	a->hardware_bytes = VLY_MAC_BYTES;
	a->protocol_bytes = 4;
	a->operation = htons(opts->operation);
	memcpy(a->sender_mac, opts->sender_mac, VLY_MAC_BYTES);
	a->sender_ip = opts->sender_ip;
	if (opts->target_mac)
		memcpy(a->target_mac, opts->target_mac, VLY_MAC_BYTES);
	a->target_ip = opts->target_ip;
}
