/* wire_dpdk.h - a wire over a port of DPDK's: a NIC of one's own, or one of its virtual devices */
#ifndef VLY_NIC_INET_WIRE_DPDK_H
#define VLY_NIC_INET_WIRE_DPDK_H

#include "nic/inet/wire.h"

/*
 * inet:dpdk,port=P[,eal="..."][,mtu=N][,queues=N][,rxd=N][,txd=N][,bufs=N][,csum=none|offload],ip=...
 *
 * Everything that knows DPDK is in a plugin of ours, volley-dpdk.so (nic/inet/dpdk/), which is opened
 * when the wire is first named: whoever does not name it loads nothing of DPDK. It is looked for in
 * $VOLLEY_PLUGIN_DIR, beside the program or library that holds this code, and where it was installed.
 */
extern const struct vly_wire_ops vly_wire_dpdk;

/*
 * What the driver of the port that `spec` names says about it, in lines of text: limits, offloads, and
 * the values that the wire would choose. Starts EAL and leaves it running. 0, or -errno with the
 * reason in `why`.
 */
int vly_wire_dpdk_describe(const struct vly_nic_spec *spec, char *text, size_t text_bytes,
			   char *why, size_t why_bytes);

#endif
