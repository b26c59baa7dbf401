/* describe.h - what a port's driver says about it, in lines of text */
#ifndef VLY_NIC_INET_DPDK_DESCRIBE_H
#define VLY_NIC_INET_DPDK_DESCRIBE_H

#include "nic/inet/wire.h"

/* The wire's operations, wire.c. */
extern const struct vly_wire_ops vly_dpdk_ops;

/* As vly_wire_dpdk_describe(). */
int vly_dpdk_describe(const struct vly_nic_spec *spec, char *text, size_t text_bytes, char *why,
		      size_t why_bytes);

#endif
