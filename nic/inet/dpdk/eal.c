/* eal.c - starting DPDK's environment once per process, without leaving traces on its caller */
#include "nic/inet/dpdk/eal.h"

#include <errno.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* Free huge pages from which EAL takes its own memory from them; else from ordinary ones. */
#define HUGE_ENOUGH 24u

/* --- what DPDK logs --- */

/* The last lines: the first that tells of a failure is its reason, those after it follow from it. */
#define LINES 16
#define LINE_BYTES 200

static struct {
	pthread_mutex_t lock;
	char lines[LINES][LINE_BYTES];
	unsigned count;
	bool panic;
	char part[LINE_BYTES]; /* of a line whose end has not come */
	size_t part_len;
} said = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void said_line(void)
{
	said.part[said.part_len] = '\0';
	said.part_len = 0;
	if (!said.part[0])
		return;
	if (said.count < LINES)
		memcpy(said.lines[said.count++], said.part, sizeof(said.part));
	/* "PANIC in ...", and why, are the last words before it ends the process */
	said.panic |= strncmp(said.part, "PANIC", 5) == 0;
	vly_log(said.panic ? VLY_LOG_ERROR : VLY_LOG_DEBUG, "dpdk: %s", said.part);
}

/* Any thread, one at a time. */
static ssize_t said_write(void *cookie, const char *text, size_t len)
{
	(void)cookie;
	pthread_mutex_lock(&said.lock);
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '\n')
			said_line();
		else if (said.part_len + 1 < sizeof(said.part))
			said.part[said.part_len++] = text[i];
	}
	pthread_mutex_unlock(&said.lock);
	return (ssize_t)len;
}

static void listen_to_log(void)
{
	FILE *file = fopencookie(NULL, "w", (cookie_io_functions_t){.write = said_write});

	if (!file)
		return;
	setvbuf(file, NULL, _IOLBF, 0);
	rte_openlog_stream(file);
}

void vly_dpdk_log_forget(void)
{
	pthread_mutex_lock(&said.lock);
	said.count = 0;
	pthread_mutex_unlock(&said.lock);
}

/* The way out of what a line tells, by a word of it; the first that fits. */
static const struct {
	const char *word, *fix;
} fixes[] = {
	{"create xsk socket",
	 "another process has this queue; or this one had it, whose driver keeps it to its end: start anew"},
	{"larger than combined",
	 "the interface has fewer queues: queue_count=1, or more of them (ethtool -L NAME combined N)"},
	{"cannot attach the device",
	 "is its driver installed? apt install libdpdk-dev, or librte-net-NAME23"},
	{"failed to parse device",
	 "is its driver installed? apt install libdpdk-dev, or librte-net-NAME23"},
	{"Address already in use", "another process has this port: end it, or name another one"},
	{"Failed to connect socket", "the server's side has to be opened first"},
	{"hugepage", "as root: sysctl -w vm.nr_hugepages=512; or add --no-huge to eal="},
	{"hugetlb", "as root: sysctl -w vm.nr_hugepages=512; or add --no-huge to eal="},
	{"'PA'", "run it as root, or add --iova-mode=va to eal="},
	{"vfio",
	 "bind the port to vfio-pci (dpdk-devbind.py --bind=vfio-pci ADDRESS), and let this user open /dev/vfio"},
	{"VFIO",
	 "bind the port to vfio-pci (dpdk-devbind.py --bind=vfio-pci ADDRESS), and let this user open /dev/vfio"},
	{"not permitted", "run it as root, or give it CAP_NET_ADMIN, CAP_NET_RAW and CAP_IPC_LOCK"},
	{"ermission denied", "run it as root, or give it CAP_NET_ADMIN and CAP_NET_RAW"},
	{"command line", "the words that EAL knows: dpdk-testpmd --help"},
};

