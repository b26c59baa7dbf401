/* mail.h - messages between cores, and between a core and the foreign threads of its ports */
#ifndef VLY_ENGINE_MAIL_H
#define VLY_ENGINE_MAIL_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/ring.h"
#include "volley/port.h"

#define VLY_CORES_MAX 256
#define VLY_PORTS_MAX 64
#define VLY_INBOX_WORDS (VLY_CORES_MAX / 64 + 1) /* a bit per sending core, then a word of ports */
#define VLY_PORT_WORD (VLY_CORES_MAX / 64)

/* How many messages are shown to the receiver at once. */
#define VLY_MAIL_BATCH 16

/*
 * What others write of a core. A sender fills its ring, sets its bit in `inbox`, then looks at
 * `sleeping`; the core sets `sleeping`, then looks at `inbox`. All four are sequentially
 * consistent, so one of the two sees the other: no wake-up is lost, and a core that is awake costs
 * its senders no system call.
 */
struct vly_mailbox {
	/* set by the core, cleared by whoever wakes it */
	alignas(VLY_WRITER_GAP) atomic_bool sleeping;
	atomic_bool woken; /* vly_wake: the poll is to return */
	alignas(VLY_WRITER_GAP) _Atomic uint64_t inbox[VLY_INBOX_WORDS];
	int wake_fd; /* written once at start */
	/*
	 * What neighbours ring by their nics, -1: nothing. The number is the seat's for as long as the
	 * engine lives and only what is behind it changes, so a late ring meets no stranger: the core's
	 * nic while it is open, else wake_fd, which refuses.
	 */
	int bell_fd;
	atomic_bool has_bell;
};

/* A slot of a ring. */
struct vly_letter {
	uint32_t len;
	uint32_t spare;
	uint8_t data[];
};

enum vly_port_state {
	VLY_PORT_FREE,
	VLY_PORT_OPENING,
	VLY_PORT_OPEN,
	VLY_PORT_CLOSING
};

/*
 * The foreign thread's end; `to_core` and `from_core` are shared with the core, the rest is as
 * marked.
 */
struct vly_port {
	/* enum vly_port_state: OPEN is set by the foreign thread, FREE by the core */
	_Atomic uint32_t state;
	struct vly_engine *engine;
	uint32_t core, index;
	struct vly_ring *to_core, *from_core;
	int wake_fd;
	/* set by the foreign thread, cleared by whoever wakes it */
	alignas(VLY_WRITER_GAP) atomic_bool sleeping;
	/* foreign thread: messages shown and not released */
	alignas(VLY_WRITER_GAP) uint32_t taken;
	bool blocked; /* foreign thread: a post found the ring full */
};

/* Written by the core only. Sets are bit words in the order of the inbox. */
struct vly_mail {
	struct vly_mailbox *box;           /* its own */
	uint64_t waiting[VLY_INBOX_WORDS]; /* rings that may hold messages */
	uint64_t unsent[VLY_INBOX_WORDS];  /* rings with messages not shown to the receiver */
	uint64_t blocked[VLY_INBOX_WORDS]; /* rings that were full: DRAINED is owed */
	uint64_t taken[VLY_INBOX_WORDS];   /* rings whose slots the current batch shows */
	uint64_t any_blocked, any_unsent, any_taken;
	uint32_t turn; /* the place to be served first, since the last batch was full before it */
	uint32_t *unsent_count; /* by place: core, or VLY_CORES_MAX + port */
	uint32_t *taken_count;
};

struct vly_core;
struct vly_engine;

/* Bytes of one slot. */
static inline uint32_t vly_letter_bytes(uint32_t mail_bytes)
{
	return (uint32_t)VLY_ALIGN_UP(sizeof(struct vly_letter) + mail_bytes, 8u);
}

/* The core's nic is open: neighbours may ring it. */
void vly_mail_hang_bell(struct vly_core *core);
/* They may no more. */
void vly_mail_unhang_bell(struct vly_core *core);

/* Wakes whoever sleeps on `wake_fd`. Safe in signal handlers. */
void vly_mail_ring_bell(int wake_fd);

/* Shows what was sent to its receivers and wakes those who sleep, once each. */
void vly_mail_publish(struct vly_core *core);

/* Appends MAIL and DRAINED events until `batch_max` events are in the batch. */
void vly_mail_collect(struct vly_core *core, uint32_t batch_max);

/* The batch is over: its slots go back to their senders. */
void vly_mail_recycle(struct vly_core *core);

/* Raises the "asleep" flag; false, and not raised, if something has come meanwhile. */
bool vly_mail_arm_sleep(struct vly_core *core);
void vly_mail_disarm_sleep(struct vly_core *core);

/* The core closes: its ports' threads are told. */
void vly_mail_fini(struct vly_core *core);

/* On the core: copies a message into a ring. `place` is a core, or VLY_CORES_MAX + port. */
int vly_mail_put(struct vly_core *core, unsigned place, struct vly_ring *ring, const void *data,
		 uint32_t len);

#endif
