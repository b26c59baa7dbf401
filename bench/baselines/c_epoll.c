/* c_epoll.c - the baseline: a plain echo server on epoll, without the engine */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * One thread; up to 512 events per wait; per message one recv() and one send(). Edge-triggered: a
 * recv() that did not fill the buffer has emptied the socket, whatever comes later is a new edge.
 * (A FIN that came before is told by EPOLLRDHUP in the same event, so then it reads on until 0.)
 * What send() did not take is kept, and the connection is not read until it left: a peer that stops
 * reading costs one buffer.
 */
#define EVENTS_MAX 512
#define BUFFER_BYTES 65536

/* What a connection still has to send; only where a peer does not read. */
struct rest {
	size_t begin, end;
	uint8_t bytes[];
};

static struct rest **rests; /* by descriptor; NULL: nothing is kept */
static size_t rests_count;
static int epoll_fd, listen_fd;
static bool accepting;
static uint8_t buffer[BUFFER_BYTES];

static void die(const char *what)
{
	fprintf(stderr, "c_epoll: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void watch(int op, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	if (epoll_ctl(epoll_fd, op, fd, &event) < 0)
		die("epoll_ctl");
}

/* The listener is level-triggered, so it is taken out while descriptors lack. */
static void accept_allow(bool allowed)
{
	if (allowed == accepting)
		return;
	watch(allowed ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, listen_fd, EPOLLIN);
	accepting = allowed;
}

static void drop(int fd)
{
	free(rests[fd]);
	rests[fd] = NULL;
	close(fd);
	accept_allow(true);
}

static void accept_all(void)
{
	const int on = 1;
	int fd;

	while ((fd = accept4(listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		if ((size_t)fd >= rests_count) {
			close(fd);
			continue;
		}
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		accept_allow(false);
}

/* Sends what was kept: true once nothing is left. */
static bool rest_send(int fd)
{
	struct rest *rest = rests[fd];

	while (rest->begin < rest->end) {
		ssize_t n =
			send(fd, rest->bytes + rest->begin, rest->end - rest->begin, MSG_NOSIGNAL);

		if (n < 0) {
			if (errno == EINTR)
				continue;
			if (errno != EAGAIN)
				drop(fd);
			return false;
		}
		rest->begin += (size_t)n;
	}
	free(rest);
	rests[fd] = NULL;
	return true;
}

static bool rest_keep(int fd, const uint8_t *bytes, size_t len_bytes)
{
	struct rest *rest = malloc(sizeof(*rest) + len_bytes);

	if (!rest)
		return false;
	rest->begin = 0;
	rest->end = len_bytes;
	memcpy(rest->bytes, bytes, len_bytes);
	rests[fd] = rest;
	return true;
}

static void serve(int fd, uint32_t events)
{
	if (rests[fd] && !rest_send(fd))
		return;
	for (;;) {
		ssize_t len = recv(fd, buffer, sizeof(buffer), 0);
		ssize_t sent;

		if (len <= 0) {
			if (len < 0 && errno == EINTR)
				continue;
			if (len == 0 || errno != EAGAIN)
				drop(fd);
			return;
		}
		do {
			sent = send(fd, buffer, (size_t)len, MSG_NOSIGNAL);
		} while (sent < 0 && errno == EINTR);
		if (sent < len) {
			if (sent < 0 && errno != EAGAIN) {
				drop(fd);
				return;
			}
			sent = sent < 0 ? 0 : sent;
			if (!rest_keep(fd, buffer + sent, (size_t)(len - sent)))
				drop(fd);
			return; /* until EPOLLOUT tells of room */
		}
		if (len < (ssize_t)sizeof(buffer) && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)))
			return;
	}
}

/* The only numbers there are on the command line. */
static long number(const char *text, long max, const char *what)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (errno || end == text || *end || value < 0 || value > max) {
		fprintf(stderr, "c_epoll: %s must be 0..%ld, not \"%s\"\n", what, max, text);
		exit(2);
	}
	return value;
}

static void open_listener(uint16_t port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
	const int on = 1;

	listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (listen_fd < 0)
		die("socket");
	setsockopt(listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(listen_fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		die("bind");
	if (listen(listen_fd, 65535) < 0)
		die("listen");
}

static unsigned listener_port(void)
{
	struct sockaddr_in addr = {0};
	socklen_t addr_bytes = sizeof(addr);

	if (getsockname(listen_fd, (struct sockaddr *)&addr, &addr_bytes) < 0)
		die("getsockname");
	return ntohs(addr.sin_port);
}

static int open_signals(void)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		die("sigprocmask");
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		die("signalfd");
	return fd;
}

static void open_rests(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("getrlimit");
	/* the soft limit is for programs that use select() */
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		die("setrlimit");
	rests_count = limit.rlim_cur < (1u << 24) ? limit.rlim_cur : 1u << 24;
	rests = calloc(rests_count, sizeof(*rests));
	if (!rests)
		die("calloc");
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("sched_setaffinity");
}

int main(int argc, char **argv)
{
	static struct epoll_event events[EVENTS_MAX];
	int signal_fd;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: c_epoll PORT [CPU]\n");
		return 2;
	}
	if (argc == 3)
		pin((int)number(argv[2], CPU_SETSIZE - 1, "CPU"));
	open_rests();
	open_listener((uint16_t)number(argv[1], 65535, "PORT"));
	signal_fd = open_signals();
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (epoll_fd < 0)
		die("epoll_create1");
	watch(EPOLL_CTL_ADD, signal_fd, EPOLLIN);
	accept_allow(true);
	printf("READY %u\n", listener_port());
	fflush(stdout);

	for (;;) {
		int n = epoll_wait(epoll_fd, events, EVENTS_MAX, -1);

		if (n < 0 && errno != EINTR)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listen_fd)
				accept_all();
			else if (fd == signal_fd)
				return 0;
			else
				serve(fd, events[i].events);
		}
	}
}
