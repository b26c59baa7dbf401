/* null_server.c - the cheapest echo that kernel sockets allow: what bounds the load generator, not a server */
#include "bench/baselines/baseline.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

/*
 * The environment's NULL_BYTES (1 if it is not set): a connection is read once so much is there,
 * and answered with one send(). With all the bytes that the load keeps under way on a connection,
 * the server's share of a message is one part in `depth` of two system calls and of loopback. What
 * is left at the end of a run is less than that: it goes out when nothing else came for some time.
 *
 * Bytes are copied in and out because the load verifies every one of them. No time is lost on what
 * a server has to mind: a peer that does not read stops everybody.
 */
#define EVENTS_MAX 512
#define BUFFER_BYTES (1u << 20)
#define QUIET_MS 20

static struct epoll_event events[EVENTS_MAX];
static uint8_t buffer[BUFFER_BYTES];
static int fds[65536]; /* -1: none */

static bool answer(int fd)
{
	/* It does not wait: then what is below the low-water mark is taken, too. */
	ssize_t len = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

	if (len > 0)
		return send(fd, buffer, (size_t)len, MSG_NOSIGNAL) == len;
	return len < 0 && errno == EAGAIN;
}

static void end(int fd)
{
	fds[fd] = -1;
	close(fd);
}

static void accept_one(int epoll_fd, int listen_fd, int wanted_bytes)
{
	struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP};
	/* A connection is up once its first message came back, alone: only then can it wait. */
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
	ssize_t len;

	if (fd < 0 || fd >= (int)(sizeof(fds) / sizeof(fds[0])))
		baseline_die("accept4");
	baseline_nodelay(fd);
	len = recv(fd, buffer, sizeof(buffer), 0);
	if (len <= 0 || send(fd, buffer, (size_t)len, MSG_NOSIGNAL) != len) {
		close(fd);
		return;
	}
	event.data.fd = fds[fd] = fd;
	if (setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &wanted_bytes, sizeof(wanted_bytes)) < 0 ||
	    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
		baseline_die("setsockopt");
}

int main(int argc, char **argv)
{
	const char *bytes = getenv("NULL_BYTES");
	int wanted_bytes = bytes ? atoi(bytes) : 1;
	struct epoll_event event = {.events = EPOLLIN};
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC), listen_fd;

	baseline_start(argc, argv);
	baseline_pin_all();
	listen_fd = baseline_listen(0);
	event.data.fd = listen_fd;
	if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) < 0)
		baseline_die("epoll");
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		fds[i] = -1;
	baseline_ready(listen_fd);
	for (;;) {
		int count = epoll_wait(epoll_fd, events, EVENTS_MAX, QUIET_MS);

		for (int i = 0; i < count; i++) {
			int fd = events[i].data.fd;

			if (fd == listen_fd)
				accept_one(epoll_fd, listen_fd, wanted_bytes);
			else if (!answer(fd) || events[i].events & (EPOLLRDHUP | EPOLLHUP))
				end(fd);
		}
		for (size_t fd = 0; !count && fd < sizeof(fds) / sizeof(fds[0]); fd++)
			if (fds[fd] >= 0 && !answer((int)fd))
				end((int)fd);
	}
}
