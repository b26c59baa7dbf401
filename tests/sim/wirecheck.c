/* wirecheck.c - a second opinion on frames: a small parser that shares no line with the stack's */
#include "tests/sim/wirecheck.h"

#include <string.h>

#include "nic/inet/wire.h"

#define ETH 14u
#define IP 20u

static uint32_t be16(const uint8_t *p)
{
	return (uint32_t)p[0] << 8 | p[1];
}

static uint32_t be32(const uint8_t *p)
{
	return be16(p) << 16 | be16(p + 2);
}

/* RFC 1071, the slow way. */
static uint32_t sum(uint32_t so_far, const uint8_t *p, uint32_t len)
{
	uint64_t total = so_far;

	for (uint32_t i = 0; i + 1 < len; i += 2)
		total += be16(p + i);
	if (len & 1)
		total += (uint32_t)p[len - 1] << 8;
	while (total >> 16)
		total = (total & 0xffff) + (total >> 16);
	return (uint32_t)total;
}

static uint32_t pseudo(const uint8_t *ip, uint32_t l4_bytes)
{
	uint8_t tail[4] = {0, ip[9], (uint8_t)(l4_bytes >> 8), (uint8_t)l4_bytes};

	return sum(sum(0, ip + 12, 8), tail, 4);
}

static const char *parse_arp(const uint8_t *data, uint32_t len, struct wirecheck *out)
{
	const uint8_t *arp = data + ETH;

	out->kind = WIRECHECK_ARP;
	if (len < ETH + 28)
		return "ARP: short";
	if (be16(arp) != 1 || be16(arp + 2) != 0x800 || arp[4] != 6 || arp[5] != 4)
		return "ARP: not of IPv4 over Ethernet";
	if (be16(arp + 6) != 1 && be16(arp + 6) != 2)
		return "ARP: neither request nor reply";
	if (memcmp(arp + 8, data + 6, 6) != 0)
		return "ARP: the sender is not the frame's source";
	out->src_ip = be32(arp + 14);
	out->dst_ip = be32(arp + 24);
	return NULL;
}

static const char *parse_sack(const uint8_t *option, uint32_t bytes, struct wirecheck *out)
{
	if (bytes < 10 || bytes > 34 || (bytes - 2) % 8)
		return "TCP: SACK of impossible length";
	out->sacks = (bytes - 2) / 8;
	for (unsigned i = 0; i < out->sacks; i++) {
		out->sack_from[i] = be32(option + 2 + 8 * i);
		out->sack_to[i] = be32(option + 6 + 8 * i);
	}
	return NULL;
}

static const char *parse_option(const uint8_t *option, uint32_t bytes, struct wirecheck *out)
{
	bool syn = out->flags & WIRECHECK_SYN;

	switch (option[0]) {
	case 2:
		out->has_mss = true;
		out->mss = (uint16_t)be16(option + 2);
		return bytes == 4 && syn ? NULL : "TCP: MSS wrong or out of place";
	case 3:
		out->has_wscale = true;
		out->wscale = option[2];
		return bytes == 3 && syn && option[2] <= 14 ? NULL : "TCP: bad window scale";
	case 4:
		out->has_sack_permitted = true;
		return bytes == 2 && syn ? NULL : "TCP: bad SACK permitted";
	case 5:
		return parse_sack(option, bytes, out);
	case 8:
		out->has_ts = true;
		if (bytes != 10)
			return "TCP: bad timestamps";
		out->ts_value = be32(option + 2);
		out->ts_echo = be32(option + 6);
		return NULL;
	default:
		return "TCP: an option that this stack does not know";
	}
}

static const char *parse_options(const uint8_t *at, uint32_t bytes, struct wirecheck *out)
{
	while (bytes && *at != 0) {
		if (*at == 1) {
			at++;
			bytes--;
			continue;
		}
		if (bytes < 2 || at[1] < 2 || at[1] > bytes)
			return "TCP: an option's length lies";
		const char *fault = parse_option(at, at[1], out);

		if (fault)
			return fault;
		bytes -= at[1];
		at += at[1];
	}
	for (; bytes; bytes--, at++) {
		if (*at)
			return "TCP: something follows the end of the options";
	}
	return NULL;
}

static const char *parse_tcp(const uint8_t *tcp, uint32_t len, struct wirecheck *out)
{
	uint32_t header_bytes = len >= 20 ? (uint32_t)(tcp[12] >> 4) * 4 : 0;

	out->kind = WIRECHECK_TCP;
	if (header_bytes < 20 || header_bytes > len)
		return "TCP: bad offset";
	if (tcp[12] & 0xf || tcp[13] & 0xc0)
		return "TCP: reserved bits or ECN";
	out->src_port = (uint16_t)be16(tcp);
	out->dst_port = (uint16_t)be16(tcp + 2);
	out->seq = be32(tcp + 4);
	out->ack = be32(tcp + 8);
	out->flags = tcp[13];
	out->window = (uint16_t)be16(tcp + 14);
	out->options_bytes = header_bytes - 20;
	out->payload = tcp + header_bytes;
	out->payload_bytes = len - header_bytes;
	if (!out->src_port || !out->dst_port)
		return "TCP: port 0";
	if (out->flags & WIRECHECK_URG || be16(tcp + 18))
		return "TCP: urgent";
	unsigned main_flags = out->flags & (WIRECHECK_SYN | WIRECHECK_FIN | WIRECHECK_RST);

	if (main_flags & (main_flags - 1))
		return "TCP: two of SYN, FIN and RST";
	if (!(out->flags & WIRECHECK_ACK) && !(out->flags & (WIRECHECK_SYN | WIRECHECK_RST)))
		return "TCP: no ACK";
	if (!(out->flags & WIRECHECK_ACK) && out->ack)
		return "TCP: an acknowledgement without its flag";
	return parse_options(tcp + 20, header_bytes - 20, out);
}

