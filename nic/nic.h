/* nic.h - the contract of everything that moves bytes in and out of a core */
#ifndef VLY_NIC_NIC_H
#define VLY_NIC_NIC_H

#include <stddef.h>
#include <stdint.h>

#include "nic/env.h"
#include "nic/spec.h"
#include "volley/core.h"

struct vly_nic;

/*
 * Everything is called on the core's own thread. Per batch the engine calls one `flush` and one
 * `poll`; it queues sends, sets flags and states itself (nic/conn.h) and marks the record dirty,
 * and `flush` brings the outside world into line with them. So a connection's whole life needs few
 * operations, and a nic never calls back.
 */
struct vly_nic_ops {
	const char *name;
	/* of a record: struct vly_conn_head first; a multiple of the cache line */
	size_t conn_bytes;
	/* what region_bytes() grows by with each connection; 0 for most */
	size_t conn_more_bytes;
	/*
	 * It keeps the alarms of streams to itself, and so ends by itself, with -ETIMEDOUT, what is
	 * still VLY_CLOSING after close_timeout_ns.
	 */
	bool own_alarm;
	bool by_name_only; /* "auto" passes it by */

	/*
	 * Whether this machine lets it run: 0, or -errno with the reason and the way out in `why`.
	 * Opens nothing that stays.
	 */
	int (*check)(const struct vly_nic_spec *spec, char *why, size_t why_bytes);
	/* Bytes that `open` will take from the region, beyond the records. */
	size_t (*region_bytes)(const struct vly_config *config, const struct vly_nic_spec *spec);
	/* Takes everything it will ever need. Logs the reason of an error. */
	int (*open)(struct vly_env *env, const struct vly_nic_spec *spec, struct vly_nic **nic);
	/* Closes what is still open, without events. */
	void (*close)(struct vly_nic *nic);

	/*
	 * The record is VLY_OPENED (connect: VLY_CONNECTING). An error leaves nothing behind and
	 * produces no event.
	 */
	int (*listen)(struct vly_nic *nic, struct vly_conn_head *conn, const struct vly_addr *addr,
		      const struct vly_listen_opts *opts);
	int (*connect)(struct vly_nic *nic, struct vly_conn_head *conn, const struct vly_addr *to,
		       const struct vly_addr *from);
	int (*udp_open)(struct vly_nic *nic, struct vly_conn_head *conn,
			const struct vly_addr *addr);
	int (*watch)(struct vly_nic *nic, struct vly_conn_head *conn, int fd, short poll_events);
	int (*name_of)(struct vly_nic *nic, struct vly_conn_head *conn, struct vly_addr *local,
		       struct vly_addr *peer);

	/*
	 * `flush` gets all that is dirty as it is, VLY_F_DIRTY still set and the dead among them, and clears
	 * and skips them itself: it goes through the list anyway.
	 */
	bool flush_raw;
	/*
	 * Brings each record into line: sends what is queued; after it FIN if VLY_F_SHUT; carries a
	 * VLY_CLOSING one on towards its end; stops or resumes reading if VLY_F_PAUSED has changed. Reports
	 * by vly_env_tx_done() and vly_env_dead(), never into the batch.
	 */
	void (*flush)(struct vly_nic *nic, struct vly_conn_head **conns, uint32_t count);
	/*
	 * Resets and lets go, by vly_env_dead(conn, status). Any type but a listener, any state but
	 * VLY_DEAD.
	 */
	void (*abort)(struct vly_nic *nic, struct vly_conn_head *conn, int status);
	/* Lets go of a listener at once; no event. The engine retires the record. */
	void (*unlisten)(struct vly_nic *nic, struct vly_conn_head *conn);
	/* A VLY_ALARM_NIC alarm that the nic had armed; NULL: a VLY_ALARM_NIC_OWN one. */
	void (*alarm)(struct vly_nic *nic, struct vly_conn_head *conn);

	/*
	 * Fills the batch as far as there is room, waiting up to `timeout_ns` (negative: for ever)
	 * if it is empty; returns early when env->wake_fd is written. Sets batch.stamp_ns.
	 */
	void (*poll)(struct vly_nic *nic, int64_t timeout_ns);
	/* Whether a poll would find work without waiting: the core must not sleep. */
	bool (*has_work)(struct vly_nic *nic);
	/*
	 * A descriptor that polls readable when `poll` has something; it covers env->wake_fd and
	 * env->timer_fd.
	 */
	int (*poll_fd)(struct vly_nic *nic);

	/* The rest may be NULL. */

	/* Hands over at once what `flush` has prepared: vly_flush. NULL: flush itself does. */
	void (*push)(struct vly_nic *nic);
	/*
	 * Waking a sleeping neighbour with no system call of its own. `bell` names what others of its
	 * kind can ring: a descriptor of the nic's. `ring` rings another's with the next hand-over,
	 * which the caller has about to come (poll or push); should that fail, it writes that core's `wake_fd`. False:
	 * not now, the caller writes it. Both or none; bell < 0: no bell.
	 */
	int (*bell)(struct vly_nic *nic);
	bool (*ring)(struct vly_nic *nic, int bell_fd, int wake_fd);
	/*
	 * Ends what `abort` has begun, waiting for it: no record is in the nic's hands any more.
	 * Called once, after the core has aborted everything and before `close`. NULL: abort itself does.
	 */
	void (*settle)(struct vly_nic *nic);
	/* Parts of the operating system that it uses where they are there; static. */
	const struct vly_nic_feature *(*features)(unsigned *count);
	/* As vly_nic_describe(). */
	int (*describe)(const struct vly_nic_spec *spec, char *text, size_t text_bytes, char *why,
			size_t why_bytes);
};

struct vly_nic {
	const struct vly_nic_ops *ops;
	struct vly_env *env;
};

/* The nic number `index` built into the library, NULL past the last. */
const struct vly_nic_ops *vly_nic_at(unsigned index);

/*
 * Parses `text` and finds its nic; "auto" becomes the best one that this machine allows. 0, or
 * -EINVAL / -ENOTSUP with the reason in `why`.
 */
int vly_nic_resolve(const char *text, struct vly_nic_spec *spec, const struct vly_nic_ops **ops,
		    char *why, size_t why_bytes);

#endif
