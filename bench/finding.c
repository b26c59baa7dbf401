/* finding.c - read-only checks of this machine: what limits a bench here and how to mend it */
#include "bench/finding.h"

#include <dirent.h>
#include <errno.h>
#include <gsl/gsl_version.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <zlib.h>

#include "bench/cost.h"
#include "bench/cpus.h"
#include "bench/cpuspeed.h"
#include "bench/perf.h"
#include "bench/speed.h"
#include "bench/sysfile.h"
#include "volley/config.h"

#define DESCRIPTORS_ENOUGH 20000
#define BACKLOG_ENOUGH 4096
#define PORTS_ENOUGH 28000
#define SPEED_SPREAD 0.10
#define TEXT_BYTES 512

struct finding *finding_add(struct findings *findings, enum finding_level level, const char *name,
			    const char *format, ...)
{
	static struct finding spill; /* where there is no room, the last ones are lost */
	struct finding *f = findings->count < FINDINGS_MAX ? &findings->list[findings->count++]
							   : &spill;
	va_list args;

	memset(f, 0, sizeof(*f));
	f->level = level;
	snprintf(f->name, sizeof(f->name), "%s", name);
	va_start(args, format);
	vsnprintf(f->text, sizeof(f->text), format, args);
	va_end(args);
	return f;
}

void finding_mend(struct finding *f, const char *command)
{
	snprintf(f->mend, sizeof(f->mend), "%s", command);
}

static void check_limits(struct findings *findings)
{
	struct rlimit limit;
	uint64_t ceiling = 0, backlog = 0;
	char text[TEXT_BYTES];
	unsigned int first, last;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		(void)sysfile_u64("/proc/sys/fs/nr_open", &ceiling);
		bool enough = limit.rlim_max >= DESCRIPTORS_ENOUGH;
		struct finding *f =
			finding_add(findings, enough ? FINDING_OK : FINDING_WARN, "descriptors",
				    "%" PRIu64 " for each process (hard limit; fs.nr_open %" PRIu64
				    "): about %" PRIu64 " connections",
				    (uint64_t)limit.rlim_max, ceiling,
				    (uint64_t)(limit.rlim_max > 80 ? limit.rlim_max - 80 : 0));
		if (!enough)
			finding_mend(f, "as root: prlimit --pid $$ --nofile=100000:100000");
	}
	if (sysfile_read("/proc/sys/net/ipv4/ip_local_port_range", text, sizeof(text)) > 0 &&
	    sscanf(text, "%u %u", &first, &last) == 2) {
		bool enough = last - first + 1 >= PORTS_ENOUGH;
		struct finding *f = finding_add(
			findings, enough ? FINDING_OK : FINDING_WARN, "ports",
			"%u for outgoing connections (net.ipv4.ip_local_port_range %u-%u)",
			last - first + 1, first, last);
		if (!enough)
			finding_mend(
				f, "as root: sysctl -w net.ipv4.ip_local_port_range='1024 65535'");
	}
	if (sysfile_u64("/proc/sys/net/core/somaxconn", &backlog) == 0) {
		struct finding *f = finding_add(
			findings, backlog >= BACKLOG_ENOUGH ? FINDING_OK : FINDING_WARN, "backlog",
			"listeners may queue %" PRIu64 " connects (net.core.somaxconn)", backlog);
		if (backlog < BACKLOG_ENOUGH)
			finding_mend(f, "as root: sysctl -w net.core.somaxconn=4096");
	}
}

