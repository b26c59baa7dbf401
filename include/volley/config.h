/* config.h - limits and choices of an engine; everything is taken at start, nothing grows later */
#ifndef VOLLEY_CONFIG_H
#define VOLLEY_CONFIG_H

#include "volley/api.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum vly_idle {
	VLY_IDLE_ADAPTIVE = 0, /* spin for spin_ns, then sleep */
	VLY_IDLE_SLEEP = 1,    /* sleep at once: shares a CPU well, pays a wake-up per idle spell */
	VLY_IDLE_BUSY = 2,     /* never sleep: the CPU belongs to the core */
};

/* Limits are per core. Fill it with vly_config_init(), then change what you need. */
struct vly_config {
	/*
	 * "auto" (uring where the kernel allows it, else epoll), "epoll", ...: see vly_nic_name()
	 */
	const char *nic;
	unsigned cores; /* 1..256 */
	/*
	 * CPU of each core, "2-5,8"; NULL: one hardware thread per physical core, chosen by
	 * topology
	 */
	const char *cpus;
	/* choose CPUs of this node only; -1: any. Ignored if `cpus` is given */
	int numa_node;
	bool allow_overlap; /* more cores than CPUs, or a CPU named twice */
	bool pin;           /* vly_run pins each core's thread to its CPU */
	enum vly_idle idle;
	uint64_t spin_ns; /* VLY_IDLE_ADAPTIVE: how long an idle core spins before it sleeps */

	/* connections, listeners, UDP sockets and watched descriptors; at most 2^26 - 1 */
	uint32_t conns_max;
	uint32_t timers_max; /* timers running at once */
	uint32_t events_max; /* events per batch, 16..65536 */
	uint32_t burst_max;  /* events of one connection per batch while others are ready */
	/* received bytes of one connection per batch while others are ready */
	uint32_t burst_bytes;

	uint32_t tx_bufs;      /* send buffers */
	uint32_t tx_buf_bytes; /* payload bytes of a send buffer */
	/* pieces of vly_send_owned and vly_send_event that may wait to be sent */
	uint32_t tx_refs;
	/* bytes that one connection may queue; sends beyond it return -EAGAIN */
	uint32_t tx_budget;
	uint32_t rx_bufs;      /* receive buffers, at least 4 */
	uint32_t rx_buf_bytes; /* bytes of a receive buffer: the longest DATA event */
	/* longest datagram received whole, at most rx_buf_bytes; 0: that, but no more than 9216 */
	uint32_t dgram_max;
	uint32_t hold_slots; /* small slices that vly_hold may copy aside */
	uint32_t hold_bytes; /* bytes of such a slice; longer ones pin their receive buffer */

	/* messages waiting from one core to another, or in a port; a power of two */
	uint32_t mail_slots;
	uint32_t mail_bytes; /* bytes of a mail; default 56 */
	uint32_t ports_max;  /* foreign threads joined by vly_port_open, at most 64 */

	int backlog; /* of listeners; the kernel cuts it to net.core.somaxconn */
	/* vly_close: how long the peer may take to read the rest and to close */
	uint64_t close_timeout_ns;
	/* vly_run: how long connections may take to close after vly_stop */
	uint64_t stop_timeout_ns;
	bool stop_on_signals; /* vly_run: SIGINT and SIGTERM call vly_stop */
	bool huge_pages;      /* try 2 MiB pages */
	bool lock_memory;     /* try mlock: a refusal is logged, not fatal */
};

/* Sane defaults: one core, nic "auto", 16,384 connections, adaptive idling. */
VLY_API void vly_config_init(struct vly_config *config);

/* One addend of a core's memory. */
struct vly_plan_item {
	const char *what;    /* static text */
	uint64_t count;      /* objects */
	uint64_t each_bytes; /* bytes of one, padding included */
	uint64_t bytes;      /* count * each_bytes, aligned as taken */
};

#define VLY_PLAN_ITEMS 16

/* What opening would take. */
struct vly_plan {
	unsigned items_count;
	struct vly_plan_item items[VLY_PLAN_ITEMS];
	/*
	 * sum of items: what one core takes from its region; vly_stats reports the same after
	 * opening
	 */
	uint64_t core_bytes;
	uint64_t conn_bytes;   /* of that, per connection: everything that scales with conns_max */
	uint64_t shared_bytes; /* mail and ports, all cores */
	uint64_t total_bytes;  /* cores * core_bytes + shared_bytes */
};

/*
 * Checks the config and computes the memory that opening would take; opens nothing. 0, or -EINVAL
 * with a log line.
 */
VLY_API VLY_MUST_USE int vly_config_plan(const struct vly_config *config, struct vly_plan *plan);

/* Name of nic number `index` built into the library ("epoll", ...), NULL past the last. */
VLY_API const char *vly_nic_name(unsigned index);

/*
 * Whether this machine lets `nic` (a full specification) run now: 0, or -errno with the reason and
 * the way out in `why`.
 */
VLY_API VLY_MUST_USE int vly_nic_check(const char *nic, char *why, size_t why_bytes);

/*
 * What the device that `nic` names says about itself, and each setting that would be chosen for it with where it comes
 * from: lines of text. 0, or -errno with the reason in `why`: -ENOTSUP for nics over no device of their own. Opens a port
 * of DPDK's as far as asking takes, so DPDK runs in this process from now on.
 */
VLY_API VLY_MUST_USE int vly_nic_describe(const char *nic, char *text, size_t text_bytes, char *why,
					  size_t why_bytes);

/* One part of the operating system that a nic uses where it is there. */
struct vly_nic_feature {
	const char *name;   /* as the nic's own switch in the environment names it */
	const char *kernel; /* what it takes, "6.12" */
	const char *worth;  /* what it is good for, one line of text */
	bool present;       /* it works here: it was tried */
	bool used;          /* and it was not switched off */
};

/* The features of nic `name` ("uring"), tried now if they were not yet; static. NULL and 0 for a nic that has none. */
VLY_API const struct vly_nic_feature *vly_nic_features(const char *name, unsigned *count);

#ifdef __cplusplus
}
#endif

#endif