static bool tells_failure(const char *line)
{
	static const char *const words[] = {"rror", "ailed",     "annot",     "nvalid",
					    "ERR",  "Could not", "could not", "No ",
					    "not ", "nable",     "already",   "larger than"};
	/* what every start without the privileges of another kind says */
	static const char *const usual[] = {"mp action", "Physical addresses are unavail",
					    "No free 1048576"};

	for (size_t i = 0; i < sizeof(usual) / sizeof(usual[0]); i++) {
		if (strstr(line, usual[i]))
			return false;
	}
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strstr(line, words[i]))
			return true;
	}
	return false;
}

void vly_dpdk_log_reason(const char *what, int error, char *why, size_t why_bytes)
{
	const char *reason = NULL, *fix = NULL;

	pthread_mutex_lock(&said.lock);
	for (unsigned i = 0; i < said.count && !reason; i++)
		reason = tells_failure(said.lines[i]) ? said.lines[i] : NULL;
	for (unsigned i = 0; i < said.count && !fix; i++) {
		for (size_t k = 0; k < sizeof(fixes) / sizeof(fixes[0]) && !fix; k++) {
			if (tells_failure(said.lines[i]) && strstr(said.lines[i], fixes[k].word))
				fix = fixes[k].fix;
		}
	}
	snprintf(why, why_bytes, "%s: %s%s%s", what, reason ? reason : strerror(-error),
		 fix ? "; " : "", fix ? fix : "");
	pthread_mutex_unlock(&said.lock);
}

/* --- starting --- */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* EAL keeps some of its arguments, so they live for ever. */
static struct {
	bool running;
	bool pci;
	char words[VLY_SPEC_TEXT_MAX];   /* it was started with: those of the nic's name, */
	char all[2 * VLY_SPEC_TEXT_MAX]; /* and with ours */
	char made[8][256];
	unsigned made_count;
	char copies[VLY_DPDK_WORDS_MAX][128];
	char *argv[VLY_DPDK_WORDS_MAX + 16];
	int argc;
} eal;

__attribute__((format(printf, 1, 2))) static void add_arg(const char *format, ...)
{
	char *text = eal.made[eal.made_count++];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(eal.made[0]), format, args);
	va_end(args);
	eal.argv[eal.argc++] = text;
}

/* Whether one of the words is `option`, or begins with it. */
static bool has(const struct vly_dpdk_conf *conf, const char *option)
{
	for (unsigned i = 0; i < conf->words_count; i++) {
		if (strncmp(conf->words[i], option, strlen(option)) == 0)
			return true;
	}
	return false;
}

static uint64_t free_huge_pages(void)
{
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "re");
	unsigned long long count = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%llu", &count) != 1)
		count = 0;
	fclose(file);
	return count;
}

/* The CPUs that this thread may use, as EAL takes them: (0-3,8). */
static void cpus_text(char *text, size_t text_bytes)
{
	cpu_set_t set;
	size_t at = 0;

	CPU_ZERO(&set);
	(void)sched_getaffinity(0, sizeof(set), &set);
	for (int cpu = 0; cpu < CPU_SETSIZE && at + 12 < text_bytes; cpu++) {
		int last = cpu;

		if (!CPU_ISSET(cpu, &set))
			continue;
		while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, &set))
			last++;
		at += (size_t)snprintf(text + at, text_bytes - at, "%s%d-%d", at ? "," : "", cpu,
				       last);
		cpu = last;
	}
}

static void choose_memory(const struct vly_dpdk_conf *conf)
{
	if (has(conf, "--no-huge") || has(conf, "--in-memory") || has(conf, "--huge-dir") ||
	    has(conf, "--legacy-mem")) {
		/* no files that another process could take for its own */
		if (has(conf, "--no-huge") && !has(conf, "--no-shconf"))
			add_arg("--no-shconf");
		return;
	}
	bool sized = has(conf, "-m") || has(conf, "--socket-mem");

	if (free_huge_pages() >= (sized ? 1 : HUGE_ENOUGH)) {
		add_arg("--in-memory");
		return;
	}
	/* EAL refuses these two together with --in-memory. */
	add_arg("--no-huge");
	add_arg("--no-shconf");
}

