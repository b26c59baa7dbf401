/* sleep.h - waiting of a core on frames, and watched descriptors */
#ifndef VLY_NIC_INET_SLEEP_H
#define VLY_NIC_INET_SLEEP_H

#include "nic/inet/stack.h"

/* 0 or -errno. */
int vly_inet_sleep_open(struct vly_inet *inet);
void vly_inet_sleep_close(struct vly_inet *inet);

/*
 * Waits until the wire, a wake-up, the embedding timer or a watched descriptor has something, at most
 * `timeout_ns` (negative: for ever); READY events of watched descriptors. A wire that cannot wake
 * anybody is not slept on.
 */
void vly_inet_sleep(struct vly_inet *inet, int64_t timeout_ns);

/*
 * Watched descriptors without waiting, a system call: a core that has frames to care for, or polls without
 * sleeping, looks no more often than this.
 */
#define VLY_INET_LOOK_NS 50000

/* Looks if it is time and there are any; always before the outer loop of an embedded core may sleep. */
void vly_inet_look(struct vly_inet *inet);

/* Polls readable when any of those has something; the wire is armed from now on. */
int vly_inet_sleep_fd(struct vly_inet *inet);

/*
 * Around a poll of an embedded core that does not wait: the wire is disarmed before it, and armed again
 * when it brought nothing.
 */
void vly_inet_embedded_begin(struct vly_inet *inet);
void vly_inet_embedded_end(struct vly_inet *inet);

/* The wire will wake us; false: there is work, and nothing is armed. */
bool vly_inet_arm(struct vly_inet *inet);

int vly_inet_watch_fd(struct vly_inet *inet, struct vly_conn_head *head, int fd, short poll_events);
void vly_inet_unwatch(struct vly_inet *inet, struct vly_conn_head *head, int status);

#endif
