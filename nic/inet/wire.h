/* wire.h - the contract of a wire: whatever carries Ethernet frames for the inet nic */
#ifndef VLY_NIC_INET_WIRE_H
#define VLY_NIC_INET_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"
#include "mempool/region.h"
#include "nic/counters.h"
#include "nic/spec.h"
#include "volley/config.h"

/*
 * How a wire is named. In a nic's name `inet:WORD,WORD,...,key=value,...` the bare words that name
 * wires form a stack, outermost first; the last one is a wire proper, those before it wrap the next:
 *
 *	inet:loop,fd=5,side=0,ip=10.0.0.1/16,ips=32
 *	inet:hub,ip=10.0.0.1/24				every core a host of its own
 *	inet:pcap,impair,hub,ip=10.0.0.1/24,file=/tmp/x.pcap,loss=0.01,seed=7
 *
 * Each wire lists the keys it knows; the nic adds its own and refuses the rest.
 *
 * Queues. A wire has one queue or several. Each belongs to one core, which opens it, and everything below
 * is called, on that core's thread: queue i is core i's. How many there will be is asked once before
 * (queues). Cores beyond that number have none and open no wire: the nic relays frames between cores
 * (relay.h), so a wire never hears of cores without a queue. What several queues share (a port that is
 * started once, say) is the wire's to keep; cores open and close their queues in any order, each on its
 * own thread or all on one, so opening one must not wait for another.
 *
 * At which queue a frame comes in is the wire's choice. What the nic wants to know is whether it can be
 * foreseen, so that a connect chooses a port whose answers come home. A wire that spreads as ports do
 * says VLY_WIRE_RSS, key and table, the same at each of its queues: a TCP segment over IPv4, no fragment,
 * comes in at queue
 *
 *	rss_table[toeplitz(rss_key, source, destination, source port, destination port) % rss_table_count]
 *
 * All else (ARP, ICMP, UDP, fragments) comes in anywhere, a broadcast at one queue only. A wire without
 * VLY_WIRE_RSS spreads as it likes, or not at all. Nor is the claim just believed: placement.h compares
 * it with what comes, and where it proves wrong the nic sorts frames itself.
 *
 * Frames begin with the Ethernet header and have no frame check sequence. Time is a parameter: nanoseconds
 * on the scale of vly_clock_ns(), never running backwards. Nothing but open and close allocates, logs
 * or makes system calls (a wake-up of a sleeping peer, and wires over descriptors, excepted).
 */

enum vly_frame_flag {
	/* received: the wire has verified IP and TCP or UDP checksums, and they are right */
	VLY_FRAME_CHECKED = 1 << 0,
	/* received: it has verified them, and one is wrong */
	VLY_FRAME_BAD = 1 << 1,
	/*
	 * To be sent, only with VLY_WIRE_TX_CHECKSUM: the wire completes the checksums. That of IP is
	 * 0, that of TCP or UDP is the folded sum of the pseudo header, not complemented.
	 */
	VLY_FRAME_COMPLETE = 1 << 2,
	/*
	 * To be sent, only with VLY_WIRE_TSO: it has no headers, its bytes go on with the payload of the frame
	 * before it. Such frames follow the one whose `mss` says how the wire cuts all of them together.
	 */
	VLY_FRAME_MORE = 1 << 5,
	/*
	 * The nic's own, between cores; wires set neither them nor the upper eight bits. A frame whose flow
	 * other cores have not found; the upper bits say who looked first.
	 */
	VLY_FRAME_HANDED = 1 << 3,
	/* A copy, to be learned from: another core answers, if anybody has to. */
	VLY_FRAME_COPY = 1 << 4,
};

/* A frame in the wire's memory. */
struct vly_frame {
	uint8_t *data;
	uint32_t len; /* received, or to be sent; as lent by tx_take: how much room there is */
	uint16_t flags;
	/*
	 * To be sent, only with VLY_WIRE_TSO and VLY_FRAME_COMPLETE: this frame and those with VLY_FRAME_MORE
	 * behind it are one TCP segment, cut by the wire into some of so much payload, FIN and PSH in the last one
	 * alone. Length and checksum are those of the whole. 0: it is no longer than what is sent.
	 */
	uint16_t mss;
};

enum vly_wire_cap {
	VLY_WIRE_TX_CHECKSUM = 1 << 0, /* completes checksums of IP, TCP and UDP */
	VLY_WIRE_RX_CHECKSUM =
		1 << 1, /* verifies them; a frame it could not verify has neither flag */
	/* cuts what is longer than a frame: up to tso_bytes, of up to tso_pieces frames; never to our own MAC */
	VLY_WIRE_TSO = 1 << 2,
	VLY_WIRE_RSS = 1 << 3, /* TCP comes in at the queue that rss_key and rss_table foretell */
	/* each core has a MAC of its own and owns the addresses ip + index * ips ... */
	VLY_WIRE_HOST_PER_CORE = 1 << 4,
};

struct vly_wire_ops;