static const char *parse_udp(const uint8_t *udp, uint32_t len, struct wirecheck *out)
{
	out->kind = WIRECHECK_UDP;
	if (len < 8 || be16(udp + 4) != len)
		return "UDP: bad length";
	out->src_port = (uint16_t)be16(udp);
	out->dst_port = (uint16_t)be16(udp + 2);
	return be16(udp + 6) ? NULL : "UDP: no checksum";
}

static const char *parse_ip(const uint8_t *ip, uint32_t room, uint32_t mtu, struct wirecheck *out)
{
	uint32_t total = room >= IP ? be16(ip + 2) : 0;

	if (total < IP || total > room)
		return "IP: bad length";
	if (ip[0] != 0x45)
		return "IP: not version 4 without options";
	if (total > mtu)
		return "IP: longer than the MTU";
	if (be16(ip + 6) != 0x4000)
		return "IP: a fragment, or one that may be";
	if (!ip[8])
		return "IP: no time to live";
	if (sum(0, ip, IP) != 0xffff)
		return "IP: bad checksum";
	out->src_ip = be32(ip + 12);
	out->dst_ip = be32(ip + 16);
	const uint8_t *l4 = ip + IP;
	uint32_t l4_bytes = total - IP;

	switch (ip[9]) {
	case 1:
		out->kind = WIRECHECK_ICMP;
		if (l4_bytes < 8)
			return "ICMP: short";
		return sum(0, l4, l4_bytes) == 0xffff ? NULL : "ICMP: bad checksum";
	case 6:
		if (sum(pseudo(ip, l4_bytes), l4, l4_bytes) != 0xffff)
			return "TCP: bad checksum";
		return parse_tcp(l4, l4_bytes, out);
	case 17:
		if (sum(pseudo(ip, l4_bytes), l4, l4_bytes) != 0xffff)
			return "UDP: bad checksum";
		return parse_udp(l4, l4_bytes, out);
	default:
		return "IP: unknown protocol";
	}
}

const char *wirecheck_parse(const uint8_t *data, uint32_t len, uint32_t mtu, struct wirecheck *out)
{
	memset(out, 0, sizeof(*out));
	if (len < ETH)
		return "Ethernet: short";
	if (len > mtu + ETH)
		return "Ethernet: longer than the MTU";
	switch (be16(data + 12)) {
	case 0x806:
		return parse_arp(data, len, out);
	case 0x800:
		return parse_ip(data + ETH, len - ETH, mtu, out);
	default:
		return "Ethernet: unknown type";
	}
}

/* Where the transport's checksum lies, and how long that part is; NULL: there is none. */
static const uint8_t *transport(const uint8_t *data, uint32_t len, uint32_t *l4_bytes,
				uint32_t *check_at)
{
	const uint8_t *ip = data + ETH;

	if (len < ETH + IP || be16(data + 12) != 0x800 || ip[0] >> 4 != 4)
		return NULL;
	uint32_t header = (ip[0] & 0xfu) * 4, total = be16(ip + 2);

	if (header < IP || total < header || total > len - ETH)
		return NULL;
	*l4_bytes = total - header;
	*check_at = ip[9] == 6 ? 16 : 6;
	if ((ip[9] != 6 && ip[9] != 17) || *l4_bytes < *check_at + 2)
		return NULL;
	return ip + header;
}

uint16_t wirecheck_sums(const uint8_t *data, uint32_t len)
{
	uint32_t l4_bytes, check_at;
	const uint8_t *ip = data + ETH, *l4 = transport(data, len, &l4_bytes, &check_at);

	if (!l4 || be16(ip + 6) & 0x3fff)
		return 0;
	if (sum(0, ip, (ip[0] & 0xfu) * 4) != 0xffff)
		return VLY_FRAME_BAD;
	if (ip[9] == 17 && be16(l4 + check_at) == 0)
		return VLY_FRAME_CHECKED;
	return sum(pseudo(ip, l4_bytes), l4, l4_bytes) == 0xffff ? VLY_FRAME_CHECKED
								 : VLY_FRAME_BAD;
}

void wirecheck_complete(uint8_t *data, uint32_t len)
{
	uint32_t l4_bytes, check_at;
	const uint8_t *l4 = transport(data, len, &l4_bytes, &check_at);

	if (!l4)
		return;
	uint8_t *ip = data + ETH, *check = ip + (l4 - ip) + check_at;
	uint32_t value = ~sum(0, ip, (ip[0] & 0xfu) * 4) & 0xffff;

	ip[10] = (uint8_t)(value >> 8);
	ip[11] = (uint8_t)value;
	/* The pseudo header's sum lies there already. */
	value = ~sum(0, l4, l4_bytes) & 0xffff;
	if (!value && ip[9] == 17)
		value = 0xffff;
	check[0] = (uint8_t)(value >> 8);
	check[1] = (uint8_t)value;
}
