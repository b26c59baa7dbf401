/* c_poll.c - the baseline: a plain echo server on poll, without the engine */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "bench/baselines/baseline.h"

/*
 * A thread per CPU; one poll() over the listener and all its connections in an array without
 * holes, then per message one recv() and one send(). Level-triggered: whatever one recv() leaves is
 * told by the next poll(), so nobody gets more than one buffer in a turn. What send() did not take
 * is kept, and the connection is asked for POLLOUT instead of POLLIN until it left: a peer that
 * stops reading costs one buffer.
 */
#define POLLED_FIRST 64

/* A thread and its connections, which no other thread touches. */
struct worker {
	struct pollfd *polled; /* [0]: the listener, its descriptor -1 (ignored) while paused */
	unsigned int count, room;
	int listen_fd;
	time_t paused_s; /* when it stopped accepting */
	uint8_t buffer[BASELINE_BUFFER_BYTES];
};

static bool add(struct worker *w, int fd)
{
	if (w->count == w->room) {
		unsigned int room = w->room ? 2 * w->room : POLLED_FIRST;
		struct pollfd *polled = realloc(w->polled, room * sizeof(polled[0]));

		if (!polled)
			return false;
		w->polled = polled;
		w->room = room;
	}
	w->polled[w->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
	return true;
}

static void accept_all(struct worker *w)
{
	int fd;

	while ((fd = accept4(w->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		baseline_nodelay(fd);
		if (!add(w, fd))
			close(fd);
	}
	if (baseline_accept_lacks()) {
		w->polled[0].fd = -1;
		w->paused_s = time(NULL);
	}
}

/* One recv() and one send(). false: the connection is to be closed. */
static bool serve(struct worker *w, struct pollfd *at)
{
	ssize_t len, sent;

	if (at->events == POLLOUT) {
		int err = baseline_flush(at->fd);

		if (err == 0)
			at->events = POLLIN;
		return err == 0 || err == -EAGAIN;
	}
	len = bare_recv(at->fd, w->buffer, sizeof(w->buffer));
	if (len <= 0)
		return len < 0 && (errno == EAGAIN || errno == EINTR);
	sent = bare_send(at->fd, w->buffer, (size_t)len);
	if (sent == len)
		return true;
	if (sent < 0 && errno != EAGAIN && errno != EINTR)
		return false;
	sent = sent < 0 ? 0 : sent;
	at->events = POLLOUT;
	return baseline_keep(at->fd, w->buffer + sent, (size_t)(len - sent));
}

/* ppoll: some architectures have nothing older. */
static int wait_ready(struct worker *w)
{
	struct timespec retry = {.tv_sec = BASELINE_RETRY_MS / 1000,
				 .tv_nsec = BASELINE_RETRY_MS % 1000 * 1000000};

	return (int)syscall(SYS_ppoll, w->polled, w->count, w->polled[0].fd < 0 ? &retry : NULL,
			    NULL, 0);
}

static void *open_worker(int listen_fd)
{
	struct worker *w = calloc(1, sizeof(*w));

	if (!w || !add(w, listen_fd))
		baseline_die("calloc");
	w->listen_fd = listen_fd;
	return w;
}

static void run(void *arg)
{
	struct worker *w = arg;

	for (;;) {
		int left = wait_ready(w);

		if (left < 0 && errno != EINTR)
			baseline_die("poll");
		/*
		 * From the end: the last one, which fills the hole of one that is closed, has had
		 * its turn. The listener comes at last, behind it nothing is moved any more.
		 */
		for (unsigned int i = w->count - 1; left > 0 && i > 0; i--) {
			struct pollfd *at = &w->polled[i];

			if (!at->revents)
				continue;
			left--;
			if (serve(w, at))
				continue;
			baseline_close(at->fd);
			*at = w->polled[--w->count];
		}
		if (left > 0)
			accept_all(w);
		if (w->polled[0].fd < 0 && time(NULL) != w->paused_s)
			w->polled[0].fd = w->listen_fd;
	}
}

int main(int argc, char **argv)
{
	baseline_start(argc, argv);
	baseline_serve(open_worker, run);
}
