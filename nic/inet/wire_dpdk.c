/* wire_dpdk.c - opening the plugin that knows DPDK, when its wire is named */
#include "nic/inet/wire_dpdk.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "nic/inet/dpdk/plugin.h"

#ifndef VOLLEY_PLUGIN_DIR
#define VOLLEY_PLUGIN_DIR "/usr/local/lib/volley"
#endif

#define REMEDY "apt install libdpdk-dev, then build again (make build)"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct vly_dpdk_plugin *plugin;

static void host_log(enum vly_log_level level, const char *line)
{
	vly_log(level, "%s", line);
}

static const struct vly_dpdk_host host = {
	.log = host_log,
	.region_take = vly_region_take,
};

/* The folder that `file` is in; empty if there is none. */
static void folder_of(const char *file, char folder[PATH_MAX])
{
	folder[0] = '\0';
	if (!realpath(file, folder)) {
		folder[0] = '\0';
		return;
	}
	*strrchr(folder, '/') = '\0';
}

/* Where the plugin is: 0, or -ENOENT. */
static int find(char *path, size_t path_bytes)
{
	char library[PATH_MAX] = "", program[PATH_MAX];
	Dl_info info;

	/* of the program itself the name is whatever it was called by */
	if (dladdr(&host, &info) && info.dli_fname)
		folder_of(info.dli_fname, library);
	folder_of("/proc/self/exe", program);
	const char *const folders[] = {getenv("VOLLEY_PLUGIN_DIR"), library, program,
				       VOLLEY_PLUGIN_DIR};

	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		if (!folders[i] || !*folders[i])
			continue;
		snprintf(path, path_bytes, "%s/%s", folders[i], VLY_DPDK_PLUGIN_FILE);
		if (access(path, R_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

static int load_locked(char *why, size_t why_bytes)
{
	typedef const struct vly_dpdk_plugin *entry_fn(const struct vly_dpdk_host *);
	char path[PATH_MAX];

	if (plugin)
		return 0;
	if (find(path, sizeof(path))) {
		snprintf(why, why_bytes, "wire dpdk is not in this build: " REMEDY);
		return -ENOTSUP;
	}
	/* Never closed: EAL has threads. */
	void *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!handle) {
		snprintf(why, why_bytes, "wire dpdk does not load: %s; " REMEDY, dlerror());
		return -ENOTSUP;
	}
	entry_fn *entry = (entry_fn *)(uintptr_t)dlsym(handle, VLY_DPDK_PLUGIN_ENTRY);
	const struct vly_dpdk_plugin *found = entry ? entry(&host) : NULL;

	if (!found || found->abi != VLY_DPDK_PLUGIN_ABI) {
		snprintf(why, why_bytes, "%s is of another build of volley: build and install both",
			 path);
		return -ENOTSUP;
	}
	plugin = found;
	return 0;
}

static int load(char *why, size_t why_bytes)
{
	pthread_mutex_lock(&lock);
	int error = load_locked(why, why_bytes);

	pthread_mutex_unlock(&lock);
	return error;
}

static int dpdk_check(const struct vly_nic_spec *spec, const struct vly_wire_ops *const *stack,
		      char *why, size_t why_bytes)
{
	int error = load(why, why_bytes);

	return error ? error : plugin->ops->check(spec, stack, why, why_bytes);
}

static size_t dpdk_region_bytes(const struct vly_config *config, const struct vly_nic_spec *spec,
				const struct vly_wire_ops *const *stack)
{
	char why[256];

	return load(why, sizeof(why)) ? 0 : plugin->ops->region_bytes(config, spec, stack);
}

static int dpdk_queues(const struct vly_wire_setup *setup)
{
	char why[512];
	int error = load(why, sizeof(why));

	if (error && vly_wire_may_tell(setup))
		vly_log(VLY_LOG_ERROR, "%s", why);
	return error ? error : plugin->ops->queues(setup);
}

static int dpdk_open(const struct vly_wire_setup *setup, struct vly_wire **wire)
{
	char why[512];
	int error = load(why, sizeof(why));

	if (error) {
		if (vly_wire_may_tell(setup))
			vly_log(VLY_LOG_ERROR, "%s", why);
		return error;
	}
	return plugin->ops->open(setup, wire);
}

int vly_wire_dpdk_describe(const struct vly_nic_spec *spec, char *text, size_t text_bytes,
			   char *why, size_t why_bytes)
{
	int error = load(why, why_bytes);

	return error ? error : plugin->ops->describe(spec, text, text_bytes, why, why_bytes);
}

static const char *const keys[] = {"port",   "eal", "mtu", "csum", "tso",
				   "queues", "rxd", "txd", "bufs", NULL};

/* Opened, a wire has the plugin's own operations. */
const struct vly_wire_ops vly_wire_dpdk = {
	.name = "dpdk",
	.keys = keys,
	.check = dpdk_check,
	.region_bytes = dpdk_region_bytes,
	.queues = dpdk_queues,
	.open = dpdk_open,
	.describe = vly_wire_dpdk_describe,
};