/*
 * Cache lines that will be worked on next, of a wire in memory: whoever works on frames one by one prefetches
 * the first of a frame of `step` lines for each (vly_wire_ahead), instead of the wire all of a burst at once, which
 * no processor has the fill buffers for. The wire moves `end`, and catches up on what was left. No other wire has any.
 */
struct vly_wire_lines {
	uint8_t *base;
	uint32_t at, end; /* prefetched before `at`; free running */
	uint32_t mask, step;
};

/* A frame begins so far behind a cache line where frames lie one behind the other: vly_wire_built(). */
#define VLY_WIRE_PACK_AT 2u

/* Filled by open; constant afterwards, but for link_up. */
struct vly_wire {
	const struct vly_wire_ops *ops;
	uint32_t caps; /* enum vly_wire_cap */
	uint32_t mtu;  /* bytes of an IP packet; frames of mtu + 14 fit */
	/* with VLY_WIRE_TSO; bytes from the Ethernet header on, and the longest mss, 0: any */
	uint32_t tso_bytes;
	uint16_t tso_pieces, tso_mss;
	uint16_t queue, queues; /* this one, of so many */
	uint8_t mac[6];         /* of all queues, unless VLY_WIRE_HOST_PER_CORE */
	bool link_up; /* may change during any call; frames sent while it is down are lost */
	/* with VLY_WIRE_RSS; they live as long as the wire */
	const uint8_t *rss_key;    /* VLY_TOEPLITZ_KEY_BYTES: of a longer key, the first */
	const uint16_t *rss_table; /* queues */
	uint32_t rss_table_count;
	struct vly_wire_lines rx_ahead, tx_ahead;
	/* Set by tx_take of a wire whose frames may lie closer than it lent them, else NULL: where its memory begins anew. */
	uint8_t *pack_end;
	uint64_t pack_bytes; /* of that memory */
	uint64_t rx_dropped; /* frames the wire itself could not take: counters, written by the core */
	uint64_t tx_dropped;
};

/* What a wire is opened with. Borrowed during the call, but for region, config. */
struct vly_wire_setup {
	struct vly_region *region; /* all memory comes from here: as much as region_bytes() said */
	const struct vly_config *config;
	const struct vly_nic_spec *spec;
	const struct vly_wire_ops *const *stack; /* this wire, then those below it, then NULL */
	uint16_t queue, queues;                  /* the core's index; how many queues() said */
	uint64_t now_ns;
	uint64_t seed; /* of option seed=, else from the system: for whatever is random */
	/*
	 * What keeps one core of an engine from opening keeps the others, too: vly_wire_may_tell(). How often this
	 * core was opened, and the engine's own count, of the openings that somebody told of; NULL: every core tells.
	 */
	uint32_t opening;
	_Atomic uint32_t *told;
	/* What a wire over a device writes itself: the fields port_* and the device's list. NULL: nobody asks. */
	struct vly_stats *stats;
	vly_counter_seat *counters;
};

struct vly_wire_ops {
	const char *name;
	const char *const *keys; /* options it knows, NULL-terminated */
	bool wraps;              /* needs a wire below it */

	/* As vly_nic_ops.check. `stack` as in the setup. */
	int (*check)(const struct vly_nic_spec *spec, const struct vly_wire_ops *const *stack,
		     char *why, size_t why_bytes);
	/* Bytes that open takes from the region, those of the wires below included. */
	size_t (*region_bytes)(const struct vly_config *config, const struct vly_nic_spec *spec,
			       const struct vly_wire_ops *const *stack);
	/*
	 * How many queues it will have for the cores of the setup, whose `queues` is not set yet: 1..cores, or -errno,
	 * logged. The same answer for each core, on whose threads it is asked, maybe at once. NULL: one for each core.
	 * A wrapper has those of the wire proper, and is not asked.
	 */
	int (*queues)(const struct vly_wire_setup *setup);
	/* The mtu that it will have at most. NULL: what option mtu= says, or 1500. A wrapper is not asked. */
	uint32_t (*mtu)(const struct vly_nic_spec *spec);
	/* 0 or -errno, logged. A wrapper opens what is below by vly_wire_open_below(). */
	int (*open)(const struct vly_wire_setup *setup, struct vly_wire **wire);
	/* Frames lent are given back by it. */
	void (*close)(struct vly_wire *wire);

	/*
	 * Lends up to `max` received frames, in order, until the next rx_done; several bursts may be out.
	 * The nic may overwrite them.
	 */
	uint32_t (*rx_burst)(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			     uint32_t max);
	/* All frames received so far are the wire's again. Called once per poll, before its bursts. */
	void (*rx_done)(struct vly_wire *wire, uint64_t now_ns);

