/* wire_impair.h - a wire around another that loses, doubles, delays, reorders and corrupts what comes */
#ifndef VLY_NIC_INET_WIRE_IMPAIR_H
#define VLY_NIC_INET_WIRE_IMPAIR_H

#include "nic/inet/wire.h"

/*
 * inet:impair,<wire>,...: what the wire below receives is impaired, what is sent is not: with both
 * ends around their wire, or a bridge with one around each of its two, each way is impaired once.
 *
 *	loss=P dup=P corrupt=P reorder=P	probabilities, 0 to 1: 0.01
 *	delay=US jitter=US			each frame comes that much later (jitter: up to so much more)
 *	late=US					a reordered frame is held back so long besides (200)
 *	limit=N					frames on their way at most (1024); what is more is lost
 *	up=MS,down=MS				the link is up and down in turns
 *	seed=N					of the nic: the same faults for the same frames at the same times
 *
 * Without reorder= no frame overtakes another. What it drops counts in rx_dropped.
 */
extern const struct vly_wire_ops vly_wire_impair;

#endif