static void check_memory(struct findings *findings)
{
	uint64_t total = 0, available = 0, huge_total = 0, huge_free = 0;
	struct rlimit lock;
	char thp[TEXT_BYTES];

	(void)sysfile_field("/proc/meminfo", "MemTotal", &total);
	(void)sysfile_field("/proc/meminfo", "MemAvailable", &available);
	finding_add(findings, FINDING_OK, "memory", "%" PRIu64 " MiB, %" PRIu64 " MiB available",
		    total / 1024, available / 1024);
	(void)sysfile_field("/proc/meminfo", "HugePages_Total", &huge_total);
	(void)sysfile_field("/proc/meminfo", "HugePages_Free", &huge_free);
	if (sysfile_read("/sys/kernel/mm/transparent_hugepage/enabled", thp, sizeof(thp)) < 0)
		snprintf(thp, sizeof(thp), "not built");
	struct finding *f =
		finding_add(findings, huge_free ? FINDING_OK : FINDING_NOTE, "huge pages",
			    "%" PRIu64 " reserved, %" PRIu64 " free; transparent: %.40s",
			    huge_total, huge_free, thp);
	if (!huge_free)
		finding_mend(
			f,
			"as root: sysctl -w vm.nr_hugepages=64 (without them transparent or small pages serve)");
	if (getrlimit(RLIMIT_MEMLOCK, &lock) == 0 && lock.rlim_cur == RLIM_INFINITY)
		finding_add(findings, FINDING_OK, "locked memory", "unlimited");
	else if (geteuid() == 0)
		finding_add(findings, FINDING_OK, "locked memory", "root may lock any amount");
	else
		finding_mend(finding_add(findings, FINDING_NOTE, "locked memory",
					 "limited to %" PRIu64 " KiB",
					 (uint64_t)lock.rlim_cur / 1024),
			     "as root: prlimit --pid $$ --memlock=unlimited");
}

static void check_kernel(struct findings *findings)
{
	char release[TEXT_BYTES], why[FINDING_BYTES];
	uint64_t disabled = 0;

	if (sysfile_read("/proc/sys/kernel/osrelease", release, sizeof(release)) > 0)
		finding_add(findings, FINDING_OK, "kernel", "%.80s", release);
	if (vly_nic_check("epoll", why, sizeof(why)) == 0)
		finding_add(findings, FINDING_OK, "epoll", "the engine runs over it");
	else
		finding_add(findings, FINDING_WARN, "epoll", "%.200s", why);
	(void)sysfile_u64("/proc/sys/kernel/io_uring_disabled", &disabled);
	/* No entries is an error, but which one tells whether the call is there. */
	if (syscall(SYS_io_uring_setup, 0, NULL) == -1 && (errno == ENOSYS || errno == EPERM)) {
		struct finding *f = finding_add(findings, FINDING_NOTE, "io_uring",
						"refused: %s (kernel.io_uring_disabled %" PRIu64
						")",
						strerror(errno), disabled);
		if (disabled)
			finding_mend(f, "as root: sysctl -w kernel.io_uring_disabled=0");
	} else {
		finding_add(findings, FINDING_OK, "io_uring", "available");
	}
	if (perf_check(why, sizeof(why)) == 0)
		finding_add(findings, FINDING_OK, "perf", "counts system calls (--syscalls)");
	else
		finding_add(findings, FINDING_NOTE, "perf", "no --syscalls: %.200s", why);
	if (cost_irq_time_apart())
		finding_add(
			findings, FINDING_NOTE, "interrupts",
			"billed to nobody (CONFIG_IRQ_TIME_ACCOUNTING): those on the server's CPUs are added to the server");
}

static void check_cpus(struct findings *findings)
{
	struct cpus allowed;
	char list[CPUS_TEXT_MAX], text[TEXT_BYTES];
	uint64_t smt = 0;

	if (cpus_allowed(&allowed) != 0)
		return;
	cpus_format(&allowed, list, sizeof(list));
	if (allowed.count > 1)
		finding_add(findings, FINDING_OK, "CPUs", "%u may be used: %.200s", allowed.count,
			    list);
	else
		finding_mend(
			finding_add(
				findings, FINDING_WARN, "CPUs",
				"only CPU %.20s may be used: server and load share it, rates mean little",
				list),
			"give the machine, container or cpuset a second one");
	if (sysfile_u64("/sys/devices/system/cpu/smt/active", &smt) == 0)
		finding_add(findings, FINDING_OK, "SMT", "%s",
			    smt ? "on: server and load are kept off each other's cores" : "off");
	else
		finding_add(findings, FINDING_NOTE, "SMT", "the kernel does not tell");
	if (sysfile_read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", text,
			 sizeof(text)) > 0) {
		bool good = strcmp(text, "performance") == 0;
		struct finding *f = finding_add(findings, good ? FINDING_OK : FINDING_WARN,
						"governor", "%.60s", text);
		if (!good)
			finding_mend(f, "as root: cpupower frequency-set -g performance");
	} else {
		finding_add(findings, FINDING_OK, "governor",
			    "the kernel sets no frequencies here (virtual machine?)");
	}
	char cpuinfo[16384];
	if (sysfile_read("/proc/cpuinfo", cpuinfo, sizeof(cpuinfo)) > 0 &&
	    strstr(cpuinfo, " hypervisor"))
		finding_add(
			findings, FINDING_NOTE, "hypervisor",
			"this is a virtual machine: neighbours may slow CPUs down; each run measures their speed");
}