	/*
	 * Lends up to `max` empty frames to build in, each with `len` bytes of room (mtu + 14 at
	 * least). Fewer, or 0, is back-pressure, never an error. They lie where they will be sent
	 * from: a ring of the loop, an mbuf. A wire prefetches them for writing. Where it has set `pack_end` they may
	 * be moved together, by vly_wire_built().
	 */
	uint32_t (*tx_take)(struct vly_wire *wire, uint64_t now_ns, struct vly_frame *frames,
			    uint32_t max);
	/*
	 * Sends the first `count` (0 too) of the frames that the last tx_take lent, in that order, with
	 * `len` and `flags` set; takes back the rest. Exactly once after each tx_take that lent any;
	 * one wake-up of the peer at most.
	 */
	void (*tx_send)(struct vly_wire *wire, uint64_t now_ns, const struct vly_frame *frames,
			uint32_t count);

	/* Whether rx_burst would find something now. */
	bool (*has_work)(struct vly_wire *wire, uint64_t now_ns);
	/*
	 * When it has work without any arrival (delayed frames); UINT64_MAX: never. NULL: never.
	 */
	uint64_t (*next_ns)(struct vly_wire *wire);
	/*
	 * A descriptor that polls readable after arm, when something has come; -1: the wire cannot
	 * wake anybody, and its core must not sleep.
	 */
	int (*fd)(struct vly_wire *wire);
	/*
	 * Before sleeping: from now on an arrival (and, if tx_wanted, room after tx_take lent fewer
	 * than asked) makes the descriptor readable. False, and not armed: it is there already.
	 */
	bool (*arm)(struct vly_wire *wire, uint64_t now_ns, bool tx_wanted);
	/* After sleeping, or instead of it; also empties the descriptor. */
	void (*disarm)(struct vly_wire *wire);
	/* As vly_nic_describe(). NULL: there is no device. */
	int (*describe)(const struct vly_nic_spec *spec, char *text, size_t text_bytes, char *why,
			size_t why_bytes);
};

/* Whether a core that does not open says why: the first of its engine does, once for each time they are opened. */
static inline bool vly_wire_may_tell(const struct vly_wire_setup *setup)
{
	if (!setup->told)
		return true;
	uint32_t told = atomic_load_explicit(setup->told, memory_order_relaxed);

	do {
		if (told >= setup->opening)
			return false;
	} while (!atomic_compare_exchange_weak_explicit(
		setup->told, &told, setup->opening, memory_order_relaxed, memory_order_relaxed));
	return true;
}

/* The first two lines of one frame that will come or be sent. */
static inline void vly_wire_ahead(struct vly_wire_lines *lines, bool to_write)
{
	if ((int32_t)(lines->end - lines->at) <= 0)
		return;
	uint8_t *line = lines->base + (size_t)(lines->at & lines->mask) * VLY_CACHE_LINE;

	lines->at += lines->step;
	if (to_write) {
		vly_prefetch_write(line);
		vly_prefetch_write(line + VLY_CACHE_LINE);
	} else {
		vly_prefetch(line);
		vly_prefetch(line + VLY_CACHE_LINE);
	}
}

/*
 * `frame`, one of an array that tx_take lent, has its bytes and `len`: where the wire likes that, the next of them
 * moves up to the first cache line it left free. Whoever builds frames calls it for each, in turn, or for none.
 * It writes to the element behind the last one, too.
 */
static inline void vly_wire_built(const struct vly_wire *wire, struct vly_frame *frame)
{
	if (!wire->pack_end)
		return;
	uintptr_t end =
		VLY_ALIGN_UP((uintptr_t)frame->data + frame->len, (uintptr_t)VLY_CACHE_LINE);

	if (end >= (uintptr_t)wire->pack_end)
		end -= wire->pack_bytes;
	frame[1].data = (uint8_t *)(end + VLY_WIRE_PACK_AT);
}

/* Most wires that a stack may have. */
#define VLY_WIRE_STACK_MAX 8

/*
 * The stack that a nic's name asks for: its ops, NULL-terminated. -EINVAL with the reason in `why`:
 * none, a wrapper last, a wire proper not last. Other bare words are left to the caller.
 */
int vly_wire_resolve(const struct vly_nic_spec *spec,
		     const struct vly_wire_ops *stack[VLY_WIRE_STACK_MAX + 1], char *why,
		     size_t why_bytes);

/* The wire called `name`, or NULL. */
const struct vly_wire_ops *vly_wire_find(const char *name);

/* How many queues the stack's wire proper has for the cores of the setup, or -errno. */
int vly_wire_queues(const struct vly_wire_setup *setup);

/* The mtu of the stack's wire proper, before it is open: memory is taken by it. */
uint32_t vly_wire_mtu(const struct vly_wire_ops *const *stack, const struct vly_nic_spec *spec);

/* For wrappers: opens the wire below. */
static inline int vly_wire_open_below(const struct vly_wire_setup *setup, struct vly_wire **wire)
{
	struct vly_wire_setup below = *setup;

	below.stack++;
	return below.stack[0]->open(&below, wire);
}

/*
 * For tests: makes a wire known by its name, or forgets it (`extra` NULL). One at a time, while no
 * engine is open. So a test's own wire (frames put in and taken out by hand) needs no line here.
 */
void vly_wire_add(const struct vly_wire_ops *extra);

#endif
