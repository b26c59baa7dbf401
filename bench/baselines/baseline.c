/* baseline.c - what the plain C servers share: command line, listeners, READY, the end, kept bytes */
#include "bench/baselines/baseline.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define BACKLOG 65535 /* the kernel takes the smaller of this and net.core.somaxconn */
#define FDS_MAX (1u << 24)

_Thread_local struct baseline_rest **baseline_rests;

static const char *name; /* of the program, without its folder */
static uint16_t port;
static size_t fds_max;
static int cpus[CPU_SETSIZE];
static unsigned int cpus_count;
static void *(*open_worker)(int listen_fd);
static void (*run_worker)(void *worker);
static pthread_barrier_t all_open;

void baseline_warn(const char *format, ...)
{
	va_list args;
	char line[1024];

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fprintf(stderr, "%s: %s\n", name, line);
}

void baseline_die(const char *what)
{
	baseline_warn("%s: %s", what, strerror(errno));
	exit(1);
}

static _Noreturn void usage(const char *wrong)
{
	baseline_warn("%s; usage: %s PORT [CPUS], CPUS as in 0-3,8", wrong, name);
	exit(2);
}

/* Reads a number up to `max` and passes it. */
static unsigned int number(const char **at, unsigned int max, const char *wrong)
{
	unsigned int value = 0;

	if (**at < '0' || **at > '9')
		usage(wrong);
	for (; **at >= '0' && **at <= '9'; ++*at) {
		value = value * 10 + (unsigned int)(**at - '0');
		if (value > max)
			usage(wrong);
	}
	return value;
}

static void parse_cpus(const char *text)
{
	static const char wrong[] = "the list of CPUs is wrong";

	for (;;) {
		unsigned int first = number(&text, CPU_SETSIZE - 1, wrong), last = first;

		if (*text == '-') {
			text++;
			last = number(&text, CPU_SETSIZE - 1, wrong);
		}
		/* Downwards there is nothing, so there is an end to what can be listed. */
		if (last < first || cpus_count + (last - first) >= CPU_SETSIZE)
			usage(wrong);
		while (first <= last)
			cpus[cpus_count++] = (int)first++;
		if (!*text)
			return;
		if (*text++ != ',')
			usage(wrong);
	}
}

/* No buffers to flush, no threads to wait for: the kernel closes the connections. */
static void stop(int signal)
{
	(void)signal;
	_exit(0);
}

static void take_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		baseline_die("getrlimit");
	/* The soft limit is for programs that use select(). */
	limit.rlim_cur = limit.rlim_max < FDS_MAX ? limit.rlim_max : FDS_MAX;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		baseline_die("setrlimit");
	fds_max = limit.rlim_cur;
}

/* The listeners of the others are copied along; they are never used from here. */
static void open_table(bool alone)
{
	if (!alone && unshare(CLONE_FILES) < 0)
		baseline_warn("threads share their descriptors: unshare: %s", strerror(errno));
	/* Untouched pages cost nothing. */
	baseline_rests = calloc(fds_max, sizeof(baseline_rests[0]));
	if (!baseline_rests)
		baseline_die("calloc");
}

void baseline_start(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = stop};
	const char *at, *slash = argc ? strrchr(argv[0], '/') : NULL;

	name = slash ? slash + 1 : argc ? argv[0] : "baseline";
	if (argc < 2 || argc > 3)
		usage("one or two arguments are expected");
	at = argv[1];
	port = (uint16_t)number(&at, UINT16_MAX, "PORT is a number up to 65535");
	if (*at)
		usage("PORT is a number up to 65535");
	if (argc == 3)
		parse_cpus(argv[2]);
	take_descriptors();
	if (sigaction(SIGTERM, &action, NULL) < 0 || sigaction(SIGINT, &action, NULL) < 0)
		baseline_die("sigaction");
}

static void pin(const int *list, unsigned int count)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	for (unsigned int i = 0; i < count; i++)
		CPU_SET((size_t)list[i], &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		baseline_die(count == 1 ? "cannot run on the CPU given"
					: "cannot run on the CPUs given");
}