void findings_cpu_speed(struct findings *findings)
{
	struct cpus allowed;
	struct speed speed;
	char text[FINDING_BYTES] = "";
	double slowest = 0, fastest = 0;
	size_t len = 0;

	if (cpus_allowed(&allowed) != 0)
		return;
	speed_measure(&allowed, &speed);
	for (unsigned int i = 0; i < speed.count; i++) {
		if (speed.ghz[i] <= 0)
			continue;
		if (len < sizeof(text) - 32)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%sCPU %d %.2f",
						len ? ", " : "", allowed.list[i], speed.ghz[i]);
		if (slowest <= 0 || speed.ghz[i] < slowest)
			slowest = speed.ghz[i];
		if (speed.ghz[i] > fastest)
			fastest = speed.ghz[i];
	}
	bool even = cpuspeed_change(slowest, fastest) <= SPEED_SPREAD;
	struct finding *f = finding_add(findings, even ? FINDING_OK : FINDING_WARN, "CPU speed",
					"effective GHz: %.200s (time-stamp counter %.2f)", text,
					speed_tsc_ghz());
	if (!even)
		finding_mend(
			f,
			"they differ by more than 10%: name the fast ones by --server-cpus and --load-cpus, "
			"or wait and look again");
}

void findings_collect(struct findings *findings)
{
	memset(findings, 0, sizeof(*findings));
	check_kernel(findings);
	check_limits(findings);
	check_memory(findings);
	check_cpus(findings);
}

static const char *const level_names[] = {"ok", "note", "warning"};

/* A file's text, or null. */
static json_t *file_text(const char *path)
{
	char text[4096];

	if (sysfile_read(path, text, sizeof(text)) < 0)
		return json_null();
	json_t *string = json_string(text);
	return string ? string : json_null();
}

static json_t *sysctls_json(void)
{
	static const char *const names[] = {
		"net/core/somaxconn",
		"net/ipv4/ip_local_port_range",
		"net/ipv4/tcp_max_syn_backlog",
		"net/ipv4/tcp_rmem",
		"net/ipv4/tcp_wmem",
		"net/ipv4/tcp_congestion_control",
		"net/ipv4/tcp_timestamps",
		"net/core/busy_poll",
		"kernel/perf_event_paranoid",
		"kernel/io_uring_disabled",
		"vm/nr_hugepages",
		"fs/nr_open",
	};
	json_t *object = json_object();

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char path[128];
		snprintf(path, sizeof(path), "/proc/sys/%s", names[i]);
		json_object_set_new(object, names[i], file_text(path));
	}
	return object;
}

static json_t *cpu_model(void)
{
	char text[16384];

	if (sysfile_read("/proc/cpuinfo", text, sizeof(text)) < 0)
		return json_null();
	char *at = strstr(text, "model name");
	at = at ? strchr(at, ':') : NULL;
	if (!at)
		return json_null();
	at += strspn(at, ": \t");
	json_t *string = json_stringn(at, strcspn(at, "\n"));
	return string ? string : json_null();
}

