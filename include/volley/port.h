/* port.h - joins one foreign thread to one core: two SPSC rings and a wake-up */
#ifndef VOLLEY_PORT_H
#define VOLLEY_PORT_H

#include "volley/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vly_port;

/*
 * Opens a port between core `core` and one foreign thread. Any thread, before or after the core is
 * open. Its rings hold mail_slots messages of mail_bytes each. -ENOENT (no such core), -ENOBUFS
 * (ports_max are open), -EMFILE.
 */
VLY_API VLY_MUST_USE int vly_port_open(struct vly_engine *engine, unsigned core,
				       struct vly_port **port);

/*
 * Foreign thread. Messages not taken yet are lost; the core sees no more of the port. Before
 * vly_engine_close. NULL is allowed.
 */
VLY_API void vly_port_close(struct vly_port *port);

/*
 * The index that the core knows the port by: MAIL and DRAINED carry it in `aux`, with
 * VLY_FROM_PORT.
 */
VLY_API unsigned vly_port_index(const struct vly_port *port);

/*
 * Foreign thread: one message to the core, where it arrives as MAIL. 0; -EAGAIN (full:
 * vly_port_wait returns when there is room); -EMSGSIZE; -ENOTCONN once the core is closed; -ECHILD.
 */
VLY_API int vly_port_post(struct vly_port *port, const void *data, uint32_t len);

/*
 * Foreign thread: the oldest message from the core, valid until the next take. Its length, or
 * -EAGAIN when there is none.
 */
VLY_API int vly_port_take(struct vly_port *port, const void **data);

/*
 * Foreign thread: waits until there is a message to take, or room after a failed post. 1; 0 on
 * time-out; -EINTR; -ENOTCONN.
 */
VLY_API int vly_port_wait(struct vly_port *port, int64_t timeout_ns);

/*
 * A descriptor that is readable when vly_port_wait would return at once, after that had been called
 * with timeout 0 and returned 0.
 */
VLY_API int vly_port_fd(struct vly_port *port);

/*
 * On the core: one message to the foreign thread of port `index`. -EAGAIN (full: DRAINED follows),
 * -EMSGSIZE, -ENOENT (not open).
 */
VLY_API int vly_port_send(struct vly_core *core, unsigned index, const void *data, uint32_t len);

#ifdef __cplusplus
}
#endif

#endif
