/* plugin.h - what the library and its DPDK plugin tell each other */
#ifndef VLY_NIC_INET_DPDK_PLUGIN_H
#define VLY_NIC_INET_DPDK_PLUGIN_H

#include "base/log.h"
#include "nic/inet/wire.h"

/*
 * Both come from one build: the number changes with what crosses the border, and a plugin of another
 * build is refused.
 */
#define VLY_DPDK_PLUGIN_ABI                                                                        \
	(1000000u + (uint32_t)sizeof(struct vly_wire) * 10000u +                                   \
	 (uint32_t)sizeof(struct vly_wire_ops) * 100u + (uint32_t)sizeof(struct vly_config) +      \
	 (uint32_t)sizeof(struct vly_wire_setup) * 7u)

/* What the plugin calls in the library. Borrowed for ever. */
struct vly_dpdk_host {
	void (*log)(enum vly_log_level level, const char *line);
	void *(*region_take)(struct vly_region *region, size_t bytes, size_t align);
};

struct vly_dpdk_plugin {
	uint32_t abi;
	const struct vly_wire_ops *ops;
};

#define VLY_DPDK_PLUGIN_FILE "volley-dpdk.so"
#define VLY_DPDK_PLUGIN_ENTRY "vly_dpdk_plugin"

/* The one name that the plugin exports. */
const struct vly_dpdk_plugin *vly_dpdk_plugin(const struct vly_dpdk_host *host);

#endif
