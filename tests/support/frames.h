/* frames.h - frames made by hand for tests: whole, then spoilt where the test says */
#ifndef VLY_TESTS_FRAMES_H
#define VLY_TESTS_FRAMES_H

#include <string.h>

#include "nic/inet/checksum.h"
#include "nic/inet/icmp_header.h"
#include "nic/inet/tcp_header.h"
#include "nic/inet/udp_header.h"

#define FRAME_SRC_IP 0x0a000002u /* 10.0.0.2, host order */
#define FRAME_DST_IP 0x0a000001u
#define FRAME_ROOM 2048

/* An IPv4 packet, no Ethernet header. */
struct packet {
	uint8_t data[FRAME_ROOM];
	uint32_t len;
};

/* The IPv4 header's checksum made anew, whatever else was spoilt. */
static inline void packet_sum(struct packet *p)
{
	struct vly_ipv4 *ip = (struct vly_ipv4 *)p->data;
	uint32_t header_bytes = (ip->version_ihl & 0xfu) * 4;

	ip->check = 0;
	ip->check = vly_checksum_finish(vly_checksum_add(0, p->data, header_bytes));
}

/* The TCP or UDP checksum made anew, over what the IPv4 header says. */
static inline void packet_sum_transport(struct packet *p)
{
	struct vly_ipv4 *ip = (struct vly_ipv4 *)p->data;
	uint32_t header_bytes = (ip->version_ihl & 0xfu) * 4;
	uint32_t len = ntohs(ip->total_len) - header_bytes;
	uint8_t *transport = p->data + header_bytes;
	size_t at = ip->protocol == VLY_IP_TCP ? offsetof(struct vly_tcp_header, check)
					       : offsetof(struct vly_udp_header, check);
	uint16_t check = 0;

	memcpy(transport + at, &check, 2);
	check = vly_checksum_finish(vly_checksum_add(
		vly_checksum_pseudo(ip->src, ip->dst, ip->protocol, len), transport, len));
	memcpy(transport + at, &check, 2);
}

static inline void packet_ip(struct packet *p, uint8_t protocol, uint32_t payload_bytes)
{
	memset(p, 0, sizeof(*p));
	vly_ipv4_write(p->data, &(struct vly_ipv4_opts){.src = htonl(FRAME_SRC_IP),
							.dst = htonl(FRAME_DST_IP),
							.payload_bytes = (uint16_t)payload_bytes,
							.protocol = protocol,
							.ttl = 64});
	p->len = VLY_IPV4_BYTES + payload_bytes;
}

/* A TCP segment with these options and a payload of so many bytes; port 1000 to 2000. */
static inline struct vly_tcp_header *packet_tcp(struct packet *p, uint8_t flags,
						const uint8_t *options, uint32_t options_bytes,
						uint32_t payload_bytes)
{
	packet_ip(p, VLY_IP_TCP, VLY_TCP_BYTES + options_bytes + payload_bytes);
	struct vly_tcp_header *tcp = (struct vly_tcp_header *)(p->data + VLY_IPV4_BYTES);

	tcp->src_port = htons(1000);
	tcp->dst_port = htons(2000);
	tcp->seq = htonl(0x01020304);
	tcp->ack = htonl(0x05060708);
	tcp->offset = (uint8_t)((VLY_TCP_BYTES + options_bytes) / 4 << 4);
	tcp->flags = flags;
	tcp->window = htons(5000);
	if (options_bytes)
		memcpy((uint8_t *)tcp + VLY_TCP_BYTES, options, options_bytes);
	memset((uint8_t *)tcp + VLY_TCP_BYTES + options_bytes, 0x5a, payload_bytes);
	packet_sum_transport(p);
	return tcp;
}

static inline struct vly_udp_header *packet_udp(struct packet *p, uint32_t payload_bytes)
{
	packet_ip(p, VLY_IP_UDP, VLY_UDP_BYTES + payload_bytes);
	struct vly_udp_header *udp = (struct vly_udp_header *)(p->data + VLY_IPV4_BYTES);

	udp->src_port = htons(1000);
	udp->dst_port = htons(2000);
	udp->len = htons((uint16_t)(VLY_UDP_BYTES + payload_bytes));
	memset((uint8_t *)udp + VLY_UDP_BYTES, 0x5a, payload_bytes);
	packet_sum_transport(p);
	return udp;
}

static inline void packet_sum_icmp(struct packet *p)
{
	struct vly_icmp_header *icmp = (struct vly_icmp_header *)(p->data + VLY_IPV4_BYTES);

	icmp->check = 0;
	icmp->check =
		vly_checksum_finish(vly_checksum_add(0, (uint8_t *)icmp, p->len - VLY_IPV4_BYTES));
}

static inline struct vly_icmp_header *packet_icmp(struct packet *p, uint8_t type, uint8_t code,
						  const uint8_t *payload, uint32_t payload_bytes)
{
	packet_ip(p, VLY_IP_ICMP, VLY_ICMP_BYTES + payload_bytes);
	struct vly_icmp_header *icmp = (struct vly_icmp_header *)(p->data + VLY_IPV4_BYTES);

	icmp->type = type;
	icmp->code = code;
	if (payload_bytes)
		memcpy((uint8_t *)icmp + VLY_ICMP_BYTES, payload, payload_bytes);
	packet_sum_icmp(p);
	return icmp;
}

/* The parser's verdict on the first `len` bytes, in memory that ends where they do. */
static inline enum vly_inet_drop packet_verdict(const struct packet *p, uint32_t len,
						struct vly_ipv4_view *view)
{
	return vly_ipv4_parse(p->data, len, true, view);
}

#endif
