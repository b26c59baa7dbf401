/* placement.c - which core of several a flow belongs to, and whether the port brings it there */
#include "nic/inet/placement.h"

#include <string.h>

#include "nic/inet/eth.h"
#include "nic/inet/ipv4.h"

/*
 * A port that hashes otherwise brings one of `cores` frames home: after four strays it has had its chance.
 * Few strays among many are frames that were changed on their way, or came while the port was set up.
 */
#define WRONG_MIN 4u
#define RIGHT_PER_WRONG 4u
/* Strays that make a port that was believed be checked again, and the time in which they come. */
#define STRAYS 16u
#define STRAYS_NS 100000000u

enum vly_place_kind vly_place_parse(const uint8_t *data, uint32_t len, struct vly_place_key *key)
{
	const struct vly_eth *eth = (const struct vly_eth *)data;
	const struct vly_ipv4 *ip = (const struct vly_ipv4 *)(data + VLY_ETH_BYTES);

	if (len < VLY_ETH_BYTES + VLY_IPV4_BYTES || eth->type != htons(VLY_ETH_IPV4) ||
	    ip->version_ihl >> 4 != 4)
		return VLY_PLACE_NONE;
	uint32_t at = VLY_ETH_BYTES + (ip->version_ihl & 15u) * 4u;

	*key = (struct vly_place_key){.src = ip->src, .dst = ip->dst};
	if ((ip->protocol != VLY_IP_TCP && ip->protocol != VLY_IP_UDP) ||
	    ip->fragment & htons(VLY_IPV4_MORE_FRAGMENTS | VLY_IPV4_OFFSET_MASK) ||
	    at < VLY_ETH_BYTES + VLY_IPV4_BYTES || len < at + 4)
		return VLY_PLACE_IP;
	memcpy(&key->src_port, data + at, sizeof(key->src_port));
	memcpy(&key->dst_port, data + at + 2, sizeof(key->dst_port));
	return ip->protocol == VLY_IP_TCP ? VLY_PLACE_TCP : VLY_PLACE_UDP;
}

void vly_placement_init(struct vly_placement *place, const struct vly_wire *wire, uint32_t core,
			uint32_t cores)
{
	bool port = wire && wire->caps & VLY_WIRE_RSS && wire->queues == cores &&
		    wire->rss_table_count;

	for (uint32_t i = 0; port && i < wire->rss_table_count; i++)
		port = wire->rss_table[i] < cores; /* else it is no table of ours */
	*place = (struct vly_placement){
		.table = port ? wire->rss_table : NULL,
		.table_count = port ? wire->rss_table_count : 0,
		.core = core,
		.cores = cores,
		.mode = port ? VLY_PLACE_CHECKED : VLY_PLACE_BY_CORES,
	};
	vly_toeplitz_table_make(&place->hash, port ? wire->rss_key : vly_toeplitz_key_default);
}

bool vly_place_seen(struct vly_placement *place, bool home, uint64_t now_ns)
{
	if (place->mode == VLY_PLACE_BY_PORT) {
		if (home)
			return true;
		if (now_ns - place->wrong_since_ns > STRAYS_NS) {
			place->wrong_since_ns = now_ns;
			place->wrong = 0;
		}
		if (++place->wrong >= STRAYS) {
			place->mode = VLY_PLACE_CHECKED;
			place->right = place->wrong = 0;
		}
		return true;
	}
	if (home)
		place->right++;
	else
		place->wrong++;
	if (place->wrong >= WRONG_MIN && place->right < RIGHT_PER_WRONG * place->wrong)
		return false;
	if (place->right >= VLY_PLACE_RIGHT_ENOUGH &&
	    place->right >= VLY_PLACE_RIGHT_ENOUGH / 4 * place->wrong)
		place->mode = VLY_PLACE_BY_PORT;
	return true;
}
