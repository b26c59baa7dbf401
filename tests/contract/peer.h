/* peer.h - peers that misbehave: plain kernel sockets, which know nothing of the engine */
#ifndef VLY_TESTS_CONTRACT_PEER_H
#define VLY_TESTS_CONTRACT_PEER_H

#include "tests/contract/harness.h"

/*
 * A blocking socket connected to an IPv4 address, or -1. For forked children, too: it makes no
 * assertion, since Criterion's would speak for the parent.
 */
int peer_dial(const struct vly_addr *to);

/* A socket without O_NONBLOCK that is connected to w->addr (IPv4); the engine need not poll. */
int peer_connect(const struct world *w);

/* The same, and SERVER has accepted it: the handle in `*conn`. */
int peer_link(struct world *w, vly_conn *conn);

/* Closes with SO_LINGER 0: the other end sees a reset. */
void peer_reset(int fd);

/* Sends all of it, however long that takes. */
void peer_send(int fd, const void *data, size_t len);

/* What is there now: its length, 0 at the end, -EAGAIN if nothing, or -errno. */
int peer_take(int fd, void *data, size_t len);

/* Waits for `len` bytes while the world is polled. */
void peer_expect(struct world *w, int fd, void *data, size_t len);

/* Waits for an orderly end. */
void peer_expect_end(struct world *w, int fd);

/* World with a listening SERVER. */
void peer_world(struct world *w);

#endif
