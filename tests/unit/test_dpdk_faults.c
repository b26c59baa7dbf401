/* test_dpdk_faults.c - ports of DPDK's and what goes wrong: the kernel's devices, memory, peers, pools */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "nic/inet/wire_dpdk.h"
#include "tests/support/dpdk_rig.h"
#include "tests/support/wire_rig.h"
#include "volley/volley.h"

TestSuite(dpdk_faults, .timeout = 60);

#define PATIENCE_NS UINT64_C(20000000000)

static struct vly_wire *open_rig(struct wire_rig *rig, const char *text, unsigned queues)
{
	rig_open(rig, text, queues);
	rig->config.idle = VLY_IDLE_BUSY;
	rig->now_ns = vly_clock_ns();
	return rig_wire(rig, 0);
}

/* --- devices that the kernel has --- */

/* A PCI device with a driver of the kernel's. */
static bool find_kernels_own(char address[64], char driver[64])
{
	static const char folder[] = "/sys/bus/pci/devices";
	DIR *dir = opendir(folder);
	bool found = false;

	for (struct dirent *entry; dir && !found && (entry = readdir(dir));) {
		char path[400], target[400];

		snprintf(path, sizeof(path), "%s/%s/driver", folder, entry->d_name);
		ssize_t len = readlink(path, target, sizeof(target) - 1);

		if (len <= 0)
			continue;
		target[len] = '\0';
		snprintf(driver, 64, "%.63s", strrchr(target, '/') + 1);
		snprintf(address, 64, "%.63s", entry->d_name);
		found = strncmp(driver, "vfio", 4) != 0 && strncmp(driver, "uio", 3) != 0 &&
			strncmp(driver, "igb_uio", 7) != 0 && strncmp(driver, "mlx", 3) != 0;
	}
	if (dir)
		closedir(dir);
	return found;
}

Test(dpdk_faults, a_device_that_the_kernel_has_is_left_to_it)
{
	char address[64], driver[64], nic[300], why[512];
	static const char *const ways[] = {"inet:dpdk,port=%s,ip=10.0.0.1/24",
					   "inet:dpdk,port=0,eal=\"--allow=%s\",ip=10.0.0.1/24",
					   "inet:dpdk,port=0,eal=\"-a %s,x=1\",ip=10.0.0.1/24"};

	need_dpdk();
	if (!find_kernels_own(address, driver))
		cr_skip_test("there is no PCI device with a driver of the kernel's");
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(nic, sizeof(nic), ways[i], address);
#pragma GCC diagnostic pop
		cr_assert_eq(vly_nic_check(nic, why, sizeof(why)), -EBUSY, "%s: %s", nic, why);
		cr_assert(strstr(why, driver) && strstr(why, "dpdk-devbind.py --bind=vfio-pci"),
			  "%s", why);
		cr_assert(!strchr(why, '\n'));
	}
}

/* --- who tells --- */

static unsigned errors;

static void count_errors(enum vly_log_level level, const char *line, void *arg)
{
	(void)line;
	(void)arg;
	errors += level == VLY_LOG_ERROR;
}

/* Every core of an engine tries, none opens. */
static void fail(struct vly_engine *engine)
{
	struct vly_core *core;

	for (unsigned i = 0; i < 2; i++)
		cr_assert_lt(vly_core_open(engine, i, &core), 0);
}

Test(dpdk_faults, each_engine_that_does_not_open_says_why_and_none_says_it_twice)
{
	struct vly_engine *engines[2];
	struct vly_config config;

	need_dpdk();
	vly_log_set(count_errors, NULL, VLY_LOG_WARN);
	vly_config_init(&config);
	config.nic = "inet:dpdk,port=9,eal=\"--vdev=net_null0\",ip=10.0.0.1/24";
	config.cores = 2;
	config.pin = false;
	config.allow_overlap = true;
	config.huge_pages = false;
	config.lock_memory = false;
	config.conns_max = 16;
	for (unsigned i = 0; i < 2; i++)
		cr_assert_eq(vly_engine_open(&config, &engines[i]), 0);
	fail(engines[0]);
	cr_assert_eq(errors, 1);
	/* another one, whatever the first has said a moment ago */
	fail(engines[1]);
	cr_assert_eq(errors, 2);
	/* tried again: it is said again */
	fail(engines[0]);
	cr_assert_eq(errors, 3);
	for (unsigned i = 0; i < 2; i++)
		vly_engine_close(engines[i]);
}