/* What the kernel says about each CPU weakness: mitigations cost system calls their speed. */
static json_t *mitigations_json(void)
{
	static const char folder[] = "/sys/devices/system/cpu/vulnerabilities";
	json_t *object = json_object();
	DIR *dir = opendir(folder);

	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		char path[512];
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		json_object_set_new(object, entry->d_name, file_text(path));
	}
	if (dir)
		closedir(dir);
	return object;
}

static json_t *nic_file(const char *name, const char *what)
{
	char path[512];

	snprintf(path, sizeof(path), "/sys/class/net/%s/%s", name, what);
	return file_text(path);
}

/* The name behind /sys/class/net/NAME/device/driver, or null for what has none (lo). */
static json_t *nic_driver(const char *name)
{
	char path[512], target[512];

	snprintf(path, sizeof(path), "/sys/class/net/%s/device/driver", name);
	ssize_t len = readlink(path, target, sizeof(target) - 1);
	if (len <= 0)
		return json_null();
	target[len] = '\0';
	char *slash = strrchr(target, '/');
	return json_string(slash ? slash + 1 : target);
}

static json_t *nics_json(void)
{
	json_t *array = json_array();
	DIR *dir = opendir("/sys/class/net");

	for (struct dirent *entry; dir && (entry = readdir(dir));)
		if (entry->d_name[0] != '.')
			json_array_append_new(
				array, json_pack("{s:s, s:o, s:o, s:o}", "name", entry->d_name,
						 "speed_mbit", nic_file(entry->d_name, "speed"),
						 "mtu", nic_file(entry->d_name, "mtu"), "driver",
						 nic_driver(entry->d_name)));
	if (dir)
		closedir(dir);
	return array;
}

static json_t *limits_json(void)
{
	struct rlimit files = {0}, lock = {0};

	(void)getrlimit(RLIMIT_NOFILE, &files);
	(void)getrlimit(RLIMIT_MEMLOCK, &lock);
	return json_pack("{s:I, s:I, s:o}", "nofile_soft", (json_int_t)files.rlim_cur,
			 "nofile_hard", (json_int_t)files.rlim_max, "memlock_bytes",
			 lock.rlim_cur == RLIM_INFINITY ? json_null()
							: json_integer((json_int_t)lock.rlim_cur));
}

json_t *findings_environment(const struct findings *findings)
{
	struct cpus allowed = {.count = 0};
	char host[256] = "", list[CPUS_TEXT_MAX];
	uint64_t memory = 0;
	json_t *notes = json_array();

	for (unsigned int i = 0; i < findings->count; i++) {
		const struct finding *f = &findings->list[i];
		if (f->level != FINDING_OK)
			json_array_append_new(notes, json_pack("{s:s, s:s, s:s}", "level",
							       level_names[f->level], "name",
							       f->name, "text", f->text));
	}
	(void)gethostname(host, sizeof(host) - 1);
	(void)cpus_allowed(&allowed);
	(void)sysfile_field("/proc/meminfo", "MemTotal", &memory);
	json_t *environment = json_pack(
		"{s:s, s:o, s:i, s:s, s:o, s:o, s:o, s:o, s:I}", "host", host, "cpu_model",
		cpu_model(), "cpus_online", (int)sysconf(_SC_NPROCESSORS_ONLN), "cpus_allowed",
		cpus_format(&allowed, list, sizeof(list)), "kernel",
		file_text("/proc/sys/kernel/osrelease"), "kernel_command_line",
		file_text("/proc/cmdline"), "mitigations", mitigations_json(), "numa_nodes",
		file_text("/sys/devices/system/node/online"), "memory_kib", (json_int_t)memory);
	json_t *rest = json_pack(
		"{s:o, s:o, s:o, s:o, s:{s:s, s:s, s:s}, s:o}", "clocksource",
		file_text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
		"nics", nics_json(), "sysctls", sysctls_json(), "limits", limits_json(),
		"libraries", "jansson", jansson_version_str(), "gsl", gsl_version, "zlib",
		zlibVersion(), "findings", notes);
	if (environment && rest)
		json_object_update(environment, rest);
	json_decref(rest);
	return environment;
}
