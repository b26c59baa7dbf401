/* private.h - what the files of the epoll nic share */
#ifndef VLY_NIC_EPOLL_PRIVATE_H
#define VLY_NIC_EPOLL_PRIVATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "nic/nic.h"

/*
 * Every descriptor but a watched one is registered once, edge-triggered, for its whole life: no
 * epoll_ctl per message. An edge sets bits here, and they stay set until a call says that there is
 * nothing left:
 *
 * 	READABLE off	a receive took less than it asked for and no end was announced, or EAGAIN
 * 	STALLED on	a send took less than it was given, or EAGAIN; off at the next writable edge
 *
 * A record with work to do waits in the ready FIFO for its turn, so that one busy connection cannot
 * keep others waiting.
 */
enum ready_bit {
	READY_READABLE = 1 << 0,
	READY_WRITABLE = 1 << 1, /* an edge not looked at yet */
	READY_STALLED = 1 << 2,
	READY_HANGUP = 1 << 3, /* EPOLLRDHUP or EPOLLHUP: a short receive is not the last */
	READY_ERROR = 1 << 4,
	READY_QUEUED = 1 << 5, /* in the ready FIFO */
	READY_PIECES =
		1 << 7, /* urgent bytes or passed descriptors: a short receive is not the last */
	READY_BLOCKED =
		1 << 6, /* a listener without slots or descriptors, in the list of the blocked */
};

struct epoll_conn {
	struct vly_conn_head head;
	int fd;
	uint32_t ready; /* enum ready_bit */
	uint32_t prev,
		next; /* slots: neighbours in the ready FIFO, or in the list of blocked listeners */
};

static_assert(sizeof(struct epoll_conn) == 2 * VLY_CACHE_LINE, "two lines per connection");

struct conn_list {
	uint32_t head, tail; /* slots */
	uint32_t count;
};

struct epoll_nic {
	struct vly_nic nic;
	int epoll_fd;
	struct epoll_event *edges;
	uint32_t edges_max;
	struct conn_list ready;
	struct conn_list blocked; /* listeners that wait for a slot or a descriptor */
	bool no_files;            /* the blocked wait for a descriptor, not for a slot */
	bool timer_watched;
};

/*
 * Marks in epoll_event.data.u64 for what is no connection: generation 0 makes them unlike any
 * handle.
 */
enum {
	EDGE_WAKE = 1,
	EDGE_TIMER = 2
};

#define ACCEPT_RETRY_NS 100000000u /* descriptors may be freed by other parts of the process */
#define ACCEPT_BURST 64

static inline struct epoll_nic *epoll_of(struct vly_nic *nic)
{
	return vly_container_of(nic, struct epoll_nic, nic);
}

static inline struct epoll_conn *conn_of(struct vly_conn_head *head)
{
	return vly_container_of(head, struct epoll_conn, head);
}

static inline struct epoll_conn *conn_at(const struct epoll_nic *epoll, uint32_t slot)
{
	return conn_of(vly_conn_at(&epoll->nic.env->conns, slot));
}

/* What became of a record's turn. */
enum turn {
	TURN_DONE, /* nothing left to do until the next edge */
	TURN_MORE, /* its share is used up, or the batch is full: to the end of the FIFO */
	TURN_DEAD, /* the record is no longer the nic's */
};

/* epoll.c: the FIFOs, and registration of a descriptor for edges. */
void epoll_queue(struct epoll_nic *epoll, struct epoll_conn *conn);
void epoll_unqueue(struct epoll_nic *epoll, struct epoll_conn *conn);
int epoll_register(struct epoll_nic *epoll, struct epoll_conn *conn, uint32_t edges);
/* Closes the descriptor, leaves the FIFOs, and reports the end with `status`. */
void epoll_let_go(struct epoll_nic *epoll, struct epoll_conn *conn, int status);

/* stream.c */
int epoll_connect(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *to,
		  const struct vly_addr *from);
enum turn epoll_stream_turn(struct epoll_nic *epoll, struct epoll_conn *conn);
void epoll_stream_flush(struct epoll_nic *epoll, struct epoll_conn *conn);
void epoll_stream_abort(struct epoll_nic *epoll, struct epoll_conn *conn, int status);
void epoll_connect_again(struct epoll_nic *epoll, struct epoll_conn *conn);

/* listener.c */
int epoll_listen(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *addr,
		 const struct vly_listen_opts *opts);
void epoll_unlisten(struct vly_nic *nic, struct vly_conn_head *head);
enum turn epoll_listener_turn(struct epoll_nic *epoll, struct epoll_conn *conn);

/* udp.c */
int epoll_udp_open(struct vly_nic *nic, struct vly_conn_head *head, const struct vly_addr *addr);
enum turn epoll_udp_turn(struct epoll_nic *epoll, struct epoll_conn *conn);
void epoll_udp_flush(struct epoll_nic *epoll, struct epoll_conn *conn);

#endif
