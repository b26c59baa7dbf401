/* private.h - what the files of the uring nic share */
#ifndef VLY_NIC_URING_PRIVATE_H
#define VLY_NIC_URING_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "nic/nic.h"
#include "nic/uring/group.h"
#include "nic/uring/pace.h"
#include "nic/uring/ring.h"

/*
 * What a completion is about: the highest byte of its user_data, over the handle of its record. A record is given back only
 * after the last completion of all its operations, so a handle in user_data is never stale; a listener alone goes at once, and
 * its generation tells late accepts.
 */
enum uring_op {
	OP_NONE = 0, /* nobody waits for it */
	OP_RECV = 1,
	/* Answers that make no event, up to OP_RING. */
	OP_SEND = 2,    /* answers when it is done, however long that takes */
	OP_SEND_ZC = 3, /* answers, and a second time when its memory is free */
	OP_QUIET = 4,   /* a send that answers only if it could not be done at once */
	OP_INSTALL =
		5, /* a descriptor for a direct one, to half-close it; or a place for a descriptor */
	OP_NAME = 6, /* a descriptor for a direct one, to name it */
	OP_RING = 7, /* a message to another core's ring that did not arrive */
	OP_ACCEPT = 8,
	OP_CONNECT = 9,
	OP_WATCH = 10,
	OP_GUARD = 11, /* errors of a connection that reads nothing */
	OP_WAKE = 12,
	OP_DGRAM = 13,      /* a datagram received */
	OP_DGRAM_SEND = 16, /* + place among those in flight */
};

#define DGRAMS_IN_FLIGHT 16u

/* uring_conn.marks */
enum uring_mark {
	MARK_FIXED = 1 << 0,      /* `file` is a place in the ring's table, not a descriptor */
	MARK_ENDING = 1 << 1,     /* let go of: the last completions are awaited */
	MARK_CONNECTING = 1 << 2, /* with ENDING: its OPEN was still to come */
	MARK_CANCELLING = 1 << 3, /* its receive, or accept, was told to end */
	MARK_FLOOD = 1 << 4,      /* receives singly: it brought more than its share */
	MARK_EOF_NEXT = 1 << 5,   /* the end of input follows what is set aside */
	MARK_FAIL_NEXT = 1 << 6,  /* so does a failure, `status` */
	MARK_READY = 1 << 7,      /* in the list of those with something to do at the next poll */
	MARK_STARVED = 1 << 8,    /* in the list of those that found no receive buffer */
	MARK_BLOCKED = 1 << 9,    /* a listener without slots or descriptors, in the list of them */
	MARK_COPIED = 1 << 10,    /* zero-copy was copied on the way: not again */
	MARK_MULTI = 1 << 11,     /* a listener whose accept goes on by itself */
	MARK_WATCHED = 1 << 12,   /* in the list of watched descriptors */
	MARK_QUIET = 1 << 13, /* reads no more: guard it against unseen errors at its next turn */
	MARK_RESET = 1 << 14, /* with ENDING: by a reset */
	MARK_MOVED = 1 << 15, /* with FIXED: it was a descriptor before, which a child may have */
};

#define MARK_LISTED (MARK_READY | MARK_STARVED | MARK_BLOCKED | MARK_WATCHED)

struct uring_conn {
	struct vly_conn_head head;
	int32_t file;
	uint16_t ops;     /* 1 << enum uring_op: awaited */
	uint16_t marks;   /* enum uring_mark */
	uint32_t sending; /* bytes of the send in flight */
	uint32_t kept; /* bytes sent whose memory the kernel still reads: the front of the queue */

	uint32_t share_seq;    /* the batch that the next two are of */
	uint32_t share_events; /* left of this batch's share */
	uint32_t share_bytes;
	uint32_t aside_head, aside_tail; /* slices received and not shown yet: index + 1, or 0 */
	uint32_t prev, next;             /* slots: neighbours in its list */
	int32_t status;                  /* ENDING, FAIL_NEXT: why */
	uint16_t notices;                /* zero-copy sends whose memory is not free yet */
	uint16_t dgrams;                 /* in flight */
	uint32_t dgrams_done; /* bit n: the n-th of them is done, an earlier one is not */
	uint32_t poll_events; /* of a watched descriptor */
	uint32_t dgram_first; /* place of the first in flight */
	uint32_t quiet_next;  /* slot: the next quiet send in flight */
	int32_t place; /* in the table, once the kernel has written it over the descriptor to be moved */
	uint32_t spare[2];
};

