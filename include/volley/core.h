/* core.h - polling a core and everything done on it, on the thread that opened it */
#ifndef VOLLEY_CORE_H
#define VOLLEY_CORE_H

#include "volley/event.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vly_core;
struct vly_engine;

/*
 * Flushes what was queued, then waits up to `timeout_ns` (0: do not wait; negative: for ever) for
 * completions.
 *
 * Returns their count, and their array in `*events`: it belongs to the core and lives, with all
 * data that it points to, until the next poll. Returns 0 on time-out and after vly_wake or
 * vly_stop, -ECHILD in a forked child. Inside vly_run's callbacks it returns -EBUSY: a poll there
 * would take away the array that the callback is still reading.
 */
VLY_API int vly_poll(struct vly_core *core, struct vly_event **events, int64_t timeout_ns);

/* Sends everything queued now instead of at the next poll. 0, or -ECHILD. */
VLY_API int vly_flush(struct vly_core *core);

/* Index of the core in its engine, its engine, and whether vly_stop was called. */
VLY_API unsigned vly_core_index(const struct vly_core *core);
VLY_API struct vly_engine *vly_core_engine(const struct vly_core *core);
VLY_API bool vly_stopping(const struct vly_core *core);

/* The clock of stamp_ns, read now: CLOCK_MONOTONIC in nanoseconds. */
VLY_API uint64_t vly_now_ns(void);

/*
 * A descriptor that polls readable when vly_poll has something to return, to embed the core in
 * another loop. Once this was called, a zero-timeout poll that returns 0 has armed the descriptor,
 * timers included. Owned by the core. Or -errno.
 */
VLY_API int vly_core_fd(struct vly_core *core);

/* ---- opening ---- */

struct vly_listen_opts {
	int backlog;        /* 0: the config's */
	uint32_t tx_budget; /* of accepted connections; 0: the config's */
	/*
	 * share the port with other processes; an engine of several cores always shares it among
	 * them
	 */
	bool reuse_port;
	int unix_mode; /* permissions of a Unix socket's path; 0: as the umask says */
};

/*
 * Accepts stream connections on `addr`. On several cores: call it on each with the same port; the
 * kernel spreads connections. Port 0: vly_name() tells the port. A stale Unix path that nobody
 * listens on is replaced. `opts` may be NULL. Returns 0 and the listener's handle, or -errno at
 * once: -EADDRINUSE, -EACCES, -EADDRNOTAVAIL, -EMFILE, -ENOBUFS (no slot).
 */
VLY_API VLY_MUST_USE int vly_listen(struct vly_core *core, const struct vly_addr *addr,
				    const struct vly_listen_opts *opts, void *user,
				    vly_conn *listener);

/*
 * Stops accepting at once and removes a Unix path; accepted connections live on. There is no
 * CLOSED. 0, -ENOTCONN, -EXDEV.
 */
VLY_API int vly_unlisten(struct vly_core *core, vly_conn listener);

/*
 * Starts a connection, from local address `from` unless NULL (its port may be 0). Returns 0, and
 * exactly one OPEN follows, with a status; or -errno at once and no event: -ENOBUFS (no slot),
 * -EMFILE, -EINVAL, -EAFNOSUPPORT. Sends before OPEN return -ENOTCONN.
 */
VLY_API VLY_MUST_USE int vly_connect(struct vly_core *core, const struct vly_addr *to,
				     const struct vly_addr *from, void *user, vly_conn *conn);

/*
 * Opens a UDP socket bound to `addr` (port 0: any). No OPEN follows; vly_close ends it with CLOSED.
 * Errors as vly_listen.
 */
VLY_API VLY_MUST_USE int vly_udp_open(struct vly_core *core, const struct vly_addr *addr,
				      void *user, vly_conn *conn);

/*
 * Reports READY in every batch while descriptor `fd` has one of `poll_events` (POLLIN, POLLOUT,
 * ...) or an error; over inet at most every 50 us while the core does not sleep, as looking would be
 * its only system call. `fd` stays the caller's, who closes it after vly_close(conn); CLOSED follows
 * that. -EEXIST if watched already, -EPERM for regular files.
 */
VLY_API VLY_MUST_USE int vly_watch_fd(struct vly_core *core, int fd, short poll_events, void *user,
				      vly_conn *conn);

/* Attaches a pointer to be returned as event->user. -ENOTCONN, -EXDEV. */
VLY_API int vly_set_user(struct vly_core *core, vly_conn conn, void *user);

/*
 * Local and peer address; either pointer may be NULL. -ENOTCONN, -EXDEV; a peer that is not there
 * has family VLY_NO_FAMILY.
 */
