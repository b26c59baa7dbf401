/* c_epoll.c - the baseline: a plain echo server on epoll, without the engine */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <time.h>

#include "bench/baselines/baseline.h"

/*
 * A thread per CPU; up to 512 events per wait; per message one recv() and one send().
 * Edge-triggered: a recv() that did not fill the buffer has emptied the socket, whatever comes
 * later is a new edge. (A FIN that came before is told by EPOLLRDHUP in the same event, so then it
 * reads on until 0.) What send() did not take is kept, and the connection is not read until it
 * left: a peer that stops reading costs one buffer.
 */
#define EVENTS_MAX 512
#define TURN_BUFFERS 16 /* that one connection may fill while others wait */
#define CONN_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

/* A thread and its connections, which no other thread touches. */
struct worker {
	int epoll_fd, listen_fd;
	bool accepting;
	time_t paused_s; /* when it stopped accepting */
	struct epoll_event events[EVENTS_MAX];
	uint8_t buffer[BASELINE_BUFFER_BYTES];
};

static int watch(const struct worker *w, int op, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.fd = fd};

	return epoll_ctl(w->epoll_fd, op, fd, &event);
}

/* The listener is level-triggered, so it is taken out while descriptors lack. */
static void accept_allow(struct worker *w, bool allowed)
{
	if (watch(w, allowed ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, w->listen_fd, EPOLLIN) == 0)
		w->accepting = allowed;
	w->paused_s = time(NULL);
}

static void accept_all(struct worker *w)
{
	int fd;

	while ((fd = accept4(w->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		baseline_nodelay(fd);
		if (watch(w, EPOLL_CTL_ADD, fd, CONN_EVENTS) < 0)
			close(fd);
	}
	if (baseline_accept_lacks())
		accept_allow(w, false);
}

/* true once nothing is left to send. */
static bool flush(int fd)
{
	int err = baseline_flush(fd);

	if (err && err != -EAGAIN)
		baseline_close(fd);
	return err == 0;
}

static void serve(struct worker *w, int fd, uint32_t events)
{
	const bool ending = events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR);

	if (baseline_rests[fd] && !flush(fd))
		return;
	for (int i = 0; i < TURN_BUFFERS; i++) {
		ssize_t len = bare_recv(fd, w->buffer, sizeof(w->buffer));
		ssize_t sent;

		if (len <= 0) {
			if (len < 0 && errno == EINTR)
				continue;
			if (len == 0 || errno != EAGAIN)
				baseline_close(fd);
			return;
		}
		do {
			sent = bare_send(fd, w->buffer, (size_t)len);
		} while (sent < 0 && errno == EINTR);
		if (sent < len) {
			if (sent < 0 && errno != EAGAIN) {
				baseline_close(fd);
				return;
			}
			sent = sent < 0 ? 0 : sent;
			if (!baseline_keep(fd, w->buffer + sent, (size_t)(len - sent)))
				baseline_close(fd);
			return; /* until EPOLLOUT tells of room */
		}
		if (len < (ssize_t)sizeof(w->buffer) && !ending)
			return;
	}
	/* Set anew, what is there is told again, after the others' events. */
	if (watch(w, EPOLL_CTL_MOD, fd, CONN_EVENTS) < 0)
		baseline_close(fd);
}

/* epoll_pwait: some architectures have nothing older. */
static int wait_events(struct worker *w)
{
	return (int)syscall(SYS_epoll_pwait, w->epoll_fd, w->events, EVENTS_MAX,
			    w->accepting ? -1 : BASELINE_RETRY_MS, NULL, 0);
}

static void *open_worker(int listen_fd)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w)
		baseline_die("calloc");
	w->listen_fd = listen_fd;
	w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (w->epoll_fd < 0)
		baseline_die("epoll_create1");
	accept_allow(w, true);
	if (!w->accepting)
		baseline_die("epoll_ctl");
	return w;
}

static void run(void *arg)
{
	struct worker *w = arg;

	for (;;) {
		int n = wait_events(w);

		if (n < 0 && errno != EINTR)
			baseline_die("epoll_wait");
		for (int i = 0; i < n; i++) {
			int fd = w->events[i].data.fd;

			if (fd == w->listen_fd)
				accept_all(w);
			else
				serve(w, fd, w->events[i].events);
		}
		if (!w->accepting && time(NULL) != w->paused_s)
			accept_allow(w, true);
	}
}

int main(int argc, char **argv)
{
	baseline_start(argc, argv);
	baseline_serve(open_worker, run);
}
