/* preflight.c - what a run needs of this machine, checked before anything starts */
#include "bench/preflight.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/descriptors.h"
#include "bench/own_stack.h"
#include "bench/sockname.h"
#include "bench/sysfile.h"
#include "bench/thread_limits.h"
#include "volley/config.h"

#define LOAD_FDS_BASE 64     /* stdio, control, libraries */
#define LOAD_FDS_PER_CORE 16 /* epoll, eventfd, timers of a core */
#define FDS_SPARE 128        /* above every row's fds_base and what some load cores need */
#define BACKLOG_ENOUGH 128   /* connects that the load generator has under way at once, with room */
#define PORTS_FIRST 10000    /* below live well-known services */
#define PORT_TRIES 200
#define PORTS_MAX 64512 /* 1024 to 65535 */

/* Who holds connections, and in how many tables of descriptors: the limit is one table's. */
struct holder {
	const char *name;
	const char *option; /* that makes more tables; NULL: none does */
	uint64_t base;      /* descriptors of each table beside connections */
	unsigned int tables;
	bool hashed; /* connections are spread by chance, not evenly */
};

/* Descriptors of the fullest table. */
static uint64_t fullest(const struct holder *holder, uint32_t connections)
{
	uint64_t share = (connections + holder->tables - 1) / holder->tables;

	return holder->base + share + (holder->hashed && holder->tables > 1 ? share / 8 : 0);
}

static int check_descriptors(const struct holder *holder, uint32_t connections, char *why,
			     size_t why_bytes)
{
	uint64_t limit = descriptors_raise();
	uint64_t ceiling = UINT64_MAX;
	uint64_t needed = fullest(holder, connections);
	char first[64] = "", more[64] = "";

	if (needed <= limit)
		return 0;
	(void)sysfile_u64("/proc/sys/fs/nr_open", &ceiling);
	/* Server and load generator have the same limit: what is proposed satisfies both. */
	uint64_t wanted = (uint64_t)connections + FDS_SPARE;
	if (wanted > ceiling)
		snprintf(first, sizeof(first), "sysctl -w fs.nr_open=%" PRIu64 "; ", wanted);
	if (holder->option)
		snprintf(more, sizeof(more), ", name more --%s (the limit counts for each)",
			 holder->option);
	snprintf(why, why_bytes,
		 "descriptors: the limit is %" PRIu64 " (hard RLIMIT_NOFILE), %s needs %" PRIu64
		 " for %u connections; as root: %sprlimit --pid $$ --nofile=%" PRIu64 ":%" PRIu64
		 "%s, or take --connections %" PRIu64 " or fewer",
		 limit, holder->name, needed, connections, first, wanted, wanted, more,
		 limit > FDS_SPARE ? (limit - FDS_SPARE) * holder->tables : 0);
	return -EMFILE;
}

/* Where each connection has a thread, with one that accepts. */
static int check_threads(const struct variant *variant, uint32_t connections, char *why,
			 size_t why_bytes)
{
	struct thread_limits limits;

	if (!variant->thread_per_conn)
		return 0;
	thread_limits_read(&limits);
	return thread_limits_check(&limits, variant->name, (uint64_t)connections + 1, why,
				   why_bytes);
}

int preflight_server(const struct variant *variant, const struct variant_setting *setting,
		     char *why, size_t why_bytes)
{
	bool tables = variant->table_per_cpu && descriptors_unshare();
	const struct holder holder = {
		.name = variant->name,
		.option = tables ? "server-cpus" : NULL,
		.base = variant->fds_base,
		.tables = tables && setting->cpus->count ? setting->cpus->count : 1,
		.hashed = true,
	};
	int err = variant->check(variant, setting, why, why_bytes);

	if (err)
		return err;
	/*
	 * A program of one's own may be several processes: it fails by itself if it lacks some. Over a wire
	 * in memory a connection has none.
	 */
	if (!variant->exec && !variant->loop && !(variant->nic && bench_own_stack(variant->nic)))
		err = check_descriptors(&holder, setting->connections, why, why_bytes);
	return err ? err : check_threads(variant, setting->connections, why, why_bytes);
}

