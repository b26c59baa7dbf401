/* tcp.h - the record of a connection, the core's TCP state, and what TCP's files share */
#ifndef VLY_NIC_INET_TCP_H
#define VLY_NIC_INET_TCP_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "nic/inet/mini.h"
#include "nic/inet/side.h"
#include "nic/inet/stack.h"
#include "nic/inet/tcp_header.h"

/*
 * RFC 9293. LISTEN is a record of its own type; SYN-RECEIVED of a passive open and TIME-WAIT are
 * minis (mini.h), without a record.
 */
enum vly_tcp_state {
	VLY_TCP_CLOSED = 0, /* both ways are finished, the application has not closed yet */
	VLY_TCP_SYN_SENT,
	VLY_TCP_SYN_RECEIVED, /* of a simultaneous open */
	VLY_TCP_ESTABLISHED,
	VLY_TCP_FIN_WAIT_1,
	VLY_TCP_FIN_WAIT_2,
	VLY_TCP_CLOSE_WAIT,
	VLY_TCP_CLOSING,
	VLY_TCP_LAST_ACK,
	VLY_TCP_STATES
};

/* Bits of a record. Any of VLY_TCP_SLOW sends its segments down the slow path. */
enum vly_tcp_bit {
	VLY_TCP_B_SIDE = 1 << 0,       /* has a side record */
	VLY_TCP_B_REXMIT = 1 << 1,     /* the one segment in flight was sent twice: no RTT (Karn) */
	VLY_TCP_B_ACK_LISTED = 1 << 2, /* in this poll's list of those who owe an ACK */
	/* an ACK is owed: any segment sent pays it. Without the next bit: for data, of one segment */
	VLY_TCP_B_ACK_DUE = 1 << 3,
	VLY_TCP_B_ACK_NOW = 1 << 4,    /* it must not be delayed */
	VLY_TCP_B_DELACK = 1 << 5,     /* it waits for the alarm */
	VLY_TCP_B_ARMED = 1 << 6,      /* the alarm rings no later than the next RTO will want */
	VLY_TCP_B_TX_LISTED = 1 << 7,  /* in the FIFO of those whom the wire was too full for */
	VLY_TCP_B_SACK = 1 << 8,       /* the peer understands selective ACKs */
	VLY_TCP_B_TS = 1 << 9,         /* both send timestamps */
	VLY_TCP_B_PERSIST = 1 << 10,   /* the window is shut: probes instead of retransmissions */
	VLY_TCP_B_EOF_DUE = 1 << 11,   /* EOF is to be told when the data before it was */
	VLY_TCP_B_CLOSE_DUE = 1 << 12, /* close_due is set */
	VLY_TCP_B_PROBED = 1 << 13, /* the last keep-alive, or probe of a window, is unanswered */
	VLY_TCP_B_FLOW = 1 << 14,   /* its key is in the flow table */
	/* our data has carried an ACK that was owed: the next one may wait for data, too */
	VLY_TCP_B_TALKS = 1 << 15,
};

#define VLY_TCP_SLOW (VLY_TCP_B_SIDE | VLY_TCP_B_PERSIST | VLY_TCP_B_EOF_DUE | VLY_TCP_B_TX_LISTED)

/*
 * Three lines. The first (the head's) and the third are touched by every message, the second by
 * timers, loss and the end. Times are ticks of 1.024 us (vly_tick_of), sequence numbers are in host
 * order and wrap: compare by vly_seq_*().
 *
 *	snd_una <= snd_nxt <= snd_una + tx_bytes (+ 1 with FIN)
 *	the queue (head.tx_head) begins at snd_una: it is the retransmission queue, too
 */
struct vly_tcp {
	struct vly_conn_head head;
	/* the rest of the second line */
	uint32_t ssthresh;
	uint32_t side;      /* VLY_TCP_B_SIDE: index of its side record */
	uint32_t next;      /* slot: link of the FIFO behind a full wire */
	uint32_t close_due; /* tick; with keep-alive, until it closes: rcv_nxt at the last look */

