/* fuzz_arp.c - any frame as ARP: what is accepted is what the second opinion accepts */
#include "nic/inet/arp_header.h"
#include "tests/fuzz/fuzz.h"
#include "tests/sim/wirecheck.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct vly_arp_header *arp = NULL;
	struct wirecheck other;

	if (size > 2048)
		return 0;
	enum vly_inet_drop drop = vly_arp_parse(data, (uint32_t)size, &arp);

	fuzz_claim(drop < VLY_DROP_COUNT);
	if (drop)
		return 0;
	fuzz_claim((const uint8_t *)arp >= data &&
		   (const uint8_t *)arp + VLY_ARP_BYTES <= data + size);
	fuzz_claim(!vly_mac_is_group(arp->sender_mac) && !vly_mac_is_zero(arp->sender_mac));
	if (size > 1514 || data[12] != 8 || data[13] != 6)
		return 0;
	fuzz_claim(wirecheck_parse(data, (uint32_t)size, 1500, &other) == NULL);
	fuzz_claim(other.src_ip == ntohl(arp->sender_ip) && other.dst_ip == ntohl(arp->target_ip));
	return 0;
}
