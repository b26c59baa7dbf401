/* stack.h - a core's inet nic: its wire, addresses, neighbours, flows, and what its files share */
#ifndef VLY_NIC_INET_STACK_H
#define VLY_NIC_INET_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "nic/inet/drop.h"
#include "nic/inet/flow.h"
#include "nic/inet/hop.h"
#include "nic/inet/route.h"
#include "nic/inet/wire.h"
#include "nic/nic.h"

/* Frames lent at once by the wire to be built in. */
#define VLY_OUT_BURST 32

/* What was counted besides drops. Owner core only. */
struct vly_inet_stats {
	uint64_t rx_frames, tx_frames;
	uint64_t arp_asked, arp_expired, hop_full;
	uint64_t icmp_echo, icmp_unreachable, icmp_frag_needed;
	/* TCP */
	uint64_t tcp_fast, tcp_slow; /* segments by the path they took */
	uint64_t tcp_no_flow, tcp_reset_sent, tcp_reset_bad, tcp_challenge;
	uint64_t tcp_challenge_limited, tcp_paws, tcp_out_of_window, tcp_bad_ack;
	uint64_t tcp_syn, tcp_syn_full, tcp_cookie_sent, tcp_cookie_ok, tcp_cookie_bad;
	uint64_t tcp_rto, tcp_retransmit, tcp_fast_retransmit, tcp_tlp, tcp_spurious, tcp_undo;
	uint64_t tcp_persist;
	uint64_t tcp_keepalive, tcp_out_of_order, tcp_ooo_dropped, tcp_rx_dropped, tcp_side_full;
	uint64_t tcp_large; /* left to the wire to be cut */
	uint64_t tcp_time_wait, tcp_time_wait_full, tcp_time_wait_reused, tcp_delayed_ack;
	uint64_t tx_full; /* the wire lent nothing: back-pressure */
};

struct vly_relay;

struct vly_inet {
	struct vly_nic nic; /* env, with the batch, pools, wheel, config */
	struct vly_wire *wire;
	struct vly_relay *relay; /* NULL: no other core on this port */
	/* the frame that vly_ip_input() is at */
	const struct vly_frame *in;
	/*
	 * This poll's time, once in nanoseconds and once in units of 1.024 us (it wraps after 73
	 * minutes; compare by vly_tick_before()).
	 */
	uint64_t now_ns;
	uint32_t now;
	struct vly_route route;

	/* frames being built: frames[0..used) are ready, [used..lent) still empty */
	struct vly_frame out[VLY_OUT_BURST + 1]; /* one more: vly_wire_built() */
	uint32_t out_lent, out_used;
	bool out_full; /* tx_take lent nothing since the last push: until then it is not asked again */

	struct vly_flow_table flows;
	struct vly_hops hops;
	uint64_t random;               /* state of vly_inet_random() */
	struct vly_siphash_key secret; /* initial sequence numbers, cookies, ports */
	struct vly_inet_stats stats;
	uint64_t drops[VLY_DROP_COUNT];
	struct vly_tcp_core *tcp; /* tcp.h: all that only TCP knows */
	struct vly_udp_core *udp; /* udp.h */
	struct vly_hop_rate icmp_rate;
	struct vly_alarm alarm; /* vly_inet_watch() */
	int poll_fd;            /* epoll over the wire, the wake-up, watched descriptors */
	uint32_t watched;       /* how many of those */
	uint64_t looked_ns;     /* when vly_inet_look() last did */
	bool embedded;          /* vly_core_fd() was called */
	bool armed;             /* embedded: the wire is */
	bool refused;           /* embedded: it would not be, something is there that has_work() need not know of: room */
	/* vly_ip_begin .. vly_ip_end */
	struct vly_hop *begun_hop;
	uint8_t *begun;
	uint32_t begun_len;
};

static inline struct vly_inet *vly_inet_of(struct vly_nic *nic)
{
	return vly_container_of(nic, struct vly_inet, nic);
}

/* SplitMix64: not a secret. */
static inline uint64_t vly_inet_random(struct vly_inet *inet)
{
	return vly_hash_u64(inet->random += 0x9e3779b97f4a7c15u);
}

static inline uint32_t vly_tick_of(uint64_t ns)
{
	return (uint32_t)(ns >> 10);
}

static inline bool vly_tick_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

/* Sends what is built and takes more empty frames. False: the wire is full. */
bool vly_out_turn(struct vly_inet *inet);

/* The frame to build in, `len` its room; NULL: the wire is full. Asked twice it is the same. */
static inline struct vly_frame *vly_out_frame(struct vly_inet *inet)
{
	if (vly_unlikely(inet->out_used == inet->out_lent) && !vly_out_turn(inet))
		return NULL;
	return &inet->out[inet->out_used];
}

/* It is built: `len` and `flags` are set. */
static inline void vly_out_done(struct vly_inet *inet)
{
	vly_wire_built(inet->wire, &inet->out[inet->out_used++]);
}

/* Hands everything built to the wire: at the end of each flush and poll. */
void vly_out_push(struct vly_inet *inet);

/* Looks at the clock: within a poll as well, where a moment counts. */
void vly_inet_tick(struct vly_inet *inet);
/* The nic's own alarm rings at `due_ns` or before: minis, neighbours. */
void vly_inet_watch(struct vly_inet *inet, uint64_t due_ns);

/* --- names in the flow table --- */

enum vly_flow_type {
	VLY_FLOW_CONN = 0u << 30, /* a record: connections, listeners, UDP sockets */
	VLY_FLOW_MINI = 1u << 30, /* a half-open or a lingering one, mini.h */
};

#define VLY_FLOW_TYPE (3u << 30)
/* names are 1 + slot, so that none is 0 */
#define VLY_FLOW_SLOT(name) (((name) & ~VLY_FLOW_TYPE) - 1)

static_assert(offsetof(struct vly_flow_key, lport) == offsetof(struct vly_flow_key, rport) + 2,
	      "as source and destination of what is received");

/* Both ports as the hash takes them, which is as they lie in a header; UDP is kept apart by its hash. */
static inline uint32_t vly_flow_ports(const struct vly_flow_key *key)
{
	uint32_t ports;

	memcpy(&ports, (const uint8_t *)key + offsetof(struct vly_flow_key, rport), sizeof(ports));
	return ports;
}

static inline uint32_t vly_flow_hash_tcp(const struct vly_inet *inet,
					 const struct vly_flow_key *key)
{
	return vly_flow_hash(&inet->flows, key->raddr, key->laddr, vly_flow_ports(key));
}

static inline uint32_t vly_flow_hash_udp(const struct vly_inet *inet,
					 const struct vly_flow_key *key)
{
	return ~vly_flow_hash(&inet->flows, key->raddr, key->laddr, vly_flow_ports(key));
}

#endif