	/* network order */
	uint32_t raddr, laddr;
	uint16_t rport, lport;
	/* vly_tcp_plain() looks at these as one word */
	uint16_t bits;  /* enum vly_tcp_bit */
	uint8_t state;  /* enum vly_tcp_state */
	uint8_t wscale; /* what the peer's windows are shifted by; 4 upper bits: ours */
	uint32_t snd_una, snd_nxt, rcv_nxt;
	uint32_t snd_wnd; /* from snd_una on */
	uint32_t cwnd;
	uint32_t rtx_base; /* when the oldest segment in flight was sent, or last made progress */
	uint32_t srtt;     /* 8 * smoothed round trip; 0: none measured */
	uint32_t rttvar;   /* 4 * its variation */
	uint32_t ts_recent;
	uint16_t mss; /* payload of a full segment, options of timestamps taken off */
	uint16_t hop;
	uint8_t retries;
	uint8_t spare[3];
};

static_assert(offsetof(struct vly_tcp, raddr) == 2 * VLY_CACHE_LINE, "the hot line begins here");
static_assert(offsetof(struct vly_tcp, bits) % 4 == 0 &&
		      offsetof(struct vly_tcp, state) == offsetof(struct vly_tcp, bits) + 2,
	      "one word, as vly_tcp_plain() builds it");
static_assert(sizeof(struct vly_tcp) == 3 * VLY_CACHE_LINE, "three lines per connection");
/* Several fields are compared and written as one word. */
static_assert(offsetof(struct vly_tcp, laddr) == offsetof(struct vly_tcp, raddr) + 4 &&
		      offsetof(struct vly_tcp, rport) == offsetof(struct vly_tcp, raddr) + 8 &&
		      offsetof(struct vly_tcp, lport) == offsetof(struct vly_tcp, raddr) + 10,
	      "as the addresses and ports of what it receives");
static_assert(offsetof(struct vly_tcp, rcv_nxt) == offsetof(struct vly_tcp, snd_nxt) + 4, "a pair");

/* A listener uses the record's fields by these names. */
#define lst_half snd_una    /* minis of it that are not established */
#define lst_full snd_nxt    /* established, waiting for a record */
#define lst_backlog snd_wnd /* bound of each */

/* Choices of the nic's name, and what follows from them. */
struct vly_tcp_conf {
	uint32_t window; /* receive window in bytes: window= */
	uint8_t wscale;  /* our shift */
	bool timestamps; /* ts=0|1 */
	bool sack;       /* sack=0|1 */
	uint8_t cookies; /* cookies=0|1|2: never, when the backlog is full, always */
	uint32_t rto_min, rto_max, rto_init; /* ticks: rto_min= (ms) */
	uint32_t delack;                     /* ticks: max_ack_delay= (ms) */
	uint32_t time_wait;                  /* ticks: time_wait= (ms) */
	uint32_t keepalive;                  /* ticks, 0: none: keepalive= (s) */
	uint32_t keepalive_interval;         /* ticks */
	uint32_t retries, syn_retries;
	uint32_t cwnd_init; /* segments: RFC 6928 */
	uint32_t burst;     /* frames: a poll that brought something takes no more: burst= */
	const struct vly_cc_ops *cc;
};

/* Segments of one connection that follow each other, being made one for the wire to cut (VLY_WIRE_TSO). */
struct vly_tcp_large {
	struct vly_frame *first; /* has the headers; NULL: none is under way */
	uint32_t bytes;          /* from the Ethernet header on */
	uint16_t pieces, mss;
	uint8_t flags;
};

#define VLY_TCP_BURST 256u /* most frames that one poll of the nic takes */

struct vly_tcp_core {
	struct vly_tcp_conf conf;
	uint32_t acks[VLY_TCP_BURST + 1]; /* slots: who owes an ACK since the last poll */
	uint32_t acks_count;
	/* vly_tcp_window() as the header says it, in network order; by our shift */
	uint16_t window_fields[VLY_TCP_WSCALE_MAX + 1];
	uint32_t full_bursts;      /* in a row: received as many frames as they had room for */
	uint32_t acks_paid;        /* how many of them data of our own has paid since */
	uint32_t tx_head, tx_tail; /* slots: FIFO of those whom the wire was too full for */
	struct vly_minis minis;
	uint64_t minis_ns;      /* vly_tcp_minis_age() has nothing to do earlier */
	uint32_t minis_learned; /* hops.learned when VLY_MINI_UNSENT was last walked */
	bool minis_blocked;     /* some of those waited for room on the wire */
	struct vly_sides sides;
	uint32_t listeners;
	uint32_t port_next;    /* where the search for a free port begins */
	uint64_t challenge_ns; /* start of the second in which challenge ACKs are counted */
	uint32_t challenges;
	uint32_t dup_from, dup_to; /* has come twice: the ACK that goes now says so (RFC 2883) */
	struct vly_tcp_large large;
};