static int check_ports(const struct load_options *options, char *why, size_t why_bytes)
{
	uint32_t connections = options->connections;
	uint32_t sources = options->shape.sources.count ? options->shape.sources.count : 1;
	uint64_t ports = load_shape_ports();
	uint64_t needed = (uint64_t)connections / sources + (connections % sources != 0);
	char more[96];

	if (needed <= ports)
		return 0;
	snprintf(more, sizeof(more),
		 "%s spread over %" PRIu64 " local addresses with --source-ip A-B",
		 needed <= PORTS_MAX ? ", or" : "", (uint64_t)connections / ports + 1);
	snprintf(why, why_bytes,
		 "ports: net.ipv4.ip_local_port_range gives each local address %" PRIu64
		 " ports, %u connections from %u address%s need %" PRIu64 "; %s%s",
		 ports, connections, sources, sources > 1 ? "es" : "", needed,
		 needed <= PORTS_MAX
			 ? "as root: sysctl -w net.ipv4.ip_local_port_range='1024 65535'"
			 : "",
		 more);
	return -EADDRNOTAVAIL;
}

/* Connection tracking drops what does not fit, which looks like a dead server. */
static int check_conntrack(uint32_t connections, char *why, size_t why_bytes)
{
	uint64_t max, count;

	if (sysfile_u64("/proc/sys/net/netfilter/nf_conntrack_max", &max) != 0 ||
	    sysfile_u64("/proc/sys/net/netfilter/nf_conntrack_count", &count) != 0 ||
	    count + connections <= max)
		return 0;
	snprintf(
		why, why_bytes,
		"connection tracking: net.netfilter.nf_conntrack_max is %" PRIu64 ", %" PRIu64
		" entries are taken and %u more needed; as root: sysctl -w net.netfilter.nf_conntrack_max=%" PRIu64,
		max, count, connections, 2 * (count + connections));
	return -ENFILE;
}

/* Binds the way servers do. 0 or -errno. */
static int try_bind(const struct vly_addr *addr)
{
	struct sockaddr_storage name;
	socklen_t len = sockname_of(addr, addr->port, &name);
	int one = 1;

	if (!len)
		return -EAFNOSUPPORT;
	int fd = socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/*
	 * Without it a port with connections in TIME_WAIT would count as taken; servers set it,
	 * too.
	 */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	int err = bind(fd, (struct sockaddr *)&name, len) != 0 || listen(fd, 1) != 0 ? -errno : 0;
	close(fd);
	return err;
}

static const char *family_name(int family)
{
	return family == VLY_IP4 ? "IPv4" : family == VLY_IP6 ? "IPv6" : "a Unix socket";
}

/*
 * The first and the last one: if they are this machine's, those between them are, as a rule. Else
 * each connection would fail by itself.
 */
static int check_sources(const struct sources *sources, const struct vly_addr *target, char *why,
			 size_t why_bytes)
{
	char text[VLY_ADDR_TEXT_MAX];

	if (!sources->count)
		return 0;
	if (sources->first.family != target->family) {
		snprintf(
			why, why_bytes,
			"--source-ip: the server is reached by %s, these are %s addresses; name some of its family",
			family_name(target->family), family_name(sources->first.family));
		return -EAFNOSUPPORT;
	}
	for (uint32_t i = 0; i<sources->count; i += sources->count> 1 ? sources->count - 1 : 1) {
		struct vly_addr addr = sources_at(sources, i);
		int err = try_bind(&addr);

		if (!err)
			continue;
		sources_format(&(struct sources){.first = addr, .count = 1}, text, sizeof(text));
		snprintf(
			why, why_bytes,
			"--source-ip: nothing can be sent from %s: %s; ip addr tells the addresses of this machine, and as root "
			"ip addr add %s dev DEVICE gives it another",
			text, strerror(-err), text);
		return err;
	}
	return 0;
}