static void build_args(const struct vly_dpdk_conf *conf)
{
	char cpus[200] = "0";

	eal.argc = 0;
	eal.made_count = 0;
	add_arg("volley");
	for (unsigned i = 0; i < conf->words_count; i++) {
		snprintf(eal.copies[i], sizeof(eal.copies[i]), "%s", conf->words[i]);
		eal.argv[eal.argc++] = eal.copies[i];
	}
	choose_memory(conf);
	if (!conf->pci && !has(conf, "--no-pci"))
		add_arg("--no-pci");
	/* Only what is asked for: every other NIC of the machine is none of our business. */
	for (unsigned i = 0; conf->pci && i < conf->ports_count; i++) {
		char name[VLY_DPDK_NAME_MAX];

		if (eal.made_count < 6 && vly_dpdk_is_pci(conf->ports[i], name))
			add_arg("--allow=%s", name);
	}
	if (!has(conf, "--file-prefix"))
		add_arg("--file-prefix=volley-%d", (int)getpid());
	if (!has(conf, "--telemetry") && !has(conf, "--no-telemetry"))
		eal.argv[eal.argc++] = (char *)(uintptr_t) "--no-telemetry";
	if (!has(conf, "-l") && !has(conf, "--lcores") && !has(conf, "-c")) {
		cpus_text(cpus, sizeof(cpus));
		add_arg("--lcores=0@(%s)", cpus);
	}
	eal.argv[eal.argc] = NULL;
	/* now: EAL moves its arguments about */
	size_t at = 0;

	for (int i = 1; i < eal.argc && at < sizeof(eal.all); i++)
		at += (size_t)snprintf(eal.all + at, sizeof(eal.all) - at, "%s%s", i > 1 ? " " : "",
				       eal.argv[i]);
}

static void *start_thread(void *arg)
{
	int *error = arg;
	FILE *out = stdout, *err = stderr, *nothing = fopen("/dev/null", "we");
	sigset_t all;

	/* inherited by the threads that EAL starts */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	/* A refusal prints EAL's whole usage, and more than one complaint. */
	if (nothing)
		stdout = stderr = nothing;
	*error = rte_eal_init(eal.argc, eal.argv) < 0 ? -rte_errno : 0;
	if (nothing) {
		stdout = out;
		stderr = err;
		fclose(nothing);
	}
	return NULL;
}

static void join_words(const struct vly_dpdk_conf *conf, char *text, size_t text_bytes)
{
	size_t at = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < conf->words_count && at < text_bytes; i++)
		at += (size_t)snprintf(text + at, text_bytes - at, "%s%s", i ? " " : "",
				       conf->words[i]);
}

static int start(const struct vly_dpdk_conf *conf, char *why, size_t why_bytes)
{
	int result = -ENOMEM;
	pthread_t thread;

	listen_to_log();
	vly_dpdk_log_forget();
	build_args(conf);
	int error = -pthread_create(&thread, NULL, start_thread, &result);

	if (!error) {
		pthread_join(thread, NULL);
		error = result;
	}
	/* empty: all is in memory */
	(void)rmdir(rte_eal_get_runtime_dir());
	if (error == -EALREADY) {
		snprintf(why, why_bytes,
			 "DPDK did not start before, and tries once per process: start anew");
		return error;
	}
	if (error) {
		vly_dpdk_log_reason("DPDK does not start", error, why, why_bytes);
		return error;
	}
	join_words(conf, eal.words, sizeof(eal.words));
	eal.pci = conf->pci;
	eal.running = true;
	return 0;
}

int vly_dpdk_eal_start(const struct vly_dpdk_conf *conf, char *why, size_t why_bytes)
{
	char words[VLY_SPEC_TEXT_MAX];
	int error = 0;

	pthread_mutex_lock(&lock);
	join_words(conf, words, sizeof(words));
	if (!eal.running) {
		error = start(conf, why, why_bytes);
	} else if (words[0] && strcmp(words, eal.words) != 0) {
		snprintf(why, why_bytes,
			 "eal: DPDK starts once per process, and runs with \"%s\" already",
			 eal.words);
		error = -EBUSY;
	} else if (conf->pci && !eal.pci) {
		snprintf(why, why_bytes,
			 "eal: DPDK runs already, without PCI: open the PCI port first");
		error = -EBUSY;
	}
	pthread_mutex_unlock(&lock);
	return error;
}