/* Received data up to here is shown where it came in, what is longer is copied. */
#define VLY_TCP_IN_PLACE 512u
#define VLY_TCP_CHALLENGES 100 /* per second and core: RFC 5961, section 7 */
#define VLY_TCP_KEEPALIVE_PROBES 9
#define VLY_TCP_TS_BYTES 12u /* of options in each segment */
#define VLY_TCP_MSS_MIN 88u  /* whatever a peer or ICMP says */
#define VLY_TCP_MSS_DEFAULT 536u
#define VLY_TCP_PORT_FIRST 16384u

/* --- sequence numbers --- */

static inline bool vly_seq_before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

static inline bool vly_seq_after(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) > 0;
}

/* --- records --- */

static inline struct vly_tcp *vly_tcp_of(struct vly_conn_head *head)
{
	return vly_container_of(head, struct vly_tcp, head);
}

static inline struct vly_tcp *vly_tcp_at(const struct vly_inet *inet, uint32_t slot)
{
	return vly_tcp_of(vly_conn_at(&inet->nic.env->conns, slot));
}

static inline struct vly_side *vly_tcp_side(const struct vly_inet *inet, const struct vly_tcp *tcp)
{
	return tcp->bits & VLY_TCP_B_SIDE ? vly_side_at(&inet->tcp->sides, tcp->side) : NULL;
}

/* Established, and no bit of VLY_TCP_SLOW: one comparison. */
static inline bool vly_tcp_plain(const struct vly_tcp *tcp)
{
	const struct {
		uint16_t bits;
		uint8_t state, wscale;
	} mask = {VLY_TCP_SLOW, 0xff, 0}, plain = {0, VLY_TCP_ESTABLISHED, 0};
	uint32_t word, mask_word, plain_word;

	memcpy(&word, &tcp->bits, sizeof(word));
	memcpy(&mask_word, &mask, sizeof(mask));
	memcpy(&plain_word, &plain, sizeof(plain));
	return (word & mask_word) == plain_word;
}

/* Our receive window: what is configured, as far as the header's field can say it with our `shift`. */
static inline uint32_t vly_tcp_window_by(const struct vly_tcp_conf *conf, unsigned shift)
{
	return VLY_MIN(conf->window, 65535u << shift);
}

static inline uint32_t vly_tcp_window(const struct vly_inet *inet, const struct vly_tcp *tcp)
{
	return vly_tcp_window_by(&inet->tcp->conf, tcp->wscale >> 4);
}

static inline uint32_t vly_tcp_flight(const struct vly_tcp *tcp)
{
	return tcp->snd_nxt - tcp->snd_una;
}

/* Queued and never sent. FIN counts in snd_nxt only. */
static inline uint32_t vly_tcp_unsent(const struct vly_tcp *tcp)
{
	uint32_t fin = tcp->head.flags & VLY_F_FIN_SENT ? 1 : 0;

	return tcp->head.tx_bytes - (vly_tcp_flight(tcp) - fin);
}

static inline struct vly_flow_key vly_tcp_key(const struct vly_tcp *tcp)
{
	return (struct vly_flow_key){tcp->raddr, tcp->laddr, tcp->rport, tcp->lport};
}

static inline uint32_t vly_tcp_ts_now(const struct vly_inet *inet)
{
	return (uint32_t)(inet->now_ns >> 20); /* 1.05 ms: RFC 7323, 5.4 wants 1 ms to 1 s */
}

/* A segment as the slow path sees it. */
struct vly_tcp_segment {
	const struct vly_ipv4_view *ip;
	struct vly_tcp_view view;
	struct vly_tcp_options options;
	/* view's, cut to the window: */
	uint32_t seq, len;
	const uint8_t *data;
	bool fin;
};

/* --- tcp.c: opening and ending --- */
int vly_tcp_listen(struct vly_inet *inet, struct vly_tcp *tcp, const struct vly_addr *addr,
		   const struct vly_listen_opts *opts);
void vly_tcp_unlisten(struct vly_inet *inet, struct vly_tcp *tcp);
int vly_tcp_connect(struct vly_inet *inet, struct vly_tcp *tcp, const struct vly_addr *to,
		    const struct vly_addr *from);
