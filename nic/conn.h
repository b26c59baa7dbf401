/* conn.h - the record of a connection: the head that engine and nic share */
#ifndef VLY_NIC_CONN_H
#define VLY_NIC_CONN_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"
#include "base/wheel.h"
#include "mempool/buf.h"
#include "mempool/slab.h"
#include "volley/event.h"

enum vly_conn_type {
	VLY_STREAM = 1,
	VLY_LISTENER = 2,
	VLY_UDP = 3,
	VLY_WATCH = 4, /* a foreign descriptor */
};

enum vly_conn_state {
	VLY_FREE = 0,
	VLY_CONNECTING = 1, /* its OPEN is still to come */
	VLY_OPENED = 2,     /* listeners, UDP sockets and watches: from the start */
	VLY_CLOSING = 3,    /* vly_close was called: send the rest, FIN, discard input */
	VLY_DEAD =
		4, /* the nic has let go of it; its last event is pending or in the current batch */
};

enum vly_conn_flag {
	VLY_F_DIRTY = 1 << 0,      /* in the core's dirty list: the nic's next flush looks at it */
	VLY_F_TX_BLOCKED = 1 << 1, /* sends fail until DRAINED was emitted */
	VLY_F_TX_STARVED = 1 << 2, /* waits in the core's FIFO for send buffers */
	VLY_F_TX_WANTS_REF = 1 << 3, /* starved or granted: of the pool of references */
	VLY_F_SHUT = 1 << 4, /* vly_shutdown or vly_close: nothing more is accepted, FIN follows */
	VLY_F_FIN_SENT = 1 << 5,
	VLY_F_EOF = 1 << 6,       /* the peer's FIN was reached */
	VLY_F_PAUSED = 1 << 7,    /* the application does not want to read */
	VLY_F_PENDING = 1 << 8,   /* linked in the core's pending FIFO */
	VLY_F_PEND_OPEN = 1 << 9, /* what it waits there for; `status` holds OPEN's and CLOSED's */
	VLY_F_PEND_DRAINED = 1 << 10,
	VLY_F_PEND_CLOSED = 1 << 11,
	VLY_F_LOCAL = 1 << 12,    /* a Unix socket */
	VLY_F_TX_PLAIN = 1 << 13, /* see vly_env_tx_whole() */
};

/* What a wheel node belongs to, known by the byte behind it. */
enum vly_alarm_kind {
	VLY_ALARM_CLOSE = 1,   /* a connection's time to close has run out */
	VLY_ALARM_NIC = 2,     /* the nic's own business with a record */
	VLY_ALARM_TIMER = 3,   /* an application's timer */
	VLY_ALARM_NIC_OWN = 4, /* the nic's, of no record */
};

struct vly_alarm {
	struct vly_wheel_node node;
	uint32_t kind;
	uint32_t spare;
};

#define VLY_NO_SLOT UINT32_MAX

/* Written by its own core only. The first line is what every message touches. */
struct vly_conn_head {
	vly_conn handle; /* of a record that is free: the last one; 0: it was never used */
	uint8_t type, state;
	uint16_t flags;
	uint32_t tx_bytes; /* queued and not yet taken by the nic */
	void *user;
	/* tx_bytes = sum of len; tx_head is the slab's link while free */
	struct vly_buf *tx_head, *tx_tail;
	uint32_t tx_budget;
	uint32_t batch_seq;    /* the batch that `last_event` belongs to */
	uint32_t last_event;   /* head of the chain of this connection's events in that batch */
	uint32_t tx_mark;      /* blocked: DRAINED once tx_bytes <= tx_mark */
	uint32_t next_pending; /* slot */
	/* the batch for whose length `want_bufs` send buffers are promised */
	uint32_t granted_seq;

	struct vly_alarm alarm;
	uint32_t starved_prev, starved_next; /* slots */
	uint32_t want_bufs; /* starved: send buffers (and references) to be granted */
	int32_t status;
};

static_assert(offsetof(struct vly_conn_head, alarm) == VLY_CACHE_LINE, "the hot part is one line");
static_assert(offsetof(struct vly_conn_head, type) % 4 == 0 &&
		      offsetof(struct vly_conn_head, state) ==
			      offsetof(struct vly_conn_head, type) + 1 &&
		      offsetof(struct vly_conn_head, flags) ==
			      offsetof(struct vly_conn_head, type) + 2,
	      "one word, as vly_conn_plain() builds it");
static_assert(sizeof(struct vly_conn_head) == 112, "16 bytes of the second line are the nic's");

/* All records of a core, at a fixed stride, named by slot. */
struct vly_conn_table {
	struct vly_slab slab;
	uint8_t *base;
	uint32_t record_bytes;
	uint32_t count;
	uint32_t core; /* index of the core, part of every handle */
	/* of a record never used: differs each time the core is opened, so old handles stay stale */
	uint32_t first_generation;
};

static inline struct vly_conn_head *vly_conn_at(const struct vly_conn_table *table, uint32_t slot)
{
	assert(slot < table->count);
	return (struct vly_conn_head *)(void *)(table->base + (size_t)slot * table->record_bytes);
}

#define VLY_GENERATION_MAX ((1u << VLY_GENERATION_BITS) - 1)

static inline uint32_t vly_conn_generation(vly_conn handle)
{
	return (uint32_t)(handle >> VLY_SLOT_BITS) & VLY_GENERATION_MAX;
}

/* The handle of these; event.h has its layout. */
static inline vly_conn vly_conn_name(uint32_t core, uint32_t generation, uint32_t slot)
{
	return (uint64_t)core << (VLY_SLOT_BITS + VLY_GENERATION_BITS) |
	       (uint64_t)generation << VLY_SLOT_BITS | slot;
}

/* Its number in the table. */
static inline uint32_t vly_conn_index(const struct vly_conn_head *conn)
{
	return vly_conn_slot(conn->handle);
}

/* Whether it is a stream, opened, and has none of `flags`: one comparison. */
static inline bool vly_conn_plain(const struct vly_conn_head *conn, uint16_t flags)
{
	const struct {
		uint8_t type, state;
		uint16_t flags;
	} mask = {0xff, 0xff, flags}, plain = {VLY_STREAM, VLY_OPENED, 0};
	uint32_t word, mask_word, plain_word;

	memcpy(&word, &conn->type, sizeof(word));
	memcpy(&mask_word, &mask, sizeof(mask));
	memcpy(&plain_word, &plain, sizeof(plain));
	return (word & mask_word) == plain_word;
}

/* The record of a handle of this core, or NULL if it is stale. */
static inline struct vly_conn_head *vly_conn_find(const struct vly_conn_table *table,
						  vly_conn handle)
{
	uint32_t slot = vly_conn_slot(handle);

	if (vly_unlikely(slot >= table->count))
		return NULL;
	struct vly_conn_head *conn = vly_conn_at(table, slot);
	if (vly_unlikely(conn->handle != handle || conn->state == VLY_FREE))
		return NULL;
	return conn;
}

/* Takes a record and gives it a new generation; NULL when the table is full. */
struct vly_conn_head *vly_conn_take(struct vly_conn_table *table, enum vly_conn_type type,
				    enum vly_conn_state state, void *user, uint32_t tx_budget);

/* Gives a record back: every handle to it is stale from now on. */
void vly_conn_retire(struct vly_conn_table *table, struct vly_conn_head *conn);

#endif
