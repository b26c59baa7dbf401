/* isn.c - initial sequence numbers that nobody off the path can guess (RFC 6528) */
#include "nic/inet/isn.h"

#include <string.h>

uint32_t vly_isn(const struct vly_siphash_key *secret, const struct vly_flow_key *key,
		 uint64_t now_ns)
{
	uint8_t flow[12];

	memcpy(flow, &key->laddr, 4);
	memcpy(flow + 4, &key->lport, 2);
	memcpy(flow + 6, &key->raddr, 4);
	memcpy(flow + 10, &key->rport, 2);
	return (uint32_t)(now_ns / 4000) + (uint32_t)vly_siphash24(secret, flow, sizeof(flow));
}