/* Leaves all lists and tables; the engine is told the end. `linger`: as TIME-WAIT. */
void vly_tcp_let_go(struct vly_inet *inet, struct vly_tcp *tcp, int status, bool linger);
/* With a reset, where the peer knows of us. */
void vly_tcp_abort(struct vly_inet *inet, struct vly_tcp *tcp, int status);
void vly_tcp_name(const struct vly_tcp *tcp, struct vly_addr *local, struct vly_addr *peer);
/* The record of a key, and whether the name belongs to a mini: NULL and *mini set. */
struct vly_tcp *vly_tcp_find(struct vly_inet *inet, const struct vly_flow_key *key,
			     struct vly_mini **mini);
struct vly_tcp *vly_tcp_find_listener(struct vly_inet *inet, uint32_t laddr, uint16_t lport);
/* The peer has finished and so have we, or the state's last step was made: CLOSED if it is asked for. */
void vly_tcp_finish(struct vly_inet *inet, struct vly_tcp *tcp);

/* --- tcp_core.c: what a core has of it --- */
size_t vly_tcp_core_bytes(const struct vly_config *config, const struct vly_nic_spec *spec);
int vly_tcp_core_open(struct vly_inet *inet, const struct vly_nic_spec *spec);
void vly_tcp_core_close(struct vly_inet *inet);
extern const char *const vly_tcp_keys[]; /* options of the nic's name */
int vly_tcp_conf_check(const struct vly_nic_spec *spec, char *why, size_t why_bytes);

/* --- tcp_burst.c: received frames, the fast path --- */
/* Takes a burst from the wire. False: it had none. */
bool vly_tcp_burst(struct vly_inet *inet);

/* --- tcp_input.c: RFC 9293, 3.10.7 --- */
void vly_tcp_packet(struct vly_inet *inet, const struct vly_ipv4_view *ip, uint16_t frame_flags);
/* A segment of a connection. */
void vly_tcp_segment_in(struct vly_inet *inet, struct vly_tcp *tcp,
			struct vly_tcp_segment *segment);
/* The handshake is over. */
void vly_tcp_established(struct vly_inet *inet, struct vly_tcp *tcp);
/* From what the peer says it takes, without timestamps. */
void vly_tcp_set_mss(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t mss);
void vly_tcp_frag_needed(struct vly_inet *inet, const struct vly_flow_key *key, uint32_t seq,
			 uint32_t mtu);
void vly_tcp_unreachable(struct vly_inet *inet, const struct vly_flow_key *key, uint32_t seq,
			 int error);

/* --- tcp_accept.c: minis of listeners --- */
void vly_tcp_syn_in(struct vly_inet *inet, struct vly_tcp *listener,
		    const struct vly_tcp_segment *segment);
void vly_tcp_mini_in(struct vly_inet *inet, struct vly_mini *mini, struct vly_tcp_segment *segment);
/* A segment with ACK for a listener and no mini: may answer a cookie. False: it does not. */
bool vly_tcp_cookie_in(struct vly_inet *inet, struct vly_tcp *listener,
		       struct vly_tcp_segment *segment);
/* Records for those who wait, as far as there are any. */
void vly_tcp_accept_waiting(struct vly_inet *inet);
/* SYN-ACKs that found no room, or no neighbour yet. */
void vly_tcp_send_syn_acks(struct vly_inet *inet);
/* SYN-ACKs that were not answered, minis that are over. */
void vly_tcp_minis_age(struct vly_inet *inet);
/* One is due at tick `due`. */
void vly_tcp_minis_watch(struct vly_inet *inet, uint32_t due);
/* Out of the table and home. */
void vly_tcp_mini_end(struct vly_inet *inet, struct vly_mini *mini);
/* All of a listener. */
void vly_tcp_minis_drop(struct vly_inet *inet, struct vly_tcp *listener);

/* --- tcp_ack.c: acceptance of ACKs, round trips, windows --- */
/* A round trip of `ticks` was seen. */
static inline void vly_tcp_rtt(struct vly_tcp *tcp, uint32_t ticks);
/* With its bounds, and doubled for each retry. */
uint32_t vly_tcp_rto(const struct vly_inet *inet, const struct vly_tcp *tcp);
/* False: the segment is to be dropped, or the record is gone. */
bool vly_tcp_ack_in(struct vly_inet *inet, struct vly_tcp *tcp,
		    const struct vly_tcp_segment *segment);

/* --- tcp_loss.c: the scoreboard, RACK-TLP, recovery --- */
struct vly_tcp_acked {
	uint32_t bytes;     /* cumulatively */
	uint32_t delivered; /* those, and newly selectively */
	uint32_t rtt;       /* ticks; 0: no sample */
	uint32_t echo;      /* with echoes: our time, as it tells it */
	bool echoes;
	bool duplicate;   /* an ACK that moves nothing (RFC 5681, 2) */
	bool is_original; /* it answers what was sent before anything was sent again */
};
/* Takes off what `ack` covers; fills rtt and delivered. Before snd_una moves. */
void vly_tcp_scoreboard_ack(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
			    uint32_t ack, struct vly_tcp_acked *acked);