/* --- memory --- */

Test(dpdk_faults, a_region_too_small_is_one_line)
{
	struct wire_rig rig;
	struct vly_wire *wire;

	need_dpdk();
	rig_open(&rig, "inet:dpdk,port=0,eal=\"--vdev=net_null0\"", 1);
	rig.region.size_bytes = rig.region.used_bytes + (1 << 20);
	rig.config.idle = VLY_IDLE_BUSY;
	cr_assert_eq(rig_try(&rig, 0, &wire), -ENOMEM);
	cr_assert(strstr(said, "no room for") && strstr(said, "bufs="), "%s", said);
	rig_close(&rig);
}

static void open_memif(struct wire_rig rig[2], struct vly_wire *wire[2], const char *more)
{
	static char text[2][600];
	uint64_t end_ns = vly_clock_ns() + PATIENCE_NS;
	struct vly_frame frame;

	for (int side = 0; side < 2; side++) {
		snprintf(text[side], sizeof(text[side]),
			 "inet:dpdk,port=0,rxd=256,txd=256,eal=\"%s --vdev=net_memif%d,role=%s,"
			 "socket-abstract=no,socket=/tmp%s/volley-faults-%d.sock\"",
			 more, side, side ? "client" : "server", side ? "/" : "", (int)getpid());
		wire[side] = open_rig(&rig[side], text[side], 1);
	}
	while (!wire[0]->link_up || !wire[1]->link_up) {
		for (int side = 0; side < 2; side++)
			wire_receive(wire[side], &frame, 1, vly_clock_ns());
		cr_assert(vly_clock_ns() < end_ns, "the link stays down");
	}
}

static void close_memif(struct wire_rig rig[2], struct vly_wire *wire[2])
{
	for (int side = 1; side >= 0; side--) {
		wire[side]->ops->close(wire[side]);
		rig_close(&rig[side]);
	}
}

/* The receiver keeps all that it may, and holds frames to send besides: the least of pools is enough. */
Test(dpdk_faults, with_every_mbuf_out_nothing_is_lost)
{
	struct wire_rig rig[2];
	struct vly_wire *wire[2];
	struct vly_frame frames[64];
	uint32_t sent = 0, got = 0, idle = 0;

	need_dpdk();
	open_memif(rig, wire, "");
	for (unsigned round = 0; idle < 200 && round < 100000; round++) {
		uint32_t count = wire_send(wire[0], wire[1]->mac, 100, sent, 32, vly_clock_ns());
		/* never given back by rx_done */
		uint32_t lent = wire[1]->ops->rx_burst(wire[1], vly_clock_ns(), frames, 32);

		for (uint32_t i = 0; i < lent; i++)
			cr_assert_eq(frame_number(&frames[i]), got++);
		sent += count;
		idle = count || lent ? 0 : idle + 1;
		/* and its own sending is full, too: to whom nobody listens */
		(void)wire_send(wire[1], wire[0]->mac, 100, 0, 32, vly_clock_ns());
	}
	cr_assert_eq(idle, 200);
	cr_assert_geq(got, 512);
	for (uint64_t end_ns = vly_clock_ns() + PATIENCE_NS; got < sent;) {
		uint32_t count = wire_receive(wire[1], frames, 32, vly_clock_ns());

		for (uint32_t i = 0; i < count; i++)
			cr_assert_eq(frame_number(&frames[i]), got++);
		(void)wire_send(wire[0], wire[1]->mac, 100, sent, 0, vly_clock_ns());
		cr_assert(vly_clock_ns() < end_ns, "%u of %u came", got, sent);
	}
	cr_assert_eq(wire[0]->tx_dropped + wire[1]->rx_dropped, 0);
	close_memif(rig, wire);
}

