/* isn.h - initial sequence numbers that nobody off the path can guess (RFC 6528) */
#ifndef VLY_NIC_INET_ISN_H
#define VLY_NIC_INET_ISN_H

#include "base/hash.h"
#include "nic/inet/flow.h"

/*
 * ISN = M + F(addresses, ports, secret): M is a clock of 4 us, so that numbers of one flow rise from
 * one life to the next; F is SipHash-2-4, so that those of different flows tell nothing about each
 * other.
 */
uint32_t vly_isn(const struct vly_siphash_key *secret, const struct vly_flow_key *key,
		 uint64_t now_ns);

#endif
