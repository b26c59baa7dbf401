/* wire_device.h - wires over a device of the kernel: a tap, or an interface by a packet socket */
#ifndef VLY_NIC_INET_WIRE_DEVICE_H
#define VLY_NIC_INET_WIRE_DEVICE_H

#include "nic/inet/wire.h"

/*
 * inet:tap,dev=NAME[,mtu=N,csum=offload,tso=0]: frames by way of /dev/net/tun. The kernel's end of the device
 * is its own host, with a MAC and addresses of its own; ours is 02:54:00:00:00:01, or 2 more for each core.
 * Needs CAP_NET_ADMIN, or a device made for the user. With csum=offload checksums are the kernel's, both ways,
 * and so is cutting, unless tso=0.
 *
 * inet:packet,dev=NAME: frames of an interface, such as one end of a veth, by a packet socket; our MAC
 * is the interface's, which should have no addresses. Needs CAP_NET_RAW. Frames whose checksum the
 * kernel has left to a device count as checked; larger ones than fit (generic offloads) are dropped:
 * ethtool -K NAME gro off, and tso off gso off on the other end.
 *
 * A system call for each frame: for talking with the kernel's TCP, not for speed. A frame that the
 * device has no room for is dropped and counted.
 */
extern const struct vly_wire_ops vly_wire_tap;
extern const struct vly_wire_ops vly_wire_packet;

#endif
