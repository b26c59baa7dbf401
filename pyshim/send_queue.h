/* send_queue.h - what the engine does not take yet, and memory lent to it until it is sent */
#ifndef PYSHIM_SEND_QUEUE_H
#define PYSHIM_SEND_QUEUE_H

#include "pyshim/transport.h"

/* One borrowed send: its bytes live until the engine's SENT. */
struct ticket {
	struct ticket *next, **back;
	PyObject *bytes;
	struct transport *transport; /* strong */
	uint64_t send_id;            /* 0: nobody waits for it */
};

/* From this length on a send lends its bytes instead of copying them. */
#define SEND_LENT_MIN 16384

/* Adds bytes to the queue; takes a reference of its own. 0, or -1 with MemoryError. */
int send_queue_add(struct transport *transport, PyObject *bytes, uint64_t send_id);

/* Gives the engine as much as it takes; then water marks, EOF and close that waited for it. */
void send_queue_pump(struct transport *transport);

/* Drops what is queued. */
void send_queue_clear(struct transport *transport);

/* A SENT arrived: gives the bytes back. */
void ticket_sent(struct engine *engine, struct ticket *ticket);

/* The engine is closed: all lent memory is ours again. */
void ticket_drop_all(struct engine *engine);

#endif
