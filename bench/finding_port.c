/* finding_port.c - read-only checks of what a port of DPDK's needs of this machine: the steps of docs/10gbe.md */
#include "bench/finding.h"

#include <ctype.h>
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/cpus.h"
#include "bench/sysfile.h"
#include "volley/config.h"

#define TEXT_BYTES 512
#define HUGE_ENOUGH 512 /* of 2 MiB, on one node: 10,000 connections on a core, and DPDK's own */
#define WAKE_US 10      /* a C-state that takes longer shows in the percentiles */

/* Entries of a folder, "." and ".." not counted; -1: there is none. */
static int entries(const char *path)
{
	DIR *dir = opendir(path);
	int count = 0;

	if (!dir)
		return -1;
	for (struct dirent *entry; (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* The last part of what a link points to; empty: there is none. */
static void link_name(const char *path, char *name, size_t name_bytes)
{
	char target[512];
	ssize_t len = readlink(path, target, sizeof(target) - 1);

	name[0] = '\0';
	if (len <= 0)
		return;
	target[len] = '\0';
	const char *slash = strrchr(target, '/');
	snprintf(name, name_bytes, "%.*s", (int)name_bytes - 1, slash ? slash + 1 : target);
}

static void check_plugin(struct findings *findings)
{
	char why[FINDING_BYTES];

	/* a virtual device: nothing of this machine is touched, nothing is started */
	if (vly_nic_check("inet:dpdk,port=0,eal=\"--vdev=net_null0\",ip=192.0.2.1/24", why,
			  sizeof(why)) == 0)
		finding_add(findings, FINDING_OK, "1 DPDK", "wire dpdk is built and loads");
	else
		finding_mend(finding_add(findings, FINDING_NOTE, "1 DPDK", "%.200s", why),
			     "apt install libdpdk-dev, then make build");
}

static void check_iommu(struct findings *findings)
{
	int count = entries("/sys/class/iommu");

	if (count > 0)
		finding_add(findings, FINDING_OK, "2 IOMMU", "on, %d of them", count);
	else
		finding_mend(
			finding_add(
				findings, FINDING_NOTE, "2 IOMMU",
				"none: a port then takes physical addresses, huge pages, root and enable_unsafe_noiommu_mode"),
			"/etc/default/grub, GRUB_CMDLINE_LINUX: intel_iommu=on iommu=pt (AMD: iommu=pt); update-grub; reboot");
}

static void check_huge_pages(struct findings *findings)
{
	char text[FINDING_BYTES] = "", path[160];
	uint64_t count, most = 0;
	size_t at = 0;

	for (int node = 0; node < 64; node++) {
		snprintf(
			path, sizeof(path),
			"/sys/devices/system/node/node%d/hugepages/hugepages-2048kB/free_hugepages",
			node);
		if (sysfile_u64(path, &count) != 0)
			continue;
		most = count > most ? count : most;
		if (at < sizeof(text))
			at += (size_t)snprintf(text + at, sizeof(text) - at,
					       "%snode %d %" PRIu64 " free", at ? ", " : "", node,
					       count);
	}
	bool enough = most >= HUGE_ENOUGH;
	struct finding *f =
		finding_add(findings, enough ? FINDING_OK : FINDING_NOTE, "3 huge pages",
			    "of 2 MiB: %.180s; they have to be on the node of the NIC", text);
	if (!enough)
		finding_mend(
			f,
			"as root: echo 1024 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages");
}

/* The interface that carries the default route; empty: none does. */
static void default_route(char *name, size_t name_bytes)
{
	char line[256], interface[64], to[64];
	FILE *file = fopen("/proc/net/route", "re");

	name[0] = '\0';
	while (file && !name[0] && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %63s", interface, to) == 2 && strcmp(to, "00000000") == 0)
			snprintf(name, name_bytes, "%s", interface);
	}
	if (file)
		fclose(file);
}

/* The interface that the kernel's driver has made of a device: NAME, or of virtio's child. */
static void interface_of(const char *device, char *name, size_t name_bytes)
{
	static const char *const places[] = {"net",         "virtio0/net", "virtio1/net",
					     "virtio2/net", "virtio3/net", "virtio4/net",
					     "virtio5/net"};
	char path[512];

	name[0] = '\0';
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]) && !name[0]; i++) {
		snprintf(path, sizeof(path), "%s/%s", device, places[i]);
		DIR *dir = opendir(path);

		for (struct dirent *entry; dir && (entry = readdir(dir));)
			if (entry->d_name[0] != '.')
				snprintf(name, name_bytes, "%.*s", (int)name_bytes - 1,
					 entry->d_name);
		if (dir)
			closedir(dir);
	}
}

