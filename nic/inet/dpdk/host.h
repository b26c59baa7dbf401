/* host.h - the library's functions, as the plugin calls them */
#ifndef VLY_NIC_INET_DPDK_HOST_H
#define VLY_NIC_INET_DPDK_HOST_H

#include "nic/inet/dpdk/plugin.h"

/* Makes vly_log() and vly_region_take() of this plugin those of the library that opened it. */
void vly_dpdk_host_set(const struct vly_dpdk_host *host);

#endif