VLY_API int vly_name(struct vly_core *core, vly_conn conn, struct vly_addr *local,
		     struct vly_addr *peer);

/* ---- sending ---- */

/*
 * Sends never block and never send a part: all of it is queued and leaves at the next poll, or
 * vly_flush.
 *
 *   0           queued
 * -EAGAIN     the connection's budget or the core's pool is full; every send on it fails until the
 * poll that returns its one DRAINED -EMSGSIZE   longer than the budget, or than the pool could ever
 * hold -ENOTCONN   stale handle, not open yet, or closed -EPIPE      after vly_shutdown -EXDEV
 * another core's connection -EINVAL     not a stream (use vly_sendto), or a negative count -ECHILD
 * in a forked child
 *
 * vly_send and vly_sendv copy. An empty message is 0 and nothing.
 */
VLY_API int vly_send(struct vly_core *core, vly_conn conn, const void *data, uint32_t len);
VLY_API int vly_sendv(struct vly_core *core, vly_conn conn, const struct iovec *iov, int iov_count);

/*
 * Borrows the memory until the one SENT that carries `cookie`. It comes whatever happens to the
 * connection, before its CLOSED.
 */
VLY_API int vly_send_owned(struct vly_core *core, vly_conn conn, const void *data, uint32_t len,
			   void *cookie);

/*
 * Sends the data of a DATA or DGRAM event of this batch, or of a held one, without copying where
 * that is cheaper.
 */
VLY_API int vly_send_event(struct vly_core *core, vly_conn conn, const struct vly_event *event);

/* One datagram. Errors as vly_send; -EMSGSIZE above 65,507 bytes, 64 send buffers or the budget. */
VLY_API int vly_sendto(struct vly_core *core, vly_conn udp, const struct vly_addr *to,
		       const void *data, uint32_t len);

/* ---- closing ---- */

/* Half-close: what was accepted is sent, then FIN; receiving goes on. -ENOTCONN, -EXDEV. */
VLY_API int vly_shutdown(struct vly_core *core, vly_conn conn);

/*
 * Orderly close: everything accepted is sent, then FIN; input is discarded until the peer's EOF;
 * then CLOSED 0. After close_timeout_ns a reset and CLOSED -ETIMEDOUT. Later DATA, EOF and DRAINED
 * of it in the current batch become NONE. On a connection that is not open yet: its OPEN carries
 * -ECANCELED. 0, -ENOTCONN, -EXDEV, -EINVAL for a listener.
 */
VLY_API int vly_close(struct vly_core *core, vly_conn conn);

/* Resets at once: what is queued is dropped, CLOSED -ECONNABORTED follows. */
VLY_API int vly_abort(struct vly_core *core, vly_conn conn);

/* ---- receiving ---- */

/*
 * Stops and resumes DATA and EOF (DGRAM): the peer is slowed down by flow control. What is in the
 * current batch stays. -EINVAL for what is neither a stream nor a UDP socket.
 */
VLY_API int vly_pause(struct vly_core *core, vly_conn conn);
VLY_API int vly_resume(struct vly_core *core, vly_conn conn);

/*
 * Keeps event->data valid past the next poll, until vly_release(event->buf). May replace
 * event->data and event->buf: small slices are copied aside, so that 64 bytes never pin a large
 * buffer. 0, -EINVAL (not DATA or DGRAM), -ENOBUFS when all slices and pins are taken.
 */
VLY_API int vly_hold(struct vly_core *core, struct vly_event *event);

/* Gives a held buffer back. -EINVAL if `buf` is not held. */
VLY_API int vly_release(struct vly_core *core, uint32_t buf);

/* ---- timers and neighbours ---- */

typedef uint64_t vly_timer; /* 0 is never valid */

/*
 * One TIMER event after `delay_ns`, never early, some 66 us late at most on a core that is polled.
 * -ENOBUFS when timers_max run.
 */
VLY_API VLY_MUST_USE int vly_timer_start(struct vly_core *core, uint64_t delay_ns, void *user,
					 vly_timer *timer);

/*
 * No event after this: one in the current batch becomes NONE. -ENOENT if it was never started, has
 * fired or was cancelled.
 */
VLY_API int vly_timer_cancel(struct vly_core *core, vly_timer timer);

/*
 * Copies up to mail_bytes to another core of the engine (or this one), where they arrive as MAIL,
 * in order. -EAGAIN when its ring is full: DRAINED with conn 0 and aux = `to` follows. -EMSGSIZE,
 * -ENOENT (no such core).
 */
VLY_API int vly_mail(struct vly_core *core, unsigned to, const void *data, uint32_t len);

#ifdef __cplusplus
}
#endif

#endif