static void tell_nic(struct findings *findings, const char *address, const char *device)
{
	char path[512], driver[64], interface[64], route[64], vendor[16] = "", id[16] = "";
	char node[16] = "-1";

	snprintf(path, sizeof(path), "%s/driver", device);
	link_name(path, driver, sizeof(driver));
	snprintf(path, sizeof(path), "%s/vendor", device);
	(void)sysfile_read(path, vendor, sizeof(vendor));
	snprintf(path, sizeof(path), "%s/device", device);
	(void)sysfile_read(path, id, sizeof(id));
	snprintf(path, sizeof(path), "%s/numa_node", device);
	(void)sysfile_read(path, node, sizeof(node));
	interface_of(device, interface, sizeof(interface));
	default_route(route, sizeof(route));
	bool given = strcmp(driver, "vfio-pci") == 0 || strcmp(driver, "uio_pci_generic") == 0 ||
		     strcmp(driver, "igb_uio") == 0 || strncmp(driver, "mlx", 3) == 0;
	bool busy = interface[0] && strcmp(interface, route) == 0;
	struct finding *f = finding_add(findings, given ? FINDING_OK : FINDING_NOTE, "4 NIC",
					"%.12s (%.6s:%.6s) NUMA node %.4s, driver %.32s%s%.32s%s",
					address, vendor, id, node, driver[0] ? driver : "none",
					interface[0] ? ", interface " : "", interface,
					busy ? ", which has the default route: leave it" : "");
	if (!given && !busy)
		snprintf(f->mend, sizeof(f->mend), "as root: dpdk-devbind.py --bind=vfio-pci %.12s",
			 address);
}

static void check_nics(struct findings *findings)
{
	static const char folder[] = "/sys/bus/pci/devices";
	char path[400], class[16];
	DIR *dir = opendir(folder);

	if (access("/sys/bus/pci/drivers/vfio-pci", F_OK) == 0)
		finding_add(findings, FINDING_OK, "4 vfio-pci", "the kernel has it");
	else
		finding_mend(
			finding_add(
				findings, FINDING_NOTE, "4 vfio-pci",
				"not loaded (NICs of Mellanox stay with their own driver and need none)"),
			"as root: modprobe vfio-pci");
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		snprintf(path, sizeof(path), "%s/%s/class", folder, entry->d_name);
		if (entry->d_name[0] == '.' || sysfile_read(path, class, sizeof(class)) < 0 ||
		    strncmp(class, "0x0200", 6) != 0)
			continue;
		*strrchr(path, '/') = '\0';
		tell_nic(findings, entry->d_name, path);
	}
	if (dir)
		closedir(dir);
}

static void isolated_cpus(struct cpus *cpus)
{
	char text[TEXT_BYTES], why[FINDING_BYTES];

	cpus->count = 0;
	if (sysfile_read("/sys/devices/system/cpu/isolated", text, sizeof(text)) > 0 &&
	    cpus_parse(text, cpus, why, sizeof(why)) != 0)
		cpus->count = 0;
}

static void check_isolated(struct findings *findings, const struct cpus *isolated)
{
	char text[CPUS_TEXT_MAX];

	if (isolated->count)
		finding_add(findings, FINDING_OK, "5 isolated", "CPUs %.200s",
			    cpus_format(isolated, text, sizeof(text)));
	else
		finding_mend(
			finding_add(findings, FINDING_NOTE, "5 isolated",
				    "no CPU is: the kernel runs other work on the cores' CPUs"),
			"GRUB_CMDLINE_LINUX: isolcpus=2-3 nohz_full=2-3 rcu_nocbs=2-3; update-grub; reboot");
}