static_assert(sizeof(struct uring_conn) == 3 * VLY_CACHE_LINE, "two lines hot, one cold");

/* Received bytes that could not be shown yet, or are shown in the current batch. */
struct uring_slice {
	struct vly_buf *buf; /* one reference held; the slab's link while free */
	uint8_t *data;
	uint32_t len;
	uint32_t token;
	uint32_t next;
	uint32_t flags; /* enum vly_event_flag */
};

struct conn_list {
	uint32_t head, tail; /* slots */
	uint32_t count;
};

#define ORPHANS_MAX 256u
#define SCRATCH_BYTES 32768u

/* An accepted socket that found no slot. */
struct orphan {
	vly_conn listener;
	int32_t file;
};

struct uring_nic {
	struct vly_nic nic;
	struct uring_ring ring;
	struct uring_group streams, dgrams;
	struct uring_pace pace;
	struct conn_list ready, starved, blocked, watches;
	struct vly_slab slices;
	uint32_t *shown; /* tokens of the current batch */
	uint32_t shown_count;
	uint32_t shown_seq;              /* the batch that they are of */
	uint32_t shown_aside;            /* slices of the current batch */
	uint32_t quiet_head, quiet_tail; /* slots: quiet sends in the order of submission */
	uint32_t quiet_count;
	uint32_t quiet_taken; /* of them, taken by the kernel */
	uint32_t scan;        /* completions below were looked at for what cannot wait */
	uint32_t fixed_count, fixed_max;
	uint32_t singles;     /* accepts in flight that end with one connection */
	uint32_t multi_floor; /* fewer slots free: accept singly */
	uint32_t udp_count;
	uint32_t ending_count;
	uint32_t orphans_count;
	uint32_t zc_floor;       /* bytes from which on a send is not copied; UINT32_MAX: never */
	int named_fd;            /* answer of OP_NAME */
	int embed_fd, signal_fd; /* for another event loop; -1: not asked for */
	bool no_files;           /* the blocked wait for a descriptor, not for a slot */
	bool closing;
	bool timer_covered;
	bool direct, quiet_sends;
	uint32_t scratch_used;
	struct orphan orphans[ORPHANS_MAX];
	struct sockaddr unspec; /* connecting to it resets */
	struct msghdr dgram_shape;
	uint8_t scratch[SCRATCH_BYTES]
		__attribute__((aligned(16))); /* what entries not submitted yet point to */
};

/* Where a datagram's bytes lie in its chunk: the kernel's header and the sender's name in front, vly_addr takes their place. */
#define DGRAM_NAME_BYTES 112u
#define DGRAM_HEAD_BYTES 128u
static_assert(DGRAM_HEAD_BYTES == sizeof(struct io_uring_recvmsg_out) + DGRAM_NAME_BYTES,
	      "the kernel's layout");
static_assert(DGRAM_HEAD_BYTES >= sizeof(struct vly_addr),
	      "the sender's address lies just before the data");

#define TOKEN_DGRAM (1u << 31)

static inline struct uring_nic *uring_of(struct vly_nic *nic)
{
	return vly_container_of(nic, struct uring_nic, nic);
}

static inline struct uring_conn *conn_of(struct vly_conn_head *head)
{
	return vly_container_of(head, struct uring_conn, head);
}

static inline struct uring_conn *conn_at(const struct uring_nic *uring, uint32_t slot)
{
	return conn_of(vly_conn_at(&uring->nic.env->conns, slot));
}