/* Addresses as a NIC without an IOMMU takes them: of each run of pages. */
Test(dpdk_faults, by_physical_addresses_frames_come_whole)
{
	struct wire_rig rig[2];
	struct vly_wire *wire[2];
	struct vly_frame frames[32];
	uint32_t sent = 0, got = 0;
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	unsigned free_pages = 0;

	need_dpdk();
	if (!file || fscanf(file, "%u", &free_pages) != 1 || free_pages < 64 || geteuid() != 0) {
		if (file)
			fclose(file);
		cr_skip_test("needs root and 64 free huge pages (sysctl -w vm.nr_hugepages=64)");
	}
	fclose(file);
	open_memif(rig, wire, "--iova-mode=pa");
	for (uint64_t end_ns = vly_clock_ns() + PATIENCE_NS; got < 20000;) {
		sent += wire_send(wire[0], wire[1]->mac, 60 + sent % 1400, sent, 1, vly_clock_ns());
		uint32_t count = wire_receive(wire[1], frames, 32, vly_clock_ns());

		for (uint32_t i = 0; i < count; i++, got++)
			cr_assert(frame_intact(&frames[i], 60 + got % 1400));
		cr_assert(vly_clock_ns() < end_ns);
	}
	close_memif(rig, wire);
}

/* --- what a process that was killed leaves behind --- */

Test(dpdk_faults, the_socket_of_a_process_that_was_killed_stands_in_nobodys_way)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	struct wire_rig rig;
	char text[400];

	need_dpdk();
	snprintf(name.sun_path, sizeof(name.sun_path), "/tmp/volley-stale-%d.sock", (int)getpid());
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	close(fd);
	snprintf(
		text, sizeof(text),
		"inet:dpdk,port=0,eal=\"--vdev=net_memif0,role=server,socket-abstract=no,socket=%s\"",
		name.sun_path);
	struct vly_wire *wire = open_rig(&rig, text, 1);

	wire->ops->close(wire);
	rig_close(&rig);
	unlink(name.sun_path);
}

Test(dpdk_faults, a_socket_that_somebody_serves_is_not_taken)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX};
	struct wire_rig rig;
	struct vly_wire *wire;
	char text[400];

	need_dpdk();
	snprintf(name.sun_path, sizeof(name.sun_path), "/tmp/volley-taken-%d.sock", (int)getpid());
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	snprintf(
		text, sizeof(text),
		"inet:dpdk,port=0,eal=\"--vdev=net_memif0,role=server,socket-abstract=no,socket=%s\"",
		name.sun_path);
	rig_open(&rig, text, 1);
	rig.config.idle = VLY_IDLE_BUSY;
	cr_assert_lt(rig_try(&rig, 0, &wire), 0);
	cr_assert(strstr(said, "another process has this port"), "%s", said);
	rig_close(&rig);
	close(fd);
	unlink(name.sun_path);
}

/* --- spreading --- */

Test(dpdk_faults, a_port_with_rss_tells_its_key_and_table_and_takes_ours)
{
	struct wire_rig rig;
	struct vly_wire *wire[2];
	char warned[512];

	need_dpdk();
	rig_open(&rig, "inet:dpdk,port=0,eal=\"--vdev=net_null0\"", 2);
	rig.config.idle = VLY_IDLE_BUSY;
	rig.now_ns = vly_clock_ns();
	said[0] = '\0';
	wire[0] = rig_wire(&rig, 0);
	wire[1] = rig_wire(&rig, 1);
	for (int q = 0; q < 2; q++) {
		cr_assert(wire[q]->caps & VLY_WIRE_RSS);
		cr_assert_eq(memcmp(wire[q]->rss_key, vly_toeplitz_key_default,
				    VLY_TOEPLITZ_KEY_BYTES),
			     0);
		cr_assert_eq(wire[q]->rss_table_count & (wire[q]->rss_table_count - 1), 0);
		for (uint32_t i = 0; i < wire[q]->rss_table_count; i++)
			cr_assert_eq(wire[q]->rss_table[i], i % 2);
	}
	snprintf(warned, sizeof(warned), "%s", said);
	cr_assert_str_empty(warned);
	wire[1]->ops->close(wire[1]);
	wire[0]->ops->close(wire[0]);
	rig_close(&rig);
}
