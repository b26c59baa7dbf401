/* fuzz_packet.c - any bytes as an IPv4 packet, down to TCP, UDP or ICMP; the first byte is about checksums */
#include "nic/inet/checksum.h"
#include "nic/inet/icmp_header.h"
#include "nic/inet/tcp_header.h"
#include "nic/inet/udp_header.h"
#include "tests/fuzz/fuzz.h"

/* RFC 1071, the slow way. */
static uint16_t slow_sum(const uint8_t *data, uint32_t len)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < len; i++)
		sum += i & 1 ? data[i] : (uint32_t)data[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static void inside(const uint8_t *part, uint32_t part_bytes, const uint8_t *whole, uint32_t bytes)
{
	fuzz_claim(part >= whole && part + part_bytes <= whole + bytes);
}

static void try_tcp(const struct vly_ipv4_view *ip, bool check)
{
	struct vly_tcp_view tcp;
	struct vly_tcp_options options;

	if (vly_tcp_parse(ip, check, &tcp))
		return;
	inside(tcp.payload, tcp.payload_bytes, ip->payload, ip->payload_bytes);
	fuzz_claim(tcp.header_bytes >= VLY_TCP_BYTES && tcp.header_bytes <= VLY_TCP_BYTES_MAX);
	fuzz_claim(tcp.header_bytes + tcp.payload_bytes == ip->payload_bytes);
	fuzz_claim(tcp.src_port && tcp.dst_port);
	fuzz_claim(vly_tcp_options_parse(tcp.options, tcp.header_bytes - VLY_TCP_BYTES,
					 tcp.flags & VLY_TCP_SYN, &options) < VLY_DROP_COUNT);
}

static void try_udp(const struct vly_ipv4_view *ip, bool check)
{
	struct vly_udp_view udp;

	if (vly_udp_parse(ip, check, &udp))
		return;
	inside(udp.payload, udp.payload_bytes, ip->payload, ip->payload_bytes);
}

static void try_icmp(const struct vly_ipv4_view *ip, bool check)
{
	struct vly_icmp_view icmp;
	uint8_t reply[65536], sum;

	if (vly_icmp_parse(ip, check, &icmp))
		return;
	if (icmp.type != VLY_ICMP_ECHO || !check)
		return;
	vly_icmp_write_reply(reply, ip->payload, ip->payload_bytes);
	sum = slow_sum(reply, ip->payload_bytes) == 0xffff;
	fuzz_claim(sum && reply[0] == VLY_ICMP_ECHO_REPLY);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vly_ipv4_view ip;
	bool check;

	if (size < 1 || size > 65536)
		return 0;
	check = data[0] & 1;
	data++, size--;
	enum vly_inet_drop drop = vly_ipv4_parse(data, (uint32_t)size, check, &ip);

	fuzz_claim(drop < VLY_DROP_COUNT);
	fuzz_claim(vly_checksum_fold(vly_checksum_add(0, data, size)) ==
		   htons(slow_sum(data, (uint32_t)size)));
	if (drop)
		return 0;
	inside(ip.payload, ip.payload_bytes, data, (uint32_t)size);
	fuzz_claim(ip.header_bytes >= VLY_IPV4_BYTES && ip.header_bytes <= VLY_IPV4_BYTES_MAX);
	fuzz_claim(!check || slow_sum(data, ip.header_bytes) == 0xffff);
	fuzz_claim(!vly_ipv4_is_martian(ip.src));
	/* Whatever the protocol field says. */
	try_tcp(&ip, check);
	try_udp(&ip, check);
	try_icmp(&ip, check);
	return 0;
}
