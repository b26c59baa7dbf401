/* watch.h - what every TCP conversation on the network has said, and the rules that each segment obeys */
#ifndef VLY_TESTS_SIM_WATCH_H
#define VLY_TESTS_SIM_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/sim/wirecheck.h"

#define WATCH_FLOWS 2048

/* One direction. Places in its stream are counted from its SYN, which is place 0. */
struct watch_dir {
	bool syn, syn_ack, fin, ts, sack, scales, acked;
	bool spoke;     /* a segment without SYN: its window is known as a whole */
	uint8_t wscale; /* of the windows it advertises */
	uint16_t mss;   /* what it accepts */
	uint32_t isn;
	uint32_t answers; /* syn_ack: the ISN that it acknowledges */
	uint64_t sent;    /* places below have been sent */
	uint64_t fin_at;  /* the FIN's place */
	uint64_t ack;     /* places of the other direction that it has acknowledged */
	uint64_t edge;    /* the other may send places below */
	uint32_t ts_value;
	uint64_t again; /* segments sent again, and how many bytes */
	uint64_t again_bytes;
};

struct watch_flow {
	uint32_t ip[2];
	uint16_t port[2]; /* port[0] 0: unused */
	struct watch_dir dir[2];
	uint64_t last_ns;
	bool dead; /* reset, or both have finished: what comes now may answer a foe */
};

struct watch {
	uint32_t ip; /* the first host's first address; each has `ips` */
	uint32_t ips, hosts, mtu;
	bool quiet;     /* nothing is ever lost or late: nothing may be sent twice */
	bool foes;      /* frames from nowhere are about: what answers them may look odd */
	bool harsh;     /* connections die without a word */
	bool any_bytes; /* what is sent is not the stream of stream.h */
	uint64_t resets, again, segments;
	uint32_t used;
	struct watch_flow flows[WATCH_FLOWS];
};

struct watch_opts {
	uint32_t ip, ips, hosts, mtu;
	bool quiet, foes, harsh, any_bytes;
};

void watch_init(struct watch *watch, const struct watch_opts *opts);

/* Which host owns an address; -1: none. */
int watch_host(const struct watch *watch, uint32_t ip);

/* A frame that host `from` puts on the network: violated() if it breaks a rule. */
void watch_frame(struct watch *watch, unsigned from, uint64_t now_ns, const uint8_t *data,
		 uint32_t len);

/* A flow that has been used, chosen by `pick`; NULL if there is none. */
const struct watch_flow *watch_pick(const struct watch *watch, uint64_t pick);

#endif
