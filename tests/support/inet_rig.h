/* inet_rig.h - the lower half of the inet nic over a wire whose frames a test puts in and takes out by hand */
#ifndef VLY_TESTS_INET_RIG_H
#define VLY_TESTS_INET_RIG_H

#include <stdlib.h>
#include <string.h>

#include <criterion/criterion.h>

#include "nic/inet/arp_header.h"
#include "nic/inet/hop.h"
#include "nic/inet/ip.h"
#include "nic/inet/stack.h"
#include "nic/inet/udp.h"
#include "nic/inet/wire_options.h"
#include "tests/support/frames.h"

#define RIG_FRAMES 4096
#define RIG_FRAME_BYTES 2048
#define RIG_SECOND 1000000000ull

static const uint8_t rig_mac[6] = {2, 0, 0, 0, 0, 1}, rig_peer_mac[6] = {2, 0, 0, 0, 0, 2};
static const uint8_t rig_other_mac[6] = {2, 0, 0, 0, 0, 3};

/* The stack is 10.0.0.1/24 with gateway 10.0.0.254, its peer 10.0.0.2. */
struct inet_rig {
	struct vly_wire wire;
	struct vly_inet inet;
	struct vly_env env;
	struct vly_config config;
	struct vly_stats stats;
	struct vly_region region;
	uint8_t out[RIG_FRAMES][RIG_FRAME_BYTES]; /* what it has sent */
	uint32_t out_len[RIG_FRAMES];
	uint32_t out_count;
	uint32_t out_room; /* how many the wire still takes */
	uint8_t in[RIG_FRAME_BYTES];
};

static inline uint32_t rig_tx_take(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
				   uint32_t max)
{
	struct inet_rig *rig = vly_container_of(wire, struct inet_rig, wire);
	uint32_t count = VLY_MIN(max, rig->out_room);

	(void)now_ns;
	cr_assert(rig->out_count + count <= RIG_FRAMES);
	for (uint32_t i = 0; i < count; i++)
		frames[i] = (struct vly_frame){.data = rig->out[rig->out_count + i],
					       .len = wire->mtu + VLY_ETH_BYTES};
	return count;
}

static inline void rig_tx_send(struct vly_wire *wire, uint64_t now_ns,
			       const struct vly_frame *frames, uint32_t count)
{
	struct inet_rig *rig = vly_container_of(wire, struct inet_rig, wire);

	(void)now_ns;
	for (uint32_t i = 0; i < count; i++)
		rig->out_len[rig->out_count++] = frames[i].len;
	rig->out_room -= count;
}

static const struct vly_wire_ops rig_wire_ops = {
	.name = "rig", .tx_take = rig_tx_take, .tx_send = rig_tx_send};

static inline struct inet_rig *inet_rig_open(void)
{
	struct inet_rig *rig = calloc(1, sizeof(*rig));
	struct vly_region_opts opts = {.size_bytes = (size_t)1 << 20, .numa_node = -1};

	cr_assert_not_null(rig);
	cr_assert_eq(vly_region_open(&rig->region, &opts), 0);
	rig->out_room = RIG_FRAMES;
	rig->wire =
		(struct vly_wire){.ops = &rig_wire_ops, .mtu = 1500, .queues = 1, .link_up = true};
	memcpy(rig->wire.mac, rig_mac, 6);
	rig->config.dgram_max = 2048;
	rig->env.region = &rig->region;
	rig->env.config = &rig->config;
	rig->env.stats = &rig->stats;
	rig->inet.nic.env = &rig->env;
	rig->inet.wire = &rig->wire;
	rig->inet.now_ns = 1000 * RIG_SECOND;
	rig->inet.secret = (struct vly_siphash_key){1, 2};
	rig->inet.route = (struct vly_route){.ip = htonl(FRAME_DST_IP),
					     .ips = 1,
					     .mask = htonl(0xffffff00),
					     .gateway = htonl(0x0a0000fe)};
	void *flows = calloc(1, vly_flow_bytes(64));

	vly_flow_init(&rig->inet.flows, flows, 64, 3, 4);
	cr_assert_eq(vly_hops_init(&rig->inet), 0);
	cr_assert_eq(vly_udp_init(&rig->inet), 0);
	return rig;
}

static inline void inet_rig_close(struct inet_rig *rig)
{
	free(rig->inet.flows.entries);
	vly_region_close(&rig->region);
	free(rig);
}

/* What was sent since the last look; the frames are out[0...]. */
static inline uint32_t rig_sent(struct inet_rig *rig)
{
	uint32_t count;

	vly_out_push(&rig->inet);
	count = rig->out_count;
	rig->out_count = 0;
	return count;
}

static inline void rig_time(struct inet_rig *rig, uint64_t ns)
{
	rig->inet.now_ns += ns;
	vly_hops_age(&rig->inet);
}

static inline void rig_input(struct inet_rig *rig, uint32_t len)
{
	vly_ip_input(&rig->inet, &(struct vly_frame){.data = rig->in, .len = len});
}

/* An ARP frame comes in. */
static inline void rig_arp(struct inet_rig *rig, uint16_t operation, const uint8_t *sender_mac,
			   uint32_t sender_ip, uint32_t target_ip)
{
	vly_arp_write(rig->in, &(struct vly_arp_opts){
				       .operation = operation,
				       .sender_mac = sender_mac,
				       .target_mac = operation == VLY_ARP_REPLY ? rig_mac : NULL,
				       .sender_ip = htonl(sender_ip),
				       .target_ip = htonl(target_ip)});
	rig_input(rig, VLY_ARP_FRAME_BYTES);
}

/* The peer is known. */
static inline void rig_meet(struct inet_rig *rig)
{
	rig_arp(rig, VLY_ARP_REQUEST, rig_peer_mac, FRAME_SRC_IP, FRAME_DST_IP);
	cr_assert_eq(rig_sent(rig), 1);
}

/* An IPv4 packet comes in from the peer. */
static inline void rig_packet(struct inet_rig *rig, const struct packet *p)
{
	struct vly_eth *eth = (struct vly_eth *)rig->in;

	memcpy(eth->dst, rig_mac, 6);
	memcpy(eth->src, rig_peer_mac, 6);
	eth->type = htons(VLY_ETH_IPV4);
	memcpy(rig->in + VLY_ETH_BYTES, p->data, p->len);
	rig_input(rig, VLY_ETH_BYTES + p->len);
}

/* A small packet to `dst` by way of a hop; false: it could not be begun. */
static inline bool rig_send(struct inet_rig *rig, uint16_t hop, uint32_t number)
{
	uint8_t *to =
		vly_ip_begin(&rig->inet, hop, 253, rig->inet.route.ip, htonl(FRAME_SRC_IP), 4);

	if (!to)
		return false;
	memcpy(to, &number, 4);
	vly_ip_end(&rig->inet, -1);
	return true;
}

#endif
