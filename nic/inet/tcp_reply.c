/* tcp_reply.c - segments without a record: resets, SYN-ACKs, ACKs of those who linger */
#include <string.h>

#include "nic/inet/ip.h"
#include "nic/inet/tcp.h"

static uint8_t *put32(uint8_t *to, uint32_t value)
{
	value = htonl(value);
	memcpy(to, &value, sizeof(value));
	return to + sizeof(value);
}

uint8_t vly_tcp_offer_write(uint8_t *to, const struct vly_tcp_offer *offer)
{
	uint8_t *at = to;

	*at++ = VLY_TCP_OPT_MSS;
	*at++ = 4;
	*at++ = (uint8_t)(offer->mss >> 8);
	*at++ = (uint8_t)offer->mss;
	if (offer->sack || offer->ts) {
		*at++ = offer->sack ? VLY_TCP_OPT_SACK_PERMITTED : VLY_TCP_OPT_NOP;
		*at++ = offer->sack ? 2 : VLY_TCP_OPT_NOP;
		if (!offer->ts) {
			*at++ = VLY_TCP_OPT_NOP;
			*at++ = VLY_TCP_OPT_NOP;
		}
	}
	if (offer->ts) {
		*at++ = VLY_TCP_OPT_TIMESTAMPS;
		*at++ = 10;
		at = put32(at, offer->ts_value);
		at = put32(at, offer->ts_echo);
	}
	if (offer->wscale_on) {
		*at++ = VLY_TCP_OPT_NOP;
		*at++ = VLY_TCP_OPT_WSCALE;
		*at++ = 3;
		*at++ = offer->wscale;
	}
	assert((at - to) % 4 == 0);
	return (uint8_t)(at - to);
}

static bool send_by(struct vly_inet *inet, const struct vly_tcp_reply *reply, uint16_t hop)
{
	uint32_t len = VLY_TCP_BYTES + reply->options_len;
	uint8_t *to = vly_ip_begin(inet, hop, VLY_IP_TCP, reply->key.laddr, reply->key.raddr, len);
	struct vly_tcp_header *tcp = (struct vly_tcp_header *)to;

	if (!to)
		return false;
	*tcp = (struct vly_tcp_header){
		.src_port = reply->key.lport,
		.dst_port = reply->key.rport,
		.seq = htonl(reply->seq),
		.ack = htonl(reply->ack),
		.offset = (uint8_t)(len / 4 << 4),
		.flags = reply->flags,
		.window = htons(reply->window),
	};
	if (reply->options_len)
		memcpy(to + VLY_TCP_BYTES, reply->options, reply->options_len);
	vly_ip_end(inet, offsetof(struct vly_tcp_header, check));
	return true;
}

bool vly_tcp_reply_send(struct vly_inet *inet, const struct vly_tcp_reply *reply)
{
	if (reply->hop != VLY_NO_HOP)
		return send_by(inet, reply, reply->hop);
	uint16_t hop = vly_hop_take(inet, reply->key.raddr);

	if (hop == VLY_NO_HOP)
		return false;
	bool sent = send_by(inet, reply, hop);

	vly_hop_put(inet, hop);
	return sent;
}

void vly_tcp_reset(struct vly_inet *inet, const struct vly_tcp_segment *segment)
{
	const struct vly_tcp_view *view = &segment->view;
	struct vly_tcp_reply reply = {
		.key = {segment->ip->src, segment->ip->dst, htons(view->src_port),
			htons(view->dst_port)},
		.hop = VLY_NO_HOP,
		.flags = VLY_TCP_RST,
	};

	if (view->flags & VLY_TCP_RST)
		return;
	if (view->flags & VLY_TCP_ACK) {
		reply.seq = view->ack;
	} else {
		reply.flags |= VLY_TCP_ACK;
		reply.ack = view->seq + view->payload_bytes + !!(view->flags & VLY_TCP_SYN) +
			    !!(view->flags & VLY_TCP_FIN);
	}
	vly_tcp_reply_send(inet, &reply);
	inet->stats.tcp_reset_sent++;
}

bool vly_tcp_may_challenge(struct vly_inet *inet)
{
	struct vly_tcp_core *core = inet->tcp;

	if (inet->now_ns - core->challenge_ns >= 1000000000u) {
		core->challenge_ns = inet->now_ns;
		core->challenges = 0;
	}
	if (core->challenges == VLY_TCP_CHALLENGES) {
		inet->stats.tcp_challenge_limited++;
		return false;
	}
	core->challenges++;
	inet->stats.tcp_challenge++;
	return true;
}
