/* wire_rig.h - wires opened without an engine: some queues of one, frames put in and looked at by hand */
#ifndef VLY_TESTS_WIRE_RIG_H
#define VLY_TESTS_WIRE_RIG_H

#include <poll.h>
#include <string.h>

#include <criterion/criterion.h>

#include "nic/inet/eth.h"
#include "nic/inet/wire.h"

struct wire_rig {
	struct vly_config config;
	struct vly_nic_spec spec;
	const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1];
	struct vly_region region;
	uint64_t now_ns;
};

/* A rig for the nic named `text`, of so many queues; one of them may be opened twice. */
static inline void rig_open(struct wire_rig *rig, const char *text, unsigned queues)
{
	char why[256] = "";

	memset(rig, 0, sizeof(*rig));
	rig->config.cores = queues;
	rig->config.nic = text;
	cr_assert_eq(vly_spec_parse(&rig->spec, text, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(vly_wire_resolve(&rig->spec, rig->stack, why, sizeof(why)), 0, "%s", why);
	cr_assert_eq(rig->stack[0]->check(&rig->spec, rig->stack, why, sizeof(why)), 0, "%s", why);
	size_t bytes = rig->stack[0]->region_bytes(&rig->config, &rig->spec, rig->stack);
	struct vly_region_opts opts = {.size_bytes = bytes * (queues + 1) + 4096, .numa_node = -1};

	cr_assert_eq(vly_region_open(&rig->region, &opts), 0);
}

static inline int rig_try(struct wire_rig *rig, unsigned queue, struct vly_wire **wire)
{
	struct vly_wire_setup setup = {
		.region = &rig->region,
		.config = &rig->config,
		.spec = &rig->spec,
		.stack = rig->stack,
		.queue = (uint16_t)queue,
		.queues = (uint16_t)rig->config.cores,
		.now_ns = rig->now_ns,
		.seed = 1,
	};
	size_t before = rig->region.used_bytes;
	int error = rig->stack[0]->open(&setup, wire);

	/* What region_bytes() promised is enough, to the byte if all is aligned. */
	cr_assert(rig->region.used_bytes - before <=
		  rig->stack[0]->region_bytes(&rig->config, &rig->spec, rig->stack));
	return error;
}

static inline struct vly_wire *rig_wire(struct wire_rig *rig, unsigned queue)
{
	struct vly_wire *wire = NULL;

	cr_assert_eq(rig_try(rig, queue, &wire), 0);
	return wire;
}

static inline void rig_close(struct wire_rig *rig)
{
	vly_region_close(&rig->region);
}

/* A frame of `len` bytes to `dst`, numbered so that it can be told from others. */
static inline void frame_fill(uint8_t *data, uint32_t len, const uint8_t *dst, const uint8_t *src,
			      uint32_t number)
{
	struct vly_eth *eth = (struct vly_eth *)data;

	memset(data, (int)(number * 31 + 7), len);
	memcpy(eth->dst, dst, VLY_MAC_BYTES);
	memcpy(eth->src, src, VLY_MAC_BYTES);
	eth->type = htons(0x88b5); /* local experiments */
	memcpy(data + VLY_ETH_BYTES, &number, sizeof(number));
}

static inline uint32_t frame_number(const struct vly_frame *frame)
{
	uint32_t number;

	memcpy(&number, frame->data + VLY_ETH_BYTES, sizeof(number));
	return number;
}

/* Whether all its bytes are as frame_fill() wrote them. */
static inline bool frame_intact(const struct vly_frame *frame, uint32_t len)
{
	uint32_t number = frame_number(frame);

	if (frame->len != len)
		return false;
	for (uint32_t i = VLY_ETH_BYTES + 4; i < len; i++) {
		if (frame->data[i] != (uint8_t)(number * 31 + 7))
			return false;
	}
	return true;
}

/* Sends up to `count` numbered frames in one take; returns how many the wire lent room for. */
static inline uint32_t wire_send(struct vly_wire *wire, const uint8_t *dst, uint32_t len,
				 uint32_t number, uint32_t count, uint64_t now_ns)
{
	struct vly_frame frames[64];
	uint32_t got = wire->ops->tx_take(wire, now_ns, frames, VLY_MIN(count, 64u));

	for (uint32_t i = 0; i < got; i++) {
		cr_assert(frames[i].len >= wire->mtu + VLY_ETH_BYTES);
		frame_fill(frames[i].data, len, dst, wire->mac, number + i);
		frames[i].len = len;
		frames[i].flags = 0;
	}
	if (got)
		wire->ops->tx_send(wire, now_ns, frames, got);
	return got;
}

/* A burst whose predecessors are given back first. */
static inline uint32_t wire_receive(struct vly_wire *wire, struct vly_frame *frames, uint32_t max,
				    uint64_t now_ns)
{
	wire->ops->rx_done(wire, now_ns);
	return wire->ops->rx_burst(wire, now_ns, frames, max);
}

/* Whether its descriptor polls readable now. */
static inline bool wire_rings(struct vly_wire *wire)
{
	struct pollfd poller = {.fd = wire->ops->fd(wire), .events = POLLIN};

	return poll(&poller, 1, 0) == 1;
}

#endif
