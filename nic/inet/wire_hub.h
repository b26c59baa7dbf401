/* wire_hub.h - a wire between the cores of one engine, every core a host of its own */
#ifndef VLY_NIC_INET_WIRE_HUB_H
#define VLY_NIC_INET_WIRE_HUB_H

#include "nic/inet/wire.h"

/*
 * inet:hub,ip=10.0.0.1/24[,mtu=1500][,csum=none|offload]: core i is a host with MAC
 * 02:00:00:00:00:<i>, all of them on one network. A ring for each ordered pair, a host's own
 * included; a frame whose ring is full waits at its sender, who is lent no more frames than may
 * wait: it back-pressures and drops nothing between hosts that are there. Broadcasts may be lost.
 * For tests and examples: it copies twice.
 */
extern const struct vly_wire_ops vly_wire_hub;

#endif
