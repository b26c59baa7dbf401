/* drop.c - why a frame went no further: one counter each, no log line, no crash */
#include "nic/inet/drop.h"

#include <stddef.h>

static const char *const names[] = {
	[VLY_DROP_NONE] = "none",
	[VLY_DROP_ETH_SHORT] = "eth_short",
	[VLY_DROP_ETH_NOT_OURS] = "eth_not_ours",
	[VLY_DROP_ETH_SOURCE] = "eth_source",
	[VLY_DROP_ETH_TYPE] = "eth_type",
	[VLY_DROP_ARP_SHORT] = "arp_short",
	[VLY_DROP_ARP_FORMAT] = "arp_format",
	[VLY_DROP_ARP_ADDRESS] = "arp_address",
	[VLY_DROP_ARP_NOT_OURS] = "arp_not_ours",
	[VLY_DROP_ARP_CONFLICT] = "arp_conflict",
	[VLY_DROP_ARP_UNSOLICITED] = "arp_unsolicited",
	[VLY_DROP_ARP_RATE] = "arp_rate",
	[VLY_DROP_ARP_PENDING] = "arp_pending",
	[VLY_DROP_IP_SHORT] = "ip_short",
	[VLY_DROP_IP_VERSION] = "ip_version",
	[VLY_DROP_IP_HEADER_LEN] = "ip_header_len",
	[VLY_DROP_IP_TOTAL_LEN] = "ip_total_len",
	[VLY_DROP_IP_CHECKSUM] = "ip_checksum",
	[VLY_DROP_IP_FRAGMENT] = "ip_fragment",
	[VLY_DROP_IP_MARTIAN] = "ip_martian",
	[VLY_DROP_IP_NOT_OURS] = "ip_not_ours",
	[VLY_DROP_IP_PROTOCOL] = "ip_protocol",
	[VLY_DROP_IP_NO_ROUTE] = "ip_no_route",
	[VLY_DROP_ICMP_SHORT] = "icmp_short",
	[VLY_DROP_ICMP_CHECKSUM] = "icmp_checksum",
	[VLY_DROP_ICMP_TYPE] = "icmp_type",
	[VLY_DROP_ICMP_RATE] = "icmp_rate",
	[VLY_DROP_ICMP_QUOTE] = "icmp_quote",
	[VLY_DROP_UDP_SHORT] = "udp_short",
	[VLY_DROP_UDP_LEN] = "udp_len",
	[VLY_DROP_UDP_CHECKSUM] = "udp_checksum",
	[VLY_DROP_UDP_PORT] = "udp_port",
	[VLY_DROP_UDP_NO_BUF] = "udp_no_buf",
	[VLY_DROP_TCP_SHORT] = "tcp_short",
	[VLY_DROP_TCP_OFFSET] = "tcp_offset",
	[VLY_DROP_TCP_CHECKSUM] = "tcp_checksum",
	[VLY_DROP_TCP_OPTIONS] = "tcp_options",
	[VLY_DROP_TCP_FLAGS] = "tcp_flags",
};

_Static_assert(sizeof(names) / sizeof(names[0]) == VLY_DROP_COUNT, "each reason has a name");

const char *vly_inet_drop_name(enum vly_inet_drop reason)
{
	return (unsigned)reason < VLY_DROP_COUNT ? names[reason] : NULL;
}
