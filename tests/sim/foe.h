/* foe.h - somebody on the network who means no good: blind frames, spoofed frames, broken frames, old frames */
#ifndef VLY_TESTS_SIM_FOE_H
#define VLY_TESTS_SIM_FOE_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/net.h"
#include "tests/sim/rng.h"
#include "tests/sim/watch.h"

#define FOE_MEMORY 32

struct foe {
	struct net *net;
	const struct watch *watch;
	struct rng rng;
	bool harsh; /* also what a host without secrets cannot tell from the truth */
	uint64_t counts[16];
	/* frames that were on the network */
	struct {
		uint8_t data[NET_ROOM];
		uint32_t len;
	} memory[FOE_MEMORY];
	uint32_t seen;
	uint8_t latest[NET_ROOM]; /* the last one: still on its way */
	uint32_t latest_len;
};

/* Remembers a frame for later. */
void foe_see(struct foe *foe, const uint8_t *data, uint32_t len);

/* Puts one frame before a host, to be received at `now_ns`. */
void foe_strike(struct foe *foe, uint64_t now_ns);

/* One reset at a connection, in the window or out of it, never in its place. */
void foe_strike_reset(struct foe *foe, uint64_t now_ns);

struct foe_syn {
	uint32_t src_ip, dst_ip, seq;
	uint16_t src_port, dst_port;
};

/* A knock, 60 bytes, at host 0; from the MAC address of host 1, which is the way back to everybody. */
void foe_write_syn(uint8_t frame[60], const struct foe_syn *syn);

#endif