int preflight_load(const struct load_options *options, const struct vly_addr *target, char *why,
		   size_t why_bytes)
{
	unsigned int cores = options->load_cpus.count ? options->load_cpus.count : 1;
	bool tables = descriptors_unshare();
	const struct holder holder = {
		.name = "the load generator",
		.option = tables ? "load-cpus" : NULL,
		.base = LOAD_FDS_BASE + LOAD_FDS_PER_CORE * cores,
		.tables = tables ? cores : 1,
	};

	/* Over a stack of one's own a connection is no descriptor, and ports are that nic's. */
	if (bench_own_stack(options->shape.nic))
		return vly_nic_check(options->shape.nic, why, why_bytes);
	int err = check_descriptors(&holder, options->connections, why, why_bytes);
	err = err ? err : check_ports(options, why, why_bytes);
	err = err ? err : check_sources(&options->shape.sources, target, why, why_bytes);
	err = err ? err : vly_nic_check(options->shape.nic, why, why_bytes);
	return err ? err : check_conntrack(options->connections, why, why_bytes);
}

int preflight_port(const struct vly_addr *addr, char *why, size_t why_bytes)
{
	char text[VLY_ADDR_TEXT_MAX];

	int err = try_bind(addr);
	if (err == -EADDRINUSE)
		snprintf(
			why, why_bytes,
			"port %u is in use; ss -ltnp 'sport = :%u' tells by whom: end it, or name another port",
			addr->port, addr->port);
	else if (err == -EACCES)
		snprintf(
			why, why_bytes,
			"port %u needs root (net.ipv4.ip_unprivileged_port_start); name one above it",
			addr->port);
	else if (err)
		snprintf(why, why_bytes, "cannot listen on %s: %s",
			 vly_addr_format(addr, text, sizeof(text)), strerror(-err));
	return err;
}

int preflight_choose_port(uint64_t seed, uint16_t *port)
{
	struct vly_addr addr = {.family = VLY_IP4, .ip4 = {127, 0, 0, 1}};
	struct vly_addr any = {.family = VLY_IP4};
	unsigned int first = 32768, last = 60999;
	char text[64];

	if (sysfile_read("/proc/sys/net/ipv4/ip_local_port_range", text, sizeof(text)) > 0)
		(void)sscanf(text, "%u %u", &first, &last);
	/* Where that range leaves no room below it, any port will do. */
	unsigned int from = PORTS_FIRST;
	unsigned int span = first > PORTS_FIRST + PORT_TRIES ? first - PORTS_FIRST
							     : 65536 - PORTS_FIRST;
	for (unsigned int i = 0; i < PORT_TRIES; i++) {
		uint64_t mixed = (seed + i) * 0x9e3779b97f4a7c15u;
		addr.port = (uint16_t)(from + (mixed >> 32) % span);
		any.port = addr.port;
		/* Both: some rows listen on every address. */
		if (try_bind(&addr) == 0 && try_bind(&any) == 0) {
			*port = addr.port;
			return 0;
		}
	}
	return -EADDRINUSE;
}

void preflight_warnings(const struct load_options *options, preflight_warn_fn warn, void *arg)
{
	char line[256], from[CPUS_TEXT_MAX];
	uint64_t backlog;

	if (sysfile_u64("/proc/sys/net/core/somaxconn", &backlog) == 0 &&
	    backlog < BACKLOG_ENOUGH) {
		snprintf(line, sizeof(line),
			 "net.core.somaxconn is %" PRIu64
			 ": connects will be dropped and retried; as root: sysctl -w "
			 "net.core.somaxconn=4096",
			 backlog);
		warn(line, arg);
	}
	if (options->cpus_shared) {
		snprintf(
			line, sizeof(line),
			"server and load share CPU %s, the only one: each takes the other's time, rates mean little",
			cpus_format(&options->server_cpus, from, sizeof(from)));
		warn(line, arg);
	}
	int clash = cpus_smt_clash(&options->server_cpus, &options->load_cpus);
	if (clash >= 0) {
		snprintf(
			line, sizeof(line),
			"server CPU %d shares a physical core with a load CPU: both slow each other down; choose others with "
			"--server-cpus and --load-cpus",
			clash);
		warn(line, arg);
	}
}
