/* handover.h - frames that came to the wrong core of several: who may have their flow */
#ifndef VLY_NIC_INET_HANDOVER_H
#define VLY_NIC_INET_HANDOVER_H

#include <stdbool.h>
#include <stdint.h>

#include "nic/inet/relay.h"
#include "nic/inet/stack.h"

/*
 * Where a frame comes in is its flow's home, or will be (placement.h), but for a few: a port that was
 * believed too early; listeners and UDP sockets that not every core has; connects from a port that the
 * application chose. So a frame without a flow is not refused before those cores were asked that have
 * something at its port: it goes round, marked with who looked first, and the last one answers.
 *
 * All of them look at the frame that vly_ip_input() is at; true: it was handed on. With one core: false.
 */

/* A segment of no flow of this core's. `syn`: it opens one; `listens`: there is a listener for it. */
bool vly_hand_tcp(struct vly_inet *inet, const struct vly_flow_key *key, bool syn, bool listens);

/* A datagram without a socket here; lport in network order. */
bool vly_hand_udp(struct vly_inet *inet, uint16_t lport);

/* An ICMP error about a flow that is not here, as its frames would be received. */
bool vly_hand_quoted(struct vly_inet *inet, const struct vly_flow_key *key);

/* An ARP frame for us: all cores learn from it. Bounded in time. */
void vly_hand_arp(struct vly_inet *inet);

/* A flow of TCP has come into the table, or left it (`more` 1 or -1); raddr 0: a listener. */
void vly_hand_flow(struct vly_inet *inet, const struct vly_flow_key *key, int more);

/* Whether frames of a flow with this key come to this core. */
static inline bool vly_hand_home(const struct vly_inet *inet, const struct vly_flow_key *key)
{
	if (!inet->relay)
		return true;
	const struct vly_placement *place = vly_relay_placement(inet->relay);
	const struct vly_place_key as_received = {key->raddr, key->laddr, key->rport, key->lport};

	return vly_place_home(place, &as_received) == place->core;
}

/*
 * SYNs towards a peer that will answer them, from ports whose answers have this core for home: what comes
 * back shows at once whether the port does what it says. Nothing if there is nothing to be shown.
 */
void vly_hand_probe(struct vly_inet *inet, uint32_t peer);

#endif
