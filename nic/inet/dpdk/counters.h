/* counters.h - what a port's device counts, asked for on a thread of DPDK's */
#ifndef VLY_NIC_INET_DPDK_COUNTERS_H
#define VLY_NIC_INET_DPDK_COUNTERS_H

#include <stdint.h>

#include "nic/counters.h"

#define VLY_DPDK_COUNT_US 1000000u /* between two readings */

/* The port is up: which counters it has. Under the lock of ports. */
void vly_dpdk_counters_name(uint16_t id);

/*
 * Asks the device. A NIC answers in some tens of microseconds, some drivers by a system call: no core waits for
 * it but one that closes. Under the lock of ports, or by a core that is inside the port.
 */
void vly_dpdk_counters_read(uint16_t id);

/* What was read last, into the fields port_* of a core's own stats. */
void vly_dpdk_counters_show(uint16_t id, struct vly_stats *stats);

/* By the driver's names; it lives as long as the process. */
const struct vly_counter_list *vly_dpdk_counters_list(uint16_t id);

#endif