void vly_tcp_scoreboard_sack(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
			     const struct vly_tcp_segment *segment, struct vly_tcp_acked *acked);
/* After snd_una has moved: losses, recovery, the window. */
void vly_tcp_recover(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
		     const struct vly_tcp_acked *acked, bool was_limited);
/* RFC 8985, 6.2: marks what must be lost by now. Returns when (tick) to look again, 0: never. */
uint32_t vly_tcp_rack_detect(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side);
void vly_tcp_mark_lost(struct vly_inet *inet, struct vly_side *side, struct vly_seg *seg);
void vly_tcp_enter_recovery(struct vly_inet *inet, struct vly_tcp *tcp, struct vly_side *side,
			    enum vly_side_recovery how);

/* --- tcp_data.c: what goes to the application, at once or by way of the side record --- */
/* The segment's data and FIN. */
void vly_tcp_data_in(struct vly_inet *inet, struct vly_tcp *tcp,
		     const struct vly_tcp_segment *segment);
/* Turns for those with data or EOF to be told. */
void vly_tcp_deliver_ready(struct vly_inet *inet);
/* It was closed: what waits for the application is dropped. */
void vly_tcp_discard(struct vly_inet *inet, struct vly_tcp *tcp);
void vly_tcp_wants_reading(struct vly_inet *inet, struct vly_tcp *tcp);
/* The window to be advertised, in bytes. */
uint32_t vly_tcp_rcv_wnd(const struct vly_inet *inet, const struct vly_tcp *tcp);
/* Appends DATA of a span just committed to env->rx. */
void vly_tcp_add_data(struct vly_inet *inet, struct vly_tcp *tcp, uint8_t *data, uint32_t len,
		      uint32_t buf);

/* --- tcp_fast.c --- */
/*
 * Sends the queues that are one plain segment with nothing in its way. The others are moved to the front
 * of `conns`; returns how many those are.
 */
uint32_t vly_tcp_flush_fast(struct vly_inet *inet, struct vly_conn_head **conns, uint32_t count);

/* --- tcp_output.c: segments --- */
/* All that may be sent now; FIN; then the ACK that is owed, if `ack`. */
void vly_tcp_output(struct vly_inet *inet, struct vly_tcp *tcp);
void vly_tcp_flush(struct vly_inet *inet, struct vly_tcp *tcp);
/* `len` bytes of the queue from `seq` on, with `flags`. False: no frame could be had. */
bool vly_tcp_emit(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t seq, uint32_t len,
		  uint8_t flags);
/* Copies [seq, seq + len) of the queue. */
void vly_tcp_copy(struct vly_inet *inet, struct vly_tcp *tcp, uint8_t *to, uint32_t seq,
		  uint32_t len);
/* An ACK without data; queued behind a full wire. */
void vly_tcp_send_ack(struct vly_inet *inet, struct vly_tcp *tcp);
/* The same, and it tells that [from, to) has come twice. */
void vly_tcp_send_dup_ack(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t from, uint32_t to);
void vly_tcp_send_syn(struct vly_inet *inet, struct vly_tcp *tcp);
/* ACKs owed since the last poll that nothing has paid. */
void vly_tcp_send_acks(struct vly_inet *inet);
/* Those whom the wire was too full for. */
void vly_tcp_send_waiting(struct vly_inet *inet);
/* The side record, taken if there is none; NULL: the pool is empty. Given back when it is idle. */
struct vly_side *vly_tcp_need_side(struct vly_inet *inet, struct vly_tcp *tcp);
void vly_tcp_drop_side(struct vly_inet *inet, struct vly_tcp *tcp);
/* The side record with what is in flight in its scoreboard; NULL: no memory. */
struct vly_side *vly_tcp_begin_scoreboard(struct vly_inet *inet, struct vly_tcp *tcp);
void vly_tcp_tx_later(struct vly_inet *inet, struct vly_tcp *tcp);
void vly_tcp_tx_unlist(struct vly_inet *inet, struct vly_tcp *tcp);

static_assert(VLY_TCP_B_ACK_NOW == VLY_TCP_B_ACK_DUE << 1, "see vly_tcp_second()");