void vly_dpdk_eal_words(char *text, size_t text_bytes)
{
	pthread_mutex_lock(&lock);
	snprintf(text, text_bytes, "%s", eal.all);
	pthread_mutex_unlock(&lock);
}

/*
 * The kernel's driver of a PCI device is none that leaves it to us: DPDK would take some devices (virtio) from
 * under it. NULL: it does, or there is none.
 */
static const char *kernel_driver(const char *device, char *name, size_t name_bytes)
{
	static const char *const ours[] = {"vfio-pci", "uio_pci_generic", "igb_uio", "mlx5_core",
					   "mlx4_core"};
	char link[200], target[256];

	snprintf(link, sizeof(link), "%s/driver", device);
	ssize_t len = readlink(link, target, sizeof(target) - 1);

	if (len <= 0)
		return NULL;
	target[len] = '\0';
	const char *slash = strrchr(target, '/');

	snprintf(name, name_bytes, "%.*s", (int)name_bytes - 1, slash ? slash + 1 : target);
	for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
		if (strcmp(name, ours[i]) == 0)
			return NULL;
	}
	return name;
}

/* `text` is a port's name or a device that EAL is to look at; of another kind than PCI there is nothing to tell. */
static int check_device(const char *text, char *why, size_t why_bytes)
{
	char path[160], word[VLY_DPDK_NAME_MAX], name[VLY_DPDK_NAME_MAX], driver[64];

	snprintf(word, sizeof(word), "%.*s", vly_dpdk_vdev_name_len(text), text);
	if (!vly_dpdk_is_pci(word, name))
		return 0;
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s", name);
	if (access(path, F_OK) != 0) {
		snprintf(
			why, why_bytes,
			"port=%s: there is no such PCI device; dpdk-devbind.py --status lists them",
			name);
		return -ENODEV;
	}
	if (!kernel_driver(path, driver, sizeof(driver)))
		return 0;
	snprintf(why, why_bytes,
		 "port=%s: the kernel has it (driver %s); as root, and not the one you are logged "
		 "in by: dpdk-devbind.py --bind=vfio-pci %s",
		 name, driver, name);
	return -EBUSY;
}

int vly_dpdk_eal_check(const struct vly_dpdk_conf *conf, char *why, size_t why_bytes)
{
	int error = 0;

	for (unsigned i = 0; i < conf->ports_count && !error; i++)
		error = check_device(conf->ports[i], why, why_bytes);
	/* --allow=ADDRESS, -aADDRESS; or the word after it */
	for (unsigned i = 0; i < conf->words_count && !error; i++) {
		const char *word = conf->words[i];

		word += strspn(word, "-");
		if (strncmp(word, "allow=", 6) == 0)
			word += 6;
		else if (word[0] == 'a' && word == conf->words[i] + 1)
			word++;
		error = check_device(word, why, why_bytes);
	}
	return error;
}

/* --- threads --- */

static __thread unsigned entered;
static __thread bool registered;

int vly_dpdk_thread_enter(char *why, size_t why_bytes)
{
	if (entered == 0 && rte_lcore_id() == LCORE_ID_ANY) {
		vly_dpdk_log_forget();
		if (rte_thread_register() < 0) {
			int error = -rte_errno;

			snprintf(why, why_bytes,
				 "DPDK has no number for this thread (%s): %d threads at most",
				 strerror(-error), RTE_MAX_LCORE - 1);
			return error;
		}
		registered = true;
	}
	entered++;
	return 0;
}

void vly_dpdk_thread_leave(void)
{
	if (entered == 0 || --entered > 0 || !registered)
		return;
	rte_thread_unregister();
	registered = false;
}
