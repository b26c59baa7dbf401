/* drop.h - why a frame went no further: one counter each, no log line, no crash */
#ifndef VLY_NIC_INET_DROP_H
#define VLY_NIC_INET_DROP_H

#include <stdint.h>

/*
 * The parsers return these; 0 is a good frame. Whoever drops counts:
 * vly_count(&drops[reason], 1).
 */
enum vly_inet_drop {
	VLY_DROP_NONE = 0,
	/* Ethernet */
	VLY_DROP_ETH_SHORT,
	VLY_DROP_ETH_NOT_OURS, /* another's unicast address, or a multicast group */
	VLY_DROP_ETH_SOURCE,   /* from a group address, or from our own */
	VLY_DROP_ETH_TYPE,     /* neither IPv4 nor ARP */
	/* ARP */
	VLY_DROP_ARP_SHORT,
	VLY_DROP_ARP_FORMAT,  /* hardware, protocol, lengths or operation of another kind */
	VLY_DROP_ARP_ADDRESS, /* a sender that cannot be: group, zero, not the frame's own */
	VLY_DROP_ARP_NOT_OURS,
	VLY_DROP_ARP_CONFLICT,    /* somebody else uses our address */
	VLY_DROP_ARP_UNSOLICITED, /* an answer nobody asked for, gratuitous ones included */
	VLY_DROP_ARP_RATE,        /* more requests than are answered */
	VLY_DROP_ARP_PENDING, /* frames that waited in vain for an answer, or found no room to */
	/* IPv4 */
	VLY_DROP_IP_SHORT,
	VLY_DROP_IP_VERSION,
	VLY_DROP_IP_HEADER_LEN,
	VLY_DROP_IP_TOTAL_LEN,
	VLY_DROP_IP_CHECKSUM,
	VLY_DROP_IP_FRAGMENT,
	VLY_DROP_IP_MARTIAN, /* a source that cannot be one */
	VLY_DROP_IP_NOT_OURS,
	VLY_DROP_IP_PROTOCOL,
	VLY_DROP_IP_NO_ROUTE, /* ours to send, and no way to go */
	/* ICMP */
	VLY_DROP_ICMP_SHORT,
	VLY_DROP_ICMP_CHECKSUM,
	VLY_DROP_ICMP_TYPE,
	VLY_DROP_ICMP_RATE,  /* more echo requests than are answered */
	VLY_DROP_ICMP_QUOTE, /* an error that quotes nothing we can have sent */
	/* UDP */
	VLY_DROP_UDP_SHORT,
	VLY_DROP_UDP_LEN,
	VLY_DROP_UDP_CHECKSUM,
	VLY_DROP_UDP_PORT,   /* nobody there */
	VLY_DROP_UDP_NO_BUF, /* no receive buffer, or no room in the batch */
	/* TCP */
	VLY_DROP_TCP_SHORT,
	VLY_DROP_TCP_OFFSET,
	VLY_DROP_TCP_CHECKSUM,
	VLY_DROP_TCP_OPTIONS, /* lengths that lie */
	VLY_DROP_TCP_FLAGS,   /* combinations that no stack sends */
	VLY_DROP_COUNT
};

/* "ip_fragment"; NULL past the last. */
const char *vly_inet_drop_name(enum vly_inet_drop reason);

#endif
