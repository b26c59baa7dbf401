/* control.h - messages between the bench and its processes: a JSON object per line */
#ifndef VLY_BENCH_CONTROL_H
#define VLY_BENCH_CONTROL_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define CONTROL_MAGIC "volley-control"
#define CONTROL_VERSION 1
#define CONTROL_LINE_MAX (4u << 20) /* bytes of a message; a histogram takes some tens of KiB */

/* One end of a connected stream socket. */
struct control {
	int fd;   /* owned; -1: closed */
	char *in; /* bytes received, not yet taken */
	size_t in_len, in_size;
};

/* Takes `fd` (sends time out after 5 s so that a stuck peer cannot stop the bench). */
void control_init(struct control *control, int fd);

/* Closes and frees; twice is allowed. */
void control_fini(struct control *control);

/*
 * Takes `message` even on failure. 0, or -errno: -EPIPE (the peer is gone), -EAGAIN (it does not
 * read), -ENOMEM.
 */
int control_send(struct control *control, json_t *message);

/*
 * The next message, waiting up to `timeout_ns` (0: not at all; negative: for ever) for it. Returns
 * 1 and a new reference; 0 on time-out; -EPIPE once the peer has closed; -EPROTO for what is not a
 * JSON object or too long; -EINTR; -errno.
 */
int control_receive(struct control *control, json_t **message, int64_t timeout_ns);

/*
 * Sends our hello and waits for the peer's. `role` tells who we are; `peer_role` (may be NULL)
 * receives who they are. 0, or -errno with one line in `why`: -EPROTO (no volley, or one of another
 * version: both are named), -ETIMEDOUT, -EPIPE.
 */
int control_hello(struct control *control, const char *role, char *peer_role,
		  size_t peer_role_bytes, int64_t timeout_ns, char *why, size_t why_bytes);

/* The "type" of a message; "" if it has none. */
const char *control_type(const json_t *message);

/* Members with a default, so that a missing one is never an error of its own. */
int64_t control_int(const json_t *message, const char *key, int64_t fallback);
double control_real(const json_t *message, const char *key, double fallback);
const char *control_text(const json_t *message, const char *key, const char *fallback);

#endif
