/* cc.h - congestion control: how the window grows and by how much a loss cuts it */
#ifndef VLY_NIC_INET_CC_H
#define VLY_NIC_INET_CC_H

#include <stdint.h>

struct vly_tcp;
struct vly_side;

/*
 * Windows in bytes, times in ticks of 1.024 us. Slow start and the actions of recovery are common
 * (tcp_ack.c); these are what differs.
 */
struct vly_cc_ops {
	const char *name;
	/* `bytes` were acknowledged in congestion avoidance, while the window was what limited us. */
	void (*acked)(struct vly_tcp *tcp, struct vly_side *side, uint32_t bytes, uint32_t now);
	/* A loss: the new ssthresh for a window of `cwnd`. */
	uint32_t (*cut)(struct vly_tcp *tcp, struct vly_side *side, uint32_t cwnd, uint32_t now);
};

extern const struct vly_cc_ops vly_cc_newreno;
extern const struct vly_cc_ops vly_cc_cubic;

/* "newreno", "cubic"; or NULL. */
const struct vly_cc_ops *vly_cc_find(const char *name);

#endif
