/* eth.h - the Ethernet header */
#ifndef VLY_NIC_INET_ETH_H
#define VLY_NIC_INET_ETH_H

#include <arpa/inet.h>
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define VLY_ETH_BYTES 14
#define VLY_ETH_PAYLOAD_MIN 46u /* shorter frames are padded */
#define VLY_MAC_BYTES 6

#define VLY_ETH_IPV4 0x0800
#define VLY_ETH_ARP 0x0806

/* A header as it lies in a frame: any alignment, fields in network order, seen through any pointer. */
#define VLY_IN_FRAME __attribute__((packed, may_alias))

struct vly_eth {
	uint8_t dst[VLY_MAC_BYTES];
	uint8_t src[VLY_MAC_BYTES];
	uint16_t type;
} VLY_IN_FRAME;

static_assert(sizeof(struct vly_eth) == VLY_ETH_BYTES, "no padding");

/* Broadcast or multicast: never a source, never a neighbour. */
static inline bool vly_mac_is_group(const uint8_t mac[VLY_MAC_BYTES])
{
	return mac[0] & 1;
}

static inline bool vly_mac_is_zero(const uint8_t mac[VLY_MAC_BYTES])
{
	static const uint8_t zero[VLY_MAC_BYTES];

	return memcmp(mac, zero, VLY_MAC_BYTES) == 0;
}

static inline bool vly_mac_is_broadcast(const uint8_t mac[VLY_MAC_BYTES])
{
	static const uint8_t all[VLY_MAC_BYTES] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	return memcmp(mac, all, VLY_MAC_BYTES) == 0;
}

static inline bool vly_mac_equal(const uint8_t a[VLY_MAC_BYTES], const uint8_t b[VLY_MAC_BYTES])
{
	return memcmp(a, b, VLY_MAC_BYTES) == 0;
}

#endif