/* A segment with data has come. How its ACK is owed: at once, if that of another one is (RFC 9293, 3.8.6.3). */
static inline uint16_t vly_tcp_second(const struct vly_tcp *tcp)
{
	return (uint16_t)((tcp->bits & VLY_TCP_B_ACK_DUE) << 1);
}

static inline void vly_tcp_owe_ack(struct vly_inet *inet, struct vly_tcp *tcp, uint16_t how)
{
	struct vly_tcp_core *core = inet->tcp;
	bool listed = tcp->bits & VLY_TCP_B_ACK_LISTED;

	if (vly_unlikely(!listed && core->acks_count > VLY_TCP_BURST))
		vly_tcp_send_acks(inet);
	tcp->bits |= VLY_TCP_B_ACK_DUE | VLY_TCP_B_ACK_LISTED | how;
	if (vly_likely(!listed))
		core->acks[core->acks_count++] = vly_conn_index(&tcp->head);
}

/* The MSS we offer by way of `hop`. */
static inline uint16_t vly_tcp_own_mss(const struct vly_inet *inet, uint16_t hop)
{
	uint32_t mtu = inet->wire->mtu;

	if (hop != VLY_NO_HOP && inet->hops.table[hop].mtu)
		mtu = VLY_MIN(mtu, inet->hops.table[hop].mtu);
	return (uint16_t)(VLY_MIN(mtu, 65535u) - VLY_IPV4_BYTES - VLY_TCP_BYTES);
}

/* --- tcp_large.c: segments that the wire cuts --- */
/*
 * As vly_tcp_emit(), of new data: over a wire that cuts, full segments that follow each other become one. Each is
 * still kept account of by itself. Between the first and vly_tcp_large_end() no other frame is built.
 */
bool vly_tcp_large_emit(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t seq, uint32_t len,
			uint8_t flags);
void vly_tcp_large_end(struct vly_inet *inet);

/* --- tcp_reply.c: segments without a record --- */
struct vly_tcp_reply {
	struct vly_flow_key key;
	uint16_t hop; /* VLY_NO_HOP: looked up and given back */
	uint32_t seq, ack;
	uint16_t window;
	uint8_t flags;
	const uint8_t *options;
	uint8_t options_len; /* a multiple of 4 */
};
bool vly_tcp_reply_send(struct vly_inet *inet, const struct vly_tcp_reply *reply);
/* The reset that answers `segment`: RFC 9293, 3.10.7.1. */
void vly_tcp_reset(struct vly_inet *inet, const struct vly_tcp_segment *segment);
/* Options of our SYN or SYN-ACK: at most VLY_TCP_OPTIONS_BYTES_MAX. Returns their length. */
struct vly_tcp_offer {
	uint16_t mss;
	bool wscale_on, sack, ts;
	uint8_t wscale;
	uint32_t ts_value, ts_echo;
};
uint8_t vly_tcp_offer_write(uint8_t *to, const struct vly_tcp_offer *offer);
/* False: the limit of RFC 5961 is reached. */
bool vly_tcp_may_challenge(struct vly_inet *inet);

/* --- tcp_timer.c --- */
void vly_tcp_alarm(struct vly_inet *inet, struct vly_tcp *tcp);
/* The alarm will ring at `due` (a tick) or before. */
void vly_tcp_arm(struct vly_inet *inet, struct vly_tcp *tcp, uint32_t due);
/* Something is in flight (again): its retransmission is watched. */
void vly_tcp_arm_rto(struct vly_inet *inet, struct vly_tcp *tcp);
/* The window is shut and something waits: probes from now on. */
void vly_tcp_persist(struct vly_inet *inet, struct vly_tcp *tcp);

/* ---- inline bodies ---- */

/* RFC 6298, section 2, in fixed point: srtt holds 8 times, rttvar 4 times the value. */
static inline void vly_tcp_rtt(struct vly_tcp *tcp, uint32_t ticks)
{
	ticks = VLY_MIN(VLY_MAX(ticks, 1u), 1u << 26);
	if (!tcp->srtt) {
		tcp->srtt = ticks << 3;
		tcp->rttvar = ticks << 1;
		return;
	}
	int32_t error = (int32_t)(ticks - (tcp->srtt >> 3));

	tcp->srtt = (uint32_t)((int32_t)tcp->srtt + error);
	if (error < 0)
		error = -error;
	tcp->rttvar = (uint32_t)((int32_t)tcp->rttvar + error - (int32_t)(tcp->rttvar >> 2));
}

#endif
