/* handover.c - frames that came to the wrong core of several: who may have their flow */
#include "nic/inet/handover.h"

#include "nic/inet/tcp.h"

/* The bits of VLY_FRAME_HANDED that say who looked first. */
#define ORIGIN_SHIFT 8
/*
 * As many as wait for the neighbour's address. A port with two queues and another key brings half of them to
 * the wrong core; with four from each core one attempt in seven met fewer than four strays at every core.
 */
#define PROBES VLY_HOP_PENDING_EACH
#define PROBE_PORT 9 /* discard: whoever answers refuses */

/* The next core after this one, before the first that looked, for which `has` holds. */
static bool hand_on(struct vly_inet *inet, bool (*has)(const struct vly_inet *, uint32_t, uint16_t),
		    uint16_t lport)
{
	const struct vly_frame *frame = inet->in;
	const struct vly_placement *place = vly_relay_placement(inet->relay);
	uint32_t origin = frame->flags & VLY_FRAME_HANDED ? frame->flags >> ORIGIN_SHIFT
							  : place->core;

	for (uint32_t i = 1; i < place->cores; i++) {
		uint32_t to = (place->core + i) % place->cores;

		if (to == origin)
			return false;
		if (!has(inet, to, lport))
			continue;
		uint32_t flags = (frame->flags & (VLY_FRAME_CHECKED | VLY_FRAME_BAD)) |
				 VLY_FRAME_HANDED | origin << ORIGIN_SHIFT;

		vly_relay_put(inet->relay, to, frame, (uint16_t)flags);
		return true;
	}
	return false;
}

static bool listens(const struct vly_inet *inet, uint32_t core, uint16_t lport)
{
	return vly_relay_has(inet->relay, core, VLY_RELAY_LISTENS, lport);
}

static bool has_strange(const struct vly_inet *inet, uint32_t core, uint16_t lport)
{
	return vly_relay_has(inet->relay, core, VLY_RELAY_STRANGE, lport);
}

/* Of a half-open connection that is a cookie nobody keeps anything. */
static bool may_know(const struct vly_inet *inet, uint32_t core, uint16_t lport)
{
	return has_strange(inet, core, lport) || listens(inet, core, lport);
}

static bool has_socket(const struct vly_inet *inet, uint32_t core, uint16_t lport)
{
	return vly_relay_has(inet->relay, core, VLY_RELAY_SOCKETS, lport);
}

/* To its home, where it should have come in. */
static bool send_home(struct vly_inet *inet, const struct vly_flow_key *key, bool evidence)
{
	const struct vly_placement *place = vly_relay_placement(inet->relay);
	const struct vly_place_key as_received = {key->raddr, key->laddr, key->rport, key->lport};
	uint32_t home = vly_place_home(place, &as_received);

	if (home == place->core || inet->in->flags & VLY_FRAME_HANDED)
		return false;
	if (evidence)
		vly_relay_seen(inet->relay, false, inet->now_ns);
	vly_relay_put(inet->relay, home, inet->in, inet->in->flags);
	return true;
}

bool vly_hand_tcp(struct vly_inet *inet, const struct vly_flow_key *key, bool syn, bool listener)
{
	if (!inet->relay || !inet->in)
		return false;
	if (send_home(inet, key, true))
		return true;
	if (syn)
		return !listener && hand_on(inet, listens, key->lport);
	return hand_on(inet, listener ? has_strange : may_know, key->lport);
}

bool vly_hand_udp(struct vly_inet *inet, uint16_t lport)
{
	return inet->relay && inet->in && hand_on(inet, has_socket, lport);
}

bool vly_hand_quoted(struct vly_inet *inet, const struct vly_flow_key *key)
{
	if (!inet->relay || !inet->in)
		return false;
	return send_home(inet, key, false) || hand_on(inet, has_strange, key->lport);
}

void vly_hand_arp(struct vly_inet *inet)
{
	if (!inet->relay || !inet->in || inet->in->flags & VLY_FRAME_COPY)
		return;
	const struct vly_placement *place = vly_relay_placement(inet->relay);

	if (!vly_hop_rate_ok(&inet->hops.copies, inet->now_ns, VLY_ARP_REPLIES_PER_S)) {
		inet->drops[VLY_DROP_ARP_RATE]++;
		return;
	}
	for (uint32_t to = 0; to < place->cores; to++) {
		if (to != place->core)
			vly_relay_put(inet->relay, to, inet->in, VLY_FRAME_COPY);
	}
}

void vly_hand_flow(struct vly_inet *inet, const struct vly_flow_key *key, int more)
{
	if (vly_likely(!inet->relay))
		return;
	if (!key->raddr)
		vly_relay_have(inet->relay, VLY_RELAY_LISTENS, key->lport, more);
	else if (!vly_hand_home(inet, key))
		vly_relay_have(inet->relay, VLY_RELAY_STRANGE, key->lport, more);
}

void vly_hand_probe(struct vly_inet *inet, uint32_t peer)
{
	struct vly_flow_key key = {
		.raddr = peer, .laddr = inet->route.ip, .rport = htons(PROBE_PORT)};
	unsigned tries = 0;

	if (!inet->relay || !peer || vly_relay_placement(inet->relay)->mode != VLY_PLACE_CHECKED)
		return;
	uint32_t port = VLY_TCP_PORT_FIRST + (uint32_t)(vly_inet_random(inet) % 32768);

	for (; tries < PROBES && port < 65536; port++) {
		key.lport = htons((uint16_t)port);
		if (!vly_hand_home(inet, &key))
			continue;
		tries++;
		(void)vly_tcp_reply_send(inet, &(struct vly_tcp_reply){
						       .key = key,
						       .hop = VLY_NO_HOP,
						       .seq = (uint32_t)vly_inet_random(inet),
						       .flags = VLY_TCP_SYN,
					       });
	}
	vly_out_push(inet);
}