/* Whether a process of this name runs. */
static bool runs(const char *name)
{
	char path[320], comm[64];
	DIR *dir = opendir("/proc");
	bool found = false;

	for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		found = sysfile_read(path, comm, sizeof(comm)) > 0 && strcmp(comm, name) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

/* Interrupts that may come to an isolated CPU. */
static unsigned irqs_on(const struct cpus *isolated)
{
	char path[320], text[TEXT_BYTES], why[FINDING_BYTES];
	DIR *dir = opendir("/proc/irq");
	struct cpus cpus;
	unsigned count = 0;

	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		snprintf(path, sizeof(path), "/proc/irq/%s/smp_affinity_list", entry->d_name);
		if (!isdigit((unsigned char)entry->d_name[0]) ||
		    sysfile_read(path, text, sizeof(text)) <= 0 ||
		    cpus_parse(text, &cpus, why, sizeof(why)) != 0)
			continue;
		cpus_keep(&cpus, isolated);
		count += cpus.count > 0;
	}
	if (dir)
		closedir(dir);
	return count;
}

static void check_irqs(struct findings *findings, const struct cpus *isolated)
{
	bool balanced = runs("irqbalance");
	unsigned count = isolated->count ? irqs_on(isolated) : 0;
	struct finding *f;

	if (balanced) {
		f = finding_add(findings, FINDING_NOTE, "6 interrupts",
				"irqbalance moves them, to the cores' CPUs too");
		finding_mend(f, "as root: systemctl disable --now irqbalance");
	} else if (count) {
		f = finding_add(findings, FINDING_NOTE, "6 interrupts",
				"%u of them may come to isolated CPUs", count);
		finding_mend(
			f,
			"as root: for i in /proc/irq/*/smp_affinity_list; do echo 0-1 > $i; done (some refuse: the kernel's own)");
	} else {
		finding_add(findings, FINDING_OK, "6 interrupts", "%s",
			    isolated->count ? "none comes to isolated CPUs"
					    : "no isolated CPU to keep them off");
	}
}

static void check_turbo(struct findings *findings)
{
	uint64_t value;
	struct finding *f;

	if (sysfile_u64("/sys/devices/system/cpu/intel_pstate/no_turbo", &value) == 0) {
		f = finding_add(findings, value ? FINDING_OK : FINDING_NOTE, "7 turbo",
				value ? "off" : "on: figures do not repeat");
		if (!value)
			finding_mend(
				f,
				"as root: echo 1 > /sys/devices/system/cpu/intel_pstate/no_turbo");
	} else if (sysfile_u64("/sys/devices/system/cpu/cpufreq/boost", &value) == 0) {
		f = finding_add(findings, value ? FINDING_NOTE : FINDING_OK, "7 turbo",
				value ? "on: figures do not repeat" : "off");
		if (value)
			finding_mend(f, "as root: echo 0 > /sys/devices/system/cpu/cpufreq/boost");
	} else {
		finding_add(findings, FINDING_OK, "7 turbo", "the kernel does not set it here");
	}
}

static void check_idle_states(struct findings *findings)
{
	uint64_t latency, off, deepest = 0;
	char path[160];

	for (int state = 0; state < 16; state++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu0/cpuidle/state%d/disable",
			 state);
		if (sysfile_u64(path, &off) != 0)
			break;
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu0/cpuidle/state%d/latency",
			 state);
		if (!off && sysfile_u64(path, &latency) == 0 && latency > deepest)
			deepest = latency;
	}
	if (deepest > WAKE_US)
		finding_mend(finding_add(findings, FINDING_NOTE, "7 C-states",
					 "a CPU that sleeps deepest takes %" PRIu64
					 " us to wake up",
					 deepest),
			     "as root: cpupower idle-set -D 10");
	else
		finding_add(findings, FINDING_OK, "7 C-states",
			    "none takes more than %u us to leave", WAKE_US);
}

void findings_port(struct findings *findings)
{
	struct cpus isolated;

	memset(findings, 0, sizeof(*findings));
	isolated_cpus(&isolated);
	check_plugin(findings);
	check_iommu(findings);
	check_huge_pages(findings);
	check_nics(findings);
	check_isolated(findings, &isolated);
	check_irqs(findings, &isolated);
	check_turbo(findings);
	check_idle_states(findings);
}
