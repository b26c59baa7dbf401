/* host.c - the library's functions, as the plugin calls them */
#include "nic/inet/dpdk/host.h"

#include <stdarg.h>
#include <stdio.h>

static const struct vly_dpdk_host *host;

void vly_dpdk_host_set(const struct vly_dpdk_host *given)
{
	host = given;
}

void vly_log(enum vly_log_level level, const char *fmt, ...)
{
	char line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	host->log(level, line);
}

void *vly_region_take(struct vly_region *region, size_t bytes, size_t align)
{
	return host->region_take(region, bytes, align);
}