static inline uint64_t user_data_of(const struct uring_conn *conn, unsigned op)
{
	const uint64_t handle = (1ull << (VLY_SLOT_BITS + VLY_GENERATION_BITS)) - 1;

	return (uint64_t)op << (VLY_SLOT_BITS + VLY_GENERATION_BITS) | (conn->head.handle & handle);
}

static inline uint64_t uring_wake_data(void)
{
	return (uint64_t)OP_WAKE << (VLY_SLOT_BITS + VLY_GENERATION_BITS);
}

static inline unsigned op_of(uint64_t user_data)
{
	return (unsigned)(user_data >> (VLY_SLOT_BITS + VLY_GENERATION_BITS));
}

static inline bool batch_full(const struct uring_nic *uring)
{
	return vly_batch_full(&uring->nic.env->batch);
}

/* Bytes of the queue that no send has taken yet. */
static inline uint32_t unsent(const struct uring_conn *conn)
{
	return conn->head.tx_bytes - conn->kept;
}

/* list.c */
void uring_list_init(struct conn_list *list);
void uring_list_push(struct uring_nic *uring, struct conn_list *list, struct uring_conn *conn,
		     uint16_t mark);
void uring_list_remove(struct uring_nic *uring, struct uring_conn *conn);
/* To be looked at in the next poll. */
void uring_ready(struct uring_nic *uring, struct uring_conn *conn);

/* submit.c: entries. All return NULL when the kernel takes none at the moment; the caller tries again in the next poll. */
struct io_uring_sqe *uring_sqe(struct uring_nic *uring);
struct io_uring_sqe *uring_conn_sqe(struct uring_nic *uring, struct uring_conn *conn,
				    unsigned opcode, unsigned op);
void *uring_scratch(struct uring_nic *uring, uint32_t bytes);
/* Hands over what is filled; no answer is looked at. */
void uring_submit(struct uring_nic *uring);
/* Enters, then uring_settle_sends(). Returns how many completions came. */
uint32_t uring_enter(struct uring_nic *uring, const struct uring_wait *wait);
/* Nobody waits for these; false: not submitted. */
bool uring_cancel(struct uring_nic *uring, uint64_t user_data);
bool uring_close_file(struct uring_nic *uring, int32_t file, bool fixed);
/* A TCP reset; the file stays. */
bool uring_reset(struct uring_nic *uring, const struct uring_conn *conn);
/* A TCP reset and the end of the file. */
bool uring_reset_file(struct uring_nic *uring, int32_t file, bool fixed, bool local);
/* Enters without waiting, then uring_settle_sends(). */
void uring_push(struct vly_nic *nic);

/* reap.c */
/* One turn for each record that is ready now, as long as the batch has room. */
void uring_turns(struct uring_nic *uring);
/* After each enter: failures of quiet sends and other answers that cannot wait for a batch; then quiet sends are done. */
void uring_settle_sends(struct uring_nic *uring);
/* Turns completions into events as long as the batch has room. */
void uring_reap(struct uring_nic *uring);

/* stream.c */
int uring_connect(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *to,
		  const struct vly_addr *from);
void uring_connected(struct uring_nic *uring, struct uring_conn *conn, int result);
/* Its socket has a place in the table, if `result` is 1. */
void uring_moved_in(struct uring_nic *uring, struct uring_conn *conn, int result);
/* Issues whatever the record's state asks for and is not under way. */
void uring_stream_step(struct uring_nic *uring, struct uring_conn *conn);
/* A turn of a record of the ready list. */
void uring_stream_turn(struct uring_nic *uring, struct uring_conn *conn);

/* send.c */
/* False: the record is no longer the nic's, or waits to be looked at again. */
bool uring_send_step(struct uring_nic *uring, struct uring_conn *conn);
void uring_sent(struct uring_nic *uring, struct uring_conn *conn, const struct io_uring_cqe *cqe);
void uring_quiet_failed(struct uring_nic *uring, struct uring_conn *conn, int result);
void uring_quiet_done(struct uring_nic *uring, struct uring_conn *conn);
void uring_installed(struct uring_nic *uring, struct uring_conn *conn, int result);