void baseline_pin_all(void)
{
	if (cpus_count)
		pin(cpus, cpus_count);
}

/*
 * With `shares`, beside listeners that are there. Without, none may be, whatever it would share:
 * hence SO_REUSEPORT is set only once this one has the port.
 */
static int listen_on(uint16_t at_port, int flags, bool shares)
{
	const struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(at_port)};
	const int on = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
	char what[64];

	if (fd < 0)
		baseline_die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (shares && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		baseline_die("SO_REUSEPORT");
	if (bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 || listen(fd, BACKLOG) < 0) {
		snprintf(what, sizeof(what), "cannot listen on port %u", at_port);
		baseline_die(what);
	}
	if (!shares && cpus_count > 1 &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		baseline_die("SO_REUSEPORT");
	return fd;
}

int baseline_listen(int flags)
{
	return listen_on(port, flags, false);
}

static uint16_t port_of(int listen_fd)
{
	struct sockaddr_in addr = {0};
	socklen_t addr_bytes = sizeof(addr);

	if (getsockname(listen_fd, (struct sockaddr *)&addr, &addr_bytes) < 0)
		baseline_die("getsockname");
	return ntohs(addr.sin_port);
}

void baseline_ready(int listen_fd)
{
	printf("READY %u\n", port_of(listen_fd));
	fflush(stdout);
}

/* What a thread of baseline_serve() is given. */
struct share {
	int listen_fd;
	unsigned int index; /* of its CPU */
};

static void *serve_share(void *arg)
{
	const struct share *share = arg;
	void *worker;

	if (cpus_count)
		pin(&cpus[share->index], 1);
	open_table(cpus_count <= 1);
	worker = open_worker(share->listen_fd); /* pinned: on its own NUMA node */
	/* Connections could take the descriptors that another thread opens. */
	pthread_barrier_wait(&all_open);
	if (share->index == 0)
		baseline_ready(share->listen_fd);
	run_worker(worker);
	return NULL;
}

void baseline_serve(void *(*open)(int listen_fd), void (*run)(void *worker))
{
	static struct share shares[CPU_SETSIZE];
	const unsigned int count = cpus_count ? cpus_count : 1;
	pthread_t thread;

	open_worker = open;
	run_worker = run;
	errno = pthread_barrier_init(&all_open, NULL, count);
	if (errno)
		baseline_die("pthread_barrier_init");
	shares[0].listen_fd = baseline_listen(SOCK_NONBLOCK);
	for (unsigned int i = 1; i < count; i++) {
		shares[i].index = i;
		shares[i].listen_fd = listen_on(port_of(shares[0].listen_fd), SOCK_NONBLOCK, true);
	}
	for (unsigned int i = 1; i < count; i++) {
		errno = pthread_create(&thread, NULL, serve_share, &shares[i]);
		if (errno)
			baseline_die("pthread_create");
	}
	serve_share(&shares[0]);
	abort();
}

bool baseline_accept_lacks(void)
{
	return errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
}

void baseline_nodelay(int fd)
{
	const int on = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

bool baseline_keep(int fd, const uint8_t *bytes, size_t len_bytes)
{
	struct baseline_rest *rest = malloc(sizeof(*rest) + len_bytes);

	if (!rest)
		return false;
	rest->begin = 0;
	rest->end = len_bytes;
	memcpy(rest->bytes, bytes, len_bytes);
	baseline_rests[fd] = rest;
	return true;
}

int baseline_flush(int fd)
{
	struct baseline_rest *rest = baseline_rests[fd];

	while (rest->begin < rest->end) {
		ssize_t n = bare_send(fd, rest->bytes + rest->begin, rest->end - rest->begin);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		rest->begin += (size_t)n;
	}
	free(rest);
	baseline_rests[fd] = NULL;
	return 0;
}

void baseline_close(int fd)
{
	free(baseline_rests[fd]);
	baseline_rests[fd] = NULL;
	close(fd);
}
