/* event.h - one completion, and the handle of what it is about */
#ifndef VOLLEY_EVENT_H
#define VOLLEY_EVENT_H

#include "volley/addr.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Names a connection, listener, UDP socket or watched descriptor: core:8 | generation:30 | slot:26.
 * Generation >= 1, so 0 is never valid. A handle outlives what it names: calls on a stale one
 * return -ENOTCONN.
 */
typedef uint64_t vly_conn;

#define VLY_SLOT_BITS 26
#define VLY_GENERATION_BITS 30

static inline unsigned vly_conn_core(vly_conn conn)
{
	return (unsigned)(conn >> (VLY_SLOT_BITS + VLY_GENERATION_BITS));
}

/* A dense index below the core's conns_max: what applications index their own tables by. */
static inline uint32_t vly_conn_slot(vly_conn conn)
{
	return (uint32_t)(conn & ((1u << VLY_SLOT_BITS) - 1));
}

enum vly_kind {
	VLY_NONE = 0, /* blanked by a close inside the batch: skip */
	/*
	 * status; the last event of its connection in this batch. From a listener: user inherited,
	 * VLY_ACCEPTED
	 */
	VLY_OPEN = 1,
	VLY_DATA = 2, /* data, len, buf */
	VLY_EOF = 3,  /* the peer sends no more; sending goes on until vly_close */
	/*
	 * sends are accepted again (conn 0: mail to core `aux`, or with VLY_FROM_PORT to port
	 * `aux`)
	 */
	VLY_DRAINED = 4,
	/*
	 * data = the cookie of vly_send_owned; status 0, or -errno if the connection died before
	 * all was sent
	 */
	VLY_SENT = 5,
	VLY_CLOSED = 6, /* status: 0 orderly, else why; the last event of the handle */
	VLY_DGRAM = 7,  /* data, len, buf; vly_event_addr() is the sender */
	VLY_TIMER = 8,  /* user is the timer's own */
	VLY_MAIL = 9,   /* aux = sending core (with VLY_FROM_PORT: the port); data, len */
	VLY_READY = 10, /* a watched descriptor; status = its poll(2) mask */
};

enum vly_event_flag {
	VLY_ACCEPTED = 1 << 0,  /* OPEN: from a listener */
	VLY_TRUNCATED = 1 << 1, /* DGRAM: it was longer than dgram_max */
	VLY_FROM_PORT = 1 << 2, /* MAIL, DRAINED: `aux` is the index of a port, not of a core */
};

struct vly_event { /* 48 bytes */
	vly_conn conn;
	void *user; /* what vly_set_user() attached */
	/* one contiguous span, valid until the next poll of this core, unless held */
	uint8_t *data;
	uint32_t len;   /* bytes */
	int32_t status; /* 0 or -errno */
	uint8_t kind;   /* enum vly_kind */
	uint8_t flags;  /* enum vly_event_flag */
	uint16_t aux;
	uint32_t buf;      /* the engine's name for the buffer: vly_hold, vly_release */
	uint64_t stamp_ns; /* CLOCK_MONOTONIC, when the nic reaped it: one reading per batch */
};

/* DGRAM only: the sender's address, which lies just before the data and lives as long. */
static inline const struct vly_addr *vly_event_addr(const struct vly_event *event)
{
	return (const struct vly_addr *)(const void *)(event->data - sizeof(struct vly_addr));
}

#ifdef __cplusplus
}
#endif

#endif