/* receive.c */
void uring_guard(struct uring_nic *uring, struct uring_conn *conn);
void uring_recv_step(struct uring_nic *uring, struct uring_conn *conn);
void uring_received(struct uring_nic *uring, struct uring_conn *conn,
		    const struct io_uring_cqe *cqe);
void uring_guarded(struct uring_nic *uring, struct uring_conn *conn,
		   const struct io_uring_cqe *cqe);
/* Shows what was set aside, as far as the connection's share and the batch allow. */
void uring_show_aside(struct uring_nic *uring, struct uring_conn *conn);
void uring_drop_aside(struct uring_nic *uring, struct uring_conn *conn);
/* The batch that showed them is over: tokens and slices go back. */
void uring_recycle(struct uring_nic *uring);
void uring_feed_starved(struct uring_nic *uring);
/* Of UDP: shows a datagram, or sets it aside. */
void uring_bring_dgram(struct uring_nic *uring, struct uring_conn *conn,
		       const struct uring_span *span);
bool uring_has_aside(const struct uring_conn *conn);
void uring_give(struct uring_nic *uring, uint32_t token);
/* What a batch shows of `span`. */
struct vly_event *uring_show(struct uring_nic *uring, struct uring_conn *conn, enum vly_kind kind,
			     const struct uring_span *span);

/* end.c */
/* The record goes, with `status`, as soon as nothing of it is in flight. */
void uring_let_go(struct uring_nic *uring, struct uring_conn *conn, int status);
/* An operation of an ending record has ended. */
void uring_end_step(struct uring_nic *uring, struct uring_conn *conn);
void uring_abort(struct vly_nic *nic, struct vly_conn_head *head, int status);
void uring_settle(struct vly_nic *nic);

/* listener.c */
int uring_listen(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *addr,
		 const struct vly_listen_opts *opts);
void uring_unlisten(struct vly_nic *nic, struct vly_conn_head *head);
void uring_accepted(struct uring_nic *uring, const struct io_uring_cqe *cqe);
/* Listeners that found no slot or descriptor try again. */
void uring_unblock(struct uring_nic *uring);
/* Accepted sockets that found no slot get theirs. */
bool uring_may_adopt(const struct uring_nic *uring);
void uring_adopt(struct uring_nic *uring);
void uring_accept_step(struct uring_nic *uring, struct uring_conn *conn);

/* udp.c */
int uring_udp_open(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *addr);
void uring_udp_step(struct uring_nic *uring, struct uring_conn *conn);
void uring_dgram_received(struct uring_nic *uring, struct uring_conn *conn,
			  const struct io_uring_cqe *cqe);
void uring_dgram_sent(struct uring_nic *uring, struct uring_conn *conn, unsigned place, int result);

/* watch.c */
int uring_watch(struct vly_nic *nic, struct vly_conn_head *head, int fd, short poll_events);
void uring_watch_step(struct uring_nic *uring, struct uring_conn *conn);
void uring_watched(struct uring_nic *uring, struct uring_conn *conn,
		   const struct io_uring_cqe *cqe);
/* Each write to the core's own descriptor ends a wait. */
bool uring_watch_wake(struct uring_nic *uring);

/* Of this core, and ringing another's. */
int uring_bell(struct vly_nic *nic);
bool uring_ring_bell(struct vly_nic *nic, int bell_fd, int wake_fd);
void uring_bell_failed(uint64_t user_data);

/* embed.c */
int uring_poll_fd(struct vly_nic *nic);
void uring_embed_close(struct uring_nic *uring);
/* The core is awake: the descriptor is left alone. */
void uring_embed_disarm(struct uring_nic *uring);
/* Nothing is left: whatever comes from now on makes the descriptor readable. */
void uring_embed_arm(struct uring_nic *uring);
/* Sleeps on the descriptor, since the ring alone does not see all that may end the sleep. */
void uring_embed_wait(struct uring_nic *uring, int64_t timeout_ns);

/* name.c */
int uring_name_of(struct vly_nic *nic, struct vly_conn_head *head, struct vly_addr *local,
		  struct vly_addr *peer);

#endif
